//! UNSUBSCRIBE (MQTT 5.0 3.10; MQTT 3.1.1 3.10).

use crate::scene::Scene;
use manifold_tests::wire::Packet;
use manifold_tests::wire::packet::unsubscribe;

#[tokio::test]
async fn what_is_unsubscribed_from_is_not_sent_any_more() {
    for scene in Scene::both() {
        let mut wire = scene.subscriber("reader", "a", 1).await;
        assert_eq!(wire.subscribe(&scene.topic("b"), 1).await, 1);
        wire.unsubscribe(&scene.topic("a")).await;
        let mut speaker = scene.client("speaker").await;
        assert!(speaker.publish_acked(&scene.topic("a"), b"unwanted").await <= 0x10);
        scene.assert_nothing_before(&mut wire, "b").await;
    }
}

#[tokio::test]
async fn a_filter_is_compared_character_by_character() {
    for scene in Scene::both() {
        let mut wire = scene.subscriber("reader", "a/+", 1).await;
        for other in ["a/b", "a/#", "A/+", "a/+/", "#", "+/+"] {
            let codes = wire.unsubscribe(&scene.topic(other)).await;
            assert_eq!(codes, if scene.is_v5() { vec![0x11] } else { Vec::new() }, "{other}");
        }
        scene.assert_nothing_before(&mut wire, "a/b").await;
        let codes = wire.unsubscribe(&scene.topic("a/+")).await;
        assert_eq!(codes, if scene.is_v5() { vec![0] } else { Vec::new() });
        assert_eq!(wire.subscribe(&scene.topic("c"), 1).await, 1);
        let mut speaker = scene.client("speaker").await;
        assert!(speaker.publish_acked(&scene.topic("a/b"), b"unwanted").await <= 0x10);
        scene.assert_nothing_before(&mut wire, "c").await;
    }
}

#[tokio::test]
async fn several_filters_are_answered_with_one_packet() {
    for scene in Scene::both() {
        let mut wire = scene.subscriber("reader", "a", 1).await;
        assert_eq!(wire.subscribe(&scene.topic("b"), 1).await, 1);
        let [a, b, c] = ["a", "b", "c"].map(|it| scene.topic(it).into_bytes());
        wire.send(&unsubscribe(scene.version, 9, &[&c, &b, &a])).await;
        let codes = if scene.is_v5() { vec![0x11, 0, 0] } else { Vec::new() };
        assert_eq!(wire.next().await, Some(Packet::UnsubAck { packet_id: 9, codes }));
        assert_eq!(wire.subscribe(&scene.topic("d"), 1).await, 1);
        let mut speaker = scene.client("speaker").await;
        for topic in ["a", "b"] {
            assert!(speaker.publish_acked(&scene.topic(topic), b"unwanted").await <= 0x10);
        }
        scene.assert_nothing_before(&mut wire, "d").await;
    }
}

#[tokio::test]
async fn a_delivery_that_has_begun_is_completed_after_unsubscribing() {
    for scene in Scene::both() {
        let hello = scene.hello("reader").persistent();
        let mut wire = scene.enter(&hello).await;
        assert_eq!(wire.subscribe(&scene.topic("a"), 2).await, 2);
        let mut speaker = scene.client("speaker").await;
        assert_eq!(speaker.publish_acked(&scene.topic("a"), b"1").await, 0);
        speaker.publish_exactly(&scene.topic("a"), b"2").await;
        let mut begun = Vec::new();
        for _ in 0..2 {
            let Some(Packet::Publish(message)) = wire.next().await else { panic!("a message") };
            begun.push(message);
        }
        wire.unsubscribe(&scene.topic("a")).await;
        drop(wire);
        let mut wire = scene.enter(&hello).await;
        for expected in begun {
            let message = wire.next_message().await;
            assert_eq!((message.packet_id, message.is_dup), (expected.packet_id, true));
            assert_eq!(message.payload, expected.payload);
        }
    }
}

#[tokio::test]
async fn an_unsubscribe_without_a_filter_ends_the_connection() {
    for scene in Scene::both() {
        scene.ends("no filter", &unsubscribe(scene.version, 1, &[]), 0x82).await;
    }
}

#[tokio::test]
async fn an_unsubscribe_with_other_flags_ends_the_connection() {
    for scene in Scene::both() {
        let right = unsubscribe(scene.version, 1, &[b"a"]);
        for flags in [0, 1, 3, 0b1010] {
            let mut wrong = right.clone();
            wrong[0] = 0xA0 | flags;
            scene.ends("UNSUBSCRIBE", &wrong, 0x81).await;
        }
    }
}

#[tokio::test]
async fn the_filters_of_an_unsubscribe_are_well_formed_utf_8() {
    for scene in Scene::both() {
        for filter in [&b"a/\x80"[..], b"\xED\xA0\x80"] {
            scene.ends("no UTF-8", &unsubscribe(scene.version, 1, &[filter]), 0x81).await;
        }
    }
}
