//! Projects: served as soon as they are created, apart from each other, gone when they are deleted.

use crate::world::{World, until};
use proto::Namespace;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_project_is_served_before_the_answer_and_apart_from_others() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.done("tenants/create", json!({"tenant":"acme"})).await;
    app.done("projects/create", json!({"tenant":"acme","project":"berlin"})).await;
    let berlin = Namespace::parse("acme/berlin").unwrap();
    let mut there = node.peer_in(&berlin, "app");
    assert_eq!(there.done("things/list", json!({})).await["items"], json!([]));
    there.thing("p1").await;
    there.subscribe("#");
    app.subscribe("uns/#");
    app.publish("things/p1/telemetry", r#"{"a":1}"#);
    app.wait_for("uns/default/p1/_raw/a").await;
    assert_eq!(there.within(1000).await, []);
    there.publish("things/p1/telemetry", r#"{"a":2}"#);
    assert_eq!(there.wait_for("uns/acme/p1/_raw/a").await["v"], json!(2));
    let taken = app.refused("projects/create", json!({"tenant":"acme","project":"berlin"})).await;
    assert_eq!(taken["code"], json!("already_exists"));
    drop((node, app, there));

    let node = world.start().await;
    assert_eq!(node.figures().tenants, 3);
    let mut there = node.peer_in(&berlin, "app");
    there.done("things/get", json!({"thing":"p1"})).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_project_is_deleted_when_it_holds_nothing() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let project = json!({"tenant":"acme","project":"berlin"});
    app.done("tenants/create", json!({"tenant":"acme"})).await;
    app.done("projects/create", project.clone()).await;
    let berlin = Namespace::parse("acme/berlin").unwrap();
    let mut there = node.peer_in(&berlin, "there");
    there.thing("p1").await;
    let refused = app.refused("projects/delete", project.clone()).await;
    assert!(refused["message"].as_str().unwrap().contains("things"), "{refused}");
    there.done("things/delete", json!({"thing":"p1"})).await;
    // A rule would act in the next project of this name.
    let rule = json!({"rule":"n","when":{"path":"acme/_raw/level","above":9.0},
        "then":[{"set":"acme/_raw/pump","v":true}]});
    there.done("rules/create", rule).await;
    let refused = app.refused("projects/delete", project.clone()).await;
    assert!(refused["message"].as_str().unwrap().contains("rules"), "{refused}");
    there.done("rules/delete", json!({"rule":"n"})).await;
    app.done("projects/delete", project.clone()).await;
    until("it is unmounted", || node.broker.connections(&berlin).is_empty()).await;
    assert_eq!(node.figures().tenants, 2);
    app.refused("projects/get", project).await;
    let always = json!({"tenant":"default","project":"default"});
    assert_eq!(app.refused("projects/delete", always).await["code"], json!("invalid"));
    node.stop().await;
}
