//! Rules of MQTT 5.0 that belong to one packet each.

use crate::wire::{Bench, Client, connect, id, message};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{
    self, ConnectAckReason, DisconnectReasonCode, Packet, SubscriptionOptions, UnsubscribeAckReason,
};
use std::num::NonZeroU32;
use std::time::Duration;

#[tokio::test]
async fn a_shared_subscription_cannot_be_no_local() {
    let bench = Bench::start().await;
    let mut client = bench.admin("c").await;
    let options = SubscriptionOptions { no_local: true, ..Default::default() };
    client
        .send(Packet::Subscribe(v5::Subscribe {
            packet_id: id(1),
            id: None,
            user_properties: Vec::new(),
            topic_filters: vec![("$share/g/t".into(), options)],
        }))
        .await;
    assert_eq!(client.expect_end().await, DisconnectReasonCode::ProtocolError);
}

#[tokio::test]
async fn unsubscribing_tells_what_became_of_each_filter() {
    let bench = Bench::start().await;
    let mut client = bench.admin("c").await;
    client.subscribe("a", QoS::AtMostOnce).await;
    client
        .send(Packet::Unsubscribe(v5::Unsubscribe {
            packet_id: id(9),
            user_properties: Vec::new(),
            topic_filters: vec!["a".into(), "b".into(), "c/#/d".into()],
        }))
        .await;
    let Some(Packet::UnsubscribeAck(ack)) = client.receive().await else { panic!("no UNSUBACK") };
    let expected = [
        UnsubscribeAckReason::Success,
        UnsubscribeAckReason::NoSubscriptionExisted,
        UnsubscribeAckReason::TopicFilterInvalid,
    ];
    assert_eq!(ack.status, expected);
}

#[tokio::test]
async fn a_client_without_a_name_is_given_one_whatever_it_wants_to_start() {
    let bench = Bench::start().await;
    for clean_start in [true, false] {
        let connect = v5::Connect { clean_start, ..connect("", "admin") };
        let (_, ack) = Client::connect(bench.address, connect).await;
        assert_eq!(ack.reason_code, ConnectAckReason::Success);
        assert!(ack.assigned_client_id.is_some_and(|it| !it.is_empty()));
        assert!(!ack.session_present);
    }
}

#[tokio::test]
async fn the_time_of_a_will_begins_when_it_is_published() {
    let bench = Bench::start().await;
    let mut listener = bench.admin("listener").await;
    listener.subscribe("last", QoS::AtMostOnce).await;
    let will = v5::LastWill {
        qos: QoS::ExactlyOnce,
        retain: false,
        topic: "last".into(),
        message: "words".into(),
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: NonZeroU32::new(60),
        content_type: None,
        user_properties: vec![("a".into(), "b".into())],
        is_utf8_payload: None,
        response_topic: None,
    };
    let connect = v5::Connect { last_will: Some(will), ..connect("dying", "admin") };
    let (dying, _) = Client::connect(bench.address, connect).await;
    bench.outside.advance(Duration::from_secs(100));
    dying.vanish();
    let publish = listener.expect_message().await;
    assert_eq!(publish.payload, "words");
    let properties = publish.properties.unwrap();
    assert_eq!(properties.message_expiry_interval, NonZeroU32::new(60));
    assert_eq!(properties.user_properties, [("a".into(), "b".into())]);
}

#[tokio::test]
async fn what_has_waited_comes_as_it_would_have_come_at_once() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        retain_as_published: true,
        retain_handling: v5::RetainHandling::NoAtSubscribe,
        ..Default::default()
    };
    subscriber.subscribe_with("a/+", options, Some(1)).await;
    subscriber.subscribe_with("a/#", options, Some(2)).await;
    subscriber.leave().await;
    let mut publisher = bench.admin("pub").await;
    let mut publish = message("a/b", "x");
    publish.retain = true;
    publish.properties.as_mut().unwrap().message_expiry_interval = NonZeroU32::new(60);
    publisher.publish_acked(publish).await;
    bench.outside.advance(Duration::from_secs(20));
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    let publish = subscriber.expect_message().await;
    assert!(publish.retain, "retain as published");
    let properties = publish.properties.unwrap();
    assert_eq!(properties.message_expiry_interval, NonZeroU32::new(40));
    let mut ids: Vec<u32> = properties.subscription_ids.iter().map(|it| it.get()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
}

#[tokio::test]
async fn what_is_too_long_for_a_client_counts_as_delivered() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    subscriber.leave().await;
    let mut publisher = bench.admin("pub").await;
    for (packet_id, payload) in [(1, "long".repeat(100)), (2, "short".to_owned())] {
        publisher.publish_exactly(packet_id, false, message("t", payload)).await;
        publisher.expect_rec(id(packet_id)).await;
    }
    let connect = v5::Connect {
        clean_start: false,
        session_expiry_interval_secs: 3600,
        max_packet_size: NonZeroU32::new(100),
        ..connect("sub", "app")
    };
    let (mut subscriber, _) = Client::connect(bench.address, connect).await;
    assert_eq!(subscriber.expect_message().await.payload, "short");
    subscriber.leave().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    assert_eq!(subscriber.expect_message().await.payload, "short");
    subscriber.expect_silence().await;
}
