//! What the clients of a namespace share: its connections, new ones a second, and what waits on the disk.

use crate::wire::{Bench, Client, connect, message, namespace, until};
use broker::{BrokerConfig, NamespaceLimits, NamespaceQuota, Quotas};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{self, ConnectAckReason, Packet, PublishAckReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn bench(connections_max: usize, connects_per_sec_max: u32) -> Bench {
    let limits =
        NamespaceLimits { connections_max, connects_per_sec_max, ..NamespaceLimits::default() };
    let quotas = Quotas { namespaces: [(namespace(), limits)].into(), ..Quotas::default() };
    Bench::start_as(BrokerConfig { quotas, ..BrokerConfig::default() }).await
}

async fn code(bench: &Bench, client_id: &str, user: &str) -> ConnectAckReason {
    Client::connect(bench.address, connect(client_id, user)).await.1.reason_code
}

/// The CONNACK of MQTT 3.1.1.
async fn connack_3(bench: &Bench, client_id: &str) -> [u8; 4] {
    let mut body = b"\x00\x04MQTT\x04\xC2\x00\x3C".to_vec();
    for field in [client_id, "app", crate::wire::SECRET] {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field.as_bytes());
    }
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(&[&[0x10, body.len() as u8], &body[..]].concat()).await.unwrap();
    let mut conn_ack = [0; 4];
    stream.read_exact(&mut conn_ack).await.unwrap();
    conn_ack
}

#[tokio::test]
async fn a_full_namespace_refuses_further_clients_and_lets_sessions_be_taken_over() {
    let bench = bench(2, 0).await;
    let mut first = bench.client("first", "app").await;
    let (mut second, _) = bench.durable("second", "app").await;
    assert_eq!(code(&bench, "third", "app").await, ConnectAckReason::QuotaExceeded);
    assert_eq!(connack_3(&bench, "third").await, [0x20, 2, 0, 3]);
    assert_eq!(bench.broker.figures().refused_over_quota, 2);
    for _ in 0..5 {
        let (again, is_present) = bench.durable("second", "app").await;
        assert!(is_present);
        let Some(Packet::Disconnect(told)) = second.receive().await else {
            panic!("no DISCONNECT")
        };
        assert_eq!(told.reason_code, v5::DisconnectReasonCode::SessionTakenOver);
        second = again;
    }
    assert_eq!(code(&bench, "third", "app").await, ConnectAckReason::QuotaExceeded);
    // Other namespaces have their own bounds, and an operator can always come and see.
    let _elsewhere = bench.client("third", "acme/berlin/app").await;
    let operator = bench.client("operator", "root").await;
    operator.leave().await;
    first.expect_silence().await;
    first.leave().await;
    let mut third = Vec::new();
    while third.is_empty() {
        let (client, ack) = Client::connect(bench.address, connect("third", "app")).await;
        if ack.reason_code == ConnectAckReason::Success {
            third.push(client);
        }
    }
    assert_eq!(code(&bench, "fourth", "app").await, ConnectAckReason::QuotaExceeded);
}

#[tokio::test]
async fn sessions_that_wait_for_their_client_count_until_they_end() {
    let limits = NamespaceLimits { sessions_max: 2, ..NamespaceLimits::default() };
    let quotas = Quotas { usual: limits, ..Quotas::default() };
    let bench = Bench::start_as(BrokerConfig { quotas, ..BrokerConfig::default() }).await;
    let (away, _) = bench.durable("away", "app").await;
    away.leave().await;
    let first = bench.client("first", "app").await;
    assert_eq!(code(&bench, "second", "app").await, ConnectAckReason::QuotaExceeded);
    // A clean start ends the session before, and so does a connection without expiry that is taken over.
    let again = bench.client("first", "app").await;
    drop(first);
    let _elsewhere = bench.client("second", "acme/berlin/app").await;
    let _operator = bench.client("operator", "root").await;
    assert_eq!(code(&bench, "second", "app").await, ConnectAckReason::QuotaExceeded);
    let (back, is_present) = bench.durable("away", "app").await;
    assert!(is_present);
    back.leave().await;
    assert_eq!(code(&bench, "away", "app").await, ConnectAckReason::Success);
    again.leave().await;
    let refused = bench.broker.figures().refused_over_quota;
    assert!(refused >= 2, "{refused}");
    // Nothing is left but the operator's, which counts as well, and the one elsewhere.
    until(|| bench.broker.figures().sessions == 2).await;
    assert_eq!(code(&bench, "second", "app").await, ConnectAckReason::Success);
}

