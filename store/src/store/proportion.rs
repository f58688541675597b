//! The log beside what lives in it, when few messages of many wait for long.

use super::faulty::{Disk, Faults, FaultyMedium};
use super::*;
use crate::log::is_moved;
use crate::queue::{QueueRef, SessionKey};
use crate::writer::Bounds;
use bytes::Bytes;
use std::io;

const BOUNDS: Bounds =
    Bounds { segment_bytes: 32 << 10, recent_bytes: 64 << 10, log_bytes: 64 << 10 };
/// Who takes every message, and who is away: every tenth is for it.
const QUICK: SessionKey = SessionKey(1);
const AWAY: SessionKey = SessionKey(2);
const BODY_BYTES: usize = 400;

fn open(disk: &Disk) -> Store {
    let faults = Arc::new(Faults::new(io::ErrorKind::Other));
    let medium = FaultyMedium { disk: disk.clone(), faults };
    Store::inline(Arc::new(medium), Mode { bounds: BOUNDS, ..Mode::default() }).unwrap()
}

/// Bytes of all segments, and of those of moved bodies.
fn taken(disk: &Disk) -> (u64, u64) {
    let bytes = |id: u64| disk.segments().open(id).unwrap().bytes().len() as u64;
    let ids = disk.segments().list().unwrap();
    let all = ids.iter().map(|id| bytes(*id)).sum();
    let moved = ids.iter().filter(|id| is_moved(**id)).map(|id| bytes(*id)).sum();
    (all, moved)
}

async fn publish(store: &Store, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let mut changes = Changes::new();
        let place = |session| QueueRef { session, seq: number, flags: 0, expires_at_ms: None };
        let mut refs = vec![place(QUICK)];
        if number.is_multiple_of(10) {
            refs.push(place(AWAY));
        }
        changes.enqueue(Bytes::from(number.to_le_bytes().repeat(BODY_BYTES / 8)), refs);
        changes.dequeue(QUICK, number.saturating_sub(3));
        store.commit(changes).await.unwrap();
    }
}

fn waiting(store: &Store) -> Vec<u64> {
    let snapshot = store.read().unwrap();
    let queue = snapshot.queue(AWAY, 0, usize::MAX, usize::MAX).unwrap();
    let number = |it: &Bytes| u64::from_le_bytes(*it.first_chunk().unwrap());
    assert!(queue.iter().all(|it| it.body.len() == BODY_BYTES && number(&it.body) == it.seq));
    queue.iter().map(|it| it.seq).collect()
}

#[tokio::test]
async fn what_waits_for_long_is_moved_once_and_lies_close_together() {
    let disk = Disk::default();
    let store = open(&disk);
    publish(&store, 1..=20_000).await;
    let figures = store.figures();
    let living = 2000 * BODY_BYTES as u64;
    // The segments of the log that are not checkpointed yet, or have just been.
    let tail = 4 * BOUNDS.log_bytes;
    let (all, moved) = taken(&disk);
    assert!(all < living * 11 / 10 + tail, "{all} bytes for {living}");
    assert!(moved > living * 8 / 10, "{moved} of {living}");
    assert!(figures.moved_bytes < living * 11 / 10, "moved again and again: {figures:?}");
    drop(store);

    // It is there after a restart, and goes when it has been taken.
    let store = open(&disk);
    assert_eq!(waiting(&store), (1..=2000).map(|it| it * 10).collect::<Vec<_>>());
    let mut changes = Changes::new();
    changes.dequeue_through(AWAY, 15_000);
    store.commit(changes).await.unwrap();
    publish(&store, 20_001..=22_000).await;
    let (all, _) = taken(&disk);
    assert!(all < living * 7 / 10 / 2 + tail, "{all} bytes for a third of {living}");
    // What is left of it is spread: every fourth.
    for seq in waiting(&store).into_iter().filter(|seq| seq % 40 != 0) {
        let mut changes = Changes::new();
        changes.dequeue(AWAY, seq);
        store.commit(changes).await.unwrap();
    }
    publish(&store, 22_001..=24_000).await;
    let (all, moved) = taken(&disk);
    assert!(moved < living / 4 && all < living / 4 + tail, "{all} bytes, {moved} of them moved");
    let left = waiting(&store);
    assert_eq!(left.iter().filter(|seq| **seq <= 22_000).count(), 175, "{left:?}");
    drop(store);
    assert_eq!(waiting(&open(&disk)), left);
}
