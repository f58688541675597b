//! JSON Web Tokens as passwords, and renewed while connected.

use crate::wire::{Bench, Client, SECRET, connect, message};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::{AuthConfig, BrokerConfig, JwtConfig};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{
    self, Auth, AuthReasonCode, ConnectAckReason, DisconnectReasonCode, Packet, PublishAckReason,
    SubscribeAckReason,
};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use std::time::Duration;

const KEY: &[u8] = b"the issuer and the broker know this secret";

/// The clock of the tests begins here, in seconds.
const NOW: u64 = 1000;

fn token(claims: &Json) -> String {
    let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let mut code = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    code.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(code.finalize().into_bytes()))
}

fn app() -> Json {
    json!({ "sub": "robot", "role": "app", "exp": NOW + 60 })
}

async fn bench() -> (Bench, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, KEY).unwrap();
    let jwt = JwtConfig {
        secret_file: Some(file),
        leeway_secs: 0,
        namespace_claim: "namespace".to_owned(),
        ..JwtConfig::default()
    };
    let auth = AuthConfig { jwt: vec![jwt], ..AuthConfig::default() };
    (Bench::start_as(BrokerConfig { auth, ..BrokerConfig::default() }).await, folder)
}

fn bearing(user: Option<&str>, claims: &Json) -> v5::Connect {
    let (username, password) = (user.map(|it| it.to_owned().into()), Some(token(claims).into()));
    v5::Connect { username, password, ..connect("c", "") }
}

#[tokio::test]
async fn whoever_bears_a_token_is_who_the_token_says() {
    let (bench, _folder) = bench().await;
    let with = |claim: &str, value: Json| {
        let mut claims = app();
        claims[claim] = value;
        claims
    };
    let (good, refused) = (ConnectAckReason::Success, ConnectAckReason::NotAuthorized);
    let device = json!({ "sub": "pump7", "role": "device", "exp": NOW + 60 });
    for (user, claims, expected) in [
        (None, app(), good),
        (Some(""), app(), good),
        (Some("robot"), app(), good),
        (Some("someone"), app(), refused),
        (Some("acme/berlin/robot"), with("namespace", json!("acme/berlin")), good),
        (None, with("namespace", json!("no/where")), refused),
        (None, with("namespace", json!("system/system")), refused),
        (None, with("exp", json!(NOW)), refused),
        (None, with("role", json!("system_admin")), refused),
        (None, with("acl", json!("everything")), refused),
        (Some("pump7"), device.clone(), good),
        (None, json!({ "sub": "pump99", "role": "device", "exp": NOW + 60 }), refused),
    ] {
        let (_, ack) = Client::connect(bench.address, bearing(user, &claims)).await;
        assert_eq!(ack.reason_code, expected, "{user:?} {claims}");
    }
    let mut thing = Client::connect(bench.address, bearing(None, &device)).await.0;
    let published = thing.publish_acked(message("things/pump8/telemetry", "1")).await;
    assert_eq!(published, PublishAckReason::NotAuthorized);
    let (_, ack) = Client::connect(bench.address, connect("d", "app")).await;
    assert_eq!(ack.reason_code, good, "passwords go on as before");
    assert_eq!(bench.broker.figures().refused_tokens, 4);
}

#[tokio::test]
async fn the_list_of_a_token_narrows_its_role() {
    let (bench, _folder) = bench().await;
    let mut claims = app();
    claims["acl"] = json!([
        { "permission": "allow", "action": "publish", "topic": "up/%u/%c", "qos_max": 1, "retain": false },
        { "permission": "deny", "action": "subscribe", "topic": "down/secret" },
        { "permission": "allow", "action": "subscribe", "topic": "down/#", "qos_max": 0 },
        { "permission": "allow", "action": "all", "topic": "things/#" },
    ]);
    let mut robot = Client::connect(bench.address, bearing(None, &claims)).await.0;
    let nobody = PublishAckReason::NoMatchingSubscribers;
    for (topic, expected) in [
        ("up/robot/c", nobody),
        ("up/robot/d", PublishAckReason::NotAuthorized),
        ("down/x", PublishAckReason::NotAuthorized),
        // The list allows it, the role does not.
        ("things/pump7/telemetry", PublishAckReason::NotAuthorized),
    ] {
        assert_eq!(robot.publish_acked(message(topic, "1")).await, expected, "{topic}");
    }
    let mut retained = message("up/robot/c", "1");
    retained.retain = true;
    assert_eq!(robot.publish_acked(retained).await, PublishAckReason::NotAuthorized);
    for (filter, expected) in [
        ("down/#", SubscribeAckReason::GrantedQos0),
        ("down/secret", SubscribeAckReason::NotAuthorized),
        ("#", SubscribeAckReason::NotAuthorized),
    ] {
        assert_eq!(robot.subscribe(filter, QoS::AtLeastOnce).await, expected, "{filter}");
    }
    let mut admin = bench.admin("admin").await;
    admin.publish("down/secret", "not for it").await;
    admin.publish("down/open", "for it").await;
    assert_eq!(robot.expect_payload().await, "for it");
}

