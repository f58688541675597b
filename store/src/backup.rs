//! Backup and restore: a snapshot of everything as one checksummed file, and a new store made of it.
//!
//! A backup walks a snapshot, so it is the store at one moment while commits go on, and holds little in memory: rows
//! table by table, then the bodies of queued messages segment by segment, each once, with the places that refer to
//! it. It depends neither on the form of redb's file nor on that of the log's segments. Rows are carried over as they
//! stand, framed with version and checksum, also those that nobody here can read. The file is that of [`file`].

mod file;
mod part;
mod restore;

pub use file::{BackupHeader, BackupReader, BackupReport};
pub use part::{Part, UnfinishedPart};
pub use restore::RestoreError;

use crate::error::ReadError;
use crate::log::{Living, Scan, living_of};
use crate::plan::{Plan, RowStep, TablePlan};
use crate::queue::PlaceKey;
use crate::store::Store;
use crate::view::View;
use file::BackupWriter;
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::path::Path;

/// A record of the file takes about so many bytes.
const RECORD_BYTES: usize = 1 << 20;

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file cannot be written, or a segment cannot be read.
    #[error("cannot write the backup: {0}")]
    Io(#[from] io::Error),
}

impl From<redb::Error> for BackupError {
    fn from(error: redb::Error) -> Self {
        Self::Read(ReadError::from_redb(error))
    }
}

impl Store {
    /// Writes everything that has been committed by now; what is committed meanwhile is not in it. `now_ms` is the
    /// time that the file says it is of. Takes its time, and reads and writes all the while: not for a thread that
    /// others wait for. The caller brings the file to the disk.
    pub fn backup(&self, out: impl Write, now_ms: u64) -> Result<BackupReport, BackupError> {
        let snapshot = self.read()?;
        let view = snapshot.view();
        let mut out = BackupWriter::begin(out, now_ms, None)?;
        for table in view.tables()? {
            write_rows(view, &table, &[], &mut out)?;
        }
        let mut places = 0;
        for (id, segment) in view.segments() {
            let Some(mut scan) = Scan::of_file(*id, segment)? else { continue };
            let mut living = Living::default();
            while let Some((record, bodies)) = scan.next_or_end()? {
                living_of(&record, &bodies, view, &mut living)?;
                if living.plan.bytes() as usize >= RECORD_BYTES {
                    places += living.plan.places.len() as u64;
                    out.record(&std::mem::take(&mut living).plan)?;
                }
            }
            places += living.plan.places.len() as u64;
            out.record(&living.plan)?;
        }
        out.unreadable += count_places(view)?.saturating_sub(places);
        Ok(out.finish()?)
    }

    /// The same for a part of the store, without what waits in queues.
    pub fn backup_part(
        &self,
        out: impl Write,
        now_ms: u64,
        part: &Part,
    ) -> Result<BackupReport, BackupError> {
        let snapshot = self.read()?;
        let mut out = BackupWriter::begin(out, now_ms, Some(part.name.clone()))?;
        for table in part.all() {
            write_rows(snapshot.view(), table, &part.prefix, &mut out)?;
        }
        Ok(out.finish()?)
    }

    /// Makes a new store in the file `path` of what [`backup`](Self::backup) has written. The directory must be empty,
    /// or not there; what fails leaves it empty.
    pub fn restore(from: impl Read, path: &Path) -> Result<BackupReport, RestoreError> {
        restore::restore(from, path)
    }
}

fn write_rows<W: Write>(
    view: &View,
    table: &str,
    prefix: &[u8],
    out: &mut BackupWriter<W>,
) -> Result<(), BackupError> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let plan = |rows| {
        let tables = vec![TablePlan { name: Cow::Owned(table.to_owned()), rows }];
        Plan { tables, ..Plan::default() }
    };
    for row in view.rows(table, prefix, None)? {
        let (key, row) = row?;
        if crate::row::unframe(&key, &row).is_err() {
            out.unreadable += 1;
        }
        bytes += key.len() + row.len();
        rows.push(RowStep { key, row: Some(row), covers: true });
        if bytes >= RECORD_BYTES {
            out.record(&plan(std::mem::take(&mut rows)))?;
            bytes = 0;
        }
    }
    if !rows.is_empty() {
        out.record(&plan(rows))?;
    }
    Ok(())
}

fn count_places(view: &View) -> Result<u64, redb::Error> {
    let mut count = 0;
    for place in view.places_between(PlaceKey::FIRST, PlaceKey::LAST)? {
        let _ = place?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
