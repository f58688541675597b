//! API tokens: made, shown once, taken as passwords, narrowed, disabled, revoked, over.

use crate::tenants::{come_in, enter};
use crate::wire::Wire;
use crate::world::{Node, Peer, World};
use serde_json::{Value as Json, json};
use std::net::SocketAddr;

async fn started() -> (World, Node, Peer, SocketAddr) {
    let world = World::new();
    let node = world.start().await;
    let app = node.peer("app");
    let address = node.listen().await;
    (world, node, app, address)
}

async fn token(app: &mut Peer, mut body: Json) -> String {
    body["user"] = json!("robot");
    app.done("credentials/create", body).await["token"].as_str().unwrap().to_owned()
}

async fn bearing(address: SocketAddr, user: &str, token: &str) -> Result<Wire, u8> {
    Wire::connect(address, "bearer", user, token).await
}

#[tokio::test(start_paused = true)]
async fn tokens_are_made_for_users_and_shown_once() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.done("users/create", json!({"user":"robot","role":"app"})).await;
    app.thing("p1").await;
    let body = json!({"user":"robot","credential":"ci","description":"builds","request_id":"r1"});
    let made = app.done("credentials/create", body.clone()).await;
    assert!(made["token"].as_str().unwrap().starts_with("ey"), "{made}");
    let days = |it: &Json| {
        (it["expires_at"].as_u64().unwrap() - it["created"].as_u64().unwrap()) / 86_400_000
    };
    assert_eq!(days(&made), 90);
    let shown = app.done("credentials/get", json!({"user":"robot","credential":"ci"})).await;
    assert_eq!(shown["description"], json!("builds"));
    assert!(!shown.to_string().contains("ey"), "{shown}");
    let with = |field: &str, value: Json| {
        let mut body = json!({"user":"robot","credential":"x"});
        body[field] = value;
        body
    };
    let wrong = json!([{"permission":"allow","action":"all","topic":"a/#/b"}]);
    for (operation, body, code, field) in [
        ("credentials/create", with("credential", json!("ci")), "already_exists", "credential"),
        ("credentials/create", with("user", json!("nobody")), "not_found", "user"),
        ("credentials/create", with("user", json!("p1")), "not_found", "user"),
        ("credentials/create", with("roles", json!(["r"])), "invalid", "roles"),
        ("credentials/create", with("acl", wrong), "invalid", "acl"),
        ("credentials/create", with("expires_in_secs", json!(0)), "invalid", "expires_in_secs"),
        (
            "credentials/create",
            with("expires_in_secs", json!(315_360_001)),
            "invalid",
            "expires_in_secs",
        ),
        ("credentials/create", with("colour", json!(1)), "bad_request", "colour"),
        ("credentials/get", with("user", json!("robot")), "not_found", "credential"),
        ("credentials/delete", with("user", json!("robot")), "not_found", "credential"),
    ] {
        let refused = app.refused(operation, body.clone()).await;
        let told = (&refused["code"], &refused["field"]);
        assert_eq!(told, (&json!(code), &json!(field)), "{operation} {body}: {refused}");
    }
    for number in 1..64 {
        let name = format!("n{number}");
        app.done("credentials/create", json!({"user":"robot","credential":name})).await;
    }
    let refused = app.refused("credentials/create", with("user", json!("robot"))).await;
    assert_eq!(refused["code"], json!("quota_exceeded"));
    drop((node, app));

    let node = world.start().await;
    let mut app = node.peer("app");
    let again = app.done("credentials/create", body).await;
    assert_eq!(again.get("token"), None, "no token is written");
    let listed = app.done("credentials/list", json!({"user":"robot","filter":"ci"})).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    app.done("users/delete", json!({"user":"robot"})).await;
    assert_eq!(app.done("credentials/list", json!({})).await["items"], json!([]));
    node.stop().await;
}

#[tokio::test]
async fn a_token_is_its_user_within_its_scope_until_it_is_revoked() {
    let (world, node, mut app, address) = started().await;
    app.done("users/create", json!({"user":"robot","role":"app"})).await;
    let wide = token(&mut app, json!({"credential":"wide"})).await;
    let acl = json!([{"permission":"allow","action":"publish","topic":"plant/#"}]);
    let narrow = token(&mut app, json!({"credential":"narrow","acl":acl})).await;
    let mut robot = bearing(address, "robot", &wide).await.unwrap();
    assert_eq!(robot.publish("else/x", "1").await & 0x80, 0);
    let mut bounded = Wire::connect(address, "bounded", "", &narrow).await.unwrap();
    assert_eq!(bounded.publish("plant/x", "1").await & 0x80, 0);
    assert_eq!(bounded.publish("else/x", "1").await, 0x87);
    assert_eq!(bearing(address, "other", &wide).await.err(), Some(0x87), "another's name");
    let (message, signature) = wide.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{message}.{other}{}", &signature[1..]);
    assert_eq!(bearing(address, "robot", &forged).await.err(), Some(0x87));

    // What its user may no longer do it may not either, and at once.
    let acl = json!([{"permission":"allow","action":"publish","topic":"plant/a"}]);
    app.done("users/update", json!({"user":"robot","acl":acl})).await;
    assert_eq!(robot.publish("else/x", "1").await, 0x87);
    assert_eq!(robot.publish("plant/a", "1").await & 0x80, 0);
    assert_eq!(bounded.publish("plant/b", "1").await, 0x87);

    let name = |name: &str| json!({"user":"robot","credential":name});
    let enabled =
        |name: &str, enabled: bool| json!({"user":"robot","credential":name,"enabled":enabled});
    app.done("credentials/update", enabled("narrow", false)).await;
    assert_eq!(bounded.end().await, 0x87);
    assert_eq!(bearing(address, "robot", &narrow).await.err(), Some(0x87));
    app.done("credentials/update", enabled("narrow", true)).await;
    app.done("credentials/delete", name("wide")).await;
    assert_eq!(robot.end().await, 0x87);
    assert_eq!(bearing(address, "robot", &wide).await.err(), Some(0x87));
    let again = token(&mut app, json!({"credential":"wide"})).await;
    assert_eq!(bearing(address, "robot", &wide).await.err(), Some(0x87), "another of its name");
    let _robot = bearing(address, "robot", &again).await.unwrap();
    node.stop().await;

    let node = world.start().await;
    let address = node.listen().await;
    let _robot = bearing(address, "robot", &again).await.unwrap();
    assert_eq!(bearing(address, "robot", &wide).await.err(), Some(0x87));
    node.stop().await;
}

