//! Memory that runs short: new work is refused, what is there lives on, and an operator can act.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::packet::publish;
use manifold_tests::wire::{Ending, Hello, Version, Wire};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Several times what a node takes that has nothing to do.
const WATERMARK_BYTES: u64 = 128 * 1024 * 1024;

/// Clients that read nothing, each with a queue of 16 MiB: together more than the watermark.
const SLOW: usize = 14;

/// A part of the time in which the node looks at its memory once.
const LOOK: Duration = Duration::from_millis(80);

const SERVER_BUSY: u8 = 0x89;
const QUOTA_EXCEEDED: u8 = 0x97;

async fn site() -> Site {
    Site::new()
        .with(&format!("limits.memory_bytes_max={WATERMARK_BYTES}"))
        .with("limits.slow_subscriber_wait_ms=0")
        .with("broker.sys_interval_secs=1")
        .with("security.anonymous={ namespace = \"default/default\", role = \"app\" }")
}

fn app(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id)
}

fn operator(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id).user("system/system/admin", SECRET)
}

/// Whether the node says that memory is short.
async fn is_short(node: &Node) -> bool {
    node.get("/metrics").await.contains("\nbroker_memory_short 1\n")
}

/// Clients that subscribe and then read no more, with as much queued for them as the node takes.
async fn fill(node: &Node, publisher: &mut Wire) -> Vec<Wire> {
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let mut wire = node.client(&app(&format!("slow{number}"))).await;
        assert_eq!(wire.subscribe(&format!("fill/{number}"), 0).await, 0);
        slow.push(wire);
    }
    let payload = vec![b'x'; 4096];
    'filling: for number in 0..SLOW {
        let topic = format!("fill/{number}");
        let message = publish(Version::V5, topic.as_bytes(), &payload, 0, 0);
        let mebibytes = message.repeat(2 * 256);
        for _ in 0..12 {
            publisher.send(&mebibytes).await;
            // Time to look: how far it goes past the watermark before it knows is not the question here.
            tokio::time::sleep(LOOK).await;
            if is_short(node).await {
                break 'filling;
            }
        }
    }
    slow
}

/// A client that the node does not know, and how it is received.
async fn stranger(node: &Node, version: Version) -> Ending {
    let mut wire = Wire::open(node.mqtt(), version).await;
    wire.send(&Hello::new(version, "stranger").encode()).await;
    match wire.next().await {
        Some(manifold_tests::wire::Packet::ConnAck { code: 0, .. }) => Ending::Open,
        Some(manifold_tests::wire::Packet::ConnAck { code, .. }) => Ending::Refused(code),
        other => panic!("no CONNACK but {other:?}"),
    }
}

async fn until_short(node: &Node, expected: bool) {
    let start = Instant::now();
    while is_short(node).await != expected {
        if start.elapsed() > Duration::from_secs(20) {
            panic!("memory should be short: {expected}\n{}", node.get("/metrics").await);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn past_the_watermark_new_work_is_refused_and_the_rest_goes_on() {
    let mut node = site().await.start().await;
    let mut away = node.client(&app("away").persistent()).await;
    assert_eq!(away.subscribe("kept/#", 1).await, 1);
    away.leave().await;
    let mut hearing = node.client(&app("hearing")).await;
    assert_eq!(hearing.subscribe("live/#", 1).await, 1);
    let mut lasting = node.client(&app("lasting").persistent()).await;
    assert_eq!(lasting.subscribe("live/#", 1).await, 1);
    let mut speaking = node.client(&app("speaking")).await;
    assert_eq!(speaking.retain("state/old", b"1").await, 0);
    let mut flooding = node.client(&app("flooding")).await;

    let slow = fill(&node, &mut flooding).await;
    until_short(&node, true).await;
    node.logs("memory is short").await;
    assert!(node.get("/readyz").await.starts_with("HTTP/1.1 200"));

    assert_eq!(stranger(&node, Version::V5).await, Ending::Refused(SERVER_BUSY));
    assert_eq!(stranger(&node, Version::V3).await, Ending::Refused(3));
    assert_eq!(hearing.subscribe("more/#", 1).await, QUOTA_EXCEEDED);
    assert_eq!(hearing.subscribe("live/#", 1).await, 1, "it has that one");
    assert_eq!(speaking.publish_acked("kept/1", b"x").await, QUOTA_EXCEEDED);
    assert_eq!(speaking.retain("state/new", b"x").await, QUOTA_EXCEEDED);
    assert_eq!(speaking.retain("state/old", b"2").await, 0, "it takes the place of another");
    for number in 0..20 {
        let text = number.to_string();
        assert_eq!(speaking.publish_acked("live/1", text.as_bytes()).await, 0);
        assert_eq!(hearing.next_message().await.text(), text);
        assert_eq!(lasting.next_message().await.text(), text);
    }
    let returned = node.client(&app("away").persistent()).await;
    assert!(returned.is_session_present());

    let mut root = node.client(&operator("root")).await;
    assert_eq!(root.subscribe("$SYS/broker/memory/short", 0).await, 0);
    while root.next_message().await.text() != "1" {}
    let mut admin = Admin::enter(&node).await;
    for number in 0..SLOW {
        let body = json!({ "client_id": format!("slow{number}") });
        admin.must("connections", "disconnect", body).await;
    }
    drop(slow);
    until_short(&node, false).await;
    node.logs("memory suffices again").await;

    assert_eq!(stranger(&node, Version::V5).await, Ending::Open);
    assert_eq!(hearing.subscribe("more/#", 1).await, 1);
    assert_eq!(speaking.publish_acked("kept/2", b"x").await, 0);
    assert_eq!(speaking.retain("state/new", b"x").await, 0);
    while root.next_message().await.text() != "0" {}
    let metrics = node.get("/metrics").await;
    for line in ["broker_memory_exceeded_total 1\n", "broker_refused_memory_total 2\n"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    node.assert_alive();
}
