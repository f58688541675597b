//! The objects of a namespace from their creation to their end, by every verb they have.

use super::{all_refused, texts};
use manifold_tests::admin::Admin;
use manifold_tests::node::{SECRET, Site};
use manifold_tests::wire::{Hello, Version};
use serde_json::json;

#[tokio::test]
async fn a_driver_and_its_tags_live_and_end() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    // Nobody listens there: the driver tries again and again, and is managed all the same.
    let config = |port: u16| {
        let address = format!("127.0.0.1:{port}");
        json!({"driver": "press", "config": {"protocol": "modbus_tcp", "address": address}})
    };
    admin.must("drivers", "create", config(1)).await;
    admin.must("drivers", "update", config(2)).await;
    let driver = admin.must("drivers", "get", json!({"driver": "press"})).await;
    assert_eq!(driver["config"]["address"], "127.0.0.1:2", "{driver}");
    let tag = json!({
        "driver": "press", "tag": "level", "address": "input:0", "type": "uint16",
        "path": "acme/berlin/press/_raw/level",
    });
    admin.must("tags", "create", tag).await;
    let named = json!({"driver": "press", "tag": "level"});
    let change = json!({"driver": "press", "tag": "level", "unit": "%"});
    admin.must("tags", "update", change).await;
    let tag = admin.must("tags", "get", named.clone()).await;
    assert_eq!((&tag["unit"], &tag["type"]), (&json!("%"), &json!("uint16")), "{tag}");
    let page = admin.must("tags", "list", json!({"driver": "press"})).await;
    assert_eq!(texts(&page, "tag"), ["level"]);
    admin.must("tags", "delete", named.clone()).await;
    admin.must("drivers", "delete", json!({"driver": "press"})).await;
    all_refused(
        &mut admin,
        vec![
            ("tags", "get", named, "not_found", ""),
            ("drivers", "get", json!({"driver": "press"}), "not_found", ""),
            ("drivers", "delete", json!({"driver": "press"}), "not_found", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_project_its_thing_and_its_user_live_and_end() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let plant = json!({"tenant": "acme", "project": "plant"});
    admin.must("tenants", "create", json!({ "tenant": "acme" })).await;
    admin.must("projects", "create", plant.clone()).await;
    let project = admin.must("projects", "get", plant.clone()).await;
    assert_eq!((&project["tenant"], &project["project"]), (&plant["tenant"], &plant["project"]));
    let page = admin.must("projects", "list", json!({"filter": "plant"})).await;
    assert_eq!(texts(&page, "project"), ["plant"]);
    admin.create_thing("pump7", "acme/berlin/pump7").await;
    admin.must("things", "delete", json!({"thing": "pump7"})).await;
    admin.create_user("joe", "user").await;
    admin.must("users", "delete", json!({"user": "joe"})).await;
    admin.must("projects", "delete", plant.clone()).await;
    all_refused(
        &mut admin,
        vec![
            ("things", "get", json!({"thing": "pump7"}), "not_found", ""),
            ("users", "get", json!({"user": "joe"}), "not_found", "user"),
            ("projects", "get", plant, "not_found", "project"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_group_lives_and_ends() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    admin.create_thing("pump7", "acme/pump7").await;
    let named = json!({"group": "pumps"});
    admin.must("groups", "create", named.clone()).await;
    admin.must("groups", "add", json!({"group": "pumps", "things": ["pump7"]})).await;
    let page = admin.must("groups", "members", named.clone()).await;
    assert_eq!(texts(&page, "thing"), ["pump7"]);
    admin.must("groups", "remove", json!({"group": "pumps", "things": ["pump7"]})).await;
    let page = admin.must("groups", "members", named.clone()).await;
    assert!(texts(&page, "thing").is_empty(), "{page}");
    admin.must("groups", "update", json!({"group": "pumps", "description": "all"})).await;
    let group = admin.must("groups", "get", named.clone()).await;
    assert_eq!(group["description"], "all", "{group}");
    let page = admin.must("groups", "list", json!({})).await;
    assert_eq!(texts(&page, "group"), ["pumps"]);
    admin.must("groups", "delete", named.clone()).await;
    all_refused(&mut admin, vec![("groups", "get", named, "not_found", "group")]).await;
}

#[tokio::test]
async fn a_model_lives_and_ends_and_a_shadow_is_shown() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let document = |unit: &str| {
        let speed = json!({"type": "integer", "unit": unit});
        let context = "https://www.w3.org/2022/wot/td/v1.1";
        json!({"@context": context, "@type": "tm:ThingModel", "properties": {"speed": speed}})
    };
    let model = |unit: &str| json!({"model": "pump", "document": document(unit)});
    admin.must("models", "create", model("Hz")).await;
    admin.must("models", "update", model("/min")).await;
    admin.must("models", "publish", json!({"model": "pump"})).await;
    let shown = admin.must("models", "get", json!({"model": "pump"})).await;
    assert_eq!(shown["document"], document("/min"), "{shown}");
    let page = admin.must("models", "list", json!({})).await;
    assert_eq!(texts(&page, "model"), ["pump"]);

    admin.create_thing("pump7", "acme/pump7").await;
    let operator = Hello::new(Version::V5, "boss").user("admin", SECRET);
    let mut boss = node.client(&operator).await;
    let update = br#"{"state":{"desired":{"speed":1}}}"#;
    assert_eq!(boss.publish_acked("things/pump7/shadow/update", update).await, 0);
    let shadow = admin.must("shadows", "get", json!({"thing": "pump7"})).await;
    assert_eq!(shadow["state"]["desired"]["speed"], 1, "{shadow}");
    admin.must("models", "delete", json!({"model": "pump"})).await;
    all_refused(
        &mut admin,
        vec![("models", "get", json!({"model": "pump"}), "not_found", "model")],
    )
    .await;
}

#[tokio::test]
async fn a_tenant_and_a_role_live_and_end() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let acme = json!({"tenant": "acme"});
    admin.must("tenants", "create", acme.clone()).await;
    let tenant = admin.must("tenants", "get", acme.clone()).await;
    assert_eq!(tenant["tenant"], "acme", "{tenant}");
    admin.must("tenants", "delete", acme.clone()).await;
    let acl = json!([{"permission": "allow", "action": "all", "topic": "paint/#"}]);
    admin.must("roles", "create", json!({"role": "painter", "base": "app", "acl": acl})).await;
    let page = admin.must("roles", "list", json!({})).await;
    assert_eq!(texts(&page, "role"), ["painter"]);
    all_refused(&mut admin, vec![("tenants", "get", acme, "not_found", "tenant")]).await;
}
