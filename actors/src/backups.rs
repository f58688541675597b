//! Backups that a running node makes of itself, or of one tenant: one at a time, as files of one directory. A file has
//! its name when it is whole and on the disk.

mod part;
pub(crate) mod restore;

pub use part::part_of_tenant;

use crate::context::{Context, Shared};
use parking_lot::Mutex;
use proto::{Refusal, RefusalCode, TenantId, TimestampMs};
use restore::Restore;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// How the file of a backup ends.
const SUFFIX: &str = ".backup";

/// How the file of one that is not whole ends.
const PARTIAL: &str = ".partial";

/// What has become of the last backup that was begun in this run of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Failed(String),
}

/// The backups of a node.
#[derive(Debug, Default)]
pub(crate) struct Backups {
    last: Mutex<Option<(String, State)>>,
    restore: Mutex<Option<Restore>>,
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

impl Backups {
    /// The backup that is being made, or that has failed last.
    pub(crate) fn last(&self) -> Option<(String, State)> {
        self.last.lock().clone()
    }

    /// Makes sure that no other is made meanwhile.
    pub(crate) fn reserve(&self, name: &str) -> Result<(), Refusal> {
        let mut last = self.last.lock();
        if let Some((running, State::Running)) = &*last {
            let message = format!("{running} is being made");
            return Err(Refusal::new(RefusalCode::TooManyRequests, message));
        }
        *last = Some((name.to_owned(), State::Running));
        Ok(())
    }

    /// The tenant that is being put back, or was last in this run of the node.
    pub(crate) fn last_restore(&self) -> Option<Restore> {
        self.restore.lock().clone()
    }

    /// Whether this tenant is being put back.
    pub(crate) fn is_restoring(&self, tenant: &TenantId) -> bool {
        self.last_restore().is_some_and(|it| it.tenant == *tenant && it.is_running())
    }

    /// Makes sure that no other tenant is put back meanwhile.
    pub(crate) fn reserve_restore(&self, restore: &Restore) -> Result<(), Refusal> {
        let mut last = self.restore.lock();
        if let Some(Restore { tenant, .. }) = last.as_ref().filter(|it| it.is_running()) {
            let message = format!("tenant {tenant} is being put back");
            return Err(Refusal::new(RefusalCode::TooManyRequests, message));
        }
        *last = Some(restore.clone());
        Ok(())
    }

    /// The restore has come to its end, or is not begun.
    pub(crate) fn restored(&self, restore: Restore) {
        *self.restore.lock() = Some(restore);
    }

    /// It is not going to be made, or is whole.
    pub(crate) fn release(&self) {
        *self.last.lock() = None;
    }

    fn fail(&self, name: &str, error: &str) {
        *self.last.lock() = Some((name.to_owned(), State::Failed(error.to_owned())));
    }
}

/// The name of a backup that is begun now, of one tenant or of everything.
pub(crate) fn name(tenant: Option<&TenantId>, now: TimestampMs) -> String {
    match tenant {
        None => format!("manifold-{}{SUFFIX}", now.0),
        Some(tenant) => format!("tenant-{tenant}-{}{SUFFIX}", now.0),
    }
}

/// The directory; refused if the node has none.
pub(crate) fn directory(context: &Context) -> Result<&Path, Refusal> {
    context.settings.backup_dir.as_deref().ok_or_else(|| {
        Refusal::new(RefusalCode::Unavailable, "this node has no directory for backups")
    })
}

/// The file of a backup, whether it is there or not; refused if that is no name of one.
pub(crate) fn path(context: &Context, name: &str) -> Result<PathBuf, Refusal> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.ends_with(SUFFIX) || name.starts_with('.') || !name.bytes().all(is_plain) {
        let message = format!("it is not a plain name that ends with {SUFFIX}");
        return Err(Refusal::new(RefusalCode::Invalid, message).at("backup"));
    }
    Ok(directory(context)?.join(name))
}

/// The backups that are there, by name.
pub(crate) fn found(context: &Context) -> Result<Vec<Found>, Refusal> {
    let entries = match fs::read_dir(directory(context)?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| unusable(&error))?,
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let (true, Ok(data)) = (name.ends_with(SUFFIX), entry.metadata()) {
            found.push(Found { name, bytes: data.len() });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The refusal of whoever needs the directory and cannot have it.
pub(crate) fn unusable(error: &io::Error) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, format!("the directory of backups: {error}"))
}

/// Deletes one, durably.
pub(crate) fn delete(context: &Context, name: &str) -> Result<(), Refusal> {
    let path = path(context, name)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Refusal::not_found("backup", name).at("backup"));
        }
        other => other.map_err(|error| unusable(&error))?,
    }
    sync_directory(directory(context)?).map_err(|error| unusable(&error))
}

/// Makes the reserved backup, on a thread of its own.
pub(crate) fn begin(context: &Shared, name: String, tenant: Option<TenantId>) {
    let context = context.clone();
    let now = context.now();
    tokio::task::spawn_blocking(move || match make(&context, (&name, tenant.as_ref()), now) {
        Ok(report) => {
            tracing::info!(name, rows = report.rows, bytes = report.bytes, "backup made");
            if report.unreadable > 0 {
                tracing::error!(name, unreadable = report.unreadable, "not all of it was readable");
            }
            context.backups.release();
        }
        Err(error) => {
            tracing::error!(name, error, "no backup was made");
            context.backups.fail(&name, &error);
        }
    });
}

fn make(
    context: &Context,
    (name, tenant): (&str, Option<&TenantId>),
    now: TimestampMs,
) -> Result<store::BackupReport, String> {
    let told = |error: io::Error| error.to_string();
    let directory = directory(context).map_err(|refusal| refusal.message)?;
    fs::create_dir_all(directory).map_err(told)?;
    let path = directory.join(name);
    let partial = directory.join(format!("{name}{PARTIAL}"));
    let written = || -> Result<store::BackupReport, String> {
        let mut file = BufWriter::new(File::create(&partial).map_err(told)?);
        let store = &context.outside.store;
        let report = match tenant {
            None => store.backup(&mut file, now.0),
            Some(tenant) => store.backup_part(&mut file, now.0, &part_of_tenant(tenant)),
        };
        let report = report.map_err(|error| error.to_string())?;
        file.flush().map_err(told)?;
        file.get_ref().sync_all().map_err(told)?;
        fs::rename(&partial, &path).map_err(told)?;
        sync_directory(directory).map_err(told)?;
        Ok(report)
    };
    written().inspect_err(|_| {
        // What is left of it has no use; the next one of that name would begin anew anyhow.
        let _ = fs::remove_file(&partial);
    })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
