//! A node without sockets: store, broker, tree, and clients in process.

use crate::machine::Machines;
use actors::{Figures, Outside, Platform, Settings};
use broker::{
    AttachOptions, Broker, BrokerConfig, Client, Delivery, Inbox, ListenerConfig, ListenerKind,
    Outgoing,
};
use bytes::Bytes;
use proto::{
    ClientId, Clock, Entropy, Identity, Namespace, Qos, ThingId, TimestampMs, TopicFilter,
    TopicName,
};
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use store::Store;
use tokio::time::{Instant, timeout};

/// The wall clock at the start of every test, in milliseconds.
pub(crate) const START_MS: u64 = 1_763_668_800_000;

/// Follows the paused clock; can be told to panic once.
pub(crate) struct TestClock {
    started: Instant,
    panics: AtomicBool,
}

/// Different bytes at each call.
#[derive(Default)]
pub(crate) struct TestEntropy(AtomicU64);

/// A store that outlives nodes, and the machines around them.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) machines: Machines,
    entropy: Arc<TestEntropy>,
    pub(crate) settings: Settings,
}

/// A running node.
pub(crate) struct Node {
    pub(crate) broker: Broker,
    pub(crate) platform: Platform,
    devices: AtomicU64,
}

/// A client in process.
pub(crate) struct Peer {
    pub(crate) client: Client,
    inbox: Inbox,
    name: String,
    requests: u64,
}

impl Clock for TestClock {
    fn now(&self) -> TimestampMs {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "the clock panics, as it was told to");
        TimestampMs(START_MS + u64::try_from(self.started.elapsed().as_millis()).unwrap())
    }
}

impl TestClock {
    /// The next one who asks for the time panics.
    pub(crate) fn panic_once(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }
}

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64: enough to be different.
            let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

impl World {
    /// An empty store.
    pub(crate) fn new() -> Self {
        Self {
            store: Store::in_memory_inline().unwrap(),
            clock: Arc::new(TestClock { started: Instant::now(), panics: AtomicBool::new(false) }),
            machines: Machines::default(),
            entropy: Arc::default(),
            settings: Settings {
                // A secret of 20 bytes spares the slow hash.
                admin_secret: Some("the secret of the admin".to_owned()),
                ..Settings::default()
            },
        }
    }

    /// Starts a node on the store, as after a crash or stop of the one before.
    pub(crate) async fn start(&self) -> Node {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let entropy: Arc<dyn Entropy> = self.entropy.clone();
        let config = BrokerConfig::default();
        // A clock of its own: it is not the broker that is told to panic.
        let brokers = TestClock { started: self.clock.started, panics: AtomicBool::new(false) };
        let brokers = Arc::new(brokers);
        let broker = Broker::open(config, self.store.clone(), brokers, entropy.clone());
        let broker = broker.unwrap();
        let mut outside = Outside::new(
            self.store.clone(),
            broker.clone(),
            clock,
            entropy,
            drivers::Site::new(std::env::temp_dir()),
        );
        outside.open_driver = self.machines.opener();
        let platform = actors::start(outside, self.settings.clone()).await.unwrap();
        Node { broker, platform, devices: AtomicU64::new(1) }
    }
}

impl Node {
    /// A client in the default namespace.
    pub(crate) fn peer(&self, name: &str) -> Peer {
        self.peer_in(&Namespace::default(), name)
    }

    /// A client in a namespace.
    pub(crate) fn peer_in(&self, namespace: &Namespace, name: &str) -> Peer {
        let id = ClientId::parse(name).unwrap();
        let (client, inbox) =
            self.broker.attach(namespace, id, AttachOptions { window: 10_000 }).unwrap();
        Peer { client, inbox, name: name.to_owned(), requests: 0 }
    }

    /// A client in process that is the device of a thing, in the default namespace.
    pub(crate) fn device(&self, thing: &str) -> Peer {
        let number = self.devices.fetch_add(1, Ordering::Relaxed);
        let name = format!("{thing}-{number}");
        let (id, namespace) = (ClientId::parse(&name).unwrap(), Namespace::default());
        let identity = Identity::Thing(ThingId::parse(thing).unwrap());
        let options = AttachOptions { window: 10_000 };
        let (client, inbox) = self.broker.attach_as(&namespace, id, identity, options).unwrap();
        Peer { client, inbox, name, requests: 0 }
    }

    /// A listener on a free port, for clients that have to prove who they are.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let any = ([127, 0, 0, 1], 0).into();
        let listener = ListenerConfig::tcp("mqtt", ListenerKind::Mqtt, any);
        self.broker.listen(listener).await.unwrap().address().unwrap()
    }

    /// What the tree has counted.
    pub(crate) fn figures(&self) -> Figures {
        self.platform.figures()
    }

    /// Ends the node in good order.
    pub(crate) async fn stop(self) {
        assert!(self.platform.stop(Duration::from_secs(30)).await, "the tree stops in time");
    }
}

