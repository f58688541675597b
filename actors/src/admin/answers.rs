//! The answers of mutations that carried a `request_id`, so that a repeated one is answered and not
//! done again.
//!
//! Kept per caller, the last `answers_max` of a namespace, in the commit of the mutation. A secret or
//! token in an answer is given again while the process lives, and is not written: the store holds no
//! secret, only hashes.

use proto::id::RequestId;
use proto::{Namespace, Refusal, RefusalCode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap};
use store::{Changes, Row, RowError};

/// The fields of an answer that are not written.
const SECRETS: [&str; 2] = ["secret", "token"];

/// One kept answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerRow {
    /// Who asked.
    caller: String,
    /// As what.
    request_id: RequestId,
    /// The resource and verb.
    operation: String,
    /// What was answered.
    data: Json,
}

/// The kept answers of one namespace.
#[derive(Default)]
pub(super) struct Answers {
    numbers: HashMap<(String, RequestId), u64>,
    rows: BTreeMap<u64, AnswerRow>,
}

impl Answers {
    /// The answers that are stored.
    pub(super) fn new(rows: impl IntoIterator<Item = (u64, AnswerRow)>) -> Self {
        let mut answers = Self::default();
        for (number, row) in rows {
            answers.insert(number, row);
        }
        answers
    }

    /// The answer to a request that was done before; refused if the id stood for something else.
    pub(super) fn find(
        &self,
        caller: &str,
        request_id: &RequestId,
        operation: &str,
    ) -> Result<Option<&Json>, Refusal> {
        let number = self.numbers.get(&(caller.to_owned(), request_id.clone()));
        match number.and_then(|number| self.rows.get(number)) {
            None => Ok(None),
            Some(row) if row.operation == operation => Ok(Some(&row.data)),
            Some(row) => {
                let message = format!("the request id was used for `{}` before", row.operation);
                Err(Refusal::new(RefusalCode::Invalid, message).at("request_id"))
            }
        }
    }

    /// Plans to keep an answer: adds it to the commit, and drops the oldest there beyond `max`.
    pub(super) fn plan(
        &self,
        (namespace, max): (&Namespace, usize),
        changes: &mut Changes,
        (caller, request_id, operation): (&str, &RequestId, &str),
        data: &Json,
    ) -> (u64, AnswerRow) {
        let number = self.rows.last_key_value().map_or(0, |(number, _)| number + 1);
        let row = AnswerRow {
            caller: caller.to_owned(),
            request_id: request_id.clone(),
            operation: operation.to_owned(),
            data: data.clone(),
        };
        let mut written = row.clone();
        if let Json::Object(fields) = &mut written.data {
            SECRETS.iter().for_each(|secret| drop(fields.remove(*secret)));
        }
        changes.put::<AnswerRow>(&(namespace.clone(), number), &written);
        let excess = (self.rows.len() + 1).saturating_sub(max);
        for number in self.rows.keys().take(excess) {
            changes.delete::<AnswerRow>(&(namespace.clone(), *number));
        }
        (number, row)
    }

    /// The planned answer is kept.
    pub(super) fn kept(&mut self, (number, row): (u64, AnswerRow), max: usize) {
        self.insert(number, row);
        while self.rows.len() > max {
            if let Some((_, row)) = self.rows.pop_first() {
                self.numbers.remove(&(row.caller, row.request_id));
            }
        }
    }

    fn insert(&mut self, number: u64, row: AnswerRow) {
        self.numbers.insert((row.caller.clone(), row.request_id.clone()), number);
        self.rows.insert(number, row);
    }
}

impl Row for AnswerRow {
    type Key = (Namespace, u64);
    const TABLE: &'static str = "admin_answers";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use store::Store;

    const MAX: usize = 3;

    fn id(number: usize) -> RequestId {
        RequestId::parse(&format!("r{number}")).unwrap()
    }

    #[tokio::test]
    async fn the_last_answers_are_kept_also_over_a_restart_but_no_secret_is() {
        let store = Store::in_memory().unwrap();
        let namespace = Namespace::default();
        let mut answers = Answers::default();
        for number in 0..5 {
            let mut changes = Changes::new();
            let id = id(number);
            let asked = ("ann", &id, "things create");
            let data = json!({ "thing": number, "secret": "s3cret" });
            let planned = answers.plan((&namespace, MAX), &mut changes, asked, &data);
            store.commit(changes).await.unwrap();
            answers.kept(planned, MAX);
        }
        let found = |answers: &Answers, number| {
            answers.find("ann", &id(number), "things create").unwrap().cloned()
        };
        assert_eq!(found(&answers, 1), None);
        assert_eq!(found(&answers, 2), Some(json!({ "thing": 2, "secret": "s3cret" })));
        assert_eq!(answers.find("bob", &id(2), "things create"), Ok(None));
        assert_eq!(
            answers.find("ann", &id(2), "things delete").unwrap_err().code,
            RefusalCode::Invalid
        );

        let rows = store.read().unwrap().scan::<AnswerRow>(&store::prefix(&namespace)).unwrap();
        let rows: Vec<_> = rows.into_iter().map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), MAX);
        let restarted = Answers::new(rows.into_iter().map(|((_, number), row)| (number, row)));
        assert_eq!(found(&restarted, 4), Some(json!({ "thing": 4 })));
        assert_eq!(found(&restarted, 1), None);
    }
}
