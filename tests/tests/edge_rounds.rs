//! An edge node and its hub with a bad line between them, and `kill -9` of either: what was published at the edge node
//! arrives at the hub once, none left out, in the order of its lane.
//!
//! `MANIFOLD_CRASH_ROUNDS` sets the number of rounds, `MANIFOLD_SEED` repeats a run's choices.

use manifold_tests::admin::Admin;
use manifold_tests::bridges::hello;
use manifold_tests::edges::{EDGE, Hub};
use manifold_tests::exactly::Publisher;
use manifold_tests::node::Node;
use manifold_tests::process::PATIENCE;
use manifold_tests::proxy::{Mood, Proxy};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::{Message, Packet, Property, Wire, packet};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const ROUNDS: u64 = 8;

const TOPICS: [&str; 3] = ["uns/acme/_raw/a", "uns/acme/_raw/b", "uns/acme/_raw/c"];

/// What has arrived at the hub.
#[derive(Default)]
struct Arrived {
    /// Identifiers of messages taken and not released.
    taken: BTreeSet<u16>,
    numbers: BTreeMap<String, BTreeSet<u64>>,
    /// The last of each topic and lane.
    last: BTreeMap<(String, bool), u64>,
    historical: u64,
}

impl Arrived {
    /// Takes one packet of a subscriber with QoS 2 and answers it.
    async fn take(&mut self, packet: Packet, wire: &mut Wire) {
        match packet {
            Packet::Publish(message) => {
                if self.taken.insert(message.packet_id) {
                    self.count(&message);
                }
                wire.send(&packet::pub_rec(message.packet_id)).await;
            }
            Packet::PubRel { packet_id, .. } => {
                self.taken.remove(&packet_id);
                wire.send(&packet::pub_comp(packet_id)).await;
            }
            Packet::Disconnect { .. } => {}
            other => panic!("a subscriber is given {other:?}"),
        }
    }

    fn count(&mut self, message: &Message) {
        let number: u64 = message.text().parse().expect("a number was published");
        let topic = &message.topic;
        let is_new = self.numbers.entry(topic.clone()).or_default().insert(number);
        assert!(is_new, "{topic}: {number} has come twice");
        let is_it =
            |it: &Property| matches!(it, Property::UserProperty(name, _) if name == "historical");
        let is_historical = message.properties.iter().any(is_it);
        self.historical += u64::from(is_historical);
        let last = self.last.insert((topic.clone(), is_historical), number).unwrap_or(0);
        assert!(last < number, "{topic}: {number} has come after {last}");
    }

    fn has_all(&self, topic: &str, begun: u64) -> bool {
        let numbers = self.numbers.get(topic);
        numbers.is_some_and(|it| it.len() as u64 == begun && it.last() == Some(&begun))
    }
}

