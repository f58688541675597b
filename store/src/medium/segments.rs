//! The segments of the log on a medium: files in a directory beside the rows, or memory.
//!
//! `manifold.redb` has its segments in `manifold.log/`, named by their numbers in sixteen digits: `.segment` are those
//! of the log, `.moved` those of moved bodies, whose numbers have the highest bit besides.

use super::SegmentFile;
use crate::log::{MOVED, is_moved};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SUFFIX: &str = ".segment";
const MOVED_SUFFIX: &str = ".moved";

/// The directory of the log whose rows are in `rows`.
fn directory(rows: &Path) -> PathBuf {
    rows.with_extension("log")
}

fn path(rows: &Path, id: u64) -> PathBuf {
    let (number, suffix) = match is_moved(id) {
        true => (id - MOVED, MOVED_SUFFIX),
        false => (id, SUFFIX),
    };
    directory(rows).join(format!("{number:016}{suffix}"))
}

/// What lies there under another name is not the log's.
pub(super) fn list(rows: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory(rows)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let number = |suffix| name.strip_suffix(suffix).and_then(|id| id.parse::<u64>().ok());
        let moved = number(MOVED_SUFFIX).filter(|id| !is_moved(*id)).map(|id| id + MOVED);
        ids.extend(number(SUFFIX).filter(|id| !is_moved(*id)).or(moved));
    }
    ids.sort_unstable();
    Ok(ids)
}

pub(super) fn create(rows: &Path, id: u64) -> io::Result<Arc<dyn SegmentFile>> {
    let directory = directory(rows);
    if !directory.is_dir() {
        fs::create_dir_all(&directory)?;
        sync_directory(directory.parent().unwrap_or(Path::new(".")))?;
    }
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(true).open(path(rows, id))?;
    sync_directory(&directory)?;
    Ok(Arc::new(file))
}

pub(super) fn open(rows: &Path, id: u64) -> io::Result<Arc<dyn SegmentFile>> {
    Ok(Arc::new(File::options().read(true).write(true).open(path(rows, id))?))
}

pub(super) fn remove(rows: &Path, id: u64) -> io::Result<()> {
    fs::remove_file(path(rows, id))
}

/// The name of a new file is durable only once its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path {
        _ if !cfg!(unix) => Ok(()),
        path if path.as_os_str().is_empty() => File::open(".")?.sync_all(),
        path => File::open(path)?.sync_all(),
    }
}

impl SegmentFile for File {
    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|file| file.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, out, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, data, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(self, out, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    out = &mut out[read..];
                    offset += read as u64;
                }
            }
        }
        Ok(())
    }

    #[cfg(windows)]
    fn write_at(&self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(self, data, offset)?;
            data = &data[written..];
            offset += written as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Segments in memory, kept as long as this value.
#[derive(Debug, Default)]
pub(crate) struct MemorySegments(Mutex<BTreeMap<u64, Arc<MemorySegment>>>);

/// One segment in memory.
#[derive(Debug, Default)]
pub(crate) struct MemorySegment(RwLock<Vec<u8>>);

impl MemorySegments {
    pub(crate) fn list(&self) -> io::Result<Vec<u64>> {
        Ok(self.0.lock().keys().copied().collect())
    }

    pub(crate) fn create(&self, id: u64) -> io::Result<Arc<MemorySegment>> {
        let segment = Arc::new(MemorySegment::default());
        self.0.lock().insert(id, Arc::clone(&segment));
        Ok(segment)
    }

    pub(crate) fn open(&self, id: u64) -> io::Result<Arc<MemorySegment>> {
        self.0.lock().get(&id).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(crate) fn remove(&self, id: u64) -> io::Result<()> {
        match self.0.lock().remove(&id) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
impl MemorySegment {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self(RwLock::new(bytes))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.read().clone()
    }
}

#[cfg(test)]
impl MemorySegments {
    pub(crate) fn insert(&self, id: u64, segment: MemorySegment) {
        self.0.lock().insert(id, Arc::new(segment));
    }
}

impl SegmentFile for MemorySegment {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.read();
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let found = bytes.get(from..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.write();
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let to = from + data.len();
        if bytes.len() < to {
            bytes.resize(to, 0);
        }
        bytes[from..to].copy_from_slice(data);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.0.write().resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
