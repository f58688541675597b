//! A part of a store as a file, and back among others.

use super::*;
use crate::backup::BackupReader;
use crate::key::prefix;
use crate::queue::{QueueRef, SessionKey};
use crate::row::{Row, RowError, decode_json, encode_json};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io::Cursor;

macro_rules! rows {
    ($($name:ident: $key:ty, $table:literal;)*) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        struct $name(u64);

        impl Row for $name {
            type Key = $key;
            const TABLE: &'static str = $table;
            const VERSION: u8 = 1;
            fn encode(&self, out: &mut Vec<u8>) {
                encode_json(self, out);
            }
            fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
                decode_json(version, bytes)
            }
        }
    )*};
}

rows! {
    Owner: String, "owners";
    Item: (String, u64), "items";
    Other: (String, u64), "others";
}

fn part(name: &str) -> Part {
    let prefix = prefix(&name.to_owned());
    Part { name: name.to_owned(), tables: &["items"], last: &["owners"], prefix }
}

/// What there is of an owner.
fn of(store: &Store, name: &str) -> (Option<Owner>, Vec<u64>) {
    let snapshot = store.read().unwrap();
    let name = name.to_owned();
    let items = snapshot.scan::<Item>(&prefix(&name)).unwrap().into_iter();
    (snapshot.get(&name).unwrap(), items.map(|row| row.unwrap().1.0).collect())
}

async fn filled(names: &[&str], items: u64, value: u64) -> Store {
    let store = Store::in_memory().unwrap();
    for name in names {
        let mut changes = Changes::new();
        changes.put(&(*name).to_owned(), &Owner(value));
        changes.put(&((*name).to_owned(), 0), &Other(value));
        for number in 0..items {
            changes.put(&((*name).to_owned(), number), &Item(value));
        }
        store.commit(changes).await.unwrap();
    }
    store
}

fn backup(store: &Store, name: &str) -> Vec<u8> {
    let mut file = Vec::new();
    store.backup_part(&mut file, 7, &part(name)).unwrap();
    file
}

#[tokio::test]
async fn a_part_comes_back_as_it_was_and_touches_no_other() {
    // Names that begin alike are not the same.
    let names = ["acme", "acme2", "acm"];
    // More than fit into one commit.
    let count = 2 * COMMIT_ROWS as u64 + 5;
    let store = filled(&names, count, 1).await;
    let mut changes = Changes::new();
    let place = QueueRef { session: SessionKey(1), seq: 1, flags: 0, expires_at_ms: None };
    changes.enqueue(Bytes::from_static(b"x"), vec![place]);
    store.commit(changes).await.unwrap();
    let file = backup(&store, "acme");
    let header = BackupReader::open(file.as_slice()).unwrap().header().clone();
    assert_eq!((header.part.as_deref(), header.t), (Some("acme"), 7));

    for name in names {
        let mut changes = Changes::new();
        changes.put(&name.to_owned(), &Owner(2));
        changes.delete::<Item>(&(name.to_owned(), 3));
        changes.put(&(name.to_owned(), count), &Item(2));
        changes.put(&(name.to_owned(), 0), &Other(2));
        store.commit(changes).await.unwrap();
    }
    let others: Vec<_> = ["acme2", "acm"].iter().map(|name| of(&store, name)).collect();
    let report = store.restore_part(Cursor::new(&file), &part("acme")).await.unwrap();
    assert_eq!((report.rows, report.messages), (count + 1, 0));
    assert_eq!(of(&store, "acme"), (Some(Owner(1)), vec![1; count as usize]));
    assert_eq!(others, ["acme2", "acm"].iter().map(|name| of(&store, name)).collect::<Vec<_>>());
    let snapshot = store.read().unwrap();
    assert_eq!(snapshot.get(&("acme".to_owned(), 0)).unwrap(), Some(Other(2)), "not of the part");
    assert_eq!(snapshot.queue(SessionKey(1), 0, 9, 999).unwrap().len(), 1);
    // Among none it is put like a whole one.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").join("store.redb");
    Store::restore(file.as_slice(), &path).unwrap();
    let alone = Store::open(&path).unwrap();
    assert_eq!(of(&alone, "acme").1.len(), count as usize);
    assert_eq!(of(&alone, "acm"), (None, vec![]));
}

#[tokio::test]
async fn what_is_not_whole_or_of_something_else_changes_nothing() {
    let store = filled(&["acme", "other"], 50, 1).await;
    let file = backup(&store, "acme");
    let mut whole = Vec::new();
    store.backup(&mut whole, 7).unwrap();
    // Rows of one, under the name of another.
    let mut foreign = Vec::new();
    let wrong = Part { name: "acme".to_owned(), ..part("other") };
    store.backup_part(&mut foreign, 7, &wrong).unwrap();
    let mut tables = Vec::new();
    let wrong = Part { tables: &["items", "others"], ..part("acme") };
    store.backup_part(&mut tables, 7, &wrong).unwrap();
    let mut damaged = file.clone();
    damaged[file.len() / 2] ^= 1;
    let store = filled(&["acme", "other"], 60, 2).await;
    let before = (of(&store, "acme"), of(&store, "other"));
    for (file, why) in [
        (&file[..file.len() - 3], "cut off"),
        (&damaged, "damaged"),
        (b"something else", "no backup"),
        (&whole, "a backup of a whole node, not of acme"),
        (&backup(&store, "other"), "a backup of other, not of acme"),
        (&foreign, "a row that is not of this part"),
        (&tables, "a row that is not of this part"),
    ] {
        let error = store.restore_part(Cursor::new(file), &part("acme")).await.unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_eq!(before, (of(&store, "acme"), of(&store, "other")), "{why}");
    }
}

#[tokio::test]
async fn an_attempt_that_was_interrupted_leaves_the_part_away_until_it_is_made_again() {
    let store = filled(&["acme"], COMMIT_ROWS as u64 + 5, 1).await;
    let file = backup(&store, "acme");
    let store = filled(&["acme"], 60, 2).await;
    let (wanted, mut steps) = (part("acme"), 0);
    loop {
        // Given up after so many steps.
        let restoring = std::pin::pin!(store.restore_part(Cursor::new(&file), &wanted));
        let mut left = steps;
        let mut restoring = restoring;
        let ended = std::future::poll_fn(|cx| match left {
            0 => std::task::Poll::Ready(None),
            _ => {
                left -= 1;
                std::future::Future::poll(restoring.as_mut(), cx).map(Some)
            }
        });
        if let Some(report) = ended.await {
            assert_eq!(report.unwrap().rows, COMMIT_ROWS as u64 + 6);
            break;
        }
        let (owner, items) = of(&store, "acme");
        let is_as_before = owner == Some(Owner(2)) && items == [2; 60];
        // What was handed over last may be done all the same.
        let is_whole = owner == Some(Owner(1)) && items.len() == COMMIT_ROWS + 5;
        let is_unfinished = store.read().unwrap().contains::<UnfinishedPart>(&wanted.name).unwrap();
        let is_sound = owner.is_none() && is_unfinished || is_as_before || is_whole;
        assert!(is_sound, "half of it is found: {}, told: {is_unfinished}", items.len());
        steps += 1;
    }
    assert!(steps > 3, "it was never interrupted");
    let (owner, items) = of(&store, "acme");
    assert_eq!((owner, items.len()), (Some(Owner(1)), COMMIT_ROWS + 5));
    assert!(!store.read().unwrap().contains::<UnfinishedPart>(&wanted.name).unwrap());
}
