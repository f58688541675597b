//! One batch: many sets of changes merged into what one transaction has to write.
//!
//! Merging is pure: of several writes to one key the last stays, a deleted prefix takes the pending
//! writes below it along. Applying opens each table once and writes in key order, which is the
//! order the trees like.

use crate::changes::{Change, Changes};
use crate::figures::Counters;
use crate::queue::{QueueChanges, QueueWriter, Touched};
use redb::{TableDefinition, WriteTransaction};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What one transaction has to write.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    tables: BTreeMap<&'static str, TableChanges>,
    queues: QueueChanges,
}

#[derive(Debug, Default)]
struct TableChanges {
    /// Prefixes deleted before anything in `rows` happens.
    cleared: Vec<Vec<u8>>,
    /// The row to write, or `None` to delete.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Batch {
    pub(crate) fn add(&mut self, changes: Changes) {
        for change in changes.into_list() {
            match change {
                Change::Put { table, key, row } => {
                    self.tables.entry(table).or_default().rows.insert(key, Some(row));
                }
                Change::Delete { table, key } => {
                    self.tables.entry(table).or_default().rows.insert(key, None);
                }
                Change::DeletePrefix { table, prefix } => {
                    self.tables.entry(table).or_default().clear(prefix);
                }
                Change::Enqueue { body, refs } => self.queues.enqueue(body, &refs),
                Change::Dequeue { session, seq } => self.queues.dequeue(session, seq),
                Change::SetQueueFlags { session, seq, flags } => {
                    self.queues.set_flags(session, seq, flags);
                }
                Change::DequeueAll { session } => self.queues.dequeue_all(session),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.queues.is_empty()
    }

    pub(crate) fn apply(
        &self,
        txn: &WriteTransaction,
        queues: &mut QueueWriter,
        counters: &Counters,
    ) -> Result<Touched, redb::Error> {
        let mut touched = queues.apply(&self.queues, txn, counters)?;
        for (name, changes) in &self.tables {
            changes.apply(name, txn, &mut touched)?;
        }
        Ok(touched)
    }
}

impl TableChanges {
    fn clear(&mut self, prefix: Vec<u8>) {
        let from = (Bound::Included(prefix.as_slice()), Bound::Unbounded);
        let below = self.rows.range::<[u8], _>(from);
        let below: Vec<_> =
            below.map(|(key, _)| key.clone()).take_while(|key| key.starts_with(&prefix)).collect();
        for key in below {
            self.rows.remove(&key);
        }
        self.cleared.push(prefix);
    }

    fn apply(
        &self,
        name: &str,
        txn: &WriteTransaction,
        touched: &mut Touched,
    ) -> Result<(), redb::Error> {
        let mut table = txn.open_table(definition(name))?;
        for prefix in &self.cleared {
            let end = crate::key::prefix_end(prefix);
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = (Bound::Included(prefix.as_slice()), end);
            for gone in table.extract_from_if::<&[u8], _>(range, |_, _| true)? {
                gone?;
                touched.rows += 1;
            }
        }
        for (key, row) in &self.rows {
            match row {
                Some(row) => {
                    table.insert(key.as_slice(), row.as_slice())?;
                    touched.rows += 1;
                    touched.bytes += (key.len() + row.len()) as u64;
                }
                None => touched.rows += u64::from(table.remove(key.as_slice())?.is_some()),
            }
        }
        Ok(())
    }
}

/// How every table of typed rows looks to redb.
pub(crate) fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}
