//! The admin API over the bus: answers, refusals, repetition, lists, and what each resource does.

use crate::world::{START_MS, World};
use broker::credential::Credential;
use proto::{Namespace, UserId};
use serde_json::{Value as Json, json};

#[tokio::test(start_paused = true)]
async fn things_are_created_shown_changed_and_deleted() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.subscribe("events/things/p1");
    let made = app.done("things/create", json!({"thing":"p1","attributes":{"maker":"acme"}})).await;
    let secret = made["secret"].as_str().unwrap();
    let key = (Namespace::default(), UserId::parse("p1").unwrap());
    let credential = |world: &World| world.store.read().unwrap().get::<Credential>(&key).unwrap();
    assert!(credential(&world).unwrap().verify(secret.as_bytes()));

    let shown = app.done("things/get", json!({"thing":"p1"})).await;
    assert_eq!(
        shown,
        json!({"thing":"p1","model":null,"location":"default/p1","parent":null,"edge":null,"given":null,
            "serial":null,"tags":[],
            "attributes":{"maker":"acme"},"state":"unactivated","status":null,"revision":1,
            "created":START_MS,"updated":START_MS})
    );
    let taken = app.refused("things/create", json!({"thing":"p1"})).await;
    assert_eq!((&taken["code"], &taken["field"]), (&json!("already_exists"), &json!("thing")));

    let update = json!({"thing":"p1","location":"acme/hall","attributes":{"maker":null,"row":7}});
    let shown = app.done("things/update", update).await;
    assert_eq!(
        (&shown["location"], &shown["attributes"]),
        (&json!("acme/hall"), &json!({"row":7}))
    );
    app.subscribe("uns/#");
    app.publish("things/p1/telemetry", r#"{"a":1}"#);
    app.wait_for("uns/acme/hall/_raw/a").await;
    let shown = app.done("things/update", json!({"thing":"p1","location":null})).await;
    assert_eq!(shown["location"], json!("default/p1"));

    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"a":1}}}"#);
    app.publish(
        "events/clients/connected",
        r#"{"client_id":"c","identity":{"thing":"p1"},"connection":7,"t":1}"#,
    );
    app.subscribe("things/p1/status");
    app.wait_for("things/p1/status").await;
    app.done("things/delete", json!({"thing":"p1"})).await;
    assert_eq!(app.retained("things/p1/status"), None);
    assert!(credential(&world).is_none());
    app.refused("things/get", json!({"thing":"p1"})).await;
    app.refused("things/delete", json!({"thing":"p1"})).await;

    // A new thing of that name has nothing of the old one.
    app.thing("p1").await;
    app.subscribe("things/p1/shadow/get/rejected");
    app.publish("things/p1/shadow/get", "");
    assert_eq!(app.wait_for("things/p1/shadow/get/rejected").await["code"], json!(404));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn refusals_name_code_and_field() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let config = json!({"protocol":"modbus_tcp","address":"plc1:502"});
    app.done("drivers/create", json!({"driver":"plc","config":config})).await;
    let tag = |field: &str, value: serde_json::Value| {
        let mut tag = json!({"driver":"plc","tag":"t","address":"holding:0","type":"uint16",
            "path":"acme/_raw/t"});
        tag[field] = value;
        tag
    };
    let mut taken = tag("tag", json!("taken"));
    taken["path"] = json!("acme/_raw/taken");
    app.done("tags/create", taken).await;
    let cases = [
        ("pumps/list", json!({}), "unknown_operation", "resource"),
        ("things/explode", json!({}), "unknown_operation", "verb"),
        ("things/create", json!({}), "bad_request", "thing"),
        ("things/create", json!({"thing":"a/b"}), "bad_request", "thing"),
        ("things/create", json!({"thing":"a","colour":1}), "bad_request", "colour"),
        ("things/create", json!({"thing":"a","location":"x//y"}), "invalid", "location"),
        ("things/create", json!({"thing":"a","secret":"short"}), "invalid", "secret"),
        ("drivers/create", json!({"driver":"x"}), "bad_request", "config"),
        (
            "drivers/create",
            json!({"driver":"x","config":{"protocol":"opc"}}),
            "bad_request",
            "config.protocol",
        ),
        (
            "drivers/create",
            json!({"driver":"x","config":{"protocol":"modbus_tcp","address":"plc"}}),
            "invalid",
            "config.address",
        ),
        ("drivers/create", json!({"driver":"x","edge":"far","config":config}), "not_found", "edge"),
        ("tags/create", tag("driver", json!("none")), "not_found", "driver"),
        ("tags/create", tag("address", json!("holding:99999")), "invalid", "address"),
        ("tags/create", tag("type", json!("uint7")), "bad_request", "type"),
        ("tags/create", tag("path", json!("acme/t")), "invalid", "path"),
        ("tags/create", tag("path", json!("acme/_raw/taken")), "already_exists", "path"),
        ("tags/create", tag("poll_interval_ms", json!(1)), "invalid", "poll_interval_ms"),
        ("tags/create", tag("tag", json!("taken")), "already_exists", "tag"),
        ("users/create", json!({"user":"u","role":"device"}), "invalid", "role"),
        ("users/create", json!({"user":"u","role":"system_admin"}), "invalid", "role"),
        (
            "users/create",
            json!({"user":"u","role":"user","namespace":"a/b"}),
            "not_found",
            "namespace",
        ),
        ("projects/create", json!({"tenant":"a"}), "bad_request", "project"),
    ];
    for (operation, body, code, field) in cases {
        let refused = app.refused(operation, body.clone()).await;
        assert_eq!(
            (&refused["code"], &refused["field"]),
            (&json!(code), &json!(field)),
            "{operation} {body}: {refused}"
        );
    }
    assert_eq!(app.done("things/list", json!({})).await["items"], json!([]));
    assert_eq!(app.done("drivers/list", json!({})).await["items"].as_array().unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeated_mutation_is_answered_and_not_done_again() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let body = json!({"thing":"p1","request_id":"r1"});
    let first = app.done("things/create", body.clone()).await;
    assert_eq!(app.done("things/create", body.clone()).await, first);
    assert_eq!(node.figures().admin_repeated, 1);
    let other = app.refused("things/delete", json!({"thing":"p1","request_id":"r1"})).await;
    assert_eq!((&other["code"], &other["field"]), (&json!("invalid"), &json!("request_id")));
    drop((node, app));

    let node = world.start().await;
    let mut app = node.peer("app");
    let mut again = app.done("things/create", body).await;
    assert_eq!(again.get("secret"), None, "no secret is written");
    again["secret"] = first["secret"].clone();
    assert_eq!(again, first);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_and_paged() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    for number in 0..7 {
        app.thing(&format!("pump{number}")).await;
        app.thing(&format!("valve{number}")).await;
    }
    let mut names = Vec::new();
    let mut cursor = json!(null);
    loop {
        let asked = json!({"filter":"valve","limit":3,"cursor":cursor});
        let page = app.done("things/list", asked).await;
        for item in page["items"].as_array().unwrap() {
            names.push(item["thing"].as_str().unwrap().to_owned());
        }
        match page.get("next_cursor") {
            Some(next) => cursor = next.clone(),
            None => break,
        }
    }
    let expected: Vec<String> = (0..7).map(|number| format!("valve{number}")).collect();
    assert_eq!(names, expected);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn answers_go_to_the_response_topic_or_the_reply_topic() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.subscribe("test/answers");
    app.ask("admin/metrics/get", "", "test/answers", "c-9");
    let (correlation, answer) = app.next_correlated().await;
    assert_eq!(correlation.as_ref(), b"c-9");
    for part in ["actors", "broker", "store"] {
        assert!(answer["data"][part].is_object(), "{answer}");
    }
    // In process nobody has a connection to be listed.
    let page = app.done("connections/list", json!({})).await;
    assert_eq!(page["items"], json!([]));
    let refused = app.refused("connections/disconnect", json!({"client_id":"x"})).await;
    assert_eq!(refused["code"], json!("not_found"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn users_come_and_go_and_the_last_operator_stays() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let made = app.done("users/create", json!({"user":"ann","role":"app"})).await;
    assert!(made["secret"].is_string());
    let chosen = json!({"user":"bob","role":"project_admin","secret":"bobs secret"});
    let made = app.done("users/create", chosen).await;
    assert_eq!(made.get("secret"), None, "who chose it knows it");
    let key = (Namespace::default(), UserId::parse("bob").unwrap());
    let read = || world.store.read().unwrap().get::<Credential>(&key).unwrap();
    assert!(read().unwrap().verify(b"bobs secret"));
    app.done("users/update", json!({"user":"bob","role":"user"})).await;
    assert!(read().unwrap().verify(b"bobs secret"), "a new role keeps the secret");

    let rule = json!({"permission":"allow","action":"subscribe","topic":"plant/#"});
    let bounded = json!({"user":"cleo","role":"app","enabled":false,"acl":[rule]});
    let made = app.done("users/create", bounded).await;
    assert_eq!((&made["enabled"], &made["acl"]), (&json!(false), &json!([rule])));
    let shown = app.done("users/get", json!({"user":"cleo"})).await;
    assert_eq!((&shown["enabled"], &shown["acl"]), (&json!(false), &json!([rule])));
    let chosen = json!({"user":"cleo","secret":"short but chosen"});
    let shown = app.done("users/update", chosen).await;
    assert_eq!(shown["acl"], json!([rule]), "another secret keeps the list");
    app.done("users/delete", json!({"user":"cleo"})).await;
    let wrong = json!({"permission":"allow","action":"all","topic":"a/#/b"});
    let wrong = json!({"user":"cleo","role":"app","acl":[wrong]});
    let refused = app.refused("users/create", wrong).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid"), &json!("acl")));

    app.thing("p1").await;
    let listed = app.done("users/list", json!({})).await;
    assert_eq!(
        listed["items"],
        json!([{"user":"ann","role":"app","revision":1},
            {"user":"bob","role":"user","revision":2}]),
        "a thing is no user"
    );
    assert_eq!(app.refused("users/get", json!({"user":"p1"})).await["code"], json!("not_found"));
    app.done("users/delete", json!({"user":"bob"})).await;
    assert!(read().is_none());

    let system = json!({"user":"admin","namespace":"system/system"});
    let refused = app.refused("users/delete", system.clone()).await;
    assert!(refused["message"].as_str().unwrap().contains("last"), "{refused}");
    let second = json!({"user":"eve","role":"system_admin","namespace":"system/system"});
    app.done("users/create", second).await;
    app.done("users/delete", system).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_made_for_another_revision_is_refused() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let acl = json!([{"permission":"allow","action":"publish","topic":"a/#"}]);
    let remote = json!({"url":"mqtt://127.0.0.1:1"});
    let rules = json!([{"direction":"out","filter":"a/#"}]);
    let config = json!({"protocol":"modbus_tcp","address":"plc1:502"});
    let cases = [
        ("tenants", json!({"tenant":"acme"}), json!({}), json!({"description":"d"})),
        ("projects", json!({"tenant":"acme","project":"p"}), json!({}), json!({"description":"d"})),
        ("roles", json!({"role":"r"}), json!({"base":"app","acl":acl}), json!({"description":"d"})),
        (
            "bridges",
            json!({"bridge":"b"}),
            json!({"remote":remote,"rules":rules}),
            json!({"hops_max":2}),
        ),
        ("drivers", json!({"driver":"d"}), json!({"config":config}), json!({"config":config})),
        ("groups", json!({"group":"g"}), json!({}), json!({"description":"d"})),
        ("enrolments", json!({"enrolment":"e"}), json!({}), json!({"description":"d"})),
        ("things", json!({"thing":"t"}), json!({}), json!({"tags":["a"]})),
    ];
    let with = |one: &Json, other: &Json, revision: Option<u64>| {
        let mut all = one.as_object().unwrap().clone();
        all.extend(other.as_object().unwrap().clone());
        all.extend(revision.map(|it| ("revision".to_owned(), json!(it))));
        Json::Object(all)
    };
    for (resource, key, made_with, change) in cases {
        let ask = |verb: &str| format!("{resource}/{verb}");
        app.done(&ask("create"), with(&key, &made_with, None)).await;
        let shown = app.done(&ask("get"), key.clone()).await;
        assert_eq!(shown["revision"], json!(1), "{resource}: {shown}");
        app.done(&ask("update"), with(&key, &change, Some(1))).await;
        let refused = app.refused(&ask("update"), with(&key, &change, Some(1))).await;
        assert_eq!(
            (&refused["code"], &refused["field"]),
            (&json!("version_conflict"), &json!("revision")),
            "{resource}: {refused}"
        );
        app.done(&ask("update"), with(&key, &change, None)).await;
        let shown = app.done(&ask("get"), key).await;
        assert_eq!(shown["revision"], json!(3), "{resource}: {shown}");
    }
    node.stop().await;
}
