//! SCRAM-SHA-256 over AUTH packets, with a client side of its own on other libraries than the broker's.

use crate::wire::{Bench, Client, SECRET, connect, message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rmqtt_codec::v5::{
    self, Auth, AuthReasonCode, ConnectAckReason, DisconnectReasonCode, Packet, PublishAckReason,
};
use sha2::{Digest as _, Sha256};

const METHOD: &str = "SCRAM-SHA-256";
const FIRST: &str = "r=client-nonce";

fn code(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut code = Hmac::<Sha256>::new_from_slice(key).unwrap();
    code.update(text);
    code.finalize().into_bytes().into()
}

/// `SaltedPassword` (RFC 5802 3): PBKDF2 with one block.
fn salted(secret: &str, salt: &[u8], rounds: u32) -> [u8; 32] {
    let mut last = code(secret.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
    let mut all = last;
    for _ in 1..rounds {
        last = code(secret.as_bytes(), &last);
        all.iter_mut().zip(last).for_each(|(all, byte)| *all ^= byte);
    }
    all
}

/// The second message of the client, and what the broker then has to say.
fn finish(name: &str, secret: &str, challenge: &[u8]) -> (String, String) {
    let challenge = String::from_utf8(challenge.to_vec()).unwrap();
    let field = |mark: &str| challenge.split(',').find_map(|it| it.strip_prefix(mark)).unwrap();
    assert!(field("r=").starts_with("client-nonce") && field("r=").len() > 30);
    let salt = STANDARD.decode(field("s=")).unwrap();
    let key = salted(secret, &salt, field("i=").parse().unwrap());
    let without_proof = format!("c=biws,r={}", field("r="));
    let said = format!("n={name},{FIRST},{challenge},{without_proof}");
    let client_key = code(&key, b"Client Key");
    let signature = code(&Sha256::digest(client_key), said.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let server = code(&code(&key, b"Server Key"), said.as_bytes());
    (
        format!("{without_proof},p={}", STANDARD.encode(proof)),
        format!("v={}", STANDARD.encode(server)),
    )
}

fn hello(client_id: &str, name: &str) -> v5::Connect {
    v5::Connect {
        username: None,
        password: None,
        auth_method: Some(METHOD.into()),
        auth_data: Some(format!("n,,n={name},{FIRST}").into()),
        ..connect(client_id, "")
    }
}

fn auth(reason_code: AuthReasonCode, data: impl Into<Bytes>) -> Packet {
    Packet::Auth(Auth {
        reason_code,
        auth_method: Some(METHOD.into()),
        auth_data: Some(data.into()),
        ..Auth::default()
    })
}

async fn challenge(client: &mut Client) -> Bytes {
    match client.receive().await {
        Some(Packet::Auth(auth)) => {
            assert_eq!(auth.reason_code, AuthReasonCode::ContinueAuth);
            assert_eq!(auth.auth_method.as_deref(), Some(METHOD));
            auth.auth_data.unwrap()
        }
        other => panic!("no AUTH but {other:?}"),
    }
}

/// Goes through the exchange; the CONNACK, and whether the broker has shown that it knows the secret.
async fn enter(bench: &Bench, name: &str, secret: &str) -> (Client, v5::ConnectAck, bool) {
    let mut client = Client::open(bench.address, hello(name, name)).await;
    let (answer, expected) = finish(name, secret, &challenge(&mut client).await);
    client.send(auth(AuthReasonCode::ContinueAuth, answer)).await;
    match client.receive().await {
        Some(Packet::ConnectAck(ack)) => {
            let is_known = ack.auth_data.as_deref() == Some(expected.as_bytes());
            (client, *ack, is_known)
        }
        other => panic!("no CONNACK but {other:?}"),
    }
}

#[tokio::test]
async fn both_sides_prove_that_they_know_the_secret() {
    let bench = Bench::start().await;
    let (mut device, ack, is_known) = enter(&bench, "pump7", SECRET).await;
    assert_eq!(ack.reason_code, ConnectAckReason::Success);
    assert!(is_known);
    let published = device.publish_acked(message("things/pump8/telemetry", "1")).await;
    assert_eq!(published, PublishAckReason::NotAuthorized, "it is pump7");
    let (_, ack, is_known) = enter(&bench, "acme/berlin/app", SECRET).await;
    assert!(ack.reason_code == ConnectAckReason::Success && is_known);
}

#[tokio::test]
async fn a_wrong_secret_and_a_name_that_does_not_exist_look_the_same() {
    let bench = Bench::start().await;
    for (name, secret) in [("app", "wrong"), ("nobody", SECRET)] {
        let (mut client, ack, is_known) = enter(&bench, name, secret).await;
        assert_eq!(ack.reason_code, ConnectAckReason::NotAuthorized, "{name}");
        assert!(!is_known && ack.auth_data.is_none());
        assert!(client.receive().await.is_none());
    }
    let mut salts = Vec::new();
    for _ in 0..2 {
        let mut client = Client::open(bench.address, hello("c", "nobody")).await;
        let text = String::from_utf8(challenge(&mut client).await.to_vec()).unwrap();
        salts.push(text.split(",s=").nth(1).unwrap().to_owned());
    }
    assert_eq!(salts[0], salts[1]);
    assert_eq!(bench.broker.figures().authentication_failures, 2);
}

#[tokio::test]
async fn the_exchange_is_kept_to_by_the_book() {
    let bench = Bench::start().await;
    let other_method = v5::Connect { auth_method: Some("GSSAPI".into()), ..hello("c", "app") };
    let (_, ack) = Client::connect(bench.address, other_method).await;
    assert_eq!(ack.reason_code, ConnectAckReason::BadAuthenticationMethod);
    let malformed = v5::Connect { auth_data: Some("nonsense".into()), ..hello("c", "app") };
    let (_, ack) = Client::connect(bench.address, malformed).await;
    assert_eq!(ack.reason_code, ConnectAckReason::ProtocolError);
    let other_name = v5::Connect { username: Some("viewer".into()), ..hello("c", "app") };
    let (_, ack) = Client::connect(bench.address, other_name).await;
    assert_eq!(ack.reason_code, ConnectAckReason::NotAuthorized);
    for packet in [
        Packet::PingRequest,
        auth(AuthReasonCode::ReAuth, "n,,n=app,r=x"),
        Packet::Auth(Auth { reason_code: AuthReasonCode::ContinueAuth, ..Auth::default() }),
    ] {
        let mut client = Client::open(bench.address, hello("c", "app")).await;
        challenge(&mut client).await;
        client.send(packet).await;
        match client.receive().await {
            Some(Packet::ConnectAck(ack)) => {
                assert_eq!(ack.reason_code, ConnectAckReason::ProtocolError);
            }
            other => panic!("no CONNACK but {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_proves_itself_anew_while_messages_go_on() {
    let bench = Bench::start().await;
    let (mut app, _, _) = enter(&bench, "app", SECRET).await;
    app.send(auth(AuthReasonCode::ReAuth, format!("n,,n=app,{FIRST}"))).await;
    let asked = challenge(&mut app).await;
    let published = app.publish_acked(message("t", "1")).await;
    assert_eq!(published, PublishAckReason::NoMatchingSubscribers);
    let (answer, expected) = finish("app", SECRET, &asked);
    app.send(auth(AuthReasonCode::ContinueAuth, answer)).await;
    match app.receive().await {
        Some(Packet::Auth(auth)) => {
            assert_eq!(auth.reason_code, AuthReasonCode::Success);
            assert_eq!(auth.auth_data.as_deref(), Some(expected.as_bytes()));
        }
        other => panic!("no AUTH but {other:?}"),
    }
    app.send(auth(AuthReasonCode::ReAuth, format!("n,,n=app,{FIRST}"))).await;
    let (wrong, _) = finish("app", "wrong", &challenge(&mut app).await);
    app.send(auth(AuthReasonCode::ContinueAuth, wrong)).await;
    assert_eq!(app.expect_end().await, DisconnectReasonCode::NotAuthorized);
}

#[tokio::test]
async fn a_client_does_not_become_another_while_connected() {
    let bench = Bench::start().await;
    let (mut app, _, _) = enter(&bench, "app", SECRET).await;
    app.send(auth(AuthReasonCode::ReAuth, format!("n,,n=admin,{FIRST}"))).await;
    let (answer, _) = finish("admin", SECRET, &challenge(&mut app).await);
    app.send(auth(AuthReasonCode::ContinueAuth, answer)).await;
    assert_eq!(app.expect_end().await, DisconnectReasonCode::NotAuthorized);
    let (mut app, _, _) = enter(&bench, "app", SECRET).await;
    app.send(auth(AuthReasonCode::ContinueAuth, "c=biws,r=x,p=x")).await;
    assert_eq!(app.expect_end().await, DisconnectReasonCode::ProtocolError);
}
