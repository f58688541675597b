//! What was retained before a bridge: carried once by each rule, without loss at a small queue, across `kill -9`,
//! and not again.

use manifold_tests::admin::Admin;
use manifold_tests::bridges::{assert_balanced, connected, count, hello, listener, site, status};
use manifold_tests::node::{Node, SECRET};
use manifold_tests::process::PATIENCE;
use manifold_tests::wire::Wire;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Topics that are retained before, more than a page.
const TOPICS: usize = 300;

fn bridge(hub_port: u16, rules: &Value) -> Value {
    let url = format!("mqtt://127.0.0.1:{hub_port}");
    let remote = json!({ "url": url, "user_name": "admin", "secret": SECRET });
    json!({ "bridge": "hub", "remote": remote, "rules": rules })
}

/// Retains a message on each of so many topics.
async fn retain(node: &Node, prefix: &str, topics: usize) {
    let mut wire = node.client(&hello("retains")).await;
    for topic in 0..topics {
        let payload = format!("value {topic}");
        assert_eq!(wire.retain(&format!("{prefix}/{topic}"), payload.as_bytes()).await, 0);
    }
}

/// Publishes a marker on the edge and gives what the hub has heard before it.
async fn heard_until_marker(edge: &Node, at_hub: &mut Wire, topic: &str) -> Vec<String> {
    let mut says = edge.client(&hello("says")).await;
    assert_eq!(says.publish_acked(topic, b"x").await, 0);
    let mut heard: Vec<String> =
        at_hub.messages_until(topic).await.into_iter().map(|it| it.topic).collect();
    heard.pop();
    heard
}

/// Waits until so much has been sent, and nothing waits.
async fn sent(admin: &mut Admin, messages: usize) -> Value {
    let is_it = |it: &Value| count(it, "/out/sent") >= messages as u64;
    let status = status(admin, "hub", "done", is_it).await;
    assert_balanced(&status);
    status
}

#[tokio::test]
async fn each_rule_carries_what_is_retained_once() {
    let ((hub_site, hub_port), (edge_site, _)) = (site(), site());
    let (hub, edge) = (hub_site.start().await, edge_site.start().await);
    retain(&edge, "plant", TOPICS).await;
    retain(&edge, "other", 3).await;
    retain(&edge, "plain", 3).await;
    let mut at_hub = listener(&hub, "at-hub", "edge7/#").await;
    for filter in ["plant/#", "other/#", "plain/#"] {
        assert_eq!(at_hub.subscribe(filter, 1).await, 1);
    }
    let mut admin = Admin::enter(&edge).await;
    let mut rules = json!([
        { "direction": "out", "filter": "#", "local_prefix": "plant/", "remote_prefix": "edge7/" },
        { "direction": "out", "filter": "plain/#", "retain": false },
    ]);
    // A queue with room for a few only.
    let mut body = bridge(hub_port, &rules);
    body["queue"] = json!({ "messages_max": 10 });
    admin.must("bridges", "create", body).await;
    let status = sent(&mut admin, TOPICS).await;
    assert_eq!(count(&status, "/out/dropped/queue_full"), 0, "{status}");
    let heard = heard_until_marker(&edge, &mut at_hub, "plain/end").await;
    let distinct: BTreeSet<&String> = heard.iter().collect();
    assert_eq!((heard.len(), distinct.len()), (TOPICS, TOPICS), "{heard:?}");
    let late = listener(&hub, "late", "edge7/299").await.next_message().await;
    assert!(late.is_retained && late.payload == b"value 299", "{late:?}");

    // Another rule carries its own, also if it stands in front and fits more.
    let all = json!({ "direction": "out", "filter": "+/1" });
    rules.as_array_mut().expect("rules are a list").insert(0, all);
    let update = json!({ "bridge": "hub", "rules": rules });
    admin.must("bridges", "update", update).await;
    connected(&mut admin, "hub").await;
    sent(&mut admin, 3).await;
    let mut heard = heard_until_marker(&edge, &mut at_hub, "plain/again").await;
    heard.sort();
    assert_eq!(heard, ["other/1", "plain/1", "plant/1"]);

    // Neither a pause nor a restart carries anything again.
    admin.must("bridges", "pause", json!({ "bridge": "hub" })).await;
    admin.must("bridges", "resume", json!({ "bridge": "hub" })).await;
    connected(&mut admin, "hub").await;
    edge.kill().await;
    let edge = edge_site.start().await;
    let mut admin = Admin::enter(&edge).await;
    connected(&mut admin, "hub").await;
    let heard = heard_until_marker(&edge, &mut at_hub, "plain/restarted").await;
    assert!(heard.is_empty(), "{heard:?}");
}

