//! The objects of a namespace from their creation to their end, by every verb they have.

use super::{all_refused, texts};
use manifold_tests::admin::Admin;
use manifold_tests::node::Site;
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
            ("projects", "get", plant, "not_found", ""),
        ],
    )
    .await;
}
