//! The properties of a message on their way to subscribers (MQTT 5.0 3.3.2.3).

use crate::scene::Scene;
use manifold_tests::wire::packet::{frame, publish_with};
use manifold_tests::wire::{Packet, Property};

const QOS_1: u8 = 0b0010;

fn user(name: &str, value: &str) -> Property {
    Property::UserProperty(name.into(), value.into())
}

/// User properties in their order, and the others in any.
fn parts(properties: &[Property]) -> (Vec<Property>, Vec<Property>) {
    properties.iter().cloned().partition(|it| matches!(it, Property::UserProperty(..)))
}

fn everything() -> Vec<Property> {
    vec![
        user("z", "first"),
        Property::PayloadFormatIndicator(1),
        Property::ContentType("text/plain; charset=utf-8".into()),
        user("a", ""),
        Property::ResponseTopic("an/answer".into()),
        user("z", "second"),
        Property::CorrelationData(vec![0, 255, 7]),
        user("", "温度"),
        user("z", "first"),
    ]
}

#[track_caller]
fn assert_same(got: &[Property], sent: &[Property]) {
    let ((users, others), (sent_users, sent_others)) = (parts(got), parts(sent));
    assert_eq!(users, sent_users);
    assert_eq!(others.len(), sent_others.len(), "{others:?}");
    assert!(sent_others.iter().all(|it| others.contains(it)), "{others:?}");
}

#[tokio::test]
async fn they_reach_subscribers_unaltered_and_in_order() {
    let scene = Scene::v5();
    let mut readers =
        [scene.subscriber("one", "a", 0).await, scene.subscriber("other", "+", 1).await];
    let mut wire = scene.client("speaker").await;
    wire.send(&publish_with(scene.topic("a").as_bytes(), b"x", QOS_1, 1, &everything())).await;
    assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id: 1, code: 0 }));
    for reader in &mut readers {
        assert_same(&reader.next_message().await.properties, &everything());
    }
}

#[tokio::test]
async fn they_are_kept_with_retained_messages_and_for_sessions_that_are_away() {
    let scene = Scene::v5();
    let hello = scene.hello("away").persistent();
    let mut wire = scene.enter(&hello).await;
    assert_eq!(wire.subscribe(&scene.topic("a"), 1).await, 1);
    wire.leave().await;
    let mut speaker = scene.client("speaker").await;
    let topic = scene.topic("a");
    speaker.send(&publish_with(topic.as_bytes(), b"x", QOS_1 | 1, 1, &everything())).await;
    assert_eq!(speaker.next().await, Some(Packet::PubAck { packet_id: 1, code: 0 }));
    assert_same(&scene.retained("a").await.expect("it is kept").properties, &everything());
    let mut wire = scene.enter(&hello).await;
    assert_same(&wire.next_message().await.properties, &everything());
}

#[tokio::test]
async fn a_payload_format_of_bytes_is_passed_on_or_left_out_which_is_the_same() {
    let scene = Scene::v5();
    let mut reader = scene.subscriber("reader", "a", 0).await;
    let mut wire = scene.client("speaker").await;
    let bytes = [Property::PayloadFormatIndicator(0)];
    wire.send(&publish_with(scene.topic("a").as_bytes(), b"x", 0, 0, &bytes)).await;
    let properties = reader.next_message().await.properties;
    assert!(properties.is_empty() || properties == bytes, "{properties:?}");
}

#[tokio::test]
async fn a_client_before_version_5_gets_the_message_without_them() {
    let (scene, old) = (Scene::v5(), Scene::v3());
    let mut reader = old.subscriber("reader", "a", 1).await;
    let mut wire = scene.client("speaker").await;
    wire.send(&publish_with(old.topic("a").as_bytes(), b"x", QOS_1, 1, &everything())).await;
    assert_eq!(reader.next_message().await.text(), "x");
}

#[tokio::test]
async fn a_response_topic_has_no_wildcards() {
    let scene = Scene::v5();
    for topic in ["a/#", "+", "a/+/b"] {
        let asked = [Property::ResponseTopic(topic.into())];
        let bytes = publish_with(scene.topic("a").as_bytes(), b"x", 0, 0, &asked);
        let mut wire = scene.client("offender").await;
        wire.send(&bytes).await;
        let told = wire.next().await;
        let is_right = matches!(told, Some(Packet::Disconnect { code: 0x82 | 0x90 }));
        assert!(is_right, "{topic}: {told:?}");
        assert_eq!(wire.next().await, None);
    }
}

#[tokio::test]
async fn texts_in_properties_are_well_formed_utf_8() {
    let scene = Scene::v5();
    for id in [0x03, 0x08] {
        for bad in [b"\xC3\x28", b"\xC0\xAF"] {
            let body = [&[0, 1, b'a', 5, id, 0, 2][..], bad, b"x"].concat();
            scene.ends("no UTF-8", &frame(0x30, &body), 0x81).await;
        }
    }
    for (name, value) in [(&b"\xC3\x28"[..], &b"ok"[..]), (b"ok", b"\xC3\x28")] {
        let body = [&[0, 1, b'a', 9, 0x26, 0, 2], name, &[0, 2], value, b"x"].concat();
        scene.ends("a user property that is no UTF-8", &frame(0x30, &body), 0x81).await;
    }
}

#[tokio::test]
async fn a_property_that_may_stand_once_stands_once() {
    let scene = Scene::v5();
    for property in [
        Property::PayloadFormatIndicator(1),
        Property::MessageExpiryInterval(5),
        Property::ContentType("a".into()),
        Property::ResponseTopic("a".into()),
        Property::CorrelationData(vec![1]),
        Property::TopicAlias(1),
    ] {
        let twice = [property.clone(), property.clone()];
        let mut wire = scene.client("offender").await;
        wire.send(&publish_with(scene.topic("a").as_bytes(), b"x", 0, 0, &twice)).await;
        let told = wire.next().await;
        let is_right = matches!(told, Some(Packet::Disconnect { code: 0x81 | 0x82 }));
        assert!(is_right, "{property:?}: {told:?}");
    }
}

#[tokio::test]
async fn a_property_of_another_packet_ends_the_connection() {
    let scene = Scene::v5();
    for property in [
        Property::ServerKeepAlive(1),
        Property::SessionExpiryInterval(1),
        Property::WillDelayInterval(1),
        Property::ReceiveMaximum(1),
        Property::ReasonString("a".into()),
    ] {
        let mut wire = scene.client("offender").await;
        let foreign = [property.clone()];
        wire.send(&publish_with(scene.topic("a").as_bytes(), b"x", 0, 0, &foreign)).await;
        let told = wire.next().await;
        let is_right = matches!(told, Some(Packet::Disconnect { code: 0x81 | 0x82 }));
        assert!(is_right, "{property:?}: {told:?}");
    }
}

#[tokio::test]
async fn a_client_does_not_send_subscription_identifiers() {
    let scene = Scene::v5();
    let bytes = [Property::SubscriptionIdentifier(1)];
    let bytes = publish_with(scene.topic("a").as_bytes(), b"x", 0, 0, &bytes);
    scene.ends("a subscription identifier", &bytes, 0x82).await;
}
