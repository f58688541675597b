//! Sessions: begun, resumed, taken over, ended (MQTT 5.0 3.1.2.4, 3.1.4, 4.1; MQTT 3.1.1 3.1.2.4, 4.1).

use crate::scene::Scene;
use manifold_tests::wire::packet::disconnect;
use manifold_tests::wire::{Hello, Packet, Property};
use std::time::Duration;

#[tokio::test]
async fn a_clean_start_discards_the_session_before() {
    for scene in Scene::both() {
        let hello = scene.hello("sub").persistent();
        let mut wire = scene.enter(&hello).await;
        assert_eq!(wire.subscribe(&scene.topic("a"), 1).await, 1);
        wire.leave().await;
        let mut speaker = scene.client("speaker").await;
        assert_eq!(speaker.publish_acked(&scene.topic("a"), b"kept").await, 0);
        let mut wire = scene.enter(&Hello { is_clean: true, ..hello.clone() }).await;
        assert!(!wire.is_session_present());
        // Neither the message nor the subscription is there.
        speaker.publish_acked(&scene.topic("a"), b"not subscribed").await;
        assert_eq!(wire.subscribe(&scene.topic("b"), 1).await, 1);
        scene.assert_nothing_before(&mut wire, "b").await;
    }
}

#[tokio::test]
async fn before_version_5_nothing_of_a_clean_session_is_reused() {
    let scene = Scene::v3();
    let mut wire = scene.client("sub").await;
    assert_eq!(wire.subscribe(&scene.topic("a"), 1).await, 1);
    wire.leave().await;
    let mut wire = scene.enter(&scene.hello("sub").persistent()).await;
    assert!(!wire.is_session_present(), "it ended with its connection");
    scene.client("speaker").await.publish_acked(&scene.topic("a"), b"x").await;
    assert_eq!(wire.subscribe(&scene.topic("b"), 1).await, 1);
    scene.assert_nothing_before(&mut wire, "b").await;
}

#[tokio::test]
async fn a_session_is_resumed_with_its_subscriptions_and_what_it_missed() {
    for scene in Scene::both() {
        let hello = scene.hello("sub").persistent();
        let mut wire = scene.enter(&hello).await;
        assert!(!wire.is_session_present(), "there was none: it is new");
        assert_eq!(wire.subscribe(&scene.topic("+"), 2).await, 2);
        wire.leave().await;
        let mut speaker = scene.client("speaker").await;
        for text in ["1", "2", "3"] {
            assert_eq!(speaker.publish_acked(&scene.topic("a"), text.as_bytes()).await, 0);
        }
        speaker.publish_exactly(&scene.topic("a"), b"4").await;
        let mut wire = scene.enter(&hello).await;
        assert!(wire.is_session_present());
        for (text, qos) in [("1", 1), ("2", 1), ("3", 1), ("4", 2)] {
            let message = wire.next_message().await;
            assert_eq!((message.text(), message.qos), (text, qos));
        }
        assert_eq!(speaker.publish_acked(&scene.topic("b"), b"new").await, 0);
        assert_eq!(wire.next_message().await.text(), "new");
    }
}

#[tokio::test]
async fn a_session_without_expiry_ends_with_its_connection() {
    let scene = Scene::v5();
    let hello = Hello { is_clean: false, ..scene.hello("brief") };
    let mut wire = scene.enter(&hello).await;
    assert_eq!(wire.subscribe(&scene.topic("a"), 1).await, 1);
    wire.leave().await;
    assert!(!scene.enter(&hello).await.is_session_present());
}

#[tokio::test]
async fn a_session_is_discarded_after_its_expiry_has_passed() {
    let scene = Scene::v5();
    let hello = Hello { expiry_secs: 1, is_clean: false, ..scene.hello("short") };
    scene.enter(&hello).await.leave().await;
    let wire = scene.enter(&hello).await;
    assert!(wire.is_session_present(), "not before");
    wire.leave().await;
    // Not only when the node next looks for such sessions, which it does every five seconds.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!scene.enter(&hello).await.is_session_present());
}

