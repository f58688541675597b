//! Rules: what crosses a limit is acted on, once, over restarts; what is refused is told; no rule runs away.

use manifold_tests::admin::Admin;
use manifold_tests::bridges::{hello, listener};
use manifold_tests::node::{Node, Site};
use manifold_tests::process::PATIENCE;
use manifold_tests::wire::{Hello, Property, Version, Wire, packet};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const LEVEL: &str = "uns/acme/tank/_raw/level";
const PUMP: &str = "uns/acme/tank/_raw/pump";

fn high_level(then: &Value) -> Value {
    let when = json!({ "path": "acme/tank/_raw/level", "above": 90, "hysteresis": 5 });
    json!({ "rule": "high", "when": when, "then": then })
}

fn pump_on() -> Value {
    json!([{ "set": "acme/tank/_raw/pump", "v": 1 }])
}

/// A pump that keeps what is written.
async fn machine(admin: &mut Admin) {
    let pump = json!({ "tag": "pump", "address": "memory", "access": "read_write",
                       "path": "acme/tank/_raw/pump", "poll_interval_ms": 20 });
    let config = json!({ "protocol": "simulator" });
    let body = json!({ "driver": "tank", "config": config, "tags": [pump] });
    admin.must("drivers", "apply", body).await;
}

async fn says(wire: &mut Wire, value: &str) {
    wire.retain(LEVEL, value.as_bytes()).await;
}

async fn pump_is(admin: &mut Admin, wanted: f64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let tag = admin.must("tags", "get", json!({ "driver": "tank", "tag": "pump" })).await;
        if tag["value"]["v"] == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "the pump is not {wanted}: {tag}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn set_pump(admin: &mut Admin, v: f64) {
    admin.must("tags", "write", json!({ "driver": "tank", "tag": "pump", "v": v })).await;
    pump_is(admin, v).await;
}

async fn done(admin: &mut Admin, rule: &str) -> Value {
    admin.must("rules", "get", json!({ "rule": rule })).await["done"].clone()
}

#[tokio::test]
async fn a_limit_that_is_crossed_is_acted_on_once_and_over_restarts() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    machine(&mut admin).await;
    pump_is(&mut admin, 0.0).await;
    let mut gauge = node.client(&hello("gauge")).await;
    // It holds already when the rule is made.
    says(&mut gauge, "95").await;
    let mut events = listener(&node, "events", "events/rules/+").await;
    let made = admin.must("rules", "create", high_level(&pump_on())).await;
    assert_eq!((&made["revision"], &made["enabled"]), (&json!(1), &json!(true)));
    pump_is(&mut admin, 1.0).await;
    let event = events.next_message().await;
    assert_eq!(event.topic, "events/rules/high");
    assert_eq!((&event.json()["event"], &event.json()["v"]), (&json!("acted"), &json!(95)));
    // Within the hysteresis, doubtful, or no value at all: nothing has happened.
    set_pump(&mut admin, 0.0).await;
    for value in ["86", "96", r#"{"v":10,"t":1,"q":"stale"}"#, r#"{"v":null,"t":1,"q":"bad"}"#, "x"]
    {
        says(&mut gauge, value).await;
    }
    assert_eq!(done(&mut admin, "high").await["acted"], 1);
    pump_is(&mut admin, 0.0).await;
    says(&mut gauge, "80").await;
    says(&mut gauge, "91").await;
    pump_is(&mut admin, 1.0).await;
    let shown = done(&mut admin, "high").await;
    assert_eq!((&shown["acted"], &shown["holds"]), (&json!(2), &json!(true)), "{shown}");
    assert_eq!(node.figure("actors_rules_acted_total").await, 2);

    // What was acted on is not acted on again, and what goes on is not forgotten.
    tokio::time::sleep(Duration::from_millis(50)).await;
    node.kill().await;
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    pump_is(&mut admin, 0.0).await;
    let mut gauge = node.client(&hello("gauge")).await;
    says(&mut gauge, "92").await;
    let shown = done(&mut admin, "high").await;
    assert_eq!((&shown["acted"], &shown["holds"]), (&json!(0), &json!(true)), "{shown}");
    // Crossed back while the rule is not looking.
    let mut off = high_level(&pump_on());
    off["enabled"] = json!(false);
    admin.must("rules", "update", off).await;
    says(&mut gauge, "50").await;
    says(&mut gauge, "99").await;
    assert_eq!(done(&mut admin, "high").await["acted"], 0);
    admin.must("rules", "update", high_level(&pump_on())).await;
    pump_is(&mut admin, 1.0).await;
    admin.must("rules", "delete", json!({ "rule": "high" })).await;
    set_pump(&mut admin, 0.0).await;
    says(&mut gauge, "50").await;
    says(&mut gauge, "99").await;
    pump_is(&mut admin, 0.0).await;
    assert_eq!(node.figure("actors_rules").await, 0);
}

