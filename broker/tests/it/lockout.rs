//! What comes of failures to prove who one is.

use crate::wire::{Bench, Client, connect, namespace, until};
use broker::credential::{Credential, CredentialIdentity};
use broker::{AuthConfig, BrokerConfig, LockoutConfig};
use bytes::Bytes;
use proto::{Role, UserId};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{self, ConnectAckReason, SubscribeAckReason};
use std::time::Duration;
use store::Changes;

const PASSWORD: &str = "chosen by Joe";

/// A bench with the people `joe` and `ann`, whose passwords are guarded by a slow hash.
async fn bench(lockout: LockoutConfig) -> Bench {
    let auth = AuthConfig { lockout, ..AuthConfig::default() };
    let bench = Bench::start_as(BrokerConfig { auth, ..BrokerConfig::default() }).await;
    let mut changes = Changes::new();
    for name in ["joe", "ann"] {
        let identity = CredentialIdentity::User { role: Role::App };
        let person = Credential::person(identity, PASSWORD, &*bench.outside).unwrap();
        changes.put(&(namespace(), UserId::parse(name).unwrap()), &person);
    }
    bench.store.commit(changes).await.unwrap();
    bench
}

fn with(client_id: &str, user: &str, password: &str) -> v5::Connect {
    let password = Some(Bytes::from(password.to_owned()));
    v5::Connect { password, ..connect(client_id, user) }
}

async fn enter(bench: &Bench, user: &str, password: &str) -> ConnectAckReason {
    Client::connect(bench.address, with(user, user, password)).await.1.reason_code
}

#[tokio::test]
async fn a_name_that_fails_again_and_again_is_not_listened_to_for_a_while() {
    let lockout = LockoutConfig { failures_max: 3, first_secs: 30, ..LockoutConfig::default() };
    let bench = bench(lockout).await;
    for _ in 0..3 {
        assert_eq!(enter(&bench, "joe", "guess").await, ConnectAckReason::BadUserNameOrPassword);
    }
    assert_eq!(enter(&bench, "joe", PASSWORD).await, ConnectAckReason::Banned);
    assert_eq!(enter(&bench, "ann", PASSWORD).await, ConnectAckReason::Success);
    bench.client("pump7", "pump7").await;
    bench.outside.advance(Duration::from_secs(30));
    assert_eq!(enter(&bench, "joe", PASSWORD).await, ConnectAckReason::Success);
    let figures = bench.broker.figures();
    assert_eq!((figures.lockouts, figures.refused_locked_out), (1, 1));
    assert_eq!((figures.authentication_failures, figures.refused_credentials), (3, 3));
}

#[tokio::test]
async fn guessing_at_many_names_keeps_no_device_out_and_nobody_who_was_here_before() {
    let lockout =
        LockoutConfig { spread_failures_max: 5, failures_max: 100, ..LockoutConfig::default() };
    let bench = bench(lockout).await;
    assert_eq!(enter(&bench, "joe", PASSWORD).await, ConnectAckReason::Success);
    for number in 0..5 {
        let name = format!("guess{number}");
        assert_eq!(enter(&bench, &name, "x").await, ConnectAckReason::BadUserNameOrPassword);
    }
    assert_eq!(enter(&bench, "ann", PASSWORD).await, ConnectAckReason::Banned);
    assert_eq!(enter(&bench, "joe", PASSWORD).await, ConnectAckReason::Success);
    bench.client("pump7", "pump7").await;
}

#[tokio::test]
async fn a_flood_of_wrong_passwords_does_not_hold_devices_up() {
    let open = LockoutConfig { failures_max: 0, ..LockoutConfig::default() };
    let bench = bench(open).await;
    let mut flood = Vec::new();
    for number in 0..24 {
        let hello = with(&format!("flood{number}"), "joe", "guess");
        let address = bench.address;
        flood.push(tokio::spawn(async move { Client::connect(address, hello).await.1 }));
    }
    for _ in 0..10 {
        bench.client("pump7", "pump7").await.leave().await;
    }
    let waiting = flood.iter().filter(|it| !it.is_finished()).count();
    assert!(waiting > 0, "devices came in while passwords were still being checked");
    for guess in flood {
        assert_eq!(guess.await.unwrap().reason_code, ConnectAckReason::BadUserNameOrPassword);
    }
}

#[tokio::test]
async fn more_passwords_than_can_wait_are_refused_at_once() {
    let open = LockoutConfig { failures_max: 0, ..LockoutConfig::default() };
    let bench = bench(open).await;
    let mut flood = Vec::new();
    for number in 0..80 {
        let hello = with(&format!("flood{number}"), "joe", "guess");
        flood.push(Client::open(bench.address, hello).await);
    }
    until(|| bench.broker.figures().refused_busy > 0).await;
    drop(flood);
}

#[tokio::test]
async fn operators_are_told_who_was_refused_and_why() {
    let bench = bench(LockoutConfig::default()).await;
    let mut admin = bench.admin("admin").await;
    let granted = admin.subscribe("events/clients/refused", QoS::AtMostOnce).await;
    assert_eq!(granted, SubscribeAckReason::GrantedQos0);
    enter(&bench, "nobody", "x").await;
    let event: serde_json::Value = serde_json::from_str(&admin.expect_payload().await).unwrap();
    assert_eq!((&event["user_name"], &event["reason"]), (&"nobody".into(), &"unknown_name".into()));
    assert!(event["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    for _ in 0..50 {
        enter(&bench, "nobody", "x").await;
    }
    bench.outside.advance(Duration::from_secs(1));
    enter(&bench, "nobody", "x").await;
    let mut told = 0;
    let left_out = loop {
        let event: serde_json::Value = serde_json::from_str(&admin.expect_payload().await).unwrap();
        told += 1;
        if event["left_out"] != 0 {
            break event["left_out"].as_u64().unwrap();
        }
    };
    assert_eq!((told, left_out), (10, 41), "nine more in the first second, then the next");
}
