//! An edge node and its hub: what goes up, what comes down, what an outage and a full queue leave of it.

use manifold_tests::admin::Admin;
use manifold_tests::binaries;
use manifold_tests::bridges::{hello, listener};
use manifold_tests::edges::{EDGE, Hub, publish_values, publisher, status, value};
use manifold_tests::proxy::{Mood, Proxy};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::{Hello, Message, Property, Version};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

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

    // Another label changes nothing for it, another secret puts it out.
    let label = json!({ "edge": EDGE, "label": "Press shop", "revision": 1 });
    assert_eq!(admin.must("edges", "update", label.clone()).await["label"], "Press shop");
    let stale = admin.ask("edges", "update", label).await.expect_err("another revision");
    assert_eq!(stale["code"], "version_conflict");

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
    let other = json!({ "edge": EDGE, "secret": "another secret of the edge node" });
    admin.must("edges", "update", other).await;
    status(&mut admin, "put out", |it| it["online"] == false).await;
    let secret = json!({ "edge": EDGE, "secret": hub.secret });
    admin.must("edges", "update", secret).await;
    status(&mut admin, "back", |it| it["online"] == true).await;
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
    let proxy = Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, hub.port))).await;
    let site = hub.edge(proxy.port());
    let edge = site.start().await;
    let mut admin = Admin::enter(&hub_node).await;
    status(&mut admin, "online", |it| it["online"] == true).await;
    hub_node.kill().await;

    let mut says = publisher(&edge, "says").await;
    publish_values(&mut says, numbered(TAGS, 0..150)).await;
    // A tag that has not changed since, and one that says nothing in what is new.
    let quiet = format!("{TOPIC}-quiet");
    publish_values(&mut says, [(quiet.clone(), value(5, 10_000))]).await;
    publish_values(&mut says, numbered(TAGS, 150..300)).await;
    edge.kill().await;
    let edge = site.start().await;
    let mut says = publisher(&edge, "says").await;
    publish_values(&mut says, numbered(TAGS, 300..325)).await;

    // Who listens has to be there before the edge node is.
    proxy.set(Mood::Cut);
    let hub_node = hub.site.start().await;
    let mut at_hub = listener(&hub_node, "at-hub", "uns/acme/#").await;
    proxy.set(Mood::Passing);
    // Meanwhile, since a subscriber that does not read loses what its queue cannot hold.
    let heard = tokio::spawn(async move { at_hub.messages_until(END).await });
    let mut admin = Admin::enter(&hub_node).await;
    status(&mut admin, "online", |it| it["online"] == true).await;
    publish_values(&mut says, numbered(TAGS, 325..330)).await;
    let done = |it: &serde_json::Value| {
        it["queued"] == 0 && it["received"].as_u64() >= Some(330 * TAGS + 1)
    };
    let status = status(&mut admin, "drained", done).await;
    assert_eq!((&status["status"]["lost"], &status["status"]["refused"]), (&json!(0), &json!(0)));
    let mut says_end = publisher(&hub_node, "end").await;
    says_end.retain(END, b"1").await;
    let mut heard = heard.await.expect("the listener reads on");
    heard.pop();
    let quiet_ones: Vec<Message> = heard.extract_if(.., |it| it.topic == quiet).collect();
    assert_eq!(quiet_ones.len(), 1);
    assert_whole(&heard, TAGS, 0..330);
    // What is retained in the end is the newest of each tag.
    let mut late = listener(&hub_node, "late", "uns/acme/#").await;
    for message in late.messages_until(END).await {
        let newest = if message.topic == quiet { 5 } else { 329 };
        assert!(message.topic.ends_with("/end") || message.json()["v"] == newest, "{message:?}");
    }
}

#[tokio::test]
async fn at_its_bound_the_oldest_go_and_the_hub_is_told_how_many() {
    const VALUES: u64 = 300;
    let (hub, hub_node) = Hub::found().await;
    let edge = hub.edge(hub.port).with("uplink.bytes_max=1048576").start().await;
    let mut admin = Admin::enter(&hub_node).await;
    status(&mut admin, "online", |it| it["online"] == true).await;
    let operator = hello("operator").persistent();
    let mut events = hub_node.client(&operator).await;
    assert_eq!(events.subscribe("events/edges/#", 1).await, 1);
    let mut values = hub_node.client(&hello("values").persistent()).await;
    assert_eq!(values.subscribe("uns/acme/#", 1).await, 1);
    hub_node.kill().await;

    let mut says = publisher(&edge, "says").await;
    let text = "x".repeat(10_000);
    let large = |number| (format!("{TOPIC}{number}"), format!("{number} {text}").into_bytes());
    publish_values(&mut says, (0..VALUES).map(large)).await;
    let hub_node = hub.site.start().await;
    let mut admin = Admin::enter(&hub_node).await;
    let done = |it: &serde_json::Value| it["queued"] == 0 && it["lost"].as_u64() > Some(0);
    let status = status(&mut admin, "drained", done).await["status"].clone();
    let lost = status["lost"].as_u64().expect("a count");
    assert_eq!(status["dropped"], json!(lost), "{status}");
    let mut events = hub_node.client(&operator).await;
    let mut told = 0;
    while told < lost {
        let event = events.next_message().await.json();
        if event["event"] == "gap" {
            assert_eq!(event["reason"], "queue_full", "{event}");
            told += event["records"].as_u64().expect("a count");
        }
    }
    assert_eq!(told, lost);
    let mut values = hub_node.client(&hello("values").persistent()).await;
    hub_node.client(&hello("end")).await.publish_acked(END, b"1").await;
    let arrived = values.messages_until(END).await.len() as u64 - 1;
    assert_eq!(arrived + lost, VALUES, "each has arrived or is lost");
}

