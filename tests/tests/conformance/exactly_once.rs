//! QoS 2 in both directions (MQTT 5.0 4.3.3; MQTT 3.1.1 4.3.3).

use crate::scene::Scene;
use manifold_tests::wire::packet::{frame, pub_comp, pub_rec, pub_rel};
use manifold_tests::wire::{Message, Packet, Wire};

const DUP: u8 = 0b1000;
const QOS_2: u8 = 0b0100;

/// The next packet, which is a message.
async fn message(wire: &mut Wire) -> Message {
    match wire.next().await {
        Some(Packet::Publish(message)) => message,
        other => panic!("no message but {other:?}"),
    }
}

/// A session that stays, subscribed to `a` with QoS 2.
async fn reader(scene: &Scene) -> Wire {
    let mut wire = scene.enter(&scene.hello("reader").persistent()).await;
    assert_eq!(wire.subscribe(&scene.topic("a"), 2).await, 2);
    wire
}

/// Comes back to the session of [`reader`].
async fn again(scene: &Scene, before: Wire) -> Wire {
    drop(before);
    let wire = scene.enter(&scene.hello("reader").persistent()).await;
    assert!(wire.is_session_present());
    wire
}

/// The broker has acted on all that was sent to it before.
async fn settled(wire: &mut Wire) {
    wire.send(&frame(0xC0, &[])).await;
    assert_eq!(wire.next().await, Some(Packet::PingResp));
}

#[tokio::test]
async fn a_message_is_taken_once_however_often_it_is_sent() {
    for scene in Scene::both() {
        let mut reader = reader(&scene).await;
        let mut wire = scene.client("speaker").await;
        wire.send(&scene.publish("a", "1", QOS_2, 7)).await;
        assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 7, code: 0 }));
        for _ in 0..2 {
            wire.send(&scene.publish("a", "1", QOS_2 | DUP, 7)).await;
            assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 7, code: 0 }));
        }
        wire.send(&pub_rel(7)).await;
        assert_eq!(wire.next().await, Some(Packet::PubComp { packet_id: 7, code: 0 }));
        assert_eq!(reader.next_message().await.text(), "1");
        scene.assert_nothing_before(&mut reader, "a").await;
    }
}

#[tokio::test]
async fn after_pubcomp_the_identifier_begins_a_new_message() {
    for scene in Scene::both() {
        let mut reader = reader(&scene).await;
        let mut wire = scene.client("speaker").await;
        for text in ["1", "2"] {
            wire.send(&scene.publish("a", text, QOS_2, 7)).await;
            assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 7, code: 0 }));
            wire.send(&pub_rel(7)).await;
            assert_eq!(wire.next().await, Some(Packet::PubComp { packet_id: 7, code: 0 }));
            assert_eq!(reader.next_message().await.text(), text);
        }
    }
}

#[tokio::test]
async fn what_a_session_has_taken_it_remembers_over_a_reconnect() {
    for scene in Scene::both() {
        let mut reader = reader(&scene).await;
        let hello = scene.hello("speaker").persistent();
        let mut wire = scene.enter(&hello).await;
        wire.send(&scene.publish("a", "1", QOS_2, 7)).await;
        assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 7, code: 0 }));
        drop(wire);
        let mut wire = scene.enter(&hello).await;
        assert!(wire.is_session_present());
        wire.send(&scene.publish("a", "1", QOS_2 | DUP, 7)).await;
        assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 7, code: 0 }));
        wire.send(&pub_rel(7)).await;
        assert_eq!(wire.next().await, Some(Packet::PubComp { packet_id: 7, code: 0 }));
        assert_eq!(reader.next_message().await.text(), "1");
        scene.assert_nothing_before(&mut reader, "a").await;
    }
}

#[tokio::test]
async fn a_refused_message_leaves_its_identifier_free() {
    let scene = Scene::v5();
    let mut reader = reader(&scene).await;
    let mut wire = scene.client("speaker").await;
    let forbidden = manifold_tests::wire::packet::publish_with(b"$SYS/x", b"x", QOS_2, 7, &[]);
    wire.send(&forbidden).await;
    assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 7, code: 0x87 }));
    wire.send(&scene.publish("a", "1", QOS_2, 7)).await;
    assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 7, code: 0 }));
    assert_eq!(reader.next_message().await.text(), "1", "it was a new one");
}

