//! SUBSCRIBE and its options (MQTT 5.0 3.8; MQTT 3.1.1 3.8).

use crate::scene::Scene;
use manifold_tests::wire::Packet;
use manifold_tests::wire::packet::{frame, publish, subscribe, subscribe_with};

const NO_LOCAL: u8 = 1 << 2;

#[tokio::test]
async fn every_qos_is_granted_as_it_was_asked_for() {
    for scene in Scene::both() {
        let mut wire = scene.client("reader").await;
        for qos in [0, 1, 2] {
            let packet_id = 100 + u16::from(qos);
            wire.send(&scene.subscribe(packet_id, "a", qos)).await;
            assert_eq!(wire.next().await, Some(Packet::SubAck { packet_id, codes: vec![qos] }));
        }
    }
}

#[tokio::test]
async fn a_message_is_sent_with_the_lower_of_its_qos_and_the_granted_one() {
    for scene in Scene::both() {
        for granted in [0, 1, 2] {
            let mut reader = scene.subscriber("reader", "a", granted).await;
            let mut wire = scene.client("speaker").await;
            for published in [0, 1, 2] {
                let topic = scene.topic("a");
                match published {
                    0 => wire.publish(&topic, b"x").await,
                    1 => assert_eq!(wire.publish_acked(&topic, b"x").await, 0),
                    _ => wire.publish_exactly(&topic, b"x").await,
                }
                assert_eq!(reader.next_message().await.qos, granted.min(published));
            }
        }
    }
}

#[tokio::test]
async fn several_filters_are_as_several_packets() {
    for scene in Scene::both() {
        let mut wire = scene.client("reader").await;
        let [a, b] = ["a", "b"].map(|it| scene.topic(it).into_bytes());
        let filters = [(&a[..], 0), (&b[..], 1), (&a[..], 1)];
        wire.send(&subscribe_with(scene.version, 3, &[], &filters)).await;
        assert_eq!(wire.next().await, Some(Packet::SubAck { packet_id: 3, codes: vec![0, 1, 1] }));
        let mut speaker = scene.client("speaker").await;
        for topic in ["a", "b"] {
            assert_eq!(speaker.publish_acked(&scene.topic(topic), b"x").await, 0);
            let message = wire.next_message().await;
            assert_eq!((message.topic.as_str(), message.qos), (&*scene.topic(topic), 1));
        }
    }
}

#[tokio::test]
async fn the_same_filter_again_takes_the_place_of_the_subscription() {
    for scene in Scene::both() {
        let mut wire = scene.client("reader").await;
        let mut speaker = scene.client("speaker").await;
        for qos in [1, 0, 1] {
            assert_eq!(wire.subscribe(&scene.topic("a"), qos).await, qos);
            assert_eq!(speaker.publish_acked(&scene.topic("a"), b"x").await, 0);
            assert_eq!(wire.next_message().await.qos, qos);
        }
        scene.assert_nothing_before(&mut wire, "a").await;
    }
}

#[tokio::test]
async fn nothing_is_lost_while_a_subscription_is_replaced() {
    for scene in Scene::both() {
        let mut reader = scene.subscriber("reader", "a", 1).await;
        let mut speaker = scene.client("speaker").await;
        let again = scene.subscribe(500, "a", 1);
        for number in 1..=30 {
            let text = number.to_string();
            speaker.send(&scene.publish("a", &text, 0b0010, number)).await;
            reader.send(&again).await;
        }
        for number in 1..=30 {
            assert_eq!(reader.next_message().await.text(), number.to_string());
        }
    }
}

#[tokio::test]
async fn no_local_spares_a_client_its_own_messages() {
    let scene = Scene::v5();
    let mut wire = scene.client("own").await;
    assert_eq!(wire.subscribe(&scene.topic("a"), 1 | NO_LOCAL).await, 1);
    assert!(wire.publish_acked(&scene.topic("a"), b"own").await <= 0x10);
    scene.assert_nothing_before(&mut wire, "a").await;
    // Without it, they come.
    assert_eq!(wire.subscribe(&scene.topic("a"), 1).await, 1);
    assert_eq!(wire.publish_acked(&scene.topic("a"), b"own").await, 0);
    assert_eq!(wire.next_message().await.text(), "own");
}

#[tokio::test]
async fn no_local_and_a_shared_subscription_do_not_go_together() {
    let scene = Scene::v5();
    let bytes = subscribe(scene.version, 1, b"$share/g/a", 1 | NO_LOCAL);
    scene.ends("No Local, shared", &bytes, 0x82).await;
}

#[tokio::test]
async fn reserved_options_end_the_connection() {
    for scene in Scene::both() {
        let reserved: &[u8] = match scene.is_v5() {
            // Bits 6 and 7, QoS 3 and Retain Handling 3.
            true => &[0x40, 0x80, 0xC0, 0x03, 0x30],
            // All but QoS 0, 1 and 2.
            false => &[0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80],
        };
        for options in reserved {
            let mut wire = scene.client("offender").await;
            wire.send(&subscribe(scene.version, 1, b"a", *options)).await;
            let told = wire.next().await;
            let is_right = match scene.is_v5() {
                true => matches!(told, Some(Packet::Disconnect { code: 0x81 | 0x82 })),
                false => told.is_none(),
            };
            assert!(is_right, "{options:#x}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_subscribe_without_a_filter_ends_the_connection() {
    for scene in Scene::both() {
        let bytes = subscribe_with(scene.version, 1, &[], &[]);
        scene.ends("no filter", &bytes, 0x82).await;
    }
}

#[tokio::test]
async fn a_subscribe_with_other_flags_ends_the_connection() {
    for scene in Scene::both() {
        let right = scene.subscribe(1, "a", 0);
        for flags in [0, 1, 3, 0b1010] {
            let mut wrong = right.clone();
            wrong[0] = 0x80 | flags;
            scene.ends("SUBSCRIBE", &wrong, 0x81).await;
        }
    }
}

#[tokio::test]
async fn a_subscribe_needs_a_packet_identifier() {
    for scene in Scene::both() {
        let bytes = scene.subscribe(0, "a", 0);
        let mut wire = scene.client("offender").await;
        wire.send(&bytes).await;
        let told = wire.next().await;
        let is_right = match scene.is_v5() {
            true => matches!(told, Some(Packet::Disconnect { code: 0x81 | 0x82 })),
            false => told.is_none(),
        };
        assert!(is_right, "{told:?}");
    }
}

#[tokio::test]
async fn a_filter_is_well_formed_utf_8() {
    for scene in Scene::both() {
        for filter in [&b"a/\x80"[..], b"\xED\xA0\x80", b"\xC0\xAF"] {
            let bytes = subscribe(scene.version, 1, filter, 0);
            scene.ends("no UTF-8", &bytes, 0x81).await;
        }
    }
}

#[tokio::test]
async fn a_subscription_is_in_force_once_it_is_acknowledged() {
    for scene in Scene::both() {
        let mut wire = scene.client("own").await;
        // SUBSCRIBE and PUBLISH in one write: the one is done before the other is looked at.
        let published = publish(scene.version, scene.topic("a").as_bytes(), b"x", 0b0010, 2);
        wire.send(&[scene.subscribe(1, "a", 0), published].concat()).await;
        wire.send(&frame(0xC0, &[])).await;
        assert_eq!(wire.next_message().await.text(), "x");
    }
}
