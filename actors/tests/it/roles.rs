//! Custom roles: what they allow, at once when they change, and who may give them.

use crate::tenants::enter;
use crate::world::World;
use serde_json::{Value as Json, json};

fn grant(action: &str, topic: &str) -> Json {
    json!({"permission":"allow","action":action,"topic":topic})
}

/// The answers of a role's own requests.
fn replies() -> Json {
    grant("subscribe", "clients/%c/reply/+")
}

#[tokio::test(start_paused = true)]
async fn roles_are_created_given_and_deleted_when_nobody_has_them() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let painter = json!({"role":"painter","base":"app","acl":[grant("all", "paint/#")]});
    let made = app.done("roles/create", painter.clone()).await;
    assert_eq!(made["acl"], painter["acl"]);
    let writer = json!({"role":"writer","base":"project_admin","acl":[]});
    app.done("roles/create", writer).await;
    // The base role of the first one is that of the user.
    let made = app.done("users/create", json!({"user":"ann","roles":["painter"]})).await;
    assert_eq!((&made["role"], &made["roles"]), (&json!("app"), &json!(["painter"])));
    let user = |user: &str, role: &str, roles: Json| json!({"user":user,"role":role,"roles":roles});
    let wrong = json!([{"permission":"allow","action":"all","topic":"a/#/b"}]);
    for (operation, body, code, field) in [
        ("roles/create", painter, "already_exists", "role"),
        ("roles/create", json!({"role":"app","base":"app","acl":[]}), "invalid", "role"),
        ("roles/create", json!({"role":"r","base":"device","acl":[]}), "invalid", "base"),
        ("roles/create", json!({"role":"r","base":"system_admin","acl":[]}), "invalid", "base"),
        ("roles/create", json!({"role":"r","base":"king","acl":[]}), "bad_request", "base"),
        ("roles/create", json!({"role":"r","base":"app","acl":wrong}), "invalid", "acl"),
        ("roles/create", json!({"role":"r","base":"app"}), "bad_request", "acl"),
        ("roles/update", json!({"role":"painter","base":"user"}), "bad_request", "base"),
        ("roles/get", json!({"role":"nothing"}), "not_found", "role"),
        ("roles/delete", json!({"role":"painter"}), "invalid", "role"),
        ("users/create", user("x", "app", json!(["nothing"])), "not_found", "roles"),
        ("users/create", user("x", "user", json!(["painter"])), "invalid", "roles"),
        ("users/create", user("x", "app", json!(["painter", "painter"])), "invalid", "roles"),
        ("users/create", user("x", "app", json!(vec!["painter"; 9])), "invalid", "roles"),
        ("users/create", json!({"user":"x"}), "bad_request", "role"),
        ("users/update", json!({"user":"ann","role":"user"}), "invalid", "roles"),
    ] {
        let refused = app.refused(operation, body.clone()).await;
        let told = (&refused["code"], &refused["field"]);
        assert_eq!(told, (&json!(code), &json!(field)), "{operation} {body}: {refused}");
    }
    assert_eq!(app.done("roles/get", json!({"role":"painter"})).await["users"], json!(["ann"]));
    let listed = app.done("roles/list", json!({})).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let changed = json!({"user":"ann","role":"project_admin","roles":["writer"]});
    app.done("users/update", changed).await;
    app.done("roles/delete", json!({"role":"painter"})).await;
    app.done("users/delete", json!({"user":"ann"})).await;
    app.done("roles/delete", json!({"role":"writer"})).await;
    node.stop().await;
}

#[tokio::test]
async fn a_user_may_do_what_any_of_its_roles_allows_and_a_change_counts_at_once() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let address = node.listen().await;
    let role = |role: &str, topic: &str| json!({"role":role,"base":"app","acl":[grant("all", topic), replies()]});
    app.done("roles/create", role("painter", "paint/#")).await;
    app.done("roles/create", role("welder", "weld/#")).await;
    let (mut ann, _) = enter(&mut app, address, "default/default", "ann", "app").await;
    assert_eq!(ann.publish("else/x", "1").await & 0x80, 0, "without roles all of its base role");
    app.done("users/update", json!({"user":"ann","roles":["painter"]})).await;
    for (topic, is_allowed) in [("paint/x", true), ("weld/x", false), ("else/x", false)] {
        assert_eq!(ann.publish(topic, "1").await & 0x80 == 0, is_allowed, "{topic}");
    }
    assert_eq!(ann.subscribe("weld/#").await, 0x87);
    app.done("users/update", json!({"user":"ann","roles":["painter", "welder"]})).await;
    assert_eq!(ann.subscribe("weld/#").await, 1);
    assert_eq!(ann.publish("weld/x", "1").await & 0x80, 0);
    let narrowed = json!({"role":"welder","acl":[grant("all", "other/#"), replies()]});
    app.done("roles/update", narrowed).await;
    assert_eq!(ann.publish("weld/x", "1").await, 0x87, "the session is the one from before");
    assert_eq!(ann.publish("other/x", "1").await & 0x80, 0);
    app.done("users/update", json!({"user":"ann","roles":[]})).await;
    assert_eq!(ann.publish("else/x", "1").await & 0x80, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_role_grants_single_operations_of_the_admin_api() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let address = node.listen().await;
    let acl = json!([grant("publish", "admin/things/+/+"), replies()]);
    let clerk = json!({"role":"clerk","base":"project_admin","acl":acl});
    app.done("roles/create", clerk).await;
    let (mut ann, _) = enter(&mut app, address, "default/default", "ann", "project_admin").await;
    app.done("users/update", json!({"user":"ann","roles":["clerk"]})).await;
    let made = ann.admin("things/create", &json!({"thing":"p1"})).await;
    assert_eq!(made["ok"], json!(true), "{made}");
    assert_eq!(ann.publish("admin/users/create/9", r#"{"user":"x","role":"app"}"#).await, 0x87);
    app.refused("users/get", json!({"user":"x"})).await;
    node.stop().await;
}
