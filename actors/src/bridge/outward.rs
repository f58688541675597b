//! From this namespace to the remote broker: what becomes of a delivery, and of a message that is due.

use super::account::OutAccount;
use super::body;
use super::mapping::{Mapping, NoWay};
use super::queue::Queue;
use super::row::{BridgeRow, CarriedRow};
use broker::Delivery;
use bytes::Bytes;
use drivers::bridge::{RemoteMessage, RemoteProperties};
use proto::platform::crossing;
use proto::{Qos, TimestampMs, hops};
use store::{Changes, QueueRef, ReadError, SessionKey, Store};

/// A message on its way out, with the moment it is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outbound {
    pub(super) message: RemoteMessage,
    pub(super) expires_at: Option<TimestampMs>,
}

/// What has been taken in and waits for one commit.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) changes: Changes,
    /// Their publishers are told when it is committed.
    pub(super) deliveries: Vec<Delivery>,
    pub(super) places: Vec<(u64, Outbound)>,
    /// It is a page of what is retained: how far that is when this is committed.
    pub(super) carried: Option<CarriedRow>,
}

/// The side of a bridge that goes out.
pub(super) struct Outward {
    pub(super) queue: Queue<Outbound>,
    pub(super) account: OutAccount,
    pub(super) key: SessionKey,
    pub(super) origin: String,
    pub(super) hops_max: usize,
    pub(super) is_connected: bool,
    /// The largest packet that the remote broker takes.
    pub(super) packet_bytes_max: Option<u32>,
}

/// Rows and bytes read from disk at a time.
pub(super) const READ_MAX: (usize, usize) = (256, 1024 * 1024);

/// What a packet has beyond topic, payload and properties: fixed header, lengths, packet identifier.
const PACKET_OVERHEAD: usize = 32;

impl Outward {
    /// The side of a bridge that has yet to connect, with what waits on disk.
    pub(super) fn open(store: &Store, row: &BridgeRow, origin: &str) -> Result<Self, ReadError> {
        let key = row.queue_key();
        let places = places(store, key)?;
        let account = OutAccount { restored: places.len() as u64, ..OutAccount::default() };
        Ok(Self {
            queue: Queue::new(row.config.queue, places),
            account,
            key,
            origin: origin.to_owned(),
            hops_max: usize::from(row.config.hops_max),
            is_connected: false,
            packet_bytes_max: None,
        })
    }

    /// Takes in a delivery: into the batch, into memory, or nowhere.
    pub(super) fn take(&mut self, mapping: &Mapping, delivery: Delivery, batch: &mut Batch) {
        if !crossing::may_leave(&delivery.topic) {
            return delivery.ack();
        }
        self.account.received += 1;
        let Some((outbound, qos)) = self.outbound(mapping, &delivery) else {
            return delivery.ack();
        };
        if qos == Qos::AtMostOnce {
            self.take_transient(outbound);
            return delivery.ack();
        }
        let stored = body::encode(&outbound.message);
        let admission = self.queue.admit(stored.len() as u64);
        for seq in &admission.evicted {
            batch.changes.dequeue(self.key, *seq);
        }
        self.account.dropped.queue_full += admission.evicted.len() as u64;
        let Some(seq) = admission.seq else {
            self.account.dropped.queue_full += 1;
            return delivery.ack();
        };
        let expires_at_ms = outbound.expires_at.map(|at| at.0);
        let place = QueueRef { session: self.key, seq, flags: 1, expires_at_ms };
        batch.changes.enqueue(stored, vec![place]);
        batch.places.push((seq, outbound));
        batch.deliveries.push(delivery);
    }

    fn take_transient(&mut self, outbound: Outbound) {
        if !self.is_connected {
            self.account.dropped.offline += 1;
            return;
        }
        let bytes = outbound.message.payload.len() + outbound.message.topic.as_str().len();
        if !self.queue.push_transient(bytes as u64, outbound) {
            self.account.dropped.queue_full += 1;
        }
    }

    /// The message as it goes out, unless it has to stay.
    fn outbound(&mut self, mapping: &Mapping, delivery: &Delivery) -> Option<(Outbound, Qos)> {
        let way = match mapping.outward(&delivery.topic) {
            Ok(way) => way,
            Err(NoWay::NoRule | NoWay::NoTopic) => {
                self.account.dropped.topic += 1;
                return None;
            }
        };
        let mut properties = properties_of(delivery);
        let path =
            hops::path_of(properties.user_properties.iter().map(|(name, value)| (name, value)));
        if path.map_or(0, hops::length) >= self.hops_max {
            self.account.dropped.hops += 1;
            return None;
        }
        let path = hops::after(path, &self.origin);
        properties.user_properties.retain(|(name, _)| name != hops::PATH_PROPERTY);
        properties.user_properties.push((hops::PATH_PROPERTY.to_owned(), path));
        let qos = delivery.qos.min(way.qos_max);
        let message = RemoteMessage {
            topic: way.topic,
            payload: delivery.payload.clone(),
            qos,
            retain: delivery.retain && way.passes_retain,
            properties,
        };
        Some((Outbound { message, expires_at: delivery.expires_at() }, qos))
    }

