//! Sessions: what outlives a connection, a takeover, a restart.

use crate::wire::{Bench, Client, connect, id, message, until};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{self, ConnectAckReason, DisconnectReasonCode, PublishAckReason};
use std::time::Duration;

#[tokio::test]
async fn what_is_acknowledged_waits_for_an_absent_subscriber_in_order() {
    let bench = Bench::start().await;
    let (mut subscriber, is_present) = bench.durable("sub", "app").await;
    assert!(!is_present);
    subscriber.subscribe("line/#", QoS::AtLeastOnce).await;
    subscriber.leave().await;
    let mut publisher = bench.admin("pub").await;
    for number in 0..1000 {
        let reason = publisher.publish_acked(message("line/1", number.to_string())).await;
        assert_eq!(reason, PublishAckReason::Success);
    }
    let (mut subscriber, is_present) = bench.durable("sub", "app").await;
    assert!(is_present);
    for number in 0..1000 {
        assert_eq!(subscriber.expect_payload().await, number.to_string());
    }
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn sessions_and_their_queues_survive_a_restart() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.subscribe("line/+", QoS::AtLeastOnce).await;
    subscriber.vanish();
    let mut publisher = bench.admin("pub").await;
    for number in 0..300 {
        publisher.publish_acked(message("line/1", number.to_string())).await;
    }
    let bench = bench.restart().await;
    let (mut subscriber, is_present) = bench.durable("sub", "app").await;
    assert!(is_present);
    for number in 0..300 {
        assert_eq!(subscriber.expect_payload().await, number.to_string());
    }
    // The subscription is there as well, for new messages.
    bench.admin("pub").await.publish_acked(message("line/2", "new")).await;
    assert_eq!(subscriber.expect_payload().await, "new");
    subscriber.leave().await;
    // What was acknowledged does not come again after one more restart.
    let bench = bench.restart().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_with_its_identifier() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = bench.admin("pub").await;
    publisher.publish_acked(message("t", "a")).await;
    publisher.publish_acked(message("t", "b")).await;
    let first = subscriber.expect_message().await;
    let second = subscriber.expect_message().await;
    assert!(!first.dup && !second.dup);
    subscriber.ack(first.packet_id.unwrap()).await;
    // The acknowledgement has been read once the broker counts one in flight.
    until(|| {
        let all = bench.broker.connections(&crate::wire::namespace());
        all.iter().any(|it| it.client_id.as_str() == "sub" && it.stored == 1)
    })
    .await;
    subscriber.vanish();
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    let again = subscriber.expect_message().await;
    assert_eq!((again.payload.as_ref(), again.dup), (&b"b"[..], true));
    assert_eq!(again.packet_id, second.packet_id);
}

