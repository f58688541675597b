//! The layers of the store over each other: what is recent, what a checkpoint is writing, redb.
//!
//! Of several entries at one key the upper layer's counts. A view of a snapshot stays at its
//! version; the writer's own sees what is newest.

use crate::base::{OWN_TABLES, definition};
use crate::figures::Counters;
use crate::key::prefix_end;
use crate::log::{Segment, Segments};
use crate::queue::{Place, PlaceKey, QUEUE, QUEUE_NAME, SessionKey};
use crate::recent::Recent;
use crate::row::RowError;
use crate::shared::{Layers, Shared};
use bytes::Bytes;
use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableError, TableHandle as _,
};
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

type RowTable = ReadOnlyTable<&'static [u8], &'static [u8]>;
type PlaceTable = ReadOnlyTable<&'static [u8; 16], &'static [u8]>;
type Layer<'a, K, V> = Box<dyn Iterator<Item = Result<(K, Option<V>), redb::Error>> + 'a>;

/// The store at one version.
pub(crate) struct View {
    txn: ReadTransaction,
    layers: Layers,
    version: u64,
    shared: Arc<Shared>,
    is_entered: bool,
}

impl Drop for View {
    fn drop(&mut self) {
        if self.is_entered {
            self.layers.active.leave(self.version);
        }
    }
}

impl View {
    /// The view of a snapshot, which nothing changes any more.
    pub(crate) fn of_now(shared: &Arc<Shared>, database: &Database) -> Result<Self, redb::Error> {
        Self::open(shared, database, true)
    }

    /// The view of the writer, which sees what it writes.
    pub(crate) fn of_writer(
        shared: &Arc<Shared>,
        database: &Database,
    ) -> Result<Self, redb::Error> {
        Self::open(shared, database, false)
    }

