//! Reads queues from a view.
//!
//! Bodies are copied out, so that a snapshot never lives as long as a message is on its way. A
//! message that cannot be read is reported with its key and never left out silently; whether to
//! skip it is for the owner of the queue to decide.

use super::{Location, PlaceKey, QUEUE_NAME, QueueStat, Queued, SessionKey};
use crate::error::ReadError;
use crate::log::name;
use crate::row::RowError;
use crate::view::View;
use bytes::Bytes;
use std::io;

/// Reads messages after `after_seq` until `limit` or `bytes_max` is reached; at least one, if there
/// is one. An unreadable message ends the list when something came before it, and is the error when
/// it comes first.
pub(crate) fn read_queue(
    view: &View,
    session: SessionKey,
    after_seq: u64,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<Queued>, ReadError> {
    let mut list = Vec::new();
    let Some(first_seq) = after_seq.checked_add(1) else { return Ok(list) };
    let mut bytes = 0;
    let places = view.places(session, first_seq, u64::MAX).map_err(ReadError::from_redb)?;
    for place in places.take(limit) {
        let (at, place) = place.map_err(ReadError::from_redb)?;
        let read = match place {
            Ok(place) => {
                bytes += place.body.bytes as usize;
                if bytes > bytes_max && !list.is_empty() {
                    break;
                }
                read_body(view, place.body).map_err(ReadError::from_io)?.map(|body| (place, body))
            }
            Err(reason) => Err(reason),
        };
        let (place, body) = match read {
            Ok(read) => read,
            Err(_) if !list.is_empty() => break,
            Err(reason) => {
                let key = at.encode().to_vec();
                return Err(ReadError::Unreadable { table: QUEUE_NAME, key, reason });
            }
        };
        let (flags, expires_at_ms) = (place.flags, place.expires_at_ms);
        list.push(Queued { seq: at.1, flags, expires_at_ms, body });
    }
    Ok(list)
}

/// Walks a queue; an unreadable place still counts, its size is unknown and its reader will be told.
pub(crate) fn read_stat(view: &View, session: SessionKey) -> Result<QueueStat, ReadError> {
    let mut stat = QueueStat::default();
    for place in view.places(session, 0, u64::MAX).map_err(ReadError::from_redb)? {
        let (PlaceKey(_, seq), place) = place.map_err(ReadError::from_redb)?;
        if stat.count == 0 {
            stat.first_seq = seq;
        }
        stat.last_seq = seq;
        stat.count += 1;
        stat.bytes += place.map_or(0, |place| u64::from(place.body.bytes));
    }
    Ok(stat)
}

/// Reads one body and checks it; the outer error is one of the storage, the inner one of the body.
fn read_body(view: &View, at: Location) -> io::Result<Result<Bytes, RowError>> {
    let missing = || RowError::malformed(format!("{} is missing", name(at.segment)));
    let Some(segment) = view.segment(at.segment) else { return Ok(Err(missing())) };
    // The length has passed the checksum of its place.
    let mut body = vec![0; at.bytes as usize];
    match segment.file.read_at(u64::from(at.offset), &mut body) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(Err(RowError::Torn { bytes: at.bytes as usize }))
        }
        Err(error) => Err(error),
        Ok(()) if crc32c::crc32c(&body) != at.checksum => Ok(Err(RowError::Checksum)),
        Ok(()) => Ok(Ok(Bytes::from(body))),
    }
}
