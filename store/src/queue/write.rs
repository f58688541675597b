//! Writes the queue changes of a batch into its transaction.
//!
//! Each table is opened once and written in key order. A body goes when its last reference went;
//! of all the references one batch releases, the count is written once. When a count or a row is
//! damaged, a body may stay for ever, but none goes that somebody still refers to.

use super::SessionKey;
use super::pending::{Op, PendingBody, QueueChanges};
use super::row::{BODIES, BODY_REFS, QUEUE, QueueRow, RowBody, encode_body, queue_key};
use crate::figures::{Counters, add};
use redb::{ReadableDatabase, ReadableTable, Table, TableError, WriteTransaction};
use std::collections::BTreeMap;
use tracing::error;

/// What applying changes did to the tables.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Touched {
    /// Rows written or removed; with none the transaction need not be committed.
    pub(crate) rows: u64,
    /// Bytes of the keys and rows written.
    pub(crate) bytes: u64,
}

/// The part of the writer that knows queues.
#[derive(Debug)]
pub(crate) struct QueueWriter {
    next_body_id: u64,
}

type QueueTable<'txn> = Table<'txn, &'static [u8; 16], &'static [u8]>;

/// Body ids whose references went, and how many.
type Released = BTreeMap<u64, u32>;

impl QueueWriter {
    /// Finds where the ids of shared bodies go on. The last id may be given again after a restart
    /// when its body was gone: nothing refers to it any more.
    pub(crate) fn open(database: &redb::Database) -> Result<Self, redb::Error> {
        let bodies = match database.begin_read()?.open_table(BODIES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Self { next_body_id: 1 }),
            other => other?,
        };
        let last = bodies.last()?.map_or(0, |(id, _)| id.value());
        Ok(Self { next_body_id: last + 1 })
    }

    pub(crate) fn apply(
        &mut self,
        changes: &QueueChanges,
        txn: &WriteTransaction,
        counters: &Counters,
    ) -> Result<Touched, redb::Error> {
        let mut touched = Touched::default();
        if changes.is_empty() {
            return Ok(touched);
        }
        let ids = self.write_bodies(changes, txn, &mut touched)?;
        let mut released = Released::new();
        let mut queue = txn.open_table(QUEUE)?;
        for session in &changes.cleared {
            clear(&mut queue, *session, &mut released, &mut touched, counters)?;
        }
        let mut row = Vec::with_capacity(1024);
        for ((session, seq), op) in &changes.rows {
            let key = queue_key(*session, *seq);
            let replaced = match op {
                Op::Put { flags, expires_at_ms, body } => {
                    let body = row_body(body, changes, &ids);
                    QueueRow { flags: *flags, expires_at_ms: *expires_at_ms, body }
                        .encode(&key, &mut row);
                    touched.rows += 1;
                    touched.bytes += (key.len() + row.len()) as u64;
                    queue.insert(&key, row.as_slice())?
                }
                Op::SetFlags(flags) => {
                    set_flags(&mut queue, &key, *flags, &mut row, &mut touched, counters)?;
                    None
                }
                Op::Remove => {
                    let removed = queue.remove(&key)?;
                    touched.rows += u64::from(removed.is_some());
                    removed
                }
            };
            if let Some(replaced) = replaced {
                note_released(&key, replaced.value(), &mut released, counters);
            }
        }
        drop(queue);
        release_bodies(&released, txn, &mut touched)?;
        Ok(touched)
    }

    /// Writes the bodies that two or more places still want; answers their ids by index, 0 for the
    /// others.
    fn write_bodies(
        &mut self,
        changes: &QueueChanges,
        txn: &WriteTransaction,
        touched: &mut Touched,
    ) -> Result<Vec<u64>, redb::Error> {
        let mut ids = vec![0; changes.bodies.len()];
        if changes.bodies.iter().all(|body| body.refs < 2) {
            return Ok(ids);
        }
        let mut bodies = txn.open_table(BODIES)?;
        let mut refs = txn.open_table(BODY_REFS)?;
        let mut row = Vec::with_capacity(1024);
        for (index, body) in changes.bodies.iter().enumerate() {
            if body.refs < 2 {
                continue;
            }
            let id = self.next_body_id;
            self.next_body_id += 1;
            encode_body(id, &body.body, &mut row);
            bodies.insert(id, row.as_slice())?;
            refs.insert(id, body.refs)?;
            touched.rows += 2;
            touched.bytes += row.len() as u64 + 20;
            ids[index] = id;
        }
        Ok(ids)
    }
}

