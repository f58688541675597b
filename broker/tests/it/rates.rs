//! Publishers over their rate, or that of their namespace: slowed, never dropped, never disconnected.

use crate::wire::{Bench, Client, connect, message, namespace};
use broker::{BrokerConfig, Limits, NamespaceLimits, Quotas};
use bytes::BytesMut;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{self, Packet, PublishAckReason};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::codec::Encoder;

fn limited(publish_messages_per_sec_max: u64, publish_bytes_per_sec_max: u64) -> Limits {
    Limits { publish_messages_per_sec_max, publish_bytes_per_sec_max, ..Limits::default() }
}

fn quota(limits: NamespaceLimits) -> BrokerConfig {
    let quotas = Quotas { namespaces: [(namespace(), limits)].into(), ..Quotas::default() };
    BrokerConfig { quotas, ..BrokerConfig::default() }
}

/// As many messages in one write, so that they come together.
async fn burst(client: &mut Client, topic: &str, count: usize) {
    let mut bytes = BytesMut::new();
    let mut codec = v5::Codec::default();
    for number in 0..count {
        let publish = Packet::Publish(Box::new(message(topic, number.to_string())));
        codec.encode(publish, &mut bytes).unwrap();
    }
    client.send_bytes(&bytes).await;
}

#[tokio::test]
async fn a_publisher_over_its_rate_is_slowed_and_loses_nothing() {
    let bench = Bench::start_with(limited(200, 0)).await;
    let mut subscriber = bench.client("sub", "app").await;
    subscriber.subscribe("fast", QoS::AtMostOnce).await;
    let mut hearing = bench.client("hearing", "app").await;
    hearing.subscribe("calm", QoS::AtMostOnce).await;
    let mut calm = bench.client("calm", "app").await;
    let mut fast = bench.client("fast", "app").await;
    let start = Instant::now();
    burst(&mut fast, "fast", 500).await;
    calm.publish("calm", "x").await;
    assert_eq!(hearing.expect_payload().await, "x");
    for number in 0..500 {
        assert_eq!(subscriber.expect_payload().await, number.to_string());
    }
    // A second's worth at once, the other three hundred at 200 a second, the last few of them in one turn.
    assert!(start.elapsed() >= Duration::from_millis(1450), "{:?}", start.elapsed());
    let figures = bench.broker.figures();
    assert!(figures.publisher_pauses > 0, "{figures:?}");
    assert!(figures.publisher_pause_micros_total >= 1_000_000, "{figures:?}");
    assert_eq!((figures.namespace_publisher_pauses, figures.dropped), (0, 0));
    let acked = fast.publish_acked(message("done", "x")).await;
    assert_eq!(acked, PublishAckReason::NoMatchingSubscribers);
}

#[tokio::test]
async fn a_packet_of_more_bytes_than_a_second_has_passes_and_is_paid_for() {
    let bench = Bench::start_with(limited(0, 100_000)).await;
    let mut subscriber = bench.client("sub", "app").await;
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = bench.client("pub", "app").await;
    let start = Instant::now();
    for _ in 0..3 {
        publisher.publish("t", vec![b'x'; 150_000]).await;
    }
    for _ in 0..3 {
        assert_eq!(subscriber.expect_message().await.payload.len(), 150_000);
    }
    // The third comes when the first two are paid for but for a second's worth.
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(bench.broker.figures().publisher_pauses >= 2);
}

#[tokio::test]
async fn a_client_that_is_not_read_from_is_not_taken_for_dead() {
    let bench = Bench::start_with(limited(2, 0)).await;
    let connect = v5::Connect { keep_alive: 1, ..connect("pub", "app") };
    let (mut publisher, _) = Client::connect(bench.address, connect).await;
    // Three seconds of pauses, twice as long as its silence may last.
    burst(&mut publisher, "t", 8).await;
    publisher.send(Packet::PingRequest).await;
    assert!(matches!(publisher.receive().await, Some(Packet::PingResponse)));
    assert_eq!(bench.broker.figures().received, 8);
}

#[tokio::test]
async fn publishers_of_a_namespace_share_its_rate_and_none_is_kept_out() {
    let limits =
        NamespaceLimits { publish_messages_per_sec_max: 200, ..NamespaceLimits::default() };
    let bench = Bench::start_as(quota(limits)).await;
    let mut floods = Vec::new();
    for number in 0..4 {
        let mut flooding = bench.client(&format!("flood{number}"), "app").await;
        floods.push(tokio::spawn(async move {
            loop {
                burst(&mut flooding, "flood", 1000).await;
            }
        }));
    }
    let mut elsewhere = bench.client("elsewhere", "acme/berlin/app").await;
    let mut modest = bench.client("modest", "app").await;
    for _ in 0..10 {
        let acked = modest.publish_acked(message("modest", "x")).await;
        assert_eq!(acked, PublishAckReason::NoMatchingSubscribers);
        burst(&mut elsewhere, "elsewhere", 500).await;
    }
    let acked = elsewhere.publish_acked(message("elsewhere", "x")).await;
    assert_eq!(acked, PublishAckReason::NoMatchingSubscribers);
    floods.iter().for_each(tokio::task::JoinHandle::abort);
    let figures = bench.broker.figures();
    assert!(figures.namespace_publisher_pauses > 0, "{figures:?}");
    assert_eq!((figures.publisher_pauses, figures.dropped), (0, 0));
    let all = bench.broker.connections(&namespace());
    let flooded: Vec<u64> =
        all.iter().filter(|it| it.client_id.as_str() != "modest").map(|it| it.received).collect();
    assert!(flooded.len() == 4 && flooded.iter().all(|it| *it > 0), "{flooded:?}");
}
