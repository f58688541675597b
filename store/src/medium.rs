//! Where the bytes of a store lie: files, or memory for tests and simulation.
//!
//! A medium holds two things: the storage of the rows, which can be opened again after a failure
//! (redb asks for that once any operation on it has failed), and the segments of the log, by
//! number.

mod segments;

use crate::error::OpenError;
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{BackendError, Database, DatabaseError, StorageBackend, StorageError};
use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(test)]
pub(crate) use segments::MemorySegment;
pub(crate) use segments::MemorySegments;

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

    /// The numbers of the segments that are there, rising.
    fn segments(&self) -> io::Result<Vec<u64>>;

    /// Makes an empty segment, over whatever has this number; its name is durable on return.
    fn create_segment(&self, id: u64) -> io::Result<Arc<dyn SegmentFile>>;

    /// Opens a segment that is there.
    fn open_segment(&self, id: u64) -> io::Result<Arc<dyn SegmentFile>>;

    /// Removes a segment; whoever has it open may go on reading it.
    fn remove_segment(&self, id: u64) -> io::Result<()>;
}

/// The bytes of one segment of the log.
pub(crate) trait SegmentFile: Debug + Send + Sync + 'static {
    /// How many bytes it has.
    fn len(&self) -> io::Result<u64>;

    /// Fills `out` from `offset` on, or fails.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`, or fails with any part of it written.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts it to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Brings what was written to the disk.
    fn sync(&self) -> io::Result<()>;
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
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        if self.0.exists() {
            // One that a process was killed beside after the file had its name.
            let _ = fs::remove_file(self.unfinished());
        } else {
            self.make()?;
            if cfg!(unix) {
                // The name of a new file is durable only once its directory is.
                File::open(parent)?.sync_all()?;
            }
        }
        File::options().read(true).write(true).open(&self.0)
    }

    fn unfinished(&self) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(".new");
        name.into()
    }

    /// Makes an empty database under another name, and gives it its own when it is whole: redb does not open a file
    /// again whose first page it was killed in.
    fn make(&self) -> io::Result<()> {
        let unfinished = self.unfinished();
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let made = Database::create(&unfinished).map_err(|error| match error {
            DatabaseError::Storage(StorageError::Io(source)) => source,
            other => io::Error::other(other),
        })?;
        drop(made);
        File::open(&unfinished)?.sync_all()?;
        // Not by renaming, which would replace what another process may have made meanwhile.
        match fs::hard_link(&unfinished, &self.0) {
            Ok(()) => fs::remove_file(&unfinished),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&unfinished)
            }
            // A file system without hard links.
            Err(_) => fs::rename(&unfinished, &self.0),
        }
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

    fn segments(&self) -> io::Result<Vec<u64>> {
        segments::list(&self.0)
    }

    fn create_segment(&self, id: u64) -> io::Result<Arc<dyn SegmentFile>> {
        segments::create(&self.0, id)
    }

    fn open_segment(&self, id: u64) -> io::Result<Arc<dyn SegmentFile>> {
        segments::open(&self.0, id)
    }

    fn remove_segment(&self, id: u64) -> io::Result<()> {
        segments::remove(&self.0, id)
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
pub(crate) struct MemoryMedium {
    rows: Arc<InMemoryBackend>,
    segments: MemorySegments,
}

impl Medium for MemoryMedium {
    fn open(&self) -> Result<Storage, OpenError> {
        Ok(Storage(Arc::clone(&self.rows) as Arc<dyn StorageBackend>))
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

    fn segments(&self) -> io::Result<Vec<u64>> {
        self.segments.list()
    }

    fn create_segment(&self, id: u64) -> io::Result<Arc<dyn SegmentFile>> {
        self.segments.create(id).map(|segment| segment as Arc<dyn SegmentFile>)
    }

    fn open_segment(&self, id: u64) -> io::Result<Arc<dyn SegmentFile>> {
        self.segments.open(id).map(|segment| segment as Arc<dyn SegmentFile>)
    }

    fn remove_segment(&self, id: u64) -> io::Result<()> {
        self.segments.remove(id)
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
