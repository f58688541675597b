//! Requests that cannot be done are refused with a reason, and change nothing.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::packet::{publish, reason_string};
use manifold_tests::wire::{Hello, Version, Wire};
use serde_json::{Value, json};

const UPDATE: &str = "things/pump7/shadow/update";

async fn start() -> (Node, Wire) {
    let node = Site::new().start().await;
    Admin::enter(&node).await.create_thing("pump7", "acme/berlin/pump7").await;
    let mut app = node.client(&Hello::new(Version::V5, "app").user("admin", SECRET)).await;
    for filter in ["things/pump7/shadow/+/accepted", "things/pump7/shadow/+/rejected"] {
        assert_eq!(app.subscribe(filter, 1).await, 1);
    }
    (node, app)
}

/// Sends a request, and gives the last level of the topic it is answered on, and the answer.
async fn ask(app: &mut Wire, topic: &str, payload: &[u8]) -> (String, Value) {
    app.publish_acked(topic, payload).await;
    let answer = app.next_message().await;
    let outcome = answer.topic.rsplit('/').next().unwrap_or_default().to_owned();
    (outcome, answer.json())
}

fn nested(levels: usize) -> String {
    let open = "{\"a\":".repeat(levels);
    format!("{{\"state\":{{\"reported\":{open}1{}}}}}", "}".repeat(levels))
}

#[tokio::test]
async fn a_shadow_document_that_cannot_be_is_rejected() {
    let (mut node, mut app) = start().await;
    let good = json!({ "state": { "reported": { "n": 1 } } }).to_string();
    let (outcome, answer) = ask(&mut app, UPDATE, good.as_bytes()).await;
    assert_eq!((outcome.as_str(), &answer["version"]), ("accepted", &json!(1)));
    let large = json!({ "state": { "reported": { "text": "x".repeat(70_000) } } }).to_string();
    let late = json!({ "state": { "reported": { "n": 2 } }, "version": 7 }).to_string();
    for (what, document, code) in [
        ("no JSON", "{\"state\":".to_owned(), 400),
        ("no object", "[1]".to_owned(), 400),
        ("no UTF-8", String::new(), 415),
        ("no state", "{\"estate\":{}}".to_owned(), 400),
        ("a section of no shadow", "{\"state\":{\"dreamt\":{}}}".to_owned(), 400),
        ("too deep", nested(40), 413),
        ("deeper than any parser goes", nested(5_000), 400),
        ("too large", large, 413),
        ("of another version", late, 409),
    ] {
        let payload = if what == "no UTF-8" { b"\xFF\xFE".as_slice() } else { document.as_bytes() };
        let (outcome, answer) = ask(&mut app, UPDATE, payload).await;
        assert_eq!(outcome, "rejected", "{what}: {answer}");
        // A parser that gives up on the depth cannot tell whether the rest is JSON.
        let is_depth = what.starts_with("deeper");
        let codes = if is_depth { vec![400, 413] } else { vec![code] };
        let told = answer["code"].as_i64().unwrap_or_default();
        assert!(codes.contains(&told), "{what}: {answer}");
        assert!(answer["message"].is_string(), "{what}: {answer}");
    }
    let (outcome, shadow) = ask(&mut app, "things/pump7/shadow/get", b"").await;
    assert_eq!(outcome, "accepted");
    assert_eq!((&shadow["version"], &shadow["state"]), (&json!(1), &json!({"reported": {"n": 1}})));
    node.assert_alive();
}

#[tokio::test]
async fn telemetry_that_cannot_be_is_told_and_not_half_applied() {
    let (mut node, _) = start().await;
    let mut app = node.client(&Hello::new(Version::V5, "watch").user("admin", SECRET)).await;
    for filter in ["events/rejected/#", "uns/#"] {
        assert_eq!(app.subscribe(filter, 1).await, 1);
    }
    for payload in ["{\"temperature\":", "7", "[{\"t\":1,\"values\":{\"a\":1}},7]"] {
        app.publish_acked("things/pump7/telemetry", payload.as_bytes()).await;
        let event = app.next_message().await;
        assert_eq!(event.topic, "events/rejected/pump7", "{payload}");
    }
    app.publish_acked("things/pump7/telemetry", b"{\"good\":1}").await;
    assert_eq!(app.next_message().await.topic, "uns/acme/berlin/pump7/_raw/good");
    node.assert_alive();
}

