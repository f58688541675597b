//! Files and rows that are not as they should be: each says exactly what is wrong, and nothing else
//! suffers.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use bytes::Bytes;
use redb::{Database, ReadableDatabase as _, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use std::path::Path;
use store::{
    Changes, OpenError, QueueRef, ReadError, Row, RowError, RowKey, SessionKey, Store, decode_json,
    encode_json,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    value: u32,
}

impl Row for Reading {
    type Key = String;
    const TABLE: &'static str = "readings";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        encode_json(self, out);
    }

    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        decode_json(version, bytes)
    }
}

const READINGS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("readings");
const QUEUE: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("queue_places");
const META: TableDefinition<'static, &str, &str> = TableDefinition::new("meta");

/// Three readings, and two messages for one session.
async fn filled(path: &Path) {
    let store = Store::open(path).unwrap();
    let mut changes = Changes::new();
    for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
        changes.put(&key.to_owned(), &Reading { value });
    }
    for seq in [1, 2] {
        let place = QueueRef { session: SessionKey(7), seq, flags: 0, expires_at_ms: None };
        changes.enqueue(Bytes::from_static(b"hello"), vec![place]);
    }
    store.commit(changes).await.unwrap();
    store.close().await.unwrap();
}

fn break_reading(path: &Path, how: impl Fn(Vec<u8>) -> Vec<u8>) {
    let database = Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    {
        let mut table = txn.open_table(READINGS).unwrap();
        let row = table.get(b"b\0".as_slice()).unwrap().unwrap().value().to_vec();
        table.insert(b"b\0".as_slice(), how(row).as_slice()).unwrap();
    }
    txn.commit().unwrap();
}

#[tokio::test]
async fn an_unreadable_row_is_reported_and_counted_and_its_neighbours_are_read() {
    let dir = tempfile::tempdir().unwrap();
    type Break = fn(Vec<u8>) -> Vec<u8>;
    let ways: [(&str, Break); 5] = [
        ("emptied", |_| Vec::new()),
        ("cut", |row| row[..row.len() - 1].to_vec()),
        ("garbage", |_| vec![0xA5; 100]),
        ("another version", |mut row| {
            row[0] = 9;
            row
        }),
        ("one bit", |mut row| {
            row[7] ^= 4;
            row
        }),
    ];
    for (name, how) in ways {
        let path = dir.path().join(name);
        filled(&path).await;
        break_reading(&path, how);
        let store = Store::open(&path).unwrap();
        let snapshot = store.read().unwrap();
        let key = "b".to_owned();
        let error = snapshot.get::<Reading>(&key).unwrap_err();
        let ReadError::Unreadable { table: "readings", key: bytes, .. } = &error else {
            panic!("{name}: {error:?}");
        };
        assert_eq!(String::decode(bytes), Some(key.clone()));
        assert_eq!(snapshot.contains::<Reading>(&key), Ok(true));
        let rows = snapshot.scan::<Reading>(&[]).unwrap();
        assert_eq!(rows[0], Ok(("a".into(), Reading { value: 1 })), "{name}");
        assert_eq!(rows[1], Err(error), "{name}");
        assert_eq!(rows[2], Ok(("c".into(), Reading { value: 3 })), "{name}");
        assert_eq!(store.figures().unreadable, 2, "{name}");
        drop(snapshot);
        let mut changes = Changes::new();
        changes.put(&key, &Reading { value: 5 });
        store.commit(changes).await.unwrap();
        assert_eq!(store.read().unwrap().get(&key), Ok(Some(Reading { value: 5 })), "{name}");
    }
}

#[tokio::test]
async fn an_unreadable_message_can_be_skipped_and_the_rest_of_its_queue_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    filled(&path).await;
    {
        let database = Database::open(&path).unwrap();
        let txn = database.begin_write().unwrap();
        {
            let mut queue = txn.open_table(QUEUE).unwrap();
            let first = queue.first().unwrap().map(|(key, _)| *key.value()).unwrap();
            queue.insert(&first, b"torn".as_slice()).unwrap();
        }
        txn.commit().unwrap();
    }
    let store = Store::open(&path).unwrap();
    let session = SessionKey(7);
    let error = store.read().unwrap().queue(session, 0, 10, 1000).unwrap_err();
    let ReadError::Unreadable { table: "queue_places", key, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(<(u64, u64)>::decode(key), Some((7, 1)));
    assert_eq!(store.read().unwrap().queue_stat(session).unwrap().count, 2);
    let mut changes = Changes::new();
    changes.dequeue(session, 1);
    store.commit(changes).await.unwrap();
    let queue = store.read().unwrap().queue(session, 0, 10, 1000).unwrap();
    assert_eq!(queue.iter().map(|queued| queued.seq).collect::<Vec<_>>(), [2]);
    assert_eq!(store.figures().unreadable, 2);
}

#[test]
fn what_is_no_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noise");
    std::fs::write(&path, vec![0x5A; 10_000]).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), vec![0x5A; 10_000], "a foreign file was touched");
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    filled(&path).await;
    {
        let database = Database::open(&path).unwrap();
        let txn = database.begin_write().unwrap();
        txn.open_table(META).unwrap().insert("format", "4").unwrap();
        txn.commit().unwrap();
    }
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 4, known: 3, .. }));
    assert!(error.to_string().contains("format 4, which is newer than format 3"), "{error}");
}

#[tokio::test]
async fn a_store_without_segments_of_moved_bodies_is_of_this_format_when_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    filled(&path).await;
    let format = || {
        let txn = Database::open(&path).unwrap().begin_read().unwrap();
        let meta = txn.open_table(META).unwrap();
        meta.get("format").unwrap().unwrap().value().to_owned()
    };
    {
        let txn = Database::open(&path).unwrap().begin_write().unwrap();
        txn.open_table(META).unwrap().insert("format", "2").unwrap();
        txn.commit().unwrap();
    }
    filled(&path).await;
    assert_eq!(format(), "3");
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_last_handle_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Store::open(&path).unwrap();
    let clone = store.clone();
    drop(store);
    assert!(matches!(Store::open(&path), Err(OpenError::AlreadyOpen { .. })));
    drop(clone);
    Store::open(&path).unwrap();
}
