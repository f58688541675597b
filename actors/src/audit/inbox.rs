//! Where entries are left to the clerk: gathered as they come, on the way of whoever leaves them, and nobody waits.

use super::entry::Entry;
use super::log::AuditFigures;
use super::merge::Gathered;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// See the module. Bounded by what [`Gathered`] takes in.
#[derive(Debug)]
pub(crate) struct Inbox {
    gathered: Mutex<Gathered>,
    begun: Notify,
    figures: Arc<AuditFigures>,
}

impl Inbox {
    /// An empty one.
    pub(crate) fn new(figures: Arc<AuditFigures>) -> Self {
        Self { gathered: Mutex::default(), begun: Notify::new(), figures }
    }

    /// Leaves an entry; what finds no room is counted. The clerk is woken by the first of a moment only.
    pub(crate) fn leave(&self, entry: Entry) {
        let (is_first, is_in) = {
            let mut gathered = self.gathered.lock();
            (gathered.is_empty(), gathered.add(entry))
        };
        if !is_in {
            self.figures.left_out.increase();
        } else if is_first {
            self.begun.notify_one();
        }
    }

    /// Waits until something is left.
    pub(crate) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Takes what there is.
    pub(crate) fn take(&self) -> Vec<Entry> {
        let mut gathered = self.gathered.lock();
        self.figures.merged.add(std::mem::take(&mut gathered.merged));
        gathered.take()
    }
}
