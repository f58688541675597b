//! A store of format 1, which had its queues in redb, opens and holds what it held.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use redb::{Database, TableDefinition};
use std::path::Path;
use store::{Changes, ReadError, SessionKey, Store};

const META: TableDefinition<'static, &str, &str> = TableDefinition::new("meta");
const QUEUE: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("queue");
const BODIES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("queue_bodies");
const BODY_REFS: TableDefinition<'static, u64, u32> = TableDefinition::new("queue_body_refs");

fn framed(key: &[u8], payload: &[u8]) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[1]), key), payload);
    [&[1], sum.to_le_bytes().as_slice(), payload].concat()
}

fn key(session: u64, seq: u64) -> [u8; 16] {
    [session.to_be_bytes(), seq.to_be_bytes()].concat().try_into().unwrap()
}

/// Session 1 has a message of its own that expires, both have one that they share, and session 2
/// one that nobody can read.
fn old_store(path: &Path) {
    let database = Database::create(path).unwrap();
    let txn = database.begin_write().unwrap();
    {
        txn.open_table(META).unwrap().insert("format", "1").unwrap();
        let mut queue = txn.open_table(QUEUE).unwrap();
        let mut put = |key: [u8; 16], payload: &[u8]| {
            queue.insert(&key, framed(&key, payload).as_slice()).unwrap();
        };
        put(key(1, 5), &[&[7, 1], 99_u64.to_le_bytes().as_slice(), b"own"].concat());
        let shared = [&[0, 2], 3_u64.to_le_bytes().as_slice(), &6_u32.to_le_bytes()].concat();
        put(key(1, 6), &shared);
        put(key(2, 1), &shared);
        queue.insert(&key(2, 2), b"torn".as_slice()).unwrap();
        let body = framed(&3_u64.to_be_bytes(), b"shared");
        txn.open_table(BODIES).unwrap().insert(3, body.as_slice()).unwrap();
        txn.open_table(BODY_REFS).unwrap().insert(3, 2).unwrap();
    }
    txn.commit().unwrap();
}

fn check(store: &Store) {
    let snapshot = store.read().unwrap();
    let queue = snapshot.queue(SessionKey(1), 0, 10, 1000).unwrap();
    let found: Vec<_> =
        queue.iter().map(|it| (it.seq, it.flags, it.expires_at_ms, &it.body[..])).collect();
    assert_eq!(found, [(5, 7, Some(99), b"own".as_slice()), (6, 0, None, b"shared")]);
    let queue = snapshot.queue(SessionKey(2), 0, 10, 1000).unwrap();
    assert_eq!(
        queue.iter().map(|it| (it.seq, &it.body[..])).collect::<Vec<_>>(),
        [(1, b"shared".as_slice())]
    );
    let torn = snapshot.queue(SessionKey(2), 1, 10, 1000);
    assert!(matches!(torn, Err(ReadError::Unreadable { .. })), "{torn:?}");
}

#[tokio::test]
async fn a_store_without_a_log_is_brought_up_to_one_with_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    old_store(&path);
    // What a migration that was interrupted has left.
    std::fs::create_dir(dir.path().join("store.log")).unwrap();
    std::fs::write(dir.path().join("store.log/0000000000000001.segment"), b"half").unwrap();
    let store = Store::open(&path).unwrap();
    check(&store);
    drop(store);
    let store = Store::open(&path).unwrap();
    check(&store);
    let mut changes = Changes::new();
    [1, 2].into_iter().for_each(|session| changes.dequeue_all(SessionKey(session)));
    store.commit(changes).await.unwrap();
    assert_eq!(store.read().unwrap().queue_stat(SessionKey(2)).unwrap().count, 0);
}
