//! An edge node and its hub: what goes up, what comes down, what an outage and a full queue leave of it.

use manifold_tests::admin::Admin;
use manifold_tests::bridges::{hello, listener};
use manifold_tests::edges::{EDGE, Hub, publish_values, publisher, status, value};
use manifold_tests::wire::{Message, Property};
use serde_json::json;
use std::collections::BTreeMap;

/// The last of all topics.
const END: &str = "uns/acme/~/_raw/end";

const TOPIC: &str = "uns/acme/berlin/press/_raw/speed";

fn is_historical(message: &Message) -> bool {
    message
        .properties
        .iter()
        .any(|it| matches!(it, Property::UserProperty(name, _) if name == "historical"))
}

#[tokio::test]
async fn values_go_up_writes_come_down_and_the_hub_knows_its_edge_node() {
    let (hub, hub_node) = Hub::found().await;
    let site = hub.edge(hub.port);
    let edge = site.start().await;
    let mut admin = Admin::enter(&hub_node).await;
    let known = status(&mut admin, "online", |it| it["online"] == true && !it["version"].is_null());
    assert!(known.await["adopted"].is_number());

    let mut at_hub = listener(&hub_node, "at-hub", "uns/#").await;
    let mut says = publisher(&edge, "says").await;
    publish_values(&mut says, [(TOPIC.to_owned(), value(7, 1_000))]).await;
    let message = at_hub.next_message().await;
    assert_eq!((message.topic.as_str(), message.payload), (TOPIC, value(7, 1_000)));
    let late = listener(&hub_node, "late", TOPIC).await.next_message().await;
    assert!(late.is_retained, "{late:?}");

    // A write at the hub reaches whoever has the machine, and only once.
    let mut machine = listener(&edge, "machine", "uns/#").await;
    assert!(machine.next_message().await.is_retained);
    let set = format!("{TOPIC}/set");
    let mut app = hub_node.client(&hello("app")).await;
    app.publish_acked(&set, br#"{"v":9}"#).await;
    assert_eq!(machine.next_message().await.topic, set);
    assert_eq!(at_hub.next_message().await.topic, set);
    publish_values(&mut says, [(TOPIC.to_owned(), value(9, 2_000))]).await;
    assert_eq!(at_hub.next_message().await.payload, value(9, 2_000), "the write did not go up");

    // What is not below the filters stays.
    says.publish_acked("local/only", b"x").await;
    publish_values(&mut says, [(TOPIC.to_owned(), value(1, 3_000))]).await;
    let mut everything = listener(&hub_node, "everything", "#").await;
    let retained = everything.messages_until(TOPIC).await;
    assert!(!retained.iter().any(|it| it.topic.starts_with("local/")));

    edge.terminate().await;
    status(&mut admin, "offline", |it| it["online"] == false).await;
    let edge = site.start().await;
    status(&mut admin, "online", |it| it["online"] == true).await;
    let online = hub_node.figure("actors_edges_online").await;
    assert_eq!((online, edge.figure("actors_uplink_connected").await), (1, 1));
    // Deleted, it is put out and comes in no more, and nothing is left of what was said of it.
    admin.must("edges", "delete", json!({ "edge": EDGE })).await;
    assert!(admin.ask("edges", "get", json!({ "edge": EDGE })).await.is_err());
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while hub_node.figure("actors_edges_online").await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "it is still here");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut everything = listener(&hub_node, "all-of-it", "#").await;
    hub_node.client(&hello("last")).await.retain("zz/end", b"1").await;
    let retained = everything.messages_until("zz/end").await;
    assert!(!retained.iter().any(|it| it.topic.starts_with("edges/press/")), "{retained:?}");
}

/// Values of some tags, numbered, so that order and number can be looked at.
fn numbered(tags: u64, numbers: std::ops::Range<u64>) -> impl Iterator<Item = (String, Vec<u8>)> {
    numbers.flat_map(move |number| {
        (0..tags).map(move |tag| (format!("{TOPIC}{tag}"), value(number, 10_000 + number)))
    })
}

