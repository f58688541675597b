//! Floods of every kind: each costs a bounded amount, and clients that have nothing to do with it go on meanwhile.

use manifold_tests::node::{Node, Site};
use manifold_tests::wire::packet::{binary, frame, publish, subscribe};
use manifold_tests::wire::{Ending, Hello, Packet, Version, Wire};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

/// What a node may grow by while it is flooded.
const GROWTH_BYTES_MAX: u64 = 96 * 1024 * 1024;

const TOPIC_FILTER_INVALID: u8 = 0x8F;
const TOPIC_NAME_INVALID: u8 = 0x90;
const QUOTA_EXCEEDED: u8 = 0x97;

/// The most levels of a topic.
const LEVELS_MAX: usize = 128;

fn hello(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id)
}

/// A node that lets anybody in, and two clients that talk to each other.
struct Scene {
    node: Node,
    before_bytes: u64,
    bystanders: Option<(Wire, Wire)>,
}

impl Scene {
    async fn start(settings: &[&str]) -> Self {
        let anybody = "security.anonymous={ namespace = \"default/default\", role = \"app\" }";
        let site = settings.iter().fold(Site::new().with(anybody), |site, it| site.with(it));
        let node = site.start().await;
        let speaking = node.client(&hello("speaking")).await;
        let mut hearing = node.client(&hello("hearing")).await;
        assert_eq!(hearing.subscribe("calm", 1).await, 1);
        let before_bytes = node.resident_bytes();
        Self { node, before_bytes, bystanders: Some((speaking, hearing)) }
    }

    async fn client(&self, client_id: &str) -> Wire {
        self.node.client(&hello(client_id)).await
    }

    /// Has the bystanders talk until the flood is over, and at least once afterwards.
    async fn weather<T: 'static>(&mut self, flood: JoinHandle<T>) -> T {
        let (mut speaking, mut hearing) = self.bystanders.take().expect("they are there");
        let mut rounds = 0_u32;
        loop {
            let is_over = flood.is_finished();
            let text = rounds.to_string();
            assert_eq!(speaking.publish_acked("calm", text.as_bytes()).await, 0);
            assert_eq!(hearing.next_message().await.text(), text);
            rounds += 1;
            if is_over {
                break;
            }
        }
        self.bystanders = Some((speaking, hearing));
        self.node.assert_alive();
        let grown = self.node.resident_bytes().saturating_sub(self.before_bytes);
        assert!(grown < GROWTH_BYTES_MAX, "it has grown by {} KiB", grown / 1024);
        flood.await.expect("the flood went as it should")
    }
}

#[tokio::test]
async fn a_packet_that_comes_byte_by_byte_is_no_sign_of_life() {
    let mut scene = Scene::start(&[]).await;
    let mut dripping = scene.node.client(&Hello { keep_alive_secs: 1, ..hello("dripping") }).await;
    let flood = tokio::spawn(async move {
        // Three times as long as it may be silent, if each byte counted.
        for byte in publish(Version::V5, b"drip", &[b'x'; 100], 0, 0).into_iter().take(30) {
            dripping.send(&[byte]).await;
            if let Ok(told) = dripping.next_within(Duration::from_millis(150)).await {
                return told;
            }
        }
        None
    });
    assert_eq!(scene.weather(flood).await, Some(Packet::Disconnect { code: 0x8D }));
}

#[tokio::test]
async fn sockets_and_clients_that_come_by_the_hundred() {
    let settings = ["limits.handshakes_per_address_max=50", "limits.connect_timeout_ms=2000"];
    let mut scene = Scene::start(&settings).await;
    let address = scene.node.mqtt();
    let flood = tokio::spawn(async move {
        let mut silent = Vec::new();
        for index in 0..200 {
            let mut wire = Wire::open(address, Version::V5).await;
            // Half of them stop in the middle of their CONNECT.
            wire.send(if index % 2 == 0 { &[] } else { &[0x10, 100, 0, 4, b'M'] }).await;
            silent.push(wire);
        }
        for wire in &mut silent {
            assert_eq!(wire.ending().await, Ending::Closed);
        }
        let mut clients = JoinSet::new();
        for client in 0..40 {
            clients.spawn(async move {
                for _ in 0..10 {
                    Wire::connect(address, &hello(&format!("c{client}"))).await.leave().await;
                }
            });
        }
        clients.join_all().await;
    });
    scene.weather(flood).await;
    let metrics = scene.node.get("/metrics").await;
    assert!(!metrics.contains("\nbroker_handshakes_refused_total 0\n"), "{metrics}");
}

