//! Retained messages and wills.

use crate::wire::{Bench, Client, connect, message, until};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{self, PublishAckReason, RetainHandling, SubscriptionOptions};

fn retained(topic: &str, payload: &'static str) -> Publish {
    Publish { retain: true, ..message(topic, payload) }
}

#[tokio::test]
async fn the_last_value_is_there_for_whoever_comes_later_and_after_a_restart() {
    let bench = Bench::start().await;
    let mut publisher = bench.admin("pub").await;
    for payload in ["1", "2"] {
        let reason = publisher.publish_acked(retained("plant/level", payload)).await;
        assert_eq!(reason, PublishAckReason::Success);
    }
    let bench = bench.restart().await;
    let mut late = bench.client("late", "app").await;
    late.subscribe("plant/+", QoS::AtLeastOnce).await;
    let value = late.expect_message().await;
    assert_eq!((value.payload.as_ref(), value.retain), (&b"2"[..], true));
    late.expect_silence().await;
}

#[tokio::test]
async fn only_a_retained_empty_payload_clears() {
    let bench = Bench::start().await;
    let mut publisher = bench.admin("pub").await;
    publisher.publish_acked(retained("t", "1")).await;
    publisher.publish_acked(message("t", "")).await;
    let mut late = bench.client("late", "app").await;
    late.subscribe("t", QoS::AtMostOnce).await;
    assert_eq!(late.expect_payload().await, "1");
    publisher.publish_acked(retained("t", "")).await;
    assert_eq!(late.expect_payload().await, "");
    let mut later = bench.client("later", "app").await;
    later.subscribe("t", QoS::AtMostOnce).await;
    later.expect_silence().await;
    let bench = bench.restart().await;
    let mut last = bench.client("last", "app").await;
    last.subscribe("t", QoS::AtMostOnce).await;
    last.expect_silence().await;
}

#[tokio::test]
async fn retain_handling_says_when_they_are_sent() {
    let bench = Bench::start().await;
    bench.admin("pub").await.publish_acked(retained("t", "1")).await;
    let mut client = bench.client("c", "app").await;
    let with = |retain_handling| SubscriptionOptions { retain_handling, ..Default::default() };
    client.subscribe_with("t", with(RetainHandling::NoAtSubscribe), None).await;
    client.expect_silence().await;
    client.subscribe_with("t", with(RetainHandling::AtSubscribeNew), None).await;
    client.expect_silence().await;
    client.subscribe_with("t", with(RetainHandling::AtSubscribe), Some(7)).await;
    let value = client.expect_message().await;
    let ids: Vec<u32> =
        value.properties.unwrap().subscription_ids.iter().map(|it| it.get()).collect();
    assert_eq!(ids, [7]);
}

#[tokio::test]
async fn retain_as_published_keeps_the_flag() {
    let bench = Bench::start().await;
    let mut client = bench.client("c", "app").await;
    let options = SubscriptionOptions { retain_as_published: true, ..Default::default() };
    client.subscribe_with("a", options, None).await;
    client.subscribe("b", QoS::AtMostOnce).await;
    let mut publisher = bench.admin("pub").await;
    publisher.publish_acked(retained("a", "1")).await;
    publisher.publish_acked(retained("b", "1")).await;
    assert!(client.expect_message().await.retain);
    assert!(!client.expect_message().await.retain);
}

fn with_will(client_id: &str) -> v5::Connect {
    v5::Connect {
        last_will: Some(v5::LastWill {
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: "wills/line1".into(),
            message: "gone".into(),
            will_delay_interval_sec: None,
            correlation_data: None,
            message_expiry_interval: None,
            content_type: None,
            user_properties: Vec::new(),
            is_utf8_payload: None,
            response_topic: None,
        }),
        ..connect(client_id, "app")
    }
}

