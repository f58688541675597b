//! Presence: connections of devices, takeovers, and what is said after a crash.

use crate::world::{Node, Peer, START_MS, World, pass, until};
use serde_json::{Value as Json, json};

const STATUS: &str = "things/p1/status";

/// What the broker says when a client of the thing `p1` comes or goes.
fn say(broker: &Peer, event: &str, connection: u64, reason: Option<&str>) {
    let mut payload = json!({
        "client_id": "c", "identity": {"thing": "p1"}, "connection": connection,
        "address": "127.0.0.1:1", "t": START_MS,
    });
    if let Some(reason) = reason {
        payload["reason"] = reason.into();
    }
    broker.publish(&format!("events/clients/{event}"), &payload.to_string());
}

async fn world_with_thing(world: &World) -> (Node, Peer) {
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe(STATUS);
    (node, app)
}

fn reasons(heard: &[(String, Json)]) -> Vec<&str> {
    heard.iter().map(|(_, status)| status["reason"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn status_follows_the_connections_and_a_takeover_does_not_flap() {
    let world = World::new();
    let (node, mut app) = world_with_thing(&world).await;
    let broker = node.peer("events");
    say(&broker, "connected", 1, None);
    assert_eq!(app.expect(STATUS).await, json!({"online":true,"t":START_MS,"reason":"connected"}));
    say(&broker, "connected", 2, None);
    say(&broker, "disconnected", 1, Some("taken_over"));
    assert_eq!(app.within(1000).await, []);
    say(&broker, "disconnected", 2, Some("keep_alive_timeout"));
    let heard = app.within(1000).await;
    assert_eq!(reasons(&heard), ["keep_alive_timeout"]);
    assert_eq!(app.retained(STATUS).unwrap()["online"], json!(false));
    assert_eq!(node.figures().presence_changes, 2);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_was_online_at_a_crash_is_offline_after_it_without_being_woken() {
    let world = World::new();
    let (node, mut app) = world_with_thing(&world).await;
    app.thing("p2").await;
    let broker = node.peer("events");
    say(&broker, "connected", 1, None);
    app.expect(STATUS).await;
    drop((node, app, broker));

    let node = world.start().await;
    let app = node.peer("app");
    let status = app.retained(STATUS).unwrap();
    assert_eq!((&status["online"], &status["reason"]), (&json!(false), &json!("node_restarted")));
    assert_eq!(app.retained("things/p2/status"), None);
    assert_eq!(node.figures().devices_woken, 0);

    // The same number, of the new run, is another connection.
    let mut app = app;
    app.subscribe(STATUS);
    let broker = node.peer("events");
    say(&broker, "connected", 1, None);
    assert_eq!(app.expect(STATUS).await["online"], json!(true));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn presence_outlives_sleep() {
    let mut world = World::new();
    world.settings.device_idle_ms = 50;
    let (node, mut app) = world_with_thing(&world).await;
    let broker = node.peer("events");
    say(&broker, "connected", 1, None);
    app.expect(STATUS).await;
    until("it sleeps", || node.figures().devices_awake == 0).await;
    pass(1000).await;
    say(&broker, "connected", 2, None);
    say(&broker, "disconnected", 1, Some("taken_over"));
    assert_eq!(app.within(1000).await, []);
    say(&broker, "disconnected", 2, Some("normal"));
    assert_eq!(app.expect(STATUS).await["reason"], json!("normal"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_failed_learns_who_is_connected_now() {
    let world = World::new();
    let (node, mut app) = world_with_thing(&world).await;
    let broker = node.peer("events");
    say(&broker, "connected", 1, None);
    app.expect(STATUS).await;
    // It fails at its next message; the broker knows no connection of it any more.
    world.clock.panic_once();
    app.publish("things/p1/shadow/get", "");
    until("it failed", || node.figures().restarts == 1).await;
    app.publish("things/p1/shadow/get", "");
    let status = app.expect(STATUS).await;
    assert_eq!((&status["online"], &status["reason"]), (&json!(false), &json!("connection_lost")));
    node.stop().await;
}