/// One SUBSCRIBE with as many filters as there are letters for, each a level deeper in wildcards than looks harmless.
fn bomb(count: usize) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    for number in 0..count {
        binary(&mut body, format!("+/+/+/+/+/+/{number}/+/#").as_bytes());
        body.push(0);
    }
    frame(0x82, &body)
}

#[tokio::test]
async fn subscriptions_by_the_thousand_in_one_packet() {
    let mut scene = Scene::start(&["limits.subscriptions_max=500"]).await;
    let mut bombers = Vec::new();
    for number in 0..20 {
        bombers.push(scene.client(&format!("bomber{number}")).await);
    }
    let flood = tokio::spawn(async move {
        for wire in &mut bombers {
            wire.send(&bomb(2000)).await;
            let Some(Packet::SubAck { codes, .. }) = wire.next().await else { panic!("no SUBACK") };
            assert_eq!(codes.len(), 2000);
            assert!(codes[..500].iter().all(|code| *code == 0), "{codes:?}");
            assert!(codes[500..].iter().all(|code| *code == QUOTA_EXCEEDED), "{codes:?}");
        }
        let mut publisher = bombers.pop().expect("there are some");
        let first = &mut bombers[0];
        for number in 0..500 {
            let topic = format!("a/b/c/d/e/f/{number}/g/h");
            publisher.publish(&topic, b"x").await;
            assert_eq!(first.next_message().await.topic, topic);
        }
        for wire in bombers {
            drop(wire);
        }
    });
    scene.weather(flood).await;
}

#[tokio::test]
async fn topics_as_deep_as_they_can_be() {
    let mut scene = Scene::start(&[]).await;
    let mut client = scene.client("deep").await;
    let flood = tokio::spawn(async move {
        let deepest = vec!["d"; LEVELS_MAX].join("/");
        let too_deep = format!("{deepest}/d");
        assert_eq!(client.subscribe(&too_deep, 0).await, TOPIC_FILTER_INVALID);
        assert_eq!(client.publish_acked(&too_deep, b"x").await, TOPIC_NAME_INVALID);
        assert_eq!(client.subscribe(&vec!["+"; LEVELS_MAX].join("/"), 0).await, 0);
        assert_eq!(client.publish_acked(&deepest, b"x").await, 0);
        assert_eq!(client.next_message().await.topic, deepest);
        // Branches at every level: each combination of two literals with wildcards around it.
        for level in 0..LEVELS_MAX {
            let mut levels = vec!["+"; LEVELS_MAX];
            levels[level] = "d";
            assert_eq!(client.subscribe(&levels.join("/"), 0).await, 0);
        }
        for _ in 0..100 {
            assert_eq!(client.publish_acked(&deepest, b"x").await, 0);
            assert_eq!(client.next_message().await.topic, deepest);
        }
    });
    scene.weather(flood).await;
}

#[tokio::test]
async fn everything_retained_asked_for_by_many_at_once() {
    const RETAINED: u32 = 2000;
    let mut scene = Scene::start(&[]).await;
    let mut publisher = scene.client("publisher").await;
    for number in 0..RETAINED {
        let topic = format!("kept/{}/{number}", number % 7);
        publisher.send(&publish(Version::V5, topic.as_bytes(), &[b'x'; 1000], 1, 0)).await;
    }
    assert_eq!(publisher.retain("kept/last", b"x").await, 0);
    let address = scene.node.mqtt();
    let flood = tokio::spawn(async move {
        // Some ask and never read.
        let mut deaf = Vec::new();
        for number in 0..20 {
            let mut wire = Wire::connect(address, &hello(&format!("deaf{number}"))).await;
            wire.send(&subscribe(Version::V5, 1, b"kept/#", 1)).await;
            deaf.push(wire);
        }
        let mut scans = JoinSet::new();
        for number in 0..20 {
            scans.spawn(async move {
                let mut wire = Wire::connect(address, &hello(&format!("scan{number}"))).await;
                assert_eq!(wire.subscribe("kept/#", 0).await, 0);
                for _ in 0..=RETAINED {
                    assert!(wire.next_message().await.is_retained);
                }
            });
        }
        scans.join_all().await;
    });
    scene.weather(flood).await;
}
