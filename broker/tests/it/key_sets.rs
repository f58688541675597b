//! Keys of issuers that change while the broker runs: behind a URL, and in a file.

use crate::wire::{Bench, Client, PATIENCE, connect};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::{AuthConfig, BrokerConfig, JwtConfig};
use parking_lot::Mutex;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rmqtt_codec::v5::{self, ConnectAckReason};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

pub(crate) fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub(crate) fn key_set(id: &str, key: &Ed25519KeyPair) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x }] }).to_string()
}

pub(crate) fn token(id: &str, key: &Ed25519KeyPair) -> String {
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({ "alg": "EdDSA", "kid": id }));
    let claims = part(json!({ "sub": "robot", "exp": 100_000 }));
    let message = format!("{header}.{claims}");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())))
}

async fn bench(jwt: JwtConfig) -> Bench {
    let auth = AuthConfig { jwt: vec![jwt], ..AuthConfig::default() };
    Bench::start_as(BrokerConfig { auth, ..BrokerConfig::default() }).await
}

pub(crate) async fn enter(bench: &Bench, token: &str) -> ConnectAckReason {
    let password = Some(token.to_owned().into());
    let hello = v5::Connect { username: None, password, ..connect("c", "") };
    Client::connect(bench.address, hello).await.1.reason_code
}

/// Tries until the bearer comes in, as a client does.
pub(crate) async fn comes_in(bench: &Bench, token: &str) {
    let trying = async {
        while enter(bench, token).await != ConnectAckReason::Success {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("it never comes in");
}

#[tokio::test]
async fn keys_behind_a_url_are_needed_and_may_change() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let jwks_url = Some(format!("http://{}/keys", listener.local_addr().unwrap()));
    let served = Arc::new(Mutex::new((500, String::new())));
    let shown = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let (status, body) = shown.lock().clone();
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len());
            let answer = format!("{head}Connection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let bench = bench(JwtConfig { jwks_url, ..JwtConfig::default() }).await;
    let (first, second) = (key(1), key(2));
    let refused = ConnectAckReason::NotAuthorized;
    assert_eq!(enter(&bench, &token("a", &first)).await, refused, "without keys nobody comes in");
    *served.lock() = (200, key_set("a", &first));
    comes_in(&bench, &token("a", &first)).await;
    assert_eq!(enter(&bench, &token("a", &second)).await, refused);
    *served.lock() = (200, key_set("b", &second));
    comes_in(&bench, &token("b", &second)).await;
    assert_eq!(enter(&bench, &token("a", &first)).await, refused, "the old key is gone");
    *served.lock() = (500, String::new());
    assert_eq!(enter(&bench, &token("c", &first)).await, refused);
    assert_eq!(enter(&bench, &token("b", &second)).await, ConnectAckReason::Success);
}

#[tokio::test]
async fn keys_in_a_file_are_read_again_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let (first, second) = (key(1), key(2));
    std::fs::write(&file, key_set("a", &first)).unwrap();
    let bench = bench(JwtConfig { jwks_file: Some(file.clone()), ..JwtConfig::default() }).await;
    assert_eq!(enter(&bench, &token("a", &first)).await, ConnectAckReason::Success);
    std::fs::write(&file, "broken").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(enter(&bench, &token("a", &first)).await, ConnectAckReason::Success);
    std::fs::write(&file, key_set("b", &second)).unwrap();
    comes_in(&bench, &token("b", &second)).await;
    assert_eq!(enter(&bench, &token("a", &first)).await, ConnectAckReason::NotAuthorized);
}
