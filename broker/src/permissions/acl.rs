//! Access lists: what one client may do, within what its role allows.
//!
//! A list comes with a token, with the answer of a hook or with a credential. Its rules are tried in order, and the
//! first one whose filter fits decides; where none fits, the answer is no. A list narrows the role and never widens
//! it, so whoever writes lists cannot let a client speak in the platform's name. Of the lists of custom roles any one
//! that allows something is enough.

use proto::{Qos, TopicFilter, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most rules of one list; a longer one is refused as a whole.
pub const ACL_RULES_MAX: usize = 64;

/// Whether a rule permits or forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AclPermission {
    /// It permits, within its limits.
    Allow,
    /// It forbids.
    Deny,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AclAction {
    /// Publishing.
    Publish,
    /// Subscribing, and being given messages.
    Subscribe,
    /// Both.
    All,
}

/// One rule as it is written: `{"permission":"allow","action":"publish","topic":"a/%u/#","qos_max":1}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AclRule {
    /// Permits or forbids.
    pub permission: AclPermission,
    /// What it is about.
    pub action: AclAction,
    /// A topic filter; `%u` stands for the client's name, `%c` for its client id.
    pub topic: String,
    /// The highest QoS that is permitted: 0, 1 or 2; absent: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_max: Option<u8>,
    /// Whether retained messages may be published; absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<bool>,
    /// Of a rule that forbids: whether its refusals say so (0x87); `false`: they say nothing (0x80); absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reveal: Option<bool>,
}

/// Why a list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// More than [`ACL_RULES_MAX`] rules.
    #[error("more than {ACL_RULES_MAX} rules")]
    TooLong,
    /// The topic of the rule of this number is no filter.
    #[error("the topic of rule {0} is no topic filter")]
    NoFilter(usize),
    /// `qos_max` of the rule of this number is no QoS.
    #[error("qos_max of rule {0} is not 0, 1 or 2")]
    NoQos(usize),
    /// A rule that forbids has limits, which would forbid less than it seems to.
    #[error("rule {0} forbids and has limits")]
    LimitedDenial(usize),
    /// A rule that permits says what its refusals reveal, of which it has none.
    #[error("rule {0} permits and says what to reveal")]
    RevealingPermission(usize),
    /// The client id would reach into the topics of others.
    #[error("a client id with `/`, `+` or `#` cannot stand for %c")]
    ClientId,
}

/// Lists of which any one is enough: those of the custom roles of a client, or one that stands alone.
pub(crate) type AnyOf = Vec<Vec<AclRule>>;

/// What a client may publish on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// The highest QoS of a message that is not retained.
    qos_max: Qos,
    /// That of a retained one; `None` if there may be none.
    retained_qos_max: Option<Qos>,
}

impl Allowance {
    /// No limits.
    pub(crate) const ALL: Self =
        Self { qos_max: Qos::ExactlyOnce, retained_qos_max: Some(Qos::ExactlyOnce) };

    /// What both allow.
    fn and(self, other: Self) -> Self {
        Self {
            qos_max: self.qos_max.min(other.qos_max),
            retained_qos_max: self.retained_qos_max.min(other.retained_qos_max),
        }
    }

    /// What either allows.
    fn or(self, other: Self) -> Self {
        Self {
            qos_max: self.qos_max.max(other.qos_max),
            retained_qos_max: self.retained_qos_max.max(other.retained_qos_max),
        }
    }

    /// Whether a message keeps to it.
    pub(crate) fn covers(self, qos: Qos, retain: bool) -> bool {
        match retain {
            false => qos <= self.qos_max,
            true => self.retained_qos_max.is_some_and(|max| qos <= max),
        }
    }
}

/// Whether a list can be used for clients, their names and client ids apart.
pub fn check_acl(rules: &[AclRule]) -> Result<(), AclError> {
    Acl::compile(&[vec![rules.to_vec()]], "name", "id").map(|_| ())
}

/// The lists of one client: what all of them allow, and of each any one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Acl {
    lists: Box<[Box<[List]>]>,
}

type List = Box<[Rule]>;

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    is_allowed: bool,
    action: AclAction,
    filter: TopicFilter,
    limits: Allowance,
    /// What it refuses is refused without a reason.
    is_silent: bool,
}

impl Acl {
    /// Puts a client's name and client id in, and checks every rule; `None` if there is no list.
    pub(crate) fn compile(
        lists: &[AnyOf],
        name: &str,
        client_id: &str,
    ) -> Result<Option<Self>, AclError> {
        let compile = |rules: &Vec<AclRule>| -> Result<List, AclError> {
            if rules.len() > ACL_RULES_MAX {
                return Err(AclError::TooLong);
            }
            let numbered = rules.iter().enumerate();
            numbered.map(|(at, rule)| rule.compile(at, name, client_id)).collect()
        };
        let compile_all = |any_of: &AnyOf| any_of.iter().map(compile).collect();
        let lists: Box<[_]> = lists.iter().map(compile_all).collect::<Result<_, _>>()?;
        Ok((!lists.is_empty()).then_some(Self { lists }))
    }

