//! Who gets a message: filters, overlaps, shared groups, namespaces.

use crate::wire::{Bench, Client, connect, message};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{self, PublishAckReason, SubscribeAckReason, SubscriptionOptions};

#[tokio::test]
async fn any_script_is_a_topic_and_everybody_lives() {
    let bench = Bench::start().await;
    let mut publisher = bench.client("pub", "app").await;
    let mut subscriber = bench.client("sub", "app").await;
    subscriber.subscribe("#", QoS::AtLeastOnce).await;
    for topic in ["温度/1", "é", "/", "a b", "😀"] {
        let reason = publisher.publish_acked(message(topic, "x")).await;
        assert_eq!(reason, PublishAckReason::Success, "{topic}");
        assert_eq!(&*subscriber.expect_message().await.topic, topic);
    }
}

#[tokio::test]
async fn properties_reach_subscribers_of_every_version() {
    let bench = Bench::start().await;
    let mut subscriber = bench.client("sub", "app").await;
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    let mut publish = message("t", "x");
    let properties = v5::PublishProperties {
        content_type: Some("text/plain".into()),
        user_properties: vec![("a".into(), "b".into())],
        response_topic: Some("my/reply".into()),
        correlation_data: Some("7".into()),
        ..Default::default()
    };
    publish.properties = Some(properties.clone());
    bench.client("pub", "app").await.publish_acked(publish).await;
    assert_eq!(subscriber.expect_message().await.properties, Some(properties));
}

#[tokio::test]
async fn overlapping_subscriptions_deliver_once_with_all_identifiers() {
    let bench = Bench::start().await;
    let mut subscriber = bench.client("sub", "app").await;
    let with = |qos| SubscriptionOptions { qos, ..Default::default() };
    subscriber.subscribe_with("a/#", with(QoS::AtMostOnce), Some(1)).await;
    subscriber.subscribe_with("a/+", with(QoS::AtLeastOnce), Some(2)).await;
    bench.client("pub", "app").await.publish_acked(message("a/b", "x")).await;
    let publish = subscriber.expect_message().await;
    assert_eq!(publish.qos, QoS::AtLeastOnce);
    let mut ids: Vec<u32> =
        publish.properties.unwrap().subscription_ids.iter().map(|it| it.get()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    subscriber.ack(publish.packet_id.unwrap()).await;
    subscriber.expect_silence().await;
}

#[tokio::test]
async fn no_local_spares_the_publisher() {
    let bench = Bench::start().await;
    let mut client = bench.client("c", "app").await;
    let options = SubscriptionOptions { no_local: true, ..Default::default() };
    client.subscribe_with("t", options, None).await;
    let reason = client.publish_acked(message("t", "own")).await;
    assert_eq!(reason, PublishAckReason::Success);
    bench.client("pub", "app").await.publish_acked(message("t", "other")).await;
    assert_eq!(client.expect_payload().await, "other");
}

#[tokio::test]
async fn an_acknowledgement_says_that_nobody_listens() {
    let bench = Bench::start().await;
    let reason = bench.client("pub", "app").await.publish_acked(message("t", "x")).await;
    assert_eq!(reason, PublishAckReason::NoMatchingSubscribers);
}

#[tokio::test]
async fn a_shared_group_takes_turns() {
    let bench = Bench::start().await;
    let mut members = Vec::new();
    for name in ["m1", "m2"] {
        let mut member = bench.client(name, "app").await;
        member.subscribe("$share/g/jobs/+", QoS::AtLeastOnce).await;
        members.push(member);
    }
    let mut publisher = bench.client("pub", "app").await;
    for number in 0..10 {
        publisher.publish_acked(message("jobs/1", number.to_string())).await;
    }
    let mut seen = Vec::new();
    for member in &mut members {
        for _ in 0..5 {
            seen.push(member.expect_payload().await.parse::<u32>().unwrap());
        }
        member.expect_silence().await;
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<u32>>());
}

#[tokio::test]
async fn namespaces_never_meet() {
    let bench = Bench::start().await;
    let mut own = bench.admin("c1").await;
    for filter in ["#", "$share/g/#", "+/+", "t"] {
        own.subscribe(filter, QoS::AtLeastOnce).await;
    }
    let mut other_connect = connect("c1", "acme/berlin/admin");
    other_connect.last_will = Some(v5::LastWill {
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: "t".into(),
        message: "will".into(),
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    });
    // The same client id in another namespace takes nothing over.
    let (mut other, ack) = Client::connect(bench.address, other_connect).await;
    assert_eq!(ack.reason_code, v5::ConnectAckReason::Success);
    let mut publish = message("t", "secret");
    publish.retain = true;
    assert_eq!(other.publish_acked(publish).await, PublishAckReason::Success);
    let reason = other.publish_acked(message("t", "secret")).await;
    assert_eq!(reason, PublishAckReason::NoMatchingSubscribers, "nobody of that namespace listens");
    other.vanish();
    own.expect_silence().await;
    let mut late = bench.admin("late").await;
    late.subscribe("t", QoS::AtMostOnce).await;
    late.expect_silence().await;
}

/// Two clients whose packets have come while their worker was at something else.
#[test]
fn clients_are_heard_in_the_order_in_which_their_packets_have_come() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let apart = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = apart.block_on(runtime.spawn(Bench::start())).unwrap();
    apart.block_on(async {
        let mut asker = bench.client("asker", "app").await;
        let mut other = bench.client("other", "app").await;
        for client in [&mut asker, &mut other] {
            // That a new socket can be written to is an event as well, which is over then.
            client.subscribe("elsewhere", QoS::AtMostOnce).await;
        }
        for round in 0..20 {
            let topic = format!("order/{round}");
            let (begins, has_begun) = std::sync::mpsc::channel();
            let (ends, is_over) = std::sync::mpsc::channel::<()>();
            let work = runtime.spawn(async move {
                begins.send(()).unwrap();
                let _ = is_over.recv();
            });
            has_begun.recv().unwrap();
            asker.ask_for(&topic).await;
            other.publish(&topic, "1").await;
            drop(ends);
            work.await.unwrap();
            assert_eq!(asker.subscribed().await, SubscribeAckReason::GrantedQos0);
            assert_eq!(asker.expect_payload().await, "1", "round {round}");
        }
    });
}