#[tokio::test]
async fn a_device_is_told_in_its_puback_what_was_wrong() {
    let (mut node, _) = start().await;
    let mut admin = Admin::enter(&node).await;
    let secret = admin.create_thing("pump8", "acme/berlin/pump8").await;
    let hello = |version| Hello::new(version, "pump8").user("pump8", &secret);
    let mut device = node.client(&hello(Version::V5)).await;
    let values: Vec<String> = (0..5000).map(|number| format!("\"v{number}\":1")).collect();
    let many = format!("{{{}}}", values.join(","));
    for (topic, payload, code, words) in [
        ("telemetry", "{\"a\":{\"b\":null}}", 0x99, "(field `a.b`)"),
        ("telemetry", "{\"a\":", 0x99, "bad_request: "),
        ("telemetry", &many, 0x97, "too_large: "),
        ("events/overheat", "{\"level\":\"loud\"}", 0x99, "loud"),
    ] {
        let topic = format!("things/pump8/{topic}");
        let id = device.new_id();
        let packet = publish(Version::V5, topic.as_bytes(), payload.as_bytes(), 0b0010, id);
        device.send(&packet).await;
        let answer = device.next_bytes().await.expect("a PUBACK");
        assert_eq!((answer[0], answer[2..4].to_vec()), (0x40, id.to_be_bytes().to_vec()));
        let told = reason_string(&answer).unwrap_or_default();
        assert_eq!(answer[4], code, "{told}");
        assert!(told.contains(words), "{told}");
    }
    let topic = "things/pump8/telemetry";
    assert_eq!(device.publish_acked(topic, b"{\"good\":1}").await, 0);
    // A request is taken and answered on its own topic, whatever the answer says.
    assert_eq!(device.subscribe("things/pump8/shadow/update/rejected", 1).await, 1);
    assert_eq!(device.publish_acked("things/pump8/shadow/update", b"7").await, 0);
    assert_eq!(device.next_message().await.json()["code"], 400);
    device.leave().await;
    // Before version 5 no PUBACK can say no, and to send it again would change nothing.
    let mut device = node.client(&hello(Version::V3)).await;
    assert_eq!(device.publish_acked(topic, b"7").await, 0);
    assert_eq!(device.publish_acked(topic, b"{\"good\":2}").await, 0);
    node.assert_alive();
}

#[tokio::test]
async fn an_admin_request_that_cannot_be_is_refused_with_its_field() {
    let (node, _) = start().await;
    let mut admin = Admin::enter(&node).await;
    for (resource, verb, body, code, told) in [
        ("things", "get", json!({ "thing": "nobody" }), "not_found", "nobody"),
        ("things", "create", json!({ "thing": "pump7" }), "already_exists", "pump7"),
        ("things", "create", json!({ "thing": "a", "colour": 1 }), "bad_request", "colour"),
        ("things", "create", json!({ "thing": "a/b" }), "bad_request", "thing"),
        ("things", "create", json!([]), "bad_request", ""),
        ("things", "fly", json!({}), "unknown_operation", "create"),
        ("dragons", "list", json!({}), "unknown_operation", "things"),
        ("users", "create", json!({ "user": "a", "role": "emperor" }), "bad_request", "role"),
    ] {
        let error = admin.ask(resource, verb, body.clone()).await.expect_err("it is refused");
        assert_eq!(error["code"], code, "{resource} {verb} {body}: {error}");
        assert!(error.to_string().contains(told), "{resource} {verb} {body}: {error}");
    }
    let list = admin.must("things", "list", json!({})).await;
    assert!(list.to_string().contains("pump7") && !list.to_string().contains("\"a\""), "{list}");
}
