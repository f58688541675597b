//! A storage for tests: memory that can refuse writes after any number of them, refuse reads, hold
//! a synchronisation back, pretend to be full, and show what a power cut would leave of it.

use super::Store;
use crate::error::OpenError;
use crate::medium::{Medium, MemorySegment, MemorySegments, SegmentFile, Storage};
use crate::writer::Mode;
use parking_lot::Mutex;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};

/// What is wrong with the storage right now.
#[derive(Debug)]
pub(super) struct Faults {
    /// Writes and synchronisations that still succeed; negative: all do.
    pub(super) good_writes: AtomicI64,
    pub(super) is_unreadable: AtomicBool,
    /// Held by a test to keep synchronisations from returning.
    pub(super) gate: Mutex<()>,
    /// What a power cut leaves: everything as of its last synchronisation.
    synced: Mutex<Synced>,
    kind: io::ErrorKind,
    pub(super) free_bytes: AtomicU64,
    pub(super) stored_bytes: AtomicU64,
}

/// What was synchronised, of the rows and of each segment.
#[derive(Debug, Clone, Default)]
struct Synced {
    rows: Vec<u8>,
    segments: BTreeMap<u64, Vec<u8>>,
}

/// The bytes of a storage; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    rows: Arc<InMemoryBackend>,
    segments: Arc<MemorySegments>,
}

/// A disk and its faults.
#[derive(Debug)]
pub(super) struct FaultyMedium {
    pub(super) disk: Disk,
    pub(super) faults: Arc<Faults>,
}

#[derive(Debug)]
struct FaultyBackend {
    memory: Arc<InMemoryBackend>,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct FaultySegment {
    id: u64,
    memory: Arc<MemorySegment>,
    faults: Arc<Faults>,
}

/// A store on a new disk.
pub(super) fn faulty(kind: io::ErrorKind) -> (Store, Arc<Faults>) {
    let faults = Arc::new(Faults::new(kind));
    (open(&faults, &Disk::default()), faults)
}

/// A store on a disk.
pub(super) fn open(faults: &Arc<Faults>, disk: &Disk) -> Store {
    let medium = FaultyMedium { disk: disk.clone(), faults: Arc::clone(faults) };
    Store::threaded(Arc::new(medium), Mode::default()).unwrap()
}

impl Faults {
    pub(super) fn new(kind: io::ErrorKind) -> Self {
        Self {
            good_writes: AtomicI64::new(-1),
            is_unreadable: AtomicBool::new(false),
            gate: Mutex::default(),
            synced: Mutex::default(),
            kind,
            free_bytes: AtomicU64::new(u64::MAX),
            stored_bytes: AtomicU64::new(0),
        }
    }

    fn write(&self) -> io::Result<()> {
        let good = self.good_writes.fetch_update(SeqCst, SeqCst, |left| match left {
            0 => None,
            left => Some((left - 1).max(-1)),
        });
        good.map(|_| ()).map_err(|_| self.kind.into())
    }

    fn read(&self) -> io::Result<()> {
        match self.is_unreadable.load(SeqCst) {
            true => Err(self.kind.into()),
            false => Ok(()),
        }
    }

    pub(super) fn heal(&self) {
        self.good_writes.store(-1, SeqCst);
        self.is_unreadable.store(false, SeqCst);
    }

    /// What a power cut right now would leave.
    pub(super) fn on_disk(&self) -> Disk {
        let Synced { rows, segments } = self.synced.lock().clone();
        let disk = Disk::default();
        disk.rows.set_len(rows.len() as u64).unwrap();
        disk.rows.write(0, &rows).unwrap();
        for (id, bytes) in segments {
            disk.segments.insert(id, MemorySegment::of(bytes));
        }
        disk
    }
}

impl Disk {
    /// What a killed process leaves: everything that was handed over.
    pub(super) fn copy(&self) -> Disk {
        let disk = Disk::default();
        let mut rows = vec![0; self.rows.len().unwrap() as usize];
        self.rows.read(0, &mut rows).unwrap();
        disk.rows.set_len(rows.len() as u64).unwrap();
        disk.rows.write(0, &rows).unwrap();
        for id in self.segments.list().unwrap() {
            let bytes = self.segments.open(id).unwrap().bytes();
            disk.segments.insert(id, MemorySegment::of(bytes));
        }
        disk
    }

    pub(super) fn segments(&self) -> &MemorySegments {
        &self.segments
    }
}

impl FaultyMedium {
    fn segment(&self, id: u64, memory: Arc<MemorySegment>) -> Arc<dyn SegmentFile> {
        Arc::new(FaultySegment { id, memory, faults: Arc::clone(&self.faults) })
    }
}

impl Medium for FaultyMedium {
    fn open(&self) -> Result<Storage, OpenError> {
        let (memory, faults) = (Arc::clone(&self.disk.rows), Arc::clone(&self.faults));
        Ok(Storage(Arc::new(FaultyBackend { memory, faults })))
    }

    fn path(&self) -> &Path {
        Path::new("faulty memory")
    }

    fn free_bytes(&self) -> Option<u64> {
        Some(self.faults.free_bytes.load(SeqCst))
    }

    fn stored_bytes(&self) -> u64 {
        self.faults.stored_bytes.load(SeqCst)
    }

    fn segments(&self) -> io::Result<Vec<u64>> {
        self.disk.segments.list()
    }

    fn create_segment(&self, id: u64) -> io::Result<Arc<dyn SegmentFile>> {
        self.faults.write()?;
        self.faults.synced.lock().segments.insert(id, Vec::new());
        Ok(self.segment(id, self.disk.segments.create(id)?))
    }

    fn open_segment(&self, id: u64) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(self.segment(id, self.disk.segments.open(id)?))
    }

    fn remove_segment(&self, id: u64) -> io::Result<()> {
        self.faults.write()?;
        self.faults.synced.lock().segments.remove(&id);
        self.disk.segments.remove(id)
    }
}

impl StorageBackend for FaultyBackend {
    fn len(&self) -> Result<u64, io::Error> {
        self.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.faults.read()?;
        self.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.faults.write()?;
        self.memory.set_len(len)
    }
    fn sync_data(&self) -> Result<(), io::Error> {
        let _passed = self.faults.gate.lock();
        self.faults.write()?;
        let mut image = vec![0; self.memory.len()? as usize];
        self.memory.read(0, &mut image)?;
        self.faults.synced.lock().rows = image;
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.faults.write()?;
        self.memory.write(offset, data)
    }
}

impl SegmentFile for FaultySegment {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.faults.read()?;
        self.memory.read_at(offset, out)
    }

    /// A write that fails has written half of what it should.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.faults.write() {
            Ok(()) => self.memory.write_at(offset, data),
            Err(error) => {
                self.memory.write_at(offset, &data[..data.len() / 2])?;
                Err(error)
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.write()?;
        self.memory.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        let _passed = self.faults.gate.lock();
        self.faults.write()?;
        self.faults.synced.lock().segments.insert(self.id, self.memory.bytes());
        Ok(())
    }
}
