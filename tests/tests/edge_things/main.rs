//! Devices that connect to an edge node, commanded and set at its hub: whoever was away, and whichever side is killed.

use manifold_tests::admin::Admin;
use manifold_tests::bridges::{hello, listener};
use manifold_tests::edges::{EDGE, Hub, status};
use manifold_tests::node::Node;
use manifold_tests::process::PATIENCE;
use manifold_tests::proxy::{Mood, Proxy};
use manifold_tests::wire::{Hello, Message, Property, Version, Wire, packet};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, sleep};

mod rounds;

const UPDATE: &str = "things/fan/shadow/update";

/// Waits until the answer to a request is as wanted, and gives it.
async fn until(
    admin: &mut Admin,
    (resource, verb): (&str, &str),
    body: Value,
    is_it: impl Fn(&Value) -> bool,
) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = admin.ask(resource, verb, body.clone()).await;
        if let Ok(told) = &told
            && is_it(told)
        {
            return told.clone();
        }
        assert!(Instant::now() < deadline, "{resource} {verb} {body} is not as wanted: {told:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn given(hub: &mut Admin, thing: &str) {
    let is_given = |it: &Value| it["given"]["state"] == "in_sync";
    until(hub, ("things", "get"), json!({ "thing": thing }), is_given).await;
}

/// Registers a thing at the edge node; its secret.
async fn create(hub: &mut Admin, thing: &str) -> String {
    let made = hub.must("things", "create", json!({ "thing": thing, "edge": EDGE })).await;
    made["secret"].as_str().expect("a secret is made").to_owned()
}

/// The device on the edge node, hearing its commands and deltas.
async fn device(edge: &Node, secret: &str) -> Wire {
    let mut device = edge.client(&Hello::new(Version::V5, "fan").user("fan", secret)).await;
    device.subscribe("things/fan/commands/+/request", 1).await;
    device.subscribe("things/fan/shadow/update/delta", 1).await;
    device
}

async fn answer(device: &mut Wire, request: &Message) {
    let response = json!({ "id": request.json()["id"], "status": "ok", "output": 7 }).to_string();
    let topic = request.topic.replace("/request", "/response");
    assert_eq!(device.publish_acked(&topic, response.as_bytes()).await, 0);
}

async fn update(client: &mut Wire, state: Value) {
    let payload = json!({ "state": state }).to_string();
    assert_eq!(client.publish_acked(UPDATE, payload.as_bytes()).await, 0);
}

/// The sections of the classic shadow; null if there is none.
async fn shadow(admin: &mut Admin) -> Value {
    match admin.ask("shadows", "get", json!({ "thing": "fan" })).await {
        Ok(shown) => json!({
            "desired": shown["state"]["desired"], "reported": shown["state"]["reported"]
        }),
        Err(_) => Value::Null,
    }
}