    /// What may be published on `topic`; `None` if nothing.
    pub(crate) fn publish(&self, topic: &TopicName) -> Option<Allowance> {
        self.decide(AclAction::Publish, |filter| filter.matches(topic))
    }

    /// The highest QoS that may be granted for `filter`; `None` if it may not be subscribed to.
    pub(crate) fn subscribe(&self, filter: &TopicFilter) -> Option<Qos> {
        // A rule that forbids a part of the filter leaves the rest; that part is kept back message by message.
        let limits = self.decide(AclAction::Subscribe, |own| own.covers(filter))?;
        Some(limits.qos_max)
    }

    /// Whether a message on `topic` may be given to the client.
    pub(crate) fn receive(&self, topic: &TopicName) -> bool {
        self.decide(AclAction::Subscribe, |filter| filter.matches(topic)).is_some()
    }

    /// Whether publishing on `topic` is refused without a reason.
    pub(crate) fn is_silent_on_publish(&self, topic: &TopicName) -> bool {
        self.is_silent(AclAction::Publish, |filter| filter.matches(topic))
    }

    /// Whether subscribing to `filter` is refused without a reason.
    pub(crate) fn is_silent_on_subscribe(&self, filter: &TopicFilter) -> bool {
        self.is_silent(AclAction::Subscribe, |own| own.covers(filter))
    }

    fn is_silent(&self, action: AclAction, fits: impl Fn(&TopicFilter) -> bool) -> bool {
        let mut lists = self.lists.iter().flatten();
        lists.any(|rules| deciding(rules, action, &fits).is_some_and(|rule| rule.is_silent))
    }

    fn decide(&self, action: AclAction, fits: impl Fn(&TopicFilter) -> bool) -> Option<Allowance> {
        let by_list = |rules: &List| {
            let rule = deciding(rules, action, &fits)?;
            rule.is_allowed.then_some(rule.limits)
        };
        self.lists.iter().try_fold(Allowance::ALL, |limits, any_of| {
            let allowed = any_of.iter().filter_map(by_list).reduce(Allowance::or)?;
            Some(limits.and(allowed))
        })
    }
}

/// The rule of a list that decides: the first one that fits.
fn deciding(rules: &List, action: AclAction, fits: impl Fn(&TopicFilter) -> bool) -> Option<&Rule> {
    let is_about = |rule: &&Rule| rule.action == action || rule.action == AclAction::All;
    rules.iter().filter(is_about).find(|rule| fits(&rule.filter))
}

impl AclRule {
    fn compile(&self, at: usize, name: &str, client_id: &str) -> Result<Rule, AclError> {
        let is_allowed = self.permission == AclPermission::Allow;
        if !is_allowed && (self.qos_max.is_some() || self.retain.is_some()) {
            return Err(AclError::LimitedDenial(at));
        }
        if is_allowed && self.reveal.is_some() {
            return Err(AclError::RevealingPermission(at));
        }
        if self.topic.contains("%c") && client_id.contains(['/', '+', '#']) {
            return Err(AclError::ClientId);
        }
        let qos_max = Qos::try_from(self.qos_max.unwrap_or(2)).map_err(|_| AclError::NoQos(at))?;
        Ok(Rule {
            is_allowed,
            action: self.action,
            filter: TopicFilter::parse(filled_in(&self.topic, name, client_id))
                .map_err(|_| AclError::NoFilter(at))?,
            limits: Allowance {
                qos_max,
                retained_qos_max: self.retain.unwrap_or(true).then_some(qos_max),
            },
            is_silent: self.reveal == Some(false),
        })
    }
}