#[tokio::test]
async fn what_was_so_once_is_passed_over() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    machine(&mut admin).await;
    let mut events = listener(&node, "events", "events/rules/high").await;
    let mut rule = high_level(&pump_on());
    rule["min_interval_ms"] = json!(0);
    admin.must("rules", "create", rule).await;
    let mut gauge = node.client(&hello("gauge")).await;
    says(&mut gauge, "95").await;
    let past = [Property::UserProperty("historical".to_owned(), "true".to_owned())];
    gauge.send(&packet::publish_with(LEVEL.as_bytes(), b"50", 0, 0, &past)).await;
    // It has not crossed back but in the past.
    says(&mut gauge, "96").await;
    says(&mut gauge, "50").await;
    says(&mut gauge, "97").await;
    for v in [95, 97] {
        let event = events.next_message().await.json();
        assert_eq!((&event["event"], &event["v"]), (&json!("acted"), &json!(v)), "{event}");
    }
}

#[tokio::test]
async fn a_rule_asks_things_and_tells_what_was_refused() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    machine(&mut admin).await;
    let secret = admin.create_thing("horn", "acme/tank").await;
    let mut horn = node.client(&Hello::new(Version::V5, "horn").user("horn", &secret)).await;
    horn.subscribe("things/horn/commands/+/request", 1).await;
    let then = json!([
        { "thing": "horn", "command": "sound", "input": { "secs": 3 }, "timeout_ms": 5000 },
        { "thing": "nobody", "command": "sound" },
        { "set": "acme/tank/_raw/pump", "v": "fast" },
    ]);
    let mut events = listener(&node, "events", "events/rules/high").await;
    admin.must("rules", "create", high_level(&then)).await;
    let mut gauge = node.client(&hello("gauge")).await;
    says(&mut gauge, r#"{"v":91.5,"t":1,"q":"good"}"#).await;
    let request = horn.next_message().await;
    assert_eq!(request.topic, "things/horn/commands/sound/request");
    assert_eq!(request.json()["input"], json!({ "secs": 3 }));
    let mut codes = Vec::new();
    while codes.len() < 2 {
        let event = events.next_message().await.json();
        if event["event"] == "failed" {
            codes.push(event["reason"]["code"].as_str().expect("a code").to_owned());
        }
    }
    codes.sort();
    assert_eq!(codes, ["invalid", "not_found"], "the pump and nobody");
    let shown = done(&mut admin, "high").await;
    assert_eq!((&shown["failed"], &shown["acted"]), (&json!(2), &json!(1)), "{shown}");
    let records = admin.must("audit", "list", json!({ "action": "commands create" })).await;
    assert_eq!(records["items"][0]["by"]["name"], "$platform", "{records}");
}

/// Two rules that undo each other go on for ever, but not faster than they may.
#[tokio::test]
async fn rules_that_undo_each_other_do_not_run_away() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    machine(&mut admin).await;
    for (rule, from, to) in [("up", 0, 1), ("down", 1, 0)] {
        let when = json!({ "path": "acme/tank/_raw/pump", "equals": from });
        let then = json!([{ "set": "acme/tank/_raw/pump", "v": to }]);
        let body = json!({ "rule": rule, "when": when, "then": then, "min_interval_ms": 200 });
        admin.must("rules", "create", body).await;
    }
    let began = Instant::now();
    let mut pump = listener(&node, "looks", PUMP).await;
    let mut changes = 0;
    while began.elapsed() < Duration::from_secs(2) {
        pump.next_message().await;
        changes += 1;
    }
    let most = 2 * (began.elapsed().as_millis() as u64 / 200 + 2);
    assert!((4..=most).contains(&changes), "{changes} of at most {most}");
    let acted = done(&mut admin, "up").await["acted"].as_u64().expect("a count");
    assert!(acted <= most / 2 + 1, "{acted}");
}

#[tokio::test]
async fn a_rule_that_cannot_be_is_refused_and_changes_nothing() {
    let node: Node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let good = high_level(&pump_on());
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let cases = [
        (with("colour", json!("red")), "bad_request", "colour"),
        (with("when", json!({ "path": "acme/tank/_raw/level" })), "invalid", "when"),
        (with("then", json!([])), "invalid", "then"),
        (with("then", json!([{ "set": "acme/+/_raw/x", "v": 1 }])), "invalid", "then[0].set"),
        (with("min_interval_ms", json!(86_400_001)), "invalid", "min_interval_ms"),
        (with("revision", json!(1)), "invalid", "revision"),
    ];
    for (body, code, field) in cases {
        let refusal = admin.ask("rules", "create", body.clone()).await.expect_err("a refusal");
        assert_eq!(refusal["code"], code, "{body}: {refusal}");
        assert_eq!(refusal["field"], field, "{body}: {refusal}");
    }
    assert_eq!(admin.must("rules", "list", json!({})).await["items"], json!([]));
    admin.must("rules", "create", good.clone()).await;
    let again = admin.ask("rules", "create", good.clone()).await.expect_err("it is there");
    assert_eq!(again["code"], "already_exists");
    let stale = with("revision", json!(7));
    let refusal = admin.ask("rules", "update", stale).await.expect_err("another revision");
    assert_eq!(refusal["code"], "version_conflict");
}
