//! A node that the tests share, and a place on it for each test: its own topics and client ids.

use manifold_tests::node::{Node, Site};
use manifold_tests::wire::packet::{publish, subscribe};
use manifold_tests::wire::{Ending, Hello, Message, Packet, Version, Wire};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::runtime::Runtime;

/// The node, which ends with the last test that holds it.
struct House {
    mqtt: SocketAddr,
    ws: SocketAddr,
    node: Option<Node>,
    runtime: Option<Runtime>,
    _site: Site,
}

impl House {
    /// The node that runs, or a new one.
    #[expect(clippy::disallowed_methods, reason = "the node's runtime outlives that of a test")]
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<House>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(house) = shared.upgrade() {
            return house;
        }
        // A runtime cannot be entered from within that of the test that comes first.
        let start = std::thread::spawn(Self::start);
        let house = Arc::new(start.join().expect("the node starts"));
        *shared = Arc::downgrade(&house);
        house
    }

    fn start() -> Self {
        let stranger = "security.anonymous={ namespace = \"default/default\", role = \"app\" }";
        let site = Site::new().with(stranger);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let node = runtime.block_on(site.start());
        let (mqtt, ws) = (node.mqtt(), node.ws());
        Self { mqtt, ws, node: Some(node), runtime: Some(runtime), _site: site }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(self.node.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A place of its own on the node, where one version is spoken.
pub(crate) struct Scene {
    house: Arc<House>,
    name: String,
    pub(crate) version: Version,
}

impl Scene {
    fn new(version: Version) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self { house: House::shared(), name, version }
    }

    /// One for MQTT 5.0.
    pub(crate) fn v5() -> Self {
        Self::new(Version::V5)
    }

    /// One for MQTT 3.1.1.
    pub(crate) fn v3() -> Self {
        Self::new(Version::V3)
    }

    /// One for each version.
    pub(crate) fn both() -> [Self; 2] {
        [Self::v5(), Self::v3()]
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.version == Version::V5
    }

    /// Where the node speaks MQTT over WebSocket.
    pub(crate) fn ws(&self) -> SocketAddr {
        self.house.ws
    }

    /// A topic, or filter, below the name of the scene.
    pub(crate) fn topic(&self, rest: &str) -> String {
        format!("{}/{rest}", self.name)
    }

    /// A CONNECT of a client without a name, with a clean session.
    pub(crate) fn hello(&self, client: &str) -> Hello {
        Hello::new(self.version, &format!("{}{client}", self.name))
    }

    /// A connection on which nothing has been said.
    pub(crate) async fn open(&self) -> Wire {
        Wire::open(self.house.mqtt, self.version).await
    }

    /// A client that has been welcomed.
    pub(crate) async fn enter(&self, hello: &Hello) -> Wire {
        Wire::connect(self.house.mqtt, hello).await
    }

    /// A client with a clean session.
    pub(crate) async fn client(&self, client: &str) -> Wire {
        self.enter(&self.hello(client)).await
    }

    /// A client with a clean session and one subscription, which is granted as asked for.
    pub(crate) async fn subscriber(&self, client: &str, filter: &str, qos: u8) -> Wire {
        let mut wire = self.client(client).await;
        assert_eq!(wire.subscribe(&self.topic(filter), qos).await, qos);
        wire
    }

    /// A PUBLISH of this version.
    pub(crate) fn publish(&self, topic: &str, payload: &str, flags: u8, packet_id: u16) -> Vec<u8> {
        let topic = self.topic(topic);
        publish(self.version, topic.as_bytes(), payload.as_bytes(), flags, packet_id)
    }

    /// A SUBSCRIBE of this version.
    pub(crate) fn subscribe(&self, packet_id: u16, filter: &str, options: u8) -> Vec<u8> {
        subscribe(self.version, packet_id, self.topic(filter).as_bytes(), options)
    }

    /// A welcome client says something wrong: with version 5 it is told `code`, and it is closed.
    pub(crate) async fn ends(&self, what: &str, bytes: &[u8], code: u8) {
        let mut wire = self.client("offender").await;
        wire.send(bytes).await;
        self.assert_ended(what, &mut wire, code).await;
    }

    /// The next that a client hears is its end: with version 5 it is told `code` before.
    pub(crate) async fn assert_ended(&self, what: &str, wire: &mut Wire, code: u8) {
        if self.is_v5() {
            let told = wire.next().await;
            assert_eq!(told, Some(Packet::Disconnect { code }), "{what}");
        }
        assert_eq!(wire.next().await, None, "{what}: {:?}", self.version);
    }

    /// What becomes of a stranger who says this.
    pub(crate) async fn turned_away(&self, bytes: &[u8]) -> Ending {
        let mut wire = self.open().await;
        wire.send(bytes).await;
        wire.ending().await
    }

    /// A CONNECT that does not conform is closed; only version 5 may say why (MQTT 3.1.1 3.1.4-1).
    pub(crate) async fn assert_malformed(&self, what: &str, connect: &[u8]) {
        let ending = self.turned_away(connect).await;
        let may_be = match self.is_v5() {
            true => vec![Ending::Closed, Ending::Refused(0x81), Ending::Refused(0x82)],
            false => vec![Ending::Closed],
        };
        assert!(may_be.contains(&ending), "{what}: {:?} ends with {ending:?}", self.version);
    }

    /// The next message to arrive is the one that a bystander now sends to `topic`: nothing came before it.
    pub(crate) async fn assert_nothing_before(&self, wire: &mut Wire, topic: &str) {
        let mut bystander = self.client("bystander").await;
        assert_eq!(bystander.publish_acked(&self.topic(topic), b"marker").await, 0);
        let next = wire.next_message().await;
        assert_eq!(next.text(), "marker", "{next:?}");
        bystander.leave().await;
    }

    /// The retained message that a new subscriber gets.
    pub(crate) async fn retained(&self, topic: &str) -> Option<Message> {
        let topic = self.topic(topic);
        let marker = self.topic("end-of-retained");
        let mut wire = self.client("late").await;
        wire.subscribe(&topic, 2).await;
        wire.subscribe(&marker, 0).await;
        wire.publish(&marker, b"").await;
        let mut messages = wire.messages_until(&marker).await;
        messages.pop();
        assert!(messages.len() <= 1, "{messages:?}");
        wire.leave().await;
        messages.pop()
    }
}
