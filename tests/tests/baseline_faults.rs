//! Faults of rumqttd 0.20, the broker of comparison, as tests that this broker passes.
//!
//! ARCHITECTURE.md tells them as reasons for a broker core of our own. Those about topics of any script,
//! bad input, lost acknowledged messages and isolation have tests of their own beside this one.

use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::packet::{binary, frame};
use manifold_tests::wire::{Hello, Packet, Version, Wire};
use tokio::net::TcpStream;

async fn client(node: &Node, version: Version, client_id: &str) -> Wire {
    node.client(&Hello::new(version, client_id).user("admin", SECRET)).await
}

/// The node still takes new clients, and they hear each other.
async fn goes_on(mut node: Node) {
    let mut fresh = client(&node, Version::V5, "fresh").await;
    assert_eq!(fresh.subscribe("after/+", 1).await, 1);
    assert_eq!(fresh.publish_acked("after/1", b"x").await, 0);
    assert_eq!(fresh.next_message().await.topic, "after/1");
    node.assert_alive();
}

#[tokio::test]
async fn properties_of_version_5_do_not_end_subscribers_of_3_1_1() {
    let node = Site::new().start().await;
    let mut old = client(&node, Version::V3, "old").await;
    assert_eq!(old.subscribe("a/+", 0).await, 0);
    let mut new = client(&node, Version::V5, "new").await;
    let mut body = Vec::new();
    binary(&mut body, b"a/1");
    // Content type and payload format.
    body.extend(b"\x0B\x03\x00\x06text/a\x01\x01hello");
    new.send(&frame(0x30, &body)).await;
    assert_eq!(old.next_message().await.text(), "hello");
    new.publish("a/2", b"again").await;
    assert_eq!(old.next_message().await.text(), "again");
    goes_on(node).await;
}

#[tokio::test]
async fn leaving_in_the_middle_of_heavy_delivery_ends_nobody_else() {
    let node = Site::new().start().await;
    let mut speaker = client(&node, Version::V5, "speaker").await;
    let payload = [7; 4096];
    for round in 0..10 {
        let mut listener = client(&node, Version::V5, &format!("listener-{round}")).await;
        assert_eq!(listener.subscribe("heavy/+", round % 2).await, round % 2);
        for _ in 0..500 {
            speaker.publish("heavy/1", &payload).await;
        }
        listener.next_message().await;
        if round < 5 {
            listener.send(&frame(0xE0, &[])).await;
        }
        drop(listener);
    }
    goes_on(node).await;
}

#[tokio::test]
async fn the_last_member_of_a_group_may_leave_with_a_message_in_flight() {
    let node = Site::new().start().await;
    let mut speaker = client(&node, Version::V5, "speaker").await;
    for version in [Version::V5, Version::V3] {
        let mut member = client(&node, version, "member").await;
        assert_eq!(member.subscribe("$share/group/task/+", 1).await, 1);
        assert_eq!(speaker.publish_acked("task/1", b"x").await, 0);
        let Some(Packet::Publish(_)) = member.next().await else { panic!("it is given the work") };
        member.leave().await;
        assert_eq!(speaker.publish_acked("task/2", b"x").await, 0x10, "nobody is left");
    }
    goes_on(node).await;
}

#[tokio::test]
async fn a_silent_web_socket_keeps_nobody_out() {
    let node = Site::new().start().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(node.ws()).await.expect("it accepts"));
        silent.push(TcpStream::connect(node.mqtt()).await.expect("it accepts"));
    }
    let mut web = Wire::open_web_socket(node.ws(), Version::V5).await;
    web.greet(&Hello::new(Version::V5, "web").user("admin", SECRET)).await;
    goes_on(node).await;
}

#[tokio::test]
async fn filters_may_start_with_a_dollar() {
    let node = Site::new().start().await;
    let mut operator = client(&node, Version::V5, "operator").await;
    for filter in ["$SYS/#", "$aws/things/+/shadow/#", "$share/group/#"] {
        assert_eq!(operator.subscribe(filter, 1).await, 1, "{filter}");
    }
    goes_on(node).await;
}

#[tokio::test]
async fn an_acknowledged_message_outlives_any_number_of_later_ones() {
    let node = Site::new().start().await;
    let hello = Hello::new(Version::V5, "absent").user("admin", SECRET).persistent();
    let mut absent = node.client(&hello).await;
    assert_eq!(absent.subscribe("log/+", 1).await, 1);
    absent.leave().await;
    let mut speaker = client(&node, Version::V5, "speaker").await;
    let payload = "x".repeat(20_000);
    for number in 0..500 {
        let text = format!("{number} {payload}");
        assert_eq!(speaker.publish_acked("log/1", text.as_bytes()).await, 0);
    }
    let mut absent = node.client(&hello).await;
    for number in 0..500 {
        let message = absent.next_message().await;
        assert!(message.text().starts_with(&format!("{number} ")), "{number} is lost");
    }
    goes_on(node).await;
}
