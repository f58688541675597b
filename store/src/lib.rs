//! Durable state: typed, versioned rows in redb behind one group-committing writer.
//!
//! - [`Store`]: the handle; [`Changes`]: one atomic set of changes; [`Snapshot`]: a consistent view
//!   to read from
//! - [`Row`] and [`RowKey`]: what the other crates implement for what they keep
//! - message queues ([`QueueRef`], [`Queued`]): bodies once, one queue of references for each
//!   session
//!
//! A commit goes into the log, an append-only file, and is answered after the fsync of the batch it
//! went into, unless it asks for less ([`Durability`]). From time to time a checkpoint brings what
//! changed into redb. Readers see both as one and never wait for a disk that is being written. A
//! row that cannot be understood is reported as such and never replaced by a default. No other
//! crate knows redb.

mod backup;
mod base;
mod batch;
mod changes;
mod checkpoint;
mod error;
mod figures;
mod herald;
mod inbox;
mod key;
mod log;
mod medium;
mod migrate;
mod plan;
mod queue;
mod recent;
mod row;
mod shared;
mod snapshot;
mod space;
mod store;
mod view;
mod writer;

pub use backup::{
    BackupError, BackupHeader, BackupReader, BackupReport, Part, RestoreError, UnfinishedPart,
};
pub use changes::{Changes, Durability};
pub use error::{CommitError, OpenError, ReadError};
pub use figures::Figures;
pub use inbox::{Backlog, Commit};
pub use key::{KeyPart, RowKey, prefix};
pub use queue::{QueueRef, QueueStat, Queued, SessionKey};
pub use row::{Row, RowError, decode_json, encode_json, from_json};
pub use snapshot::Snapshot;
pub use store::Store;

/// Which release made a store, for people who look into one.
const RELEASE: &str = concat!("manifold ", env!("CARGO_PKG_VERSION"));