/// Waits until both ends have the same shadow, and it is as wanted.
async fn same(hub: &mut Admin, edge: &mut Admin, is_it: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (here, there) = (shadow(hub).await, shadow(edge).await);
        if here == there && is_it(&here) {
            return here;
        }
        assert!(Instant::now() < deadline, "hub {here}, edge node {there}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn online(hub: &mut Admin, is_online: bool) {
    status(hub, "as wanted", |it| it["online"] == is_online).await;
}

fn invoke(id: &str, timeout_ms: u64) -> Vec<u8> {
    json!({ "id": id, "timeout_ms": timeout_ms }).to_string().into_bytes()
}

#[tokio::test]
async fn apps_of_the_hub_command_and_set_a_device_of_the_edge_node() {
    let (hub, hub_node) = Hub::found().await;
    let edge = hub.edge(hub.port).start().await;
    let mut admin = Admin::enter(&hub_node).await;
    online(&mut admin, true).await;
    let secret = create(&mut admin, "fan").await;
    given(&mut admin, "fan").await;
    let one = json!({ "thing": "fan" });
    assert_eq!(admin.must("things", "get", one.clone()).await["state"], "unactivated");

    // The device comes in at the edge node with the secret that the hub has made, and the hub knows that it is there.
    let mut fan = device(&edge, &secret).await;
    let is_online = |it: &Value| it["state"] == "online";
    until(&mut admin, ("things", "get"), one.clone(), is_online).await;
    let said = listener(&hub_node, "look", "things/fan/status").await.next_message().await;
    assert_eq!((said.is_retained, &said.json()["online"]), (true, &json!(true)));
    let found = admin.must("things", "list", json!({ "query": { "edge": EDGE } })).await;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));

    // A command of an app of the hub, with its answer.
    let mut app = listener(&hub_node, "app", "apps/1").await;
    let properties =
        [Property::ResponseTopic("apps/1".to_owned()), Property::CorrelationData(b"c".to_vec())];
    let topic = b"things/fan/commands/spin/invoke";
    let asked = packet::publish_with(topic, &invoke("a", 20_000), 0b0010, 99, &properties);
    app.send(&asked).await;
    let request = fan.next_message().await;
    assert_eq!(request.json()["id"], "a");
    answer(&mut fan, &request).await;
    let result = app.next_message().await;
    assert!(result.properties.contains(&Property::CorrelationData(b"c".to_vec())));
    assert_eq!(
        (&result.json()["status"], &result.json()["output"]),
        (&json!("succeeded"), &json!(7))
    );
    let command = admin.must("commands", "get", json!({ "thing": "fan", "id": "a" })).await;
    assert_eq!(command["state"], "succeeded", "{command}");

    // What apps want comes down, what the device says goes up, and what is wanted beside it as well.
    let mut hears = listener(&hub_node, "hears", "things/fan/shadow/#").await;
    update(&mut app, json!({ "desired": { "speed": 3 } })).await;
    assert_eq!(fan.next_message().await.json()["state"], json!({ "speed": 3 }));
    update(&mut fan, json!({ "reported": { "speed": 3 } })).await;
    let mut beside = edge.client(&hello("beside")).await;
    update(&mut beside, json!({ "desired": { "light": true } })).await;
    let both = json!({ "desired": { "speed": 3, "light": true }, "reported": { "speed": 3 } });
    let mut edge_admin = Admin::enter(&edge).await;
    same(&mut admin, &mut edge_admin, |it| *it == both).await;
    let mut heard = BTreeMap::new();
    while heard.len() < 3 {
        let message = hears.next_message().await;
        if message.topic.ends_with("/documents") {
            let current = message.json()["current"]["state"].clone();
            heard.insert(current.to_string(), ());
        }
    }
    let history = admin.must("shadows", "history", one.clone()).await;
    assert!(history.to_string().contains("edge press"), "{history}");
    let history = edge_admin.must("shadows", "history", one.clone()).await;
    assert!(history.to_string().contains("\"by\":\"platform\""), "{history}");
    deleted(&mut admin, &mut edge_admin, &edge, &secret).await;
}

/// Deleted at the hub, it is nobody at the edge node.
async fn deleted(hub: &mut Admin, edge_admin: &mut Admin, edge: &Node, secret: &str) {
    hub.must("things", "delete", json!({ "thing": "fan" })).await;
    until(edge_admin, ("things", "list"), json!({}), |it| it["items"] == json!([])).await;
    let again = Hello::new(Version::V5, "fan").user("fan", secret);
    let mut again_wire = Wire::open(edge.mqtt(), Version::V5).await;
    again_wire.send(&again.encode()).await;
    assert!(!matches!(
        again_wire.next().await,
        Some(manifold_tests::wire::Packet::ConnAck { code: 0, .. })
    ));
}

