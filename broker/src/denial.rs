//! A refusal: its reason code, and why, in a sentence for people (the Reason String of MQTT 5.0, as in 3.4.2.2.2).
//!
//! A sentence names the rule or the limit that is in the way, and tells nothing of anybody else. It is kept as what it
//! is made of and put together only when it is written: who is not refused pays nothing for it.

use crate::reason::Reason;
use proto::topic::TopicError;
use std::fmt;

/// The longest sentence that a part of the platform may give, in bytes; a longer one is cut.
const SAID_BYTES_MAX: usize = 256;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) reason: Reason,
    pub(crate) why: Why,
}

/// Why, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// A rule.
    Rule(&'static str),
    /// So much is more than a limit.
    Over(Limit, u32, u32),
    /// A limit has been reached.
    Full(Limit, u32),
    /// A text is no topic name or filter.
    Topic(TopicError),
    /// In the words of somebody else.
    Said(Box<str>),
    /// Of the filter with this number, in a packet with several.
    OfFilter(u32, Box<Why>),
}

/// A limit as the configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    TopicBytes,
    TopicLevels,
    ResponseTopicBytes,
    ClientIdBytes,
    Subscriptions,
    UnsentSubscriptions,
    RetainedMessages,
    RetainedBytes,
    QueuedBytes,
    NamespaceClients,
    NamespaceSessions,
    NamespaceConnects,
    PacketBytes,
    Unreleased,
    TopicAliases,
}

impl Limit {
    /// What is counted, and the key of its limit.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::TopicBytes => ("topic bytes", "limits.topic_bytes_max"),
            Self::TopicLevels => ("topic levels", "limits.topic_levels_max"),
            Self::ResponseTopicBytes => ("response topic bytes", "limits.topic_bytes_max"),
            Self::ClientIdBytes => ("client id bytes", "limits.client_id_bytes_max"),
            Self::Subscriptions => ("subscriptions of the session", "limits.subscriptions_max"),
            Self::UnsentSubscriptions => {
                ("subscriptions whose retained messages wait", "limits.subscriptions_max")
            }
            Self::RetainedMessages => {
                ("retained messages of the namespace", "limits.retained_messages_max")
            }
            Self::RetainedBytes => ("retained bytes of the namespace", "limits.retained_bytes_max"),
            Self::QueuedBytes => {
                ("bytes that wait for clients of the namespace", "quota.queued_bytes")
            }
            Self::NamespaceClients => {
                ("clients of the namespace", "limits.namespace.connections_max")
            }
            Self::NamespaceSessions => {
                ("sessions of the namespace", "limits.namespace.sessions_max")
            }
            Self::NamespaceConnects => {
                ("new clients of the namespace a second", "limits.namespace.connects_per_sec_max")
            }
            Self::PacketBytes => ("bytes of a packet", "limits.packet_bytes_max"),
            Self::Unreleased => ("messages of QoS 2 not released", "limits.receive_max"),
            Self::TopicAliases => ("topic aliases", "limits.topic_aliases_max"),
        }
    }
}

impl Denial {
    pub(crate) fn new(reason: Reason, why: Why) -> Self {
        Self { reason, why }
    }

    /// By a rule.
    pub(crate) fn rule(reason: Reason, rule: &'static str) -> Self {
        Self::new(reason, Why::Rule(rule))
    }

    /// Because `found` is more than `max`.
    pub(crate) fn over(reason: Reason, limit: Limit, found: usize, max: usize) -> Self {
        Self::new(reason, Why::Over(limit, count(found), count(max)))
    }

    /// Because `limit` is reached.
    pub(crate) fn full(reason: Reason, limit: Limit, max: usize) -> Self {
        Self::new(reason, Why::Full(limit, count(max)))
    }

    /// Because memory is short.
    pub(crate) fn memory_short(reason: Reason) -> Self {
        Self::rule(reason, "memory is short, try again later (limits.memory_bytes_max)")
    }
}

impl Why {
    /// In somebody else's words, cut to a bounded length and without what a text may not hold (1.5.4).
    pub(crate) fn said(text: &str) -> Self {
        let end = text.floor_char_boundary(SAID_BYTES_MAX);
        let tame = |it: char| if it.is_control() { ' ' } else { it };
        Self::Said(text[..end].chars().map(tame).collect::<String>().into())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => f.write_str(rule),
            Self::Over(limit, found, max) => {
                let (what, key) = limit.words();
                write!(f, "{what}: {found}, at most {max} ({key})")
            }
            Self::Full(limit, max) => {
                let (what, key) = limit.words();
                write!(f, "{what}: at most {max} ({key})")
            }
            Self::Topic(error) => error.fmt(f),
            Self::Said(text) => f.write_str(text),
            Self::OfFilter(number, why) => write!(f, "filter {number}: {why}"),
        }
    }
}

/// The outcomes of a packet with several filters as codes, and why the first that is refused is.
pub(crate) fn told<T>(outcomes: Vec<Result<T, Denial>>) -> (Vec<Result<T, Reason>>, Option<Why>) {
    let has_several = outcomes.len() > 1;
    let mut first = None;
    let tell = |(at, outcome): (usize, Result<T, Denial>)| {
        outcome.map_err(|Denial { reason, why }| {
            first.get_or_insert_with(|| match has_several {
                true => Why::OfFilter(count(at + 1), Box::new(why)),
                false => why,
            });
            reason
        })
    };
    let codes = outcomes.into_iter().enumerate().map(tell).collect();
    (codes, first)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_with_its_key() {
        let denial = Denial::over(Reason::TopicNameInvalid, Limit::TopicLevels, 130, 128);
        assert_eq!(
            denial.why.to_string(),
            "topic levels: 130, at most 128 (limits.topic_levels_max)"
        );
        let denial = Denial::full(Reason::QuotaExceeded, Limit::NamespaceSessions, 5);
        let expected = "sessions of the namespace: at most 5 (limits.namespace.sessions_max)";
        assert_eq!(denial.why.to_string(), expected);
    }

    #[test]
    fn the_first_filter_that_is_refused_is_named_if_there_are_several() {
        let no = |rule| Err(Denial::rule(Reason::NotAuthorized, rule));
        let refused = Err(Reason::NotAuthorized);
        let (codes, why) = told(vec![Ok(1), no("a"), no("b")]);
        assert_eq!(codes, [Ok(1), refused, refused]);
        assert_eq!(why.unwrap().to_string(), "filter 2: a");
        assert_eq!(told::<u8>(vec![no("a")]).1, Some(Why::Rule("a")));
        assert_eq!(told(vec![Ok(1), Ok(2)]), (vec![Ok(1), Ok(2)], None));
    }

    #[test]
    fn what_somebody_says_is_cut_and_tame() {
        assert_eq!(Why::said("a\0b\nc").to_string(), "a b c");
        let long = "é".repeat(SAID_BYTES_MAX);
        assert_eq!(Why::said(&format!("x{long}")).to_string().len(), SAID_BYTES_MAX - 1);
    }
}
