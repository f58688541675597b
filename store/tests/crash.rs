//! A process that commits is killed at any moment: everything it was told is durable is there,
//! whole.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![cfg(unix)]

use bytes::Bytes;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use store::{Changes, QueueRef, Row, RowError, SessionKey, Store};

const FILE: &str = "MANIFOLD_STORE_CRASH_FILE";
const ROUNDS: u64 = 20;
const TASKS: u64 = 8;

#[derive(Debug)]
struct Numbered(u64);

impl Row for Numbered {
    type Key = u64;
    const TABLE: &'static str = "numbered";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_le_bytes());
    }

    fn decode(_version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        bytes.try_into().map(|bytes| Self(u64::from_le_bytes(bytes))).map_err(RowError::malformed)
    }
}

/// One set: a row and a message for two sessions, all of one number.
fn set(number: u64) -> Changes {
    let mut changes = Changes::new();
    changes.put(&number, &Numbered(number));
    let place = |session| QueueRef {
        session: SessionKey(session),
        seq: number,
        flags: 0,
        expires_at_ms: None,
    };
    changes.enqueue(Bytes::from(number.to_string()), vec![place(1), place(2)]);
    changes
}

/// Not a test by itself: what the killed process runs. Commits numbers until it dies and prints
/// each one that was acknowledged.
#[test]
fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(Path::new(&path)).unwrap();
        let last = store.read().unwrap().scan::<Numbered>(&[]).unwrap();
        let first = last.into_iter().map(|row| row.unwrap().0).max().unwrap_or(0) + 1;
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..TASKS {
            let store = store.clone();
            tasks.spawn(async move {
                let mut number = first + task;
                loop {
                    store.commit(set(number)).await.unwrap();
                    println!("acknowledged {number}");
                    number += TASKS;
                }
            });
        }
        tasks.join_next().await.unwrap().unwrap()
    });
}

fn start(path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(FILE, path);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills the child after `delay` once it has acknowledged `wanted` numbers; answers all it
/// acknowledged.
async fn kill(mut child: Child, wanted: usize, delay: Duration) -> Vec<u64> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (reached, wait) = tokio::sync::oneshot::channel();
    let reader = tokio::task::spawn_blocking(move || {
        let mut reached = Some(reached);
        let mut acknowledged = Vec::new();
        for line in lines.map_while(Result::ok) {
            if let Some((_, number)) = line.split_once("acknowledged ") {
                acknowledged.push(number.parse().unwrap());
            }
            if acknowledged.len() >= wanted
                && let Some(reached) = reached.take()
            {
                let _killed_already = reached.send(());
            }
        }
        acknowledged
    });
    if wanted > 0 {
        wait.await.unwrap();
    }
    tokio::time::sleep(delay).await;
    child.kill().unwrap();
    child.wait().unwrap();
    reader.await.unwrap()
}

fn check(path: &Path, acknowledged: &BTreeSet<u64>) {
    let store = Store::open(path).unwrap();
    let snapshot = store.read().unwrap();
    let rows: BTreeSet<u64> = snapshot
        .scan::<Numbered>(&[])
        .unwrap()
        .into_iter()
        .map(|row| row.unwrap())
        .map(|(key, row)| {
            assert_eq!(key, row.0);
            key
        })
        .collect();
    let lost: Vec<_> = acknowledged.difference(&rows).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    for session in [1, 2] {
        let queue = snapshot.queue(SessionKey(session), 0, usize::MAX, usize::MAX).unwrap();
        for queued in &queue {
            assert_eq!(queued.body, queued.seq.to_string());
        }
        let queued: BTreeSet<u64> = queue.iter().map(|queued| queued.seq).collect();
        assert_eq!(queued, rows, "a set of changes was torn");
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        // The first rounds die while the file is being made or opened.
        let wanted = if round < 5 { 0 } else { (round as usize * 37) % 200 + 1 };
        let delay =
            Duration::from_micros(round * 7_919 % 3_000 + if round < 5 { 2_000 } else { 0 });
        acknowledged.extend(kill(start(&path), wanted, delay).await);
        check(&path, &acknowledged);
    }
    assert!(acknowledged.len() as u64 > ROUNDS, "only {} acknowledged", acknowledged.len());
}
