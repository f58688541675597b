//! A broker to test and a client of bare packets to test it with.

use broker::credential::{Credential, CredentialIdentity};
use broker::{Broker, BrokerConfig, Limits, ListenerConfig, ListenerKind, Policies, Promises};
use bytes::{Bytes, BytesMut};
use proto::{Clock, Entropy, Namespace, Role, ThingId, TimestampMs, UserId};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{self, Packet};
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{Changes, Durability, Store};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::codec::{Decoder, Encoder};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing must happen to be believed.
pub(crate) const SILENCE: Duration = Duration::from_millis(150);
/// The secret of every credential.
pub(crate) const SECRET: &str = "correct-horse-battery";

/// A clock that the test moves, and dice that never repeat.
#[derive(Default)]
pub(crate) struct Outside {
    now_ms: AtomicU64,
    dice: AtomicU64,
}

impl Outside {
    pub(crate) fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for Outside {
    fn now(&self) -> TimestampMs {
        TimestampMs(1_000_000 + self.now_ms.load(Ordering::SeqCst))
    }
}

impl Entropy for Outside {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
            chunk.copy_from_slice(&number.to_be_bytes()[..chunk.len()]);
        }
    }
}

/// A broker on a free port, with one user of each role and the things `pump7` and `pump8`.
pub(crate) struct Bench {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) outside: Arc<Outside>,
    pub(crate) address: SocketAddr,
}

pub(crate) fn namespace() -> Namespace {
    Namespace::default()
}

pub(crate) fn other_namespace() -> Namespace {
    Namespace::parse("acme/berlin").unwrap()
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub(crate) async fn start_with(limits: Limits) -> Self {
        Self::start_as(BrokerConfig { limits, ..BrokerConfig::default() }).await
    }

    pub(crate) async fn start_by(policies: Policies) -> Self {
        Self::start_as(BrokerConfig { policies, ..BrokerConfig::default() }).await
    }

    pub(crate) async fn start_as(config: BrokerConfig) -> Self {
        let store = Store::in_memory().unwrap();
        let outside = Arc::new(Outside::default());
        let mut changes = Changes::new();
        for namespace in [namespace(), other_namespace()] {
            let mut put = |name: &str, identity| {
                let key = (namespace.clone(), UserId::parse(name).unwrap());
                changes.put(&key, &Credential::device(identity, SECRET, &*outside));
            };
            put("root", CredentialIdentity::User { role: Role::SystemAdmin });
            put("admin", CredentialIdentity::User { role: Role::ProjectAdmin });
            put("app", CredentialIdentity::User { role: Role::App });
            put("viewer", CredentialIdentity::User { role: Role::User });
            for thing in ["pump7", "pump8"] {
                put(thing, CredentialIdentity::Thing(ThingId::parse(thing).unwrap()));
            }
        }
        store.commit(changes).await.unwrap();
        Self::on(store, outside, config).await
    }

    /// Another broker on the same store, as after a restart.
    pub(crate) async fn restart(self) -> Self {
        self.broker.drain(PATIENCE).await;
        Self::on(self.store, self.outside, BrokerConfig::default()).await
    }

    /// A broker in a runtime of its own, to be killed with it.
    pub(crate) async fn start_apart() -> (Self, tokio::runtime::Runtime) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bench = runtime.spawn(Self::start()).await.unwrap();
        (bench, runtime)
    }

    /// Ends the broker in the middle of whatever it does, and starts another one on what is in the store.
    pub(crate) async fn kill(self, runtime: tokio::runtime::Runtime) -> Self {
        let Self { broker, store, outside, .. } = self;
        drop(broker);
        runtime.shutdown_background();
        Self::on(store, outside, BrokerConfig::default()).await
    }

    async fn on(store: Store, outside: Arc<Outside>, config: BrokerConfig) -> Self {
        // The promise of the other namespace is a weaker one; for its clients nothing differs.
        let namespaces = [(other_namespace(), Durability::Memory)].into();
        let promises = Promises { usual: Durability::Sync, namespaces };
        let config = BrokerConfig { promises, ..config };
        let broker = Broker::open(config, store.clone(), outside.clone(), outside.clone()).unwrap();
        broker.mount(&namespace()).unwrap();
        broker.mount(&other_namespace()).unwrap();
        let any = ([127, 0, 0, 1], 0).into();
        let listener = ListenerConfig::tcp("mqtt", ListenerKind::Mqtt, any);
        let address = broker.listen(listener).await.unwrap().address().unwrap();
        Self { broker, store, outside, address }
    }

    /// A connected client of the user `admin` with a session that ends with it.
    pub(crate) async fn admin(&self, client_id: &str) -> Client {
        self.client(client_id, "admin").await
    }

    pub(crate) async fn client(&self, client_id: &str, user: &str) -> Client {
        let (client, ack) = Client::connect(self.address, connect(client_id, user)).await;
        assert_eq!(ack.reason_code, v5::ConnectAckReason::Success);
        client
    }

    /// A connected client whose session outlives it by an hour.
    pub(crate) async fn durable(&self, client_id: &str, user: &str) -> (Client, bool) {
        let connect = v5::Connect {
            clean_start: false,
            session_expiry_interval_secs: 3600,
            ..connect(client_id, user)
        };
        let (client, ack) = Client::connect(self.address, connect).await;
        assert_eq!(ack.reason_code, v5::ConnectAckReason::Success);
        (client, ack.session_present)
    }
}