#[tokio::test]
async fn a_token_has_those_of_the_roles_of_its_user_that_it_was_given() {
    let (_world, node, mut app, address) = started().await;
    for (role, topic) in [("painter", "paint/#"), ("welder", "weld/#")] {
        let acl = json!([{"permission":"allow","action":"all","topic":topic}]);
        app.done("roles/create", json!({"role":role,"base":"app","acl":acl})).await;
    }
    app.done("users/create", json!({"user":"robot","roles":["painter","welder"]})).await;
    let both = token(&mut app, json!({"credential":"both"})).await;
    let one = token(&mut app, json!({"credential":"one","roles":["welder"]})).await;
    let mut both = Wire::connect(address, "both", "robot", &both).await.unwrap();
    let mut one = Wire::connect(address, "one", "robot", &one).await.unwrap();
    for (topic, by_both, by_one) in
        [("paint/x", true, false), ("weld/x", true, true), ("else/x", false, false)]
    {
        assert_eq!(both.publish(topic, "1").await & 0x80 == 0, by_both, "{topic}");
        assert_eq!(one.publish(topic, "1").await & 0x80 == 0, by_one, "{topic}");
    }
    // The user loses the one role that the token has.
    app.done("users/update", json!({"user":"robot","roles":["painter"]})).await;
    assert_eq!(one.publish("weld/x", "1").await, 0x87);
    assert_eq!(one.publish("paint/x", "1").await, 0x87);
    assert_eq!(both.publish("paint/x", "1").await & 0x80, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_with_its_user() {
    let (_world, node, mut app, address) = started().await;
    app.done("users/create", json!({"user":"robot","role":"app"})).await;
    let short = token(&mut app, json!({"credential":"short","expires_in_secs":2})).await;
    let long = token(&mut app, json!({"credential":"long"})).await;
    let mut first = Wire::connect(address, "first", "robot", &short).await.unwrap();
    let mut second = Wire::connect(address, "second", "robot", &long).await.unwrap();
    assert_eq!(first.end().await, 0xA0, "its time is over");
    assert_eq!(bearing(address, "robot", &short).await.err(), Some(0x87));
    app.done("users/update", json!({"user":"robot","enabled":false})).await;
    assert_eq!(second.end().await, 0x87);
    assert_eq!(bearing(address, "robot", &long).await.err(), Some(0x87));
    app.done("users/update", json!({"user":"robot","enabled":true})).await;
    let mut second = bearing(address, "robot", &long).await.unwrap();
    app.done("users/delete", json!({"user":"robot"})).await;
    assert_eq!(second.end().await, 0x87);
    assert_eq!(bearing(address, "robot", &long).await.err(), Some(0x87));
    node.stop().await;
}

#[tokio::test]
async fn a_token_opens_its_namespace_only_but_one_of_an_operator_opens_all() {
    let (_world, node, mut app, address) = started().await;
    app.done("tenants/create", json!({"tenant":"acme"})).await;
    app.done("projects/create", json!({"tenant":"acme","project":"berlin"})).await;
    app.done("users/create", json!({"user":"robot","role":"app"})).await;
    let here = token(&mut app, json!({"credential":"here"})).await;
    let elsewhere = bearing(address, "acme/berlin/robot", &here).await;
    assert_eq!(elsewhere.err(), Some(0x87));
    let operator = json!({"namespace":"system/system","user":"admin","credential":"night"});
    let operator = app.done("credentials/create", operator).await;
    let operator = operator["token"].as_str().unwrap();
    let mut admin = bearing(address, "acme/berlin/admin", operator).await.unwrap();
    assert_eq!(admin.publish("plant/x", "1").await & 0x80, 0);
    // The name is somebody else's there.
    enter(&mut app, address, "acme/berlin", "admin", "user").await;
    let taken = bearing(address, "acme/berlin/admin", operator).await;
    assert_eq!(taken.err(), Some(0x87));
    // Nobody makes a token for somebody above itself.
    let (mut ann, _) = enter(&mut app, address, "acme/berlin", "ann", "project_admin").await;
    let boss = json!({"namespace":"acme/berlin","user":"boss","role":"tenant_admin"});
    app.done("users/create", boss).await;
    let refused = ann.admin("credentials/create", &json!({"user":"boss","credential":"x"})).await;
    assert_eq!(refused["error"]["code"], json!("forbidden"), "{refused}");
    come_in(address, "acme/berlin", "nobody", operator).await.err().unwrap();
    node.stop().await;
}
