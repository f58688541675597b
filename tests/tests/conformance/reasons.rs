//! Why in words: Reason Strings and Request Problem Information (MQTT 5.0 3.1.2.11.8, 3.2.2.3.9, 3.4.2.2.2,
//! 3.9.2.1.2, 3.11.2.1.2, 3.14.2.2.3), and where the client may be answered (3.1.2.11.7, 3.2.2.3.15).

use crate::scene::Scene;
use manifold_tests::node::SECRET;
use manifold_tests::wire::packet::{
    frame, publish_with, reason_string, subscribe_with, unsubscribe,
};
use manifold_tests::wire::{Hello, Packet, Property, Wire};

const QOS_1: u8 = 0b0010;
const QOS_2: u8 = 0b0100;

/// What is refused: a packet, the type of its answer, and why.
fn refusals(scene: &Scene) -> Vec<(Vec<u8>, u8, &'static str)> {
    let deep = format!("{}x", "a/".repeat(129));
    let levels = "topic levels: 130, at most 128 (limits.topic_levels_max)";
    let forbidden = "the client may not publish on this topic";
    let misplaced = "`+` must be a whole level and `#` the whole last level of a filter";
    let (fine, odd) = (scene.topic("fine"), "#/odd");
    let filters: [(&[u8], u8); 3] = [(fine.as_bytes(), 1), (odd.as_bytes(), 1), (b"$share/g", 1)];
    vec![
        (publish_with(b"$SYS/x", b"", QOS_1, 1, &[]), 4, forbidden),
        (publish_with(b"$SYS/x", b"", QOS_2, 2, &[]), 5, forbidden),
        (publish_with(deep.as_bytes(), b"", QOS_1, 3, &[]), 4, levels),
        (subscribe_with(scene.version, 4, &[], &[(deep.as_bytes(), 1)]), 9, levels),
        (subscribe_with(scene.version, 5, &[], &[(odd.as_bytes(), 1)]), 9, misplaced),
        (subscribe_with(scene.version, 6, &[], &filters), 9, "filter 2: `+` must be"),
        (unsubscribe(scene.version, 7, &[odd.as_bytes()]), 11, misplaced),
    ]
}

/// Sends a packet; the answer.
async fn answer(wire: &mut Wire, packet: &[u8]) -> Vec<u8> {
    wire.send(packet).await;
    wire.next_bytes().await.expect("an answer")
}

/// Says hello; the CONNACK.
async fn greeting(scene: &Scene, hello: &Hello) -> Vec<u8> {
    answer(&mut scene.open().await, &hello.encode()).await
}

#[tokio::test]
async fn a_refusal_says_why_in_words_and_a_success_says_nothing() {
    let scene = Scene::v5();
    let mut wire = scene.client("refused").await;
    for (packet, kind, why) in refusals(&scene) {
        let answer = answer(&mut wire, &packet).await;
        let words = reason_string(&answer).unwrap_or_default();
        assert_eq!(answer[0] >> 4, kind);
        assert!(words.starts_with(why), "{why}: {words}");
    }
    let filter = scene.topic("fine");
    for packet in [
        scene.subscribe(1, "fine", 1),
        scene.publish("fine", "x", QOS_1, 2),
        unsubscribe(scene.version, 3, &[filter.as_bytes()]),
    ] {
        wire.send(&packet).await;
        let answer = loop {
            let bytes = wire.next_bytes().await.expect("an answer");
            if bytes[0] >> 4 != 3 {
                break bytes;
            }
        };
        assert_eq!(reason_string(&answer), None, "{answer:x?}");
    }
}

#[tokio::test]
async fn who_wants_no_problem_information_is_told_by_codes_until_the_end() {
    let scene = Scene::v5();
    let hello = scene.hello("terse").with(Property::RequestProblemInformation(0));
    let mut wire = scene.enter(&hello).await;
    for (packet, kind, why) in refusals(&scene) {
        let answer = answer(&mut wire, &packet).await;
        assert_eq!((answer[0] >> 4, reason_string(&answer)), (kind, None), "{why}");
    }
    // CONNACK and DISCONNECT may say why all the same (3.1.2-29).
    let end = answer(&mut wire, &frame(0xC1, &[])).await;
    assert_eq!((end[0], reason_string(&end).as_deref()), (0xE0, Some("a packet is malformed")));
    let refusal = greeting(&scene, &hello.user("admin", "wrong")).await;
    let words = reason_string(&refusal);
    assert_eq!(words.as_deref(), Some("user name or password is wrong"));
}

