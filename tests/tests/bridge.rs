//! Bridges between nodes: both ways, across `kill -9`, in rings, at the bounds of their queues, and what is refused.

use manifold_tests::admin::Admin;
use manifold_tests::bridges::{assert_balanced, connected, count, hello, listener, site, status};
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::Wire;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The remote broker of a bridge: a node of ours at `port`.
fn remote(port: u16) -> Value {
    json!({ "url": format!("mqtt://127.0.0.1:{port}"), "user_name": "admin", "secret": SECRET })
}

#[tokio::test]
async fn one_bridge_carries_both_ways_once_and_maps_topics() {
    let ((hub_site, hub_port), (edge_site, _)) = (site(), site());
    let (hub, edge) = (hub_site.start().await, edge_site.start().await);
    let mut admin = Admin::enter(&edge).await;
    let rules = json!([
        { "direction": "both", "filter": "shared/#" },
        { "direction": "out", "filter": "#", "local_prefix": "plant/", "remote_prefix": "edge7/" },
    ]);
    let body = json!({ "bridge": "hub", "remote": remote(hub_port), "rules": rules });
    admin.must("bridges", "create", body).await;
    connected(&mut admin, "hub").await;

    let mut at_hub = listener(&hub, "at-hub", "shared/#").await;
    assert_eq!(at_hub.subscribe("edge7/#", 1).await, 1);
    let mut at_edge = listener(&edge, "at-edge", "shared/#").await;
    let mut says = edge.client(&hello("says-edge")).await;
    assert_eq!(says.publish_acked("shared/from-edge", b"1").await, 0);
    assert_eq!(says.retain("plant/line1/temp", b"21.5").await, 0);
    let mut hub_says = hub.client(&hello("says-hub")).await;
    assert_eq!(at_hub.next_message().await.topic, "shared/from-edge");
    assert_eq!(at_hub.next_message().await.topic, "edge7/line1/temp");
    assert_eq!(hub_says.publish_acked("shared/from-hub", b"2").await, 0);
    assert_eq!(hub_says.publish_acked("shared/end", b"").await, 0);
    let heard = at_edge.messages_until("shared/end").await;
    let topics: Vec<&str> = heard.iter().map(|it| it.topic.as_str()).collect();
    assert_eq!(topics, ["shared/from-edge", "shared/from-hub", "shared/end"]);

    // The RETAIN flag has gone along.
    let late = listener(&hub, "late", "edge7/#").await.next_message().await;
    assert!(late.is_retained && late.payload == b"21.5", "{late:?}");
    let heard = at_hub.messages_until("shared/end").await;
    assert_eq!(heard.len(), 2, "nothing has come back: {heard:?}");
    let end = status(&mut admin, "hub", "done", |it| count(it, "/in/published") == 2).await;
    assert_balanced(&end);
    assert_eq!(count(&end, "/out/sent"), 2, "{end}");
}

/// Publishes numbers until it is told to stop; what was acknowledged.
async fn publish_numbers(node: &Node, topic: &str, from: u64, count: u64) -> (Vec<u64>, u64) {
    let mut wire = node.client(&hello("load")).await;
    let mut acknowledged = Vec::new();
    for number in from..from + count {
        assert_eq!(wire.publish_acked(topic, number.to_string().as_bytes()).await, 0);
        acknowledged.push(number);
    }
    (acknowledged, from + count)
}

/// Numbers as they came, up to the first `last`.
async fn numbers_until(wire: &mut Wire, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let number = wire.next_message().await.text().parse().expect("a number");
        numbers.push(number);
        if number == last {
            return numbers;
        }
    }
}

