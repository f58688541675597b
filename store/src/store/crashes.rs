//! A store that crashes at every single write it makes: whatever was acknowledged is there, what was
//! under way is there whole or not at all, and nothing else is.
//!
//! Segments and checkpoints are tiny here, so that a few hundred changes meet all of them, and
//! compaction.

use super::faulty::{Disk, Faults, FaultyMedium};
use super::*;
use crate::queue::{QueueRef, SessionKey};
use crate::row::{Row, RowError};
use crate::writer::Bounds;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering::SeqCst;

const TINY: Bounds = Bounds { segment_bytes: 1500, recent_bytes: 4000, log_bytes: 4000 };
const SESSIONS: u64 = 3;

#[derive(Debug, Clone, PartialEq)]
struct Blob(Vec<u8>);

impl Row for Blob {
    type Key = u64;
    const TABLE: &'static str = "blobs";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode(_version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        Ok(Self(bytes.to_vec()))
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    rows: BTreeMap<u64, Vec<u8>>,
    queues: BTreeMap<(u64, u64), (u8, Vec<u8>)>,
}

/// The step of this number, the same each time: some rows, a message for one or all sessions, and
/// acknowledgements that leave a few messages behind for long.
fn step(number: u64, model: &mut Model) -> Changes {
    let mut changes = Changes::new();
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let body = vec![number as u8; 40 + (mixed % 90) as usize];
    changes.put(&(mixed % 16), &Blob(body.clone()));
    model.rows.insert(mixed % 16, body.clone());
    if mixed % 7 == 3 {
        changes.delete::<Blob>(&(mixed % 5));
        model.rows.remove(&(mixed % 5));
    }
    let sessions = if mixed.is_multiple_of(3) { 0..SESSIONS } else { 0..1 };
    let place = |session| QueueRef {
        session: SessionKey(session),
        seq: number,
        flags: session as u8,
        expires_at_ms: mixed.is_multiple_of(2).then_some(number),
    };
    changes.enqueue(Bytes::from(body.clone()), sessions.clone().map(place).collect());
    model.queues.extend(sessions.map(|each| ((each, number), (each as u8, body.clone()))));
    // All but every 23rd message is taken after five others.
    if let Some(old) = number.checked_sub(5).filter(|old| !old.is_multiple_of(23)) {
        for session in 0..SESSIONS {
            changes.dequeue(SessionKey(session), old);
            model.queues.remove(&(session, old));
        }
    }
    if number % 61 == 60 {
        changes.dequeue_through(SessionKey(1), number - 30);
        model.queues.retain(|(session, seq), _| *session != 1 || *seq > number - 30);
        changes.set_queue_flags(SessionKey(0), number - 1, 77);
        if let Some(queued) = model.queues.get_mut(&(0, number - 1)) {
            queued.0 = 77;
        }
    }
    changes
}

fn found(store: &Store) -> Model {
    let snapshot = store.read().unwrap();
    let rows = snapshot.scan::<Blob>(&[]).unwrap().into_iter().map(Result::unwrap);
    let mut model =
        Model { rows: rows.map(|(key, row)| (key, row.0)).collect(), ..Model::default() };
    for session in 0..SESSIONS {
        let queue = snapshot.queue(SessionKey(session), 0, usize::MAX, usize::MAX).unwrap();
        let place = |it: crate::queue::Queued| ((session, it.seq), (it.flags, it.body.to_vec()));
        model.queues.extend(queue.into_iter().map(place));
    }
    model
}

fn open(faults: &Arc<Faults>, disk: &Disk) -> Result<Store, OpenError> {
    let medium = FaultyMedium { disk: disk.clone(), faults: Arc::clone(faults) };
    Store::inline(Arc::new(medium), Mode { bounds: TINY, ..Mode::default() })
}

fn healthy() -> Arc<Faults> {
    Arc::new(Faults::new(io::ErrorKind::Other))
}

fn commit(store: &Store, changes: Changes) -> Result<(), CommitError> {
    let mut ctx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(store.submit(changes)).poll(&mut ctx) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => panic!("a store without threads has not answered"),
    }
}