fn row_body<'a>(body: &'a PendingBody, changes: &'a QueueChanges, ids: &[u64]) -> RowBody<'a> {
    match body {
        PendingBody::Own(body) => RowBody::Inline(body),
        PendingBody::Shared(index) => {
            let shared = &changes.bodies[*index];
            match ids[*index] {
                0 => RowBody::Inline(&shared.body),
                id => RowBody::Shared { id, bytes: shared.body.len() as u32 },
            }
        }
    }
}

fn clear(
    queue: &mut QueueTable<'_>,
    session: SessionKey,
    released: &mut Released,
    touched: &mut Touched,
    counters: &Counters,
) -> Result<(), redb::Error> {
    let (first, last) = (queue_key(session, 0), queue_key(session, u64::MAX));
    let gone = queue.extract_from_if::<&[u8; 16], _>(&first..=&last, |_, _| true)?;
    for row in gone {
        let (key, value) = row?;
        note_released(key.value(), value.value(), released, counters);
        touched.rows += 1;
    }
    Ok(())
}

fn set_flags(
    queue: &mut QueueTable<'_>,
    key: &[u8; 16],
    flags: u8,
    row: &mut Vec<u8>,
    touched: &mut Touched,
    counters: &Counters,
) -> Result<(), redb::Error> {
    {
        let Some(found) = queue.get(key)? else { return Ok(()) };
        match QueueRow::decode(key, found.value()) {
            Ok(old) if old.flags == flags => return Ok(()),
            Ok(old) => QueueRow { flags, ..old }.encode(key, row),
            Err(reason) => {
                // The row stays as it is: its reader is told, and a good checksum must not hide
                // what was lost.
                add(&counters.unreadable, 1);
                error!(%reason, key = %key.escape_ascii(), "queue row unreadable, flags not set");
                return Ok(());
            }
        }
    }
    queue.insert(key, row.as_slice())?;
    touched.rows += 1;
    touched.bytes += (key.len() + row.len()) as u64;
    Ok(())
}

fn note_released(key: &[u8; 16], row: &[u8], released: &mut Released, counters: &Counters) {
    match QueueRow::decode(key, row) {
        Ok(QueueRow { body: RowBody::Shared { id, .. }, .. }) => {
            *released.entry(id).or_default() += 1;
        }
        Ok(_) => {}
        Err(reason) => {
            // If it shared a body, that body now stays for ever: space lost, never a message.
            add(&counters.unreadable, 1);
            error!(%reason, key = %key.escape_ascii(), "removed an unreadable queue row");
        }
    }
}

fn release_bodies(
    released: &Released,
    txn: &WriteTransaction,
    touched: &mut Touched,
) -> Result<(), redb::Error> {
    if released.is_empty() {
        return Ok(());
    }
    let mut bodies = txn.open_table(BODIES)?;
    let mut refs = txn.open_table(BODY_REFS)?;
    for (id, gone) in released {
        let count = refs.get(id)?.map(|count| count.value());
        match count {
            None => error!(body_id = id, "a shared body without a count of references"),
            Some(count) if count > *gone => {
                refs.insert(id, count - gone)?;
                touched.rows += 1;
            }
            Some(_) => {
                refs.remove(id)?;
                bodies.remove(id)?;
                touched.rows += 2;
            }
        }
    }
    Ok(())
}
