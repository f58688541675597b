//! Brings what a session is owed back from the store into its queue.

use super::body;
use super::place::Place;
use crate::figures::Counters;
use crate::session::Session;
use crate::session::queue::{Delivery, Progress};
use crate::space::Shared;
use proto::TopicName;
use std::num::NonZeroU32;
use std::sync::Arc;
use store::{Changes, Queued};

/// Rows read from the store at once.
const ROWS_PER_READ: usize = 256;

/// Reads the next rows of a spilled queue. The read is short and bounded; the pages are in memory nearly always.
/// `ids` says with which subscription identifiers a message goes out that matched a subscription with one. What was
/// queued when the client still might have it is dropped, its rows with it.
pub(crate) fn read_rows(
    shared: &Shared,
    session: &Session,
    changes: &mut Changes,
    ids: impl Fn(&TopicName) -> Option<Arc<[NonZeroU32]>>,
) {
    let (after, end) = session.queue().readable();
    let bytes_max = shared.limits.queue_bytes_max / 4;
    let rows =
        shared.store.read().and_then(|it| it.queue(session.key(), after, ROWS_PER_READ, bytes_max));
    let client = &session.sender().client_id;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            tracing::error!(%client, %error, "cannot read a queue");
            return;
        }
    };
    // Rows that are missing have been acknowledged, or their commit has failed.
    let mut read_to = if rows.is_empty() { end - 1 } else { after };
    let mut found = Vec::with_capacity(rows.len());
    for row in rows.into_iter().take_while(|row| row.seq < end) {
        read_to = row.seq;
        match delivery(row, &ids) {
            Ok(delivery) => found.push(delivery),
            Err(error) => tracing::error!(%client, %error, "a queued message is left out"),
        }
    }
    let permissions = session.permissions();
    let mut forbidden = 0;
    let mut queue = session.queue();
    for (seq, is_released, delivery) in found {
        if !delivery.is_permitted(&permissions) {
            forbidden += 1;
            if queue.acked(seq, delivery.message.weight()) {
                changes.dequeue(session.key(), seq);
            }
            continue;
        }
        let progress = queue.progress(seq, is_released);
        queue.refill(Delivery { progress, ..delivery });
    }
    queue.taken(read_to);
    queue.drops.forbidden += forbidden;
    drop(queue);
    Counters::add(&shared.counters.forbidden, forbidden);
}

/// The delivery of a row, with its place and whether PUBREC has come for it.
fn delivery(
    row: Queued,
    ids: impl Fn(&TopicName) -> Option<Arc<[NonZeroU32]>>,
) -> Result<(u64, bool, Delivery), body::Damaged> {
    let place = Place::read(row.flags);
    let message = body::decode(row.body, None)?;
    let subscription_ids = if place.has_subscription_ids { ids(&message.topic) } else { None };
    let delivery = Delivery {
        qos: place.qos,
        retain: place.retain,
        subscription_ids,
        seq: Some(row.seq),
        progress: Progress::New,
        gate: None,
        hold: None,
        message: Arc::new(message),
    };
    Ok((row.seq, place.is_released, delivery))
}
