//! What changed since the last checkpoint, in memory, over what the tables of redb hold.
//!
//! Each entry knows the version (the number of batches) at which it was made. A snapshot sees the
//! entries of its version and older ones, so an entry that an open snapshot may still want is kept
//! below the newer one. An entry without a value hides what lies below: an older layer or redb.

use crate::plan::{PlaceChange, Plan};
use crate::queue::{Location, Place, PlaceKey};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What an entry costs in memory beyond its key and row, about.
const ENTRY_BYTES: usize = 104;

/// How many entries a walk takes out at a time, so that the writer is never held back for long.
const CHUNK: usize = 64;

/// The rows of one table that changed. Keys are as long as they are: there are as many of them as rows change between
/// two checkpoints.
pub(crate) type Rows = BTreeMap<Box<[u8]>, Entry<Bytes>>;
/// The places of the queues that changed.
pub(crate) type Places = BTreeMap<PlaceKey, Entry<Place>>;

/// What changed since a checkpoint. Written by the writer alone, and by nobody once the next
/// checkpoint has begun.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    changed: RwLock<Changed>,
    /// Versions that open snapshots see, and how many see each.
    open: Mutex<BTreeMap<u64, usize>>,
}

/// The changes themselves.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub(crate) tables: BTreeMap<Box<str>, Rows>,
    pub(crate) places: Places,
    version: u64,
    bytes: usize,
}

/// What happened at one key, newest first.
#[derive(Debug)]
pub(crate) struct Entry<V> {
    version: u64,
    value: Option<V>,
    older: Option<Box<Entry<V>>>,
}

impl<V: Clone> Entry<V> {
    /// What a snapshot of this version finds here: nothing, a deletion, or a value.
    fn at(&self, version: u64) -> Option<&Option<V>> {
        let mut entry = self;
        while entry.version > version {
            entry = entry.older.as_deref()?;
        }
        Some(&entry.value)
    }

    /// The newest value; `None` when it was deleted.
    pub(crate) fn newest(&self) -> Option<&V> {
        self.value.as_ref()
    }
}

impl Recent {
    /// Sees what is there now until [`leave`](Self::leave); answers the version.
    pub(crate) fn enter(&self) -> u64 {
        let changed = self.changed.read();
        *self.open.lock().entry(changed.version).or_default() += 1;
        changed.version
    }

    pub(crate) fn leave(&self, version: u64) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                open.remove(&version);
            }
        }
    }

    /// About how many bytes of memory the changes take.
    pub(crate) fn bytes(&self) -> usize {
        self.changed.read().bytes
    }

    /// Reads everything, newest values only.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Changed) -> T) -> T {
        read(&self.changed.read())
    }

    /// Makes the changes of one record visible, all at once. `bodies` says where each body is.
    pub(crate) fn apply(&self, plan: Plan, bodies: &[Location]) {
        let refs = plan.body_refs();
        let mut guard = self.changed.write();
        let changed = &mut *guard;
        changed.version += 1;
        let version = changed.version;
        // Who entered before sees at most the version before this one.
        let oldest_open = self.open.lock().first_key_value().map(|(version, _)| *version);
        let scope = Scope { version, oldest_open };
        for table in plan.tables {
            let rows = match changed.tables.get_mut(&*table.name) {
                Some(rows) => rows,
                None => changed.tables.entry((*table.name).into()).or_default(),
            };
            for step in table.rows {
                let key_bytes = step.key.len() + ENTRY_BYTES;
                let weigh = |row: Option<&Bytes>| key_bytes + row.map_or(0, Bytes::len);
                let bytes = &mut changed.bytes;
                let key = step.key.into_boxed_slice();
                scope.put(rows, key, step.row, step.covers, (bytes, weigh));
            }
        }
        for step in plan.places {
            let (place, covers) = match step.what {
                PlaceChange::Put { body, flags, expires_at_ms } => {
                    let (body, refs) = (bodies[body], refs[body]);
                    let share = body.bytes / refs;
                    (Some(Place { flags, expires_at_ms, body, share }), true)
                }
                PlaceChange::Set(place) => (Some(place), true),
                PlaceChange::Remove { covers } => (None, covers),
            };
            let weigh = |_: Option<&Place>| ENTRY_BYTES;
            let places = &mut changed.places;
            scope.put(places, step.at, place, covers, (&mut changed.bytes, weigh));
        }
    }

    pub(crate) fn row(&self, table: &str, key: &[u8], version: u64) -> Option<Option<Bytes>> {
        let changed = self.changed.read();
        changed.tables.get(table)?.get(key)?.at(version).cloned()
    }

    pub(crate) fn place(&self, at: PlaceKey, version: u64) -> Option<Option<Place>> {
        self.changed.read().places.get(&at)?.at(version).copied()
    }

    /// The changed rows of a range as `version` sees them, deletions included.
    pub(crate) fn rows<'a>(
        &'a self,
        table: &'a str,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        version: u64,
    ) -> impl Iterator<Item = (Vec<u8>, Option<Bytes>)> + 'a {
        let to = to.map(Vec::into_boxed_slice);
        let found = walk(from.map(Vec::into_boxed_slice), move |from| {
            let changed = self.changed.read();
            let rows = changed.tables.get(table);
            rows.map_or_else(Vec::new, |rows| chunk(rows, from, to.clone(), version))
        });
        found.map(|(key, row)| (key.into_vec(), row))
    }

    /// The changed places of a range as `version` sees them, removals included.
    pub(crate) fn places(
        &self,
        from: PlaceKey,
        to: PlaceKey,
        version: u64,
    ) -> impl Iterator<Item = (PlaceKey, Option<Place>)> + '_ {
        walk(Bound::Included(from), move |from| {
            chunk(&self.changed.read().places, from, Bound::Included(to), version)
        })
    }
}

