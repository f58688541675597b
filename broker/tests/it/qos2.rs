//! QoS 2: exactly once, whatever breaks in between (MQTT 5.0 4.3.3 and 4.4).

use crate::wire::{Bench, Client, connect, id, message};
use broker::Limits;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{
    self, DisconnectReasonCode, PublishAck2Reason, PublishAckReason, SubscribeAckReason,
};
use std::time::Duration;

const OK: PublishAckReason = PublishAckReason::Success;
const OK2: PublishAck2Reason = PublishAck2Reason::Success;

/// A durable subscriber of `t` with QoS 2 and a durable publisher.
async fn pair(bench: &Bench) -> (Client, Client) {
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    assert_eq!(subscriber.subscribe("t", QoS::ExactlyOnce).await, SubscribeAckReason::GrantedQos2);
    let (publisher, _) = bench.durable("pub", "app").await;
    (subscriber, publisher)
}

#[tokio::test]
async fn a_message_goes_through_the_whole_exchange_on_both_sides() {
    let bench = Bench::start().await;
    let (mut subscriber, mut publisher) = pair(&bench).await;
    for round in 0..3 {
        publisher.publish_exactly(9, false, message("t", round.to_string())).await;
        assert_eq!(publisher.expect_rec(id(9)).await, OK);
        publisher.rel(id(9)).await;
        assert_eq!(publisher.expect_comp(id(9)).await, OK2);
        let publish = subscriber.expect_message().await;
        assert_eq!((publish.qos, publish.dup), (QoS::ExactlyOnce, false));
        assert_eq!(publish.payload, round.to_string());
        let packet_id = publish.packet_id.unwrap();
        subscriber.rec(packet_id, OK).await;
        assert_eq!(subscriber.expect_rel(packet_id).await, OK2);
        subscriber.comp(packet_id).await;
    }
    subscriber.expect_silence().await;
    publisher.expect_silence().await;
}

