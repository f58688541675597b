//! PUBLISH: flags, topic and what is answered (MQTT 5.0 3.3 and 4.3; MQTT 3.1.1 3.3 and 4.3).

use crate::scene::Scene;
use manifold_tests::wire::Packet;
use manifold_tests::wire::packet::{frame, publish};

const DUP: u8 = 0b1000;
const QOS_1: u8 = 0b0010;
const QOS_2: u8 = 0b0100;

#[tokio::test]
async fn each_qos_is_answered_as_the_standard_says() {
    for scene in Scene::both() {
        let mut reader = scene.subscriber("reader", "a", 2).await;
        let mut wire = scene.client("speaker").await;
        wire.send(&scene.publish("a", "0", 0, 0)).await;
        wire.send(&frame(0xC0, &[])).await;
        assert_eq!(wire.next().await, Some(Packet::PingResp), "QoS 0 is not answered");
        wire.send(&scene.publish("a", "1", QOS_1, 40_001)).await;
        assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id: 40_001, code: 0 }));
        wire.send(&scene.publish("a", "2", QOS_2, 40_002)).await;
        assert_eq!(wire.next().await, Some(Packet::PubRec { packet_id: 40_002, code: 0 }));
        for text in ["0", "1", "2"] {
            assert_eq!(reader.next_message().await.text(), text);
        }
    }
}

#[tokio::test]
async fn a_publish_with_both_qos_bits_set_ends_the_connection() {
    for scene in Scene::both() {
        let bytes = scene.publish("a", "x", QOS_1 | QOS_2, 1);
        scene.ends("QoS 3", &bytes, 0x81).await;
    }
}

#[tokio::test]
async fn a_publish_of_qos_0_is_never_a_duplicate() {
    for scene in Scene::both() {
        scene.ends("DUP with QoS 0", &scene.publish("a", "x", DUP, 0), 0x81).await;
    }
}

#[tokio::test]
async fn a_publish_that_is_acknowledged_needs_a_packet_identifier() {
    for scene in Scene::both() {
        for qos in [QOS_1, QOS_2] {
            let zero = scene.publish("a", "x", qos, 0);
            scene.ends("packet id 0", &zero, 0x82).await;
            let none = frame(0x30 | qos, &[0, 1, b'a']);
            scene.ends("no packet id", &none, 0x81).await;
        }
    }
}

#[tokio::test]
async fn a_publish_of_qos_0_has_no_packet_identifier() {
    for scene in Scene::both() {
        let mut reader = scene.subscriber("reader", "a", 2).await;
        let mut wire = scene.client("speaker").await;
        wire.publish(&scene.topic("a"), b"x").await;
        let topic = scene.topic("a");
        let properties = if scene.is_v5() { 1 } else { 0 };
        let bytes = reader.next_bytes().await.expect("it is delivered");
        // Header, topic with its length, the length of no properties, payload: nothing else.
        assert_eq!(bytes[0], 0x30);
        assert_eq!(bytes.len(), 2 + 2 + topic.len() + properties + 1);
    }
}

#[tokio::test]
async fn the_dup_flag_is_not_passed_on() {
    for scene in Scene::both() {
        let mut reader = scene.subscriber("reader", "a", 1).await;
        let mut wire = scene.client("speaker").await;
        wire.send(&scene.publish("a", "x", QOS_1 | DUP, 9)).await;
        assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id: 9, code: 0 }));
        let message = reader.next_message().await;
        assert_eq!((message.qos, message.is_dup), (1, false));
    }
}

#[tokio::test]
async fn an_acknowledged_packet_identifier_begins_a_new_message_dup_or_not() {
    for scene in Scene::both() {
        let mut reader = scene.subscriber("reader", "a", 1).await;
        let mut wire = scene.client("speaker").await;
        for (text, flags) in [("1", QOS_1), ("2", QOS_1), ("3", QOS_1 | DUP)] {
            wire.send(&scene.publish("a", text, flags, 7)).await;
            assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id: 7, code: 0 }));
            assert_eq!(reader.next_message().await.text(), text);
        }
    }
}

#[tokio::test]
async fn a_topic_name_has_no_wildcards() {
    for scene in Scene::both() {
        for topic in ["a/+", "a/#", "#", "+", "a+"] {
            let bytes = publish(scene.version, topic.as_bytes(), b"x", 0, 0);
            scene.ends(topic, &bytes, 0x90).await;
        }
    }
}

#[tokio::test]
async fn a_topic_name_is_well_formed_utf_8() {
    for scene in Scene::both() {
        for topic in [&b"a/\x80"[..], b"\xED\xA0\x80", b"\xC0\xAF", b"\xE6\xB8"] {
            let bytes = publish(scene.version, topic, b"x", 0, 0);
            scene.ends("no UTF-8", &bytes, 0x81).await;
        }
    }
}

#[tokio::test]
async fn a_publish_ends_within_its_packet() {
    for scene in Scene::both() {
        for body in [&[][..], &[0], &[0, 5, b'a'], &[0xFF, 0xFF, b'a']] {
            scene.ends("a topic that is cut off", &frame(0x30, body), 0x81).await;
        }
    }
}

#[tokio::test]
async fn a_publish_that_is_not_permitted_is_refused_or_ends_the_connection() {
    for scene in Scene::both() {
        let mut wire = scene.client("speaker").await;
        wire.send(&publish(scene.version, b"$SYS/x", b"x", QOS_1, 5)).await;
        if scene.is_v5() {
            assert_eq!(wire.next().await, Some(Packet::PubAck { packet_id: 5, code: 0x87 }));
        } else {
            assert_eq!(wire.next().await, None);
        }
    }
}

#[tokio::test]
async fn a_message_matches_the_subscription_it_is_sent_for() {
    for scene in Scene::both() {
        let mut reader = scene.subscriber("reader", "x/+/z", 1).await;
        let mut wire = scene.client("speaker").await;
        for topic in ["x", "x/y", "x/y/a", "x/y/z/w", "a/y/z", "x/y/z"] {
            assert!(wire.publish_acked(&scene.topic(topic), b"x").await <= 0x10);
        }
        assert_eq!(reader.next_message().await.topic, scene.topic("x/y/z"));
    }
}
