//! One batch: many sets of changes merged into what one record of the log has to say.
//!
//! Merging is pure: of several writes to one key the last stays, a deleted prefix takes the pending
//! writes below it along. Resolving looks at what the store holds: a deletion of nothing vanishes,
//! a deleted prefix becomes the deletions of its rows. What is left is a [`Plan`].

use crate::changes::{Change, Changes, Derivation};
use crate::error::ReadError;
use crate::plan::{Plan, RowStep, TablePlan};
use crate::queue::QueueChanges;
use crate::view::View;
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What many sets of changes want.
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
                Change::DequeueThrough { session, seq } => {
                    self.queues.dequeue_through(session, seq);
                }
                // The writer has worked them out before.
                Change::Derive(_) => {}
            }
        }
    }

    /// Adds what the derivations of one set come to, one after the other; refused as a whole if a row that one of them
    /// begins with cannot be read.
    pub(crate) fn derive(
        &mut self,
        derivations: Vec<Derivation>,
        view: &View,
    ) -> Result<Result<(), ReadError>, redb::Error> {
        let mut stored = Vec::with_capacity(derivations.len());
        for Derivation { table, key, check, .. } in &derivations {
            let row = match self.pending(table, key) {
                Some(_) => None,
                None => view.row(table, key)?,
            };
            if let Some(Err(error)) = row.as_deref().map(|row| check(key, row)) {
                return Ok(Err(error));
            }
            stored.push(row);
        }
        for (Derivation { table, key, work_out, .. }, stored) in derivations.into_iter().zip(stored)
        {
            let row = self.pending(table, &key).unwrap_or(stored.as_deref());
            match work_out(&key, row) {
                Ok(changes) => self.add(changes),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// What the sets so far make of the row at `key`: nothing, no row, or this framed one.
    pub(crate) fn pending(&self, table: &str, key: &[u8]) -> Option<Option<&[u8]>> {
        let changes = self.tables.get(table)?;
        match changes.rows.get(key) {
            Some(row) => Some(row.as_deref()),
            None => changes.cleared.iter().any(|prefix| key.starts_with(prefix)).then_some(None),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.queues.is_empty()
    }

    /// What this comes to over what `view` holds.
    pub(crate) fn resolve(self, view: &View) -> Result<Plan, redb::Error> {
        let mut plan = Plan::default();
        for (name, changes) in self.tables {
            let rows = changes.resolve(name, view)?;
            if !rows.is_empty() {
                plan.tables.push(TablePlan { name: Cow::Borrowed(name), rows });
            }
        }
        self.queues.resolve(view, &mut plan)?;
        Ok(plan)
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

    fn resolve(self, name: &str, view: &View) -> Result<Vec<RowStep>, redb::Error> {
        let mut steps = Vec::with_capacity(self.rows.len());
        for prefix in &self.cleared {
            for row in view.rows(name, prefix, None)? {
                let (key, _) = row?;
                steps.push((key, None));
            }
        }
        let below = view.rows_below(name)?;
        for (key, row) in self.rows {
            if row.is_some() || view.has_row(&below, &key)? {
                steps.push((key, row.map(Bytes::from)));
            }
        }
        let step = |(key, row): (Vec<u8>, Option<Bytes>)| {
            let covers = row.is_some() || below.contains(&key)?;
            Ok(RowStep { key, row, covers })
        };
        steps.into_iter().map(step).collect()
    }
}
