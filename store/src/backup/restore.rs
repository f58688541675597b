//! A new store made of a backup, beside its place until it is whole: a restore that was interrupted has not happened.

use super::file::{BackupReader, BackupReport};
use crate::base::{self, Base, Living, Opened, definition};
use crate::checkpoint::Count;
use crate::error::{CommitError, OpenError};
use crate::log::{Log, Position, recover};
use crate::medium::{FileMedium, Medium};
use crate::plan::{PlaceChange, Plan};
use crate::queue::{Place, QUEUE};
use crate::writer::Bounds;
use redb::Database;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory, within that of the store, in which it is made.
const UNFINISHED: &str = "restoring";

/// Bytes of rows in one transaction of redb.
const TRANSACTION_BYTES: u64 = 64 << 20;

/// Why a store was not made of a backup.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is something else.
    #[error("it is no backup of Manifold")]
    NoBackup,
    /// A later release made it.
    #[error("it was made by a newer release ({release}) and cannot be read by this one")]
    Newer {
        /// Which.
        release: String,
    },
    /// Its end is missing.
    #[error("it is cut off at byte {at}")]
    CutOff {
        /// Where.
        at: u64,
    },
    /// Something in it is not as it was written.
    #[error("it is damaged at byte {at}: {reason}")]
    Damaged {
        /// Where the bad frame begins.
        at: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// It is of something else.
    #[error("it is a backup of {found}, not of {wanted}")]
    Other {
        /// Of what.
        found: String,
        /// Of what it should be.
        wanted: String,
    },
    /// There is something where the store is to be.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The new store cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new store cannot be written.
    #[error("cannot write the store: {0}")]
    Write(String),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<CommitError> for RestoreError {
    fn from(error: CommitError) -> Self {
        Self::Write(error.to_string())
    }
}

impl From<redb::Error> for RestoreError {
    fn from(error: redb::Error) -> Self {
        Self::Write(error.to_string())
    }
}

pub(super) fn restore(from: impl Read, path: &Path) -> Result<BackupReport, RestoreError> {
    let mut reader = BackupReader::open(from)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    if fs::read_dir(directory)?.next().is_some() {
        return Err(RestoreError::NotEmpty { path: directory.to_owned() });
    }
    let unfinished = directory.join(UNFINISHED);
    let name = path.file_name().ok_or_else(|| io::Error::other("a file name is needed"))?;
    let made = make(&mut reader, &unfinished.join(name));
    let placed = made.and_then(|()| Ok(put_in_place(&unfinished, directory, Path::new(name))?));
    if let Err(error) = placed {
        let _ = fs::remove_dir_all(&unfinished);
        return Err(error);
    }
    Ok(reader.into_report())
}

fn make<R: Read>(reader: &mut BackupReader<R>, path: &Path) -> Result<(), RestoreError> {
    let medium: Arc<dyn Medium> = Arc::new(FileMedium(path.to_owned()));
    let Opened { database, base, .. } = base::open(&medium)?;
    let log = recover(&medium, base.store, Position::START, &[], |_, _| {})?.log;
    let mut maker = Maker { database, log, count: Count::default() };
    let mut plans = Vec::new();
    let mut bytes = 0;
    while let Some(plan) = reader.next()? {
        bytes += plan.bytes();
        plans.push(plan);
        if bytes >= TRANSACTION_BYTES {
            maker.write(std::mem::take(&mut plans))?;
            bytes = 0;
        }
    }
    maker.write(plans)?;
    maker.finish(base.store)
}

/// The new store on its way.
struct Maker {
    database: Database,
    log: Log,
    count: Count,
}

impl Maker {
    fn write(&mut self, plans: Vec<Plan>) -> Result<(), RestoreError> {
        let txn = self.database.begin_write().map_err(redb::Error::from)?;
        for mut plan in plans {
            for table in std::mem::take(&mut plan.tables) {
                let opened = txn.open_table(definition(&table.name));
                let mut rows = opened.map_err(redb::Error::from)?;
                for step in table.rows {
                    if let Some(row) = step.row {
                        let put = rows.insert(step.key.as_slice(), &*row);
                        put.map_err(redb::Error::from)?;
                    }
                }
            }
            if plan.places.is_empty() {
                continue;
            }
            let bodies = self.log.append(&plan, false, Bounds::default().segment_bytes)?;
            let refs = plan.body_refs();
            let mut places = txn.open_table(QUEUE).map_err(redb::Error::from)?;
            let mut row = Vec::new();
            for step in &plan.places {
                let PlaceChange::Put { body, flags, expires_at_ms } = step.what else { continue };
                let share = bodies[body].bytes / refs[body];
                let place = Place { flags, expires_at_ms, body: bodies[body], share };
                let key = step.at.encode();
                place.encode_row(&key, &mut row);
                places.insert(&key, row.as_slice()).map_err(redb::Error::from)?;
                self.count.came(&place);
            }
        }
        txn.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    /// Says how far the database has come, which makes it a store.
    fn finish(mut self, store: u64) -> Result<(), RestoreError> {
        self.log.sync()?;
        let living = self.count.applied_to(&Living::new());
        let base = Base { store, checkpoint: self.log.end(), living };
        let mut txn = self.database.begin_write().map_err(redb::Error::from)?;
        txn.set_quick_repair(true);
        base.write(&txn)?;
        txn.commit().map_err(redb::Error::from)?;
        Ok(())
    }
}

/// The log first: rows without their log would be opened as damaged, a log without rows is refused and says so.
fn put_in_place(unfinished: &Path, directory: &Path, name: &Path) -> io::Result<()> {
    let log = name.with_extension("log");
    fs::rename(unfinished.join(&log), directory.join(&log))?;
    fs::rename(unfinished.join(name), directory.join(name))?;
    fs::remove_dir_all(unfinished)?;
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