/// One pass over the text: what a name or client id brings in is not looked at again.
fn filled_in(topic: &str, name: &str, client_id: &str) -> String {
    let mut text = String::with_capacity(topic.len() + name.len() + client_id.len());
    let mut rest = topic;
    while let Some(at) = rest.find('%') {
        let (before, mark) = rest.split_at(at);
        text.push_str(before);
        let (put, length) = match mark.as_bytes().get(1) {
            Some(b'u') => (name, 2),
            Some(b'c') => (client_id, 2),
            _ => ("%", 1),
        };
        text.push_str(put);
        rest = &mark[length..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(json: &str) -> Vec<AclRule> {
        serde_json::from_str(json).unwrap()
    }

    fn topic(text: &str) -> TopicName {
        TopicName::parse(text.to_owned()).unwrap()
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_without_one_the_answer_is_no() {
        let rules = list(
            r#"[{"permission":"deny","action":"all","topic":"a/secret/#"},
                {"permission":"allow","action":"publish","topic":"a/%u/+","qos_max":1,"retain":false},
                {"permission":"allow","action":"subscribe","topic":"a/#","qos_max":0},
                {"permission":"allow","action":"all","topic":"own/%c/%%x"}]"#,
        );
        let acl = Acl::compile(&[vec![rules]], "joe", "c1").unwrap().unwrap();
        let limited = Allowance { qos_max: Qos::AtLeastOnce, retained_qos_max: None };
        for (text, publish, receive) in [
            ("a/joe/x", Some(limited), true),
            ("a/joe/x/y", None, true),
            ("a/ann/x", None, true),
            ("a/secret/x", None, false),
            ("own/c1/%%x", Some(Allowance::ALL), true),
            ("own/c2/%%x", None, false),
            ("b", None, false),
        ] {
            assert_eq!(acl.publish(&topic(text)), publish, "{text}");
            assert_eq!(acl.receive(&topic(text)), receive, "{text}");
        }
        for (text, granted) in [
            ("a/#", Some(Qos::AtMostOnce)),
            ("a/+/x", Some(Qos::AtMostOnce)),
            ("a/secret/x", None),
            ("#", None),
            ("+/x", None),
        ] {
            assert_eq!(acl.subscribe(&filter(text)), granted, "{text}");
        }
    }

    #[test]
    fn two_lists_allow_what_both_do() {
        let wide = list(r#"[{"permission":"allow","action":"all","topic":"a/#","qos_max":1}]"#);
        let narrow =
            list(r#"[{"permission":"allow","action":"publish","topic":"a/b","retain":false}]"#);
        let acl = Acl::compile(&[vec![wide], vec![narrow]], "joe", "c").unwrap().unwrap();
        let both = Allowance { qos_max: Qos::AtLeastOnce, retained_qos_max: None };
        assert_eq!(acl.publish(&topic("a/b")), Some(both));
        assert_eq!(acl.publish(&topic("a/c")), None);
        assert!(!acl.receive(&topic("a/b")));
        assert_eq!(Acl::compile(&[], "joe", "c"), Ok(None));
    }

    #[test]
    fn of_the_lists_of_roles_any_one_is_enough_and_limits_do_not_mix() {
        let kept = list(r#"[{"permission":"allow","action":"publish","topic":"a","qos_max":0}]"#);
        let sure = list(
            r#"[{"permission":"deny","action":"all","topic":"b"},
                {"permission":"allow","action":"publish","topic":"+","retain":false}]"#,
        );
        let acl = Acl::compile(&[vec![kept, sure]], "joe", "c").unwrap().unwrap();
        let allowed = acl.publish(&topic("a")).unwrap();
        assert!(allowed.covers(Qos::AtMostOnce, true) && allowed.covers(Qos::ExactlyOnce, false));
        assert!(!allowed.covers(Qos::AtLeastOnce, true), "neither list allows it");
        assert_eq!(acl.publish(&topic("b")), None);
        assert!(acl.publish(&topic("c")).is_some() && !acl.receive(&topic("a")));
        let none = Acl::compile(&[Vec::new()], "joe", "c").unwrap().unwrap();
        assert_eq!(none.publish(&topic("a")), None, "no role, no right");
    }

    #[test]
    fn a_rule_that_reveals_nothing_is_silent_where_it_decides() {
        let rules = list(
            r#"[{"permission":"allow","action":"subscribe","topic":"a/open"},
                {"permission":"deny","action":"subscribe","topic":"a/+","reveal":false},
                {"permission":"deny","action":"publish","topic":"a/+"}]"#,
        );
        let acl = Acl::compile(&[vec![rules]], "joe", "c").unwrap().unwrap();
        assert!(acl.is_silent_on_subscribe(&filter("a/b")));
        assert!(!acl.is_silent_on_subscribe(&filter("a/open")), "another rule decides");
        assert!(!acl.is_silent_on_subscribe(&filter("b")), "no rule decides");
        assert!(!acl.is_silent_on_publish(&topic("a/b")), "it is about subscribing");
    }

    #[test]
    fn a_message_over_its_limits_is_not_covered() {
        let limits = Allowance { qos_max: Qos::AtLeastOnce, retained_qos_max: None };
        assert!(limits.covers(Qos::AtLeastOnce, false));
        assert!(!limits.covers(Qos::ExactlyOnce, false));
        assert!(!limits.covers(Qos::AtMostOnce, true));
    }

    #[test]
    fn a_list_that_cannot_be_kept_to_is_refused_as_a_whole() {
        let rule = |text: &str| list(&format!("[{text}]"));
        let allow = r#"{"permission":"allow","action":"all","topic":"x/%c"}"#;
        for (rules, client_id, expected) in [
            (rule(allow), "a/b", AclError::ClientId),
            (rule(allow), "+", AclError::ClientId),
            (
                rule(r#"{"permission":"allow","action":"all","topic":"a/#/b"}"#),
                "c",
                AclError::NoFilter(0),
            ),
            (
                rule(r#"{"permission":"allow","action":"all","topic":"a","qos_max":3}"#),
                "c",
                AclError::NoQos(0),
            ),
            (
                rule(r#"{"permission":"deny","action":"all","topic":"a","retain":false}"#),
                "c",
                AclError::LimitedDenial(0),
            ),
            (
                rule(r#"{"permission":"allow","action":"all","topic":"a","reveal":false}"#),
                "c",
                AclError::RevealingPermission(0),
            ),
            (vec![rule(allow)[0].clone(); ACL_RULES_MAX + 1], "c", AclError::TooLong),
        ] {
            assert_eq!(Acl::compile(&[vec![rules]], "joe", client_id), Err(expected));
        }
    }
}