#[tokio::test]
async fn words_that_would_make_an_answer_too_long_are_left_out_and_no_others() {
    let scene = Scene::v5();
    let mut wire = scene.client("wide").await;
    for (packet, _, why) in refusals(&scene) {
        let whole = answer(&mut wire, &packet).await;
        assert!(reason_string(&whole).is_some());
        for (room, has_words) in [(whole.len(), true), (whole.len() - 1, false)] {
            let room = Property::MaximumPacketSize(u32::try_from(room).expect("it is short"));
            let mut narrow = scene.enter(&scene.hello("narrow").with(room)).await;
            let answer = answer(&mut narrow, &packet).await;
            assert_eq!(answer[0], whole[0]);
            assert_eq!(reason_string(&answer).is_some(), has_words, "{why}");
            assert!(has_words == (answer == whole), "{answer:x?}");
            narrow.leave().await;
        }
    }
    let end = answer(&mut wire, &frame(0xC1, &[])).await;
    let room = u32::try_from(end.len()).expect("it is short") - 1;
    let hello = scene.hello("narrow").with(Property::MaximumPacketSize(room.max(24)));
    let mut narrow = scene.enter(&hello).await;
    let bare = answer(&mut narrow, &frame(0xC1, &[])).await;
    assert_eq!((bare[0], bare[2], reason_string(&bare)), (0xE0, 0x81, None));
    let hello = hello.user("admin", "wrong");
    let bare = greeting(&scene, &hello).await;
    assert_eq!((bare[0], bare[3], reason_string(&bare)), (0x20, 0x86, None));
}

#[tokio::test]
async fn a_refused_connect_says_why_and_nothing_of_who_is_there() {
    let scene = Scene::v5();
    let long = "c".repeat(2000);
    let long = Hello { client_id: long.into_bytes(), ..scene.hello("") };
    let told = reason_string(&greeting(&scene, &long).await).unwrap_or_default();
    assert!(told.starts_with("client id bytes: 2000, at most 1024 "), "{told}");
    assert!(told.ends_with("(limits.client_id_bytes_max)"), "{told}");
    let wrong = scene.hello("a").user("admin", "wrong");
    let unknown = scene.hello("a").user("nobody", SECRET);
    let elsewhere = scene.hello("a").user("no/where/nobody", SECRET);
    let wrong = greeting(&scene, &wrong).await;
    assert!(reason_string(&wrong).is_some());
    assert_eq!(greeting(&scene, &unknown).await, wrong);
    assert_eq!(greeting(&scene, &elsewhere).await, wrong);
}

#[tokio::test]
async fn the_end_of_a_connection_says_why() {
    let scene = Scene::v5();
    let mut first = scene.client("one").await;
    let _second = scene.client("one").await;
    let end = first.next_bytes().await.expect("it is told");
    let told = reason_string(&end);
    assert_eq!(told.as_deref(), Some("another connection has taken the session over"));
    let mut wire = scene.client("long").await;
    let end = answer(&mut wire, &[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    let told = reason_string(&end).unwrap_or_default();
    assert!(told.starts_with("bytes of a packet: at most "), "{told}");
    assert!(told.ends_with("(limits.packet_bytes_max)"), "{told}");
}

/// The Response Information of the CONNACK, and the client.
async fn answered_on(scene: &Scene, hello: &Hello) -> (Option<String>, Wire) {
    let mut wire = scene.open().await;
    wire.send(&hello.encode()).await;
    let Some(Packet::ConnAck { code: 0, properties, .. }) = wire.next().await else {
        panic!("it is welcome")
    };
    let told = properties.into_iter().find_map(|it| match it {
        Property::ResponseInformation(told) => Some(told),
        _ => None,
    });
    (told, wire)
}

#[tokio::test]
async fn who_asks_is_told_what_its_reply_topics_begin_with_and_is_answered_there() {
    let scene = Scene::v5();
    let asking = |hello: Hello| hello.with(Property::RequestResponseInformation(1));
    let hello = asking(scene.hello("asker"));
    let id = String::from_utf8(hello.client_id.clone()).expect("it is text");
    let (told, mut wire) = answered_on(&scene, &hello).await;
    let prefix = told.expect("it is told");
    assert_eq!(prefix, format!("clients/{id}/reply/"));
    assert_eq!(wire.subscribe(&format!("{prefix}+"), 1).await, 1);
    assert!(wire.publish_acked("admin/things/list/7", b"{}").await < 0x80);
    assert_eq!(wire.next_message().await.topic, format!("{prefix}7"));

    // A client id of several levels has no reply topics; one that is given by the node has.
    assert_eq!(answered_on(&scene, &asking(scene.hello("a/b"))).await.0, None);
    let nameless = Hello { client_id: Vec::new(), ..asking(scene.hello("")) };
    let (told, _) = answered_on(&scene, &nameless).await;
    assert!(told.is_some_and(|it| it.starts_with("clients/auto-") && it.ends_with("/reply/")));
    assert_eq!(answered_on(&scene, &scene.hello("silent")).await.0, None, "it has not asked");
}

#[tokio::test]
async fn response_information_that_would_make_connack_too_long_is_left_out() {
    let scene = Scene::v5();
    let hello = scene.hello("tight").with(Property::RequestResponseInformation(1));
    let whole = greeting(&scene, &hello).await.len();
    for (room, is_told) in [(whole, true), (whole - 1, false)] {
        let room = Property::MaximumPacketSize(u32::try_from(room).expect("it is short"));
        let (told, _) = answered_on(&scene, &hello.clone().with(room)).await;
        assert_eq!(told.is_some(), is_told);
    }
}