#[tokio::test]
async fn what_is_no_shipment_or_of_somebody_else_is_refused_and_changes_nothing() {
    const NOT_AUTHORIZED: u8 = 0x87;
    const FORMAT_INVALID: u8 = 0x99;
    let (hub, hub_node) = Hub::found().await;
    let as_edge = Hello::new(Version::V5, "stranger").user(EDGE, &hub.secret);
    let mut edge = hub_node.client(&as_edge).await;
    let own = format!("edges/{EDGE}/uplink");
    let mut random = Random::new(random::seed());
    let garbage = random.bytes(100);
    // A lane that there is not, a block that is cut off, one that says it has more than it has bytes.
    let cut_off = b"\x01\0\0\0\0\0\0\0\x01\x01\0\xFF";
    for payload in [&b""[..], b"\x09garbage", cut_off, &garbage] {
        assert_eq!(edge.publish_acked(&own, payload).await, FORMAT_INVALID, "{payload:?}");
    }
    let report = format!("{own}/report");
    assert_eq!(edge.publish_acked(&report, b"{}").await, FORMAT_INVALID);
    assert_eq!(edge.publish_acked("edges/paint/uplink", b"").await, NOT_AUTHORIZED);
    assert_eq!(edge.publish_acked(&format!("{own}/status"), b"").await, NOT_AUTHORIZED);
    assert_eq!(edge.publish_acked("events/edges/press", b"").await, NOT_AUTHORIZED);
    assert_eq!(edge.subscribe("uns/#", 1).await, NOT_AUTHORIZED);
    assert_eq!(edge.subscribe("uns/acme/+/set", 1).await, 1);
    let mut operator = hub_node.client(&hello("operator")).await;
    assert_eq!(operator.publish_acked(&own, b"").await, NOT_AUTHORIZED);
    assert_eq!(hub_node.figure("actors_edge_records_total").await, 0);
}

/// Between its CONNECT and its SUBSCRIBE nothing that it is asked would reach it.
#[tokio::test]
async fn an_edge_node_is_there_from_its_first_word_and_not_longer_than_its_connection() {
    let (hub, hub_node) = Hub::found().await;
    let mut admin = Admin::enter(&hub_node).await;
    let as_edge = Hello::new(Version::V5, "silent").user(EDGE, &hub.secret);
    let mut edge = hub_node.client(&as_edge).await;
    let question = json!({ "edge": EDGE, "resource": "drivers", "verb": "list" });
    for _ in 0..20 {
        let refusal = admin.ask("edges", "ask", question.clone()).await.expect_err("it is silent");
        assert_eq!(refusal["code"], "unavailable");
    }
    assert_eq!(edge.subscribe(&format!("edges/{EDGE}/question"), 1).await, 1);
    let queue = json!({ "queued": 0, "queued_bytes": 0, "backfilling": false, "dropped": 0 });
    let mut report = json!({ "version": "1", "started": 1 });
    for (field, value) in queue.as_object().expect("an object") {
        report[field.as_str()] = value.clone();
    }
    let topic = format!("edges/{EDGE}/uplink/report");
    assert_eq!(edge.publish_acked(&topic, report.to_string().as_bytes()).await, 0);
    status(&mut admin, "online", |it| it["online"] == true).await;
    // Who waits for an answer is told that there will be none.
    let ask = admin.ask("edges", "ask", question);
    let leave = async {
        while edge.next_message().await.json()["verb"] != "list" {}
        drop(edge);
    };
    let (refusal, ()) = tokio::join!(ask, leave);
    let refusal = refusal.expect_err("it is gone");
    assert_eq!(refusal["code"], "unavailable");
    assert!(refusal["message"].as_str().expect("a text").contains("lost its connection"));
}

