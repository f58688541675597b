//! Edge nodes that register themselves at their hub by an enrolment: once, over lost answers and kills.

use manifold_tests::admin::Admin;
use manifold_tests::bridges::site;
use manifold_tests::node::{Node, Site};
use manifold_tests::process::PATIENCE;
use manifold_tests::proxy::{Mood, Proxy};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A hub with an enrolment for edge nodes, and what that lets in.
async fn hub(serials: &[&str]) -> (Site, u16, Node, Admin, String) {
    let (site, port) = site();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let sites = json!({ "enrolment": "sites", "registers": "edges" });
    let made = admin.must("enrolments", "create", sites).await;
    let secret = made["secret"].as_str().expect("a secret is made").to_owned();
    let add = json!({ "enrolment": "sites", "serials": serials });
    admin.must("enrolments", "add", add).await;
    (site, port, node, admin, secret)
}

fn edge(id: &str, port: u16, secret: &str) -> Site {
    Site::new()
        .with("role=edge")
        .with(&format!("edge.id={id}"))
        .with(&format!("uplink.url=mqtt://127.0.0.1:{port}"))
        .with("uplink.enrolment=sites")
        .with(&format!("uplink.secret={secret}"))
}

/// Waits until the hub says that an edge node is there, or is not.
async fn online(admin: &mut Admin, edge: &str, is_online: bool) {
    until(admin, edge, |it| it["status"]["online"] == is_online).await;
}

/// Waits until the hub says of an edge node what is wanted.
async fn until(admin: &mut Admin, edge: &str, is_it: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = admin.ask("edges", "get", json!({ "edge": edge })).await;
        if let Ok(told) = &told
            && is_it(told)
        {
            return;
        }
        assert!(Instant::now() < deadline, "{edge} is not as wanted: {told:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the enrolment has registered so many edge nodes, and no more.
async fn registered(admin: &mut Admin, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = admin.must("enrolments", "get", json!({ "enrolment": "sites" })).await;
        assert_eq!(shown["registers"], "edges");
        let registered = shown["registered"].as_u64().expect("a number");
        assert!(registered <= count && Instant::now() < deadline, "{shown}");
        if registered == count {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until an edge node says why it is not connected.
async fn reason(edge: &Node, id: &str, part: &str) {
    let mut client = edge.client(&manifold_tests::bridges::hello("look")).await;
    client.subscribe(&format!("edges/{id}/uplink/status"), 1).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = client.next_message().await.json();
        if said["reason"].as_str().is_some_and(|it| it.contains(part)) {
            return;
        }
        assert!(Instant::now() < deadline, "{said}");
    }
}

#[tokio::test]
async fn an_edge_node_registers_once_and_comes_in_by_its_own_from_then_on() {
    let (hub_site, port, node, mut admin, secret) = hub(&["press", "mill"]).await;
    let proxy = Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
    // Registered, and killed while the answer is on its way: it is told again.
    proxy.set(Mood::Slow(400));
    let site = edge("press", proxy.port(), &secret);
    let press = site.start().await;
    registered(&mut admin, 1).await;
    press.kill().await;
    let press = site.start().await;
    proxy.set(Mood::Cut);
    proxy.set(Mood::Passing);
    online(&mut admin, "press", true).await;
    until(&mut admin, "press", |it| it["adopted"].is_number()).await;
    registered(&mut admin, 1).await;

    // Closed, the enrolment lets nobody in, and the edge node needs it no more.
    let close = json!({ "enrolment": "sites", "enabled": false });
    admin.must("enrolments", "update", close).await;
    press.kill().await;
    online(&mut admin, "press", false).await;
    let press = site.start().await;
    online(&mut admin, "press", true).await;
    let mill = edge("mill", port, &secret);
    let node_of_mill = mill.start().await;
    reason(&node_of_mill, "mill", "not registered").await;
    let open = json!({ "enrolment": "sites", "enabled": true });
    admin.must("enrolments", "update", open).await;
    online(&mut admin, "mill", true).await;

    // The hub is killed: both come back by themselves.
    node.kill().await;
    let node = hub_site.start().await;
    let mut admin = Admin::enter(&node).await;
    online(&mut admin, "press", true).await;
    online(&mut admin, "mill", true).await;
    press.terminate().await;
}

#[tokio::test]
async fn whoever_is_not_listed_or_comes_second_stays_out_until_an_operator_says_so() {
    let (_site, port, _node, mut admin, secret) = hub(&["press"]).await;
    let stranger = edge("paint", port, &secret).start().await;
    reason(&stranger, "paint", "not on the list").await;
    stranger.terminate().await;

    let first = edge("press", port, &secret).start().await;
    online(&mut admin, "press", true).await;
    let second = edge("press", port, &secret).start().await;
    reason(&second, "press", "can reset it").await;
    let reset = json!({ "enrolment": "sites", "serial": "press" });
    admin.must("enrolments", "reset", reset).await;
    // The machine that is there now takes the place of the one before, which is out.
    let deadline = Instant::now() + PATIENCE;
    while second.figure("actors_uplink_connected").await == 0 {
        assert!(Instant::now() < deadline, "it does not take over");
        sleep(Duration::from_millis(20)).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while first.figure("actors_uplink_connected").await == 1 {
        assert!(Instant::now() < deadline, "the one before is still in");
        sleep(Duration::from_millis(20)).await;
    }

    // What is said of things is not said of edge nodes, and what has registered stays of its kind.
    let located = json!({ "enrolment": "sites", "location": "acme/{serial}" });
    let refused = admin.ask("enrolments", "update", located).await.expect_err("of things only");
    assert_eq!(refused["field"], "location");
    let things = json!({ "enrolment": "sites", "registers": "things" });
    let refused = admin.ask("enrolments", "update", things).await.expect_err("it has registered");
    assert_eq!(refused["field"], "registers");
}
