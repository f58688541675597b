//! CONNACK: what it says, and what it never says (MQTT 5.0 3.2; MQTT 3.1.1 3.2).

use crate::scene::Scene;
use manifold_tests::node::SECRET;
use manifold_tests::wire::packet::{frame, subscribe};
use manifold_tests::wire::{Ending, Hello, Packet, Property};

#[tokio::test]
async fn the_acknowledge_flags_hold_nothing_but_session_present() {
    for scene in Scene::both() {
        let hello = scene.hello("flags").persistent();
        for expected in [0, 1] {
            let mut wire = scene.open().await;
            wire.send(&hello.encode()).await;
            let bytes = wire.next_bytes().await.expect("it is welcome");
            // Two bytes of header, then the flags and the code.
            assert_eq!((bytes[0], &bytes[2..4]), (0x20, &[expected, 0][..]));
            wire.leave().await;
        }
    }
}

#[tokio::test]
async fn a_refusal_says_no_session_even_if_there_is_one() {
    for scene in Scene::both() {
        let hello = scene.hello("kept").user("admin", SECRET).persistent();
        scene.enter(&hello).await.leave().await;
        let mut wire = scene.open().await;
        wire.send(&hello.user("admin", "wrong").encode()).await;
        let bytes = wire.next_bytes().await.expect("it is refused");
        let code = if scene.is_v5() { 0x86 } else { 4 };
        assert_eq!((bytes[0], &bytes[2..4]), (0x20, &[0, code][..]));
        assert_eq!(wire.next().await, None, "it is closed");
    }
}

#[tokio::test]
async fn nothing_behind_a_refused_connect_is_acted_on() {
    for scene in Scene::both() {
        let mut watcher = scene.subscriber("watcher", "#", 1).await;
        let hello = scene.hello("refused").user("nobody", "wrong").encode();
        let rest = scene.publish("sneaked", "x", 0b0011, 1);
        let mut wire = scene.open().await;
        wire.send(&[hello, rest].concat()).await;
        assert_eq!(wire.ending().await, Ending::Refused(if scene.is_v5() { 0x86 } else { 4 }));
        scene.assert_nothing_before(&mut watcher, "marker").await;
        assert_eq!(scene.retained("sneaked").await, None);
    }
}

#[tokio::test]
async fn what_comes_with_the_connect_is_acted_on_once_it_is_accepted() {
    for scene in Scene::both() {
        let mut wire = scene.open().await;
        let filter = scene.topic("a");
        let packets = [
            scene.hello("eager").encode(),
            subscribe(scene.version, 7, filter.as_bytes(), 1),
            frame(0xC0, &[]),
        ];
        wire.send(&packets.concat()).await;
        assert!(matches!(wire.next().await, Some(Packet::ConnAck { code: 0, .. })));
        assert_eq!(wire.next().await, Some(Packet::SubAck { packet_id: 7, codes: vec![1] }));
        assert_eq!(wire.next().await, Some(Packet::PingResp));
    }
}

#[tokio::test]
async fn connack_comes_once_and_before_what_waits_for_the_session() {
    for scene in Scene::both() {
        let hello = scene.hello("late").persistent();
        let mut wire = scene.enter(&hello).await;
        assert_eq!(wire.subscribe(&scene.topic("a"), 1).await, 1);
        wire.leave().await;
        let mut speaker = scene.client("speaker").await;
        for text in ["1", "2"] {
            assert_eq!(speaker.publish_acked(&scene.topic("a"), text.as_bytes()).await, 0);
        }
        let mut wire = scene.open().await;
        wire.send(&hello.encode()).await;
        let first = wire.next().await;
        let is_welcome =
            matches!(first, Some(Packet::ConnAck { is_session_present: true, code: 0, .. }));
        assert!(is_welcome, "{first:?}");
        for text in ["1", "2"] {
            let Some(Packet::Publish(message)) = wire.next().await else { panic!("a message") };
            assert_eq!(message.text(), text);
            wire.acknowledge(&message).await;
        }
        wire.send(&frame(0xC0, &[])).await;
        assert_eq!(wire.next().await, Some(Packet::PingResp), "and no second CONNACK");
    }
}