#[tokio::test]
async fn a_namespace_with_too_many_new_clients_a_second_refuses_them() {
    let bench = bench(0, 1).await;
    let mut refused = 0;
    // One second is long enough for some of them.
    for number in 0..20 {
        match code(&bench, &format!("c{number}"), "app").await {
            ConnectAckReason::Success => {}
            ConnectAckReason::ConnectionRateExceeded => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    assert_eq!(bench.broker.figures().refused_over_rate, refused);
    let _operator = bench.client("operator", "root").await;
    let _elsewhere = bench.client("c0", "acme/berlin/app").await;
    until(|| bench.broker.figures().connections_refused == refused).await;
}

#[tokio::test]
async fn what_would_have_to_wait_is_refused_when_so_much_waits_on_the_disk() {
    const PAYLOAD_BYTES: usize = 1000;
    let quota = NamespaceQuota { queued_bytes_max: Some(5000), ..NamespaceQuota::default() };
    let bench = Bench::start().await;
    bench.broker.set_quota(&namespace(), quota);
    let queued = |bench: &Bench| bench.broker.namespace_figures(&namespace()).queued_bytes;
    let publish = async |client: &mut Client, topic: &str| {
        client.publish_acked(message(topic, vec![b'x'; PAYLOAD_BYTES])).await
    };
    let (mut away, _) = bench.durable("away", "app").await;
    away.subscribe("both", QoS::AtLeastOnce).await;
    away.subscribe("away", QoS::AtLeastOnce).await;
    away.leave().await;
    let mut here = bench.client("here", "app").await;
    here.subscribe("both", QoS::AtLeastOnce).await;
    here.subscribe("here", QoS::AtLeastOnce).await;
    let mut app = bench.client("app", "app").await;

    let mut taken = 0;
    while publish(&mut app, "away").await == PublishAckReason::Success {
        taken += 1;
    }
    assert!((3..=5).contains(&taken), "{taken} of {PAYLOAD_BYTES} bytes");
    assert!(queued(&bench) >= 5000);
    assert_eq!(publish(&mut app, "both").await, PublishAckReason::QuotaExceeded);
    here.expect_silence().await;
    assert_eq!(publish(&mut app, "here").await, PublishAckReason::Success, "nothing waits");
    here.expect_payload().await;
    let mut root = bench.client("root", "root").await;
    assert_eq!(publish(&mut root, "away").await, PublishAckReason::Success, "who can act");

    // After a restart queues are counted again when something more is to wait in them.
    here.leave().await;
    let bench = bench.restart().await;
    bench.broker.set_quota(&namespace(), quota);
    let mut app = bench.client("app", "app").await;
    assert_eq!(queued(&bench), 0);
    publish(&mut app, "away").await;
    assert_eq!(publish(&mut app, "away").await, PublishAckReason::QuotaExceeded);

    // There is room again for as much as is taken, and when a session ends.
    let (mut away, _) = bench.durable("away", "app").await;
    for _ in 0..taken + 2 {
        away.expect_payload().await;
    }
    until(|| queued(&bench) == 0).await;
    away.leave().await;
    assert_eq!(publish(&mut app, "away").await, PublishAckReason::Success);
    assert!(queued(&bench) > 0);
    bench.client("away", "app").await.leave().await;
    until(|| queued(&bench) == 0).await;
}
