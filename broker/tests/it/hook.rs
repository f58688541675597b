//! An HTTP service that says who clients are, played by a socket of the test.

use crate::wire::{Bench, Client, connect, message, until};
use broker::{AuthConfig, BrokerConfig, HookConfig};
use bytes::Bytes;
use parking_lot::Mutex;
use rmqtt_codec::v5::{self, ConnectAckReason, DisconnectReasonCode, PublishAckReason};
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A service that notes what it is asked and says what it is told to say.
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Json>>>,
    answer: Arc<Mutex<Option<(u16, String)>>>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            answer: Arc::default(),
        };
        let (asked, answer) = (Arc::clone(&service.asked), Arc::clone(&service.answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&asked), Arc::clone(&answer)));
            }
        });
        service
    }

    fn says(&self, answer: &Json) {
        *self.answer.lock() = Some((200, answer.to_string()));
    }

    fn config(&self) -> HookConfig {
        let url = format!("http://{}/mqtt", self.address);
        HookConfig { url, timeout_ms: 500, ..HookConfig::default() }
    }

    async fn bench(&self, config: HookConfig) -> Bench {
        let auth = AuthConfig { http: Some(config), ..AuthConfig::default() };
        Bench::start_as(BrokerConfig { auth, ..BrokerConfig::default() }).await
    }
}

