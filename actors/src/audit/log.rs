//! How entries get into the store: linked by its writer, in the set of changes that they tell of.

use super::chain::{self, ORIGIN, hex};
use super::checkpoint::Key;
use super::entry::Entry;
use super::inbox::Inbox;
use super::merge::Rate;
use super::row::{AuditRow, HeadRow, KeyRow, NODE};
use crate::figures::Counter;
use crate::ports::Outside;
use parking_lot::Mutex;
use std::sync::Arc;
use store::{Changes, CommitError, ReadError, Store};

/// Refusals that are recorded one by one, in a second; further ones are merged.
const REFUSALS_PER_SEC: u32 = 50;

/// Where everything that is to be recorded goes.
#[derive(Debug)]
pub(crate) struct Audit {
    store: Store,
    key: Key,
    inbox: Arc<Inbox>,
    refusals: Mutex<Rate>,
    pub(crate) figures: Arc<AuditFigures>,
}

/// What the audit has counted.
#[derive(Debug, Default)]
pub(crate) struct AuditFigures {
    pub(crate) records: Counter,
    pub(crate) merged: Counter,
    pub(crate) left_out: Counter,
    pub(crate) failed: Counter,
    pub(crate) dropped: Counter,
}

/// Why the audit cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The stored key is none.
    #[error("the key of the audit is damaged")]
    Key,
}

impl Audit {
    /// Opens the audit of a node, whose key is made if there is none.
    pub(crate) async fn open(outside: &Outside) -> Result<Self, AuditError> {
        let store = outside.store.clone();
        let found = store.read()?.get::<KeyRow>(&NODE.to_owned())?;
        let row = match found {
            Some(row) => row,
            None => {
                let mut seed = [0; 32];
                outside.entropy.fill(&mut seed);
                let row = KeyRow { seed: hex(&seed) };
                let mut changes = Changes::new();
                changes.put::<KeyRow>(&NODE.to_owned(), &row);
                store.commit(changes).await?;
                row
            }
        };
        let key = Key::of(&row.seed).ok_or(AuditError::Key)?;
        let refusals = Mutex::new(Rate::new(REFUSALS_PER_SEC));
        let figures = Arc::<AuditFigures>::default();
        let inbox = Arc::new(Inbox::new(Arc::clone(&figures)));
        Ok(Self { store, key, inbox, refusals, figures })
    }

    /// The key of the node.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Where entries may be left without waiting.
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Records a refusal before it is answered. Beyond a rate it is left to the clerk, who merges.
    pub(crate) async fn refused(&self, entry: Entry) {
        if self.refusals.lock().take(entry.t) {
            // That nothing was done stands, recorded or not.
            let _ = self.commit(entry).await;
        } else {
            self.inbox.leave(entry);
        }
    }

    /// Records an entry by itself.
    pub(crate) async fn commit(&self, entry: Entry) -> Result<(), CommitError> {
        let mut changes = Changes::new();
        add(&mut changes, entry);
        let kept = self.store.commit(changes).await;
        match &kept {
            Ok(()) => self.figures.records.increase(),
            Err(error) => {
                self.figures.failed.increase();
                tracing::error!(%error, "an audit record cannot be kept");
            }
        }
        kept
    }
}

/// Adds an entry to what it tells of: there together, or not at all. It gets its number, and the hash of the record
/// before it, when the store commits it.
pub(crate) fn add(changes: &mut Changes, entry: Entry) {
    let tenant = entry.namespace.tenant.clone();
    let bytes = entry.bytes();
    changes.derive::<HeadRow>(&tenant.clone(), bytes, move |head| {
        let head = head.and_then(|row| row.head()).unwrap_or(ORIGIN);
        let (bytes, head) = chain::link(&head, entry);
        let mut changes = Changes::new();
        let row = AuditRow { hash: head.hash, bytes };
        changes.put::<AuditRow>(&(tenant.clone(), head.number), &row);
        changes.put::<HeadRow>(&tenant, &head.into());
        changes
    });
}