#[tokio::test]
async fn what_the_node_can_do_is_not_denied() {
    let scene = Scene::v5();
    let mut wire = scene.open().await;
    wire.send(&scene.hello("able").encode()).await;
    let Some(Packet::ConnAck { properties, .. }) = wire.next().await else { panic!("welcome") };
    for property in &properties {
        let is_denial = match property {
            Property::RetainAvailable(it)
            | Property::WildcardSubscriptionAvailable(it)
            | Property::SubscriptionIdentifierAvailable(it)
            | Property::SharedSubscriptionAvailable(it) => *it == 0,
            // 2 is said by leaving it out (MQTT 5.0 3.2.2.3.4).
            Property::MaximumQos(_) => true,
            _ => false,
        };
        assert!(!is_denial, "{property:?}");
    }
}

#[tokio::test]
async fn without_an_authentication_method_none_is_spoken_of() {
    let scene = Scene::v5();
    let mut wire = scene.open().await;
    let asks_for_nothing = scene.hello("plain").with(Property::RequestResponseInformation(0));
    wire.send(&asks_for_nothing.encode()).await;
    let Some(Packet::ConnAck { properties, .. }) = wire.next().await else { panic!("welcome") };
    let is_uncalled = |property: &Property| {
        matches!(
            property,
            Property::ResponseInformation(_)
                | Property::AuthenticationMethod(_)
                | Property::AuthenticationData(_)
        )
    };
    assert!(!properties.iter().any(is_uncalled), "{properties:?}");
}

#[tokio::test]
async fn without_a_server_keep_alive_the_clients_own_counts() {
    let scene = Scene::v5();
    let mut wire = scene.open().await;
    wire.send(&Hello { keep_alive_secs: 1, ..scene.hello("asleep") }.encode()).await;
    let Some(Packet::ConnAck { properties, .. }) = wire.next().await else { panic!("welcome") };
    let has_other = properties.iter().any(|it| matches!(it, Property::ServerKeepAlive(_)));
    assert!(!has_other, "{properties:?}");
    scene.assert_ended("silence", &mut wire, 0x8D).await;
}

#[tokio::test]
async fn a_silent_client_is_ended_as_if_the_network_had_failed_and_a_pinging_one_is_not() {
    for scene in Scene::both() {
        let mut watcher = scene.subscriber("watcher", "will", 1).await;
        let alive = Hello { keep_alive_secs: 1, ..scene.hello("alive") };
        let mut alive = scene.enter(&alive).await;
        let silent = scene.hello("silent").will(&scene.topic("will"), "fell silent");
        let mut silent = scene.enter(&Hello { keep_alive_secs: 1, ..silent }).await;
        let pings = async {
            loop {
                alive.send(&frame(0xC0, &[])).await;
                assert_eq!(alive.next().await, Some(Packet::PingResp));
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
        };
        tokio::select! {
            () = pings => {}
            () = scene.assert_ended("silence", &mut silent, 0x8D) => {}
        }
        assert_eq!(watcher.next_message().await.text(), "fell silent");
        assert_eq!(alive.subscribe(&scene.topic("a"), 0).await, 0, "who speaks stays");
    }
}

#[tokio::test]
async fn a_refusal_before_version_5_that_has_no_return_code_is_only_closed() {
    // A CONNECT that is too long is none of the five refusals of MQTT 3.1.1, table 3.1.
    let scene = Scene::v3();
    let mut hello = scene.hello("long").will("a", &"x".repeat(60_000));
    hello = hello.user(&"n".repeat(60_000), &"p".repeat(60_000));
    assert_eq!(scene.turned_away(&hello.encode()).await, Ending::Closed);
}
