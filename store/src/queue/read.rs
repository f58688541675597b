//! Reads queues from a snapshot.
//!
//! Bodies are copied out, so that a snapshot never lives as long as a message is on its way. A
//! message that cannot be read is reported with its key and never left out silently; whether to
//! skip it is for the owner of the queue to decide.

use super::row::{
    BODIES, BODIES_NAME, QUEUE, QUEUE_NAME, QueueRow, RowBody, decode_body, queue_key, seq_of,
};
use super::{QueueStat, Queued, SessionKey};
use crate::error::ReadError;
use crate::row::RowError;
use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, TableError};

type QueueTable = ReadOnlyTable<&'static [u8; 16], &'static [u8]>;
type BodyTable = ReadOnlyTable<u64, &'static [u8]>;

/// Reads messages after `after_seq` until `limit` or `bytes_max` is reached; at least one, if there
/// is one. An unreadable message ends the list when something came before it, and is the error when
/// it comes first.
pub(crate) fn read_queue(
    txn: &ReadTransaction,
    session: SessionKey,
    after_seq: u64,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<Queued>, ReadError> {
    let mut list = Vec::new();
    let (Some(queue), Some(first_seq)) = (open_queue(txn)?, after_seq.checked_add(1)) else {
        return Ok(list);
    };
    let mut bodies = None;
    let mut bytes = 0;
    let (first, last) = (queue_key(session, first_seq), queue_key(session, u64::MAX));
    for row in queue.range::<&[u8; 16]>(&first..=&last).map_err(io)?.take(limit) {
        let (key, value) = row.map_err(io)?;
        let queued = match read_one(txn, &mut bodies, key.value(), value.value()) {
            Err(ReadError::Unreadable { .. }) if !list.is_empty() => break,
            other => other?,
        };
        bytes += queued.body.len();
        if bytes > bytes_max && !list.is_empty() {
            break;
        }
        list.push(queued);
    }
    Ok(list)
}

/// Counts a queue by walking it.
pub(crate) fn read_stat(
    txn: &ReadTransaction,
    session: SessionKey,
) -> Result<QueueStat, ReadError> {
    let mut stat = QueueStat::default();
    let Some(queue) = open_queue(txn)? else { return Ok(stat) };
    let (first, last) = (queue_key(session, 0), queue_key(session, u64::MAX));
    for row in queue.range::<&[u8; 16]>(&first..=&last).map_err(io)? {
        let (key, value) = row.map_err(io)?;
        let key = key.value();
        if stat.count == 0 {
            stat.first_seq = seq_of(key);
        }
        stat.last_seq = seq_of(key);
        stat.count += 1;
        // An unreadable row still holds its place; its size is unknown and its reader will be told.
        match QueueRow::decode(key, value.value()).map(|row| row.body) {
            Ok(RowBody::Inline(body)) => stat.bytes += body.len() as u64,
            Ok(RowBody::Shared { bytes, .. }) => stat.bytes += u64::from(bytes),
            Err(_) => {}
        }
    }
    Ok(stat)
}

fn read_one(
    txn: &ReadTransaction,
    bodies: &mut Option<BodyTable>,
    key: &[u8; 16],
    value: &[u8],
) -> Result<Queued, ReadError> {
    let unreadable =
        |reason| ReadError::Unreadable { table: QUEUE_NAME, key: key.to_vec(), reason };
    let row = QueueRow::decode(key, value).map_err(unreadable)?;
    let body = match row.body {
        RowBody::Inline(body) => Bytes::copy_from_slice(body),
        RowBody::Shared { id, bytes } => {
            let body = read_body(txn, bodies, id)?;
            if body.as_ref().map(Bytes::len) != Ok(bytes as usize) {
                let reason = body.err().unwrap_or(RowError::malformed("body of another length"));
                return Err(unreadable(reason));
            }
            body.unwrap_or_default()
        }
    };
    Ok(Queued { seq: seq_of(key), flags: row.flags, expires_at_ms: row.expires_at_ms, body })
}

fn read_body(
    txn: &ReadTransaction,
    bodies: &mut Option<BodyTable>,
    id: u64,
) -> Result<Result<Bytes, RowError>, ReadError> {
    let missing = || RowError::malformed(format!("no body {id} in table {BODIES_NAME}"));
    let table = match bodies {
        Some(table) => table,
        None => match txn.open_table(BODIES) {
            Ok(table) => bodies.insert(table),
            Err(TableError::TableDoesNotExist(_)) => return Ok(Err(missing())),
            Err(error) => return Err(ReadError::from_redb(error.into())),
        },
    };
    match table.get(id).map_err(io)? {
        None => Ok(Err(missing())),
        Some(row) => Ok(decode_body(id, row.value()).map(Bytes::copy_from_slice)),
    }
}

fn open_queue(txn: &ReadTransaction) -> Result<Option<QueueTable>, ReadError> {
    match txn.open_table(QUEUE) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(ReadError::from_redb(error.into())),
    }
}

fn io(error: redb::StorageError) -> ReadError {
    ReadError::from_redb(error.into())
}
