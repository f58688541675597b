//! Whether the disk can take more, asked before each batch.
//!
//! Below [`RESERVE_BYTES`] of free space nothing is added any more, so that redb never meets a full
//! disk and readers never notice; changes that only delete use the reserve. The file does not give
//! back what they free, but it can be written again: when that is enough, and half the reserve is
//! still there for what redb puts elsewhere, additions go on.

use crate::medium::Medium;
use parking_lot::RwLock;
use redb::Database;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{error, info, warn};

/// Free space below which nothing more is added.
pub(crate) const RESERVE_BYTES: u64 = 32 << 20;

/// Counting free pages walks the whole store; it may take a tenth of the writer's time.
const COUNT_AFTER_MIN: Duration = Duration::from_secs(1);
const COUNT_AFTER_FACTOR: u32 = 10;

/// What is known about the space of the disk.
#[derive(Debug, Default)]
pub(crate) struct Space {
    is_full: bool,
    /// Bytes in the file that can be written again, and when to count them anew.
    reusable: Option<(u64, Instant)>,
}

impl Space {
    /// Whether the last batch found the disk full.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether changes that add something can be taken.
    pub(crate) fn takes_more(
        &mut self,
        medium: &dyn Medium,
        database: &RwLock<Option<Database>>,
    ) -> bool {
        let free_bytes = medium.free_bytes().unwrap_or(u64::MAX);
        let takes_more = if free_bytes >= RESERVE_BYTES {
            self.reusable = None;
            true
        } else {
            free_bytes >= RESERVE_BYTES / 2 && self.reusable(medium, database) >= RESERVE_BYTES
        };
        if self.is_full == takes_more {
            self.is_full = !takes_more;
            let path = medium.path().display();
            if self.is_full {
                error!(%path, free_bytes, "disk full, only deletions are taken");
            } else {
                info!(%path, free_bytes, "there is space again");
            }
        }
        takes_more
    }

    fn reusable(&mut self, medium: &dyn Medium, database: &RwLock<Option<Database>>) -> u64 {
        let began = Instant::now();
        if let Some((bytes, until)) = self.reusable
            && began < until
        {
            return bytes;
        }
        let bytes = match allocated_bytes(database) {
            Ok(allocated) => medium.stored_bytes().saturating_sub(allocated),
            Err(error) => {
                warn!(%error, "cannot count the free pages of the store");
                0
            }
        };
        let wait = COUNT_AFTER_MIN.max(began.elapsed() * COUNT_AFTER_FACTOR);
        self.reusable = Some((bytes, Instant::now() + wait));
        bytes
    }
}

fn allocated_bytes(database: &RwLock<Option<Database>>) -> Result<u64, redb::Error> {
    let txn = match &*database.read() {
        Some(database) => database.begin_write()?,
        None => return Err(redb::Error::DatabaseClosed),
    };
    let stats = txn.stats()?;
    txn.abort()?;
    Ok(stats.allocated_pages() * stats.page_size() as u64)
}