/// Works until the disk fails; answers the states before and after the last step.
fn work(faults: &Arc<Faults>, disk: &Disk, steps: u64) -> (Model, Model, Option<Figures>) {
    let mut model = Model::default();
    let Ok(store) = open(faults, disk) else { return (model.clone(), model, None) };
    for number in 1..=steps {
        let before = model.clone();
        if commit(&store, step(number, &mut model)).is_err() {
            return (before, model, Some(store.figures()));
        }
    }
    (model.clone(), model, Some(store.figures()))
}

#[test]
fn segments_go_when_nothing_in_them_lives_and_the_log_stays_in_proportion() {
    let (faults, disk) = (healthy(), Disk::default());
    let (model, _, figures) = work(&faults, &disk, 2000);
    let figures = figures.unwrap();
    assert!(figures.checkpoints > 50, "{figures:?}");
    assert!(figures.moved_bytes > 1000, "{figures:?}");
    let segments = disk.segments().list().unwrap();
    let sizes = segments.iter().map(|id| disk.segments().open(*id).unwrap().bytes().len() as u64);
    let living: usize = model.queues.values().map(|(_, body)| body.len()).sum();
    // Twice what lives, and what came since the last checkpoint but one.
    let most = 2 * living as u64 + 4 * TINY.log_bytes + 4 * TINY.segment_bytes;
    let taken: u64 = sizes.sum();
    assert!(taken <= most, "{taken} bytes in segments for {living} bytes of bodies");
    let store = open(&faults, &disk).unwrap();
    assert_eq!(found(&store), model);
    assert_eq!(store.figures().walked, 0);
}

#[test]
fn a_crash_at_any_write_loses_nothing_acknowledged_and_tears_nothing() {
    let steps = 80;
    let mut crashes = 0;
    for good_writes in 0.. {
        let (faults, disk) = (healthy(), Disk::default());
        faults.good_writes.store(good_writes, SeqCst);
        let (before, after, figures) = work(&faults, &disk, steps);
        if faults.good_writes.load(SeqCst) != 0 {
            let figures = figures.unwrap();
            assert!(figures.checkpoints > 3 && figures.moved_bytes > 0, "{figures:?}");
            break;
        }
        crashes += 1;
        for (name, left) in [("power cut", faults.on_disk()), ("kill", disk.copy())] {
            let store = open(&healthy(), &left);
            if figures.is_none() && store.is_err() {
                // Not even made: redb has no answer to a half of its first page.
                continue;
            }
            let store = store.unwrap_or_else(|error| panic!("{name} at {good_writes}: {error}"));
            let found = found(&store);
            let is_whole = found == before || found == after;
            assert!(is_whole, "{name} at {good_writes}: neither before nor after the last step");
            let is_walked = store.figures().walked > 0;
            assert!(!is_walked || figures.is_none(), "{name} at {good_writes}: looked through");
            commit(&store, step(1000, &mut Model::default())).unwrap();
        }
    }
    assert!(crashes > 150, "only {crashes} crashes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage to the log after it was written: the store says so, or what it holds is what was
    /// there before some step.
    #[test]
    fn damage_is_reported_or_costs_only_what_came_after_it(
        at: prop::sample::Index,
        kind in 0..3_u8,
        noise: u8,
    ) {
        let disk = Disk::default();
        let mut states = vec![Model::default()];
        {
            let store = open(&healthy(), &disk).unwrap();
            for number in 1..=12 {
                let mut model = states.last().unwrap().clone();
                commit(&store, step(number, &mut model)).unwrap();
                states.push(model);
            }
            prop_assert_eq!(store.figures().checkpoints, 0);
            // As a killed process leaves it, without the checkpoint at its end.
            let left = disk.copy();
            let ids = left.segments().list().unwrap();
            let id = *ids.last().unwrap();
            let mut bytes = left.segments().open(id).unwrap().bytes();
            let place = at.index(bytes.len());
            match kind {
                0 => bytes.truncate(place),
                1 => bytes[place] ^= noise | 1,
                _ => bytes.extend(std::iter::repeat_n(noise, place)),
            }
            left.segments().insert(id, crate::medium::MemorySegment::of(bytes));
            match open(&healthy(), &left) {
                Err(OpenError::Damaged { .. }) => prop_assert_eq!(kind, 1),
                Err(other) => prop_assert!(false, "{}", other),
                Ok(store) => {
                    let found = found(&store);
                    prop_assert!(states.contains(&found), "a state that never was");
                    prop_assert!(kind != 2 || Some(&found) == states.last());
                }
            }
        }
    }
}
