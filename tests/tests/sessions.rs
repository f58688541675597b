//! A device and an application across `kill -9`: session, shadow, delta and values are where they were.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::peer::Peer;
use serde_json::{Value, json};

const THING: &str = "boiler7";
const LOCATION: &str = "acme/berlin/utilities/boiler7";

/// The shadow as `get` gives it, asked for by an application.
async fn shadow(app: &mut Peer) -> Value {
    app.publish("things/boiler7/shadow/get", &json!({})).await;
    app.wait_for("things/boiler7/shadow/get/accepted", |_| true).await
}

/// An application that hears the shadow's answers.
async fn app(node: &Node, secret: &str) -> Peer {
    let app = Peer::connect(node.mqtt(), "app", ("watcher", secret)).await;
    app.subscribe("things/boiler7/shadow/#").await;
    app
}

#[tokio::test]
async fn a_device_gets_across_a_kill_what_was_wanted_of_it_meanwhile() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let device_secret = admin.create_thing(THING, LOCATION).await;
    let app_secret = admin.create_user("watcher", "app").await;

    // The device reports, and goes offline; its session stays.
    let user = (THING, device_secret.as_str());
    let mut device = Peer::resume(node.mqtt(), "boiler7-1", user).await;
    assert!(!device.is_session_present());
    device.subscribe("things/boiler7/shadow/update/delta").await;
    device.subscribe("things/boiler7/shadow/update/accepted").await;
    let telemetry = json!({ "temperature": 71.5, "burner": { "on": true } });
    device.publish("things/boiler7/telemetry", &telemetry).await;
    let report = json!({ "state": { "reported": { "setpoint": 60, "unit": "Cel" } } });
    device.publish("things/boiler7/shadow/update", &report).await;
    let accepted = device.wait_for("things/boiler7/shadow/update/accepted", |_| true).await;
    assert_eq!(accepted["version"], 1, "{accepted}");
    device.leave().await;

    // An application wants something of it.
    let mut watcher = app(&node, &app_secret).await;
    let desire = json!({ "state": { "desired": { "setpoint": 80, "unit": "Cel" } } });
    watcher.publish("things/boiler7/shadow/update", &desire).await;
    let accepted = watcher.wait_for("things/boiler7/shadow/update/accepted", |_| true).await;
    assert_eq!(accepted["version"], 2, "{accepted}");
    let before = shadow(&mut watcher).await;
    drop(watcher);

    node.kill().await;
    let node = site.start().await;

    let mut device = Peer::resume(node.mqtt(), "boiler7-1", user).await;
    assert!(device.is_session_present(), "the session is gone");
    let delta = device.wait_for("things/boiler7/shadow/update/delta", |_| true).await;
    assert_eq!(delta["state"], json!({ "setpoint": 80 }), "{delta}");
    assert_eq!(delta["version"], 2, "{delta}");

    let mut watcher = app(&node, &app_secret).await;
    let mut after = shadow(&mut watcher).await;
    for document in [&before, &after] {
        assert_eq!(document["version"], 2, "{document}");
        assert_eq!(document["state"]["reported"], report["state"]["reported"], "{document}");
    }
    // The time of the answer is its own.
    after["timestamp"] = before["timestamp"].clone();
    assert_eq!(after, before);

    // The values of the namespace are there, retained.
    watcher.subscribe("uns/acme/berlin/#").await;
    let raw = |name: &str| format!("uns/{LOCATION}/_raw/{name}");
    let mut values = Vec::new();
    for _ in 0..2 {
        let message = watcher.next_publish().await;
        assert!(message.retain, "a value after a restart is a retained one");
        let value: Value = serde_json::from_slice(&message.payload).expect("a value is JSON");
        values.push((String::from_utf8_lossy(&message.topic).into_owned(), value));
    }
    values.sort_by(|a, b| a.0.cmp(&b.0));
    let topics: Vec<&str> = values.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, [raw("burner/on"), raw("temperature")]);
    assert_eq!((&values[0].1["v"], &values[1].1["v"]), (&json!(true), &json!(71.5)));
    for (_, value) in &values {
        assert_eq!(value["q"], "good");
        assert!(value["t"].as_u64().is_some_and(|t| t > 1_700_000_000_000), "{value}");
    }
}

#[tokio::test]
async fn presence_is_retained_and_true_after_a_kill() {
    let site = Site::new();
    let node = site.start().await;
    let secret = Admin::enter(&node).await.create_thing(THING, LOCATION).await;
    let mut operator = Peer::connect(node.mqtt(), "operator", ("admin", SECRET)).await;
    operator.subscribe("things/+/status").await;
    let device = Peer::connect(node.mqtt(), "boiler7-1", (THING, &secret)).await;
    operator.wait_for("things/boiler7/status", |status| status["online"] == true).await;
    device.leave().await;
    operator.wait_for("things/boiler7/status", |status| status["online"] == false).await;
    let _device = Peer::connect(node.mqtt(), "boiler7-1", (THING, &secret)).await;
    operator.wait_for("things/boiler7/status", |status| status["online"] == true).await;
    node.kill().await;

    let node = site.start().await;
    let mut operator = Peer::connect(node.mqtt(), "operator", ("admin", SECRET)).await;
    operator.subscribe("things/+/status").await;
    let offline = |status: &Value| status["online"] == false;
    let status = operator.wait_for("things/boiler7/status", offline).await;
    assert_eq!(status["reason"], "node_restarted", "{status}");
}
