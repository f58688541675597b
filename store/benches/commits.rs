//! Group commit measured: how many sets of changes a second, and how long each waits, by how many
//! wait at once.
//!
//! `cargo bench -p manifold-store` runs every case for two seconds on a store in the temporary
//! directory, or in the directory given as `-- --dir DIR`. "written" is what the process gave the
//! disk for each byte of bodies and rows, the last checkpoint included. Then a process fills a store
//! and aborts, and the opening after that is timed. Figures depend on the disk; compare them with
//! each other, not across machines.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends at the first failure"
)]

use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use store::{Changes, QueueRef, Row, RowError, SessionKey, Store};
use tokio::time::Instant;

const BODY_BYTES: usize = 256;
const RUN: Duration = Duration::from_secs(2);

/// Names the store that a child process is to fill.
const FILL: &str = "MANIFOLD_STORE_BENCH_FILL";
const FILL_BYTES: u64 = 700 << 20;

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

/// What one waiter commits over and over.
#[derive(Clone, Copy)]
enum Work {
    /// A new row each time.
    Put,
    /// One message for the waiter's own session; each is taken off when the next one comes.
    Queue,
    /// Only put into the queue, never taken off.
    Enqueue,
    /// One message for ten sessions; each taken off by all when the next one comes.
    FanOut10,
}

fn main() {
    let dir = std::env::args().skip_while(|arg| arg != "--dir").nth(1);
    let dir = match &dir {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    if let Some(path) = std::env::var_os(FILL) {
        return runtime.block_on(fill_and_abort(Path::new(&path)));
    }
    println!(
        "{:<10} {:>7} {:>10} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8} {:>9}",
        "work",
        "waiters",
        "commits/s",
        "p50 ms",
        "p99 ms",
        "batch",
        "apply ms",
        "fsync ms",
        "written",
        "log MiB"
    );
    let works = [
        ("put", Work::Put),
        ("enqueue", Work::Enqueue),
        ("queue", Work::Queue),
        ("fan-out 10", Work::FanOut10),
    ];
    for (name, work) in works {
        for waiters in [1, 16, 64, 1000] {
            let dir = dir.path().join(format!("{}-{waiters}", name.replace(' ', "-")));
            runtime.block_on(measure(name, work, waiters, &dir));
            std::fs::remove_dir_all(dir).unwrap();
        }
    }
    measure_opening(dir.path());
}

async fn measure(name: &str, work: Work, waiters: u64, dir: &Path) {
    let store = Store::open(&dir.join("store.redb")).unwrap();
    let written = written_bytes();
    let until = Instant::now() + RUN;
    let commits = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for waiter in 0..waiters {
        let (store, commits) = (store.clone(), Arc::clone(&commits));
        tasks.push(tokio::spawn(async move {
            let mut micros = Vec::new();
            let mut turn = 1;
            while Instant::now() < until {
                let changes = changes(work, waiter, turn);
                let began = Instant::now();
                store.commit(changes).await.unwrap();
                micros.push(began.elapsed().as_micros() as u64);
                commits.fetch_add(1, Relaxed);
                turn += 1;
            }
            micros
        }));
    }
    let mut micros = Vec::new();
    for task in tasks {
        micros.extend(task.await.unwrap());
    }
    micros.sort_unstable();
    let at = |part: f64| micros[((micros.len() - 1) as f64 * part) as usize] as f64 / 1000.0;
    let figures = store.figures();
    store.close().await.unwrap();
    let written = written_bytes() - written;
    let batches = figures.batches.max(1);
    println!(
        "{name:<10} {waiters:>7} {:>10.0} {:>8.2} {:>8.2} {:>8.1} {:>9.2} {:>9.2} {:>8.2} {:>9}",
        commits.load(Relaxed) as f64 / RUN.as_secs_f64(),
        at(0.5),
        at(0.99),
        figures.commits as f64 / batches as f64,
        figures.apply_micros_total as f64 / batches as f64 / 1000.0,
        figures.fsync_micros_total as f64 / batches as f64 / 1000.0,
        written as f64 / figures.bytes.max(1) as f64,
        figures.log_bytes >> 20,
    );
}

/// Bytes that this process gave the disk, as far as the operating system says.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Fills a store with messages and rows that stay, and aborts in the middle of it.
async fn fill_and_abort(path: &Path) {
    let store = Store::open(path).unwrap();
    let mut turn = 0;
    while store.figures().log_bytes < FILL_BYTES {
        let mut commits = Vec::new();
        for waiter in 0..1000 {
            turn += 1;
            commits.push(store.submit(changes(Work::Enqueue, waiter, turn)));
            commits.push(store.submit(changes(Work::Put, waiter, turn)));
        }
        for commit in commits {
            commit.await.unwrap();
        }
    }
    std::process::abort();
}

/// Times the opening of a store whose process was aborted.
fn measure_opening(dir: &Path) {
    let path = dir.join("aborted/store.redb");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.env(FILL, &path).stderr(std::process::Stdio::null()).status().unwrap();
    let began = Instant::now();
    let store = Store::open(&path).unwrap();
    let took = began.elapsed();
    let figures = store.figures();
    let rows = path.metadata().unwrap().len();
    println!(
        "opened after an abort in {:.0} ms: {} MiB of rows and places, {} segments, {} records of {} MiB replayed",
        took.as_secs_f64() * 1000.0,
        rows >> 20,
        figures.segments,
        figures.replayed_records,
        figures.replayed_bytes >> 20,
    );
}

fn changes(work: Work, waiter: u64, turn: u64) -> Changes {
    let mut changes = Changes::new();
    let body = vec![waiter as u8; BODY_BYTES];
    let place = |session, seq| QueueRef {
        session: SessionKey(session),
        seq,
        flags: 1,
        expires_at_ms: None,
    };
    match work {
        Work::Put => changes.put(&(waiter, turn), &Blob(body)),
        Work::Enqueue => changes.enqueue(Bytes::from(body), vec![place(waiter, turn)]),
        Work::Queue => {
            changes.enqueue(Bytes::from(body), vec![place(waiter, turn)]);
            changes.dequeue(SessionKey(waiter), turn - 1);
        }
        Work::FanOut10 => {
            let sessions = (0..10).map(|each| waiter * 10 + each);
            let refs = sessions.clone().map(|session| place(session, turn)).collect();
            changes.enqueue(Bytes::from(body), refs);
            for session in sessions {
                changes.dequeue(SessionKey(session), turn - 1);
            }
        }
    }
    changes
}