/// A CONNECT with nothing special.
pub(crate) fn connect(client_id: &str, user: &str) -> v5::Connect {
    v5::Connect {
        clean_start: true,
        keep_alive: 60,
        session_expiry_interval_secs: 0,
        auth_method: None,
        auth_data: None,
        request_problem_info: true,
        request_response_info: false,
        receive_max: None,
        topic_alias_max: 0,
        user_properties: Vec::new(),
        max_packet_size: None,
        last_will: None,
        client_id: client_id.into(),
        username: Some(user.into()),
        password: Some(Bytes::from_static(SECRET.as_bytes())),
        cert: None,
    }
}

/// A PUBLISH of QoS 0 that is not retained.
pub(crate) fn message(topic: &str, payload: impl Into<Bytes>) -> Publish {
    Publish {
        dup: false,
        retain: false,
        qos: QoS::AtMostOnce,
        topic: topic.to_owned().into(),
        packet_id: None,
        payload: payload.into(),
        properties: Some(v5::PublishProperties::default()),
    }
}

pub(crate) fn id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

/// What a client runs on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A client of MQTT 5.0 packets.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    codec: v5::Codec,
    buffer: BytesMut,
    next_id: u16,
}

impl Client {
    pub(crate) async fn connect(
        address: SocketAddr,
        connect: v5::Connect,
    ) -> (Self, v5::ConnectAck) {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::try_on(Box::new(stream), connect).await.expect("a CONNACK")
    }

    /// Says CONNECT on a TCP stream; `None` if the broker closes without a word.
    pub(crate) async fn try_connect(
        address: SocketAddr,
        connect: v5::Connect,
    ) -> Option<(Self, v5::ConnectAck)> {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::try_on(Box::new(stream), connect).await
    }