#[tokio::test]
async fn what_changes_at_both_ends_while_they_are_apart_becomes_one() {
    let (hub, hub_node) = Hub::found().await;
    let proxy = Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, hub.port))).await;
    let edge = hub.edge(proxy.port()).start().await;
    let (mut admin, mut edge_admin) = (Admin::enter(&hub_node).await, Admin::enter(&edge).await);
    online(&mut admin, true).await;
    let secret = create(&mut admin, "fan").await;
    given(&mut admin, "fan").await;
    let mut fan = device(&edge, &secret).await;
    update(&mut fan, json!({ "reported": { "speed": 1, "gone": 1 } })).await;
    let mut app = hub_node.client(&hello("app")).await;
    update(&mut app, json!({ "desired": { "speed": 1, "mode": "auto" } })).await;
    same(&mut admin, &mut edge_admin, |it| {
        it["desired"]["mode"] == "auto" && it["reported"]["gone"] == 1
    })
    .await;

    proxy.set(Mood::Cut);
    online(&mut admin, false).await;
    let is_offline = |it: &Value| it["state"] == "offline";
    until(&mut admin, ("things", "get"), json!({ "thing": "fan" }), is_offline).await;
    let mut beside = edge.client(&hello("beside")).await;
    update(&mut beside, json!({ "desired": { "speed": 8, "light": true } })).await;
    update(&mut fan, json!({ "reported": { "speed": 8, "gone": null } })).await;
    update(
        &mut app,
        json!({ "desired": { "speed": 9, "mode": null }, "reported": { "speed": 2 } }),
    )
    .await;
    // One that cannot wait, one that waits too long, and one that is done when the edge node is back.
    let mut results = listener(&hub_node, "results", "things/fan/commands/+/result").await;
    let now = json!({ "id": "now", "queue": false }).to_string();
    app.publish_acked("things/fan/commands/spin/invoke", now.as_bytes()).await;
    assert_eq!(results.next_message().await.json()["status"], "rejected");
    app.publish_acked("things/fan/commands/spin/invoke", &invoke("short", 300)).await;
    app.publish_acked("things/fan/commands/spin/invoke", &invoke("long", 60_000)).await;
    assert_eq!(results.next_message().await.json()["status"], "expired");

    proxy.set(Mood::Passing);
    loop {
        let message = fan.next_message().await;
        if message.topic.ends_with("/request") {
            assert_eq!(message.json()["id"], "long");
            answer(&mut fan, &message).await;
            break;
        }
    }
    let result = results.next_message().await.json();
    assert_eq!((&result["id"], &result["status"]), (&json!("long"), &json!("succeeded")));
    let expected = json!({
        "desired": { "speed": 9, "light": true }, "reported": { "speed": 8 }
    });
    same(&mut admin, &mut edge_admin, |it| *it == expected).await;

    // A shadow that is deleted at one end, and a named one.
    assert_eq!(app.publish_acked("things/fan/shadow/delete", b"{}").await, 0);
    same(&mut admin, &mut edge_admin, Value::is_null).await;
    let named = json!({ "state": { "reported": { "firmware": "1.2" } } }).to_string();
    fan.publish_acked("things/fan/shadow/name/fw/update", named.as_bytes()).await;
    let asked = json!({ "thing": "fan", "name": "fw" });
    let is_there = |it: &Value| it["state"]["reported"]["firmware"] == "1.2";
    until(&mut admin, ("shadows", "get"), asked, is_there).await;
}

#[tokio::test]
async fn another_secret_counts_there_and_a_thing_that_is_moved_goes() {
    let (hub, hub_node) = Hub::found().await;
    let edge = hub.edge(hub.port).start().await;
    let (mut admin, mut edge_admin) = (Admin::enter(&hub_node).await, Admin::enter(&edge).await);
    create(&mut admin, "fan").await;
    given(&mut admin, "fan").await;
    let other = json!({ "thing": "fan", "secret": "another secret of the fan" });
    admin.must("things", "update", other).await;
    given(&mut admin, "fan").await;
    let fan = device(&edge, "another secret of the fan").await;
    let mut look = listener(&hub_node, "look", "things/fan/status").await;
    assert_eq!(look.next_message().await.json()["online"], true);
    admin.must("things", "update", json!({ "thing": "fan", "edge": null })).await;
    until(&mut edge_admin, ("things", "list"), json!({}), |it| it["items"] == json!([])).await;
    let said = look.next_message().await.json();
    assert_eq!((&said["online"], &said["reason"]), (&json!(false), &json!("moved")));
    drop(fan);
    let refused = admin.ask("things", "update", json!({ "thing": "fan", "edge": "paint" })).await;
    assert_eq!(refused.expect_err("there is none")["field"], "edge");
}

