//! Messages that expire (MQTT 5.0 3.3.2.3.3).

use crate::scene::Scene;
use manifold_tests::wire::packet::publish_with;
use manifold_tests::wire::{Message, Packet, Property, Wire};
use std::time::Duration;

async fn publish(scene: &Scene, wire: &mut Wire, text: &str, secs: u32, flags: u8) {
    let id = wire.new_id();
    let expiry = [Property::MessageExpiryInterval(secs)];
    let topic = scene.topic("a");
    wire.send(&publish_with(topic.as_bytes(), text.as_bytes(), 0b0010 | flags, id, &expiry)).await;
    let Some(Packet::PubAck { packet_id, code: 0 | 0x10 }) = wire.next().await else {
        panic!("it is taken")
    };
    assert_eq!(packet_id, id);
}

fn left(message: &Message) -> Option<u32> {
    message.properties.iter().find_map(|it| match it {
        Property::MessageExpiryInterval(secs) => Some(*secs),
        _ => None,
    })
}

#[tokio::test]
async fn what_has_expired_is_not_sent_and_what_has_not_is_sent_with_what_is_left() {
    let scene = Scene::v5();
    let hello = scene.hello("away").persistent();
    let mut wire = scene.enter(&hello).await;
    assert_eq!(wire.subscribe(&scene.topic("a"), 1).await, 1);
    wire.leave().await;
    let mut speaker = scene.client("speaker").await;
    publish(&scene, &mut speaker, "short", 1, 0).await;
    publish(&scene, &mut speaker, "long", 1000, 0).await;
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let mut wire = scene.enter(&hello).await;
    let message = wire.next_message().await;
    assert_eq!(message.text(), "long", "the short one has expired");
    // It has waited for two seconds, and more on a slow machine.
    assert!(left(&message).is_some_and(|secs| secs <= 998), "{message:?}");
}

#[tokio::test]
async fn what_is_sent_at_once_has_all_its_time() {
    let scene = Scene::v5();
    let mut reader = scene.subscriber("reader", "a", 1).await;
    let mut speaker = scene.client("speaker").await;
    publish(&scene, &mut speaker, "now", 1000, 0).await;
    let message = reader.next_message().await;
    assert!(left(&message).is_some_and(|secs| secs <= 1000 && secs > 900), "{message:?}");
}

#[tokio::test]
async fn a_retained_message_expires_too() {
    let scene = Scene::v5();
    let mut speaker = scene.client("speaker").await;
    publish(&scene, &mut speaker, "kept", 1, 1).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(scene.retained("a").await, None);
}

#[tokio::test]
async fn an_exchange_of_qos_2_is_finished_after_the_message_has_expired() {
    let scene = Scene::v5();
    let mut reader = scene.subscriber("reader", "a", 2).await;
    let mut speaker = scene.client("speaker").await;
    let expiry = [Property::MessageExpiryInterval(1)];
    speaker.send(&publish_with(scene.topic("a").as_bytes(), b"x", 0b0100, 7, &expiry)).await;
    assert_eq!(speaker.next().await, Some(Packet::PubRec { packet_id: 7, code: 0 }));
    let Some(Packet::Publish(message)) = reader.next().await else { panic!("it is delivered") };
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Neither the one that came in nor the one that went out is forgotten.
    speaker.send(&manifold_tests::wire::packet::pub_rel(7)).await;
    assert_eq!(speaker.next().await, Some(Packet::PubComp { packet_id: 7, code: 0 }));
    let packet_id = message.packet_id;
    reader.send(&manifold_tests::wire::packet::pub_rec(packet_id)).await;
    assert_eq!(reader.next().await, Some(Packet::PubRel { packet_id, code: 0 }));
}

#[tokio::test]
async fn what_has_been_sent_does_not_expire() {
    let scene = Scene::v5();
    let hello = scene.hello("reader").persistent();
    let mut reader = scene.enter(&hello).await;
    assert_eq!(reader.subscribe(&scene.topic("a"), 2).await, 2);
    let mut speaker = scene.client("speaker").await;
    let expiry = [Property::MessageExpiryInterval(1)];
    speaker.send(&publish_with(scene.topic("a").as_bytes(), b"x", 0b0100, 7, &expiry)).await;
    assert_eq!(speaker.next().await, Some(Packet::PubRec { packet_id: 7, code: 0 }));
    let Some(Packet::Publish(first)) = reader.next().await else { panic!("it is delivered") };
    drop(reader);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut reader = scene.enter(&hello).await;
    let Some(Packet::Publish(second)) = reader.next().await else { panic!("it comes again") };
    assert_eq!((second.packet_id, second.is_dup), (first.packet_id, true));
}
