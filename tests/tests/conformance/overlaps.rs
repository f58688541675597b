//! Several subscriptions of a client that match one message (MQTT 5.0 3.3.4; MQTT 3.1.1 3.3.5).

use crate::scene::Scene;
use manifold_tests::wire::packet::subscribe_with;
use manifold_tests::wire::{Message, Packet, Property, Wire};

async fn subscribe(scene: &Scene, wire: &mut Wire, filter: &str, options: u8, id: Option<u32>) {
    let packet_id = wire.new_id();
    let properties: Vec<Property> = id.into_iter().map(Property::SubscriptionIdentifier).collect();
    let filter = scene.topic(filter);
    let filters = [(filter.as_bytes(), options)];
    wire.send(&subscribe_with(scene.version, packet_id, &properties, &filters)).await;
    let answer = wire.next().await;
    assert_eq!(answer, Some(Packet::SubAck { packet_id, codes: vec![options & 3] }));
}

fn ids(message: &Message) -> Vec<u32> {
    let mut ids: Vec<u32> = message
        .properties
        .iter()
        .filter_map(|it| match it {
            Property::SubscriptionIdentifier(id) => Some(*id),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn one_copy_has_the_highest_qos_of_them() {
    for scene in Scene::both() {
        let mut wire = scene.client("reader").await;
        for (filter, qos) in [("#", 0), ("a/+", 2), ("a/b", 1)] {
            subscribe(&scene, &mut wire, filter, qos, None).await;
        }
        scene.client("speaker").await.publish_exactly(&scene.topic("a/b"), b"x").await;
        let message = wire.next_message().await;
        assert_eq!((message.text(), message.qos), ("x", 2));
        scene.assert_nothing_before(&mut wire, "a/b").await;
    }
}

#[tokio::test]
async fn one_copy_has_the_identifiers_of_all_that_have_one() {
    let scene = Scene::v5();
    let mut wire = scene.client("reader").await;
    subscribe(&scene, &mut wire, "#", 1, Some(1)).await;
    subscribe(&scene, &mut wire, "a/+", 1, Some(268_435_455)).await;
    subscribe(&scene, &mut wire, "a/b", 1, None).await;
    let mut speaker = scene.client("speaker").await;
    assert_eq!(speaker.publish_acked(&scene.topic("a/b"), b"x").await, 0);
    assert_eq!(ids(&wire.next_message().await), [1, 268_435_455]);
    assert_eq!(speaker.publish_acked(&scene.topic("c"), b"x").await, 0);
    assert_eq!(ids(&wire.next_message().await), [1], "only of those that match");
}

#[tokio::test]
async fn identifiers_come_with_retained_messages() {
    let scene = Scene::v5();
    let mut speaker = scene.client("speaker").await;
    assert!(speaker.retain(&scene.topic("a"), b"x").await <= 0x10);
    let mut wire = scene.client("reader").await;
    subscribe(&scene, &mut wire, "a", 1, Some(7)).await;
    assert_eq!(ids(&wire.next_message().await), [7]);
    subscribe(&scene, &mut wire, "+", 1, Some(8)).await;
    let kept = wire.next_message().await;
    assert!(kept.is_retained);
    assert_eq!(ids(&kept), [8], "of the subscription that asked for it");
}

#[tokio::test]
async fn identifiers_come_with_what_a_session_missed() {
    let scene = Scene::v5();
    let hello = scene.hello("reader").persistent();
    let mut wire = scene.enter(&hello).await;
    subscribe(&scene, &mut wire, "a", 1, Some(7)).await;
    wire.leave().await;
    let mut speaker = scene.client("speaker").await;
    assert_eq!(speaker.publish_acked(&scene.topic("a"), b"x").await, 0);
    let mut wire = scene.enter(&hello).await;
    assert_eq!(ids(&wire.next_message().await), [7]);
}

#[tokio::test]
async fn a_new_subscription_with_the_same_filter_brings_its_own_identifier() {
    let scene = Scene::v5();
    let mut wire = scene.client("reader").await;
    let mut speaker = scene.client("speaker").await;
    for id in [Some(5), Some(6), None] {
        subscribe(&scene, &mut wire, "a", 1, id).await;
        assert_eq!(speaker.publish_acked(&scene.topic("a"), b"x").await, 0);
        assert_eq!(ids(&wire.next_message().await), id.into_iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_subscription_identifier_of_zero_ends_the_connection() {
    let scene = Scene::v5();
    let zero = [Property::SubscriptionIdentifier(0)];
    let bytes = subscribe_with(scene.version, 1, &zero, &[(b"a", 0)]);
    let mut wire = scene.client("offender").await;
    wire.send(&bytes).await;
    let told = wire.next().await;
    assert!(matches!(told, Some(Packet::Disconnect { code: 0x81 | 0x82 })), "{told:?}");
}