/// What a hub asks of an edge node, asked by an operator.
#[tokio::test]
async fn a_shadow_is_put_over_the_one_that_was_seen_and_over_no_other() {
    let (_hub, node) = Hub::found().await;
    let mut admin = Admin::enter(&node).await;
    admin.must("things", "create", json!({ "thing": "fan" })).await;
    let mut hears = listener(&node, "hears", "things/fan/shadow/update/delta").await;
    let section = |speed: u64| json!({ "state": { "speed": speed }, "metadata": { "speed": { "timestamp": 7 } } });
    let empty = json!({ "state": {}, "metadata": {} });
    let apply = |version: u64, exists: bool, speed: u64| {
        json!({
            "thing": "fan", "over": { "version": version, "exists": exists }, "exists": true,
            "desired": section(speed), "reported": empty,
        })
    };
    let first = admin.must("shadows", "apply", apply(0, false, 3)).await;
    assert_eq!((&first["version"], &first["exists"]), (&json!(1), &json!(true)), "{first}");
    assert_eq!(hears.next_message().await.json()["state"], json!({ "speed": 3 }));
    // Over another one than is there, it is told what is there, and nothing changes.
    let missed = admin.must("shadows", "apply", apply(0, false, 9)).await;
    assert_eq!((&missed["version"], &missed["desired"]["state"]["speed"]), (&json!(1), &json!(3)));
    admin.must("shadows", "apply", apply(1, true, 4)).await;
    assert_eq!(hears.next_message().await.json()["state"], json!({ "speed": 4 }));
    assert_eq!(shadow(&mut admin).await["desired"], json!({ "speed": 4 }));
    let mut bad = apply(2, true, 5);
    bad["desired"] = json!({ "state": 7 });
    let refused = admin.ask("shadows", "apply", bad).await.expect_err("no section");
    assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid"), &json!("desired")));
}

#[tokio::test]
async fn an_edge_node_with_a_new_data_folder_gets_its_things_again() {
    let (hub, hub_node) = Hub::found().await;
    let edge = hub.edge(hub.port).start().await;
    let mut admin = Admin::enter(&hub_node).await;
    online(&mut admin, true).await;
    // A gateway with a device behind it, which has a model: both go down, the gateway first.
    let document = json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1", "@type": "tm:ThingModel", "title": "Fan",
        "properties": { "speed": { "type": "integer" } }, "actions": { "spin": {} },
    });
    admin.must("models", "create", json!({ "model": "fan", "document": document })).await;
    admin.must("models", "publish", json!({ "model": "fan" })).await;
    let gateway = json!({ "thing": "zgate", "edge": EDGE });
    admin.must("things", "create", gateway).await;
    let behind = json!({ "thing": "fan", "edge": EDGE, "parent": "zgate", "model": "fan@1" });
    admin.must("things", "create", behind).await;
    given(&mut admin, "fan").await;
    given(&mut admin, "zgate").await;
    let mut edge_admin = Admin::enter(&edge).await;
    let there = edge_admin.must("things", "get", json!({ "thing": "fan" })).await;
    assert_eq!((&there["parent"], &there["model"]), (&json!("zgate"), &json!("fan@1")));
    let mut app = hub_node.client(&hello("app")).await;
    update(&mut app, json!({ "desired": { "speed": 4 } })).await;
    same(&mut admin, &mut edge_admin, |it| it["desired"]["speed"] == 4).await;

    // An edge node is not deleted while things are at it.
    let refused = admin.ask("edges", "delete", json!({ "edge": EDGE })).await;
    assert_eq!(refused.expect_err("things are at it")["field"], "edge");
    // Who is no hub gives nothing.
    let apply = json!({ "thing": "own", "location": "acme/own", "enabled": true });
    let refused = edge_admin.ask("things", "apply", apply).await;
    assert_eq!(refused.expect_err("it is no hub")["code"], "forbidden");

    edge.terminate().await;
    let edge = hub.edge(hub.port).start().await;
    let mut edge_admin = Admin::enter(&edge).await;
    until(&mut edge_admin, ("things", "get"), json!({ "thing": "fan" }), |_| true).await;
    same(&mut admin, &mut edge_admin, |it| it["desired"]["speed"] == 4).await;
    // A name that is somebody's there is told, and nothing else is held up by it.
    edge_admin.must("users", "create", json!({ "user": "taken", "role": "app" })).await;
    admin.must("things", "create", json!({ "thing": "taken", "edge": EDGE })).await;
    let is_refused = |it: &Value| it["given"]["state"] == "refused";
    let shown = until(&mut admin, ("things", "get"), json!({ "thing": "taken" }), is_refused).await;
    assert_eq!(shown["given"]["reason"]["code"], "already_exists");
    assert!(hub_node.figure("actors_edge_things_refused_total").await >= 1);
    assert!(hub_node.figure("actors_edge_things_given_total").await >= 4);
}