/// A connection to a node that may be down, as a client with a session; `None` once the test is over.
async fn enter(
    address: SocketAddr,
    client_id: &str,
    is_over: &watch::Receiver<bool>,
) -> Option<Wire> {
    while !*is_over.borrow() {
        if TcpStream::connect(address).await.is_ok() {
            let hello = hello(client_id).persistent();
            // The node may be killed in the middle of that, which then ends the task.
            let entering = tokio::spawn(async move { Wire::connect(address, &hello).await });
            if let Ok(wire) = entering.await {
                return Some(wire);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_comes_twice_whatever_happens_between_edge_and_hub() {
    let rounds = std::env::var("MANIFOLD_CRASH_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |it| it.parse().expect("the rounds are a number"));
    let seed = random::seed();
    let mut random = Random::new(seed);
    println!("seed {seed}, {rounds} rounds");

    let (hub, hub_node) = Hub::found().await;
    let hub_address = hub_node.mqtt();
    let mut listener = hub_node.client(&hello("at-hub").persistent()).await;
    assert_eq!(listener.subscribe("uns/acme/#", 2).await, 2);
    let proxy = Proxy::to(hub_address).await;
    let edge_port = manifold_tests::bridges::free_port();
    let edge_site = hub.edge(proxy.port()).with(&format!("listen.mqtt=127.0.0.1:{edge_port}"));
    let mut edge = Some(edge_site.start().await);
    let edge_address = SocketAddr::from(([127, 0, 0, 1], edge_port));
    let mut hub_now: Option<Node> = Some(hub_node);

    let (over, is_over) = watch::channel(false);
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    let hearing = tokio::spawn(hear(hub_address, Arc::clone(&arrived)));
    drop(listener);
    let publishers =
        TOPICS.map(|topic| tokio::spawn(publish(edge_address, topic, is_over.clone())));
    doubled(&proxy, hub_now.as_ref().expect("it runs")).await;
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(50 + random.below(250))).await;
        match random.below(7) {
            0 => edge.take().expect("it runs").kill().await,
            1 => hub_now.take().expect("it runs").kill().await,
            2 => proxy.set(Mood::Cut),
            3 => proxy.set(Mood::Deaf),
            4 => proxy.set(Mood::Stalled),
            5 => proxy.set(Mood::Doubling),
            _ => proxy.set(Mood::Slow(30)),
        }
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        // What was swallowed is sent again only by another connection.
        proxy.set(Mood::Cut);
        tokio::time::sleep(Duration::from_millis(5)).await;
        proxy.set(Mood::Passing);
        if edge.is_none() {
            edge = Some(edge_site.start().await);
        }
        if hub_now.is_none() {
            hub_now = Some(hub.site.start().await);
        }
    }
    over.send_replace(true);
    // The publishers end with their connections, and not in the middle of something.
    edge.take().expect("it runs").kill().await;
    let _edge = edge_site.start().await;
    let mut begun = BTreeMap::new();
    for publisher in publishers {
        let mut publisher = publisher.await.expect("a publisher ends by itself");
        let wire = Wire::connect(edge_address, &hello(publisher.topic()).persistent()).await;
        publisher.finish(wire).await;
        begun.insert(publisher.topic().to_owned(), publisher.begun());
    }
    let is_whole = arrive(&arrived, &begun, &hearing).await;
    let mut admin = Admin::enter(hub_now.as_ref().expect("it runs")).await;
    let status = admin.must("edges", "get", json!({ "edge": EDGE })).await["status"].clone();
    hearing.abort();
    let arrived = arrived.lock().await;
    let counts: Vec<_> = arrived.numbers.iter().map(|(topic, it)| (topic, it.len())).collect();
    println!("published {begun:?}, arrived {counts:?}, {} historical", arrived.historical);
    assert!(is_whole, "seed {seed}: published {begun:?}, arrived {counts:?}, {status}");
    assert_eq!((&status["lost"], &status["refused"]), (&json!(0), &json!(0)), "{status}");
    assert!(status["again"].as_u64() > Some(0), "the hub has been given nothing twice: {status}");
}

/// Has what goes up come twice, until the hub has noticed some of it. A client gives a connection up on which an
/// acknowledgement comes twice, so that only what is on its way then is doubled.
async fn doubled(proxy: &Proxy, hub: &Node) {
    let deadline = Instant::now() + PATIENCE;
    let mut taken = 0;
    while hub.figure("actors_edge_records_again_total").await == 0 {
        assert!(Instant::now() < deadline, "the hub is given nothing twice");
        proxy.set(Mood::Passing);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = hub.figure("actors_edge_records_total").await;
        if now > taken {
            taken = now;
            proxy.set(Mood::Doubling);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Waits until everything has arrived; whether it has in time.
async fn arrive(
    arrived: &Mutex<Arrived>,
    begun: &BTreeMap<String, u64>,
    hearing: &JoinHandle<()>,
) -> bool {
    let is_whole = || {
        let arrived = arrived.try_lock();
        arrived
            .is_ok_and(|arrived| begun.iter().all(|(topic, begun)| arrived.has_all(topic, *begun)))
    };
    let waiting = async {
        while !is_whole() {
            assert!(!hearing.is_finished(), "the subscriber has ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.is_ok()
}

async fn publish(edge: SocketAddr, topic: &str, is_over: watch::Receiver<bool>) -> Publisher {
    let mut publisher = Publisher::new(topic);
    while let Some(wire) = enter(edge, topic, &is_over).await {
        publisher.work(wire).await;
    }
    publisher
}

/// Hears over any number of connections.
async fn hear(hub: SocketAddr, arrived: Arc<Mutex<Arrived>>) {
    // It goes on after the publishers have ended, until it is aborted.
    let (_never, not_over) = watch::channel(false);
    while let Some(mut wire) = enter(hub, "at-hub", &not_over).await {
        loop {
            match wire.next_within(Duration::from_secs(5)).await {
                Ok(Some(packet)) => arrived.lock().await.take(packet, &mut wire).await,
                Ok(None) => break,
                Err(_) => {}
            }
        }
    }
}
