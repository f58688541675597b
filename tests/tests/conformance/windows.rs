//! Receive Maximum in both directions (MQTT 5.0 3.3.4 and 4.9).

use crate::scene::Scene;
use manifold_tests::wire::packet::frame;
use manifold_tests::wire::{Message, Packet, Property, Wire};

async fn message(wire: &mut Wire) -> Message {
    match wire.next().await {
        Some(Packet::Publish(message)) => message,
        other => panic!("no message but {other:?}"),
    }
}

/// A subscriber to `+` that takes two unacknowledged messages at most, with two of five sent to it.
async fn full(scene: &Scene) -> (Wire, Vec<Message>) {
    let mut wire = scene.enter(&scene.hello("narrow").with(Property::ReceiveMaximum(2))).await;
    assert_eq!(wire.subscribe(&scene.topic("+"), 1).await, 1);
    let mut speaker = scene.client("speaker").await;
    for number in 0..5 {
        let text = number.to_string();
        assert_eq!(speaker.publish_acked(&scene.topic("a"), text.as_bytes()).await, 0);
    }
    let sent = vec![message(&mut wire).await, message(&mut wire).await];
    (wire, sent)
}

#[tokio::test]
async fn no_more_is_sent_than_the_client_takes() {
    let scene = Scene::v5();
    let (mut wire, sent) = full(&scene).await;
    // Whatever was on its way would come before the answer to a question asked later.
    wire.send(&scene.subscribe(9, "z", 0)).await;
    assert_eq!(wire.next().await, Some(Packet::SubAck { packet_id: 9, codes: vec![0] }));
    let mut texts = vec![sent[0].text().to_owned(), sent[1].text().to_owned()];
    let mut open = std::collections::VecDeque::from(sent);
    for _ in 2..5 {
        let oldest = open.pop_front().expect("two are open");
        wire.acknowledge(&oldest).await;
        let next = message(&mut wire).await;
        assert!(open.iter().all(|it| it.packet_id != next.packet_id), "an identifier in use");
        texts.push(next.text().to_owned());
        open.push_back(next);
        // One acknowledgement makes room for one.
        wire.send(&frame(0xC0, &[])).await;
        assert_eq!(wire.next().await, Some(Packet::PingResp));
    }
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn everything_else_is_answered_while_the_window_is_full() {
    let scene = Scene::v5();
    let (mut wire, _) = full(&scene).await;
    wire.send(&frame(0xC0, &[])).await;
    assert_eq!(wire.next().await, Some(Packet::PingResp));
    wire.send(&scene.subscribe(9, "z", 1)).await;
    assert_eq!(wire.next().await, Some(Packet::SubAck { packet_id: 9, codes: vec![1] }));
    wire.send(&scene.publish("other/level", "x", 0b0010, 10)).await;
    assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id: 10, code: 0x10 }));
}

#[tokio::test]
async fn a_window_of_one_is_enough() {
    let scene = Scene::v5();
    let hello = scene.hello("one").with(Property::ReceiveMaximum(1));
    let mut wire = scene.enter(&hello).await;
    assert_eq!(wire.subscribe(&scene.topic("a"), 2).await, 2);
    let mut speaker = scene.client("speaker").await;
    for number in 0..4 {
        let text = number.to_string();
        match number % 2 {
            0 => assert_eq!(speaker.publish_acked(&scene.topic("a"), text.as_bytes()).await, 0),
            _ => speaker.publish_exactly(&scene.topic("a"), text.as_bytes()).await,
        }
    }
    for number in 0..4 {
        assert_eq!(wire.next_message().await.text(), number.to_string());
    }
}

#[tokio::test]
async fn a_receive_maximum_of_zero_is_refused() {
    let scene = Scene::v5();
    let hello = scene.hello("zero").with(Property::ReceiveMaximum(0));
    scene.assert_malformed("Receive Maximum 0", &hello.encode()).await;
}

#[tokio::test]
async fn as_many_messages_as_the_node_takes_may_be_open_at_once() {
    let scene = Scene::v5();
    let mut wire = scene.open().await;
    wire.send(&scene.hello("wide").encode()).await;
    let Some(Packet::ConnAck { properties, .. }) = wire.next().await else { panic!("welcome") };
    let granted = properties.iter().find_map(|it| match it {
        Property::ReceiveMaximum(max) => Some(*max),
        _ => None,
    });
    let granted = granted.unwrap_or(u16::MAX);
    let packets = (1..=granted).flat_map(|id| scene.publish("a", "x", 0b0100, id));
    wire.send(&packets.collect::<Vec<u8>>()).await;
    for packet_id in 1..=granted {
        assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id, code: 0x10 }));
    }
    // One more, before any of them is released, is over what was granted.
    wire.send(&scene.publish("a", "x", 0b0100, granted + 1)).await;
    scene.assert_ended("over the Receive Maximum", &mut wire, 0x93).await;
}
