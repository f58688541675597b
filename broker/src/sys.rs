//! `$SYS`: the figures of the broker as messages, under the names that other brokers have made known.
//!
//! They are those of the whole broker, over all namespaces, so only operators of the whole may receive them
//! ([`crate::permissions`]). They are published every few seconds with QoS 0 and given to new subscribers like
//! retained messages, but the store never sees them.

use crate::broker::Spaces;
use crate::figures::Figures;
use crate::message::Message;
use crate::space::Shared;
use bytes::Bytes;
use proto::platform::sys::SysFigure;
use proto::{Qos, TopicFilter};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// The figures as last published.
pub(crate) type Latest = parking_lot::RwLock<Arc<[Arc<Message>]>>;

/// Publishes the figures until the broker drains.
pub(crate) async fn run(shared: Arc<Shared>, spaces: Arc<Spaces>) {
    let period = Duration::from_secs(shared.policies.sys_interval_secs.into());
    if period.is_zero() {
        return;
    }
    let began = Instant::now();
    while !shared.is_draining.load(Ordering::Acquire) {
        let all = spaces.all();
        let mut clients = Clients::default();
        for space in &all {
            clients.add(&space.census());
        }
        let figures = spaces.figures(&shared);
        let values = values(&figures, &clients, began.elapsed());
        let messages: Vec<Arc<Message>> =
            values.into_iter().map(|(figure, value)| message(&shared, figure, value)).collect();
        *shared.sys.write() = messages.clone().into();
        for space in &all {
            for message in &messages {
                space.publish_shared(message);
            }
        }
        tokio::time::sleep(period).await;
    }
}

/// The figures that a filter asks for.
pub(crate) fn matching(shared: &Shared, filter: &TopicFilter) -> Vec<Arc<Message>> {
    let latest = Arc::clone(&shared.sys.read());
    latest.iter().filter(|message| filter.matches(&message.topic)).cloned().collect()
}

/// How many sessions there are, and what they have subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) connected: usize,
    pub(crate) total: usize,
    pub(crate) subscriptions: usize,
    pub(crate) shared_subscriptions: usize,
}

impl Clients {
    fn add(&mut self, other: &Self) {
        self.connected += other.connected;
        self.total += other.total;
        self.subscriptions += other.subscriptions;
        self.shared_subscriptions += other.shared_subscriptions;
    }
}

fn values(is: &Figures, clients: &Clients, uptime: Duration) -> Vec<(SysFigure, String)> {
    let counts = [
        (SysFigure::ClientsConnected, clients.connected as u64),
        (SysFigure::ClientsDisconnected, (clients.total - clients.connected) as u64),
        (SysFigure::ClientsTotal, clients.total as u64),
        (SysFigure::ConnectionsTotal, is.connections_total),
        (SysFigure::ConnectionsRefused, is.connections_refused),
        (SysFigure::Subscriptions, clients.subscriptions as u64),
        (SysFigure::SharedSubscriptions, clients.shared_subscriptions as u64),
        (SysFigure::RetainedMessages, is.retained),
        (SysFigure::RetainedBytes, is.retained_bytes),
        (SysFigure::MessagesReceived, is.received),
        (SysFigure::MessagesSent, is.sent),
        (SysFigure::PublishReceived, is.received),
        (SysFigure::PublishSent, is.sent),
        (SysFigure::PublishDropped, is.dropped),
        (SysFigure::PublishExpired, is.expired),
        (SysFigure::PublishRefused, is.publishes_refused),
        (SysFigure::MemoryInUse, is.memory_in_use_bytes),
        (SysFigure::MemoryWatermark, is.memory_watermark_bytes),
        (SysFigure::MemoryShort, is.memory_is_short),
        (SysFigure::StoreWritten, is.stored),
        (SysFigure::BytesReceived, is.received_bytes),
        (SysFigure::BytesSent, is.sent_bytes),
    ];
    let version = concat!("manifold ", env!("CARGO_PKG_VERSION")).to_owned();
    let mut values = vec![
        (SysFigure::Version, version),
        (SysFigure::Uptime, format!("{} seconds", uptime.as_secs())),
    ];
    values.extend(counts.map(|(figure, count)| (figure, count.to_string())));
    values
}

fn message(shared: &Shared, figure: SysFigure, value: String) -> Arc<Message> {
    Arc::new(Message {
        topic: figure.topic(),
        payload: Bytes::from(value),
        qos: Qos::AtMostOnce,
        retain: false,
        properties: None,
        sender: Arc::clone(shared.voice()),
        expires_at: None,
        gate: None,
    })
}