#[tokio::test]
async fn a_session_lasts_at_least_as_long_as_its_connection() {
    let scene = Scene::v5();
    let hello = Hello { expiry_secs: 1, is_clean: false, ..scene.hello("long") };
    let mut wire = scene.enter(&hello).await;
    assert_eq!(wire.subscribe(&scene.topic("a"), 1).await, 1);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(wire.publish_acked(&scene.topic("a"), b"still here").await, 0);
    assert_eq!(wire.next_message().await.text(), "still here");
    drop(wire);
    assert!(scene.enter(&hello).await.is_session_present(), "it expires after, not during");
}

#[tokio::test]
async fn a_disconnect_may_change_the_expiry_but_not_give_one_to_a_session_that_had_none() {
    let scene = Scene::v5();
    let hello = scene.hello("changed").persistent();
    let mut wire = scene.enter(&hello).await;
    wire.send(&disconnect(0, &[Property::SessionExpiryInterval(0)])).await;
    assert_eq!(wire.next().await, None);
    assert!(!scene.enter(&hello).await.is_session_present());
    let lasting = disconnect(0, &[Property::SessionExpiryInterval(60)]);
    scene.ends("an expiry from nothing", &lasting, 0x82).await;
}

#[tokio::test]
async fn a_second_connection_of_a_client_takes_the_session_over() {
    for scene in Scene::both() {
        let hello = scene.hello("sub").persistent();
        let mut first = scene.enter(&hello).await;
        assert_eq!(first.subscribe(&scene.topic("a"), 1).await, 1);
        let mut second = scene.enter(&hello).await;
        assert!(second.is_session_present());
        scene.assert_ended("the first", &mut first, 0x8E).await;
        let mut speaker = scene.client("speaker").await;
        assert_eq!(speaker.publish_acked(&scene.topic("a"), b"x").await, 0);
        assert_eq!(second.next_message().await.text(), "x");
        // With a clean start it is the same, but for what is left of the session.
        let third = scene.enter(&Hello { is_clean: true, ..hello }).await;
        assert!(!third.is_session_present());
        scene.assert_ended("the second", &mut second, 0x8E).await;
    }
}

#[tokio::test]
async fn retained_messages_stay_when_the_session_of_their_publisher_ends() {
    for scene in Scene::both() {
        let mut wire = scene.client("speaker").await;
        assert!(wire.retain(&scene.topic("a"), b"kept").await <= 0x10);
        wire.leave().await;
        scene.client("speaker").await.leave().await;
        assert_eq!(scene.retained("a").await.map(|it| it.payload), Some(b"kept".to_vec()));
    }
}

#[tokio::test]
async fn what_was_sent_and_not_acknowledged_comes_again_with_its_identifier_and_in_order() {
    for scene in Scene::both() {
        let hello = scene.hello("sub").persistent();
        let mut wire = scene.enter(&hello).await;
        assert_eq!(wire.subscribe(&scene.topic("a"), 1).await, 1);
        let mut speaker = scene.client("speaker").await;
        for text in ["1", "2", "3"] {
            assert_eq!(speaker.publish_acked(&scene.topic("a"), text.as_bytes()).await, 0);
        }
        let mut sent = Vec::new();
        for _ in 0..3 {
            let Some(Packet::Publish(message)) = wire.next().await else { panic!("a message") };
            assert!(!message.is_dup, "the first time");
            sent.push(message);
        }
        wire.acknowledge(&sent[0]).await;
        // The broker has read the acknowledgement once it answers what came behind it.
        assert_eq!(wire.subscribe(&scene.topic("b"), 0).await, 0);
        drop(wire);
        let mut wire = scene.enter(&hello).await;
        assert!(wire.is_session_present());
        for expected in &sent[1..] {
            let Some(Packet::Publish(message)) = wire.next().await else { panic!("a message") };
            assert!(message.is_dup);
            assert_eq!(message.packet_id, expected.packet_id);
            assert_eq!(message.text(), expected.text());
            wire.acknowledge(&message).await;
        }
        assert_eq!(speaker.publish_acked(&scene.topic("a"), b"4").await, 0);
        let next = wire.next_message().await;
        assert_eq!((next.text(), next.is_dup), ("4", false), "nothing else comes again");
    }
}
