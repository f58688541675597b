//! Who may come in, and AUTH where nobody asked for it (MQTT 5.0 3.1.4, 3.15, 4.12; MQTT 3.1.1 3.1.4).

use crate::scene::Scene;
use manifold_tests::node::SECRET;
use manifold_tests::wire::packet::frame;
use manifold_tests::wire::property::encode;
use manifold_tests::wire::{Ending, Property};

#[tokio::test]
async fn a_wrong_secret_is_refused_and_closed() {
    for scene in Scene::both() {
        let code = if scene.is_v5() { 0x86 } else { 4 };
        for (name, secret) in [("admin", "wrong"), ("admin", ""), ("nobody", SECRET)] {
            let hello = scene.hello("guesser").user(name, secret);
            assert_eq!(scene.turned_away(&hello.encode()).await, Ending::Refused(code), "{name}");
        }
        scene.enter(&scene.hello("guesser").user("admin", SECRET)).await.leave().await;
    }
}

#[tokio::test]
async fn an_authentication_method_that_is_not_offered_is_refused() {
    let scene = Scene::v5();
    let hello = scene
        .hello("kerberos")
        .with(Property::AuthenticationMethod("GS2-KRB5".into()))
        .with(Property::AuthenticationData(vec![1, 2, 3]));
    let ending = scene.turned_away(&hello.encode()).await;
    assert!(matches!(ending, Ending::Refused(0x8C | 0x87)), "{ending:?}");
}

#[tokio::test]
async fn authentication_data_without_a_method_are_refused() {
    let scene = Scene::v5();
    let hello = scene.hello("data").with(Property::AuthenticationData(vec![1]));
    scene.assert_malformed("data without a method", &hello.encode()).await;
}

#[tokio::test]
async fn an_auth_that_nobody_asked_for_ends_the_connection() {
    let scene = Scene::v5();
    let method = encode(&[Property::AuthenticationMethod("SCRAM-SHA-256".into())]);
    for code in [0x18, 0x19] {
        let body = [&[code], &method[..]].concat();
        scene.ends("AUTH", &frame(0xF0, &body), 0x82).await;
    }
}

#[tokio::test]
async fn the_reserved_flags_of_an_auth_must_be_zero() {
    let scene = Scene::v5();
    for flags in [1, 2, 4, 8] {
        scene.ends("AUTH", &frame(0xF0 | flags, &[0x18, 0]), 0x81).await;
    }
}

#[tokio::test]
async fn before_version_5_there_is_no_auth() {
    let scene = Scene::v3();
    scene.ends("AUTH", &frame(0xF0, &[0x18, 0]), 0x81).await;
}