    /// Says CONNECT on any stream; `None` if the broker closes without a word.
    pub(crate) async fn try_on(
        stream: Box<dyn Stream>,
        connect: v5::Connect,
    ) -> Option<(Self, v5::ConnectAck)> {
        let codec = v5::Codec::default();
        let mut client = Self { stream, codec, buffer: BytesMut::new(), next_id: 1 };
        let mut out = BytesMut::new();
        client.codec.encode(Packet::Connect(Box::new(connect)), &mut out).unwrap();
        client.stream.write_all(&out).await.ok()?;
        client.stream.flush().await.ok()?;
        match client.receive().await? {
            Packet::ConnectAck(ack) => Some((client, *ack)),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// A client on TCP whose CONNECT has not been answered.
    pub(crate) async fn open(address: SocketAddr, connect: v5::Connect) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (stream, codec) = (Box::new(stream), v5::Codec::default());
        let mut client = Self { stream, codec, buffer: BytesMut::new(), next_id: 1 };
        client.send(Packet::Connect(Box::new(connect))).await;
        client
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut out = BytesMut::new();
        self.codec.encode(packet, &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends packets that are written already, with one call.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next packet; `None` if the broker has closed.
    pub(crate) async fn receive(&mut self) -> Option<Packet> {
        let receiving = async {
            loop {
                if let Some((packet, _)) = self.codec.decode(&mut self.buffer).unwrap() {
                    return Some(packet);
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, receiving).await.expect("nothing was received")
    }

    /// Nothing comes for a while.
    pub(crate) async fn expect_silence(&mut self) {
        let received = tokio::time::timeout(SILENCE, self.receive()).await;
        assert!(received.is_err(), "{received:?}");
    }

    /// Whatever is on its way arrives first: the answer to a PINGREQ comes behind it.
    pub(crate) async fn expect_message(&mut self) -> Publish {
        match self.receive().await {
            Some(Packet::Publish(publish)) => *publish,
            other => panic!("no PUBLISH but {other:?}"),
        }
    }

    /// The payload of the next message, acknowledged if it asks for it.
    pub(crate) async fn expect_payload(&mut self) -> String {
        let publish = self.expect_message().await;
        if let Some(packet_id) = publish.packet_id {
            self.ack(packet_id).await;
        }
        String::from_utf8(publish.payload.to_vec()).unwrap()
    }

    pub(crate) async fn ack(&mut self, packet_id: NonZeroU16) {
        let ack = v5::PublishAck {
            packet_id,
            reason_code: v5::PublishAckReason::Success,
            properties: Vec::new(),
            reason_string: None,
        };
        self.send(Packet::PublishAck(ack)).await;
    }

    /// A PUBLISH of QoS 2, for the first time or again.
    pub(crate) async fn publish_exactly(&mut self, packet_id: u16, dup: bool, publish: Publish) {
        let publish =
            Publish { dup, qos: QoS::ExactlyOnce, packet_id: Some(id(packet_id)), ..publish };
        self.send(Packet::Publish(Box::new(publish))).await;
    }

    pub(crate) async fn rec(&mut self, packet_id: NonZeroU16, reason_code: v5::PublishAckReason) {
        let (properties, reason_string) = (Vec::new(), None);
        let rec = v5::PublishAck { packet_id, reason_code, properties, reason_string };
        self.send(Packet::PublishReceived(rec)).await;
    }

    pub(crate) async fn rel(&mut self, packet_id: NonZeroU16) {
        self.send(Packet::PublishRelease(ack2(packet_id))).await;
    }

    pub(crate) async fn comp(&mut self, packet_id: NonZeroU16) {
        self.send(Packet::PublishComplete(ack2(packet_id))).await;
    }

    pub(crate) async fn expect_rec(&mut self, packet_id: NonZeroU16) -> v5::PublishAckReason {
        match self.receive().await {
            Some(Packet::PublishReceived(ack)) if ack.packet_id == packet_id => ack.reason_code,
            other => panic!("no PUBREC {packet_id} but {other:?}"),
        }
    }

    pub(crate) async fn expect_rel(&mut self, packet_id: NonZeroU16) -> v5::PublishAck2Reason {
        match self.receive().await {
            Some(Packet::PublishRelease(ack)) if ack.packet_id == packet_id => ack.reason_code,
            other => panic!("no PUBREL {packet_id} but {other:?}"),
        }
    }

    pub(crate) async fn expect_comp(&mut self, packet_id: NonZeroU16) -> v5::PublishAck2Reason {
        match self.receive().await {
            Some(Packet::PublishComplete(ack)) if ack.packet_id == packet_id => ack.reason_code,
            other => panic!("no PUBCOMP {packet_id} but {other:?}"),
        }
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: impl Into<Bytes>) {
        self.send(Packet::Publish(Box::new(message(topic, payload)))).await;
    }

    /// Publishes with QoS 1 and does not wait for the acknowledgement; its packet identifier.
    pub(crate) async fn start_publish(&mut self, mut publish: Publish) -> NonZeroU16 {
        let packet_id = id(self.next_id);
        self.next_id += 1;
        publish.qos = QoS::AtLeastOnce;
        publish.packet_id = Some(packet_id);
        self.send(Packet::Publish(Box::new(publish))).await;
        packet_id
    }

    /// Publishes with QoS 1; the reason code of the acknowledgement.
    pub(crate) async fn publish_acked(&mut self, publish: Publish) -> v5::PublishAckReason {
        let packet_id = self.start_publish(publish).await;
        self.expect_ack(packet_id).await
    }

    pub(crate) async fn expect_ack(&mut self, packet_id: NonZeroU16) -> v5::PublishAckReason {
        match self.receive().await {
            Some(Packet::PublishAck(ack)) if ack.packet_id == packet_id => ack.reason_code,
            other => panic!("no PUBACK {packet_id} but {other:?}"),
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) -> v5::SubscribeAckReason {
        let options = v5::SubscriptionOptions { qos, ..Default::default() };
        self.subscribe_with(filter, options, None).await
    }

    pub(crate) async fn subscribe_with(
        &mut self,
        filter: &str,
        options: v5::SubscriptionOptions,
        subscription_id: Option<u32>,
    ) -> v5::SubscribeAckReason {
        let packet = v5::Subscribe {
            packet_id: id(self.next_id),
            id: subscription_id.and_then(NonZeroU32::new),
            user_properties: Vec::new(),
            topic_filters: vec![(filter.to_owned().into(), options)],
        };
        self.next_id += 1;
        self.send(Packet::Subscribe(packet)).await;
        self.subscribed().await
    }

    /// Sends a SUBSCRIBE whose answer is [`Self::subscribed`].
    pub(crate) async fn ask_for(&mut self, filter: &str) {
        let packet = v5::Subscribe {
            packet_id: id(self.next_id),
            id: None,
            user_properties: Vec::new(),
            topic_filters: vec![(filter.to_owned().into(), v5::SubscriptionOptions::default())],
        };
        self.next_id += 1;
        self.send(Packet::Subscribe(packet)).await;
    }

    pub(crate) async fn subscribed(&mut self) -> v5::SubscribeAckReason {
        match self.receive().await {
            Some(Packet::SubscribeAck(ack)) => ack.status[0],
            other => panic!("no SUBACK but {other:?}"),
        }
    }

    /// Leaves with a DISCONNECT and waits until the broker has closed.
    pub(crate) async fn leave(mut self) {
        let reason = v5::DisconnectReasonCode::NormalDisconnection;
        self.send(Packet::Disconnect(v5::Disconnect::new(reason))).await;
        assert!(self.receive().await.is_none());
    }

    /// Breaks the connection without a word.
    pub(crate) fn vanish(self) {
        drop(self.stream);
    }

    /// The broker says why and closes.
    pub(crate) async fn expect_end(&mut self) -> v5::DisconnectReasonCode {
        let reason = match self.receive().await {
            Some(Packet::Disconnect(disconnect)) => disconnect.reason_code,
            other => panic!("no DISCONNECT but {other:?}"),
        };
        assert!(self.receive().await.is_none());
        reason
    }
}

fn ack2(packet_id: NonZeroU16) -> v5::PublishAck2 {
    let reason_code = v5::PublishAck2Reason::Success;
    v5::PublishAck2 { packet_id, reason_code, properties: Vec::new(), reason_string: None }
}

/// Waits until `is_so` holds.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "it never became so");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
