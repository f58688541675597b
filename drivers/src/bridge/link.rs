//! A connection to a remote broker, the same for both protocol versions.
//!
//! A task of its own drives the client, so that its reading is never cut short; what happens comes out of a channel
//! of bounded length, and nothing more is read from the socket while that is full. After a loss the task waits for
//! [`Link::retry`].

use super::{RemoteConfig, RemoteVersion, tls, v4, v5};
use crate::config::ConfigError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use proto::{Qos, TopicFilter, TopicName};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Events that wait for the owner of a link.
const EVENTS_MAX: usize = 256;

/// The largest packet that is taken from a remote broker, in bytes.
pub(super) const PACKET_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// A message to or from a remote broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMessage {
    /// Its topic there.
    pub topic: TopicName,
    /// What it carries.
    pub payload: Bytes,
    /// At most once or at least once.
    pub qos: Qos,
    /// The RETAIN flag.
    pub retain: bool,
    /// MQTT 5.0 properties; none with 3.1.1.
    pub properties: RemoteProperties,
}

/// The properties of a PUBLISH packet that cross a bridge (MQTT 5.0 3.3.2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteProperties {
    /// The payload is UTF-8 text.
    pub is_utf8_payload: bool,
    /// Seconds it has left to live.
    pub expiry_secs: Option<u32>,
    /// A MIME type or the like.
    pub content_type: Option<String>,
    /// Where an answer is expected.
    pub response_topic: Option<String>,
    /// What the answer must carry.
    pub correlation_data: Option<Bytes>,
    /// Names and values.
    pub user_properties: Vec<(String, String)>,
}

/// What happens on a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// The remote broker has accepted the connection.
    Connected(Welcome),
    /// It has answered the subscriptions.
    Subscribed(Subscribed),
    /// It has sent something.
    Received(Box<Received>),
    /// The connection is lost, or could not be made, for this reason. [`Link::retry`] makes the next attempt.
    Lost(String),
}

/// What the remote broker said when it accepted the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// It knew the session.
    pub session_present: bool,
    /// The largest packet that it takes, in bytes, if it says so.
    pub packet_bytes_max: Option<u32>,
}

/// How the subscriptions went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// The filters that were refused.
    pub refused: Vec<TopicFilter>,
}

/// A message, and the duty to acknowledge it.
#[derive(Debug)]
pub struct Received {
    /// The message; `None` if its topic is none.
    pub message: Option<RemoteMessage>,
    /// To be given to [`Link::acknowledge`] when its work is done.
    pub ack: LinkAck,
}

/// The duty to acknowledge a message to the remote broker.
#[derive(Debug)]
pub struct LinkAck {
    /// The connection it came by, and the count of connections that it was read from.
    connection: u64,
    connections: Arc<AtomicU64>,
    publish: AnyPublish,
}

#[derive(Debug)]
pub(super) enum AnyPublish {
    V4(rumqttc_v4::Publish),
    V5(rumqttc::Publish),
}

/// What becomes of a message that was handed to a link.
pub type Sending = BoxFuture<'static, Result<(), SendError>>;

/// Why a message did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may be tried again.
    #[error("{0}")]
    Again(String),
    /// The remote broker will never take it.
    #[error("{0}")]
    Refused(String),
}

/// See the module.
pub struct Link {
    client: Client,
    events: mpsc::Receiver<LinkEvent>,
    retries: mpsc::Sender<()>,
    connection: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

enum Client {
    V4(rumqttc_v4::AsyncClient),
    V5(rumqttc::AsyncClient),
}

/// The task's end of a link.
pub(super) struct Pump {
    pub(super) events: mpsc::Sender<LinkEvent>,
    retries: mpsc::Receiver<()>,
    connection: Arc<AtomicU64>,
    pub(super) filters: Vec<TopicFilter>,
    /// A RETAIN flag that was set there is told, also of what is not sent for the subscription (MQTT 5.0 3.8.3.1).
    pub(super) keeps_retain: bool,
}

impl Link {
    /// Begins to connect, and subscribes to `filters` with QoS 1 on each connection. Must run inside a tokio
    /// runtime.
    pub fn open(config: &RemoteConfig, filters: Vec<TopicFilter>) -> Result<Self, ConfigError> {
        Self::begin(config, filters, true)
    }

    /// The same, but a message has its RETAIN flag only if it was kept there before the subscription.
    pub fn listen(config: &RemoteConfig, filters: Vec<TopicFilter>) -> Result<Self, ConfigError> {
        Self::begin(config, filters, false)
    }

