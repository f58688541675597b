//! Durable state: typed, versioned rows in redb behind one group-committing writer.
//!
//! - [`Store`]: the handle; [`Changes`]: one atomic set of changes; [`Snapshot`]: a consistent view
//!   to read from
//! - [`Row`] and [`RowKey`]: what the other crates implement for what they keep
//! - message queues ([`QueueRef`], [`Queued`]): bodies once, one queue of references for each
//!   session
//!
//! A commit is answered after the fsync of the batch it went into. Readers never wait for the
//! writer. A row that cannot be understood is reported as such and never replaced by a default. No
//! other crate knows redb.

mod batch;
mod changes;
mod engine;
mod error;
mod figures;
mod inbox;
mod key;
mod medium;
mod queue;
mod row;
mod snapshot;
mod space;
mod store;
mod writer;

pub use changes::Changes;
pub use error::{CommitError, OpenError, ReadError};
pub use figures::Figures;
pub use inbox::{Backlog, Commit};
pub use key::{KeyPart, RowKey, prefix};
pub use queue::{QueueRef, QueueStat, Queued, SessionKey};
pub use row::{Row, RowError, decode_json, encode_json, from_json};
pub use snapshot::Snapshot;
pub use store::Store;
