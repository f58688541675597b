//! What can go wrong, one enum for each kind of operation: opening, reading, committing.
//!
//! A row that cannot be understood is its own case ([`ReadError::Unreadable`]): it concerns one row
//! and its owner, while every other error concerns the whole store.

use crate::row::RowError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another handle of this one, has the file open.
    #[error("{path} is already open by another process")]
    AlreadyOpen {
        /// The file.
        path: PathBuf,
    },
    /// A later release wrote the file.
    #[error("{path} has format {found}, which is newer than format {known}, the newest known here")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format that the file says it has.
        found: u32,
        /// The newest format this release can read.
        known: u32,
    },
    /// The file is not a store, or its structure is broken.
    #[error("{path} is damaged or no store: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot open {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The row is there and cannot be understood: torn, damaged, or of an unknown version.
    #[error("unreadable row in table {table} at key \"{}\": {reason}", key.escape_ascii())]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The encoded key; [`RowKey::decode`](crate::RowKey::decode) may turn it back.
        key: Vec<u8>,
        /// What is wrong with it.
        reason: RowError,
    },
    /// The storage failed; the writer repairs it by itself when it can.
    #[error("cannot read the store: {0}")]
    Io(Arc<str>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a set of changes was not committed.
///
/// None of its changes are there, with one exception that no store can exclude: when the very last
/// synchronisation with the disk failed, a batch reported as [`Io`](CommitError::Io) may be found
/// after all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The disk, or a quota on it, is full; changes that only delete are still taken.
    #[error("the disk of the store is full")]
    DiskFull,
    /// The storage failed; the writer opens it again by itself.
    #[error("cannot write the store: {0}")]
    Io(Arc<str>),
    /// More waits than the hard bound of the backlog allows; see
    /// [`Store::room`](crate::Store::room).
    #[error("the store is overloaded")]
    Overloaded,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl ReadError {
    pub(crate) fn from_redb(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseClosed => Self::Closed,
            other => Self::Io(other.to_string().into()),
        }
    }

    pub(crate) fn from_io(error: std::io::Error) -> Self {
        Self::Io(error.to_string().into())
    }
}

impl CommitError {
    pub(crate) fn from_redb(error: &redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::from_io(error),
            other => Self::Io(other.to_string().into()),
        }
    }

    pub(crate) fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error.to_string().into()),
        }
    }
}