#[tokio::test]
async fn a_will_speaks_for_a_client_that_is_lost_only() {
    let bench = Bench::start().await;
    let mut watcher = bench.admin("watcher").await;
    watcher.subscribe("wills/#", QoS::AtMostOnce).await;
    let (polite, _) = Client::connect(bench.address, with_will("polite")).await;
    polite.leave().await;
    watcher.expect_silence().await;
    let (lost, _) = Client::connect(bench.address, with_will("lost")).await;
    lost.vanish();
    assert_eq!(watcher.expect_payload().await, "gone");
    let (mut asking, _) = Client::connect(bench.address, with_will("asking")).await;
    let reason = v5::DisconnectReasonCode::DisconnectWithWillMessage;
    asking.send(v5::Packet::Disconnect(v5::Disconnect::new(reason))).await;
    assert_eq!(watcher.expect_payload().await, "gone");
    until(|| bench.broker.figures().retained == 1).await;
}

#[tokio::test]
async fn a_walk_over_very_many_holds_nothing_up_and_leaves_none_out() {
    let bench = Bench::start().await;
    let mut publisher = bench.admin("pub").await;
    for number in 0..1200 {
        publisher.start_publish(retained(&format!("many/{number:04}"), "x")).await;
    }
    for number in 1..=1200 {
        assert_eq!(publisher.expect_ack(crate::wire::id(number)).await, PublishAckReason::Success);
    }
    let mut late = bench.client("late", "app").await;
    late.subscribe("#", QoS::AtMostOnce).await;
    publisher.publish_acked(message("live", "new")).await;
    let mut topics = std::collections::BTreeSet::new();
    let mut is_live_seen = false;
    while topics.len() < 1200 || !is_live_seen {
        let publish = late.expect_message().await;
        match publish.retain {
            true => assert!(topics.insert(publish.topic.to_string()), "{} twice", publish.topic),
            false => is_live_seen = true,
        }
    }
    late.expect_silence().await;
    assert_eq!(bench.broker.figures().retained, 1200);
    let bench = bench.restart().await;
    until(|| bench.broker.figures().retained == 1200).await;
}

#[tokio::test]
async fn filters_find_what_they_match_in_the_store() {
    let bench = Bench::start().await;
    let mut publisher = bench.admin("pub").await;
    for topic in ["a", "a/b", "a/b/c", "a-b", "ab/c", "a/c", "b/c"] {
        publisher.publish_acked(retained(topic, "x")).await;
    }
    for (filter, expected) in [
        ("a", vec!["a"]),
        ("a/#", vec!["a", "a/b", "a/b/c", "a/c"]),
        ("+/c", vec!["a/c", "ab/c", "b/c"]),
        ("a/+", vec!["a/b", "a/c"]),
        ("a/+/c", vec!["a/b/c"]),
        ("+", vec!["a", "a-b"]),
        ("#", vec!["a", "a-b", "a/b", "a/b/c", "a/c", "ab/c", "b/c"]),
        ("x/#", vec![]),
    ] {
        let mut client = bench.client("c", "app").await;
        client.subscribe(filter, QoS::AtMostOnce).await;
        let mut found = Vec::new();
        for _ in &expected {
            found.push(client.expect_message().await.topic.to_string());
        }
        client.expect_silence().await;
        found.sort();
        assert_eq!(found, expected, "{filter}");
        client.leave().await;
    }
}

/// Two publishers on one topic at once: what later subscribers are given is what the store has.
#[tokio::test]
async fn the_last_of_two_publishers_is_the_same_in_memory_and_in_the_store() {
    let mut bench = Bench::start().await;
    for round in 0..5 {
        let mut publishing = Vec::new();
        for name in ["p1", "p2"] {
            let mut publisher = bench.client(name, "app").await;
            publishing.push(tokio::spawn(async move {
                for number in 0..20 {
                    let payload = format!("{name}-{round}-{number}");
                    let publish = Publish { retain: true, ..message("one", payload) };
                    publisher.publish_acked(publish).await;
                }
            }));
        }
        for publisher in publishing {
            publisher.await.unwrap();
        }
        let mut before = bench.client("before", "app").await;
        before.subscribe("one", QoS::AtMostOnce).await;
        let seen = before.expect_payload().await;
        bench = bench.restart().await;
        let mut after = bench.client("after", "app").await;
        after.subscribe("one", QoS::AtMostOnce).await;
        assert_eq!(after.expect_payload().await, seen);
        until(|| bench.broker.figures().retained == 1).await;
    }
}
