//! A disk that is really full: a small file system in memory, which only root can make. Without
//! that right the test says so and passes; `store/src/store/faults.rs` tests the same on a storage
//! that pretends.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![cfg(target_os = "linux")]

use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use store::{Changes, CommitError, QueueRef, SessionKey, Store};

const SESSION: SessionKey = SessionKey(1);
const BODY_BYTES: usize = 64 << 10;

/// A mounted file system of 96 MiB, gone with this value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=96m", "none"]).arg(dir.path());
        mount.output().is_ok_and(|done| done.status.success()).then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file that takes all space there is.
    fn fill_up(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let ballast = std::fs::write(&path, vec![1; 96 << 20]);
        assert!(ballast.is_err(), "the disk is larger than it should be");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _busy = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

fn message(seq: u64) -> Changes {
    let mut changes = Changes::new();
    let place = QueueRef { session: SESSION, seq, flags: 0, expires_at_ms: None };
    changes.enqueue(Bytes::from(vec![seq as u8; BODY_BYTES]), vec![place]);
    changes
}

async fn until_taken(store: &Store, seq: u64) {
    let mut waits = 0;
    while let Err(error) = store.commit(message(seq)).await {
        assert_eq!(error, CommitError::DiskFull);
        waits += 1;
        assert!(waits < 3000, "space has not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_adds_keeps_what_it_has_and_recovers_by_itself() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: only root can mount a small file system");
        return;
    };
    let path = disk.path().join("store.redb");
    let store = Store::open(&path).unwrap();
    let mut taken = 0;
    while store.commit(message(taken + 1)).await.is_ok() {
        taken += 1;
        assert!(taken < 3000, "never full");
    }
    assert!(taken > 100, "full after {taken} messages");
    assert_eq!(store.commit(message(taken + 1)).await, Err(CommitError::DiskFull));
    assert_eq!(store.read().unwrap().queue_stat(SESSION).unwrap().count, taken);
    // Nothing at all is left, not even for what deletes: refused, and nothing is half done.
    let ballast = disk.fill_up();
    let mut all = Changes::new();
    all.dequeue_all(SESSION);
    let mut answer = Ok(());
    for seq in 1..=taken {
        let mut changes = Changes::new();
        changes.set_queue_flags(SESSION, seq, 1);
        answer = store.commit(changes).await;
        if answer.is_err() {
            break;
        }
    }
    assert_eq!(answer, Err(CommitError::DiskFull));
    assert_eq!(store.read().unwrap().queue_stat(SESSION).unwrap().count, taken);
    std::fs::remove_file(ballast).unwrap();
    // What deletes is taken from the reserve, and gives the space of its segments back.
    store.commit(all).await.unwrap();
    until_taken(&store, taken + 1).await;
    store.close().await.unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    let queue = store.read().unwrap().queue(SESSION, 0, 10, usize::MAX).unwrap();
    assert_eq!(queue.iter().map(|it| it.seq).collect::<Vec<_>>(), [taken + 1]);
    drop(store);
}