#[tokio::test]
async fn an_edge_node_is_asked_by_those_who_may_and_while_it_is_there() {
    let (hub, hub_node) = Hub::found().await;
    let mut admin = Admin::enter(&hub_node).await;
    let asked = |resource: &str, verb: &str, body: serde_json::Value| {
        let words = [("edge", EDGE), ("resource", resource), ("verb", verb)];
        let mut request = json!({ "body": body });
        words.iter().for_each(|(name, word)| request[*name] = json!(word));
        request
    };
    let nobody = admin.ask("edges", "ask", asked("drivers", "list", json!({}))).await;
    assert_eq!(nobody.expect_err("it is not there")["code"], "unavailable");
    let edge = hub.edge(hub.port).start().await;
    status(&mut admin, "online", |it| it["online"] == true).await;
    let none = admin.must("edges", "ask", asked("drivers", "list", json!({}))).await;
    assert_eq!(none["items"], json!([]));
    let config = json!({ "protocol": "modbus_tcp", "address": "127.0.0.1:1" });
    let driver = json!({ "driver": "plc", "config": config });
    admin.must("edges", "tell", asked("drivers", "create", driver.clone())).await;
    let again = admin.ask("edges", "tell", asked("drivers", "create", driver)).await;
    let again = again.expect_err("it is there");
    assert_eq!((&again["code"], &again["field"]), (&json!("already_exists"), &json!("driver")));

    let refused = [
        ("ask", "drivers", "delete", "invalid"),
        ("tell", "drivers", "paint", "unknown_operation"),
        ("tell", "tenants", "list", "forbidden"),
        ("tell", "backups", "create", "forbidden"),
    ];
    for (verb, resource, inner, code) in refused {
        let refusal = admin.ask("edges", verb, asked(resource, inner, json!({}))).await;
        assert_eq!(refusal.expect_err("a refusal")["code"], code, "{verb} {resource} {inner}");
    }
    let secret = admin.create_user("reader", "user").await;
    let mut reader = Admin::enter_as(&hub_node, "reader", &secret).await;
    reader.must("edges", "ask", asked("drivers", "get", json!({ "driver": "plc" }))).await;
    let connections = reader.ask("edges", "ask", asked("connections", "list", json!({}))).await;
    assert_eq!(connections.expect_err("not for readers")["code"], "forbidden");
    // At the edge node it is on record who asked.
    let mut there = Admin::enter(&edge).await;
    let records = there.must("audit", "list", json!({ "action": "drivers create" })).await;
    let names: Vec<_> = records["items"].as_array().expect("records").iter().collect();
    assert!(names.iter().all(|it| it["by"]["name"] == "hub.admin"), "{records}");
    assert_eq!(names.len(), 2, "{records}");
}

/// An edge node that is restored from a backup has numbers again that the hub has: what is new must count all the same.
#[tokio::test]
async fn an_edge_node_restored_from_a_backup_goes_on() {
    let (hub, hub_node) = Hub::found().await;
    let site = hub.edge(hub.port);
    let edge = site.start().await;
    let mut admin = Admin::enter(&hub_node).await;
    let online = |it: &serde_json::Value| it["online"] == true;
    status(&mut admin, "online", online).await;
    let mut at_hub = listener(&hub_node, "at-hub", "uns/#").await;
    let mut says = publisher(&edge, "says").await;
    publish_values(&mut says, (0..10).map(|v| (TOPIC.to_owned(), value(v, v)))).await;
    let mut there = Admin::enter(&edge).await;
    let backup = there.must("backups", "create", json!({})).await["backup"].clone();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while there.must("backups", "get", json!({ "backup": backup })).await["state"] != "done" {
        assert!(tokio::time::Instant::now() < deadline, "the backup is not made");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    publish_values(&mut says, (10..30).map(|v| (TOPIC.to_owned(), value(v, v)))).await;
    for v in 0..30 {
        assert_eq!(at_hub.next_message().await.payload, value(v, v));
    }
    edge.kill().await;
    let file = site.data().join("backups").join(backup.as_str().expect("a name"));
    let folder = tempfile::tempdir().expect("there is room");
    let data = folder.path().join("data");
    let restored = std::process::Command::new(binaries::manifold())
        .arg("restore")
        .arg(&file)
        .arg("--data")
        .arg(&data)
        .status()
        .expect("the binary runs");
    assert!(restored.success());
    let edge = hub.edge_at(&data, hub.port).start().await;
    status(&mut admin, "online", online).await;
    let mut says = publisher(&edge, "says").await;
    publish_values(&mut says, (30..35).map(|v| (TOPIC.to_owned(), value(v, v)))).await;
    for v in 30..35 {
        assert_eq!(at_hub.next_message().await.payload, value(v, v));
    }
}
