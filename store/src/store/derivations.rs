//! Derivations: what the writer works out from a row, with batches formed on purpose and a row that is damaged.

use super::*;
use crate::medium::MemoryMedium;
use crate::row::{Row, RowError, decode_json, encode_json};
use serde::{Deserialize, Serialize};

/// How often something was counted, and what was counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Count(u64);

impl Row for Count {
    type Key = String;
    const TABLE: &'static str = "counts";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        decode_json(version, bytes)
    }
}

/// The same table, as a later release writes it.
struct LaterCount;

impl Row for LaterCount {
    type Key = String;
    const TABLE: &'static str = "counts";
    const VERSION: u8 = 2;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(b"later");
    }
    fn decode(_: u8, _: &[u8]) -> Result<Self, RowError> {
        Ok(Self)
    }
}

fn count(changes: &mut Changes, name: &str) {
    let key = name.to_owned();
    changes.derive::<Count>(&name.to_owned(), 8, move |row| {
        let mut changes = Changes::new();
        changes.put(&key, &Count(row.map_or(1, |Count(count)| count + 1)));
        changes
    });
}

fn counted(store: &Store, name: &str) -> Option<u64> {
    store.read().unwrap().get::<Count>(&name.to_owned()).unwrap().map(|it| it.0)
}

#[tokio::test]
async fn no_count_is_lost_within_a_set_between_sets_and_over_a_checkpoint() {
    let bounds = crate::writer::Bounds { recent_bytes: 4096, ..Default::default() };
    let mode = Mode { bounds, ..Mode::default() };
    let store = Store::threaded(Arc::new(MemoryMedium::default()), mode).unwrap();
    let commits: Vec<_> = (0..500)
        .map(|_| {
            let mut changes = Changes::new();
            count(&mut changes, "a");
            count(&mut changes, "b");
            count(&mut changes, "a");
            store.submit(changes)
        })
        .collect();
    for commit in commits {
        commit.await.unwrap();
    }
    assert_eq!((counted(&store, "a"), counted(&store, "b")), (Some(1000), Some(500)));
    assert!(store.figures().batches < 500, "{:?}", store.figures());
}

#[tokio::test]
async fn a_row_that_cannot_be_read_refuses_its_set_alone_and_stays() {
    let store = Store::in_memory().unwrap();
    let mut changes = Changes::new();
    changes.put(&"later".to_owned(), &LaterCount);
    store.commit(changes).await.unwrap();
    let mut refused = Changes::new();
    count(&mut refused, "good");
    count(&mut refused, "later");
    let mut beside = Changes::new();
    count(&mut beside, "good");
    let (refused, beside) = (store.submit(refused), store.submit(beside));
    let error = refused.await.unwrap_err().to_string();
    assert!(error.contains("table counts") && error.contains("unknown version 2"), "{error}");
    beside.await.unwrap();
    assert_eq!(counted(&store, "good"), Some(1));
    let snapshot = store.read().unwrap();
    assert!(snapshot.get::<LaterCount>(&"later".to_owned()).unwrap().is_some());
}