#[tokio::test]
async fn a_client_goes_when_its_token_is_over() {
    let (bench, _folder) = bench().await;
    let mut robot = Client::connect(bench.address, bearing(None, &app())).await.0;
    bench.outside.advance(Duration::from_secs(59));
    robot.expect_silence().await;
    bench.outside.advance(Duration::from_secs(1));
    assert_eq!(robot.expect_end().await, DisconnectReasonCode::MaximumConnectTime);
}

fn renewal(claims: &Json) -> Packet {
    Packet::Auth(Auth {
        reason_code: AuthReasonCode::ReAuth,
        auth_method: Some("JWT".into()),
        auth_data: Some(Bytes::from(token(claims))),
        ..Auth::default()
    })
}

#[tokio::test]
async fn a_token_that_is_renewed_in_time_keeps_its_bearer_connected() {
    let (bench, _folder) = bench().await;
    let connect = v5::Connect {
        username: None,
        password: None,
        auth_method: Some("JWT".into()),
        auth_data: Some(token(&app()).into()),
        ..connect("c", "")
    };
    let (mut robot, ack) = Client::connect(bench.address, connect.clone()).await;
    assert_eq!(ack.reason_code, ConnectAckReason::Success);
    assert_eq!(ack.auth_method.as_deref(), Some("JWT"));
    let mut longer = app();
    longer["exp"] = json!(NOW + 120);
    longer["acl"] = json!([{ "permission": "allow", "action": "all", "topic": "now/#" }]);
    robot.send(renewal(&longer)).await;
    match robot.receive().await {
        Some(Packet::Auth(auth)) => assert_eq!(auth.reason_code, AuthReasonCode::Success),
        other => panic!("no AUTH but {other:?}"),
    }
    let published = robot.publish_acked(message("before", "1")).await;
    assert_eq!(published, PublishAckReason::NotAuthorized, "the new list counts at once");
    bench.outside.advance(Duration::from_secs(90));
    robot.expect_silence().await;
    bench.outside.advance(Duration::from_secs(30));
    assert_eq!(robot.expect_end().await, DisconnectReasonCode::MaximumConnectTime);
}

#[tokio::test]
async fn a_renewal_is_of_the_same_client_and_by_the_same_method() {
    let (bench, _folder) = bench().await;
    let by_auth = v5::Connect {
        username: None,
        password: None,
        auth_method: Some("JWT".into()),
        auth_data: Some(token(&app()).into()),
        ..connect("c", "")
    };
    let other = json!({ "sub": "other", "role": "app", "exp": NOW + 60 });
    let over = json!({ "sub": "robot", "role": "app", "exp": NOW });
    for (packet, expected) in [
        (renewal(&other), DisconnectReasonCode::NotAuthorized),
        (renewal(&over), DisconnectReasonCode::NotAuthorized),
        (
            Packet::Auth(Auth { reason_code: AuthReasonCode::ReAuth, ..Auth::default() }),
            DisconnectReasonCode::BadAuthenticationMethod,
        ),
    ] {
        let mut robot = Client::connect(bench.address, by_auth.clone()).await.0;
        robot.send(packet).await;
        assert_eq!(robot.expect_end().await, expected);
    }
    // By password there is no method to go on with (MQTT 5.0 4.12.0-6).
    let plain = v5::Connect { password: Some(SECRET.into()), ..connect("d", "app") };
    let mut plain = Client::connect(bench.address, plain).await.0;
    plain.send(renewal(&app())).await;
    assert_eq!(plain.expect_end().await, DisconnectReasonCode::ProtocolError);
}
