//! Maximum Packet Size of a client (MQTT 5.0 3.1.2.11.4), and what is left out to keep to it.

use crate::scene::Scene;
use manifold_tests::wire::packet::{
    disconnect, frame, pub_rec, pub_rel, publish_with, unsubscribe,
};
use manifold_tests::wire::{Packet, Property, Wire};

/// Room for any acknowledgement with its code and no properties, and for short messages.
const BYTES_MAX: u32 = 64;

async fn narrow(scene: &Scene, client: &str) -> Wire {
    let hello = scene.hello(client).persistent().with(Property::MaximumPacketSize(BYTES_MAX));
    scene.enter(&hello).await
}

#[tokio::test]
async fn a_message_that_is_too_long_counts_as_delivered() {
    let scene = Scene::v5();
    let mut reader = narrow(&scene, "narrow").await;
    assert_eq!(reader.subscribe(&scene.topic("a"), 2).await, 2);
    let mut wide = scene.subscriber("wide", "a", 2).await;
    let mut speaker = scene.client("speaker").await;
    let long = "x".repeat(100);
    for text in [&*long, "short"] {
        let topic = scene.topic("a");
        speaker.publish(&topic, text.as_bytes()).await;
        assert_eq!(speaker.publish_acked(&topic, text.as_bytes()).await, 0);
        speaker.publish_exactly(&topic, text.as_bytes()).await;
        for qos in [0, 1, 2] {
            let message = wide.next_message().await;
            assert_eq!((message.text(), message.qos), (text, qos), "others get it");
        }
    }
    for qos in [0, 1, 2] {
        let message = reader.next_message().await;
        assert_eq!((message.text(), message.qos), ("short", qos));
    }
    drop(reader);
    let mut reader = narrow(&scene, "narrow").await;
    assert!(reader.is_session_present());
    scene.assert_nothing_before(&mut reader, "a").await;
}

#[tokio::test]
async fn the_length_that_counts_is_that_of_the_whole_packet() {
    let scene = Scene::v5();
    let mut reader = narrow(&scene, "narrow").await;
    assert_eq!(reader.subscribe(&scene.topic("a"), 0).await, 0);
    let mut speaker = scene.client("speaker").await;
    let around = scene.publish("a", "", 0, 0).len();
    let room = BYTES_MAX as usize - around;
    for length in [room + 1, room] {
        speaker.publish(&scene.topic("a"), "x".repeat(length).as_bytes()).await;
    }
    let bytes = reader.next_bytes().await.expect("the one that fits");
    assert_eq!(bytes.len(), BYTES_MAX as usize);
}

#[tokio::test]
async fn no_answer_is_longer_than_the_client_takes() {
    let scene = Scene::v5();
    let mut wire = scene.open().await;
    wire.send(&scene.hello("n").with(Property::MaximumPacketSize(BYTES_MAX)).encode()).await;
    let filter = scene.topic("b");
    // What is sent, and the type of what comes back; nothing is sent for the CONNACK.
    let exchanges = [
        (Vec::new(), 2),
        (scene.subscribe(1, "a", 1), 9),
        (publish_with(b"$SYS/x", b"x", 0b0010, 2, &[]), 4),
        (publish_with(b"$SYS/x", b"x", 0b0100, 3, &[]), 5),
        (scene.publish("c", "x", 0b0100, 4), 5),
        (pub_rel(4), 7),
        (unsubscribe(scene.version, 5, &[filter.as_bytes()]), 11),
        (frame(0xC1, &[]), 14),
    ];
    for (packet, answer) in exchanges {
        wire.send(&packet).await;
        let bytes = wire.next_bytes().await.expect("an answer");
        assert_eq!(bytes[0] >> 4, answer);
        assert!(bytes.len() <= BYTES_MAX as usize, "{bytes:x?}");
    }
}

#[tokio::test]
async fn a_release_is_no_longer_than_the_client_takes() {
    let scene = Scene::v5();
    let mut reader = narrow(&scene, "narrow").await;
    assert_eq!(reader.subscribe(&scene.topic("a"), 2).await, 2);
    scene.client("speaker").await.publish_exactly(&scene.topic("a"), b"x").await;
    let Some(Packet::Publish(message)) = reader.next().await else { panic!("it is delivered") };
    reader.send(&pub_rec(message.packet_id)).await;
    let bytes = reader.next_bytes().await.expect("it is released");
    assert!(bytes[0] == 0x62 && bytes.len() <= BYTES_MAX as usize, "{bytes:x?}");
}

#[tokio::test]
async fn answers_to_a_client_that_takes_hardly_anything_have_no_reason_in_words() {
    let scene = Scene::v5();
    let hello = scene.hello("tiny").with(Property::MaximumPacketSize(30));
    let mut wire = scene.enter(&hello.with(Property::RequestProblemInformation(0))).await;
    wire.send(&scene.subscribe(1, "#/a", 1)).await;
    assert_eq!(wire.next_bytes().await.as_deref(), Some(&[0x90, 4, 0, 1, 0, 0x8F][..]));
    wire.send(&publish_with(b"$SYS/x", b"", 0b0010, 2, &[])).await;
    let refusal = wire.next_bytes().await.expect("an answer");
    // The code may be followed by an empty list of properties (MQTT 5.0 3.4.2.2.1).
    assert!([&[0x40, 3, 0, 2, 0x87][..], &[0x40, 4, 0, 2, 0x87, 0]].contains(&&refusal[..]));
}

#[tokio::test]
async fn a_maximum_of_zero_is_refused() {
    let scene = Scene::v5();
    let hello = scene.hello("zero").with(Property::MaximumPacketSize(0));
    scene.assert_malformed("Maximum Packet Size 0", &hello.encode()).await;
}

#[tokio::test]
async fn a_connack_is_no_longer_than_the_client_takes() {
    let scene = Scene::v5();
    let mut wire = scene.open().await;
    wire.send(&scene.hello("least").with(Property::MaximumPacketSize(5)).encode()).await;
    // What does not fit is not sent (3.1.2-24): welcome in so many bytes, or closed.
    if let Some(bytes) = wire.next_bytes().await {
        assert!(bytes.len() <= 5, "{bytes:x?}");
    }
    wire.send(&disconnect(0, &[])).await;
}

#[tokio::test]
async fn a_packet_longer_than_the_node_takes_ends_the_connection() {
    let scene = Scene::v5();
    let mut wire = scene.open().await;
    wire.send(&scene.hello("large").encode()).await;
    let Some(Packet::ConnAck { properties, .. }) = wire.next().await else { panic!("welcome") };
    let granted = properties.iter().find_map(|it| match it {
        Property::MaximumPacketSize(max) => Some(*max as usize),
        _ => None,
    });
    let granted = granted.expect("the node says what it takes");
    // Lengths from 16,384 to 2,097,151 take three bytes, two more than that of an empty message.
    let around = scene.publish("a", "", 0, 0).len() + 2;
    let fits = scene.publish("a", &"x".repeat(granted - around), 0, 0);
    assert_eq!(fits.len(), granted);
    wire.send(&fits).await;
    assert_eq!(wire.subscribe(&scene.topic("b"), 0).await, 0, "it is taken");
    wire.send(&scene.publish("a", &"x".repeat(granted), 0, 0)).await;
    scene.assert_ended("too long", &mut wire, 0x95).await;
}
