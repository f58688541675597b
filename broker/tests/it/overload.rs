//! Bounds: slow subscribers, full queues, large packets, many subscriptions.

use crate::wire::{Bench, Client, connect, id, message, namespace, until};
use broker::{
    BrokerConfig, ClientInfo, ClientQuery, ClientState, Limits, Policies, QueueFull, SessionInfo,
};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{self, ConnectAckReason, PublishAckReason, SubscribeAckReason};

#[tokio::test]
async fn a_subscriber_that_does_not_read_costs_a_bounded_queue_and_nobody_else() {
    // Long enough for the one that reads to catch up on a machine that is busy.
    let limits =
        Limits { queue_messages_max: 100, slow_subscriber_wait_ms: 2000, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let mut stuck = bench.client("stuck", "app").await;
    stuck.subscribe("flood", QoS::AtMostOnce).await;
    let mut reading = bench.client("reading", "app").await;
    reading.subscribe("flood", QoS::AtMostOnce).await;
    let mut publisher = bench.client("pub", "app").await;
    let payload = vec![b'x'; 100_000];
    let count = 400;
    let reader = tokio::spawn(async move {
        for _ in 0..count {
            assert_eq!(reading.expect_message().await.payload.len(), 100_000);
        }
    });
    for _ in 0..count {
        publisher.publish("flood", payload.clone()).await;
    }
    reader.await.unwrap();
    let found = bench.broker.connections(&namespace());
    let stuck_info = found.iter().find(|it| it.client_id.as_str() == "stuck").unwrap();
    assert!(stuck_info.queued <= 100, "{stuck_info:?}");
    assert!(stuck_info.dropped > 0, "{stuck_info:?}");
    assert_eq!(bench.broker.figures().dropped, stuck_info.dropped);
}

#[tokio::test]
async fn a_durable_queue_goes_past_memory_into_the_store_and_loses_nothing() {
    let limits = Limits { queue_messages_max: 10, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let connect = v5::Connect {
        receive_max: Some(id(3)),
        session_expiry_interval_secs: 3600,
        ..connect("slow", "app")
    };
    let (mut slow, _) = Client::connect(bench.address, connect).await;
    slow.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = bench.client("pub", "app").await;
    let publishing = tokio::spawn(async move {
        for number in 0..500 {
            publisher.publish_acked(message("t", number.to_string())).await;
        }
    });
    for number in 0..500 {
        assert_eq!(slow.expect_payload().await, number.to_string());
    }
    publishing.await.unwrap();
    until(|| {
        let all = bench.broker.connections(&namespace());
        all.iter().any(|it| it.client_id.as_str() == "slow" && it.stored == 0)
    })
    .await;
}

#[tokio::test]
async fn a_full_durable_queue_drops_the_newest_and_counts() {
    let limits = Limits { stored_messages_max: 5, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let (mut away, _) = bench.durable("away", "app").await;
    away.subscribe("t", QoS::AtLeastOnce).await;
    away.leave().await;
    let mut publisher = bench.client("pub", "app").await;
    for number in 0..8 {
        publisher.publish_acked(message("t", number.to_string())).await;
    }
    assert_eq!(bench.broker.figures().dropped, 3);
    let (mut back, _) = bench.durable("away", "app").await;
    for number in 0..5 {
        assert_eq!(back.expect_payload().await, number.to_string());
    }
    back.expect_silence().await;
    publisher.publish_acked(message("t", "room again")).await;
    assert_eq!(back.expect_payload().await, "room again");
}

#[tokio::test]
async fn a_delivery_longer_than_the_client_takes_is_left_out() {
    let bench = Bench::start().await;
    let connect = v5::Connect {
        max_packet_size: std::num::NonZeroU32::new(100),
        session_expiry_interval_secs: 3600,
        ..connect("small", "app")
    };
    let (mut small, _) = Client::connect(bench.address, connect).await;
    small.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = bench.client("pub", "app").await;
    publisher.publish_acked(message("t", vec![b'x'; 200])).await;
    publisher.publish_acked(message("t", "fits")).await;
    assert_eq!(small.expect_payload().await, "fits");
    until(|| {
        let all = bench.broker.connections(&namespace());
        all.iter().any(|it| it.client_id.as_str() == "small" && it.stored == 0)
    })
    .await;
}

#[tokio::test]
async fn subscriptions_and_topic_levels_are_bounded() {
    let limits = Limits { subscriptions_max: 2, topic_levels_max: 4, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let mut client = bench.client("c", "app").await;
    for (filter, expected) in [
        ("a", SubscribeAckReason::GrantedQos0),
        ("1/2/3/4/5", SubscribeAckReason::TopicFilterInvalid),
        ("b/#/c", SubscribeAckReason::TopicFilterInvalid),
        ("b", SubscribeAckReason::GrantedQos0),
        ("c", SubscribeAckReason::QuotaExceeded),
        ("a", SubscribeAckReason::GrantedQos0),
    ] {
        assert_eq!(client.subscribe(filter, QoS::AtMostOnce).await, expected, "{filter}");
    }
    let reason = client.publish_acked(message("1/2/3/4/5", "x")).await;
    assert_eq!(reason, PublishAckReason::TopicNameInvalid);
}

#[tokio::test]
async fn names_are_bounded() {
    let limits = Limits { client_id_bytes_max: 23, topic_bytes_max: 20, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let (fits, too_long) = ("t".repeat(20), "t".repeat(21));
    let id_too_long = connect(&"c".repeat(24), "app");
    let mut will_too_long = connect("c", "app");
    will_too_long.last_will = Some(v5::LastWill {
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: too_long.clone().into(),
        message: "x".into(),
    });
    for (connect, expected) in [
        (id_too_long, ConnectAckReason::ClientIdentifierNotValid),
        (will_too_long, ConnectAckReason::TopicNameInvalid),
        (connect(&"c".repeat(23), "app"), ConnectAckReason::Success),
        // One that the broker makes may be longer.
        (connect("", "app"), ConnectAckReason::Success),
    ] {
        assert_eq!(Client::connect(bench.address, connect).await.1.reason_code, expected);
    }
    let mut client = bench.client("c", "app").await;
    let invalid = SubscribeAckReason::TopicFilterInvalid;
    assert_eq!(client.subscribe(&too_long, QoS::AtMostOnce).await, invalid);
    let granted = SubscribeAckReason::GrantedQos0;
    assert_eq!(client.subscribe(&fits, QoS::AtMostOnce).await, granted);
    client.publish(&too_long, "dropped").await;
    let reason = client.publish_acked(message(&too_long, "x")).await;
    assert_eq!(reason, PublishAckReason::TopicNameInvalid);
    let mut asking = message(&fits, "x");
    let properties = asking.properties.get_or_insert_default();
    properties.response_topic = Some(too_long.into());
    assert_eq!(client.publish_acked(asking).await, PublishAckReason::TopicNameInvalid);
    client.publish(&fits, "comes").await;
    assert_eq!(client.expect_payload().await, "comes");
    let figures = bench.broker.figures();
    assert_eq!((figures.publishes_refused, figures.subscriptions_refused), (3, 1));
}

#[tokio::test]
async fn retained_messages_are_bounded() {
    let limits = Limits { retained_messages_max: 1, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let mut client = bench.client("c", "app").await;
    for (topic, expected) in [
        ("a", PublishAckReason::Success),
        ("b", PublishAckReason::QuotaExceeded),
        ("a", PublishAckReason::Success),
    ] {
        let mut publish = message(topic, "x");
        publish.retain = true;
        assert_eq!(client.publish_acked(publish).await, expected, "{topic}");
    }
}

#[tokio::test]
async fn connections_are_bounded() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let _first = bench.client("a", "app").await;
    let mut second = tokio::net::TcpStream::connect(bench.address).await.unwrap();
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut second, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    until(|| bench.broker.figures().connections_refused == 1).await;
}

#[tokio::test]
async fn retained_messages_that_are_not_read_are_not_piled_up() {
    let limits = Limits { subscriptions_max: 2, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let mut publisher = bench.client("pub", "app").await;
    for topic in ["r/a", "r/b", "r/c"] {
        let mut publish = message(topic, "x");
        publish.retain = true;
        publisher.publish_acked(publish).await;
    }
    let connect = v5::Connect { receive_max: Some(id(1)), ..connect("slow", "app") };
    let (mut slow, _) = Client::connect(bench.address, connect).await;
    assert_eq!(slow.subscribe("r/#", QoS::AtLeastOnce).await, SubscribeAckReason::GrantedQos1);
    let first = slow.expect_message().await;
    for _ in 0..2 {
        assert_eq!(slow.subscribe("r/#", QoS::AtLeastOnce).await, SubscribeAckReason::GrantedQos1);
    }
    assert_eq!(slow.subscribe("r/#", QoS::AtLeastOnce).await, SubscribeAckReason::QuotaExceeded);
    slow.ack(first.packet_id.unwrap()).await;
    for _ in 0..8 {
        slow.expect_payload().await;
    }
    assert_eq!(slow.subscribe("r/#", QoS::AtLeastOnce).await, SubscribeAckReason::GrantedQos1);
}

/// A subscriber that is away while `0` to `7` are published to its queue, which takes five; what it finds on return.
async fn full_queue(queue_full: QueueFull, limits: Limits) -> (Vec<PublishAckReason>, Vec<String>) {
    let policies = Policies { queue_full, ..Policies::default() };
    let config = BrokerConfig { limits, policies, ..BrokerConfig::default() };
    let bench = Bench::start_as(config).await;
    let (mut away, _) = bench.durable("away", "app").await;
    away.subscribe("t", QoS::AtLeastOnce).await;
    away.leave().await;
    let mut publisher = bench.client("pub", "app").await;
    let mut reasons = Vec::new();
    for number in 0..8 {
        reasons.push(publisher.publish_acked(message("t", number.to_string())).await);
    }
    let info = session_away(&bench).unwrap();
    assert_eq!((info.client_id.as_str(), info.stored), ("away", 5));
    let lost = if queue_full == QueueFull::Refuse { 0 } else { 3 };
    assert_eq!((info.dropped, bench.broker.figures().dropped), (lost, lost));
    let (mut back, _) = bench.durable("away", "app").await;
    let mut found = Vec::new();
    for _ in 0..5 {
        found.push(back.expect_payload().await);
    }
    back.expect_silence().await;
    publisher.publish_acked(message("t", "room again")).await;
    assert_eq!(back.expect_payload().await, "room again");
    until(|| {
        let all = bench.broker.connections(&namespace());
        let back = all.iter().find(|it| it.client_id.as_str() == "away").unwrap();
        back.stored == 0 && back.stored_bytes == 0
    })
    .await;
    (reasons, found)
}

/// The first session that waits for its client.
fn session_away(bench: &Bench) -> Option<Box<SessionInfo>> {
    let query = ClientQuery { state: Some(ClientState::Away), ..ClientQuery::default() };
    match bench.broker.clients(&namespace(), &query, None, 1).items.pop()? {
        ClientInfo::Away(session) => Some(session),
        ClientInfo::Connected(_) => None,
    }
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_or_refuses_if_it_is_told_to() {
    let by_count = Limits { stored_messages_max: 5, ..Limits::default() };
    // A topic and a payload of one byte each, and what a message costs besides.
    let by_bytes = Limits { stored_bytes_max: 5 * 98, ..Limits::default() };
    for limits in [by_count, by_bytes] {
        let (reasons, found) = full_queue(QueueFull::DropOldest, limits.clone()).await;
        assert!(reasons.iter().all(|reason| *reason == PublishAckReason::Success));
        assert_eq!(found, ["3", "4", "5", "6", "7"]);
        let (reasons, found) = full_queue(QueueFull::DropNewest, limits.clone()).await;
        assert!(reasons.iter().all(|reason| *reason == PublishAckReason::Success));
        assert_eq!(found, ["0", "1", "2", "3", "4"]);
        let (reasons, found) = full_queue(QueueFull::Refuse, limits).await;
        assert_eq!(reasons[5..], [PublishAckReason::QuotaExceeded; 3]);
        assert_eq!(found, ["0", "1", "2", "3", "4"]);
    }
}
