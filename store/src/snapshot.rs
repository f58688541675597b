//! A consistent view of the store at one moment, to read from.
//!
//! Keep it short: as long as a snapshot lives, the pages it may need are not used again and the
//! file grows. Nothing is read ahead; each call reads what it is asked for.

use crate::batch::definition;
use crate::error::ReadError;
use crate::figures::add;
use crate::key::{prefix as encoded, prefix_end};
use crate::queue::{QueueStat, Queued, SessionKey, read_queue, read_stat};
use crate::row::{Row, read_row};
use crate::writer::Shared;
use redb::{ReadOnlyTable, ReadTransaction, TableError};
use std::ops::Bound;
use std::sync::Arc;

type RowTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// One row as it was found: its key with it, or why it cannot be understood.
type Found<R> = Result<(<R as Row>::Key, R), ReadError>;

/// A consistent view of the store, to be dropped soon.
pub struct Snapshot {
    txn: ReadTransaction,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn new(txn: ReadTransaction, shared: Arc<Shared>) -> Self {
        Self { txn, shared }
    }

    /// The row at `key`.
    pub fn get<R: Row>(&self, key: &R::Key) -> Result<Option<R>, ReadError> {
        let Some(table) = self.table::<R>()? else { return Ok(None) };
        let key = encoded(key);
        match table.get(key.as_slice()) {
            Ok(None) => Ok(None),
            Ok(Some(row)) => self.note(read_row::<R>(&key, row.value())).map(|(_, row)| Some(row)),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// Whether there is a row at `key`, readable or not.
    pub fn contains<R: Row>(&self, key: &R::Key) -> Result<bool, ReadError> {
        let Some(table) = self.table::<R>()? else { return Ok(false) };
        let found = table.get(encoded(key).as_slice());
        found.map(|row| row.is_some()).map_err(|error| self.failed(error.into()))
    }

    /// The first row whose encoded key starts with `prefix`.
    pub fn first<R: Row>(&self, prefix: &[u8]) -> Result<Option<Found<R>>, ReadError> {
        Ok(self.page(prefix, None, 1)?.pop())
    }

    /// Every row whose encoded key starts with `prefix`, in key order. What an unreadable one
    /// means, its owner decides.
    pub fn scan<R: Row>(&self, prefix: &[u8]) -> Result<Vec<Found<R>>, ReadError> {
        self.page(prefix, None, usize::MAX)
    }

    /// At most `limit` rows whose encoded key starts with `prefix`, beginning after the key
    /// `after`.
    pub fn page<R: Row>(
        &self,
        prefix: &[u8],
        after: Option<&R::Key>,
        limit: usize,
    ) -> Result<Vec<Found<R>>, ReadError> {
        let mut list = Vec::new();
        let Some(table) = self.table::<R>()? else { return Ok(list) };
        let after = after.map(encoded).filter(|after| after.as_slice() >= prefix);
        let end = prefix_end(prefix);
        if let (Some(after), Some(end)) = (&after, &end)
            && after >= end
        {
            return Ok(list);
        }
        let from = after.as_deref().map_or(Bound::Included(prefix), Bound::Excluded);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = table.range::<&[u8]>((from, to)).map_err(|error| self.failed(error.into()))?;
        for row in range.take(limit) {
            let (key, row) = row.map_err(|error| self.failed(error.into()))?;
            list.push(self.note(read_row::<R>(key.value(), row.value())));
        }
        Ok(list)
    }

    /// Messages of one queue after the place `after_seq` (0: from the start), until `limit`
    /// messages or `bytes_max` bytes of bodies, but at least one.
    ///
    /// An unreadable message ends the list when something came before it, and is the error when it
    /// comes first; its key decodes as `(session, seq)`, and dequeuing that place skips it.
    pub fn queue(
        &self,
        session: SessionKey,
        after_seq: u64,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Queued>, ReadError> {
        self.note(read_queue(&self.txn, session, after_seq, limit, bytes_max))
    }

    /// What one queue holds; walks the queue.
    pub fn queue_stat(&self, session: SessionKey) -> Result<QueueStat, ReadError> {
        self.note(read_stat(&self.txn, session))
    }

    fn table<R: Row>(&self) -> Result<Option<RowTable>, ReadError> {
        match self.txn.open_table(definition(R::TABLE)) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    fn failed(&self, error: redb::Error) -> ReadError {
        match self.note::<()>(Err(ReadError::from_redb(error))) {
            Err(error) => error,
            Ok(()) => ReadError::Closed,
        }
    }

    /// Counts what went wrong, and lets the writer repair a failed storage.
    fn note<T>(&self, read: Result<T, ReadError>) -> Result<T, ReadError> {
        match &read {
            Err(error @ ReadError::Unreadable { .. }) => {
                add(&self.shared.counters.unreadable, 1);
                tracing::error!(%error, "unreadable row");
            }
            Err(ReadError::Io(_)) => self.shared.suspect(),
            _ => {}
        }
        read
    }
}
