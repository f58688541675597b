//! Shared subscriptions: who gets a message, and who gets it when that one is gone.

use crate::wire::{Bench, Client, SILENCE, connect, id, message, until};
use broker::{Policies, SharedStrategy};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{self, DisconnectReasonCode, Packet, SubscriptionOptions};
use std::collections::BTreeSet;

const JOBS: &str = "$share/g/jobs/+";

/// A member that takes `window` messages at once; its session outlives it if `is_durable`.
async fn member(bench: &Bench, name: &str, window: u16, is_durable: bool) -> Client {
    let connect = v5::Connect {
        clean_start: !is_durable,
        session_expiry_interval_secs: if is_durable { 3600 } else { 0 },
        receive_max: Some(id(window)),
        ..connect(name, "app")
    };
    let (mut client, ack) = Client::connect(bench.address, connect).await;
    if !ack.session_present {
        client.subscribe(JOBS, QoS::AtLeastOnce).await;
    }
    client
}

async fn publish(bench: &Bench, numbers: std::ops::Range<u32>) {
    let mut publisher = bench.client("pub", "app").await;
    for number in numbers {
        publisher.publish_acked(message("jobs/1", number.to_string())).await;
    }
}

/// Everything that comes to a member, each acknowledged.
async fn all(client: &mut Client) -> Vec<u32> {
    let mut seen = Vec::new();
    while let Ok(received) = tokio::time::timeout(SILENCE, client.receive()).await {
        let Some(Packet::Publish(publish)) = received else { panic!("no PUBLISH") };
        if let Some(packet_id) = publish.packet_id {
            client.ack(packet_id).await;
        }
        seen.push(std::str::from_utf8(&publish.payload).unwrap().parse().unwrap());
    }
    seen
}

#[tokio::test]
async fn a_member_without_room_gets_nothing_while_another_has() {
    let bench = Bench::start().await;
    let mut full = member(&bench, "full", 2, false).await;
    let mut free = member(&bench, "free", 100, false).await;
    publish(&bench, 0..20).await;
    let first = full.expect_message().await;
    let second = full.expect_message().await;
    full.expect_silence().await;
    assert_eq!(all(&mut free).await.len(), 18);
    // With the first acknowledgement it is in turn again.
    full.ack(first.packet_id.unwrap()).await;
    full.ack(second.packet_id.unwrap()).await;
    publish(&bench, 20..24).await;
    let share = (all(&mut full).await.len(), all(&mut free).await.len());
    assert_eq!(share, (2, 2));
}

#[tokio::test]
async fn what_nobody_has_room_for_waits_with_the_group_for_whoever_is_first() {
    let bench = Bench::start().await;
    let mut slow = member(&bench, "slow", 1, false).await;
    let mut quick = member(&bench, "quick", 1, false).await;
    publish(&bench, 0..10).await;
    let stuck = slow.expect_message().await;
    assert_eq!(all(&mut quick).await.len(), 9);
    slow.ack(stuck.packet_id.unwrap()).await;
    slow.expect_silence().await;
}

#[tokio::test]
async fn what_a_lost_member_has_not_acknowledged_goes_to_another() {
    for is_durable in [false, true] {
        let bench = Bench::start().await;
        let mut lost = member(&bench, "lost", 3, is_durable).await;
        publish(&bench, 0..3).await;
        for _ in 0..3 {
            lost.expect_message().await;
        }
        let mut heir = member(&bench, "heir", 100, is_durable).await;
        lost.vanish();
        assert_eq!(all(&mut heir).await, [0, 1, 2], "durable: {is_durable}");
        // Whoever returns does not get it a second time.
        let mut back = member(&bench, "lost", 3, is_durable).await;
        back.expect_silence().await;
    }
}

#[tokio::test]
async fn nothing_is_lost_when_all_are_away_and_whoever_comes_first_gets_it() {
    let bench = Bench::start().await;
    let mut first = member(&bench, "first", 5, true).await;
    let second = member(&bench, "second", 5, true).await;
    second.leave().await;
    publish(&bench, 0..5).await;
    for _ in 0..5 {
        first.expect_message().await;
    }
    first.vanish();
    publish(&bench, 5..10).await;
    let mut second = member(&bench, "second", 50, true).await;
    assert_eq!(all(&mut second).await, (0..10).collect::<Vec<_>>());
    second.leave().await;
    let bench = bench.restart().await;
    let mut first = member(&bench, "first", 50, true).await;
    first.expect_silence().await;
}

#[tokio::test]
async fn the_queue_of_a_group_survives_a_restart() {
    let bench = Bench::start().await;
    let mut only = member(&bench, "only", 2, true).await;
    publish(&bench, 0..6).await;
    let first = only.expect_message().await;
    only.ack(first.packet_id.unwrap()).await;
    only.expect_message().await;
    only.vanish();
    let bench = bench.restart().await;
    let mut only = member(&bench, "only", 50, true).await;
    let seen = all(&mut only).await;
    assert!(seen == [1, 2, 3, 4, 5] || seen == [0, 1, 2, 3, 4, 5], "{seen:?}");
    publish(&bench, 6..8).await;
    assert_eq!(all(&mut only).await, [6, 7]);
}

