//! The answers of mutations that carried a `request_id`, so that a repeated one is answered and not
//! done again.
//!
//! Kept per caller, the last `answers_max` of a namespace as far as they have 16 MiB, in the commit of the
//! mutation. A secret or token in an answer is given again while the process lives, and is not written: the store holds
//! no secret, only hashes.

use proto::id::RequestId;
use proto::{Namespace, Refusal, RefusalCode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap};
use store::{Changes, Row, RowError};

/// The fields of an answer that are not written.
const SECRETS: [&str; 2] = ["secret", "token"];

/// The bytes of the answers of one namespace, as JSON: some are whole tables.
const BYTES_MAX: usize = 16 * 1024 * 1024;

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
    /// With the bytes of each.
    rows: BTreeMap<u64, (AnswerRow, usize)>,
    bytes: usize,
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
            Some((row, _)) if row.operation == operation => Ok(Some(&row.data)),
            Some((row, _)) => {
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
        without_secrets(&mut written.data);
        changes.put::<AnswerRow>(&(namespace.clone(), number), &written);
        let (mut count, mut bytes) = (self.rows.len() + 1, self.bytes + weight(&row));
        for (number, (_, weight)) in &self.rows {
            if count <= max && bytes <= BYTES_MAX {
                break;
            }
            changes.delete::<AnswerRow>(&(namespace.clone(), *number));
            count -= 1;
            bytes -= weight;
        }
        (number, row)
    }

    /// The planned answer is kept.
    pub(super) fn kept(&mut self, (number, row): (u64, AnswerRow), max: usize) {
        self.insert(number, row);
        while self.rows.len() > max || self.bytes > BYTES_MAX && self.rows.len() > 1 {
            if let Some((_, (row, weight))) = self.rows.pop_first() {
                self.bytes -= weight;
                self.numbers.remove(&(row.caller, row.request_id));
            }
        }
    }

    fn insert(&mut self, number: u64, row: AnswerRow) {
        self.numbers.insert((row.caller.clone(), row.request_id.clone()), number);
        let weight = weight(&row);
        self.bytes += weight;
        if let Some((_, before)) = self.rows.insert(number, (row, weight)) {
            self.bytes -= before;
        }
    }
}

fn weight(row: &AnswerRow) -> usize {
    row.data.to_string().len()
}

/// Takes the secrets out of an answer, those of the rows of a table among them.
fn without_secrets(data: &mut Json) {
    match data {
        Json::Object(fields) => {
            SECRETS.iter().for_each(|secret| drop(fields.remove(*secret)));
            fields.values_mut().for_each(without_secrets);
        }
        Json::Array(items) => items.iter_mut().for_each(without_secrets),
        _ => {}
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
            let data = json!({ "thing": number, "rows": [{ "secret": "s3cret" }] });
            let planned = answers.plan((&namespace, MAX), &mut changes, asked, &data);
            store.commit(changes).await.unwrap();
            answers.kept(planned, MAX);
        }
        let found = |answers: &Answers, number| {
            answers.find("ann", &id(number), "things create").unwrap().cloned()
        };
        assert_eq!(found(&answers, 1), None);
        assert_eq!(
            found(&answers, 2),
            Some(json!({ "thing": 2, "rows": [{ "secret": "s3cret" }] }))
        );
        assert_eq!(answers.find("bob", &id(2), "things create"), Ok(None));
        assert_eq!(
            answers.find("ann", &id(2), "things delete").unwrap_err().code,
            RefusalCode::Invalid
        );

        let rows = store.read().unwrap().scan::<AnswerRow>(&store::prefix(&namespace)).unwrap();
        let rows: Vec<_> = rows.into_iter().map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), MAX);
        assert!(!format!("{rows:?}").contains("s3cret"));
        let restarted = Answers::new(rows.into_iter().map(|((_, number), row)| (number, row)));
        assert_eq!(found(&restarted, 4), Some(json!({ "thing": 4, "rows": [{}] })));
        assert_eq!(found(&restarted, 1), None);
    }

    #[tokio::test]
    async fn large_answers_push_out_more_than_one() {
        let store = Store::in_memory().unwrap();
        let namespace = Namespace::default();
        let mut answers = Answers::default();
        for (number, bytes) in [(0, 10), (1, 10), (2, BYTES_MAX - 20), (3, 10), (4, BYTES_MAX * 2)]
        {
            let mut changes = Changes::new();
            let id = id(number);
            let data = json!("x".repeat(bytes));
            let planned = answers.plan((&namespace, 9), &mut changes, ("ann", &id, "a b"), &data);
            store.commit(changes).await.unwrap();
            answers.kept(planned, 9);
            let stored = store.read().unwrap().scan::<AnswerRow>(&[]).unwrap().len();
            let expected = [1, 2, 2, 2, 1][number];
            assert_eq!((answers.rows.len(), stored), (expected, expected), "after {number}");
        }
    }
}
