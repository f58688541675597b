//! Records that an operator creates, changes and deletes until the node is gone, and what they must be afterwards.
//!
//! One operator works on the records of a kind, a request at a time: so each answer is known beforehand, and after a
//! kill at most one record may be in either of two states.

use crate::admin::Admin;
use crate::random::Random;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Records of a kind.
const RECORDS: u64 = 6;

/// What is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Their number is an attribute.
    Things,
    /// Their number is the description.
    Groups,
    /// Their number is how many things they may register.
    Enrolments,
    /// Their number is in the pattern of a grant.
    Roles,
}

/// What a record is: absent, or there with its number.
type State = Option<u64>;

/// See the module.
#[derive(Debug, Default)]
pub struct Deeds {
    states: BTreeMap<u64, State>,
    /// The record that a request was under way for, and what that would have made of it.
    under_way: Option<(u64, State)>,
    number: u64,
    answered: u64,
    refused: u64,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Things, Self::Groups, Self::Enrolments, Self::Roles];

    /// The resource of the admin API, and the field that names a record of it.
    fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Things => ("things", "thing"),
            Self::Groups => ("groups", "group"),
            Self::Enrolments => ("enrolments", "enrolment"),
            Self::Roles => ("roles", "role"),
        }
    }

    fn name(self, record: u64) -> String {
        format!("{self:?}-{record}").to_lowercase()
    }

    /// A request about a record, with its number if one is given.
    fn request(self, record: u64, number: Option<u64>) -> Value {
        let (_, field) = self.resource();
        let mut request = json!({ field: self.name(record) });
        let Some(number) = number else { return request };
        match self {
            Self::Things => request["attributes"] = json!({ "n": number }),
            Self::Groups => request["description"] = json!(number.to_string()),
            Self::Enrolments => request["things_max"] = json!(number),
            Self::Roles => {
                let topic = format!("n/{number}");
                let grant = json!({ "permission": "allow", "action": "publish", "topic": topic });
                request["acl"] = json!([grant]);
            }
        }
        request
    }

    /// The number that a record shows.
    fn number(self, shown: &Value) -> Option<u64> {
        match self {
            Self::Things => shown["attributes"]["n"].as_u64(),
            Self::Groups => shown["description"].as_str()?.parse().ok(),
            Self::Enrolments => shown["things_max"].as_u64(),
            Self::Roles => shown["acl"][0]["topic"].as_str()?.strip_prefix("n/")?.parse().ok(),
        }
    }
}

/// Creates, changes and deletes, rightly and wrongly, until the connection ends.
pub async fn work(mut admin: Admin, kind: Kind, mut deeds: Deeds, mut random: Random) -> Deeds {
    let (resource, _) = kind.resource();
    loop {
        let record = random.below(RECORDS);
        deeds.number += 1;
        let number = Some(deeds.number);
        let now = deeds.states.get(&record).copied().flatten();
        let (verb, mut request, then, code) = match (random.below(4), now) {
            (0 | 1, None) => ("create", kind.request(record, number), number, None),
            (0 | 1, Some(_)) => ("update", kind.request(record, number), number, None),
            (2, Some(_)) => ("delete", kind.request(record, None), None, None),
            (2, None) => ("delete", kind.request(record, None), now, Some("not_found")),
            (_, Some(_)) => ("create", kind.request(record, number), now, Some("already_exists")),
            (_, None) => ("update", kind.request(record, number), now, Some("not_found")),
        };
        if (kind, verb) == (Kind::Roles, "create") {
            request["base"] = json!("app");
        }
        deeds.under_way = Some((record, then));
        let Some(answer) = admin.ask_until_gone(resource, verb, request.clone()).await else {
            return deeds;
        };
        let given = answer.as_ref().err().map(|error| error["code"].clone());
        assert_eq!(given, code.map(Value::from), "{resource} {verb} {request}: {answer:?}");
        deeds.under_way = None;
        deeds.states.insert(record, then);
        match code {
            Some(_) => deeds.refused += 1,
            None => deeds.answered += 1,
        }
    }
}

impl Deeds {
    /// Compares each record with what it must be, and takes what was under way for what it has become.
    pub async fn settle(&mut self, admin: &mut Admin, kind: Kind, round: u64) {
        let (resource, _) = kind.resource();
        let under_way = self.under_way.take();
        for record in 0..RECORDS {
            let found = admin.ask(resource, "get", kind.request(record, None)).await;
            let found = match found {
                Ok(shown) => {
                    let number = kind.number(&shown);
                    assert!(number.is_some(), "round {round}: {shown} has no number");
                    number
                }
                Err(error) => {
                    assert_eq!(error["code"], "not_found", "round {round}: {error}");
                    None
                }
            };
            let promised = self.states.get(&record).copied().flatten();
            let possible = under_way.filter(|(which, _)| *which == record).map(|(_, then)| then);
            assert!(
                found == promised || Some(found) == possible,
                "round {round}: {resource} {record} is {found:?}, not {promised:?} (or {possible:?})"
            );
            self.states.insert(record, found);
        }
    }

    /// How much was answered: a line to print.
    pub fn summary(&self) -> String {
        format!("{} answered ok, {} with an error", self.answered, self.refused)
    }
}
