//! The store on a storage that fails on demand.

use super::faulty::{Disk, Faults, faulty, open};
use super::*;
use crate::changes::Durability;
use crate::error::CommitError;
use crate::row::{Row, RowError};
use crate::space::RESERVE_BYTES;
use std::io;
use std::sync::atomic::Ordering::SeqCst;

#[derive(Debug, PartialEq)]
struct Count(u64);

impl Row for Count {
    type Key = u64;
    const TABLE: &'static str = "counts";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_le_bytes());
    }

    fn decode(_version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        let bytes = bytes.try_into().map_err(RowError::malformed)?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}

fn put(key: u64, value: u64) -> Changes {
    let mut changes = Changes::new();
    changes.put(&key, &Count(value));
    changes
}

fn put_with(key: u64, value: u64, durability: Durability) -> Changes {
    let mut changes = Changes::with_durability(durability);
    changes.put(&key, &Count(value));
    changes
}

fn get(store: &Store, key: u64) -> Option<u64> {
    store.read().unwrap().get::<Count>(&key).unwrap().map(|count| count.0)
}

/// Commits until it works again; each refusal on the way must be `expected`.
async fn until_healed(store: &Store, changes: impl Fn() -> Changes, expected: &CommitError) {
    let mut refusals = 0;
    while let Err(error) = store.commit(changes()).await {
        assert_eq!(&error, expected);
        refusals += 1;
        assert!(refusals < 10_000, "still refused after {refusals} attempts");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_failed_batch_changes_nothing_and_everybody_in_it_learns() {
    let mut failed = 0;
    // Wherever in the batch the first failing write comes.
    for good_writes in 0..12 {
        let (store, faults) = faulty(io::ErrorKind::StorageFull);
        store.commit(put(0, 1)).await.unwrap();
        faults.good_writes.store(good_writes, SeqCst);
        let waiting: Vec<_> = (1..50).map(|key| store.submit(put(key, 2))).collect();
        let mut answers = Vec::new();
        for commit in waiting {
            answers.push(commit.await);
        }
        faults.heal();
        until_healed(&store, || put(0, 3), &CommitError::DiskFull).await;
        let acknowledged = answers.iter().filter(|answer| answer.is_ok()).count();
        let found = (1..50).take_while(|key| get(&store, *key) == Some(2)).count();
        assert!((found + 1..50).all(|key| get(&store, key as u64).is_none()), "a gap at {found}");
        assert!(answers[..acknowledged].iter().all(Result::is_ok), "answered out of order");
        for error in answers[acknowledged..].iter().map(|answer| answer.as_ref().unwrap_err()) {
            assert_eq!(*error, CommitError::DiskFull);
            failed += 1;
        }
        assert_eq!(found, acknowledged, "what is not acknowledged is there");
        assert_eq!(get(&store, 0), Some(3));
        assert_eq!(store.figures().reopened, 0);
        assert_eq!(store.backlog(), Backlog::default());
    }
    assert!(failed > 0, "nothing ever failed");
}

#[tokio::test]
async fn while_the_storage_is_broken_callers_are_refused_at_once_and_it_heals_by_itself() {
    let (store, faults) = faulty(io::ErrorKind::Other);
    store.commit(put(1, 1)).await.unwrap();
    faults.good_writes.store(0, SeqCst);
    faults.is_unreadable.store(true, SeqCst);
    for _ in 0..100 {
        assert!(matches!(store.commit(put(2, 2)).await, Err(CommitError::Io(_))));
        assert_eq!((get(&store, 1), get(&store, 2)), (Some(1), None), "readers are not let in");
    }
    faults.heal();
    store.commit(put(2, 3)).await.unwrap();
    assert_eq!(get(&store, 2), Some(3));
}

#[tokio::test]
async fn a_full_disk_refuses_what_adds_and_takes_what_deletes() {
    let (store, faults) = faulty(io::ErrorKind::StorageFull);
    store.commit(put(1, 1)).await.unwrap();
    store.commit(put(2, 1)).await.unwrap();
    faults.free_bytes.store(RESERVE_BYTES - 1, SeqCst);
    assert_eq!(store.commit(put(3, 1)).await, Err(CommitError::DiskFull));
    let mut delete = Changes::new();
    delete.delete::<Count>(&1);
    store.commit(delete).await.unwrap();
    assert_eq!((get(&store, 1), get(&store, 2), get(&store, 3)), (None, Some(1), None));
    faults.free_bytes.store(RESERVE_BYTES, SeqCst);
    store.commit(put(3, 1)).await.unwrap();
    let figures = store.figures();
    assert_eq!((figures.refused_full, figures.errors, figures.reopened), (1, 0, 0));
    assert_eq!(store.backlog(), Backlog::default());
}

#[tokio::test]
async fn what_deletions_freed_inside_the_file_is_used_again() {
    let (store, faults) = faulty(io::ErrorKind::StorageFull);
    let plenty = RESERVE_BYTES + (8 << 20);
    // Disk free, file on disk, taken; a moment of plenty in between forgets what was counted.
    let cases = [
        (RESERVE_BYTES - 1, RESERVE_BYTES - 1, false),
        (RESERVE_BYTES - 1, plenty, true),
        (RESERVE_BYTES / 2, plenty, true),
        (RESERVE_BYTES / 2 - 1, plenty, false),
    ];
    for (free, stored, is_taken) in cases {
        faults.free_bytes.store(u64::MAX, SeqCst);
        store.commit(put(1, 1)).await.unwrap();
        faults.free_bytes.store(free, SeqCst);
        faults.stored_bytes.store(stored, SeqCst);
        assert_eq!(store.commit(put(2, 2)).await.is_ok(), is_taken, "free {free} of {stored}");
    }
    let figures = store.figures();
    assert_eq!((figures.errors, figures.refused_full), (0, 2));
    // A batch of nothing but refusals is no batch.
    assert_eq!(figures.batch_sizes.iter().sum::<u64>(), figures.batches);
}

#[tokio::test]
async fn a_storage_that_a_reader_found_broken_is_opened_again() {
    let (store, _) = faulty(io::ErrorKind::Other);
    store.commit(put(1, 1)).await.unwrap();
    let mut waits = 0;
    while store.figures().reopened == 0 {
        store.0.shared.suspect();
        waits += 1;
        assert!(waits < 10_000, "never opened again");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(get(&store, 1), Some(1), "what was recent is still there");
    store.commit(put(1, 3)).await.unwrap();
    assert_eq!(get(&store, 1), Some(3));
}

#[tokio::test]
async fn after_closing_everything_says_closed() {
    let (store, _) = faulty(io::ErrorKind::Other);
    let last = store.submit(put(1, 1));
    store.close().await.unwrap();
    assert_eq!(last.await, Ok(()));
    assert_eq!(store.commit(put(1, 2)).await, Err(CommitError::Closed));
    assert_eq!(store.read().map(|_| ()), Err(ReadError::Closed));
    store.close().await.unwrap();
}

/// The store as a power cut right now would leave it.
fn power_cut(faults: &Faults) -> Store {
    open(&Arc::new(Faults::new(io::ErrorKind::Other)), &faults.on_disk())
}

#[tokio::test]
async fn what_is_acknowledged_survives_a_power_cut() {
    let (store, faults) = faulty(io::ErrorKind::Other);
    for key in 0..20 {
        store.commit(put(key, key)).await.unwrap();
        let after = power_cut(&faults);
        assert!((0..=key).all(|key| get(&after, key) == Some(key)), "after the commit of {key}");
    }
}

#[tokio::test]
async fn after_a_crash_nothing_is_looked_through_and_what_came_since_the_checkpoint_is_replayed() {
    let (store, faults) = faulty(io::ErrorKind::Other);
    store.commit(put(1, 1)).await.unwrap();
    let after = power_cut(&faults);
    assert_eq!((after.figures().walked, after.figures().replayed_records), (0, 1));
    store.close().await.unwrap();
    assert_eq!(store.figures().checkpoints, 1);
    let after = power_cut(&faults);
    assert_eq!((after.figures().walked, after.figures().replayed_records), (0, 0));
    assert_eq!(get(&after, 1), Some(1));
}

#[tokio::test]
async fn a_checkpoint_that_fails_loses_nothing_and_is_made_later() {
    let disk = Disk::default();
    let faults = Arc::new(Faults::new(io::ErrorKind::StorageFull));
    let store = open(&faults, &disk);
    store.commit(put(1, 1)).await.unwrap();
    faults.good_writes.store(0, SeqCst);
    store.close().await.unwrap();
    assert_eq!((store.figures().checkpoints, store.figures().errors), (0, 1));
    drop(store);
    faults.heal();
    let store = open(&faults, &disk);
    assert_eq!((get(&store, 1), store.figures().replayed_records), (Some(1), 1));
    store.close().await.unwrap();
    assert_eq!((store.figures().checkpoints, store.figures().errors), (1, 0));
}

#[tokio::test]
async fn what_asks_for_less_is_answered_without_the_disk_and_is_there_in_time() {
    for (durability, is_in_time) in [(Durability::Interval, true), (Durability::Memory, false)] {
        let (store, faults) = faulty(io::ErrorKind::Other);
        store.commit(put(1, 1)).await.unwrap();
        let mut changes = Changes::with_durability(durability);
        changes.append(put_with(2, 2, durability));
        {
            let _stuck = faults.gate.lock();
            poll_until_ready(store.submit(changes));
            assert_eq!(get(&store, 2), Some(2));
        }
        let mut waits = 0;
        while is_in_time && get(&power_cut(&faults), 2).is_none() {
            waits += 1;
            assert!(waits < 10_000, "never brought to the disk");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        if !is_in_time {
            assert_eq!(get(&power_cut(&faults), 2), None, "nobody asked for it");
            store.commit(put(3, 3)).await.unwrap();
            assert_eq!(get(&power_cut(&faults), 2), Some(2), "it goes with the next that does");
        }
    }
}

#[tokio::test]
async fn what_gathers_while_the_disk_is_busy_goes_in_one_batch() {
    let (store, faults) = faulty(io::ErrorKind::Other);
    let mut waiting = Vec::new();
    {
        let _stuck = faults.gate.lock();
        waiting.push(store.submit(put(0, 0)));
        while store.backlog().changes == 1 && !store.0.shared.inbox.is_empty() {
            std::thread::yield_now();
        }
        waiting.extend((1..200).map(|key| store.submit(put(key, key))));
        assert_eq!(store.backlog().changes, 200);
    }
    for commit in waiting {
        commit.await.unwrap();
    }
    let figures = store.figures();
    assert_eq!((figures.batches, figures.commits, figures.rows), (2, 200, 200));
    assert_eq!(figures.batch_sizes, [1, 0, 0, 0, 1, 0, 0]);
    assert!((0..200).all(|key| get(&store, key) == Some(key)));
}

#[tokio::test]
async fn above_the_hard_bound_callers_are_refused_and_counted_until_the_disk_goes_on() {
    let (store, faults) = faulty(io::ErrorKind::Other);
    let large = || {
        let mut changes = Changes::new();
        (0..8_192).for_each(|key| changes.delete::<Count>(&key));
        changes.put(&1, &Count(1));
        changes
    };
    let (mut taken, mut refused) = (Vec::new(), 0);
    {
        let _stuck = faults.gate.lock();
        while refused < 3 {
            let mut commit = store.submit(large());
            match poll_once(&mut commit) {
                Some(Err(CommitError::Overloaded)) => refused += 1,
                Some(other) => panic!("answered while the disk is stuck: {other:?}"),
                None => taken.push(commit),
            }
            assert!(taken.len() < 100, "no bound");
        }
        assert!(poll_once(&mut std::pin::pin!(store.room())).is_none(), "room while full");
    }
    for commit in taken {
        commit.await.unwrap();
    }
    store.room().await;
    store.commit(large()).await.unwrap();
    assert_eq!(store.figures().refused_overload, 3);
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut ctx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut ctx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

fn poll_until_ready(mut commit: Commit) {
    while poll_once(&mut commit).is_none() {
        std::thread::yield_now();
    }
}
