//! Backups of stores that are written to meanwhile, and files that are not what they were.

use super::*;
use crate::changes::Changes;
use crate::error::OpenError;
use crate::medium::MemoryMedium;
use crate::queue::{QueueRef, SessionKey};
use crate::row::{Row, RowError, decode_json, encode_json};
use crate::writer::{Bounds, Mode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Number(u64);

impl Row for Number {
    type Key = u64;
    const TABLE: &'static str = "numbers";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        decode_json(version, bytes)
    }
}

/// The same table, as the next release writes it.
struct LaterNumber;

impl Row for LaterNumber {
    type Key = u64;
    const TABLE: &'static str = "numbers";
    const VERSION: u8 = 2;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(b"{}");
    }
    fn decode(_: u8, _: &[u8]) -> Result<Self, RowError> {
        Ok(Self)
    }
}

/// Small bounds: checkpoints, several segments and compaction within a few hundred commits.
fn small() -> Store {
    let bounds = Bounds { segment_bytes: 8192, recent_bytes: 16384, log_bytes: 32768 };
    let mode = Mode { bounds, ..Mode::default() };
    Store::threaded(Arc::new(MemoryMedium::default()), mode).unwrap()
}

const SESSIONS: u64 = 3;

/// A row, and a message for some sessions, both telling the number.
fn step(number: u64) -> Changes {
    let mut changes = Changes::new();
    changes.put(&number, &Number(number));
    if number > 20 && number.is_multiple_of(3) {
        changes.delete::<Number>(&(number - 20));
    }
    let refs = (0..=number % SESSIONS).map(|session| QueueRef {
        session: SessionKey(session),
        seq: number + 1,
        flags: (number % 5) as u8,
        expires_at_ms: number.is_multiple_of(2).then_some(number),
    });
    let body = format!("message {number} {}", "x".repeat(number as usize % 200));
    changes.enqueue(Bytes::from(body), refs.collect());
    if number > 50 {
        changes.dequeue(SessionKey(0), number - 50);
    }
    changes
}

type Everything = (Vec<(u64, Number)>, Vec<Vec<crate::Queued>>);

fn everything(store: &Store) -> Everything {
    let snapshot = store.read().unwrap();
    let rows = snapshot.scan::<Number>(&[]).unwrap().into_iter().map(Result::unwrap).collect();
    let queue = |session| snapshot.queue(SessionKey(session), 0, usize::MAX, usize::MAX).unwrap();
    (rows, (0..SESSIONS).map(queue).collect())
}

fn restored(backup: &[u8]) -> (tempfile::TempDir, Store, BackupReport) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manifold.redb");
    let report = Store::restore(backup, &path).unwrap();
    let store = Store::open(&path).unwrap();
    (directory, store, report)
}