    fn open(shared: &Arc<Shared>, database: &Database, enter: bool) -> Result<Self, redb::Error> {
        // Under one lock, so that what a checkpoint has just written is in the one or the other.
        let layers = shared.layers.read();
        let txn = database.begin_read()?;
        let version = if enter { layers.active.enter() } else { u64::MAX };
        let (layers, shared) = (layers.clone(), Arc::clone(shared));
        Ok(Self { txn, layers, version, shared, is_entered: enter })
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn segment(&self, id: u64) -> Option<&Arc<Segment>> {
        self.layers.segments.get(&id)
    }

    /// The segments of the log, rising.
    pub(crate) fn segments(&self) -> &Segments {
        &self.layers.segments
    }

    /// The names of the tables of rows, sorted.
    pub(crate) fn tables(&self) -> Result<BTreeSet<String>, redb::Error> {
        let mut names = BTreeSet::new();
        for table in self.txn.list_tables()? {
            names.insert(table.name().to_owned());
        }
        names.retain(|name| !OWN_TABLES.contains(&name.as_str()) && name != QUEUE_NAME);
        for (layer, _) in self.recent() {
            layer.read(|changed| names.extend(changed.tables.keys().map(|name| name.to_string())));
        }
        Ok(names)
    }

    /// The framed row at `key`.
    pub(crate) fn row(&self, table: &str, key: &[u8]) -> Result<Option<Bytes>, redb::Error> {
        if let Some(found) = self.layers.active.row(table, key, self.version) {
            return Ok(found);
        }
        if let Some(found) = self.layers.frozen().and_then(|it| it.row(table, key, u64::MAX)) {
            return Ok(found);
        }
        let Some(table) = self.row_table(table)? else { return Ok(None) };
        Ok(table.get(key)?.map(|row| Bytes::copy_from_slice(row.value())))
    }

    /// The rows whose keys start with `prefix`, after the key `after`.
    pub(crate) fn rows<'a>(
        &'a self,
        table: &'a str,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<(Vec<u8>, Bytes), redb::Error>> + 'a, redb::Error> {
        let after = after.filter(|after| *after >= prefix);
        let end = prefix_end(prefix);
        let is_past = after.is_some_and(|after| end.as_deref().is_some_and(|end| after >= end));
        let mut layers = Vec::new();
        if !is_past {
            let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
            let to = end.map_or(Bound::Unbounded, Bound::Excluded);
            let owned = from.map(<[u8]>::to_vec);
            for (layer, version) in self.recent() {
                let rows = layer.rows(table, owned.clone(), to.clone(), version);
                layers.push((Box::new(rows.map(Ok)) as Layer<'a, _, _>).peekable());
            }
            if let Some(table) = self.row_table(table)? {
                let to = to.as_ref().map(Vec::as_slice);
                let rows = table.range::<&[u8]>((from, to))?.map(|row| {
                    let (key, row) = row?;
                    Ok((key.value().to_vec(), Some(Bytes::copy_from_slice(row.value()))))
                });
                layers.push((Box::new(rows) as Layer<'a, _, _>).peekable());
            }
        }
        Ok(merge(layers))
    }

    /// The places of a queue from one sequence number to another; one that cannot be read comes
    /// with the reason.
    pub(crate) fn places(
        &self,
        session: SessionKey,
        from: u64,
        to: u64,
    ) -> Result<impl Iterator<Item = FoundPlace> + '_, redb::Error> {
        self.places_between(PlaceKey(session, from), PlaceKey(session, to))
    }

    /// The places of all queues from one to another.
    pub(crate) fn places_between(
        &self,
        from: PlaceKey,
        to: PlaceKey,
    ) -> Result<impl Iterator<Item = FoundPlace> + '_, redb::Error> {
        let mut layers = Vec::new();
        // A walk from past the end, such as after the last sequence number, finds nothing.
        if from <= to {
            for (layer, version) in self.recent() {
                let places = layer.places(from, to, version);
                let places = places.map(|(at, place)| Ok((at, place.map(Ok))));
                layers.push((Box::new(places) as Layer<'_, _, _>).peekable());
            }
            if let Some(table) = self.place_table()? {
                let (first, last) = (from.encode(), to.encode());
                let rows = table.range::<&[u8; 16]>(&first..=&last)?.map(|row| {
                    let (key, row) = row?;
                    let place = Place::decode_row(key.value(), row.value());
                    Ok((PlaceKey::decode(key.value()), Some(place)))
                });
                layers.push((Box::new(rows) as Layer<'_, _, _>).peekable());
            }
        }
        Ok(merge(layers))
    }

    /// One place of a queue.
    pub(crate) fn place(
        &self,
        at: PlaceKey,
    ) -> Result<Option<Result<Place, RowError>>, redb::Error> {
        for (layer, version) in self.recent() {
            if let Some(found) = layer.place(at, version) {
                return Ok(found.map(Ok));
            }
        }
        let Some(table) = self.place_table()? else { return Ok(None) };
        let key = at.encode();
        Ok(table.get(&key)?.map(|row| Place::decode_row(&key, row.value())))
    }

    /// Whether a layer below the uppermost holds this place.
    pub(crate) fn is_place_below(&self, at: PlaceKey) -> Result<bool, redb::Error> {
        if self.layers.frozen().is_some_and(|it| it.place(at, u64::MAX).is_some()) {
            return Ok(true);
        }
        let Some(table) = self.place_table()? else { return Ok(false) };
        Ok(table.get(&at.encode())?.is_some())
    }

    /// Whether there is a row at `key` of the table that `below` is about.
    pub(crate) fn has_row(&self, below: &Below<'_>, key: &[u8]) -> Result<bool, redb::Error> {
        let mut recent = self.recent();
        match recent.find_map(|(layer, version)| layer.row(below.name, key, version)) {
            Some(found) => Ok(found.is_some()),
            None => below.contains(key),
        }
    }

    /// What the layers below the uppermost hold of one table.
    pub(crate) fn rows_below<'a>(&'a self, table: &'a str) -> Result<Below<'a>, redb::Error> {
        Ok(Below { view: self, name: table, table: self.row_table(table)? })
    }

    fn recent(&self) -> impl Iterator<Item = (&Recent, u64)> {
        let frozen = self.layers.frozen().map(|frozen| (frozen, u64::MAX));
        std::iter::once((&*self.layers.active, self.version)).chain(frozen)
    }

    fn row_table(&self, name: &str) -> Result<Option<RowTable>, redb::Error> {
        found(self.txn.open_table(definition(name)))
    }

    fn place_table(&self) -> Result<Option<PlaceTable>, redb::Error> {
        found(self.txn.open_table(QUEUE))
    }
}

/// One place as it was found.
pub(crate) type FoundPlace = Result<(PlaceKey, Result<Place, RowError>), redb::Error>;

/// What the layers below the uppermost hold of one table.
pub(crate) struct Below<'a> {
    view: &'a View,
    name: &'a str,
    table: Option<RowTable>,
}

impl Below<'_> {
    /// Whether there is anything at `key`, be it a deletion that is not in redb yet.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, redb::Error> {
        let frozen = self.view.layers.frozen();
        if frozen.is_some_and(|it| it.row(self.name, key, u64::MAX).is_some()) {
            return Ok(true);
        }
        Ok(match &self.table {
            Some(table) => table.get(key)?.is_some(),
            None => false,
        })
    }
}

fn found<T>(opened: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Walks sorted layers over each other, the uppermost first; deletions are left out.
fn merge<'a, K: Ord + Clone + 'a, V: 'a>(
    mut layers: Vec<Peekable<Layer<'a, K, V>>>,
) -> impl Iterator<Item = Result<(K, V), redb::Error>> + 'a {
    std::iter::from_fn(move || {
        loop {
            let mut least: Option<(K, usize)> = None;
            for (index, layer) in layers.iter_mut().enumerate() {
                match layer.peek() {
                    None => {}
                    Some(Err(_)) => return layer.next()?.err().map(Err),
                    Some(Ok((key, _))) if least.as_ref().is_none_or(|(least, _)| key < least) => {
                        least = Some((key.clone(), index));
                    }
                    Some(Ok(_)) => {}
                }
            }
            let (key, upper) = least?;
            let value = layers[upper].next()?.ok()?.1;
            for layer in layers.iter_mut().skip(upper + 1) {
                layer.next_if(|below| below.as_ref().is_ok_and(|(at, _)| *at == key));
            }
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    })
}
