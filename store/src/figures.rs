//! Figures of the store: what it did since it was opened, as plain counters.
//!
//! Everything that is bounded or can fail has its counter here; whoever exports metrics takes the
//! differences.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What the store did since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Figures {
    /// Batches written to the log.
    pub batches: u64,
    /// Sets of changes acknowledged by them.
    pub commits: u64,
    /// Changes in those sets.
    pub changes: u64,
    /// Rows written or removed for them, after what cancelled out.
    pub rows: u64,
    /// Bytes of the keys and rows written.
    pub bytes: u64,
    /// Batches by how many sets they held: 1, up to 4, 16, 64, 256, 1024, and more.
    pub batch_sizes: [u64; 7],
    /// Microseconds spent on finding out what changes, and applying it, in memory.
    pub apply_micros_total: u64,
    /// Microseconds spent bringing batches to the disk: the write and the fsync.
    pub fsync_micros_total: u64,
    /// The longest of them.
    pub fsync_micros_max: u64,
    /// Batches that failed.
    pub errors: u64,
    /// Sets of changes refused because the disk was full.
    pub refused_full: u64,
    /// Sets of changes refused because too many waited.
    pub refused_overload: u64,
    /// Times the storage was opened again after a failure.
    pub reopened: u64,
    /// Openings, the first one and later ones, that had to look through the whole file.
    pub walked: u64,
    /// Rows met that could not be understood.
    pub unreadable: u64,
    /// Bytes appended to the log.
    pub log_bytes: u64,
    /// Synchronisations of the log with the disk.
    pub syncs: u64,
    /// Segments of the log that are there.
    pub segments: u64,
    /// Bytes of message bodies in queues, as of the last checkpoint.
    pub living_bytes: u64,
    /// Bytes of the segments on the disk, at the last checkpoint.
    pub segment_bytes: u64,
    /// Bytes written anew to empty segments that were hardly used.
    pub moved_bytes: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Microseconds that they took, beside the commits.
    pub checkpoint_micros_total: u64,
    /// Records of the log that were replayed when the store was opened.
    pub replayed_records: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// Microseconds that opening the log and replaying took.
    pub replay_micros: u64,
    /// Bytes of a torn end of the log, cut off when the store was opened.
    pub cut_bytes: u64,
    /// Segments that queued messages are in and that were not there when the store was opened.
    pub missing_segments: u64,
}

/// The live counters behind [`Figures`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) batch_sizes: [AtomicU64; 7],
    pub(crate) apply_micros_total: AtomicU64,
    pub(crate) fsync_micros_total: AtomicU64,
    pub(crate) fsync_micros_max: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) refused_overload: AtomicU64,
    pub(crate) reopened: AtomicU64,
    pub(crate) walked: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) living_bytes: AtomicU64,
    pub(crate) segment_bytes: AtomicU64,
    pub(crate) moved_bytes: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) checkpoint_micros_total: AtomicU64,
    pub(crate) replayed_records: AtomicU64,
    pub(crate) replayed_bytes: AtomicU64,
    pub(crate) replay_micros: AtomicU64,
    pub(crate) cut_bytes: AtomicU64,
    pub(crate) missing_segments: AtomicU64,
}

impl Counters {
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            batches: self.batches.load(Relaxed),
            commits: self.commits.load(Relaxed),
            changes: self.changes.load(Relaxed),
            rows: self.rows.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            batch_sizes: std::array::from_fn(|index| self.batch_sizes[index].load(Relaxed)),
            apply_micros_total: self.apply_micros_total.load(Relaxed),
            fsync_micros_total: self.fsync_micros_total.load(Relaxed),
            fsync_micros_max: self.fsync_micros_max.load(Relaxed),
            errors: self.errors.load(Relaxed),
            refused_full: self.refused_full.load(Relaxed),
            refused_overload: self.refused_overload.load(Relaxed),
            reopened: self.reopened.load(Relaxed),
            walked: self.walked.load(Relaxed),
            unreadable: self.unreadable.load(Relaxed),
            log_bytes: self.log_bytes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            segments: self.segments.load(Relaxed),
            living_bytes: self.living_bytes.load(Relaxed),
            segment_bytes: self.segment_bytes.load(Relaxed),
            moved_bytes: self.moved_bytes.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
            checkpoint_micros_total: self.checkpoint_micros_total.load(Relaxed),
            replayed_records: self.replayed_records.load(Relaxed),
            replayed_bytes: self.replayed_bytes.load(Relaxed),
            replay_micros: self.replay_micros.load(Relaxed),
            cut_bytes: self.cut_bytes.load(Relaxed),
            missing_segments: self.missing_segments.load(Relaxed),
        }
    }

    pub(crate) fn note_batch_size(&self, commits: usize) {
        let class = [1, 4, 16, 64, 256, 1024].iter().position(|size| commits <= *size);
        self.batch_sizes[class.unwrap_or(6)].fetch_add(1, Relaxed);
    }

    pub(crate) fn note_times(&self, apply: Duration, fsync: Duration) {
        add(&self.apply_micros_total, apply.as_micros() as u64);
        add(&self.fsync_micros_total, fsync.as_micros() as u64);
        self.fsync_micros_max.fetch_max(fsync.as_micros() as u64, Relaxed);
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

/// Replaces the value of a gauge.
pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Relaxed);
}
