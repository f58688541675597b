//! A machine by Modbus TCP: its values appear, what is written arrives, and no value is silently old.

use manifold_tests::admin::Admin;
use manifold_tests::node::{SECRET, Site};
use manifold_tests::peer::Peer;
use manifold_tests::plant::Plant;
use serde_json::{Value, json};
use tokio::time::Instant;

const POLL_INTERVAL_MS: u64 = 200;

/// The valve's setpoint: holding register 0, tenths of a percent.
const SETPOINT: &str = "uns/acme/berlin/valve1/_raw/position_setpoint";
const SETPOINT_OFFSET: u16 = 0;

/// The tank's level, which moves by itself.
const LEVEL: &str = "uns/acme/berlin/tank1/_raw/level";

async fn connect(admin: &mut Admin, plant: &Plant) {
    let config = json!({ "protocol": "modbus_tcp", "address": plant.address().to_string() });
    admin.must("drivers", "create", json!({ "driver": "plant", "config": config })).await;
    for (tag, address, scale, access, unit, path) in [
        (
            "setpoint",
            "holding:0",
            0.1,
            "read_write",
            "%",
            "acme/berlin/valve1/_raw/position_setpoint",
        ),
        ("level", "input:0", 0.01, "read", "%", "acme/berlin/tank1/_raw/level"),
    ] {
        let tag = json!({
            "driver": "plant", "tag": tag, "address": address, "type": "uint16", "scale": scale,
            "access": access, "unit": unit, "path": path, "poll_interval_ms": POLL_INTERVAL_MS,
        });
        admin.must("tags", "create", tag).await;
    }
}

fn has_quality(quality: &'static str) -> impl Fn(&Value) -> bool {
    move |value| value["q"] == quality
}

fn has_value(expected: f64) -> impl Fn(&Value) -> bool {
    move |value| value["v"].as_f64().is_some_and(|v| (v - expected).abs() < 1e-6)
}

#[tokio::test]
async fn values_are_read_written_lost_and_found_again() {
    let node = Site::new().start().await;
    let plant = Plant::start().await;
    let mut admin = Admin::enter(&node).await;
    connect(&mut admin, &plant).await;
    let mut app = Peer::connect(node.mqtt(), "app", ("admin", SECRET)).await;
    app.subscribe("uns/acme/#").await;

    // They appear, with unit, quality and time.
    let level = app.wait_for(LEVEL, has_quality("good")).await;
    assert_eq!(level["u"], "%", "{level}");
    assert!(level["t"].is_u64() && level["v"].is_number(), "{level}");

    // Somebody else writes the register.
    let began = Instant::now();
    plant.write_holding(SETPOINT_OFFSET, 333).await;
    app.wait_for(SETPOINT, has_value(33.3)).await;
    println!("a register written by others is seen after {:?}", began.elapsed());

    // The set topic writes it, and says so.
    let reply = "clients/app/reply/1";
    app.subscribe("clients/app/reply/+").await;
    let request = json!({ "v": 25, "id": "w1", "verify": true });
    app.request(&format!("{SETPOINT}/set"), &request, reply, "c1").await;
    let mut answers = 0;
    let mut is_seen = false;
    while answers < 2 || !is_seen {
        let message = app.next_publish().await;
        let value: Value = serde_json::from_slice(&message.payload).expect("it is JSON");
        let topic = String::from_utf8_lossy(&message.topic).into_owned();
        if topic == reply || topic == format!("{SETPOINT}/set/result") {
            assert_eq!((&value["id"], &value["ok"]), (&json!("w1"), &json!(true)), "{value}");
            assert!(!message.retain);
            answers += 1;
        }
        is_seen |= topic == SETPOINT && has_value(25.0)(&value);
    }
    assert_eq!(plant.read_holding(SETPOINT_OFFSET).await, 250);

    // It stops: its values say so, with the time of the last good one. It returns: they say so, too.
    let address = plant.address();
    let began = Instant::now();
    plant.kill().await;
    let stale = app.wait_for(SETPOINT, has_quality("stale")).await;
    println!(
        "stale after {:?}, two poll intervals are {} ms",
        began.elapsed(),
        2 * POLL_INTERVAL_MS
    );
    assert!(has_value(25.0)(&stale) && stale["t"].is_u64(), "{stale}");
    let mut late = Peer::connect(node.mqtt(), "late", ("admin", SECRET)).await;
    late.subscribe(SETPOINT).await;
    let kept = late.next_publish().await;
    let value: Value = serde_json::from_slice(&kept.payload).expect("it is JSON");
    assert!(kept.retain && value["q"] == "stale", "{value}");
    late.subscribe("clients/late/reply/+").await;
    late.request(&format!("{SETPOINT}/set"), &request, "clients/late/reply/1", "c2").await;
    let refused = late.wait_for("clients/late/reply/1", |_| true).await;
    assert_eq!(refused["ok"], false, "{refused}");
    assert_eq!(refused["error"]["code"], "unavailable", "{refused}");

    let began = Instant::now();
    let _plant = Plant::start_at(address).await;
    app.wait_for(SETPOINT, has_quality("good")).await;
    app.wait_for(LEVEL, has_quality("good")).await;
    println!("good again after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_machine_that_is_lost_while_the_node_is_down_is_stale() {
    let site = Site::new();
    let node = site.start().await;
    let plant = Plant::start().await;
    connect(&mut Admin::enter(&node).await, &plant).await;
    let mut app = Peer::connect(node.mqtt(), "app", ("admin", SECRET)).await;
    app.subscribe(LEVEL).await;
    app.wait_for(LEVEL, has_quality("good")).await;
    node.kill().await;
    plant.kill().await;
    let node = site.start().await;
    let mut app = Peer::connect(node.mqtt(), "app", ("admin", SECRET)).await;
    app.subscribe(LEVEL).await;
    app.wait_for(LEVEL, has_quality("stale")).await;
}

#[tokio::test]
async fn a_driver_that_cannot_be_is_refused_and_changes_nothing() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    for (config, field) in [
        (json!({ "protocol": "modbus_tcp", "address": "not an address" }), "address"),
        (json!({ "protocol": "modbus_tcp", "address": "127.0.0.1:99999" }), "address"),
        (json!({ "protocol": "modbus_tcp", "address": "127.0.0.1:502", "colour": 1 }), "colour"),
        (json!({ "protocol": "smoke_signals" }), "smoke_signals"),
    ] {
        let body = json!({ "driver": "plc", "config": config });
        let error = admin.ask("drivers", "create", body).await.expect_err("it is refused");
        assert!(error.to_string().contains(field), "{config}: {error}");
    }
    let list = admin.must("drivers", "list", json!({})).await;
    assert!(!list.to_string().contains("plc"), "{list}");

    let config = json!({ "protocol": "modbus_tcp", "address": "127.0.0.1:1" });
    admin.must("drivers", "create", json!({ "driver": "plc", "config": config })).await;
    let tag = |tag: &str, address: &str| {
        json!({ "driver": "plc", "tag": tag, "address": address, "type": "uint16",
                "path": format!("acme/berlin/_raw/{tag}") })
    };
    admin.ask("tags", "create", tag("a", "holding:70000")).await.expect_err("no such register");
    admin.ask("tags", "create", tag("b", "attic:1")).await.expect_err("no such area");
    admin.must("tags", "create", tag("c", "holding:1")).await;
}
