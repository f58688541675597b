//! Quotas: shares of a pool that is never given away twice, kept to where things, tags and connections begin.

use crate::tenants::{come_in, enter};
use crate::world::{Peer, World};
use proto::Namespace;
use serde_json::{Value as Json, json};

async fn project(app: &mut Peer, project: &str, quota: Json) -> Json {
    app.admin("projects/create", json!({"tenant":"acme","project":project,"quota":quota})).await
}

fn update(project: &str, quota: Json) -> Json {
    json!({"tenant":"acme","project":project,"quota":quota})
}

#[track_caller]
fn is_over(refused: &Json, field: &str) {
    let told = (&refused["code"], &refused["field"]);
    assert_eq!(told, (&json!("quota_exceeded"), &json!(field)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn shares_are_taken_from_the_pool_of_the_tenant_and_no_more_than_it_has() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.done("tenants/create", json!({"tenant":"acme","quota":{"things":10,"tags":4}})).await;
    let berlin = project(&mut app, "berlin", json!({"things":6,"tags":1,"connections":9})).await;
    assert_eq!(berlin["data"]["quota"], json!({"things":6,"tags":1,"connections":9}));
    let refused = project(&mut app, "paris", json!({"things":5,"tags":1})).await;
    is_over(&refused["error"], "quota.things");
    let refused = project(&mut app, "paris", json!({"things":4})).await;
    is_over(&refused["error"], "quota.tags");
    assert_eq!(project(&mut app, "paris", json!({"things":4,"tags":3})).await["ok"], json!(true));
    is_over(
        &app.refused("projects/update", update("berlin", json!({"things":7}))).await,
        "quota.things",
    );
    let away = update("berlin", json!({"things":null}));
    is_over(&app.refused("projects/update", away).await, "quota.things");
    let less = json!({"tenant":"acme","quota":{"things":9}});
    is_over(&app.refused("tenants/update", less).await, "quota.things");
    let new = json!({"tenant":"acme","quota":{"connections":50}});
    let refused = app.refused("tenants/update", new.clone()).await;
    is_over(&refused, "quota.connections");
    assert!(refused["message"].as_str().unwrap().contains("paris"), "{refused}");
    app.done("projects/update", update("paris", json!({"connections":41}))).await;
    app.done("tenants/update", new).await;
    app.done("projects/update", update("berlin", json!({"things":0}))).await;
    app.done("projects/update", update("paris", json!({"things":10}))).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn things_and_tags_beyond_the_share_are_refused_and_change_nothing() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.done("tenants/create", json!({"tenant":"acme"})).await;
    project(&mut app, "berlin", json!({"things":2,"tags":3})).await;
    let berlin = Namespace::parse("acme/berlin").unwrap();
    let mut there = node.peer_in(&berlin, "there");
    there.thing("p1").await;
    there.thing("p2").await;
    is_over(&there.refused("things/create", json!({"thing":"p3"})).await, "quota.things");
    there.refused("things/get", json!({"thing":"p3"})).await;
    // A name that is taken uses nothing up, and what is deleted gives its place back.
    there.refused("things/create", json!({"thing":"p1"})).await;
    there.done("things/delete", json!({"thing":"p1"})).await;
    there.thing("p3").await;
    is_over(&there.refused("things/create", json!({"thing":"p4"})).await, "quota.things");
    app.done("projects/update", update("berlin", json!({"things":3}))).await;
    there.thing("p4").await;
    is_over(&there.refused("things/create", json!({"thing":"p5"})).await, "quota.things");
    app.done("projects/update", update("berlin", json!({"things":1}))).await;
    there.done("things/get", json!({"thing":"p4"})).await;
    is_over(&there.refused("things/create", json!({"thing":"p5"})).await, "quota.things");
    app.done("projects/update", update("berlin", json!({"things":null}))).await;
    there.thing("p5").await;

    let config = json!({"protocol":"modbus_tcp","address":"plc1:502"});
    there.done("drivers/create", json!({"driver":"plc","config":config})).await;
    let tag = |number: usize| {
        json!({"tag":format!("t{number}"),"address":format!("holding:{number}"),
            "type":"uint16","path":format!("acme/_raw/t{number}")})
    };
    let many = |numbers: std::ops::Range<usize>| json!({"driver":"plc","tags":numbers.map(tag).collect::<Vec<_>>()});
    is_over(&there.refused("tags/create", many(0..4)).await, "quota.tags");
    assert_eq!(there.done("tags/list", json!({})).await["items"], json!([]), "all or none");
    there.done("tags/create", many(0..3)).await;
    is_over(&there.refused("tags/create", many(3..4)).await, "quota.tags");
    node.stop().await;
}

#[tokio::test]
async fn connections_keep_to_the_share_while_it_changes() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let address = node.listen().await;
    app.done("tenants/create", json!({"tenant":"acme"})).await;
    project(&mut app, "berlin", json!({"connections":1})).await;
    let (mut ann, _) = enter(&mut app, address, "acme/berlin", "ann", "app").await;
    let bob = json!({"namespace":"acme/berlin","user":"bob","role":"app"});
    let secret = app.done("users/create", bob).await["secret"].as_str().unwrap().to_owned();
    let refused = come_in(address, "acme/berlin", "bob", &secret).await;
    assert_eq!(refused.err(), Some(0x97));
    app.done("projects/update", update("berlin", json!({"connections":2}))).await;
    let bob = come_in(address, "acme/berlin", "bob", &secret).await.unwrap();
    app.done("projects/update", update("berlin", json!({"connections":0}))).await;
    assert_eq!(ann.publish("plant/x", "1").await & 0x80, 0, "who is there stays");
    drop(bob);
    let refused = come_in(address, "acme/berlin", "bob", &secret).await;
    assert_eq!(refused.err(), Some(0x97));
    node.stop().await;

    // As the rows say, not as the process remembers.
    let node = world.start().await;
    let address = node.listen().await;
    let refused = come_in(address, "acme/berlin", "bob", &secret).await;
    assert_eq!(refused.err(), Some(0x97));
    node.stop().await;
}

#[tokio::test]
async fn retained_bytes_and_the_rate_of_publishing_keep_to_the_share() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let address = node.listen().await;
    app.done("tenants/create", json!({"tenant":"acme"})).await;
    project(&mut app, "berlin", json!({"retained_bytes":2000})).await;
    let (mut ann, _) = enter(&mut app, address, "acme/berlin", "ann", "app").await;
    assert_eq!(ann.retain("plant/a", "small").await & 0x80, 0);
    assert_eq!(ann.retain("plant/b", &"x".repeat(3000)).await, 0x97);
    app.done("projects/update", update("berlin", json!({"retained_bytes":null}))).await;
    assert_eq!(ann.retain("plant/b", &"x".repeat(3000)).await & 0x80, 0);

    // A second's worth passes at once, and each further message takes its fifth of a second.
    app.done("projects/update", update("berlin", json!({"publish_messages_per_sec":5}))).await;
    let before = tokio::time::Instant::now();
    for _ in 0..12 {
        ann.publish("plant/c", "1").await;
    }
    assert!(before.elapsed().as_millis() > 600, "it has been slowed: {:?}", before.elapsed());
    node.stop().await;
}
