//! MQTT over WebSocket: the same node, the same sessions, packets cut anywhere across frames.

use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Ending, Hello, Version, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn hello(version: Version, client_id: &str) -> Hello {
    Hello::new(version, client_id).user("admin", SECRET)
}

async fn connect(node: &Node, hello: &Hello) -> Wire {
    let mut wire = Wire::open_web_socket(node.ws(), hello.version).await;
    wire.greet(hello).await;
    wire
}

#[tokio::test]
async fn both_versions_subscribe_and_hear_each_other_and_tcp() {
    let node = Site::new().start().await;
    let mut tcp = node.client(&hello(Version::V5, "tcp")).await;
    assert_eq!(tcp.subscribe("ws/+", 1).await, 1);
    assert!(tcp.retain("ws/kept", b"before").await <= 0x10);
    assert_eq!(tcp.next_message().await.text(), "before");
    for (version, name) in [(Version::V5, "five"), (Version::V3, "three")] {
        let mut web = connect(&node, &hello(version, name)).await;
        assert_eq!(web.subscribe("ws/+", 1).await, 1);
        let kept = web.next_message().await;
        assert!(kept.is_retained && kept.text() == "before");
        let large = "x".repeat(100_000);
        assert_eq!(web.publish_acked("ws/1", large.as_bytes()).await, 0);
        assert_eq!(web.next_message().await.text(), large);
        assert_eq!(tcp.next_message().await.text(), large);
        tcp.publish("ws/2", "温度".as_bytes()).await;
        assert_eq!(web.next_message().await.text(), "温度");
        assert_eq!(tcp.next_message().await.text(), "温度");
        web.leave().await;
    }
}

#[tokio::test]
async fn a_session_moves_between_transports() {
    let node = Site::new().start().await;
    let hello = hello(Version::V5, "mobile").persistent();
    let mut web = connect(&node, &hello).await;
    assert_eq!(web.subscribe("ws/+", 1).await, 1);
    web.leave().await;
    let mut speaker = node.client(&self::hello(Version::V5, "speaker")).await;
    assert_eq!(speaker.publish_acked("ws/1", b"kept").await, 0);
    let mut tcp = node.client(&hello).await;
    assert!(tcp.is_session_present());
    assert_eq!(tcp.next_message().await.text(), "kept");
}

#[tokio::test]
async fn bad_input_ends_one_web_socket_only() {
    let mut node = Site::new().start().await;
    let mut other = connect(&node, &hello(Version::V5, "other")).await;
    assert_eq!(other.subscribe("ws/+", 1).await, 1);
    let mut web = connect(&node, &hello(Version::V5, "offender")).await;
    web.send(&[0x00, 0]).await;
    assert_eq!(web.ending().await, Ending::Disconnected(0x81));
    for request in ["GET /elsewhere HTTP/1.1\r\n", "GET /mqtt HTTP/1.1\r\n", "nonsense\r\n"] {
        let mut stream = TcpStream::connect(node.ws()).await.expect("it listens");
        let request = format!("{request}Host: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        // What it says is its choice, that it closes is not.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(other.publish_acked("ws/1", b"x").await, 0);
    assert_eq!(other.next_message().await.text(), "x");
    node.assert_alive();
}

#[tokio::test]
async fn a_slow_reader_gets_a_burst_to_its_end() {
    // Messages nearly as large as a socket takes at once, and more of them than all its buffers hold: in each round the
    // last of them is likely to be left in part with the WebSocket, when nothing else is to be said.
    const COUNT: usize = 12;
    let node = Site::new().start().await;
    let mut slow = connect(&node, &hello(Version::V5, "slow")).await;
    assert_eq!(slow.subscribe("burst/+", 0).await, 0);
    let mut speaker = node.client(&hello(Version::V5, "speaker")).await;
    let payload = vec![7; 1_000_000];
    for round in 0..10 {
        for _ in 1..COUNT {
            speaker.publish("burst/1", &payload).await;
        }
        assert_eq!(speaker.publish_acked("burst/end", &payload).await, 0);
        for index in 1..=COUNT {
            let message = slow.next_message().await;
            assert_eq!(message.topic == "burst/end", index == COUNT, "{round}: {index}");
            assert_eq!(message.payload.len(), payload.len());
        }
    }
}