#[tokio::test]
async fn a_client_never_has_more_in_flight_than_it_takes() {
    let bench = Bench::start().await;
    let connect = v5::Connect {
        receive_max: Some(id(2)),
        session_expiry_interval_secs: 3600,
        ..connect("sub", "app")
    };
    let (mut subscriber, _) = Client::connect(bench.address, connect).await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = bench.admin("pub").await;
    for number in 0..50 {
        publisher.publish_acked(message("t", number.to_string())).await;
    }
    let first = subscriber.expect_message().await;
    let _second = subscriber.expect_message().await;
    subscriber.expect_silence().await;
    subscriber.ack(first.packet_id.unwrap()).await;
    assert_eq!(subscriber.expect_message().await.payload, "2");
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn a_session_without_expiry_ends_with_its_connection() {
    let bench = Bench::start().await;
    let mut subscriber = bench.client("sub", "app").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    subscriber.vanish();
    until(|| bench.broker.figures().sessions == 0).await;
    let (mut subscriber, is_present) = bench.durable("sub", "app").await;
    assert!(!is_present);
    bench.admin("pub").await.publish_acked(message("t", "x")).await;
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn clean_start_forgets_the_session_before() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    subscriber.leave().await;
    bench.admin("pub").await.publish_acked(message("t", "x")).await;
    let mut subscriber = bench.client("sub", "app").await;
    subscriber.expect_silence().await;
    subscriber.leave().await;
    let (_, is_present) = bench.durable("sub", "app").await;
    assert!(!is_present);
}

#[tokio::test]
async fn a_session_expires_when_its_time_has_come() {
    let bench = Bench::start().await;
    let (subscriber, _) = bench.durable("sub", "app").await;
    subscriber.leave().await;
    until(|| bench.broker.figures().connections == 0).await;
    assert_eq!(bench.broker.figures().sessions, 1);
    bench.outside.advance(Duration::from_secs(3601));
    until(|| bench.broker.figures().sessions == 0).await;
    let (_, is_present) = bench.durable("sub", "app").await;
    assert!(!is_present);
}

#[tokio::test]
async fn a_second_connection_takes_the_session_over() {
    let bench = Bench::start().await;
    let (mut first, _) = bench.durable("sub", "app").await;
    first.subscribe("t", QoS::AtLeastOnce).await;
    let (mut second, is_present) = bench.durable("sub", "app").await;
    assert!(is_present);
    assert_eq!(first.expect_end().await, DisconnectReasonCode::SessionTakenOver);
    bench.admin("pub").await.publish_acked(message("t", "x")).await;
    assert_eq!(second.expect_payload().await, "x");
}

#[tokio::test]
async fn nobody_takes_over_the_session_of_somebody_else() {
    let bench = Bench::start().await;
    let (mut own, _) = bench.durable("pump", "pump7").await;
    let (_, ack) = Client::connect(bench.address, connect("pump", "pump8")).await;
    assert_eq!(ack.reason_code, ConnectAckReason::ClientIdentifierNotValid);
    own.subscribe("things/pump7/#", QoS::AtLeastOnce).await;
    own.leave().await;
    let (_, ack) = Client::connect(bench.address, connect("pump", "pump8")).await;
    assert_eq!(ack.reason_code, ConnectAckReason::ClientIdentifierNotValid);
}

#[tokio::test]
async fn a_client_without_an_id_is_given_one() {
    let bench = Bench::start().await;
    let (_, ack) = Client::connect(bench.address, connect("", "app")).await;
    assert!(ack.assigned_client_id.is_some_and(|id| id.starts_with("auto-")));
}

#[tokio::test]
async fn a_silent_client_is_ended() {
    let bench = Bench::start().await;
    let connect = v5::Connect { keep_alive: 1, ..connect("silent", "app") };
    let (mut client, _) = Client::connect(bench.address, connect).await;
    assert_eq!(client.expect_end().await, DisconnectReasonCode::KeepAliveTimeout);
}

#[tokio::test]
async fn draining_tells_everybody_and_lets_nobody_in() {
    let bench = Bench::start().await;
    let mut client = bench.admin("c").await;
    bench.broker.drain(Duration::from_secs(5)).await;
    assert_eq!(client.expect_end().await, DisconnectReasonCode::ServerShuttingDown);
    assert!(tokio::net::TcpStream::connect(bench.address).await.is_err());
}

#[tokio::test]
async fn a_namespace_that_has_ended_leaves_no_message_to_anybody() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "acme/berlin/app").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    subscriber.leave().await;
    let mut publisher = bench.client("pub", "acme/berlin/app").await;
    publisher.publish_acked(message("t", "secret of Berlin")).await;
    publisher.leave().await;
    bench.broker.unmount(&crate::wire::other_namespace());
    // After a restart the first durable session gets the key that the one of Berlin has had.
    let bench = bench.restart().await;
    let (subscriber, is_present) = bench.durable("sub", "app").await;
    assert!(!is_present);
    subscriber.leave().await;
    let bench = bench.restart().await;
    let (mut subscriber, is_present) = bench.durable("sub", "app").await;
    assert!(is_present);
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn the_promise_of_a_namespace_decides_what_its_messages_wait_for() {
    let bench = Bench::start().await;
    for (user, is_synced) in [("app", true), ("acme/berlin/app", false)] {
        let (mut subscriber, _) = bench.durable("sub", user).await;
        subscriber.subscribe("t", QoS::AtLeastOnce).await;
        subscriber.leave().await;
        let mut publisher = bench.client("pub", user).await;
        let mut waited_for_a_sync = Vec::new();
        for _ in 0..20 {
            let before = bench.store.figures();
            publisher.publish_acked(message("t", "kept")).await;
            let after = bench.store.figures();
            assert!(after.batches > before.batches, "{user}");
            waited_for_a_sync.push(after.syncs > before.syncs);
        }
        // What others have the store sync may fall among those that do not wait for it.
        match is_synced {
            true => assert!(waited_for_a_sync.iter().all(|it| *it), "{user}"),
            false => assert!(waited_for_a_sync.iter().any(|it| !it), "{user}"),
        }
        publisher.leave().await;
    }
}
