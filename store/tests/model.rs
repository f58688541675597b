//! The store against a naive model: whatever the sequence of changes, and across reopening, both
//! hold the same.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use std::collections::BTreeMap;
use std::path::Path;
use store::{Changes, QueueRef, QueueStat, Queued, Row, RowError, SessionKey, Store, prefix};

#[derive(Debug, Clone, PartialEq)]
struct Blob(Vec<u8>);

impl Row for Blob {
    type Key = (u64, u64);
    const TABLE: &'static str = "blobs";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode(_version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        Ok(Self(bytes.to_vec()))
    }
}

/// Session, seq, flags, expiry.
type Place = (u64, u64, u8, Option<u64>);
/// Flags, expiry, body.
type Held = (u8, Option<u64>, Vec<u8>);

#[derive(Debug, Clone)]
enum Op {
    Put(u64, u64, Vec<u8>),
    Delete(u64, u64),
    DeletePrefix(Option<u64>),
    Enqueue(Vec<u8>, Vec<Place>),
    Dequeue(u64, u64),
    SetFlags(u64, u64, u8),
    DequeueThrough(u64, u64),
    DequeueAll(u64),
}

#[derive(Debug, Clone)]
enum Step {
    /// Sets submitted one after the other without waiting, so that they may or may not share a
    /// batch.
    Submit(Vec<Vec<Op>>),
    Reopen,
}

/// Few sessions and places, so that changes meet.
fn op() -> impl Strategy<Value = Op> {
    let session = 1..4_u64;
    let seq = 1..6_u64;
    let body = || vec(any::<u8>(), 0..40);
    let places = vec((session.clone(), seq.clone(), any::<u8>(), any::<Option<u64>>()), 0..4);
    prop_oneof![
        3 => (0..3_u64, 0..4_u64, body()).prop_map(|(a, b, body)| Op::Put(a, b, body)),
        2 => (0..3_u64, 0..4_u64).prop_map(|(a, b)| Op::Delete(a, b)),
        1 => proptest::option::of(0..3_u64).prop_map(Op::DeletePrefix),
        5 => (body(), places).prop_map(|(body, places)| Op::Enqueue(body, places)),
        4 => (session.clone(), seq.clone()).prop_map(|(session, seq)| Op::Dequeue(session, seq)),
        2 => (session.clone(), seq, any::<u8>()).prop_map(|(s, q, new)| Op::SetFlags(s, q, new)),
        1 => (session.clone(), 0..6_u64).prop_map(|(s, q)| Op::DequeueThrough(s, q)),
        1 => session.prop_map(Op::DequeueAll),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(vec(op(), 0..12), 1..5).prop_map(Step::Submit),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Default)]
struct Model {
    blobs: BTreeMap<(u64, u64), Blob>,
    queues: BTreeMap<(u64, u64), Held>,
}

impl Model {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(a, b, body) => {
                self.blobs.insert((*a, *b), Blob(body.clone()));
            }
            Op::Delete(a, b) => {
                self.blobs.remove(&(*a, *b));
            }
            Op::DeletePrefix(None) => self.blobs.clear(),
            Op::DeletePrefix(Some(gone)) => self.blobs.retain(|(a, _), _| a != gone),
            Op::Enqueue(body, places) => {
                for (session, seq, flags, expires) in places {
                    self.queues.insert((*session, *seq), (*flags, *expires, body.clone()));
                }
            }
            Op::Dequeue(session, seq) => {
                self.queues.remove(&(*session, *seq));
            }
            Op::SetFlags(session, seq, flags) => {
                if let Some(queued) = self.queues.get_mut(&(*session, *seq)) {
                    queued.0 = *flags;
                }
            }
            Op::DequeueThrough(gone, through) => {
                self.queues.retain(|(session, seq), _| session != gone || seq > through);
            }
            Op::DequeueAll(gone) => self.queues.retain(|(session, _), _| session != gone),
        }
    }

    fn queue(&self, session: u64) -> Vec<Queued> {
        let rows = self.queues.range((session, 0)..=(session, u64::MAX));
        let queued = rows.map(|((_, seq), (flags, expires, body))| Queued {
            seq: *seq,
            flags: *flags,
            expires_at_ms: *expires,
            body: Bytes::from(body.clone()),
        });
        queued.collect()
    }
}

