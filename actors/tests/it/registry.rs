//! The registry of things: what is said of them, how they are found, grouped, imported and deleted.

mod batch;
mod groups;
mod search;

use crate::world::{Peer, World};
use broker::credential::Credential;
use proto::{Namespace, ThingId, UserId};
use serde_json::{Value as Json, json};
use store::{Changes, Row, RowError};

/// The code and field of a refusal.
async fn told(app: &mut Peer, operation: &str, body: Json) -> (String, String) {
    let error = app.refused(operation, body).await;
    let text = |field: &str| error[field].as_str().unwrap_or("none").to_owned();
    (text("code"), text("field"))
}

#[tokio::test(start_paused = true)]
async fn a_thing_is_said_all_of_and_what_breaks_a_rule_changes_nothing() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("gw").await;
    let sensor = json!({"thing":"sensor","parent":"gw","serial":"0042","tags":["b","a","b"],
        "attributes":{"maker":"KSB"}});
    let made = app.done("things/create", sensor).await;
    assert_eq!(made["tags"], json!(["a", "b"]));
    assert_eq!((&made["state"], &made["revision"]), (&json!("unactivated"), &json!(1)));
    let before = app.done("things/get", json!({"thing":"sensor"})).await;
    assert_eq!((&before["parent"], &before["serial"]), (&json!("gw"), &json!("0042")));

    let many: Vec<String> = (0..33).map(|number| format!("t{number}")).collect();
    let edits = [
        (json!({"serial":""}), "invalid", "serial"),
        (json!({"serial":"x".repeat(129)}), "too_large", "serial"),
        (json!({"serial":7}), "bad_request", "serial"),
        (json!({"tags":["a b"]}), "bad_request", "tags[0]"),
        (json!({ "tags": many }), "too_large", "tags"),
        (json!({"parent":"nobody"}), "not_found", "parent"),
        (json!({"parent":"sensor"}), "invalid", "parent"),
        (json!({"parent":"a/b"}), "bad_request", "parent"),
        (json!({"location":"x//y"}), "invalid", "location"),
        (json!({"enabled":"no"}), "bad_request", "enabled"),
        (json!({"revision":2,"serial":"7"}), "version_conflict", "revision"),
        (json!({"attributes":{"a":"x".repeat(17_000)}}), "too_large", "attributes"),
    ];
    for (mut edit, code, field) in edits {
        edit["thing"] = json!("sensor");
        let found = told(&mut app, "things/update", edit.clone()).await;
        assert_eq!(found, (code.to_owned(), field.to_owned()), "{edit}");
    }
    let twin = json!({"thing":"twin","serial":"0042"});
    let found = told(&mut app, "things/create", twin.clone()).await;
    assert_eq!(found, ("already_exists".to_owned(), "serial".to_owned()));
    let circle = json!({"thing":"gw","parent":"sensor"});
    assert_eq!(told(&mut app, "things/update", circle).await.1, "parent");
    assert_eq!(app.done("things/get", json!({"thing":"sensor"})).await, before);
    assert_eq!(told(&mut app, "things/get", json!({"thing":"twin"})).await.0, "not_found");

    // A serial number that nobody has any more is free.
    let edit = json!({"thing":"sensor","serial":null,"parent":null,"tags":[],"revision":1});
    let after = app.done("things/update", edit).await;
    assert_eq!(
        (&after["serial"], &after["parent"], &after["tags"], &after["revision"]),
        (&Json::Null, &Json::Null, &json!([]), &json!(2))
    );
    app.done("things/create", twin).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn generations_have_a_bound_from_above_and_from_below() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("t0").await;
    for number in 1..=8 {
        let thing = json!({"thing":format!("t{number}"),"parent":format!("t{}", number - 1)});
        app.done("things/create", thing).await;
    }
    let ninth = json!({"thing":"t9","parent":"t8"});
    assert_eq!(told(&mut app, "things/create", ninth).await.1, "parent");
    app.thing("top").await;
    let whole = json!({"thing":"t0","parent":"top"});
    assert_eq!(told(&mut app, "things/update", whole).await.1, "parent");
    app.done("things/update", json!({"thing":"t8","parent":"top"})).await;
    app.done("things/update", json!({"thing":"t0","parent":"top"})).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_is_disabled_is_kept_out_by_its_credential_until_it_is_enabled() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    let key = (Namespace::default(), UserId::parse("p1").unwrap());
    let is_out =
        || world.store.read().unwrap().get::<Credential>(&key).unwrap().unwrap().is_disabled;
    let shown = app.done("things/update", json!({"thing":"p1","enabled":false})).await;
    assert_eq!((&shown["state"], is_out()), (&json!("disabled"), true));
    // A new secret does not let it in.
    app.done("things/update", json!({"thing":"p1","secret":"a secret of twenty bytes"})).await;
    assert!(is_out());
    let shown = app.done("things/update", json!({"thing":"p1","enabled":true})).await;
    assert_eq!((&shown["state"], is_out()), (&json!("unactivated"), false));
    app.done("things/create", json!({"thing":"p2","enabled":false})).await;
    let key = (Namespace::default(), UserId::parse("p2").unwrap());
    let second = world.store.read().unwrap().get::<Credential>(&key).unwrap().unwrap();
    assert!(second.is_disabled);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_device_takes_a_things_place_and_finds_all_that_was_there() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.done("things/create", json!({"thing":"p1","serial":"old","tags":["press"]})).await;
    app.subscribe("things/p1/shadow/update/accepted");
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"speed":7}}}"#);
    app.expect("things/p1/shadow/update/accepted").await;
    let key = (Namespace::default(), UserId::parse("p1").unwrap());
    let credential = || world.store.read().unwrap().get::<Credential>(&key).unwrap().unwrap();
    let before = credential();
    let asked = json!({"thing":"p1","serial":"new","revision":1});
    let shown = app.done("things/replace", asked.clone()).await;
    assert_eq!((&shown["serial"], &shown["tags"]), (&json!("new"), &json!(["press"])));
    let secret = shown["secret"].as_str().unwrap();
    assert!(credential().verify(secret.as_bytes()) && !before.verify(secret.as_bytes()));
    assert_eq!(told(&mut app, "things/replace", asked).await.0, "version_conflict");
    app.subscribe("things/p1/shadow/get/accepted");
    app.publish("things/p1/shadow/get", "");
    let shadow = app.wait_for("things/p1/shadow/get/accepted").await;
    assert_eq!(shadow["state"]["desired"]["speed"], json!(7));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_with_things_behind_it_goes_only_if_they_may_stay_behind() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("gw").await;
    app.done("things/create", json!({"thing":"sensor","parent":"gw"})).await;
    let found = told(&mut app, "things/delete", json!({"thing":"gw"})).await;
    assert_eq!(found, ("invalid".to_owned(), "children".to_owned()));
    let stale = json!({"thing":"gw","children":"detach","revision":7});
    assert_eq!(told(&mut app, "things/delete", stale).await.0, "version_conflict");
    app.done("things/delete", json!({"thing":"gw","children":"detach"})).await;
    let sensor = app.done("things/get", json!({"thing":"sensor"})).await;
    assert_eq!((&sensor["parent"], &sensor["revision"]), (&Json::Null, &json!(2)));
    app.thing("gw").await;
    let none = app.done("things/list", json!({"query":{"parent":"gw"}})).await;
    assert_eq!(none["items"], json!([]), "a new gateway has nothing of the one before");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_values_of_a_deleted_thing_go_unless_others_have_them_too() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.done("things/create", json!({"thing":"p1","location":"acme/hall"})).await;
    app.done("things/create", json!({"thing":"p2","location":"acme/hall"})).await;
    let config = json!({"protocol":"modbus_tcp","address":"plc1:502"});
    app.done("drivers/create", json!({"driver":"plc","config":config})).await;
    let tag = json!({"driver":"plc","tag":"t","address":"holding:0","type":"uint16",
        "path":"acme/hall/_raw/machine"});
    app.done("tags/create", tag).await;
    app.subscribe("uns/acme/#");
    app.publish("things/p1/telemetry", r#"{"own":1,"shared":1,"machine":1}"#);
    app.wait_for("uns/acme/hall/_raw/machine").await;
    app.publish("things/p2/telemetry", r#"{"shared":2}"#);
    app.wait_for("uns/acme/hall/_raw/shared").await;
    // What it reported somewhere else goes, too.
    app.done("things/update", json!({"thing":"p1","location":"acme/yard"})).await;
    app.publish("things/p1/telemetry", r#"{"own":2}"#);
    app.wait_for("uns/acme/yard/_raw/own").await;
    app.done("things/delete", json!({"thing":"p1"})).await;
    let is_there = |path: &str| app.retained(&format!("uns/acme/{path}")).is_some();
    assert!(!is_there("hall/_raw/own") && !is_there("yard/_raw/own"));
    assert!(is_there("hall/_raw/shared") && is_there("hall/_raw/machine"));
    app.done("things/delete", json!({"thing":"p2"})).await;
    assert!(app.retained("uns/acme/hall/_raw/shared").is_none());
    node.stop().await;
}

/// A thing as releases before tags, gateways and revisions wrote it.
struct OldThing(&'static str);

impl Row for OldThing {
    type Key = (Namespace, ThingId);
    const TABLE: &'static str = "things";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
    fn decode(_: u8, _: &[u8]) -> Result<Self, RowError> {
        unreachable!("it is only written")
    }
}

#[tokio::test(start_paused = true)]
async fn things_of_a_store_from_before_are_there_and_can_be_changed() {
    let world = World::new();
    let mut changes = Changes::new();
    let key = (Namespace::default(), ThingId::parse("old").unwrap());
    let row = r#"{"location":"acme/hall","attributes":{"maker":"KSB"},"created":1,"updated":2}"#;
    changes.put(&key, &OldThing(row));
    world.store.commit(changes).await.unwrap();
    let node = world.start().await;
    let mut app = node.peer("app");
    let shown = app.done("things/get", json!({"thing":"old"})).await;
    assert_eq!((&shown["revision"], &shown["tags"]), (&json!(1), &json!([])));
    app.done("things/update", json!({"thing":"old","tags":["press"],"revision":1})).await;
    let found = app.done("things/list", json!({"query":{"tag":"press"}})).await;
    assert_eq!(found["items"][0]["thing"], json!("old"));
    node.stop().await;
}
