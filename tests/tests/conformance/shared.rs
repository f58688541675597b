//! Shared subscriptions (MQTT 5.0 4.8.2).

use crate::scene::Scene;
use manifold_tests::wire::packet::{frame, subscribe};
use manifold_tests::wire::{Packet, Wire};

fn share(scene: &Scene, filter: &str) -> String {
    format!("$share/group/{}", scene.topic(filter))
}

async fn member(scene: &Scene, name: &str, qos: u8) -> Wire {
    let mut wire = scene.enter(&scene.hello(name).persistent()).await;
    assert_eq!(wire.subscribe(&share(scene, "a"), qos).await, qos);
    wire
}

async fn message(wire: &mut Wire) -> manifold_tests::wire::Message {
    match wire.next().await {
        Some(Packet::Publish(message)) => message,
        other => panic!("no message but {other:?}"),
    }
}

#[tokio::test]
async fn a_share_name_is_there_and_has_no_wildcards() {
    let scene = Scene::v5();
    let filters =
        ["$share//a", "$share/+/a", "$share/#/a", "$share/a+b/a", "$share/g", "$share/g/"];
    for filter in filters {
        let mut wire = scene.client("offender").await;
        wire.send(&subscribe(scene.version, 1, filter.as_bytes(), 0)).await;
        match wire.next().await {
            Some(Packet::SubAck { codes, .. }) => assert!(codes[0] >= 0x80, "{filter}: {codes:x?}"),
            Some(Packet::Disconnect { code }) => assert!(code >= 0x80, "{filter}"),
            other => panic!("{filter}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn each_message_goes_to_one_member_with_the_qos_that_was_granted_to_it() {
    let scene = Scene::v5();
    let mut members = [member(&scene, "zero", 0).await, member(&scene, "one", 1).await];
    let mut speaker = scene.client("speaker").await;
    for number in 0..10 {
        let text = number.to_string();
        assert_eq!(speaker.publish_acked(&scene.topic("a"), text.as_bytes()).await, 0);
    }
    let marker = scene.topic("marker");
    for member in &mut members {
        assert_eq!(member.subscribe(&marker, 0).await, 0);
    }
    speaker.publish(&marker, b"").await;
    let mut seen = Vec::new();
    for (qos, member) in members.iter_mut().enumerate() {
        let mut got = member.messages_until(&marker).await;
        got.pop();
        for message in got {
            assert_eq!(usize::from(message.qos), qos);
            seen.push(message.text().parse::<u32>().expect("a number"));
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_delivery_that_has_begun_is_completed_to_the_same_member_when_it_comes_back() {
    let scene = Scene::v5();
    let mut own = member(&scene, "own", 2).await;
    scene.client("speaker").await.publish_exactly(&scene.topic("a"), b"x").await;
    let first = message(&mut own).await;
    let mut other = member(&scene, "other", 2).await;
    drop(own);
    let mut own = scene.enter(&scene.hello("own").persistent()).await;
    assert!(own.is_session_present());
    let again = message(&mut own).await;
    assert_eq!((again.packet_id, again.is_dup, again.text()), (first.packet_id, true, "x"));
    assert_eq!(other.subscribe(&scene.topic("b"), 1).await, 1);
    scene.assert_nothing_before(&mut other, "b").await;
}

#[tokio::test]
async fn a_delivery_that_has_begun_goes_to_nobody_else_when_the_session_ends() {
    let scene = Scene::v5();
    let mut own = member(&scene, "own", 2).await;
    scene.client("speaker").await.publish_exactly(&scene.topic("a"), b"x").await;
    message(&mut own).await;
    let mut other = member(&scene, "other", 2).await;
    own.send(&manifold_tests::wire::packet::disconnect(
        0,
        &[manifold_tests::wire::Property::SessionExpiryInterval(0)],
    ))
    .await;
    assert_eq!(own.next().await, None);
    assert_eq!(other.subscribe(&scene.topic("b"), 1).await, 1);
    scene.assert_nothing_before(&mut other, "b").await;
}

#[tokio::test]
async fn what_a_member_refuses_goes_to_nobody_else() {
    let scene = Scene::v5();
    let mut own = member(&scene, "own", 2).await;
    let mut speaker = scene.client("speaker").await;
    speaker.publish_exactly(&scene.topic("a"), b"1").await;
    assert_eq!(speaker.publish_acked(&scene.topic("a"), b"2").await, 0);
    let (exactly, at_least) = (message(&mut own).await, message(&mut own).await);
    let mut other = member(&scene, "other", 2).await;
    for (first_byte, refused) in [(0x50, &exactly), (0x40, &at_least)] {
        let body = [&refused.packet_id.to_be_bytes()[..], &[0x83]].concat();
        own.send(&frame(first_byte, &body)).await;
    }
    own.send(&frame(0xC0, &[])).await;
    assert_eq!(own.next().await, Some(Packet::PingResp), "neither is sent again");
    assert_eq!(other.subscribe(&scene.topic("b"), 1).await, 1);
    scene.assert_nothing_before(&mut other, "b").await;
}

#[tokio::test]
async fn a_shared_subscription_gets_no_retained_messages() {
    let scene = Scene::v5();
    let mut speaker = scene.client("speaker").await;
    assert!(speaker.retain(&scene.topic("a"), b"kept").await <= 0x10);
    let mut own = member(&scene, "own", 1).await;
    assert_eq!(own.subscribe(&scene.topic("b"), 1).await, 1);
    scene.assert_nothing_before(&mut own, "b").await;
}

#[tokio::test]
async fn a_group_and_a_subscription_of_its_own_do_not_disturb_each_other() {
    let scene = Scene::v5();
    let mut own = member(&scene, "own", 1).await;
    let mut single = scene.subscriber("single", "a", 1).await;
    let mut speaker = scene.client("speaker").await;
    assert_eq!(speaker.publish_acked(&scene.topic("a"), b"x").await, 0);
    assert_eq!(own.next_message().await.text(), "x");
    assert_eq!(single.next_message().await.text(), "x");
}
