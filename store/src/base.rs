//! Opens redb on a medium, checks whose file it is, and says how far it has come.
//!
//! redb holds the store as of the last checkpoint. The table `meta` says in plain text which format
//! the file has, which release made it, which log belongs to it and where in that log the
//! checkpoint is. A file of a newer format is refused before anything else in it is looked at, one
//! of an older format is brought up to this one ([`migrate`](crate::migrate)).

use crate::error::OpenError;
use crate::log::Position;
use crate::medium::Medium;
use crate::migrate::migrate;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, RepairSession, StorageError,
    TableDefinition, TableError, WriteTransaction,
};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tracing::info;

/// The form of keys, frames and queues in a file; raised when an older release could not read it.
///
/// 1: everything in redb. 2: redb holds checkpoints, the log what came after and message bodies. 3: bodies that live
/// long may lie in segments of their own.
pub(crate) const FORMAT: u32 = 3;
/// The format that is this one, but for segments that it does not have. The next checkpoint says so.
const FORMAT_WITHOUT_MOVED: u32 = 2;
/// The format that is still brought up to this one.
const FORMAT_WITHOUT_LOG: u32 = 1;

/// Pages redb keeps in memory, at most. The operating system caches the file as well, so that a page which is not here
/// costs some microseconds.
const CACHE_BYTES: usize = 16 << 20;

const META: TableDefinition<'static, &'static str, &'static str> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const CREATED_BY_KEY: &str = "created_by";
const STORE_KEY: &str = "store";
const CHECKPOINT_KEY: &str = "checkpoint";

/// Segment to the places in redb that refer to it, and the bytes that they answer for.
const LIVING: TableDefinition<'static, u64, (u64, u64)> = TableDefinition::new("log_segments");

/// The tables that are not of typed rows, besides that of the places.
pub(crate) const OWN_TABLES: [&str; 2] = ["meta", "log_segments"];

/// How every table of typed rows looks to redb.
pub(crate) fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

/// How much of each segment is referred to by places in redb: places, and bytes of bodies.
pub(crate) type Living = BTreeMap<u64, (u64, u64)>;

/// How far redb has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    /// The number that the store shares with its log.
    pub(crate) store: u64,
    /// Where in the log it stands.
    pub(crate) checkpoint: Position,
    pub(crate) living: Living,
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) base: Base,
    /// Whether all of it had to be looked through after a crash.
    pub(crate) was_walked: bool,
}

/// Opens the database of a medium, making it when there is none.
pub(crate) fn open(medium: &Arc<dyn Medium>) -> Result<Opened, OpenError> {
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
    let base = open_base(&database, medium)?;
    Ok(Opened { database, base, was_walked: walked.load(Relaxed) })
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

fn open_base(database: &Database, medium: &Arc<dyn Medium>) -> Result<Base, OpenError> {
    let path = medium.path();
    let fail = |error| failed(path, error);
    let Some(found) = read_meta(database, FORMAT_KEY).map_err(fail)? else {
        return make_base(database, &**medium);
    };
    match found.parse::<u32>() {
        Ok(FORMAT | FORMAT_WITHOUT_MOVED) => {
            read_base(database).map_err(fail)?.ok_or_else(|| OpenError::Damaged {
                path: path.to_owned(),
                reason: "it does not say where in its log it stands".into(),
            })
        }
        Ok(FORMAT_WITHOUT_LOG) => migrate(database, medium, new_store_number()),
        Ok(found) if found > FORMAT => {
            Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT })
        }
        _ => {
            let reason = format!("unknown format {found:?}");
            Err(OpenError::Damaged { path: path.to_owned(), reason })
        }
    }
}

/// What an error of redb while opening means.
pub(crate) fn failed(path: &Path, error: redb::Error) -> OpenError {
    match error {
        redb::Error::Io(source) => OpenError::Io { path: path.to_owned(), source },
        other => OpenError::Damaged { path: path.to_owned(), reason: other.to_string() },
    }
}

fn read_meta(database: &Database, key: &str) -> Result<Option<String>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(key)?.map(|found| found.value().to_owned())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Marks a new database. A log that is already there belongs to one that is not.
fn make_base(database: &Database, medium: &dyn Medium) -> Result<Base, OpenError> {
    let path = medium.path();
    let segments = medium.segments();
    let segments = segments.map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    if !segments.is_empty() {
        let reason = "there is a log beside it, but it is new itself".into();
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    let store = new_store_number();
    let base = Base { store, checkpoint: Position::START, living: Living::new() };
    let mark = || -> Result<(), redb::Error> {
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        base.write(&txn)?;
        txn.open_table(META)?.insert(CREATED_BY_KEY, crate::RELEASE)?;
        Ok(txn.commit()?)
    };
    mark().map_err(|error| failed(path, error))?;
    Ok(base)
}

/// A number that no other store has. It only has to differ, and to come without being asked for.
fn new_store_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// `None` when the database does not say how far it has come.
fn read_base(database: &Database) -> Result<Option<Base>, redb::Error> {
    let store = read_meta(database, STORE_KEY)?.and_then(|text| text.parse().ok());
    let checkpoint = read_meta(database, CHECKPOINT_KEY)?.and_then(|text| {
        let mut parts = text.split(' ').map(str::parse::<u64>);
        let mut part = || parts.next()?.ok();
        Some(Position { segment: part()?, offset: part()?, record: part()? })
    });
    let (Some(store), Some(checkpoint)) = (store, checkpoint) else { return Ok(None) };
    let mut living = Living::new();
    match database.begin_read()?.open_table(LIVING) {
        Ok(table) => {
            for row in table.iter()? {
                let (segment, count) = row?;
                living.insert(segment.value(), count.value());
            }
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Some(Base { store, checkpoint, living }))
}

impl Base {
    /// Writes how far the database has come with this transaction.
    pub(crate) fn write(&self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        let mut meta = txn.open_table(META)?;
        let Position { segment, offset, record } = self.checkpoint;
        meta.insert(FORMAT_KEY, FORMAT.to_string().as_str())?;
        meta.insert(STORE_KEY, self.store.to_string().as_str())?;
        meta.insert(CHECKPOINT_KEY, format!("{segment} {offset} {record}").as_str())?;
        let mut living = txn.open_table(LIVING)?;
        living.retain(|segment, _| self.living.contains_key(&segment))?;
        for (segment, count) in &self.living {
            if living.get(segment)?.map(|old| old.value()) != Some(*count) {
                living.insert(segment, count)?;
            }
        }
        Ok(())
    }
}
