//! Groups of things.

use super::told;
use crate::world::{Peer, World};
use serde_json::{Value as Json, json};

async fn members(app: &mut Peer, group: &str) -> Vec<String> {
    let page = app.done("groups/members", json!({"group":group})).await;
    let items = page["items"].as_array().unwrap().iter();
    items.map(|it| it["thing"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_static_group_has_whom_it_was_given_and_loses_who_is_deleted() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    for thing in ["a", "b", "c"] {
        app.thing(thing).await;
    }
    let made = app.done("groups/create", json!({"group":"line1","description":"first"})).await;
    assert_eq!((&made["kind"], &made["revision"]), (&json!("static"), &json!(1)));
    let taken = told(&mut app, "groups/create", json!({"group":"line1"})).await;
    assert_eq!(taken, ("already_exists".to_owned(), "group".to_owned()));
    let add = |things: Json| json!({"group":"line1","things":things});
    let unknown = told(&mut app, "groups/add", add(json!(["a", "nobody"]))).await;
    assert_eq!(unknown, ("not_found".to_owned(), "things[1]".to_owned()));
    assert_eq!(members(&mut app, "line1").await, [""; 0], "all or none");
    let changed = app.done("groups/add", add(json!(["c", "a", "a"]))).await;
    assert_eq!(changed["changed"], json!(2));
    assert_eq!(app.done("groups/add", add(json!(["a", "b"]))).await["changed"], json!(1));
    assert_eq!(members(&mut app, "line1").await, ["a", "b", "c"]);
    let page = app.done("groups/members", json!({"group":"line1","limit":1,"cursor":"a"})).await;
    assert_eq!((&page["items"][0]["thing"], &page["next_cursor"]), (&json!("b"), &json!("b")));
    app.done("groups/remove", add(json!(["a"]))).await;
    app.done("things/delete", json!({"thing":"b"})).await;
    app.thing("b").await;
    assert_eq!(members(&mut app, "line1").await, ["c"], "a new thing is in no group");
    let query = json!({"group":"line1","query":{"tag":"x"}});
    assert_eq!(told(&mut app, "groups/update", query).await.1, "group");
    app.done("groups/delete", json!({"group":"line1"})).await;
    app.done("groups/create", json!({"group":"line1"})).await;
    assert_eq!(members(&mut app, "line1").await, [""; 0]);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_group_has_whoever_fits_when_it_is_asked() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.done("things/create", json!({"thing":"a","tags":["press"]})).await;
    let query = json!({"tag":"press"});
    let made = app.done("groups/create", json!({"group":"presses","query":query})).await;
    assert_eq!((&made["kind"], &made["query"]), (&json!("dynamic"), &query));
    app.done("things/create", json!({"thing":"b","tags":["press"]})).await;
    app.done("things/update", json!({"thing":"a","tags":[]})).await;
    assert_eq!(members(&mut app, "presses").await, ["b"]);
    let by_hand = json!({"group":"presses","things":["a"]});
    assert_eq!(told(&mut app, "groups/add", by_hand).await.1, "group");
    let edit = json!({"group":"presses","query":{"name_prefix":"a"},"revision":1});
    assert_eq!(app.done("groups/update", edit.clone()).await["revision"], json!(2));
    assert_eq!(told(&mut app, "groups/update", edit).await.0, "version_conflict");
    assert_eq!(members(&mut app, "presses").await, ["a"]);
    let long = json!({"group":"x","description":"d".repeat(1025)});
    assert_eq!(told(&mut app, "groups/create", long).await.1, "description");
    let listed = app.done("groups/list", json!({})).await;
    assert_eq!(listed["items"][0]["group"], json!("presses"));
    node.stop().await;
}