#[tokio::test]
async fn a_last_member_that_returns_finds_what_it_had_not_acknowledged() {
    let bench = Bench::start().await;
    let mut only = member(&bench, "only", 5, true).await;
    publish(&bench, 0..2).await;
    let first = only.expect_message().await;
    only.expect_message().await;
    only.vanish();
    let mut only = member(&bench, "only", 5, true).await;
    let again = only.expect_message().await;
    assert_eq!((again.payload.as_ref(), again.dup), (&b"0"[..], true));
    assert_eq!(again.packet_id, first.packet_id);
}

#[tokio::test]
async fn one_name_with_two_filters_is_two_groups() {
    let bench = Bench::start().await;
    let mut client = bench.client("c", "app").await;
    client.subscribe("$share/g/a/+", QoS::AtMostOnce).await;
    client.subscribe("$share/g/a/#", QoS::AtMostOnce).await;
    bench.client("pub", "app").await.publish_acked(message("a/b", "x")).await;
    assert_eq!(client.expect_payload().await, "x");
    assert_eq!(client.expect_payload().await, "x");
}

#[tokio::test]
async fn no_local_is_an_error_of_a_shared_subscription() {
    let bench = Bench::start().await;
    let mut client = bench.client("c", "app").await;
    let options = SubscriptionOptions { no_local: true, ..Default::default() };
    let subscribe = v5::Subscribe {
        packet_id: id(1),
        id: None,
        user_properties: Vec::new(),
        topic_filters: vec![(JOBS.to_owned().into(), options)],
    };
    client.send(Packet::Subscribe(subscribe)).await;
    assert_eq!(client.expect_end().await, DisconnectReasonCode::ProtocolError);
}

#[tokio::test]
async fn the_messages_of_a_topic_keep_to_one_member_if_that_is_asked_for() {
    let shared_strategy = SharedStrategy::HashTopic;
    let bench = Bench::start_by(Policies { shared_strategy, ..Policies::default() }).await;
    let mut members = Vec::new();
    for name in ["m1", "m2", "m3"] {
        members.push(member(&bench, name, 100, false).await);
    }
    let mut publisher = bench.client("pub", "app").await;
    for number in 0..100 {
        let topic = format!("jobs/{}", number % 10);
        publisher.publish_acked(message(&topic, number.to_string())).await;
    }
    let mut seen = 0;
    for member in &mut members {
        let numbers = all(member).await;
        let topics: BTreeSet<u32> = numbers.iter().map(|it| it % 10).collect();
        assert_eq!(numbers.len(), topics.len() * 10, "a topic is split: {numbers:?}");
        assert!(numbers.len() < 100, "one has everything");
        seen += numbers.len();
    }
    assert_eq!(seen, 100);
}

/// Members come, go, take, acknowledge and fall silent in an order that dice decide; in the end each message has
/// been acknowledged by somebody, and the store owes nobody anything.
#[tokio::test]
async fn whatever_the_members_do_each_message_is_had_by_one() {
    let bench = Bench::start().await;
    let names = ["m0", "m1", "m2"];
    let mut members: Vec<Option<Client>> = Vec::new();
    for name in names {
        members.push(Some(member(&bench, name, 4, true).await));
    }
    let mut publisher = bench.client("pub", "app").await;
    let (mut dice, mut published) = (0x2545_F491_4F6C_DD1D_u64, 0_u32);
    let mut had = BTreeSet::new();
    for _ in 0..300 {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let place = (dice >> 8) as usize % members.len();
        match (dice % 8, members[place].take()) {
            (0, Some(client)) => client.vanish(),
            (0 | 1, None) => members[place] = Some(member(&bench, names[place], 4, true).await),
            (2 | 3, Some(mut client)) => {
                let quick = std::time::Duration::from_millis(2);
                if let Ok(Some(Packet::Publish(it))) =
                    tokio::time::timeout(quick, client.receive()).await
                {
                    client.ack(it.packet_id.unwrap()).await;
                    had.insert(it.payload);
                }
                members[place] = Some(client);
            }
            (_, kept) => {
                members[place] = kept;
                publisher.publish_acked(message("jobs/1", published.to_string())).await;
                published += 1;
            }
        }
    }
    for (place, slot) in members.iter_mut().enumerate() {
        let mut client = match slot.take() {
            Some(client) => client,
            None => member(&bench, names[place], 4, true).await,
        };
        had.extend(all(&mut client).await.into_iter().map(|number| number.to_string().into()));
        *slot = Some(client);
    }
    for client in members.iter_mut().flatten() {
        had.extend(all(client).await.into_iter().map(|number| number.to_string().into()));
    }
    assert_eq!(had.len(), published as usize);
    until(|| bench.store.read().unwrap().queue_stat(store::SessionKey(4)).unwrap().count == 0)
        .await;
}

#[tokio::test]
async fn what_members_had_not_acknowledged_when_the_node_died_comes_again() {
    let (bench, runtime) = Bench::start_apart().await;
    let mut first = member(&bench, "first", 3, true).await;
    let mut second = member(&bench, "second", 3, true).await;
    publish(&bench, 0..20).await;
    for client in [&mut first, &mut second] {
        client.expect_message().await;
    }
    let bench = bench.kill(runtime).await;
    let mut second = member(&bench, "second", 50, true).await;
    assert_eq!(all(&mut second).await, (0..20).collect::<Vec<_>>());
}
