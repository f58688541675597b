//! Commands over the bus: the way there and back, deadlines, waiting, repetition, refusals, restarts.

use crate::world::{Node, Peer, START_MS, World, pass, until};
use serde_json::{Value as Json, json};

const INVOKE: &str = "things/p1/commands/run/invoke";
const REQUEST: &str = "things/p1/commands/run/request";
const RESPONSE: &str = "things/p1/commands/run/response";
const RESULT: &str = "things/p1/commands/run/result";

/// A thing, and an app that hears all results of its commands.
async fn scene(world: &World) -> (Node, Peer) {
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("things/+/commands/+/result");
    (node, app)
}

/// The device, listening to its commands, and what the broker says of that.
async fn listening(node: &Node) -> Peer {
    let device = node.device("p1");
    device.subscribe("things/p1/commands/+/request");
    let event = json!({ "identity": {"thing": "p1"}, "connection": 1 });
    node.peer("events").publish("events/clients/listening", &event.to_string());
    device
}

fn statuses(heard: &[(String, Json)]) -> Vec<String> {
    let show = |(_, result): &(String, Json)| {
        format!("{} {}", result["id"].as_str().unwrap(), result["status"].as_str().unwrap())
    };
    heard.iter().map(show).collect()
}

#[tokio::test(start_paused = true)]
async fn a_command_goes_to_the_device_and_its_result_to_all_and_to_who_asked() {
    let (node, mut app) = scene(&World::new()).await;
    let mut device = listening(&node).await;
    let mut asker = node.peer("asker");
    asker.subscribe("apps/asker");
    asker.ask(INVOKE, r#"{"id":"c1","input":{"speed":3},"timeout_ms":5000}"#, "apps/asker", "7");
    let deadline = START_MS + 5000;
    assert_eq!(
        device.expect(REQUEST).await,
        json!({ "id": "c1", "input": {"speed": 3}, "deadline": deadline })
    );
    device.publish(RESPONSE, r#"{"id":"c1","status":"ok","output":{"was":2}}"#);
    let result = json!({ "id": "c1", "status": "succeeded", "output": {"was": 2}, "t": START_MS });
    assert_eq!(app.expect(RESULT).await, result);
    let (correlation, reply) = asker.next_correlated().await;
    assert_eq!((correlation.as_ref(), &reply), (b"7".as_slice(), &result));

    app.publish(INVOKE, r#"{"id":"c2"}"#);
    assert_eq!(device.expect(REQUEST).await["input"], Json::Null);
    device.publish(RESPONSE, r#"{"id":"c2","status":"failed","error":"jammed"}"#);
    let failed = app.expect(RESULT).await;
    assert_eq!((&failed["status"], &failed["error"]), (&json!("failed"), &json!("jammed")));
    until("all is counted", || node.figures().commands_failed == 1).await;
    let figures = node.figures();
    assert_eq!((figures.commands_taken, figures.commands_sent), (2, 2));
    assert_eq!((figures.commands_succeeded, figures.commands_failed), (1, 1));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_wants_it_is_told_of_each_step() {
    let (node, _app) = scene(&World::new()).await;
    let mut asker = node.peer("asker");
    asker.subscribe("apps/asker");
    asker.ask(INVOKE, r#"{"id":"c1","progress":true}"#, "apps/asker", "1");
    assert_eq!(asker.expect("apps/asker").await["status"], json!("queued"));
    let device = listening(&node).await;
    assert_eq!(asker.expect("apps/asker").await["status"], json!("sent"));
    device.publish(RESPONSE, r#"{"id":"c1","status":"ok"}"#);
    assert_eq!(asker.expect("apps/asker").await["status"], json!("succeeded"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_device_comes_in_order_when_it_listens_also_after_a_restart() {
    let world = World::new();
    let (node, app) = scene(&world).await;
    for id in ["z", "b", "a"] {
        app.publish(INVOKE, &json!({ "id": id, "timeout_ms": 60_000 }).to_string());
    }
    app.publish(INVOKE, r#"{"id":"now","queue":false}"#);
    until("they are taken", || node.figures().commands_taken == 3).await;
    until("it is rejected", || node.figures().commands_rejected == 1).await;
    drop((node, app));

    let node = world.start().await;
    let mut app = node.peer("app");
    app.subscribe("things/+/commands/+/result");
    let mut device = listening(&node).await;
    for id in ["z", "b", "a"] {
        assert_eq!(device.expect(REQUEST).await["id"], json!(id));
    }
    for id in ["a", "b", "z"] {
        device.publish(RESPONSE, &json!({ "id": id, "status": "ok" }).to_string());
    }
    let heard = app.within(100).await;
    assert_eq!(statuses(&heard), ["a succeeded", "b succeeded", "z succeeded"]);
    // Handed over once, whoever comes and listens again.
    let mut again = listening(&node).await;
    assert_eq!(again.within(100).await, []);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_device_keeps_its_deadlines() {
    let mut world = World::new();
    world.settings.device_idle_ms = 50;
    let (node, mut app) = scene(&world).await;
    let mut device = node.device("p1");
    app.publish(INVOKE, r#"{"id":"unheard","timeout_ms":5000}"#);
    device.subscribe("things/p1/commands/#");
    pass(1).await;
    app.publish(INVOKE, r#"{"id":"heard","timeout_ms":2000}"#);
    assert_eq!(device.wait_for(REQUEST).await["id"], json!("unheard"));
    app.publish("things/p1/commands/stop/invoke", r#"{"id":"later","timeout_ms":9000}"#);
    until("it sleeps", || node.figures().devices_awake == 0).await;
    let first = app.expect(RESULT).await;
    assert_eq!((&first["id"], &first["status"]), (&json!("heard"), &json!("timed_out")));
    assert_eq!(first["error"]["code"], json!("timed_out"));
    assert!((START_MS + 2000..START_MS + 2100).contains(&first["t"].as_u64().unwrap()), "{first}");
    assert_eq!(app.expect(RESULT).await["id"], json!("unheard"));
    assert_eq!(app.expect("things/p1/commands/stop/result").await["id"], json!("later"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deadlines_that_pass_while_the_node_is_down_count() {
    let world = World::new();
    let (node, app) = scene(&world).await;
    app.publish(INVOKE, r#"{"id":"a","timeout_ms":1000}"#);
    app.publish(INVOKE, r#"{"id":"b","timeout_ms":60000}"#);
    until("they are taken", || node.figures().commands_taken == 2).await;
    drop(app);
    node.stop().await;
    pass(2000).await;
    let node = world.start().await;
    let mut app = node.peer("app");
    until("it ended", || node.figures().commands_expired == 1).await;
    let shown = app.done("commands/get", json!({ "thing": "p1", "id": "a" })).await;
    assert_eq!((&shown["state"], &shown["sent"]), (&json!("expired"), &Json::Null));
    assert_eq!(shown["error"]["code"], json!("unavailable"));
    let shown = app.done("commands/get", json!({ "thing": "p1", "id": "b" })).await;
    assert_eq!(shown["state"], json!("queued"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_id_is_done_once_and_answered_each_time() {
    let world = World::new();
    let (node, mut app) = scene(&world).await;
    let mut device = listening(&node).await;
    let mut asker = node.peer("asker");
    asker.subscribe("apps/#");
    asker.ask(INVOKE, r#"{"id":"c1"}"#, "apps/1", "1");
    device.expect(REQUEST).await;
    asker.ask(INVOKE, r#"{"id":"c1"}"#, "apps/2", "2");
    assert_eq!(asker.expect("apps/2").await["status"], json!("sent"));
    device.publish(RESPONSE, r#"{"id":"c1","status":"ok","output":1}"#);
    // To who asked last.
    assert_eq!(asker.expect("apps/2").await["status"], json!("succeeded"));
    app.expect(RESULT).await;
    asker.ask(INVOKE, r#"{"id":"c1"}"#, "apps/3", "3");
    assert_eq!(asker.expect("apps/3").await["output"], json!(1));
    assert_eq!(app.within(100).await, []);
    drop((node, app, device, asker));

    let node = world.start().await;
    let mut app = node.peer("app");
    app.subscribe(RESULT);
    let mut device = listening(&node).await;
    // Without a response topic the answer is where all were told.
    app.publish(INVOKE, r#"{"id":"c1"}"#);
    assert_eq!(app.expect(RESULT).await["output"], json!(1));
    assert_eq!(device.within(100).await, []);
    assert_eq!(node.figures().commands_repeated, 1);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn bad_invocations_are_told_why_and_change_nothing() {
    let mut world = World::new();
    world.settings.command_bytes_max = 300;
    world.settings.commands_open_max = 2;
    let (node, mut app) = scene(&world).await;
    let large = json!({ "id": "c", "input": "x".repeat(300) }).to_string();
    let cases = [
        ("no json", "bad_request", None),
        ("{}", "bad_request", Some("id")),
        (r#"{"id":"c","timeout_ms":0}"#, "invalid", Some("timeout_ms")),
        (r#"{"id":"c","progress":true}"#, "invalid", Some("progress")),
        (r#"{"id":"c","what":1}"#, "bad_request", Some("what")),
        (&large, "too_large", None),
    ];
    let count = cases.len() as u64;
    for (payload, code, field) in cases {
        app.publish(INVOKE, payload);
        let refused = app.expect(RESULT).await;
        assert_eq!(refused["status"], json!("rejected"), "{payload}");
        assert_eq!(refused["error"]["code"], json!(code), "{payload}: {refused}");
        assert_eq!(refused["error"]["field"], json!(field), "{payload}: {refused}");
    }
    until("all are counted", || node.figures().commands_refused == count).await;
    let listed = app.done("commands/list", json!({})).await;
    assert_eq!(listed["items"], json!([]));

    // Nobody is there, or too many are: this is an end, and it is remembered.
    app.publish(INVOKE, r#"{"id":"now","queue":false}"#);
    assert_eq!(app.expect(RESULT).await["error"]["code"], json!("unavailable"));
    for id in ["a", "b", "c"] {
        app.publish(INVOKE, &json!({ "id": id }).to_string());
    }
    let full = app.expect(RESULT).await;
    assert_eq!((&full["id"], &full["error"]["code"]), (&json!("c"), &json!("too_many_requests")));
    app.publish("things/p1/commands/stop/invoke", r#"{"id":"a"}"#);
    let taken = app.expect("things/p1/commands/stop/result").await;
    assert_eq!(taken["error"]["code"], json!("already_exists"));
    app.publish("things/ghost/commands/run/invoke", r#"{"id":"a"}"#);
    let nobody = app.expect("things/ghost/commands/run/result").await;
    assert_eq!((&nobody["id"], &nobody["error"]["code"]), (&json!("a"), &json!("not_found")));
    until("these as well", || node.figures().commands_refused == count + 2).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn responses_that_nothing_waits_for_are_told_and_change_nothing() {
    let (node, mut app) = scene(&World::new()).await;
    app.thing("p2").await;
    app.subscribe("events/rejected/p1");
    let (mut device, other) = (listening(&node).await, node.device("p2"));
    let told = "events/rejected/p1";
    device.publish(RESPONSE, r#"{"id":"ghost","status":"ok"}"#);
    assert_eq!(app.expect(told).await["code"], json!("not_found"));
    app.publish(INVOKE, r#"{"id":"c1"}"#);
    device.expect(REQUEST).await;
    let ok = r#"{"id":"c1","status":"ok"}"#;
    for impostor in [&other, &app] {
        impostor.publish(RESPONSE, ok);
    }
    for _ in 0..2 {
        assert_eq!(app.expect(told).await["code"], json!("forbidden"));
    }
    device.publish("things/p1/commands/stop/response", ok);
    assert_eq!(app.expect(told).await["code"], json!("not_found"));
    device.publish(RESPONSE, r#"{"id":"c1","status":"perhaps"}"#);
    let odd = app.expect(told).await;
    assert_eq!((&odd["code"], &odd["field"]), (&json!("bad_request"), &json!("status")));
    device.publish(RESPONSE, ok);
    assert_eq!(app.expect(RESULT).await["status"], json!("succeeded"));
    device.publish(RESPONSE, r#"{"id":"c1","status":"failed"}"#);
    assert_eq!(app.expect(told).await["code"], json!("invalid"));
    app.publish(INVOKE, r#"{"id":"c2","timeout_ms":100}"#);
    assert_eq!(app.expect(RESULT).await["status"], json!("timed_out"));
    device.publish(RESPONSE, r#"{"id":"c2","status":"ok"}"#);
    assert_eq!(app.expect(told).await["code"], json!("invalid"));
    until("all are counted", || node.figures().command_responses_ignored == 7).await;
    assert_eq!(node.figures().commands_succeeded, 1);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_actor_that_failed_goes_on_with_its_commands() {
    let world = World::new();
    let (node, mut app) = scene(&world).await;
    app.publish(INVOKE, r#"{"id":"a","timeout_ms":3000}"#);
    until("it is taken", || node.figures().commands_taken == 1).await;
    // It fails just when it hears that the device listens.
    world.clock.panic_once();
    let mut device = listening(&node).await;
    until("it failed", || node.figures().restarts == 1).await;
    assert_eq!(device.expect(REQUEST).await["id"], json!("a"));
    assert_eq!(app.expect(RESULT).await["status"], json!("timed_out"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thing_that_is_deleted_ends_its_commands() {
    let (node, mut app) = scene(&World::new()).await;
    app.publish(INVOKE, r#"{"id":"a"}"#);
    app.publish(INVOKE, r#"{"id":"now","queue":false}"#);
    app.expect(RESULT).await;
    app.done("things/delete", json!({ "thing": "p1" })).await;
    app.thing("p1").await;
    assert_eq!(app.done("commands/list", json!({})).await["items"], json!([]));
    until("both are counted", || node.figures().commands_rejected == 2).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn operators_ask_look_and_take_back() {
    let (node, mut app) = scene(&World::new()).await;
    let mut ops = node.peer("ops");
    let asked = json!({ "thing": "p1", "name": "run", "id": "a", "input": 5, "request_id": "r" });
    let created = ops.done("commands/create", asked.clone()).await;
    assert_eq!(created["deadline"], json!(START_MS + 30_000));
    assert_eq!(ops.done("commands/create", asked).await, created);
    let made = ops.done("commands/create", json!({ "thing": "p1", "name": "run" })).await;
    let made = made["id"].as_str().unwrap().to_owned();
    let one = json!({ "thing": "p1", "id": "a" });
    assert_eq!(ops.done("commands/get", one.clone()).await["state"], json!("queued"));
    ops.done("commands/cancel", one.clone()).await;
    let result = app.expect(RESULT).await;
    assert_eq!(
        (&result["status"], &result["error"]["message"]),
        (&json!("rejected"), &json!("cancelled"))
    );
    assert_eq!(ops.refused("commands/cancel", one).await["code"], json!("invalid"));
    let device = listening(&node).await;
    device.publish(RESPONSE, &json!({ "id": made, "status": "ok" }).to_string());
    app.expect(RESULT).await;
    app.publish(INVOKE, r#"{"id":"c"}"#);
    until("it is sent", || node.figures().commands_sent == 2).await;

    let states = |page: &Json| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|it| it["state"].to_string()).collect()
    };
    let first = ops.done("commands/list", json!({ "thing": "p1" })).await;
    assert_eq!(states(&first), [r#""sent""#]);
    let next = json!({ "cursor": first["next_cursor"], "limit": 1 });
    let second = ops.done("commands/list", next).await;
    let next = json!({ "cursor": second["next_cursor"], "limit": 1 });
    let third = ops.done("commands/list", next).await;
    let mut ended = [states(&second), states(&third)].concat();
    ended.sort_unstable();
    assert_eq!(ended, [r#""rejected""#, r#""succeeded""#]);
    let rejected = ops.done("commands/list", json!({ "state": "rejected" })).await;
    assert_eq!(rejected["items"][0]["id"], json!("a"));

    for (verb, body, code, field) in [
        ("create", json!({ "name": "run" }), "bad_request", "thing"),
        ("create", json!({ "thing": "x", "name": "run" }), "not_found", "thing"),
        ("create", json!({ "thing": "p1", "name": "stop", "id": "a" }), "already_exists", "id"),
        ("create", json!({ "things": [], "name": "run" }), "invalid", "things"),
        ("create", json!({ "things": ["p1", "x"], "name": "run" }), "not_found", "things[1]"),
        ("create", json!({ "things": ["p1", "p1"], "name": "run" }), "invalid", "things[1]"),
        (
            "create",
            json!({ "thing": "p1", "name": "run", "timeout_ms": 0 }),
            "invalid",
            "timeout_ms",
        ),
        ("get", json!({ "thing": "p1", "id": "ghost" }), "not_found", "id"),
        ("get", json!({ "id": "ghost" }), "not_found", "id"),
        ("cancel", json!({ "id": "ghost" }), "not_found", "id"),
        ("cancel", json!({ "thing": "p1", "id": "ghost" }), "not_found", "id"),
        ("list", json!({ "cursor": "x" }), "invalid", "cursor"),
    ] {
        let refusal = ops.refused(&format!("commands/{verb}"), body.clone()).await;
        assert_eq!(refusal["code"], json!(code), "{verb} {body}: {refusal}");
        assert_eq!(refusal["field"], json!(field), "{verb} {body}: {refusal}");
    }
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_has_one_result_for_each_thing() {
    let world = World::new();
    let (node, mut app) = scene(&world).await;
    for thing in ["p2", "p3"] {
        app.thing(thing).await;
    }
    let mut ops = node.peer("ops");
    let mut device = listening(&node).await;
    let things = ["p1", "p2", "p3"];
    let asked = json!({ "things": things, "name": "run", "id": "all", "timeout_ms": 60_000 });
    ops.done("commands/create", asked.clone()).await;
    device.expect(REQUEST).await;
    device.publish(RESPONSE, r#"{"id":"all","status":"ok","output":1}"#);
    app.expect(RESULT).await;
    ops.done("commands/create", asked).await;
    ops.done("things/delete", json!({ "thing": "p3" })).await;
    let shown = ops.done("commands/get", json!({ "id": "all" })).await;
    assert_eq!(shown["progress"], json!({ "succeeded": 1, "queued": 1, "rejected": 1 }));
    assert_eq!(shown["results"]["items"][0]["output"], json!(1));
    drop((node, app, ops, device));

    let node = world.start().await;
    let (mut app, mut ops) = (node.peer("app"), node.peer("ops"));
    app.subscribe("things/+/commands/+/result");
    let shown = ops.done("commands/get", json!({ "id": "all", "filter": "p2" })).await;
    assert_eq!(shown["results"]["items"][0]["state"], json!("queued"));
    ops.done("commands/cancel", json!({ "id": "all" })).await;
    let heard = app.expect("things/p2/commands/run/result").await;
    assert_eq!(heard["error"]["message"], json!("cancelled"));
    let shown = ops.done("commands/get", json!({ "id": "all" })).await;
    assert_eq!(shown["progress"], json!({ "succeeded": 1, "rejected": 2 }));
    let listed = ops.done("commands/list", json!({ "broadcasts": true })).await;
    assert_eq!(listed["items"][0]["cancelled"], json!(true));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_to_a_group_is_for_who_is_in_it_at_that_moment() {
    let world = World::new();
    let (node, mut app) = scene(&world).await;
    let mut ops = node.peer("ops");
    for thing in ["p2", "press1"] {
        app.thing(thing).await;
    }
    ops.done("groups/create", json!({ "group": "line" })).await;
    let ask = |group: &str, id: &str| json!({ "group": group, "name": "run", "id": id });
    let refused = ops.refused("commands/create", ask("line", "a")).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid"), &json!("group")));
    let refused = ops.refused("commands/create", ask("none", "a")).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("group")));
    let both = json!({ "group": "line", "thing": "p1", "name": "run" });
    assert_eq!(ops.refused("commands/create", both).await["code"], json!("bad_request"));

    ops.done("groups/add", json!({ "group": "line", "things": ["p1", "press1"] })).await;
    let pumps = json!({ "group": "pumps", "query": { "name_prefix": "p", "name_contains": "2" } });
    ops.done("groups/create", pumps).await;
    let members = |shown: &Json| -> Vec<String> {
        let items = shown["results"]["items"].as_array().unwrap();
        items.iter().map(|it| it["thing"].as_str().unwrap().to_owned()).collect()
    };
    for (group, id, expected) in [("line", "a", vec!["p1", "press1"]), ("pumps", "b", vec!["p2"])] {
        ops.done("commands/create", ask(group, id)).await;
        let shown = ops.done("commands/get", json!({ "id": id })).await;
        assert_eq!(members(&shown), expected, "{shown}");
    }
    ops.done("groups/remove", json!({ "group": "line", "things": ["p1"] })).await;
    ops.done("commands/create", ask("line", "a")).await;
    let shown = ops.done("commands/get", json!({ "id": "a" })).await;
    assert_eq!(members(&shown), ["p1", "press1"], "the same id again does nothing");
    node.stop().await;
}
