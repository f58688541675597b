//! Why connections end and CONNECTs are refused: in the log, in events and in figures, under the same words.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Ending, Hello, Version, Wire, packet};
use serde_json::{Value, json};

fn hello(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id).user("admin", SECRET)
}

/// One that hears what the broker tells of clients.
async fn watcher(node: &Node) -> Wire {
    let mut watcher = node.client(&hello("watcher")).await;
    watcher.subscribe("events/clients/#", 1).await;
    watcher
}

/// The event of the end of a client.
async fn end_of(watcher: &mut Wire, client_id: &str) -> Value {
    loop {
        let message = watcher.next_message().await;
        let event = message.json();
        if message.topic == "events/clients/disconnected" && event["client_id"] == client_id {
            return event;
        }
    }
}

/// How a client comes to its end: the word, its code, and what it does.
const ENDS: [(&str, Option<u8>); 6] = [
    ("normal", Some(0x00)),
    ("normal_with_will", Some(0x04)),
    ("connection_lost", None),
    ("protocol_error", Some(0x82)),
    ("administrative_action", Some(0x98)),
    ("session_taken_over", Some(0x8E)),
];

#[tokio::test]
async fn each_end_is_told_with_its_reason_by_log_event_and_figures() {
    let site = Site::new().with("log.level=debug");
    let mut node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let mut watcher = watcher(&node).await;
    for (word, code) in ENDS {
        let client_id = format!("ends-{word}");
        let mut client = node.client(&hello(&client_id)).await;
        match word {
            "normal" => client.leave().await,
            "normal_with_will" => client.send(&packet::disconnect(0x04, &[])).await,
            "connection_lost" => drop(client),
            // A packet that only a server sends.
            "protocol_error" => {
                client.send(&packet::frame(0xD0, &[])).await;
                assert_eq!(client.ending().await, Ending::Disconnected(0x82));
            }
            "administrative_action" => {
                let body = json!({ "client_id": client_id });
                admin.must("connections", "disconnect", body).await;
            }
            _ => drop(node.client(&hello(&client_id)).await),
        }
        let event = end_of(&mut watcher, &client_id).await;
        assert_eq!(event["reason"], word, "{event}");
        assert_eq!(event["code"].as_u64(), code.map(u64::from), "{event}");
        assert!(event["address"].is_string() && event["t"].is_u64(), "{event}");
        let line = node.logs(&format!("connection ended client=\"{client_id}\"")).await;
        for part in ["namespace=default/default", "listener=\"mqtt\"", "address=127.0.0.1:"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(line.contains(&format!("reason=\"{word}\"")), "{line}");
        if let Some(code) = code {
            assert!(line.contains(&format!("code=\"0x{code:02X}\"")), "{line}");
        }
        let metrics = node.get("/metrics").await;
        let figure = format!("broker_connections_ended_total{{reason=\"{word}\"}} ");
        let count = metrics.split(&figure).nth(1).unwrap_or_default();
        assert!(!count.starts_with('0') && !count.is_empty(), "{figure}: {metrics}");
        let shown = admin.must("metrics", "get", json!({})).await;
        assert!(shown["endings"]["ended"][word].as_u64() >= Some(1), "{word} in {shown}");
    }
}

#[tokio::test]
async fn each_refusal_is_told_with_its_reason() {
    let mut node = Site::new().start().await;
    let wrong = Hello::new(Version::V5, "guess").user("admin", "wrong");
    let mut client = Wire::open(node.mqtt(), Version::V5).await;
    client.send(&wrong.encode()).await;
    assert_eq!(client.ending().await, Ending::Refused(0x86));
    let line = node.logs("client refused: wrong password").await;
    assert!(line.contains("client_id=\"guess\"") && line.contains("code=\"0x86\""), "{line}");
    // A client id that another identity's session has.
    let mut admin = Admin::enter(&node).await;
    let secret = admin.create_user("other", "app").await;
    let _first = node.client(&hello("taken")).await;
    let mut client = Wire::open(node.mqtt(), Version::V5).await;
    client.send(&Hello::new(Version::V5, "taken").user("other", &secret).encode()).await;
    assert_eq!(client.ending().await, Ending::Refused(0x85));
    let line = node.logs("connection refused: ").await;
    for part in ["client=\"taken\"", "reason=\"client_id_not_valid\"", "code=\"0x85\""] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let metrics = node.get("/metrics").await;
    for reason in ["bad_user_name_or_password", "client_id_not_valid"] {
        let figure = format!("broker_connects_refused_total{{reason=\"{reason}\"}} 1\n");
        assert!(metrics.contains(&figure), "{figure} in {metrics}");
    }
}

#[tokio::test]
async fn a_flood_of_ends_cannot_fill_the_disk() {
    let node = Site::new().start().await;
    const FLOOD: usize = 600;
    let mut admin = Admin::enter(&node).await;
    // Each wrong, at once, and each a line of its own if lines were not bounded.
    let mut wires = Vec::new();
    for _ in 0..FLOOD {
        let mut wire = Wire::open(node.mqtt(), Version::V5).await;
        wire.send(b"GET / HTTP/1.1\r\n\r\n").await;
        wires.push(wire);
    }
    for mut wire in wires {
        assert_eq!(wire.ending().await, Ending::Closed);
    }
    let figures = admin.must("metrics", "get", json!({})).await;
    let refused = figures["endings"]["refused"]["protocol_error"].as_u64().unwrap_or_default();
    assert_eq!(refused, FLOOD as u64, "each is counted: {figures}");
    let left_out = figures["broker"]["log_lines_left_out"].as_u64().unwrap_or_default();
    let (_, log) = node.terminate().await;
    let lines = log.lines().filter(|line| line.contains("connection refused")).count() as u64;
    assert_eq!(lines + left_out, FLOOD as u64, "a line is written or counted as left out");
}
