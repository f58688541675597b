//! What a batch really changes: the form in which it goes into the log and is applied.
//!
//! A plan says the outcome for every row and place it names and needs nothing else to be applied,
//! so that replaying the log reads nothing but the log.

use crate::queue::{Place, PlaceKey};
use bytes::Bytes;
use std::borrow::Cow;

/// What one record of the log says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) tables: Vec<TablePlan>,
    /// Bodies that this record brings; places refer to them by index.
    pub(crate) bodies: Vec<Bytes>,
    pub(crate) places: Vec<PlaceStep>,
}

/// What happens to the rows of one table.
#[derive(Debug, PartialEq)]
pub(crate) struct TablePlan {
    pub(crate) name: Cow<'static, str>,
    pub(crate) rows: Vec<RowStep>,
}

/// What happens to one row.
#[derive(Debug, PartialEq)]
pub(crate) struct RowStep {
    pub(crate) key: Vec<u8>,
    /// The framed row, or `None` to delete.
    pub(crate) row: Option<Bytes>,
    /// Whether a deletion has to hide something below what is recent. Not in the log: a replay
    /// takes it for granted.
    pub(crate) covers: bool,
}

/// What happens to one place of one queue.
#[derive(Debug, PartialEq)]
pub(crate) struct PlaceStep {
    pub(crate) at: PlaceKey,
    pub(crate) what: PlaceChange,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PlaceChange {
    /// A message comes, its body the one with this index.
    Put { body: usize, flags: u8, expires_at_ms: Option<u64> },
    /// A message stays, described anew.
    Set(Place),
    /// The message goes; `covers` as for a row.
    Remove { covers: bool },
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.places.is_empty()
    }

    /// Rows and places written or removed.
    pub(crate) fn len(&self) -> u64 {
        let rows = self.tables.iter().map(|table| table.rows.len()).sum::<usize>();
        (rows + self.places.len()) as u64
    }

    /// Bytes of the keys, rows and bodies written.
    pub(crate) fn bytes(&self) -> u64 {
        let row = |step: &RowStep| step.row.as_ref().map_or(0, |row| step.key.len() + row.len());
        let rows = self.tables.iter().flat_map(|table| &table.rows).map(row).sum::<usize>();
        (rows + self.bodies.iter().map(Bytes::len).sum::<usize>()) as u64
    }

    /// How many places refer to each body.
    pub(crate) fn body_refs(&self) -> Vec<u32> {
        let mut refs = vec![0; self.bodies.len()];
        for step in &self.places {
            if let PlaceChange::Put { body, .. } = step.what {
                refs[body] += 1;
            }
        }
        refs
    }
}
