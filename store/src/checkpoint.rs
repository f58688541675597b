//! A checkpoint: what was recent goes into redb, in one transaction, and the log before it is only
//! needed for the bodies that places still refer to.
//!
//! A message that came and went between two checkpoints is not seen here at all. What a checkpoint
//! writes may be written again: after a failure nobody knows whether the transaction is there.

use crate::base::{Base, Living, definition};
use crate::log::Position;
use crate::queue::{Place, QUEUE};
use crate::recent::{Changed, Places, Recent};
use redb::{Database, WriteTransaction};
use std::collections::BTreeMap;

/// What a checkpoint has to bring into redb.
#[derive(Debug)]
pub(crate) struct Checkpoint<'a> {
    pub(crate) frozen: &'a Recent,
    /// Where in the log it was frozen; the log is on disk up to there.
    pub(crate) at: Position,
    pub(crate) before: &'a Base,
}

impl Checkpoint<'_> {
    /// Writes it with fsync; answers how far redb has come then.
    pub(crate) fn write(&self, database: &Database) -> Result<Base, redb::Error> {
        let mut txn = database.begin_write()?;
        // What a walk through the file after a crash would find is saved with it: opening takes
        // the same time at any size.
        txn.set_quick_repair(true);
        let living = self.frozen.read(|changed| self.apply(changed, &txn))?;
        let base = Base { store: self.before.store, checkpoint: self.at, living };
        base.write(&txn)?;
        txn.commit()?;
        Ok(base)
    }

    fn apply(&self, changed: &Changed, txn: &WriteTransaction) -> Result<Living, redb::Error> {
        for (name, rows) in &changed.tables {
            let mut table = txn.open_table(definition(name))?;
            for (key, entry) in rows {
                match entry.newest() {
                    Some(row) => drop(table.insert(&**key, &**row)?),
                    None => drop(table.remove(&**key)?),
                }
            }
        }
        let mut count = Count::default();
        write_places(&changed.places, txn, &mut count)?;
        Ok(count.applied_to(&self.before.living))
    }
}

fn write_places(
    places: &Places,
    txn: &WriteTransaction,
    count: &mut Count,
) -> Result<(), redb::Error> {
    if places.is_empty() {
        return Ok(());
    }
    let mut table = txn.open_table(QUEUE)?;
    let mut row = Vec::with_capacity(64);
    for (at, entry) in places {
        let key = at.encode();
        let old = match entry.newest() {
            Some(place) => {
                place.encode_row(&key, &mut row);
                count.came(place);
                table.insert(&key, row.as_slice())?
            }
            None => table.remove(&key)?,
        };
        // One that cannot be read keeps its segment: space is lost, never a message.
        if let Some(Ok(old)) = old.map(|old| Place::decode_row(&key, old.value())) {
            count.went(&old);
        }
    }
    Ok(())
}

/// How the places of each segment change.
#[derive(Debug, Default)]
pub(crate) struct Count(BTreeMap<u64, (i64, i64)>);

impl Count {
    pub(crate) fn came(&mut self, place: &Place) {
        let (places, bytes) = self.0.entry(place.body.segment).or_default();
        *places += 1;
        *bytes += i64::from(place.share);
    }

    fn went(&mut self, place: &Place) {
        let (places, bytes) = self.0.entry(place.body.segment).or_default();
        *places -= 1;
        *bytes -= i64::from(place.share);
    }

    pub(crate) fn applied_to(self, before: &Living) -> Living {
        let mut living = before.clone();
        for (segment, (places, bytes)) in self.0 {
            let (had_places, had_bytes) = living.get(&segment).copied().unwrap_or_default();
            let places = had_places.saturating_add_signed(places);
            let bytes = had_bytes.saturating_add_signed(bytes);
            match places {
                0 => living.remove(&segment),
                _ => living.insert(segment, (places, bytes)),
            };
        }
        living
    }
}
