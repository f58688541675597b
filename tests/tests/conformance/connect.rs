//! What a CONNECT must look like (MQTT 5.0 3.1.2 and 3.1.3; MQTT 3.1.1 the same).

use crate::scene::Scene;
use manifold_tests::wire::packet::frame;
use manifold_tests::wire::{Ending, Hello};

const USER_NAME: u8 = 0b1000_0000;
const PASSWORD: u8 = 0b0100_0000;
const WILL_RETAIN: u8 = 0b0010_0000;
const WILL_QOS_1: u8 = 0b0000_1000;
const WILL_QOS_2: u8 = 0b0001_0000;
const WILL: u8 = 0b0000_0100;

/// CONNECT with the bytes of one text replaced by as many others.
fn spoiled(hello: &Hello, text: &str, by: &[u8]) -> Vec<u8> {
    let mut packet = hello.encode();
    let found = packet.windows(text.len()).position(|it| it == text.as_bytes());
    let start = found.expect("the text is in the packet");
    packet[start..start + by.len()].copy_from_slice(by);
    packet
}

#[tokio::test]
async fn a_first_packet_other_than_connect_is_closed_without_a_word() {
    for scene in Scene::both() {
        for first in [frame(0xC0, &[]), scene.publish("a", "x", 0, 0)] {
            let mut wire = scene.open().await;
            wire.send(&first).await;
            assert_eq!(wire.next().await, None);
        }
    }
}

#[tokio::test]
async fn a_second_connect_ends_the_connection() {
    for scene in Scene::both() {
        scene.ends("a second CONNECT", &scene.hello("again").encode(), 0x82).await;
    }
}

#[tokio::test]
async fn another_protocol_name_is_not_spoken() {
    for scene in Scene::both() {
        for name in ["MQTX", "mqtt", "MQT", "MQTTT"] {
            let hello = scene.hello("other");
            let protocol = (name.as_bytes().to_vec(), hello.protocol.1);
            let ending = scene.turned_away(&Hello { protocol, ..hello }.encode()).await;
            let is_right = matches!(ending, Ending::Closed | Ending::Refused(0x84 | 1));
            assert!(is_right, "{name}: {ending:?}");
        }
    }
}

#[tokio::test]
async fn an_older_protocol_level_is_refused_in_the_words_of_version_3() {
    let scene = Scene::v3();
    for level in [0, 1, 2] {
        let mut wire = scene.open().await;
        let hello = Hello { protocol: (b"MQTT".to_vec(), level), ..scene.hello("old") };
        wire.send(&hello.encode()).await;
        assert_eq!(wire.next_bytes().await.as_deref(), Some(&[0x20, 2, 0, 1][..]), "{level}");
        assert_eq!(wire.next().await, None);
    }
}

#[tokio::test]
async fn a_newer_protocol_level_is_refused_in_the_words_of_version_5() {
    let scene = Scene::v5();
    for level in [6, 99, 255] {
        let mut wire = scene.open().await;
        let hello = Hello { protocol: (b"MQTT".to_vec(), level), ..scene.hello("new") };
        wire.send(&hello.encode()).await;
        assert_eq!(wire.next_bytes().await.as_deref(), Some(&[0x20, 3, 0, 0x84, 0][..]), "{level}");
        assert_eq!(wire.next().await, None);
    }
}

#[tokio::test]
async fn the_reserved_connect_flag_must_be_zero() {
    for scene in Scene::both() {
        let hello = scene.hello("reserved");
        scene.assert_malformed("flag 0", &hello.encode_with_flags(hello.flags() | 1)).await;
    }
}

#[tokio::test]
async fn will_qos_and_will_retain_need_a_will() {
    for scene in Scene::both() {
        let hello = scene.hello("no-will");
        for (what, flag) in
            [("Will QoS 1", WILL_QOS_1), ("Will QoS 2", WILL_QOS_2), ("Will Retain", WILL_RETAIN)]
        {
            scene.assert_malformed(what, &hello.encode_with_flags(hello.flags() | flag)).await;
        }
    }
}

