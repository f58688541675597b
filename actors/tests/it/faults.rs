//! Actors that panic or cannot be loaded, and that nobody else notices.

use crate::world::{World, pass, until};
use proto::{Datum, Namespace, ThingId};
use serde_json::json;
use store::{Changes, Row, RowError};

/// A row of a release that this one does not know, where a shadow is kept.
struct LaterShadow;

impl Row for LaterShadow {
    type Key = (Namespace, ThingId, String);
    const TABLE: &'static str = "shadows";
    const VERSION: u8 = 200;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(b"what will be");
    }
    fn decode(_version: u8, _bytes: &[u8]) -> Result<Self, RowError> {
        Ok(Self)
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_device_is_restarted_and_its_neighbour_does_not_notice() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.thing("p2").await;
    app.subscribe("things/+/shadow/update/accepted");
    for thing in ["p1", "p2"] {
        let topic = format!("things/{thing}/shadow/update");
        app.publish(&topic, r#"{"state":{"desired":{"a":1}}}"#);
        app.expect(&format!("{topic}/accepted")).await;
    }
    world.clock.panic_once();
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"a":2}}}"#);
    until("it failed", || node.figures().restarts == 1).await;
    // While it rests: its mail waits, its neighbour works.
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"a":3}}}"#);
    app.publish("things/p2/shadow/update", r#"{"state":{"desired":{"a":2}}}"#);
    assert_eq!(app.expect("things/p2/shadow/update/accepted").await["version"], json!(2));
    let accepted = app.expect("things/p1/shadow/update/accepted").await;
    assert_eq!(accepted["version"], json!(2), "from the last durable state");
    assert_eq!(node.figures().devices_awake, 2);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_fails_again_and_again_is_quarantined_and_reported() {
    let mut world = World::new();
    world.settings.quarantine_ms = 120_000;
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.thing("p2").await;
    let mut changes = Changes::new();
    let thing = ThingId::parse("p1").unwrap();
    let key = (Namespace::default(), thing, String::new());
    changes.put::<LaterShadow>(&key, &LaterShadow);
    world.store.commit(changes).await.unwrap();

    app.subscribe("events/things/p1");
    app.subscribe("things/+/shadow/get/rejected");
    for _ in 0..10 {
        app.publish("things/p1/shadow/get", "");
        pass(6000).await;
    }
    let told = app.wait_for("events/things/p1").await;
    assert_eq!(told["event"], json!("quarantined"));
    assert!(told["reason"].as_str().unwrap().contains("unreadable row"), "{told}");
    let rejected = app.wait_for("things/p1/shadow/get/rejected").await;
    assert_eq!(rejected["code"], json!(503));
    assert_eq!(node.figures().quarantined, 1);
    // The neighbour answers as ever.
    app.publish("things/p2/shadow/get", "");
    assert_eq!(app.wait_for("things/p2/shadow/get/rejected").await["code"], json!(404));

    // It never came to be a default: the row is as it was, until an operator deletes the thing.
    let read = world.store.read().unwrap();
    assert!(read.get::<LaterShadow>(&key).unwrap().is_some());
    drop(read);
    app.done("things/delete", json!({"thing":"p1"})).await;
    assert!(world.store.read().unwrap().get::<LaterShadow>(&key).unwrap().is_none());
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn quarantine_ends_by_itself() {
    let mut world = World::new();
    world.settings.restart.restarts_max = 0;
    world.settings.quarantine_ms = 1000;
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("things/p1/shadow/get/rejected");
    world.clock.panic_once();
    app.publish("things/p1/shadow/get", "");
    until("it failed", || node.figures().quarantined == 1).await;
    app.publish("things/p1/shadow/get", "");
    assert_eq!(app.expect("things/p1/shadow/get/rejected").await["code"], json!(503));
    pass(1000).await;
    app.publish("things/p1/shadow/get", "");
    assert_eq!(app.expect("things/p1/shadow/get/rejected").await["code"], json!(404));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_admin_api_is_restarted() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    world.clock.panic_once();
    app.publish("admin/things/create", r#"{"thing":"p1"}"#);
    until("it failed", || node.figures().restarts == 1).await;
    app.thing("p1").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_tenant_is_restarted_with_everything_below_it() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    world.machines.set("plc1:502", "holding:0", Datum::Int(1));
    let config = json!({"protocol":"modbus_tcp","address":"plc1:502"});
    app.done("drivers/create", json!({"driver":"plc","config":config})).await;
    let tag = json!({"driver":"plc","tag":"t","address":"holding:0","type":"uint16",
        "path":"acme/_raw/t"});
    app.done("tags/create", tag).await;
    app.subscribe("things/p1/shadow/update/accepted");
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"a":1}}}"#);
    app.expect("things/p1/shadow/update/accepted").await;

    // The time of a refusal is the tenant's own to ask for.
    world.clock.panic_once();
    app.publish("things/ghost/telemetry", "{}");
    // Heard while it is down, and kept for the next one.
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"a":2}}}"#);
    until("it failed", || node.figures().restarts == 1).await;
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"a":3}}}"#);
    let mut versions = Vec::new();
    while versions.last() != Some(&json!({"a":3})) {
        let accepted = app.expect("things/p1/shadow/update/accepted").await;
        versions.push(accepted["state"]["desired"].clone());
    }
    assert_eq!(node.figures().drivers, 1);
    world.machines.set("plc1:502", "holding:0", Datum::Int(2));
    until("its driver polls", || app.retained("uns/acme/_raw/t").unwrap()["v"] == json!(2)).await;
    app.done("things/get", json!({"thing":"p1"})).await;
    assert!(node.platform.is_ready());
    assert_eq!(node.figures().devices_awake, 1);
    node.stop().await;
}