/// Which version is being made, and the oldest one that a snapshot still sees.
#[derive(Debug, Clone, Copy)]
struct Scope {
    version: u64,
    oldest_open: Option<u64>,
}

impl Scope {
    /// Puts a value, or its absence, at a key and keeps the bytes up to date. An absence that
    /// covers nothing takes the entry away, unless a snapshot may want it.
    fn put<K: Ord, V>(
        self,
        map: &mut BTreeMap<K, Entry<V>>,
        key: K,
        value: Option<V>,
        covers: bool,
        (bytes, weigh): (&mut usize, impl Fn(Option<&V>) -> usize),
    ) {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        let is_kept = value.is_some() || covers || self.oldest_open.is_some();
        let new_bytes = if is_kept { weigh(value.as_ref()) } else { 0 };
        let new = Entry { version: self.version, value, older: None };
        let old = match map.entry(key) {
            Vacant(vacant) => {
                if is_kept {
                    vacant.insert(new);
                }
                None
            }
            Occupied(occupied) if !is_kept => Some(occupied.remove()),
            Occupied(mut occupied) => {
                let old = occupied.insert(new);
                *bytes = bytes.saturating_sub(weigh(old.value.as_ref())) + new_bytes;
                // Older versions are not weighed: they are few, and there for a moment.
                occupied.get_mut().older = match old.version == self.version {
                    true => old.older,
                    false => self.still_wanted(old),
                };
                return;
            }
        };
        let old_bytes = old.map_or(0, |old| weigh(old.value.as_ref()));
        *bytes = bytes.saturating_sub(old_bytes) + new_bytes;
    }

    /// What of an entry open snapshots can see: down to the first one as old as the oldest.
    fn still_wanted<V>(self, mut old: Entry<V>) -> Option<Box<Entry<V>>> {
        let oldest = self.oldest_open?;
        let mut entry = Some(&mut old);
        while let Some(kept) = entry {
            if kept.version <= oldest {
                kept.older = None;
            }
            entry = kept.older.as_deref_mut();
        }
        Some(Box::new(old))
    }
}

fn chunk<K: Ord + Clone, V: Clone>(
    map: &BTreeMap<K, Entry<V>>,
    from: Bound<K>,
    to: Bound<K>,
    version: u64,
) -> Vec<(K, Option<V>)> {
    let seen = |(key, entry): (&K, &Entry<V>)| Some((key.clone(), entry.at(version)?.clone()));
    map.range((from, to)).filter_map(seen).take(CHUNK).collect()
}

/// Walks a range chunk by chunk; `next` gives the chunk that starts at a bound.
fn walk<K: Clone, V>(
    from: Bound<K>,
    mut next: impl FnMut(Bound<K>) -> Vec<(K, V)>,
) -> impl Iterator<Item = (K, V)> {
    let mut from = Some(from);
    let mut chunk = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(found) = chunk.next() {
                return Some(found);
            }
            let found: Vec<(K, V)> = next(from.take()?);
            if found.len() == CHUNK {
                from = found.last().map(|(key, _)| Bound::Excluded(key.clone()));
            }
            chunk = found.into_iter();
        }
    })
}