/// Everything of an outage arrives, once and in order for each tag and lane.
fn assert_whole(heard: &[Message], tags: u64, numbers: std::ops::Range<u64>) {
    let mut seen: BTreeMap<&str, Vec<(bool, u64)>> = BTreeMap::new();
    for message in heard {
        let number = message.json()["v"].as_u64().expect("a number");
        seen.entry(&message.topic).or_default().push((is_historical(message), number));
    }
    for tag in 0..tags {
        let seen = &seen[format!("{TOPIC}{tag}").as_str()];
        let mut all: Vec<u64> = seen.iter().map(|(_, number)| *number).collect();
        all.sort_unstable();
        let wanted: Vec<u64> = numbers.clone().collect();
        let missing = wanted.iter().filter(|it| !all.contains(it)).count();
        assert!(all == wanted, "tag {tag}: {} have come, {missing} are missing", all.len());
        for lane in [true, false] {
            let of_lane = seen.iter().filter(|it| it.0 == lane).map(|it| it.1);
            assert!(of_lane.is_sorted(), "tag {tag} is out of order");
        }
    }
}

#[tokio::test]
async fn an_outage_loses_nothing_and_what_is_new_does_not_wait_behind_it() {
    const TAGS: u64 = 20;
    let (hub, hub_node) = Hub::found().await;
    let site = hub.edge(hub.port);
    let edge = site.start().await;
    let mut admin = Admin::enter(&hub_node).await;
    status(&mut admin, "online", |it| it["online"] == true).await;
    hub_node.kill().await;

    let mut says = publisher(&edge, "says").await;
    publish_values(&mut says, numbered(TAGS, 0..600)).await;
    // A tag that has not changed since, and one that says nothing in what is new.
    let quiet = format!("{TOPIC}-quiet");
    publish_values(&mut says, [(quiet.clone(), value(5, 10_000))]).await;
    publish_values(&mut says, numbered(TAGS, 600..1_200)).await;
    edge.kill().await;
    let edge = site.start().await;
    let mut says = publisher(&edge, "says").await;
    publish_values(&mut says, numbered(TAGS, 1_200..1_300)).await;

    let hub_node = hub.site.start().await;
    let mut at_hub = listener(&hub_node, "at-hub", "uns/acme/#").await;
    // Meanwhile, since a subscriber that does not read loses what its queue cannot hold.
    let heard = tokio::spawn(async move { at_hub.messages_until(END).await });
    let mut admin = Admin::enter(&hub_node).await;
    status(&mut admin, "online", |it| it["online"] == true).await;
    publish_values(&mut says, numbered(TAGS, 1_300..1_310)).await;
    let done = |it: &serde_json::Value| {
        it["queued"] == 0 && it["received"].as_u64() >= Some(1_310 * TAGS + 1)
    };
    let status = status(&mut admin, "drained", done).await;
    assert_eq!((&status["status"]["lost"], &status["status"]["refused"]), (&json!(0), &json!(0)));
    let mut says_end = publisher(&hub_node, "end").await;
    says_end.retain(END, b"1").await;
    let mut heard = heard.await.expect("the listener reads on");
    heard.pop();
    let quiet_ones: Vec<Message> = heard.extract_if(.., |it| it.topic == quiet).collect();
    assert_eq!(quiet_ones.len(), 1);
    assert_whole(&heard, TAGS, 0..1_310);
    // What is retained in the end is the newest of each tag.
    let mut late = listener(&hub_node, "late", "uns/acme/#").await;
    for message in late.messages_until(END).await {
        let newest = if message.topic == quiet { 5 } else { 1_309 };
        assert!(message.topic.ends_with("/end") || message.json()["v"] == newest, "{message:?}");
    }
}