#[tokio::test]
async fn what_is_retained_arrives_whole_when_either_side_is_killed_meanwhile() {
    let ((hub_site, hub_port), (edge_site, _)) = (site(), site());
    let (mut hub, mut edge) = (hub_site.start().await, edge_site.start().await);
    let topics = 5 * TOPICS;
    retain(&edge, "plant", topics).await;
    let mut admin = Admin::enter(&edge).await;
    let rules = json!([{ "direction": "out", "filter": "plant/#" }]);
    admin.must("bridges", "create", bridge(hub_port, &rules)).await;
    status(&mut admin, "hub", "at it", |it| count(it, "/out/received") > 0).await;
    edge.kill().await;
    edge = edge_site.start().await;
    let mut admin = Admin::enter(&edge).await;
    status(&mut admin, "hub", "at it again", |it| count(it, "/out/sent") > 0).await;
    hub.kill().await;
    hub = hub_site.start().await;
    let deadline = Instant::now() + PATIENCE;
    while retained(&hub, "plant/#").await < topics {
        assert!(Instant::now() < deadline, "{} of {topics}", retained(&hub, "plant/#").await);
    }
    let end = status(&mut admin, "hub", "empty", |it| count(it, "/out/queued") == 0).await;
    assert_balanced(&end);
}

/// How many retained messages a node has.
async fn retained(node: &Node, filter: &str) -> usize {
    let mut query = json!({ "topic_filter": filter, "limit": 100 });
    let mut admin = Admin::enter(node).await;
    let mut found = 0;
    loop {
        let page = admin.must("retained", "list", query.clone()).await;
        found += page["items"].as_array().expect("a page has items").len();
        match &page["next_cursor"] {
            Value::Null => return found,
            next => query["cursor"] = next.clone(),
        }
    }
}

#[tokio::test]
async fn what_a_bridge_has_brought_in_is_not_carried_back() {
    let ((hub_site, hub_port), (edge_site, _)) = (site(), site());
    let (hub, edge) = (hub_site.start().await, edge_site.start().await);
    retain(&hub, "shared/hub", 3).await;
    retain(&edge, "shared/edge", 2).await;
    let mut admin = Admin::enter(&edge).await;
    let rule = |direction: &str| json!([{ "direction": direction, "filter": "shared/#" }]);
    admin.must("bridges", "create", bridge(hub_port, &rule("in"))).await;
    status(&mut admin, "hub", "in", |it| count(it, "/in/published") == 3).await;
    let mut at_hub = listener(&hub, "at-hub", "shared/edge/+").await;
    assert_eq!(at_hub.subscribe("shared/end", 1).await, 1);
    admin.must("bridges", "update", json!({ "bridge": "hub", "rules": rule("both") })).await;
    sent(&mut admin, 2).await;
    let heard = heard_until_marker(&edge, &mut at_hub, "shared/end").await;
    assert_eq!(heard, ["shared/edge/0", "shared/edge/1"]);
    let end = sent(&mut admin, 3).await;
    assert_eq!(count(&end, "/out/received"), 3, "{end}");
}
