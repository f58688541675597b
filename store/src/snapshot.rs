//! A consistent view of the store at one moment, to read from.
//!
//! Keep it short: as long as a snapshot lives, what it may need is kept, in memory and in the file.
//! Nothing is read ahead; each call reads what it is asked for.

use crate::error::ReadError;
use crate::figures::add;
use crate::key::prefix as encoded;
use crate::queue::{QueueStat, Queued, SessionKey, read_queue, read_stat};
use crate::row::{Row, read_row};
use crate::view::View;

/// One row as it was found: its key with it, or why it cannot be understood.
type Found<R> = Result<(<R as Row>::Key, R), ReadError>;

/// A consistent view of the store, to be dropped soon.
pub struct Snapshot {
    view: View,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn new(view: View) -> Self {
        Self { view }
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The row at `key`.
    pub fn get<R: Row>(&self, key: &R::Key) -> Result<Option<R>, ReadError> {
        let key = encoded(key);
        match self.view.row(R::TABLE, &key) {
            Ok(None) => Ok(None),
            Ok(Some(row)) => self.note(read_row::<R>(&key, &row)).map(|(_, row)| Some(row)),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Whether there is a row at `key`, readable or not.
    pub fn contains<R: Row>(&self, key: &R::Key) -> Result<bool, ReadError> {
        let found = self.view.row(R::TABLE, &encoded(key));
        found.map(|row| row.is_some()).map_err(|error| self.failed(error))
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
        let after = after.map(encoded);
        let rows = self.view.rows(R::TABLE, prefix, after.as_deref());
        let rows = rows.map_err(|error| self.failed(error))?;
        let mut list = Vec::new();
        for row in rows.take(limit) {
            let (key, row) = row.map_err(|error| self.failed(error))?;
            list.push(self.note(read_row::<R>(&key, &row)));
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
        self.note(read_queue(&self.view, session, after_seq, limit, bytes_max))
    }

    /// What one queue holds; walks the queue.
    pub fn queue_stat(&self, session: SessionKey) -> Result<QueueStat, ReadError> {
        self.note(read_stat(&self.view, session))
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
                add(&self.view.counters().unreadable, 1);
                tracing::error!(%error, "unreadable row");
            }
            Err(ReadError::Io(_)) => self.view.shared().suspect(),
            _ => {}
        }
        read
    }
}