    fn begin(
        config: &RemoteConfig,
        filters: Vec<TopicFilter>,
        keeps_retain: bool,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let (events_to, events) = mpsc::channel(EVENTS_MAX);
        let (retries, retries_from) = mpsc::channel(1);
        let connection = Arc::new(AtomicU64::new(0));
        // Room for all that can be under way, so that nothing handed over is ever turned away.
        let capacity = usize::from(config.inflight_max) * 2 + EVENTS_MAX + 16;
        let pump = Pump {
            events: events_to,
            retries: retries_from,
            connection: Arc::clone(&connection),
            filters,
            keeps_retain,
        };
        let (client, task) = match config.version {
            RemoteVersion::V3 => {
                let (client, event_loop) = v4::client(config, capacity)?;
                (Client::V4(client.clone()), tokio::spawn(v4::run(client, event_loop, pump)))
            }
            RemoteVersion::V5 => {
                let (client, event_loop) = v5::client(config, capacity)?;
                (Client::V5(client.clone()), tokio::spawn(v5::run(client, event_loop, pump)))
            }
        };
        Ok(Self { client, events, retries, connection, task })
    }

    /// The next event; `None` if the task has ended, which it does only by a fault.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        self.events.recv().await
    }

    /// Makes the next attempt to connect, after a loss.
    pub fn retry(&self) {
        // One is enough, and the task takes none before it waits for one.
        let _ = self.retries.try_send(());
    }

    /// Hands a message over. It is sent when those before it are; after a loss, by the next connection.
    pub fn publish(&self, message: &RemoteMessage) -> Sending {
        match &self.client {
            Client::V4(client) => v4::publish(client, message),
            Client::V5(client) => v5::publish(client, message),
        }
    }

    /// Tells the remote broker that a message is taken. After a loss that would be the wrong one, and it sends the
    /// message again.
    pub fn acknowledge(&self, ack: LinkAck) {
        let is_current = ack.connection == self.connection.load(Ordering::Acquire);
        if !is_current || !Arc::ptr_eq(&ack.connections, &self.connection) {
            return;
        }
        // What cannot be sent comes again.
        match (&self.client, ack.publish) {
            (Client::V4(client), AnyPublish::V4(publish)) => drop(client.try_ack(&publish)),
            (Client::V5(client), AnyPublish::V5(publish)) => drop(client.try_ack(&publish)),
            _ => {}
        }
    }

    /// Says goodbye and waits until that is sent, or for `deadline`.
    pub async fn close(mut self, deadline: std::time::Duration) {
        let asked = match &self.client {
            Client::V4(client) => client.try_disconnect_now().is_ok(),
            Client::V5(client) => client.try_disconnect_now().is_ok(),
        };
        if asked {
            let ended = async { while self.events.recv().await.is_some() {} };
            let _ = tokio::time::timeout(deadline, ended).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pump {
    /// A new connection: acknowledgements of earlier ones mean nothing any more.
    pub(super) fn connected(&self) {
        self.connection.fetch_add(1, Ordering::AcqRel);
    }

    /// Tells of a message.
    pub(super) async fn received(
        &self,
        message: Option<RemoteMessage>,
        publish: AnyPublish,
    ) -> Result<(), Gone> {
        let connection = self.connection.load(Ordering::Acquire);
        let connections = Arc::clone(&self.connection);
        let ack = LinkAck { connection, connections, publish };
        self.tell(LinkEvent::Received(Box::new(Received { message, ack }))).await
    }

    /// Tells the owner; an error if there is none any more.
    pub(super) async fn tell(&self, event: LinkEvent) -> Result<(), Gone> {
        self.events.send(event).await.map_err(|_| Gone)
    }

    /// Tells of a loss and waits for leave to try again.
    pub(super) async fn lost(&mut self, reason: String) -> Result<(), Gone> {
        // Whatever is acknowledged from here on belongs to the past.
        self.connected();
        self.tell(LinkEvent::Lost(reason)).await?;
        self.retries.recv().await.ok_or(Gone)
    }

    /// The filters whose answers say no.
    pub(super) fn refused(&self, answers: impl Iterator<Item = bool>) -> Vec<TopicFilter> {
        let refused = self.filters.iter().zip(answers).filter(|(_, is_granted)| !is_granted);
        refused.map(|(filter, _)| filter.clone()).collect()
    }
}

/// The owner of a link is gone.
pub(super) struct Gone;

/// What an I/O error means, for a person.
pub(super) fn io_loss(error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    if let Some(reason) = tls::reason::of_connection(error) {
        return reason;
    }
    match error.kind() {
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::UnexpectedEof
        | Kind::NotConnected => format!("the connection ended: {error}"),
        _ => format!("the remote broker cannot be reached: {error}"),
    }
}