    /// The commit of a batch has ended.
    pub(super) fn settle(&mut self, batch: Batch, is_committed: bool) {
        let Batch { deliveries, places, .. } = batch;
        if is_committed {
            for (seq, outbound) in places {
                self.queue.committed(seq, outbound);
            }
            deliveries.into_iter().for_each(Delivery::ack);
        } else {
            self.account.dropped.store += places.len() as u64;
            for (seq, _) in places {
                self.queue.failed(seq);
            }
            // The deliveries are dropped: their publishers are refused and send again.
        }
    }

    /// The next message to send and its ticket; what is of no use any more is dropped on the way.
    pub(super) fn next(
        &mut self,
        now: TimestampMs,
        changes: &mut Changes,
    ) -> Option<(u64, RemoteMessage)> {
        loop {
            let packet_bytes_max = self.packet_bytes_max.map_or(usize::MAX, |it| it as usize);
            let (ticket, ready) = self.queue.next()?;
            let Outbound { message, expires_at } = &ready.item;
            let left_secs = expires_at.map(|at| at.0.saturating_sub(now.0).div_ceil(1000));
            let is_expired = left_secs == Some(0);
            if !is_expired && bytes_of(message) <= packet_bytes_max {
                let mut message = message.clone();
                let expiry_secs = left_secs.map(|it| u32::try_from(it).unwrap_or(u32::MAX));
                message.properties.expiry_secs = expiry_secs;
                return Some((ticket, message));
            }
            if is_expired {
                self.account.dropped.expired += 1;
            } else {
                self.account.dropped.too_large += 1;
            }
            self.done(ticket, changes);
        }
    }

    /// What was handed over needs no place any more.
    pub(super) fn done(&mut self, ticket: u64, changes: &mut Changes) {
        if let Some(seq) = self.queue.done(ticket) {
            changes.dequeue(self.key, seq);
        }
    }

    /// The connection is lost: what is not on disk is dropped.
    pub(super) fn disconnected(&mut self) {
        self.is_connected = false;
        self.account.dropped.offline += self.queue.drop_transient();
    }

    /// The accounts at this moment.
    pub(super) fn account(&self) -> OutAccount {
        OutAccount { queued: self.queue.len(), queued_bytes: self.queue.bytes(), ..self.account }
    }
}

/// A message out of its stored form.
pub(super) fn restored(body: Bytes, expires_at_ms: Option<u64>) -> Option<Outbound> {
    let expires_at = expires_at_ms.map(TimestampMs);
    body::decode(body).map(|message| Outbound { message, expires_at })
}

/// The places in use on disk, with the bytes of each.
fn places(store: &Store, key: SessionKey) -> Result<Vec<(u64, u64)>, ReadError> {
    let snapshot = store.read()?;
    let (rows, bytes) = READ_MAX;
    let mut places: Vec<(u64, u64)> = Vec::new();
    loop {
        let after = places.last().map_or(0, |(seq, _)| *seq);
        match snapshot.queue(key, after, rows, bytes) {
            Ok(found) if found.is_empty() => return Ok(places),
            Ok(found) => places.extend(found.iter().map(|it| (it.seq, it.body.len() as u64))),
            // Its place is known; whoever reads it finds out, and counts it.
            Err(ReadError::Unreadable { key, .. }) if key.len() == 16 => {
                let [.., a, b, c, d, e, f, g, h] = key[..] else { return Ok(places) };
                places.push((u64::from_be_bytes([a, b, c, d, e, f, g, h]), 0));
            }
            Err(error) => return Err(error),
        }
    }
}

fn properties_of(delivery: &Delivery) -> RemoteProperties {
    let Some(it) = delivery.properties() else { return RemoteProperties::default() };
    let user = it.user_properties.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    RemoteProperties {
        is_utf8_payload: it.is_utf8_payload,
        expiry_secs: None,
        content_type: it.content_type.as_ref().map(ToString::to_string),
        response_topic: it.response_topic.as_ref().map(ToString::to_string),
        correlation_data: it.correlation_data.clone(),
        user_properties: user.collect(),
    }
}

/// About the length of its packet, never too small.
fn bytes_of(message: &RemoteMessage) -> usize {
    let it = &message.properties;
    let texts =
        [&it.content_type, &it.response_topic].into_iter().flatten().map(|text| text.len() + 3);
    let user = it.user_properties.iter().map(|(name, value)| name.len() + value.len() + 5);
    let correlation = it.correlation_data.as_ref().map_or(0, |data| data.len() + 3);
    let properties = texts.chain(user).sum::<usize>() + correlation;
    PACKET_OVERHEAD + message.topic.as_str().len() + message.payload.len() + properties
}
