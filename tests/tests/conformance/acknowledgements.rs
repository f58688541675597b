//! Acknowledgements: identifiers, order and reason codes (MQTT 5.0 2.2.1, 3.4, 3.9, 3.11; MQTT 3.1.1 2.3.1).

use crate::scene::Scene;
use manifold_tests::wire::Packet;
use manifold_tests::wire::packet::{frame, publish_with, subscribe_with, unsubscribe};

const QOS_1: u8 = 0b0010;
const QOS_2: u8 = 0b0100;

#[tokio::test]
async fn acknowledgements_carry_the_identifier_of_what_they_answer() {
    for scene in Scene::both() {
        let mut wire = scene.client("any").await;
        for packet_id in [1, 255, 256, 65_535] {
            wire.send(&scene.subscribe(packet_id, "a", 1)).await;
            assert_eq!(wire.next().await, Some(Packet::SubAck { packet_id, codes: vec![1] }));
            let filter = scene.topic("a");
            wire.send(&unsubscribe(scene.version, packet_id, &[filter.as_bytes()])).await;
            let codes = if scene.is_v5() { vec![0] } else { Vec::new() };
            assert_eq!(wire.next().await, Some(Packet::UnsubAck { packet_id, codes }));
            let code = if scene.is_v5() { 0x10 } else { 0 };
            wire.send(&scene.publish("a", "x", QOS_1, packet_id)).await;
            assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id, code }));
            wire.send(&scene.publish("a", "x", QOS_2, packet_id)).await;
            assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id, code }));
            wire.send(&frame(0x62, &packet_id.to_be_bytes())).await;
            assert_eq!(wire.next().await, Some(Packet::PubComp { packet_id, code: 0 }));
        }
    }
}

#[tokio::test]
async fn publishes_are_acknowledged_in_the_order_they_came() {
    for scene in Scene::both() {
        let mut reader = scene.subscriber("reader", "a", 1).await;
        let mut wire = scene.client("speaker").await;
        let ids = [9, 3, 7, 1, 65_000, 2];
        let packets = ids.map(|id| scene.publish("a", &id.to_string(), QOS_1, id));
        wire.send(&packets.concat()).await;
        for packet_id in ids {
            assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id, code: 0 }));
            assert_eq!(reader.next_message().await.text(), packet_id.to_string());
        }
    }
}

#[tokio::test]
async fn pubrecs_come_in_the_order_of_their_publishes() {
    for scene in Scene::both() {
        let mut wire = scene.client("speaker").await;
        let ids = [9, 3, 7, 1, 65_000, 2];
        wire.send(&ids.map(|id| scene.publish("a", "x", QOS_2, id)).concat()).await;
        let code = if scene.is_v5() { 0x10 } else { 0 };
        for packet_id in ids {
            assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id, code }));
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_of_nothing_is_let_pass() {
    for scene in Scene::both() {
        let mut wire = scene.client("odd").await;
        for first_byte in [0x40, 0x70] {
            wire.send(&frame(first_byte, &[0, 99])).await;
        }
        wire.send(&frame(0xC0, &[])).await;
        assert_eq!(wire.next().await, Some(Packet::PingResp));
    }
}

#[tokio::test]
async fn a_puback_says_how_it_went_in_a_code_of_its_own() {
    let scene = Scene::v5();
    let mut wire = scene.client("speaker").await;
    wire.send(&scene.publish("nobody", "x", QOS_1, 1)).await;
    assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id: 1, code: 0x10 }));
    wire.send(&publish_with(b"$SYS/x", b"x", QOS_1, 2, &[])).await;
    assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id: 2, code: 0x87 }));
    wire.send(&scene.publish("nobody", "x", QOS_2, 3)).await;
    assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 3, code: 0x10 }));
    wire.send(&publish_with(b"$SYS/x", b"x", QOS_2, 4, &[])).await;
    assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 4, code: 0x87 }));
}

#[tokio::test]
async fn suback_and_unsuback_have_a_code_for_each_filter_in_order() {
    for scene in Scene::both() {
        let mut wire = scene.client("many").await;
        let [a, b, c] = ["a", "b", "c"].map(|it| scene.topic(it).into_bytes());
        let filters = [(&a[..], 2), (b"x/#/y", 1), (&b, 0), (&c, 1)];
        wire.send(&subscribe_with(scene.version, 5, &[], &filters)).await;
        let refused = if scene.is_v5() { 0x8F } else { 0x80 };
        let codes = vec![2, refused, 0, 1];
        assert_eq!(wire.next().await, Some(Packet::SubAck { packet_id: 5, codes }));
        wire.send(&unsubscribe(scene.version, 6, &[&b, b"never", &a])).await;
        let codes = if scene.is_v5() { vec![0, 0x11, 0] } else { Vec::new() };
        assert_eq!(wire.next().await, Some(Packet::UnsubAck { packet_id: 6, codes }));
    }
}

#[tokio::test]
async fn a_pingreq_is_answered() {
    for scene in Scene::both() {
        let mut wire = scene.client("ping").await;
        for _ in 0..3 {
            wire.send(&frame(0xC0, &[])).await;
            assert_eq!(wire.next_bytes().await.as_deref(), Some(&[0xD0, 0][..]));
        }
    }
}
