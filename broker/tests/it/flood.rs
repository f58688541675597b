//! QoS 0 faster than its subscriber reads: publishers are slowed for a bounded moment, what waits is bounded, every
//! message that is dropped is counted, and clients that have nothing to do with it go on.

use crate::wire::{Bench, message, namespace};
use broker::Limits;
use rmqtt_codec::types::QoS;

/// Many times what sockets and queue hold.
const MESSAGES: u64 = 2000;
const PAYLOAD_BYTES: usize = 20_000;
const QUEUED_MAX: usize = 64;
/// More waits than fit into the second for which a subscriber that takes nothing is waited for.
const WAITS_FOR_STUCK_MAX: u64 = 140;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_slowed_then_dropped_and_accounted_for_while_others_go_on() {
    let limits =
        Limits { queue_messages_max: QUEUED_MAX, slow_subscriber_wait_ms: 20, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let mut slow = bench.client("slow", "app").await;
    slow.subscribe("flood", QoS::AtMostOnce).await;
    let mut hearing = bench.client("hearing", "app").await;
    hearing.subscribe("calm", QoS::AtMostOnce).await;
    let mut speaking = bench.client("speaking", "app").await;
    let mut flooding = bench.client("flooding", "app").await;

    let flood = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            flooding.publish("flood", vec![b'x'; PAYLOAD_BYTES]).await;
        }
        // Everything before it has been routed once it is acknowledged.
        flooding.publish_acked(message("done", "x")).await;
    });
    let mut round_trips = 0;
    while round_trips == 0 || !flood.is_finished() {
        speaking.publish("calm", round_trips.to_string()).await;
        assert_eq!(hearing.expect_payload().await, round_trips.to_string());
        round_trips += 1;
        let found = bench.broker.connections(&namespace());
        assert!(found.iter().all(|it| it.queued <= QUEUED_MAX), "{found:?}");
    }
    flood.await.unwrap();

    let figures = bench.broker.figures();
    assert!(figures.publisher_stalls > 0, "{figures:?}");
    assert!(figures.dropped > 0, "{figures:?}");
    for _ in 0..MESSAGES - figures.dropped {
        assert_eq!(slow.expect_message().await.payload.len(), PAYLOAD_BYTES);
    }
    slow.expect_silence().await;
    assert_eq!(bench.broker.figures().dropped, figures.dropped);
}

#[tokio::test]
async fn a_flood_that_is_read_is_slowed_and_loses_nothing() {
    let limits = Limits {
        queue_messages_max: QUEUED_MAX,
        slow_subscriber_wait_ms: 60_000,
        ..Limits::default()
    };
    let bench = Bench::start_with(limits).await;
    let mut reading = bench.client("reading", "app").await;
    reading.subscribe("flood", QoS::AtMostOnce).await;
    let mut flooding = bench.client("flooding", "app").await;
    let flood = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            flooding.publish("flood", vec![b'x'; PAYLOAD_BYTES]).await;
        }
    });
    for _ in 0..MESSAGES {
        assert_eq!(reading.expect_message().await.payload.len(), PAYLOAD_BYTES);
    }
    flood.await.unwrap();
    assert_eq!(bench.broker.figures().dropped, 0);
}

#[tokio::test]
async fn several_floods_wait_for_a_slow_reader_and_what_is_dropped_later_is_counted() {
    const FLOODS: u64 = 4;
    const EACH: u64 = 400;
    let limits = Limits {
        queue_messages_max: QUEUED_MAX,
        slow_subscriber_wait_ms: 2000,
        ..Limits::default()
    };
    let bench = Bench::start_with(limits).await;
    let mut reading = bench.client("reading", "app").await;
    reading.subscribe("flood", QoS::AtMostOnce).await;
    let mut floods = Vec::new();
    for number in 0..FLOODS {
        let mut flooding = bench.client(&format!("flood{number}"), "app").await;
        floods.push(tokio::spawn(async move {
            for _ in 0..EACH {
                flooding.publish("flood", vec![b'x'; PAYLOAD_BYTES]).await;
            }
            flooding
        }));
    }
    // Slower than they are, and never so slow that they wait in vain.
    for number in 0..FLOODS * EACH {
        if number % 64 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(reading.expect_message().await.payload.len(), PAYLOAD_BYTES);
    }
    let figures = bench.broker.figures();
    assert!(figures.publisher_stalls > 0, "{figures:?}");
    assert_eq!(figures.dropped, 0);

    // Now it reads no more: they wait once, then what has no room is dropped.
    let mut flooding = floods.remove(0).await.unwrap();
    for _ in 0..MESSAGES {
        flooding.publish("flood", vec![b'x'; PAYLOAD_BYTES]).await;
    }
    flooding.publish_acked(message("done", "x")).await;
    let dropped = bench.broker.figures().dropped;
    assert!(dropped > 0);
    for _ in 0..MESSAGES - dropped {
        reading.expect_message().await;
    }
    reading.expect_silence().await;
    assert_eq!(bench.broker.figures().dropped, dropped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_waits_again_for_a_reader_that_lags_but_not_for_one_that_is_stuck() {
    let limits =
        Limits { queue_messages_max: QUEUED_MAX, slow_subscriber_wait_ms: 80, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let mut lagging = bench.client("lagging", "app").await;
    lagging.subscribe("flood", QoS::AtMostOnce).await;
    let mut flooding = bench.client("flooding", "app").await;

    // Nobody reads: each wait takes about ten milliseconds, and after a second nobody waits any more.
    for _ in 0..MESSAGES {
        flooding.publish("flood", vec![b'x'; PAYLOAD_BYTES]).await;
    }
    flooding.publish_acked(message("done", "x")).await;
    let stuck = bench.broker.figures();
    assert!(stuck.dropped > MESSAGES / 2, "{stuck:?}");
    assert!((1..=WAITS_FOR_STUCK_MAX).contains(&stuck.publisher_stalls), "{stuck:?}");

    // Now it reads, but far less than there comes.
    for _ in 0..MESSAGES - stuck.dropped {
        lagging.expect_message().await;
    }
    let flood = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            flooding.publish("flood", vec![b'x'; PAYLOAD_BYTES]).await;
        }
        flooding.publish_acked(message("done", "x")).await;
    });
    let mut taken = 0;
    while !flood.is_finished() {
        lagging.expect_message().await;
        taken += 1;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let lagged = bench.broker.figures();
    let stalls = lagged.publisher_stalls - stuck.publisher_stalls;
    assert!(stalls > WAITS_FOR_STUCK_MAX, "{stalls} waits while {taken} messages were taken");
    let left = (MESSAGES - (lagged.dropped - stuck.dropped)).saturating_sub(taken);
    for _ in 0..left {
        lagging.expect_message().await;
    }
    lagging.expect_silence().await;
}
