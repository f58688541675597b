//! The format of every packet (MQTT 5.0 1.5 and 2; MQTT 3.1.1 1.5 and 2).

use crate::scene::Scene;
use manifold_tests::wire::packet::{frame, publish};
use manifold_tests::wire::{Packet, Property};

#[tokio::test]
async fn the_fixed_flags_of_every_packet_type_are_checked() {
    for scene in Scene::both() {
        let bodies: [(u8, &[u8]); 9] = [
            (0x40, &[0, 1]),
            (0x50, &[0, 1]),
            (0x62, &[0, 1]),
            (0x70, &[0, 1]),
            (0x82, &[0, 1, 0, 0, 1, b'a', 0]),
            (0xA2, &[0, 1, 0, 0, 1, b'a']),
            (0xC0, &[]),
            (0xE0, &[]),
            (0x10, &[0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0]),
        ];
        for (first_byte, body) in bodies {
            for bit in [1, 2, 4, 8] {
                let wrong = first_byte ^ bit;
                scene.ends(&format!("{wrong:#x}"), &frame(wrong, body), 0x81).await;
            }
        }
    }
}

#[tokio::test]
async fn packet_types_that_do_not_exist_end_the_connection() {
    for scene in Scene::both() {
        let mut types = vec![0x00];
        if !scene.is_v5() {
            // AUTH came with version 5.
            types.push(0xF0);
        }
        for first_byte in types {
            scene.ends(&format!("{first_byte:#x}"), &frame(first_byte, &[]), 0x81).await;
        }
    }
}

#[tokio::test]
async fn packets_that_only_a_server_sends_end_the_connection() {
    for scene in Scene::both() {
        let packets: [(u8, &[u8]); 4] =
            [(0x20, &[0, 0, 0]), (0x90, &[0, 1, 0, 0]), (0xB0, &[0, 1, 0, 0]), (0xD0, &[])];
        for (first_byte, body) in packets {
            let mut wire = scene.client("offender").await;
            wire.send(&frame(first_byte, body)).await;
            let told = wire.next().await;
            let is_right = match scene.is_v5() {
                true => matches!(told, Some(Packet::Disconnect { code: 0x81 | 0x82 })),
                false => told.is_none(),
            };
            assert!(is_right, "{first_byte:#x}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_length_takes_four_bytes_at_most() {
    for scene in Scene::both() {
        scene.ends("five bytes", &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01], 0x81).await;
    }
}

#[tokio::test]
async fn packets_may_come_in_any_pieces() {
    for scene in Scene::both() {
        let mut wire = scene.subscriber("pieces", "a", 1).await;
        let packets = [scene.publish("a", "1", 0, 0), scene.publish("a", "2", 0b0010, 9)].concat();
        for byte in &packets {
            wire.send(&[*byte]).await;
        }
        for text in ["1", "2"] {
            assert_eq!(wire.next_message().await.text(), text);
        }
    }
}

#[tokio::test]
async fn a_text_holds_no_null_character_and_no_surrogate() {
    for scene in Scene::both() {
        for text in [&b"a\0"[..], b"\0", b"\xED\xA0\x80", b"\xED\xBF\xBF", b"a\xED\xA0\x80b"] {
            let mut wire = scene.client("offender").await;
            wire.send(&publish(scene.version, text, b"x", 0, 0)).await;
            let told = wire.next().await;
            let is_right = match scene.is_v5() {
                true => matches!(told, Some(Packet::Disconnect { code: 0x81 | 0x90 })),
                false => told.is_none(),
            };
            assert!(is_right, "{text:x?}: {told:?}");
        }
    }
}

#[tokio::test]
async fn no_properties_are_written_as_a_length_of_zero() {
    let scene = Scene::v5();
    let mut wire = scene.client("bare").await;
    let topic = scene.topic("a");
    wire.send(&scene.subscribe(1, "a", 0)).await;
    assert_eq!(wire.next_bytes().await.as_deref(), Some(&[0x90, 4, 0, 1, 0, 0][..]));
    wire.publish(&topic, b"x").await;
    let expected = publish(scene.version, topic.as_bytes(), b"x", 0, 0);
    assert_eq!(wire.next_bytes().await, Some(expected));
    wire.send(&manifold_tests::wire::packet::unsubscribe(scene.version, 2, &[topic.as_bytes()]))
        .await;
    assert_eq!(wire.next_bytes().await.as_deref(), Some(&[0xB0, 4, 0, 2, 0, 0][..]));
}

#[tokio::test]
async fn lengths_are_written_in_the_fewest_bytes() {
    // The client of these tests refuses a longer one, for packets and for properties.
    let scene = Scene::v5();
    let mut wire = scene.subscriber("reader", "a", 0).await;
    let mut speaker = scene.client("speaker").await;
    for length in [0, 1, 100, 127, 128, 16_000, 16_383, 16_384, 300_000] {
        speaker.publish(&scene.topic("a"), &vec![b'x'; length]).await;
        let bytes = wire.next_bytes().await.expect("it is delivered");
        let body_bytes = 2 + scene.topic("a").len() + 1 + length;
        let needed = match body_bytes {
            0..128 => 1,
            128..16_384 => 2,
            _ => 3,
        };
        assert_eq!(bytes.len(), 1 + needed + body_bytes);
    }
    let long = Property::UserProperty("n".repeat(100), "v".repeat(100));
    let topic = scene.topic("a");
    let packet = manifold_tests::wire::packet::publish_with(topic.as_bytes(), b"", 0, 0, &[long]);
    speaker.send(&packet).await;
    assert_eq!(wire.next_bytes().await, Some(packet));
}
