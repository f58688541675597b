//! Wills that wait: for their delay, for the end of a session, for a node that starts again.

use crate::wire::{Bench, Client, connect, until};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5;
use std::time::Duration;

/// A client with a will that waits `delay_secs`, whose session outlives it by `expiry_secs`.
async fn with_will(bench: &Bench, clean_start: bool, delay_secs: u32, expiry_secs: u32) -> Client {
    let connect = v5::Connect {
        clean_start,
        session_expiry_interval_secs: expiry_secs,
        last_will: Some(v5::LastWill {
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: "wills/c".into(),
            message: "gone".into(),
            will_delay_interval_sec: Some(delay_secs),
            correlation_data: Some("id".into()),
            message_expiry_interval: std::num::NonZeroU32::new(600),
            content_type: Some("text/plain".into()),
            user_properties: vec![("a".into(), "b".into())],
            is_utf8_payload: Some(true),
            response_topic: None,
        }),
        ..connect("c", "app")
    };
    let (client, ack) = Client::connect(bench.address, connect).await;
    assert_eq!(ack.reason_code, v5::ConnectAckReason::Success);
    client
}

async fn watcher(bench: &Bench) -> Client {
    let (mut watcher, is_present) = bench.durable("watcher", "admin").await;
    if !is_present {
        watcher.subscribe("wills/#", QoS::AtLeastOnce).await;
    }
    watcher
}

/// The clients whose connections the broker still counts, the watcher apart.
async fn lost(bench: &Bench) {
    until(|| bench.broker.figures().connections == 1).await;
}

#[tokio::test]
async fn a_delayed_will_comes_after_its_delay_with_its_properties() {
    let bench = Bench::start().await;
    let mut watcher = watcher(&bench).await;
    with_will(&bench, true, 60, 3600).await.vanish();
    lost(&bench).await;
    bench.outside.advance(Duration::from_secs(59));
    watcher.expect_silence().await;
    watcher.expect_silence().await;
    bench.outside.advance(Duration::from_secs(1));
    let will = watcher.expect_message().await;
    let properties = will.properties.unwrap();
    assert_eq!(will.payload, "gone");
    // Its lifetime begins now, not when its client connected.
    assert_eq!(properties.message_expiry_interval.map(std::num::NonZeroU32::get), Some(600));
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"id"[..]));
    assert_eq!(properties.user_properties.len(), 1);
}

#[tokio::test]
async fn a_client_that_returns_in_time_is_not_spoken_for() {
    let bench = Bench::start().await;
    let mut watcher = watcher(&bench).await;
    with_will(&bench, true, 60, 3600).await.vanish();
    lost(&bench).await;
    with_will(&bench, false, 60, 3600).await.leave().await;
    bench.outside.advance(Duration::from_secs(120));
    watcher.expect_silence().await;
    watcher.expect_silence().await;
}

#[tokio::test]
async fn the_end_of_the_session_is_the_latest_moment_of_a_will() {
    let bench = Bench::start().await;
    let mut watcher = watcher(&bench).await;
    // A new session ends the one before.
    with_will(&bench, true, 60, 3600).await.vanish();
    lost(&bench).await;
    let client = with_will(&bench, true, 60, 3600).await;
    assert_eq!(watcher.expect_payload().await, "gone");
    client.leave().await;
    // No session outlives the connection.
    with_will(&bench, true, 60, 0).await.vanish();
    assert_eq!(watcher.expect_payload().await, "gone");
    // The session expires before the delay is over.
    with_will(&bench, true, 60, 10).await.vanish();
    lost(&bench).await;
    bench.outside.advance(Duration::from_secs(10));
    assert_eq!(watcher.expect_payload().await, "gone");
    watcher.expect_silence().await;
}

#[tokio::test]
async fn a_will_waits_across_a_restart() {
    let bench = Bench::start().await;
    let first = watcher(&bench).await;
    with_will(&bench, true, 60, 3600).await.vanish();
    lost(&bench).await;
    first.leave().await;
    let bench = bench.restart().await;
    let mut watcher = watcher(&bench).await;
    watcher.expect_silence().await;
    bench.outside.advance(Duration::from_secs(60));
    assert_eq!(watcher.expect_payload().await, "gone");
    watcher.leave().await;
    let bench = bench.restart().await;
    bench.outside.advance(Duration::from_secs(600));
    let mut watcher = self::watcher(&bench).await;
    watcher.expect_silence().await;
    watcher.expect_silence().await;
}

#[tokio::test]
async fn the_will_of_a_client_that_was_connected_when_the_node_died_comes_after_the_restart() {
    for (delay_secs, expiry_secs, waits) in [(60, 0, false), (0, 3600, false), (60, 3600, true)] {
        let (bench, runtime) = Bench::start_apart().await;
        watcher(&bench).await.leave().await;
        let _lost = with_will(&bench, true, delay_secs, expiry_secs).await;
        let bench = bench.kill(runtime).await;
        let mut watcher = watcher(&bench).await;
        if waits {
            watcher.expect_silence().await;
            watcher.expect_silence().await;
            bench.outside.advance(Duration::from_secs(60));
        }
        assert_eq!(watcher.expect_payload().await, "gone");
        watcher.expect_silence().await;
    }
}

#[tokio::test]
async fn a_client_that_returns_after_a_restart_in_time_is_not_spoken_for() {
    let (bench, runtime) = Bench::start_apart().await;
    watcher(&bench).await.leave().await;
    let _lost = with_will(&bench, true, 60, 3600).await;
    let bench = bench.kill(runtime).await;
    with_will(&bench, false, 60, 3600).await.leave().await;
    bench.outside.advance(Duration::from_secs(600));
    let mut watcher = watcher(&bench).await;
    watcher.expect_silence().await;
    watcher.expect_silence().await;
}
