//! A part of a store: the rows of some tables whose keys begin alike. It is backed up by itself, and put into a store
//! that has other parts.
//!
//! Putting it there takes many commits. The rows of the last tables go first and come last: who looks for the part by
//! them finds it as a whole, or not at all. In between [`UnfinishedPart`] says that there is some of it.

use super::file::{BackupReader, BackupReport};
use super::restore::RestoreError;
use crate::changes::{Change, Changes};
use crate::plan::TablePlan;
use crate::row::{Row, RowError};
use crate::store::Store;
use std::io::{Read, Seek, SeekFrom};

/// Rows of about so many bytes in one commit.
const COMMIT_BYTES: usize = 4 << 20;

/// Rows in one commit, at most.
const COMMIT_ROWS: usize = 10_000;

/// Which rows of a store are a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is called in the file.
    pub name: String,
    /// The tables that it has rows of, but for those of `last`.
    pub tables: &'static [&'static str],
    /// The tables by whose rows it is found: without these it is not there. They are few, and held in memory.
    pub last: &'static [&'static str],
    /// How the keys of its rows begin.
    pub prefix: Vec<u8>,
}

/// A row with the name of a part as its key: it is being put in place, or that was cut short, and it is made again.
/// Until then there may be rows of it, which whoever makes something new under its keys would take for his.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfinishedPart;

impl Row for UnfinishedPart {
    type Key = String;
    const TABLE: &'static str = "unfinished_parts";
    const VERSION: u8 = 1;

    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: u8, _: &[u8]) -> Result<Self, RowError> {
        Ok(Self)
    }
}

impl Part {
    /// All its tables, the last ones at the end.
    pub(super) fn all(&self) -> impl Iterator<Item = &'static str> {
        self.tables.iter().chain(self.last).copied()
    }

    /// The table of this name, if rows with such keys are of this part.
    fn table(&self, name: &str, key: &[u8]) -> Option<&'static str> {
        self.all().find(|it| *it == name).filter(|_| key.starts_with(&self.prefix))
    }
}

impl Store {
    /// Puts a part as a backup has it in the place of what the store has of it. The file is read twice, so that nothing
    /// is changed by one that is not whole, is of something else ([`RestoreError::Other`]), or has rows that are not of
    /// the part. An attempt that was interrupted leaves the part away and an [`UnfinishedPart`]; it is made again. For
    /// a part that nobody works with meanwhile: who has read rows of it is not told that they have changed.
    pub async fn restore_part(
        &self,
        mut from: impl Read + Seek,
        part: &Part,
    ) -> Result<BackupReport, RestoreError> {
        let mut reader = open(&mut from, part)?;
        while let Some(plan) = reader.next()? {
            let is_foreign = |table: &TablePlan| {
                table.rows.iter().any(|row| part.table(&table.name, &row.key).is_none())
            };
            if !plan.places.is_empty() || plan.tables.iter().any(is_foreign) {
                return Err(reader.damaged("a row that is not of this part"));
            }
        }
        let mut begun = Changes::new();
        begun.put(&part.name, &UnfinishedPart);
        self.commit(begun).await?;
        self.clear(part).await?;
        let mut reader = open(&mut from, part)?;
        let (mut rows, mut last) = (Changes::new(), Changes::new());
        last.delete::<UnfinishedPart>(&part.name);
        while let Some(plan) = reader.next()? {
            for table in plan.tables {
                for step in table.rows {
                    let Some((name, row)) = part.table(&table.name, &step.key).zip(step.row) else {
                        continue;
                    };
                    let changes = if part.last.contains(&name) { &mut last } else { &mut rows };
                    changes.put_framed(name, step.key, row.to_vec());
                }
            }
            if rows.bytes() >= COMMIT_BYTES || rows.len() >= COMMIT_ROWS {
                self.commit(std::mem::take(&mut rows)).await?;
            }
        }
        self.commit(rows).await?;
        self.commit(last).await?;
        Ok(reader.into_report())
    }

    /// Deletes what there is of a part, that by which it is found first.
    async fn clear(&self, part: &Part) -> Result<(), RestoreError> {
        for table in part.last.iter().chain(part.tables).copied() {
            loop {
                let mut gone = Changes::new();
                let snapshot =
                    self.read().map_err(|error| RestoreError::Write(error.to_string()))?;
                for row in snapshot.view().rows(table, &part.prefix, None)?.take(COMMIT_ROWS) {
                    gone.push(Change::Delete { table, key: row?.0 });
                }
                drop(snapshot);
                let is_all = gone.len() < COMMIT_ROWS;
                self.commit(gone).await?;
                if is_all {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The file from its beginning, if it is one of this part.
fn open<'a, R: Read + Seek>(
    from: &'a mut R,
    part: &Part,
) -> Result<BackupReader<&'a mut R>, RestoreError> {
    from.seek(SeekFrom::Start(0))?;
    let reader = BackupReader::open(from)?;
    match &reader.header().part {
        Some(name) if *name == part.name => Ok(reader),
        found => Err(RestoreError::Other {
            found: found.clone().unwrap_or_else(|| "a whole node".to_owned()),
            wanted: part.name.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