#[tokio::test]
async fn what_comes_back_is_what_was_there_and_goes_on_as_a_store() {
    let store = small();
    for number in 0..400 {
        store.commit(step(number)).await.unwrap();
    }
    let mut backup = Vec::new();
    let made = store.backup(&mut backup, 77).unwrap();
    assert_eq!((made.bytes, made.unreadable), (backup.len() as u64, 0));
    assert!(made.bodies < made.messages, "bodies are there once: {made:?}");
    assert!(store.figures().checkpoints > 0 && store.figures().segments > 1);
    let (directory, copy, report) = restored(&backup);
    assert_eq!(report, made);
    let before = everything(&store);
    assert_eq!(everything(&copy), before);
    let checked = BackupReader::open(backup.as_slice()).unwrap();
    assert_eq!(checked.header().t, 77);
    assert_eq!(checked.check().unwrap(), made);
    // It takes more, and keeps it over another start.
    for number in 400..500 {
        store.commit(step(number)).await.unwrap();
        copy.commit(step(number)).await.unwrap();
    }
    copy.close().await.unwrap();
    drop(copy);
    let copy = Store::open(&directory.path().join("manifold.redb")).unwrap();
    assert_eq!(everything(&copy), everything(&store));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_all_that_was_committed_before_it_and_is_one_moment() {
    let store = small();
    let committed = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let load = {
        let (store, committed, is_over) = (store.clone(), committed.clone(), is_over.clone());
        tokio::spawn(async move {
            let mut number = 0;
            while !is_over.load(Ordering::SeqCst) {
                store.commit(step(number)).await.unwrap();
                number += 1;
                committed.store(number, Ordering::SeqCst);
            }
        })
    };
    for _ in 0..5 {
        let more = committed.load(Ordering::SeqCst) + 100;
        while committed.load(Ordering::SeqCst) < more {
            tokio::task::yield_now().await;
        }
        let before = committed.load(Ordering::SeqCst);
        let mut backup = Vec::new();
        let report = store.backup(&mut backup, 0).unwrap();
        assert_eq!(report.unreadable, 0, "{report:?}");
        let (_directory, copy, _) = restored(&backup);
        let (rows, queues) = everything(&copy);
        let last = rows.last().unwrap().0;
        assert!(last + 1 >= before, "record {last} is the last of {before}");
        // The same steps again come to the same state: no half of one, and none of a later one.
        let model = Store::in_memory_inline().unwrap();
        for number in 0..=last {
            model.commit(step(number)).await.unwrap();
        }
        assert_eq!((rows, queues), everything(&model));
    }
    is_over.store(true, Ordering::SeqCst);
    load.await.unwrap();
}

#[tokio::test]
async fn every_cut_and_every_changed_byte_is_refused_and_leaves_nothing() {
    let store = small();
    for number in 0..12 {
        store.commit(step(number)).await.unwrap();
    }
    let mut backup = Vec::new();
    store.backup(&mut backup, 0).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/manifold.redb");
    for length in 0..backup.len() {
        let error = BackupReader::open(&backup[..length]).and_then(BackupReader::check);
        let error = error.unwrap_err();
        let is_clear = matches!(error, RestoreError::CutOff { .. } | RestoreError::NoBackup);
        assert!(is_clear, "cut at {length}: {error}");
    }
    for at in 0..backup.len() {
        let mut bad = backup.clone();
        bad[at] ^= 0x10;
        assert!(BackupReader::open(&*bad).and_then(BackupReader::check).is_err(), "byte {at}");
    }
    for bad in [&backup[..backup.len() - 1], &[backup.as_slice(), b"x"].concat()] {
        Store::restore(bad, &path).unwrap_err();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }
    Store::restore(Cursor::new(&backup), &path).unwrap();
    let error = Store::restore(backup.as_slice(), &path).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
}

#[tokio::test]
async fn a_newer_file_and_a_newer_store_are_refused_with_the_reason() {
    let mut backup = Vec::new();
    small().backup(&mut backup, 0).unwrap();
    let header_bytes = u32::from_le_bytes(backup[8..12].try_into().unwrap()) as usize;
    let header = String::from_utf8(backup[17..17 + header_bytes].to_vec()).unwrap();
    for (from, to) in
        [("\"format\":1", "\"format\":2"), ("\"store_format\":3", "\"store_format\":4")]
    {
        let later = header.replace(from, to);
        assert_ne!(later, header);
        let mut file = backup[..12].to_vec();
        let sum = crc32c::crc32c(&backup[8..12]);
        let sum = crc32c::crc32c_append(crc32c::crc32c_append(sum, &[1]), later.as_bytes());
        file.extend(sum.to_le_bytes());
        file.push(1);
        file.extend(later.as_bytes());
        let error = BackupReader::open(file.as_slice()).unwrap_err().to_string();
        assert!(error.contains("newer release (manifold "), "{error}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manifold.redb");
    drop(Store::open(&path).unwrap());
    let meta = redb::TableDefinition::<&str, &str>::new("meta");
    let database = redb::Database::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(meta).unwrap().insert("format", "4").unwrap();
    txn.commit().unwrap();
    drop(database);
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 4, known: 3, .. }), "{error}");
}

#[tokio::test]
async fn rows_of_a_later_release_are_told_from_damage_and_come_back_as_they_were() {
    let store = small();
    let mut changes = Changes::new();
    changes.put(&1, &Number(1));
    changes.put(&2, &LaterNumber);
    store.commit(changes).await.unwrap();
    let mut backup = Vec::new();
    let report = store.backup(&mut backup, 0).unwrap();
    assert_eq!((report.rows, report.unreadable), (2, 0));
    let (_directory, copy, _) = restored(&backup);
    let snapshot = copy.read().unwrap();
    assert_eq!(snapshot.get::<Number>(&1), Ok(Some(Number(1))));
    let error = snapshot.get::<Number>(&2).unwrap_err().to_string();
    assert!(error.contains("unknown version 2, the newest known is 1"), "{error}");
    assert!(snapshot.get::<LaterNumber>(&2).unwrap().is_some());
}