fn add(changes: &mut Changes, op: &Op) {
    match op {
        Op::Put(a, b, body) => changes.put(&(*a, *b), &Blob(body.clone())),
        Op::Delete(a, b) => changes.delete::<Blob>(&(*a, *b)),
        Op::DeletePrefix(None) => changes.delete_prefix::<Blob>(&[]),
        Op::DeletePrefix(Some(a)) => changes.delete_prefix::<Blob>(&prefix(a)),
        Op::Enqueue(body, places) => {
            let place = |(session, seq, flags, expires_at_ms): &Place| {
                let session = SessionKey(*session);
                QueueRef { session, seq: *seq, flags: *flags, expires_at_ms: *expires_at_ms }
            };
            changes.enqueue(Bytes::from(body.clone()), places.iter().map(place).collect());
        }
        Op::Dequeue(session, seq) => changes.dequeue(SessionKey(*session), *seq),
        Op::SetFlags(session, seq, flags) => {
            changes.set_queue_flags(SessionKey(*session), *seq, *flags);
        }
        Op::DequeueThrough(session, seq) => changes.dequeue_through(SessionKey(*session), *seq),
        Op::DequeueAll(session) => changes.dequeue_all(SessionKey(*session)),
    }
}

fn compare(store: &Store, model: &Model) {
    let snapshot = store.read().unwrap();
    let rows = snapshot.scan::<Blob>(&[]).unwrap();
    let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
    let expected: Vec<_> = model.blobs.clone().into_iter().collect();
    assert_eq!(rows, expected);
    for a in 0..3 {
        let page = snapshot.page::<Blob>(&prefix(&a), Some(&(a, 1)), 1).unwrap();
        let expected = model.blobs.range((a, 2)..=(a, u64::MAX)).next();
        let expected = expected.map(|(key, blob)| (*key, blob.clone()));
        assert_eq!(page.into_iter().next().map(Result::unwrap), expected);
        assert_eq!(snapshot.get::<Blob>(&(a, 0)).unwrap().as_ref(), model.blobs.get(&(a, 0)));
        assert_eq!(snapshot.contains::<Blob>(&(a, 0)), Ok(model.blobs.contains_key(&(a, 0))));
    }
    for session in 1..4 {
        let expected = model.queue(session);
        let key = SessionKey(session);
        assert_eq!(snapshot.queue(key, 0, usize::MAX, usize::MAX).unwrap(), expected);
        let after: Vec<_> = expected.iter().filter(|queued| queued.seq > 2).cloned().collect();
        assert_eq!(snapshot.queue(key, 2, usize::MAX, usize::MAX).unwrap(), after);
        let one: Vec<_> = expected.iter().take(1).cloned().collect();
        assert_eq!(snapshot.queue(key, 0, usize::MAX, 0).unwrap()[..one.len().min(1)], one[..]);
        let stat = QueueStat {
            count: expected.len() as u64,
            bytes: expected.iter().map(|queued| queued.body.len() as u64).sum(),
            first_seq: expected.first().map_or(0, |queued| queued.seq),
            last_seq: expected.last().map_or(0, |queued| queued.seq),
        };
        assert_eq!(snapshot.queue_stat(key), Ok(stat));
    }
}

/// Places in redb and segments that they refer to.
fn left_over(path: &Path) -> (u64, u64) {
    let database = Database::open(path).unwrap();
    let txn = database.begin_read().unwrap();
    let places = txn.open_table(TableDefinition::<&[u8; 16], &[u8]>::new("queue_places"));
    let segments = txn.open_table(TableDefinition::<u64, (u64, u64)>::new("log_segments"));
    let length = |length: Result<u64, _>| length.unwrap();
    (places.map_or(0, |table| length(table.len())), segments.map_or(0, |table| length(table.len())))
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/store.redb");
    let mut store = Store::open(&path).unwrap();
    let inline = Store::in_memory_inline().unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Reopen => {
                drop(store);
                store = Store::open(&path).unwrap();
            }
            Step::Submit(sets) => {
                let mut waiting = Vec::new();
                for set in &sets {
                    for target in [&store, &inline] {
                        let mut changes = Changes::new();
                        set.iter().for_each(|op| add(&mut changes, op));
                        waiting.push(target.submit(changes));
                    }
                    set.iter().for_each(|op| model.apply(op));
                }
                for commit in waiting {
                    commit.await.unwrap();
                }
            }
        }
        compare(&store, &model);
        compare(&inline, &model);
    }
    for session in 1..4 {
        let mut changes = Changes::new();
        changes.dequeue_all(SessionKey(session));
        store.commit(changes).await.unwrap();
    }
    drop(store);
    assert_eq!(left_over(&path), (0, 0), "segments or places without a queue");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_of_changes_equals_the_model(steps in vec(step(), 1..10)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
