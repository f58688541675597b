//! DISCONNECT, and how the node ends a connection (MQTT 5.0 3.14 and 4.13; MQTT 3.1.1 3.14 and 4.8).

use crate::scene::Scene;
use manifold_tests::wire::packet::{disconnect, frame};
use manifold_tests::wire::{Ending, Property};

#[tokio::test]
async fn a_client_that_leaves_is_closed_without_a_word() {
    for scene in Scene::both() {
        let mut wire = scene.client("polite").await;
        wire.send(&frame(0xE0, &[])).await;
        assert_eq!(wire.next_bytes().await, None);
    }
}

#[tokio::test]
async fn nothing_behind_a_disconnect_is_acted_on() {
    for scene in Scene::both() {
        let mut watcher = scene.subscriber("watcher", "#", 1).await;
        let mut wire = scene.client("polite").await;
        wire.send(&[frame(0xE0, &[]), scene.publish("late", "x", 0b0010, 1)].concat()).await;
        assert_eq!(wire.next_bytes().await, None);
        scene.assert_nothing_before(&mut watcher, "marker").await;
    }
}

#[tokio::test]
async fn the_reserved_flags_of_a_disconnect_must_be_zero() {
    for scene in Scene::both() {
        let mut watcher = scene.subscriber("watcher", "will", 1).await;
        for flags in [1, 2, 4, 8] {
            let hello = scene.hello("odd").will(&scene.topic("will"), "not a goodbye");
            let mut wire = scene.enter(&hello).await;
            wire.send(&frame(0xE0 | flags, &[])).await;
            scene.assert_ended("DISCONNECT", &mut wire, 0x81).await;
            assert_eq!(watcher.next_message().await.text(), "not a goodbye");
        }
    }
}

#[tokio::test]
async fn a_disconnect_of_version_5_may_say_why_and_more() {
    let scene = Scene::v5();
    let words = [
        Property::SessionExpiryInterval(0),
        Property::ReasonString("enough".into()),
        Property::UserProperty("a".into(), "b".into()),
    ];
    let mut wire = scene.client("polite").await;
    wire.send(&disconnect(0, &words)).await;
    assert_eq!(wire.next_bytes().await, None);
}

#[tokio::test]
async fn the_node_says_why_in_a_code_of_disconnect_and_nothing_after() {
    let scene = Scene::v5();
    for (bytes, code) in [
        (frame(0xC1, &[]), 0x81),
        (scene.hello("again").encode(), 0x82),
        (vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F], 0x95),
    ] {
        let mut wire = scene.client("offender").await;
        wire.send(&bytes).await;
        let told = wire.next_bytes().await.expect("it is told");
        // The code alone, or with properties: a Session Expiry Interval is not among them.
        assert_eq!((told[0], told[2]), (0xE0, code));
        assert!(told.len() == 3 || told[4..].first() != Some(&0x11), "{told:x?}");
        assert_eq!(wire.next_bytes().await, None, "and is closed");
    }
}

#[tokio::test]
async fn who_has_not_been_welcomed_is_sent_no_disconnect() {
    for scene in Scene::both() {
        for bytes in [
            frame(0xC0, &[]),
            frame(0xE0, &[]),
            scene.hello("x").encode_with_flags(0b11),
            scene.hello("x").user("nobody", "wrong").encode(),
            frame(0xFF, &[0; 10]),
        ] {
            let ending = scene.turned_away(&bytes).await;
            assert!(matches!(ending, Ending::Closed | Ending::Refused(_)), "{ending:?}");
        }
    }
}

#[tokio::test]
async fn before_version_5_a_violation_is_answered_by_closing() {
    let scene = Scene::v3();
    for bytes in [frame(0xC1, &[]), scene.hello("again").encode(), frame(0x30, &[0])] {
        let mut wire = scene.client("offender").await;
        wire.send(&bytes).await;
        assert_eq!(wire.next_bytes().await, None);
    }
}