#[tokio::test]
async fn a_will_needs_its_fields_and_they_need_the_will_flag() {
    for scene in Scene::both() {
        let hello = scene.hello("half-will");
        let without_fields = hello.encode_with_flags(hello.flags() | WILL);
        scene.assert_malformed("a will without fields", &without_fields).await;
        let without_flag = hello.clone().will("a", "x").encode_with_flags(hello.flags());
        scene.assert_malformed("a will without its flag", &without_flag).await;
    }
}

#[tokio::test]
async fn a_will_of_qos_3_is_malformed() {
    for scene in Scene::both() {
        let hello = scene.hello("will-3").will_with("a", "x", |will| will.qos = 3);
        scene.assert_malformed("Will QoS 3", &hello.encode()).await;
    }
}

#[tokio::test]
async fn user_name_and_password_are_there_exactly_if_their_flags_say_so() {
    for scene in Scene::both() {
        let bare = scene.hello("bare");
        let named = bare.clone().user("name", "secret");
        let flags = bare.flags();
        for (what, packet) in [
            ("a user name without its flag", named.encode_with_flags(flags)),
            ("a password without its flag", named.encode_with_flags(flags | USER_NAME)),
            ("no user name", bare.encode_with_flags(flags | USER_NAME)),
            ("no user name, no password", bare.encode_with_flags(flags | USER_NAME | PASSWORD)),
        ] {
            scene.assert_malformed(what, &packet).await;
        }
    }
}

#[tokio::test]
async fn before_version_5_a_password_needs_a_user_name() {
    let scene = Scene::v3();
    let mut packet = scene.hello("alone").encode_with_flags(0b10 | PASSWORD);
    packet.extend([0, 1, b'x']);
    packet[1] += 3;
    scene.assert_malformed("a password alone", &packet).await;
}

#[tokio::test]
async fn a_connect_without_a_client_id_field_is_malformed() {
    for scene in Scene::both() {
        let hello = Hello { client_id: Vec::new(), ..scene.hello("") };
        let packet = hello.encode();
        // The last two bytes are the length of the client id.
        let cut = frame(0x10, &packet[2..packet.len() - 2]);
        scene.assert_malformed("no client id", &cut).await;
    }
}

#[tokio::test]
async fn the_texts_of_a_connect_are_well_formed_utf_8() {
    for scene in Scene::both() {
        let hello = scene.hello("ID12").will("TOPIC34", "x").user("NAME56", "x");
        for text in ["ID12", "TOPIC34", "NAME56"] {
            for bad in [&b"\xC3\x28"[..], b"\xED\xA0\x80", b"\xF8\x88", b"\xC0\xAF"] {
                let packet = spoiled(&hello, text, bad);
                let ending = scene.turned_away(&packet).await;
                let is_right = match scene.is_v5() {
                    true => matches!(ending, Ending::Closed | Ending::Refused(0x80..)),
                    false => ending == Ending::Closed,
                };
                assert!(is_right, "{text} {bad:x?} {:?}: {ending:?}", scene.version);
            }
        }
    }
}

#[tokio::test]
async fn every_field_of_the_payload_is_read_in_its_place() {
    for scene in Scene::both() {
        let mut watcher = scene.subscriber("watcher", "will", 1).await;
        // The user is unknown: the refusal shows that the fields behind the will have been read.
        let hello = scene.hello("all").will(&scene.topic("will"), "gone").user("nobody", "x");
        let ending = scene.turned_away(&hello.encode()).await;
        let code = if scene.is_v5() { 0x86 } else { 4 };
        assert_eq!(ending, Ending::Refused(code));
        // The same without the user is welcome, and the will is what was said.
        drop(scene.enter(&Hello { user: None, ..hello }).await);
        let will = watcher.next_message().await;
        assert_eq!((will.topic.as_str(), will.text()), (&*scene.topic("will"), "gone"));
    }
}