/// Everything arrived, and each number for the first time after those before it.
fn assert_whole(acknowledged: &[u64], arrived: &[u64]) {
    let seen: BTreeSet<u64> = arrived.iter().copied().collect();
    let missing: Vec<&u64> = acknowledged.iter().filter(|it| !seen.contains(it)).collect();
    assert!(missing.is_empty(), "{} of {} missing: {missing:?}", missing.len(), acknowledged.len());
    let mut highest = 0;
    let mut first_seen = BTreeSet::new();
    for number in arrived {
        if first_seen.insert(number) {
            assert!(*number >= highest, "{number} for the first time after {highest}");
            highest = *number;
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_either_side_is_killed() {
    let ((hub_site, hub_port), (edge_site, _)) = (site(), site());
    let (mut hub, mut edge) = (hub_site.start().await, edge_site.start().await);
    let mut admin = Admin::enter(&edge).await;
    let rules = json!([{ "direction": "both", "filter": "n/#" }]);
    let body = json!({ "bridge": "hub", "remote": remote(hub_port), "rules": rules });
    admin.must("bridges", "create", body).await;
    connected(&mut admin, "hub").await;

    // Sessions that hear everything, whatever dies.
    let at_hub = hello("at-hub").persistent();
    let at_edge = hello("at-edge").persistent();
    assert_eq!(hub.client(&at_hub).await.subscribe("n/up", 1).await, 1);
    assert_eq!(edge.client(&at_edge).await.subscribe("n/down", 1).await, 1);

    let (mut up, mut down, mut next) = (Vec::new(), Vec::new(), 1);
    for round in 0..6 {
        let (acknowledged, after) = publish_numbers(&edge, "n/up", next, 60).await;
        up.extend(acknowledged);
        let (acknowledged, _) = publish_numbers(&hub, "n/down", next, 60).await;
        down.extend(acknowledged);
        next = after;
        // Killed while the bridge is at work; the hub stays away for some of what is published.
        if round % 2 == 0 {
            hub.kill().await;
            let (acknowledged, after) = publish_numbers(&edge, "n/up", next, 40).await;
            up.extend(acknowledged);
            next = after;
            hub = hub_site.start().await;
        } else {
            edge.kill().await;
            let (acknowledged, after) = publish_numbers(&hub, "n/down", next, 40).await;
            down.extend(acknowledged);
            next = after;
            edge = edge_site.start().await;
        }
    }
    let mut admin = Admin::enter(&edge).await;
    let (last, _) = publish_numbers(&edge, "n/up", next, 1).await;
    let mut wire = hub.client(&at_hub).await;
    assert_whole(&up, &numbers_until(&mut wire, last[0]).await);
    let (last, _) = publish_numbers(&hub, "n/down", next, 1).await;
    let mut wire = edge.client(&at_edge).await;
    assert_whole(&down, &numbers_until(&mut wire, last[0]).await);
    let end = status(&mut admin, "hub", "empty", |it| count(it, "/out/queued") == 0).await;
    assert_balanced(&end);
}

/// Hears everything below `m/` up to `m/end`, and gives how often each other topic came.
async fn heard(wire: &mut Wire) -> Vec<String> {
    let mut topics: Vec<String> =
        wire.messages_until("m/end").await.into_iter().map(|it| it.topic).collect();
    topics.retain(|topic| topic != "m/end");
    topics.sort();
    topics
}

/// Three nodes, their operators, and one listener each.
async fn three() -> (Vec<(Site, u16)>, Vec<Node>, Vec<Admin>, Vec<Wire>) {
    let sites: Vec<(Site, u16)> = (0..3).map(|_| site()).collect();
    let (mut nodes, mut admins, mut wires) = (Vec::new(), Vec::new(), Vec::new());
    for (site, _) in &sites {
        let node = site.start().await;
        admins.push(Admin::enter(&node).await);
        wires.push(listener(&node, "listener", "m/#").await);
        nodes.push(node);
    }
    (sites, nodes, admins, wires)
}

/// Each node says something, then the first says that this was all: everybody has heard each once.
async fn assert_once_everywhere(nodes: &[Node], wires: &mut [Wire]) {
    for (index, node) in nodes.iter().enumerate() {
        let mut wire = node.client(&hello("says")).await;
        assert_eq!(wire.publish_acked(&format!("m/{index}"), b"x").await, 0);
    }
    // Two times round: what would come twice has come by then.
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut wire = nodes[0].client(&hello("says")).await;
        assert_eq!(wire.publish_acked("m/again", b"x").await, 0);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut wire = nodes[0].client(&hello("says")).await;
    assert_eq!(wire.publish_acked("m/end", b"x").await, 0);
    for (index, wire) in wires.iter_mut().enumerate() {
        let topics = heard(wire).await;
        assert_eq!(topics, ["m/0", "m/1", "m/2", "m/again", "m/again"], "at node {index}");
    }
}

#[tokio::test]
async fn in_a_ring_of_three_a_message_arrives_once_everywhere() {
    let (sites, nodes, mut admins, mut wires) = three().await;
    for index in 0..3 {
        let (_, port) = sites[(index + 1) % 3];
        let rules = json!([{ "direction": "out", "filter": "m/#" }]);
        let body = json!({ "bridge": "next", "remote": remote(port), "rules": rules });
        admins[index].must("bridges", "create", body).await;
        connected(&mut admins[index], "next").await;
    }
    assert_once_everywhere(&nodes, &mut wires).await;
    let metrics = nodes[0].get("/metrics").await;
    let loops = metrics.lines().find_map(|line| line.strip_prefix("broker_loops_total "));
    let loops: u64 = loops.expect("loops are counted").parse().expect("a number");
    assert!(loops > 0, "what comes round is noticed");
}

#[tokio::test]
async fn with_one_hop_three_nodes_may_all_be_bridged_to_each_other() {
    let (sites, nodes, mut admins, mut wires) = three().await;
    for index in 0..3 {
        let (_, port) = sites[(index + 1) % 3];
        let rules = json!([{ "direction": "both", "filter": "m/#" }]);
        let body =
            json!({ "bridge": "next", "remote": remote(port), "rules": rules, "hops_max": 1 });
        admins[index].must("bridges", "create", body).await;
    }
    for admin in &mut admins {
        connected(admin, "next").await;
    }
    // Each has heard the name of the other by its retained status.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_once_everywhere(&nodes, &mut wires).await;
}

#[tokio::test]
async fn the_accounts_are_exact_when_the_queue_overflows() {
    let ((hub_site, hub_port), (edge_site, _)) = (site(), site());
    let edge = edge_site.start().await;
    let mut admin = Admin::enter(&edge).await;
    let rules = json!([{ "direction": "out", "filter": "n/#" }]);
    let queue = json!({ "messages_max": 50, "policy": "drop_oldest" });
    let body =
        json!({ "bridge": "hub", "remote": remote(hub_port), "rules": rules, "queue": queue });
    admin.must("bridges", "create", body).await;
    let down = status(&mut admin, "hub", "waiting", |it| it["reason"].is_string()).await;
    assert_eq!(down["state"], "connecting", "{down}");

    let mut wire = edge.client(&hello("load")).await;
    for number in 1..=120 {
        assert_eq!(wire.publish_acked("n/a", number.to_string().as_bytes()).await, 0);
        wire.publish("n/transient", b"x").await;
    }
    let full = |it: &Value| count(it, "/out/received") == 240;
    let full = status(&mut admin, "hub", "full", full).await;
    assert_balanced(&full);
    assert_eq!(count(&full, "/out/queued"), 50, "{full}");
    assert_eq!(count(&full, "/out/dropped/queue_full"), 70, "{full}");
    assert_eq!(count(&full, "/out/dropped/offline"), 120, "{full}");

    // A restart finds the queue as it was; paused, it keeps it.
    admin.must("bridges", "pause", json!({ "bridge": "hub" })).await;
    edge.kill().await;
    let edge = edge_site.start().await;
    let mut admin = Admin::enter(&edge).await;
    let paused = status(&mut admin, "hub", "paused", |it| it["state"] == "paused").await;
    assert_eq!((count(&paused, "/out/restored"), count(&paused, "/out/queued")), (50, 50));

    let hub = hub_site.start().await;
    let mut at_hub = listener(&hub, "at-hub", "n/#").await;
    admin.must("bridges", "resume", json!({ "bridge": "hub" })).await;
    let arrived = numbers_until(&mut at_hub, 120).await;
    assert_eq!(arrived, (71..=120).collect::<Vec<u64>>(), "the last fifty, in order");
    let end = status(&mut admin, "hub", "empty", |it| count(it, "/out/queued") == 0).await;
    assert_balanced(&end);
    assert_eq!(count(&end, "/out/sent"), 50, "{end}");
}

#[tokio::test]
async fn what_cannot_work_is_refused_by_field_and_secrets_are_not_shown() {
    let (site, port) = site();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let create =
        |remote: Value, rule: Value| json!({ "bridge": "b", "remote": remote, "rules": [rule] });
    let old = json!({ "url": "mqtt://127.0.0.1:1", "version": "3.1.1" });
    let out = json!({ "direction": "out", "filter": "a/#" });
    let cases = [
        (json!({ "url": "http://hub" }), out.clone(), "remote.url"),
        (
            json!({ "url": "mqtt://hub", "keep_alive_secs": 1 }),
            out.clone(),
            "remote.keep_alive_secs",
        ),
        (old.clone(), json!({ "direction": "both", "filter": "a/#" }), "rules[0]"),
        (remote(port), json!({ "direction": "out", "filter": "admin/#" }), "rules[0].filter"),
        (remote(port), json!({ "direction": "out", "filter": "#", "qos": 2 }), "rules[0].qos"),
        (remote(port), json!({ "direction": "in", "filter": "#", "x": 1 }), "rules[0].x"),
    ];
    for (remote, rule, field) in cases {
        let refusal = admin.ask("bridges", "create", create(remote, rule)).await.unwrap_err();
        assert_eq!(refusal["field"], field, "{refusal}");
    }
    // Two bridges of 3.1.1 to one broker that would feed each other.
    admin.must("bridges", "create", create(old.clone(), out)).await;
    let mut other = create(old, json!({ "direction": "in", "filter": "+/x" }));
    other["bridge"] = json!("c");
    let refusal = admin.ask("bridges", "create", other).await.unwrap_err();
    assert_eq!(refusal["code"], "invalid", "{refusal}");
    let gone = status(&mut admin, "b", "told why", |it| it["reason"].is_string()).await;
    assert_eq!(gone["state"], "connecting", "{gone}");

    let update = json!({ "bridge": "b", "remote": { "user_name": "u", "secret": "hidden thing" } });
    let shown = admin.must("bridges", "update", update).await;
    assert_eq!(shown["remote"]["has_secret"], true, "{shown}");
    let shown = admin.must("bridges", "get", json!({ "bridge": "b" })).await.to_string();
    assert!(!shown.contains("hidden thing"), "{shown}");
    let listed = admin.must("bridges", "list", json!({})).await;
    assert_eq!(listed["items"][0]["bridge"], "b", "{listed}");
    admin.must("bridges", "delete", json!({ "bridge": "b" })).await;
    let refusal = admin.ask("bridges", "get", json!({ "bridge": "b" })).await.unwrap_err();
    assert_eq!(refusal["code"], "not_found", "{refusal}");
}

#[tokio::test]
async fn a_remote_broker_gives_no_orders() {
    let ((hub_site, hub_port), (edge_site, _)) = (site(), site());
    let (hub, edge) = (hub_site.start().await, edge_site.start().await);
    let mut admin = Admin::enter(&edge).await;
    let rules = json!([{ "direction": "in", "filter": "#", "remote_prefix": "down/" }]);
    let body = json!({ "bridge": "hub", "remote": remote(hub_port), "rules": rules });
    admin.must("bridges", "create", body).await;
    connected(&mut admin, "hub").await;
    let mut at_edge = listener(&edge, "at-edge", "#").await;
    let mut says = hub.client(&hello("says")).await;
    let order = json!({ "user": "mallory", "role": "project_admin" }).to_string();
    for topic in ["down/admin/users/create", "down/things/p/status", "down/uns/acme/_raw/x"] {
        assert_eq!(says.publish_acked(topic, order.as_bytes()).await, 0, "{topic}");
    }
    let forbidden = |it: &Value| count(it, "/in/received") == 3 && count(it, "/in/pending") == 0;
    let end = status(&mut admin, "hub", "done", forbidden).await;
    assert_eq!(count(&end, "/in/dropped/forbidden"), 2, "{end}");
    assert_balanced(&end);
    let heard = at_edge.messages_until("uns/acme/_raw/x").await;
    assert!(heard.iter().all(|it| !it.topic.starts_with("admin/users")), "{heard:?}");
    let refusal = admin.ask("users", "get", json!({ "user": "mallory" })).await.unwrap_err();
    assert_eq!(refusal["code"], "not_found", "{refusal}");
}

#[tokio::test]
async fn the_bridge_of_a_disabled_project_is_silent_and_what_waits_goes_when_it_is_enabled() {
    let ((hub_site, hub_port), (edge_site, _)) = (site(), site());
    let (hub, edge) = (hub_site.start().await, edge_site.start().await);
    let mut system = Admin::enter_as(&edge, "system/system/admin", SECRET).await;
    let mut admin = Admin::enter(&edge).await;
    let rules = json!([{ "direction": "out", "filter": "n/#" }]);
    let body = json!({ "bridge": "hub", "remote": remote(hub_port), "rules": rules });
    admin.must("bridges", "create", body).await;
    connected(&mut admin, "hub").await;
    let mut at_hub = listener(&hub, "at-hub", "n/#").await;
    let enabled = |is: bool| json!({ "tenant": "default", "project": "default", "enabled": is });
    system.must("projects", "update", enabled(false)).await;
    let mut admin = Admin::enter(&edge).await;
    status(&mut admin, "hub", "paused", |it| it["state"] == "paused").await;
    // Who administers the system may still say something there.
    let mut says = edge.client(&hello("says")).await;
    assert_eq!(says.publish_acked("n/1", b"1").await, 0);
    let heard = at_hub.next_within(Duration::from_millis(500)).await;
    assert!(heard.is_err(), "a disabled project speaks: {heard:?}");
    system.must("projects", "update", enabled(true)).await;
    assert_eq!(at_hub.next_message().await.topic, "n/1");
}