/// Requests on one connection; without an answer to give it says nothing.
async fn serve(
    mut stream: TcpStream,
    asked: Arc<Mutex<Vec<Json>>>,
    answer: Arc<Mutex<Option<(u16, String)>>>,
) {
    let mut read = Vec::new();
    loop {
        let whole = loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            let head = text.split_once("\r\n\r\n");
            let body = head.and_then(|(_, body)| serde_json::from_str::<Json>(body).ok());
            if let Some(body) = body {
                break body;
            }
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        read.clear();
        asked.lock().push(whole);
        let Some((status, body)) = answer.lock().clone() else { continue };
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

fn hello(user: &str) -> v5::Connect {
    v5::Connect {
        password: Some(Bytes::from_static(b"secret of elsewhere")),
        ..connect("c7", user)
    }
}

async fn enter(bench: &Bench, user: &str) -> (Client, ConnectAckReason) {
    let (client, ack) = Client::connect(bench.address, hello(user)).await;
    (client, ack.reason_code)
}

#[tokio::test]
async fn the_service_says_who_a_client_is_and_what_it_may_do() {
    let service = Service::start().await;
    let bench = service.bench(service.config()).await;
    service.says(&json!({
        "result": "allow", "role": "app", "expires_in": 60,
        "acl": [{ "permission": "allow", "action": "all", "topic": "own/%u/#" }],
    }));
    let (mut client, reason) = enter(&bench, "acme/berlin/robot").await;
    assert_eq!(reason, ConnectAckReason::Success);
    let asked = service.asked.lock()[0].clone();
    assert_eq!(
        asked,
        json!({
            "action": "authenticate", "client_id": "c7", "user_name": "acme/berlin/robot",
            "password": "secret of elsewhere", "address": "127.0.0.1", "namespace": null,
            "identity": null,
        })
    );
    for (topic, expected) in [
        ("own/robot/x", PublishAckReason::NoMatchingSubscribers),
        ("own/other/x", PublishAckReason::NotAuthorized),
    ] {
        assert_eq!(client.publish_acked(message(topic, "1")).await, expected, "{topic}");
    }
    bench.outside.advance(Duration::from_secs(60));
    assert_eq!(client.expect_end().await, DisconnectReasonCode::MaximumConnectTime);
}

#[tokio::test]
async fn without_a_right_answer_nobody_comes_in() {
    let service = Service::start().await;
    let bench = service.bench(service.config()).await;
    let (refused, unavailable) =
        (ConnectAckReason::NotAuthorized, ConnectAckReason::ServerUnavailable);
    for (number, (status, answer, expected)) in [
        (200, json!({ "result": "deny" }), refused),
        (200, json!({ "result": "ignore" }), ConnectAckReason::BadUserNameOrPassword),
        (200, json!({ "result": "allow", "role": "system_admin" }), refused),
        (200, json!({ "result": "allow", "role": "device" }), refused),
        (200, json!({ "result": "allow", "namespace": "system/system" }), refused),
        (200, json!({ "result": "allow", "namespace": "no/where" }), refused),
        (200, json!({ "result": "yes" }), unavailable),
        (200, json!({ "result": "allow", "rule": "app" }), unavailable),
        (500, json!({ "result": "allow" }), unavailable),
        (200, json!({ "result": "allow", "name": "x".repeat(100_000) }), unavailable),
    ]
    .into_iter()
    .enumerate()
    {
        *service.answer.lock() = Some((status, answer.to_string()));
        let reason = enter(&bench, &format!("user{number}")).await.1;
        assert_eq!(reason, expected, "{status} {:.60}", answer.to_string());
    }
    *service.answer.lock() = None;
    assert_eq!(enter(&bench, "silence").await.1, unavailable);
    drop(service);
    assert_eq!(bench.broker.figures().hook_failures, 5);
}

#[tokio::test]
async fn answers_are_remembered_for_their_time() {
    let service = Service::start().await;
    let config = HookConfig { allow_ttl_secs: 60, deny_ttl_secs: 5, ..service.config() };
    let bench = service.bench(config).await;
    service.says(&json!({ "result": "deny" }));
    for _ in 0..3 {
        assert_eq!(enter(&bench, "robot").await.1, ConnectAckReason::NotAuthorized);
    }
    assert_eq!(service.asked.lock().len(), 1);
    bench.outside.advance(Duration::from_secs(5));
    service.says(&json!({ "result": "allow", "role": "app" }));
    for _ in 0..3 {
        assert_eq!(enter(&bench, "robot").await.1, ConnectAckReason::Success);
    }
    assert_eq!(service.asked.lock().len(), 2);
    bench.outside.advance(Duration::from_secs(60));
    service.says(&json!({ "result": "deny" }));
    assert_eq!(enter(&bench, "robot").await.1, ConnectAckReason::NotAuthorized);
    let figures = bench.broker.figures();
    assert_eq!((figures.hook_requests, figures.hook_remembered), (3, 4));
}

#[tokio::test]
async fn whoever_another_way_lets_in_is_asked_about_if_so_configured() {
    let service = Service::start().await;
    let config = HookConfig { authorise: true, ..service.config() };
    let bench = service.bench(config).await;
    service.says(&json!({ "result": "ignore" }));
    bench.client("pump7", "pump7").await;
    let asked = service.asked.lock()[0].clone();
    assert_eq!(asked["identity"], json!({ "thing": "pump7" }));
    assert_eq!((&asked["action"], &asked["password"]), (&json!("authorise"), &Json::Null));
    service.says(&json!({
        "result": "allow",
        "acl": [{ "permission": "allow", "action": "publish", "topic": "a" }],
    }));
    let mut app = bench.client("app", "app").await;
    let published = app.publish_acked(message("b", "1")).await;
    assert_eq!(published, PublishAckReason::NotAuthorized);
    service.says(&json!({ "result": "deny" }));
    let (_, ack) = Client::connect(bench.address, connect("v", "viewer")).await;
    assert_eq!(ack.reason_code, ConnectAckReason::NotAuthorized);
}

#[tokio::test]
async fn a_silent_service_does_not_hold_up_whom_it_is_not_asked_about() {
    let service = Service::start().await;
    let config = HookConfig { requests_max: 2, timeout_ms: 2_000, ..service.config() };
    let bench = service.bench(config).await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        waiting.push(Client::open(bench.address, hello(&format!("robot{number}"))).await);
    }
    until(|| service.asked.lock().len() == 2).await;
    bench.client("pump7", "pump7").await;
    assert_eq!(service.asked.lock().len(), 2, "two at a time");
    for mut client in waiting {
        match client.receive().await {
            Some(v5::Packet::ConnectAck(ack)) => {
                assert_eq!(ack.reason_code, ConnectAckReason::ServerUnavailable);
            }
            other => panic!("no CONNACK but {other:?}"),
        }
    }
}
