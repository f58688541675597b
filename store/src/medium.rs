//! Where the bytes of a store lie: a file, or memory for tests and simulation.
//!
//! A medium can be opened again after a failure, which redb asks for once any operation on it has
//! failed.

use crate::error::OpenError;
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{BackendError, StorageBackend};
use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the bytes of a store lie.
pub(crate) trait Medium: Debug + Send + Sync + 'static {
    /// The storage, opened anew; the one opened before is closed.
    fn open(&self) -> Result<Storage, OpenError>;

    /// What to call it in messages.
    fn path(&self) -> &Path;

    /// Bytes that can still be written to it; `None` when that cannot be known.
    fn free_bytes(&self) -> Option<u64>;

    /// Bytes of the disk that it really takes, so that writing there again takes no more.
    fn stored_bytes(&self) -> u64;

    /// Bytes that have to be looked through after a crash; 0 when there is nothing after a crash.
    fn used_bytes(&self) -> u64;
}

/// An open storage, whatever it is.
#[derive(Debug)]
pub(crate) struct Storage(pub(crate) Arc<dyn StorageBackend>);

/// A file of the operating system.
#[derive(Debug)]
pub(crate) struct FileMedium(pub(crate) PathBuf);

impl FileMedium {
    fn open_file(&self) -> io::Result<File> {
        let parent = self.0.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            fs::create_dir_all(parent)?;
        }
        let is_new = !self.0.exists();
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(&self.0)?;
        if is_new && cfg!(unix) {
            // The name of a new file is durable only once its directory is.
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(file)
    }
}

impl Medium for FileMedium {
    fn open(&self) -> Result<Storage, OpenError> {
        let io = |source| OpenError::Io { path: self.0.clone(), source };
        let file = self.open_file().map_err(io)?;
        let backend = FileBackend::new(file).map_err(|error| io(io::Error::other(error)))?;
        Ok(Storage(Arc::new(backend)))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    #[cfg(unix)]
    fn stored_bytes(&self) -> u64 {
        // A file is sparse where redb has not written yet; blocks have 512 bytes by definition.
        use std::os::unix::fs::MetadataExt;
        self.0.metadata().map_or(0, |file| file.blocks().saturating_mul(512))
    }

    #[cfg(not(unix))]
    fn stored_bytes(&self) -> u64 {
        0
    }

    fn used_bytes(&self) -> u64 {
        self.0.metadata().map_or(0, |file| file.len())
    }

    #[cfg(unix)]
    fn free_bytes(&self) -> Option<u64> {
        let status = rustix::fs::statvfs(&self.0).ok()?;
        Some(status.f_bavail.saturating_mul(status.f_frsize))
    }

    #[cfg(not(unix))]
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// Memory, kept as long as this value.
#[derive(Debug, Default)]
pub(crate) struct MemoryMedium(Arc<InMemoryBackend>);

impl Medium for MemoryMedium {
    fn open(&self) -> Result<Storage, OpenError> {
        Ok(Storage(Arc::clone(&self.0) as Arc<dyn StorageBackend>))
    }

    fn path(&self) -> &Path {
        Path::new("memory")
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn stored_bytes(&self) -> u64 {
        0
    }

    fn used_bytes(&self) -> u64 {
        0
    }
}

impl StorageBackend for Storage {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }
    fn close(&self) -> Result<(), io::Error> {
        self.0.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
