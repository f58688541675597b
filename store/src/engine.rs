//! Opens redb on a medium and checks whose file it is.
//!
//! The table `meta` says in plain text which format the file has and which release made it. A file
//! of a newer format is refused before anything else in it is looked at.

use crate::error::OpenError;
use crate::medium::Medium;
use redb::{
    Database, DatabaseError, ReadableDatabase, RepairSession, StorageError, TableDefinition,
    TableError,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tracing::info;

/// The form of keys, frames and queues in a file; raised when an older release could not read it.
pub(crate) const FORMAT: u32 = 1;

/// Pages redb keeps in memory, at most. The operating system caches the file as well.
const CACHE_BYTES: usize = 64 << 20;

const META: TableDefinition<'static, &'static str, &'static str> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const CREATED_BY_KEY: &str = "created_by";

/// An open database.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) database: Database,
    /// Whether all of it had to be looked through after a crash.
    pub(crate) was_walked: bool,
}

/// Opens the database of a medium, making it when there is none.
pub(crate) fn open(medium: &dyn Medium) -> Result<Opened, OpenError> {
    let storage = medium.open()?;
    let walked = Arc::new(AtomicBool::new(false));
    let walks = Arc::clone(&walked);
    let path = medium.path().to_owned();
    let tell = move |_: &mut RepairSession| {
        if !walks.swap(true, Relaxed) {
            info!(path = %path.display(), "store was not closed in order, looking through it");
        }
    };
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_repair_callback(tell)
        .create_with_backend(storage)
        .map_err(|error| open_error(medium.path(), error))?;
    check_format(&database, medium.path())?;
    Ok(Opened { database, was_walked: walked.load(Relaxed) })
}

fn open_error(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::AlreadyOpen { path },
        DatabaseError::Storage(StorageError::Io(source))
            if source.kind() != std::io::ErrorKind::InvalidData =>
        {
            OpenError::Io { path, source }
        }
        other => OpenError::Damaged { path, reason: other.to_string() },
    }
}

fn check_format(database: &Database, path: &Path) -> Result<(), OpenError> {
    let fail = |error: redb::Error| match error {
        redb::Error::Io(source) => OpenError::Io { path: path.to_owned(), source },
        other => OpenError::Damaged { path: path.to_owned(), reason: other.to_string() },
    };
    let Some(found) = read_format(database).map_err(fail)? else {
        return mark_format(database).map_err(fail);
    };
    match found.parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        Ok(found) if found > FORMAT => {
            Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT })
        }
        _ => {
            let reason = format!("unknown format {found:?}");
            Err(OpenError::Damaged { path: path.to_owned(), reason })
        }
    }
}

fn read_format(database: &Database) -> Result<Option<String>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(FORMAT_KEY)?.map(|found| found.value().to_owned())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn mark_format(database: &Database) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    {
        let mut meta = txn.open_table(META)?;
        meta.insert(FORMAT_KEY, FORMAT.to_string().as_str())?;
        meta.insert(CREATED_BY_KEY, concat!("manifold ", env!("CARGO_PKG_VERSION")))?;
    }
    txn.commit()?;
    Ok(())
}