impl Peer {
    /// Subscribes, so that [`Peer::expect`] has something to wait for.
    pub(crate) fn subscribe(&self, filter: &str) {
        self.client.subscribe(TopicFilter::parse(filter.to_owned()).unwrap(), Qos::AtLeastOnce);
    }

    /// Publishes at QoS 1.
    pub(crate) fn publish(&self, topic: &str, payload: &str) {
        self.client.publish(message(topic, payload));
    }

    /// Publishes at QoS 1 with a response topic and correlation data.
    pub(crate) fn ask(
        &self,
        topic: &str,
        payload: &str,
        response: &str,
        correlation: &'static str,
    ) {
        let mut message = message(topic, payload);
        message.properties.response_topic = Some(name_of(response));
        message.properties.correlation_data = Some(Bytes::from_static(correlation.as_bytes()));
        self.client.publish(message);
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> (String, Json) {
        let delivery = timeout(Duration::from_secs(600), self.inbox.receive()).await;
        let delivery = delivery.unwrap_or_else(|_| panic!("{} hears nothing", self.name)).unwrap();
        let seen = (delivery.topic.to_string(), json_of(&delivery));
        delivery.ack();
        seen
    }

    /// The next message, which has to be on this topic.
    pub(crate) async fn expect(&mut self, topic: &str) -> Json {
        let (heard, payload) = self.next().await;
        assert_eq!(heard, topic, "{payload}");
        payload
    }

    /// The next message on this topic; others are passed over.
    pub(crate) async fn wait_for(&mut self, topic: &str) -> Json {
        loop {
            let (heard, payload) = self.next().await;
            if heard == topic {
                return payload;
            }
        }
    }

    /// What comes within so many milliseconds.
    pub(crate) async fn within(&mut self, ms: u64) -> Vec<(String, Json)> {
        let mut heard = Vec::new();
        let end = Instant::now() + Duration::from_millis(ms);
        while let Ok(delivery) = tokio::time::timeout_at(end, self.inbox.receive()).await {
            let delivery = delivery.unwrap();
            heard.push((delivery.topic.to_string(), json_of(&delivery)));
            delivery.ack();
        }
        heard
    }

    /// The correlation data of the next message, with its payload.
    pub(crate) async fn next_correlated(&mut self) -> (Bytes, Json) {
        let delivery = self.inbox.receive().await.unwrap();
        let seen = (delivery.correlation_data.clone().unwrap(), json_of(&delivery));
        delivery.ack();
        seen
    }

    /// What is retained at a topic.
    pub(crate) fn retained(&self, topic: &str) -> Option<Json> {
        let filter = TopicFilter::parse(topic.to_owned()).unwrap();
        let (_, payload) = self.client.retained(&filter).pop()?;
        Some(serde_json::from_slice(&payload).unwrap())
    }

    /// An admin request, over the reply topic; the whole answer.
    pub(crate) async fn admin(&mut self, operation: &str, body: Json) -> Json {
        self.requests += 1;
        let (name, number) = (&self.name, self.requests);
        let reply = format!("clients/{name}/reply/{number}");
        self.subscribe(&reply);
        self.publish(&format!("admin/{operation}/{number}"), &body.to_string());
        let answer = self.wait_for(&reply).await;
        self.client.unsubscribe(&TopicFilter::parse(reply).unwrap());
        answer
    }

    /// An admin request that has to succeed; what it returns.
    pub(crate) async fn done(&mut self, operation: &str, body: Json) -> Json {
        let answer = self.admin(operation, body).await;
        assert_eq!(answer["ok"], json!(true), "{operation}: {answer}");
        answer["data"].clone()
    }

    /// An admin request that has to be refused; the error.
    pub(crate) async fn refused(&mut self, operation: &str, body: Json) -> Json {
        let answer = self.admin(operation, body).await;
        assert_eq!(answer["ok"], json!(false), "{operation}: {answer}");
        answer["error"].clone()
    }

    /// Registers a thing.
    pub(crate) async fn thing(&mut self, thing: &str) {
        self.done("things/create", json!({ "thing": thing })).await;
    }
}

fn message(topic: &str, payload: &str) -> Outgoing {
    Outgoing::new(name_of(topic), payload.as_bytes().to_vec()).qos(Qos::AtLeastOnce)
}

fn name_of(topic: &str) -> TopicName {
    TopicName::parse(topic.to_owned()).unwrap()
}

fn json_of(delivery: &Delivery) -> Json {
    match delivery.payload.as_ref() {
        [] => Json::Null,
        payload => serde_json::from_slice(payload).unwrap(),
    }
}

/// Lets so many milliseconds of the paused clock go by.
pub(crate) async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if is_so() {
            return;
        }
        pass(10).await;
    }
    panic!("never: {what}");
}