#[tokio::test]
async fn a_message_sent_again_is_routed_once_over_reconnect_and_restart() {
    let bench = Bench::start().await;
    let (mut subscriber, mut publisher) = pair(&bench).await;
    publisher.publish_exactly(7, false, message("t", "once")).await;
    assert_eq!(publisher.expect_rec(id(7)).await, OK);
    // The PUBREC is lost: on the same connection, on the next one, and after a restart.
    publisher.publish_exactly(7, true, message("t", "once")).await;
    assert_eq!(publisher.expect_rec(id(7)).await, OK);
    publisher.vanish();
    let (mut publisher, is_present) = bench.durable("pub", "app").await;
    assert!(is_present);
    publisher.publish_exactly(7, true, message("t", "once")).await;
    assert_eq!(publisher.expect_rec(id(7)).await, OK);
    let packet_id = subscriber.expect_message().await.packet_id.unwrap();
    subscriber.rec(packet_id, OK).await;
    subscriber.expect_rel(packet_id).await;
    subscriber.comp(packet_id).await;
    subscriber.expect_silence().await;
    drop(subscriber);
    drop(publisher);
    let bench = bench.restart().await;
    let (mut publisher, _) = bench.durable("pub", "app").await;
    publisher.publish_exactly(7, true, message("t", "once")).await;
    assert_eq!(publisher.expect_rec(id(7)).await, OK);
    publisher.rel(id(7)).await;
    assert_eq!(publisher.expect_comp(id(7)).await, OK2);
    // The identifier is free, also after another restart.
    let bench = bench.restart().await;
    let (mut publisher, _) = bench.durable("pub", "app").await;
    publisher.publish_exactly(7, false, message("t", "next")).await;
    assert_eq!(publisher.expect_rec(id(7)).await, OK);
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    let publish = subscriber.expect_message().await;
    assert_eq!(publish.payload, "next");
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn a_delivery_goes_on_where_it_stood_with_its_identifier() {
    let bench = Bench::start().await;
    let (mut subscriber, mut publisher) = pair(&bench).await;
    for (number, payload) in ["a", "b"].into_iter().enumerate() {
        let packet_id = number as u16 + 1;
        publisher.publish_exactly(packet_id, false, message("t", payload)).await;
        assert_eq!(publisher.expect_rec(id(packet_id)).await, OK);
    }
    let first = subscriber.expect_message().await.packet_id.unwrap();
    let second = subscriber.expect_message().await.packet_id.unwrap();
    subscriber.rec(first, OK).await;
    subscriber.expect_rel(first).await;
    subscriber.vanish();
    // After a reconnect, and after a restart: PUBREL for the one, PUBLISH for the other, in order.
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    assert_eq!(subscriber.expect_rel(first).await, OK2);
    let again = subscriber.expect_message().await;
    assert_eq!((again.packet_id, again.dup), (Some(second), true));
    drop(subscriber);
    drop(publisher);
    let bench = bench.restart().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    assert_eq!(subscriber.expect_rel(first).await, OK2);
    let again = subscriber.expect_message().await;
    assert_eq!((again.packet_id, again.dup, &again.payload[..]), (Some(second), true, &b"b"[..]));
    subscriber.comp(first).await;
    subscriber.rec(second, OK).await;
    subscriber.expect_rel(second).await;
    subscriber.comp(second).await;
    subscriber.leave().await;
    let bench = bench.restart().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn qos_1_in_flight_keeps_its_identifier_over_a_restart() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = bench.admin("pub").await;
    for payload in ["a", "b", "c"] {
        publisher.publish_acked(message("t", payload)).await;
    }
    let ids = [
        subscriber.expect_message().await.packet_id,
        subscriber.expect_message().await.packet_id,
        subscriber.expect_message().await.packet_id,
    ];
    subscriber.ack(ids[0].unwrap()).await;
    subscriber.leave().await;
    publisher.publish_acked(message("t", "d")).await;
    let bench = bench.restart().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    for (payload, packet_id, dup) in [("b", ids[1], true), ("c", ids[2], true)] {
        let publish = subscriber.expect_message().await;
        assert_eq!((&publish.payload[..], publish.dup), (payload.as_bytes(), dup));
        assert_eq!(publish.packet_id, packet_id);
    }
    let publish = subscriber.expect_message().await;
    assert_eq!((&publish.payload[..], publish.dup), (&b"d"[..], false));
}

#[tokio::test]
async fn a_pubrec_that_says_no_ends_the_exchange() {
    let bench = Bench::start().await;
    let (mut subscriber, mut publisher) = pair(&bench).await;
    publisher.publish_exactly(1, false, message("t", "x")).await;
    publisher.expect_rec(id(1)).await;
    let packet_id = subscriber.expect_message().await.packet_id.unwrap();
    subscriber.rec(packet_id, PublishAckReason::QuotaExceeded).await;
    subscriber.expect_silence().await;
    subscriber.vanish();
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn unknown_identifiers_are_answered_and_do_no_harm() {
    let bench = Bench::start().await;
    let mut client = bench.admin("c").await;
    client.rel(id(5)).await;
    assert_eq!(client.expect_comp(id(5)).await, PublishAck2Reason::PacketIdNotFound);
    client.rec(id(5), OK).await;
    assert_eq!(client.expect_rel(id(5)).await, PublishAck2Reason::PacketIdNotFound);
    client.comp(id(5)).await;
    client.ack(id(5)).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn an_acknowledgement_that_does_not_go_with_the_qos_ends_the_connection() {
    let bench = Bench::start().await;
    let (mut subscriber, mut publisher) = pair(&bench).await;
    publisher.publish_exactly(1, false, message("t", "x")).await;
    publisher.expect_rec(id(1)).await;
    let packet_id = subscriber.expect_message().await.packet_id.unwrap();
    subscriber.ack(packet_id).await;
    assert_eq!(subscriber.expect_end().await, DisconnectReasonCode::ProtocolError);
}

#[tokio::test]
async fn a_clean_start_drops_both_sides_of_every_exchange() {
    let bench = Bench::start().await;
    let (mut subscriber, mut publisher) = pair(&bench).await;
    publisher.publish_exactly(1, false, message("t", "x")).await;
    publisher.expect_rec(id(1)).await;
    subscriber.expect_message().await;
    subscriber.vanish();
    publisher.vanish();
    let mut subscriber = bench.client("sub", "app").await;
    subscriber.expect_silence().await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = bench.client("pub", "app").await;
    publisher.publish_exactly(1, true, message("t", "another")).await;
    publisher.expect_rec(id(1)).await;
    assert_eq!(subscriber.expect_message().await.payload, "another");
}

#[tokio::test]
async fn a_takeover_in_the_middle_goes_on_with_both_sides() {
    let bench = Bench::start().await;
    let (mut subscriber, mut publisher) = pair(&bench).await;
    publisher.publish_exactly(1, false, message("t", "x")).await;
    publisher.expect_rec(id(1)).await;
    let (mut publisher2, is_present) = bench.durable("pub", "app").await;
    assert!(is_present);
    assert_eq!(publisher.expect_end().await, DisconnectReasonCode::SessionTakenOver);
    publisher2.rel(id(1)).await;
    assert_eq!(publisher2.expect_comp(id(1)).await, OK2);
    let packet_id = subscriber.expect_message().await.packet_id.unwrap();
    let (mut subscriber2, _) = bench.durable("sub", "app").await;
    assert_eq!(subscriber.expect_end().await, DisconnectReasonCode::SessionTakenOver);
    let again = subscriber2.expect_message().await;
    assert_eq!((again.packet_id, again.dup), (Some(packet_id), true));
}

#[tokio::test]
async fn a_message_that_expires_between_pubrec_and_pubrel_is_released_still() {
    let bench = Bench::start().await;
    let (mut subscriber, mut publisher) = pair(&bench).await;
    for packet_id in [1, 2] {
        let mut publish = message("t", "short");
        let expiry = std::num::NonZeroU32::new(5);
        publish.properties.as_mut().unwrap().message_expiry_interval = expiry;
        publisher.publish_exactly(packet_id, false, publish).await;
        publisher.expect_rec(id(packet_id)).await;
    }
    let first = subscriber.expect_message().await.packet_id.unwrap();
    let second = subscriber.expect_message().await.packet_id.unwrap();
    subscriber.rec(first, OK).await;
    subscriber.expect_rel(first).await;
    drop(subscriber);
    drop(publisher);
    bench.outside.advance(Duration::from_secs(60));
    let bench = bench.restart().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    assert_eq!(subscriber.expect_rel(first).await, OK2);
    // The client may have it already: only the identifier can tell, so it goes on.
    assert_eq!(subscriber.expect_message().await.packet_id, Some(second));
}

#[tokio::test]
async fn the_receive_maximum_counts_exchanges_that_are_not_complete() {
    let bench = Bench::start().await;
    let connect = v5::Connect { receive_max: Some(id(2)), ..connect("sub", "app") };
    let (mut subscriber, _) = Client::connect(bench.address, connect).await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = bench.admin("pub").await;
    for packet_id in 1..=4 {
        publisher.publish_exactly(packet_id, false, message("t", packet_id.to_string())).await;
        publisher.expect_rec(id(packet_id)).await;
    }
    let first = subscriber.expect_message().await.packet_id.unwrap();
    subscriber.expect_message().await;
    subscriber.rec(first, OK).await;
    subscriber.expect_rel(first).await;
    subscriber.expect_silence().await;
    subscriber.comp(first).await;
    assert_eq!(subscriber.expect_message().await.payload, "3");
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn a_publisher_over_our_receive_maximum_is_disconnected() {
    let bench = Bench::start_with(Limits { receive_max: 3, ..Limits::default() }).await;
    let mut publisher = bench.admin("pub").await;
    for packet_id in 1..=3 {
        publisher.publish_exactly(packet_id, false, message("t", "x")).await;
        publisher.expect_rec(id(packet_id)).await;
    }
    publisher.publish_exactly(4, false, message("t", "x")).await;
    let reason = publisher.expect_end().await;
    assert_eq!(reason, DisconnectReasonCode::ReceiveMaximumExceeded);
}

#[tokio::test]
async fn a_client_that_returns_with_a_smaller_window_gets_no_more_than_that() {
    let bench = Bench::start().await;
    let (mut subscriber, mut publisher) = pair(&bench).await;
    for packet_id in 1..=4 {
        publisher.publish_exactly(packet_id, false, message("t", "x")).await;
        publisher.expect_rec(id(packet_id)).await;
        subscriber.expect_message().await;
    }
    subscriber.vanish();
    let connect = v5::Connect {
        clean_start: false,
        session_expiry_interval_secs: 3600,
        receive_max: Some(id(3)),
        ..connect("sub", "app")
    };
    let (mut subscriber, _) = Client::connect(bench.address, connect).await;
    let mut first = None;
    for _ in 0..3 {
        let publish = subscriber.expect_message().await;
        first = first.or(publish.packet_id);
    }
    subscriber.expect_silence().await;
    subscriber.rec(first.unwrap(), PublishAckReason::UnspecifiedError).await;
    assert!(subscriber.expect_message().await.dup);
}

#[tokio::test]
async fn a_refused_message_is_refused_in_the_pubrec() {
    let bench = Bench::start().await;
    let mut device = bench.client("pump7", "pump7").await;
    device.publish_exactly(3, false, message("things/pump8/telemetry", "x")).await;
    assert_eq!(device.expect_rec(id(3)).await, PublishAckReason::NotAuthorized);
    // Its identifier is free.
    device.publish_exactly(3, false, message("things/pump7/telemetry", "x")).await;
    assert!(matches!(
        device.expect_rec(id(3)).await,
        PublishAckReason::Success | PublishAckReason::NoMatchingSubscribers
    ));
}