#[tokio::test]
async fn a_delivery_goes_by_pubrec_pubrel_pubcomp_under_one_identifier() {
    for scene in Scene::both() {
        let mut reader = reader(&scene).await;
        scene.client("speaker").await.publish_exactly(&scene.topic("a"), b"1").await;
        let sent = message(&mut reader).await;
        assert_eq!((sent.qos, sent.is_dup, sent.text()), (2, false, "1"));
        assert_ne!(sent.packet_id, 0);
        reader.send(&pub_rec(sent.packet_id)).await;
        let packet_id = sent.packet_id;
        assert_eq!(reader.next().await, Some(Packet::PubRel { packet_id, code: 0 }));
        reader.send(&pub_comp(packet_id)).await;
        settled(&mut reader).await;
        let mut reader = again(&scene, reader).await;
        scene.assert_nothing_before(&mut reader, "a").await;
    }
}

#[tokio::test]
async fn a_delivery_without_pubrec_is_sent_again_as_it_was() {
    for scene in Scene::both() {
        let mut reader = reader(&scene).await;
        scene.client("speaker").await.publish_exactly(&scene.topic("a"), b"1").await;
        let first = message(&mut reader).await;
        let mut reader = again(&scene, reader).await;
        let second = message(&mut reader).await;
        assert!(second.is_dup && !first.is_dup);
        assert_eq!((second.packet_id, second.qos), (first.packet_id, 2));
        assert_eq!(second.payload, first.payload);
    }
}

#[tokio::test]
async fn a_delivery_without_pubcomp_is_released_again_and_not_sent_again() {
    for scene in Scene::both() {
        let mut reader = reader(&scene).await;
        scene.client("speaker").await.publish_exactly(&scene.topic("a"), b"1").await;
        let packet_id = message(&mut reader).await.packet_id;
        reader.send(&pub_rec(packet_id)).await;
        assert_eq!(reader.next().await, Some(Packet::PubRel { packet_id, code: 0 }));
        let mut reader = again(&scene, reader).await;
        assert_eq!(reader.next().await, Some(Packet::PubRel { packet_id, code: 0 }));
        reader.send(&pub_comp(packet_id)).await;
        scene.assert_nothing_before(&mut reader, "a").await;
    }
}

#[tokio::test]
async fn a_delivery_that_the_client_refuses_is_over() {
    let scene = Scene::v5();
    let mut reader = reader(&scene).await;
    let mut speaker = scene.client("speaker").await;
    speaker.publish_exactly(&scene.topic("a"), b"1").await;
    assert_eq!(speaker.publish_acked(&scene.topic("a"), b"2").await, 0);
    let exactly = message(&mut reader).await;
    let at_least = message(&mut reader).await;
    let refusal =
        |first_byte, id: u16| frame(first_byte, &[&id.to_be_bytes()[..], &[0x83]].concat());
    reader.send(&refusal(0x50, exactly.packet_id)).await;
    reader.send(&refusal(0x40, at_least.packet_id)).await;
    settled(&mut reader).await;
    let mut reader = again(&scene, reader).await;
    scene.assert_nothing_before(&mut reader, "a").await;
}

#[tokio::test]
async fn a_release_of_nothing_is_answered_all_the_same() {
    for scene in Scene::both() {
        let mut wire = scene.client("speaker").await;
        wire.send(&pub_rel(77)).await;
        let code = if scene.is_v5() { 0x92 } else { 0 };
        assert_eq!(wire.next().await, Some(Packet::PubComp { packet_id: 77, code }));
    }
}

#[tokio::test]
async fn a_pubrel_with_other_flags_ends_the_connection() {
    for scene in Scene::both() {
        for flags in [0, 1, 3, 0b1010] {
            scene.ends("PUBREL", &frame(0x60 | flags, &[0, 1]), 0x81).await;
        }
    }
}

#[tokio::test]
async fn the_same_identifier_in_both_directions_is_two_exchanges() {
    for scene in Scene::both() {
        let mut wire = reader(&scene).await;
        scene.client("speaker").await.publish_exactly(&scene.topic("a"), b"1").await;
        let packet_id = message(&mut wire).await.packet_id;
        wire.send(&scene.publish("b", "2", QOS_2, packet_id)).await;
        let Some(Packet::PubRec { packet_id: own, code: 0 | 0x10 }) = wire.next().await else {
            panic!("its own message is taken")
        };
        assert_eq!(own, packet_id);
        wire.send(&pub_rec(packet_id)).await;
        assert_eq!(wire.next().await, Some(Packet::PubRel { packet_id, code: 0 }));
        wire.send(&pub_rel(packet_id)).await;
        assert_eq!(wire.next().await, Some(Packet::PubComp { packet_id, code: 0 }));
    }
}
