//! Drivers from the admin API to the bus and the machine, and every way a machine can fail.

use crate::world::{Node, Peer, START_MS, World, pass, until};
use proto::Datum;
use serde_json::{Value as Json, json};

const PLC: &str = "plc1:502";
const LEVEL: &str = "uns/acme/tank/_raw/level";
const VALVE: &str = "uns/acme/tank/_raw/valve";
const STATUS: &str = "edges/local/drivers/plc/status";

fn tag(name: &str, address: &str, access: &str) -> Json {
    json!({"tag":name,"address":address,"type":"uint16","access":access,
        "path":format!("acme/tank/_raw/{name}"),"poll_interval_ms":1000})
}

/// A node with one driver and two tags, `level` and the writable `valve`.
async fn plant(world: &World) -> (Node, Peer) {
    let node = world.start().await;
    let mut app = node.peer("app");
    world.machines.set(PLC, "holding:0", Datum::Int(40));
    world.machines.set(PLC, "holding:1", Datum::Int(0));
    let config = json!({"protocol":"modbus_tcp","address":PLC});
    app.done("drivers/create", json!({"driver":"plc","config":config})).await;
    let tags = [tag("level", "holding:0", "read"), tag("valve", "holding:1", "read_write")];
    app.done("tags/create", json!({"driver":"plc","tags":tags})).await;
    app.subscribe("uns/#");
    (node, app)
}

/// Waits until a value is retained that is `q` and `v`.
async fn settled(app: &Peer, topic: &str, v: i64, q: &str) {
    until(&format!("{topic} is {v} and {q}"), || {
        app.retained(topic).is_some_and(|it| it["v"] == json!(v) && it["q"] == json!(q))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn values_are_published_when_they_change_and_all_of_one_poll_at_once() {
    let world = World::new();
    let (node, mut app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    settled(&app, VALVE, 0, "good").await;
    app.within(10).await;
    let commits = world.store.figures().commits;
    world.machines.set(PLC, "holding:0", Datum::Int(41));
    world.machines.set(PLC, "holding:1", Datum::Int(1));
    let heard = app.within(1500).await;
    let topics: Vec<&str> = heard.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, [LEVEL, VALVE]);
    assert_eq!(world.store.figures().commits - commits, 1);
    assert_eq!(app.within(5000).await, [], "nothing changes, nothing is said");
    let status = app.retained(STATUS).unwrap();
    assert_eq!((&status["state"], &status["points"]["good"]), (&json!("running"), &json!(2)));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_machine_turns_values_stale_within_two_intervals_and_good_when_it_is_back() {
    let world = World::new();
    let (node, mut app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    pass(10_000).await;
    app.within(10).await;
    world.machines.at(PLC, |machine| machine.is_lost = true);
    let heard = app.within(2000).await;
    assert_eq!(heard.len(), 2, "{heard:?}");
    for (topic, value) in &heard {
        assert_eq!(value["q"], json!("stale"), "{topic}");
        let t = value["t"].as_u64().unwrap();
        assert!(t > START_MS + 8000 && t <= START_MS + 10_010, "the last good time, not {t}");
    }
    assert_eq!(app.retained(LEVEL).unwrap()["v"], json!(40));
    let status = app.retained(STATUS).unwrap();
    assert_eq!(status["state"], json!("connecting"));
    assert!(status["reason"].as_str().unwrap().contains("refused"), "{status}");
    assert_eq!(app.within(60_000).await, [], "said once");

    world.machines.at(PLC, |machine| machine.is_lost = false);
    until("it is good again", || app.retained(LEVEL).unwrap()["q"] == json!("good")).await;
    assert_eq!(app.retained(STATUS).unwrap()["state"], json!("running"));
    assert_eq!(node.figures().points_stale, 2);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn values_of_an_earlier_run_turn_stale_if_the_machine_is_not_there() {
    let world = World::new();
    let (node, app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    let before = app.retained(LEVEL).unwrap();
    drop((node, app));
    world.machines.at(PLC, |machine| machine.is_lost = true);
    let node = world.start().await;
    let app = node.peer("app");
    assert_eq!(app.retained(LEVEL).unwrap()["q"], json!("good"));
    pass(2100).await;
    let after = app.retained(LEVEL).unwrap();
    assert_eq!(
        (&after["q"], &after["v"], &after["t"]),
        (&json!("stale"), &before["v"], &before["t"])
    );
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_point_is_bad_and_its_neighbour_good() {
    let world = World::new();
    let (node, app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    world.machines.at(PLC, |machine| machine.refused.insert("holding:0".to_owned()));
    settled(&app, LEVEL, 40, "bad").await;
    assert_eq!(app.retained(VALVE).unwrap()["q"], json!("good"));
    let status = app.retained(STATUS).unwrap();
    assert_eq!(status["state"], json!("degraded"));
    assert!(status["reason"].as_str().unwrap().starts_with("level: "), "{status}");
    world.machines.at(PLC, |machine| machine.refused.clear());
    settled(&app, LEVEL, 40, "good").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn writes_are_answered_by_the_machine_or_refused_at_once() {
    let world = World::new();
    let (node, mut app) = plant(&world).await;
    settled(&app, VALVE, 0, "good").await;
    app.within(10).await;
    let mut other = node.peer("other");
    other.subscribe("test/answers");
    app.ask(&format!("{VALVE}/set"), r#"{"v":1,"id":"w1"}"#, "test/answers", "c");
    let answer = json!({"id":"w1","ok":true,"v":1});
    assert_eq!(app.wait_for(&format!("{VALVE}/set/result")).await, answer);
    assert_eq!(other.next_correlated().await.1, answer);
    // Read back at once, not with the next tick.
    let heard = app.within(20).await;
    assert_eq!(heard.iter().map(|(_, value)| &value["v"]).collect::<Vec<_>>(), [&json!(1)]);

    app.publish(&format!("{VALVE}/set"), r#"{"value":1,"id":"w2"}"#);
    let refused = app.wait_for(&format!("{VALVE}/set/result")).await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("w2"), &json!("bad_request")));

    world.machines.at(PLC, |machine| machine.is_lost = true);
    until("it is lost", || node.figures().drivers_connected == 0).await;
    app.within(10).await;
    app.publish(&format!("{VALVE}/set"), r#"{"v":2,"id":"w3"}"#);
    let refused = app.expect(&format!("{VALVE}/set/result")).await;
    assert_eq!((&refused["ok"], &refused["error"]["code"]), (&json!(false), &json!("unavailable")));
    world.machines.at(PLC, |machine| machine.is_lost = false);
    until("it is back", || node.figures().drivers_connected == 1).await;
    pass(5000).await;
    assert_eq!(app.retained(VALVE).unwrap()["v"], json!(1), "a refused write is never done later");
    assert_eq!((node.figures().writes_done, node.figures().writes_refused), (1, 2));
    assert_eq!(app.retained(&format!("{VALVE}/set/result")), None);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn writes_go_before_polls_and_too_many_are_refused() {
    let mut world = World::new();
    world.settings.writes_max = 2;
    let (node, mut app) = plant(&world).await;
    settled(&app, VALVE, 0, "good").await;
    world.machines.at(PLC, |machine| machine.read_ms = 300);
    until("a read is under way", || {
        world.machines.at(PLC, |machine| {
            machine.log.last().is_some_and(|last| last == "read holding:0 holding:1")
        })
    })
    .await;
    world.machines.at(PLC, |machine| machine.log.clear());
    pass(900).await;
    for number in 0..4 {
        app.publish(&format!("{VALVE}/set"), &json!({"v":number,"id":number}).to_string());
    }
    app.subscribe(&format!("{VALVE}/set/result"));
    let result = format!("{VALVE}/set/result");
    let mut answers = Vec::new();
    for _ in 0..4 {
        let answer = app.wait_for(&result).await;
        answers.push((answer["id"].as_u64().unwrap(), answer["ok"].as_bool().unwrap()));
    }
    answers.sort_unstable();
    let refused = answers.iter().filter(|(_, ok)| !ok).count();
    assert!((1..=2).contains(&refused), "{answers:?}");
    let log = world.machines.at(PLC, |machine| machine.log.clone());
    let first_write = log.iter().position(|it| it.starts_with("write")).unwrap();
    assert!(log[first_write + 1].starts_with("write"), "no poll between writes: {log:?}");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hung_machine_blocks_nobody() {
    let mut world = World::new();
    world.settings.driver_deadline_ms = 5000;
    let (node, mut app) = plant(&world).await;
    let config = json!({"protocol":"modbus_tcp","address":"plc2:502"});
    world.machines.set("plc2:502", "holding:0", Datum::Int(1));
    app.done("drivers/create", json!({"driver":"plc2","config":config})).await;
    let mut other = tag("other", "holding:0", "read_write");
    other["driver"] = json!("plc2");
    app.done("tags/create", other).await;
    let topic = "uns/acme/tank/_raw/other";
    settled(&app, topic, 1, "good").await;
    settled(&app, VALVE, 0, "good").await;

    world.machines.at(PLC, |machine| machine.is_hung = true);
    pass(1500).await;
    app.within(10).await;
    // The write waits behind the poll that hangs; its driver is asked, answered, and moves on.
    app.publish(&format!("{VALVE}/set"), r#"{"v":1,"id":"w"}"#);
    world.machines.set("plc2:502", "holding:0", Datum::Int(2));
    settled(&app, topic, 2, "good").await;
    let answer = app.wait_for(&format!("{VALVE}/set/result")).await;
    assert_eq!(answer["error"]["code"], json!("unavailable"), "{answer}");
    until("stale", || app.retained(LEVEL).unwrap()["q"] == json!("stale")).await;
    world.machines.at(PLC, |machine| machine.is_hung = false);
    settled(&app, LEVEL, 40, "good").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_driver_is_restarted_and_beyond_its_budget_faulted() {
    let mut world = World::new();
    world.settings.restart.restarts_max = 1;
    let (node, app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    world.machines.at(PLC, |machine| machine.panics = true);
    until("it is restarted", || node.figures().restarts == 1).await;
    world.machines.set(PLC, "holding:0", Datum::Int(41));
    settled(&app, LEVEL, 41, "good").await;
    world.machines.at(PLC, |machine| machine.panics = true);
    until("it is given up", || node.figures().quarantined == 1).await;
    let status = app.retained(STATUS).unwrap();
    assert_eq!(status["state"], json!("faulted"));
    assert!(status["reason"].as_str().unwrap().contains("panic"), "{status}");

    // Configured anew it is started at once.
    let mut app = app;
    let config = json!({"protocol":"modbus_tcp","address":PLC,"timeout_ms":500});
    app.done("drivers/update", json!({"driver":"plc","config":config})).await;
    world.machines.set(PLC, "holding:0", Datum::Int(42));
    settled(&app, LEVEL, 42, "good").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn drivers_and_tags_change_while_their_neighbours_run() {
    let world = World::new();
    let (node, mut app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    let config = json!({"protocol":"modbus_tcp","address":"plc2:502"});
    let connects = world.machines.at(PLC, |machine| machine.connects);
    app.done("drivers/create", json!({"driver":"plc2","config":config})).await;
    let mut new = tag("new", "holding:5", "read");
    new["driver"] = json!("plc2");
    world.machines.set("plc2:502", "holding:5", Datum::Int(5));
    app.done("tags/create", new.clone()).await;
    settled(&app, "uns/acme/tank/_raw/new", 5, "good").await;

    let moved = json!({"driver":"plc2","tag":"new","path":"acme/tank/_raw/moved"});
    app.done("tags/update", moved).await;
    settled(&app, "uns/acme/tank/_raw/moved", 5, "good").await;
    assert_eq!(app.retained("uns/acme/tank/_raw/new"), None);

    let got = app.done("tags/get", json!({"driver":"plc2","tag":"new"})).await;
    assert_eq!((&got["path"], &got["value"]["v"]), (&json!("acme/tank/_raw/moved"), &json!(5)));
    app.done("tags/delete", json!({"driver":"plc2","tag":"new"})).await;
    assert_eq!(app.retained("uns/acme/tank/_raw/moved"), None);
    app.done("drivers/delete", json!({"driver":"plc2"})).await;
    assert_eq!(app.retained("edges/local/drivers/plc2/status"), None);
    assert_eq!(world.machines.at(PLC, |machine| machine.connects), connects);
    assert_eq!(app.retained("edges/local/status").unwrap()["drivers"], json!(1));
    assert_eq!(node.figures().drivers, 1);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_says_that_its_drivers_have_stopped() {
    let world = World::new();
    let (node, app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    node.stop().await;
    assert_eq!(app.retained(STATUS).unwrap()["state"], json!("stopped"));
    assert_eq!(app.retained("edges/local/status").unwrap()["online"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn a_disabled_project_reads_no_machine_until_it_is_enabled_also_over_a_restart() {
    let world = World::new();
    let node = world.start().await;
    let mut system = node.peer("system");
    system.done("tenants/create", json!({"tenant":"acme"})).await;
    let project = json!({"tenant":"acme","project":"plant"});
    system.done("projects/create", project).await;
    let namespace = proto::Namespace::parse("acme/plant").unwrap();
    let mut app = node.peer_in(&namespace, "app");
    world.machines.set(PLC, "holding:0", Datum::Int(40));
    let config = json!({"protocol":"modbus_tcp","address":PLC});
    app.done("drivers/create", json!({"driver":"plc","config":config})).await;
    app.done("tags/create", json!({"driver":"plc","tags":[tag("level", "holding:0", "read")]}))
        .await;
    settled(&app, LEVEL, 40, "good").await;
    let enabled = |is: bool| json!({"tenant":"acme","project":"plant","enabled":is});
    system.done("projects/update", enabled(false)).await;
    until("the driver has stopped", || {
        app.retained(STATUS).is_some_and(|it| it["state"] == json!("stopped"))
    })
    .await;
    world.machines.set(PLC, "holding:0", Datum::Int(41));
    pass(10_000).await;
    assert_eq!(app.retained(LEVEL).unwrap()["v"], json!(40), "nobody has read it");
    drop((app, system));
    node.stop().await;

    let node = world.start().await;
    let (mut system, app) = (node.peer("system"), node.peer_in(&namespace, "app"));
    pass(10_000).await;
    assert_eq!(app.retained(LEVEL).unwrap()["v"], json!(40), "nobody reads it after a restart");
    system.done("projects/update", enabled(true)).await;
    settled(&app, LEVEL, 41, "good").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_reads_writes_and_browses_a_machine_that_runs() {
    let world = World::new();
    let (node, app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    let mut operator = node.peer("operator");
    world.machines.set(PLC, "holding:0", Datum::Int(77));
    let read = operator.done("tags/read", json!({"driver":"plc","tags":["valve","level"]})).await;
    assert_eq!(
        read["values"],
        json!([{"tag":"valve","v":0,"q":"good"},{"tag":"level","v":77,"q":"good"}])
    );
    settled(&app, LEVEL, 77, "good").await;

    let written = json!({"driver":"plc","tag":"valve","v":5,"verify":true});
    let done = operator.done("tags/write", written).await;
    assert_eq!(done, json!({"driver":"plc","tag":"valve","v":5}));
    settled(&app, VALVE, 5, "good").await;
    let many = json!({"driver":"plc","values":{"valve":6,"none":1}});
    let done = operator.done("tags/write", many).await;
    assert_eq!((&done["written"], &done["failed"]), (&json!(1), &json!(1)), "{done}");
    let of = |tag: &str| {
        done["results"].as_array().unwrap().iter().find(|it| it["tag"] == tag).cloned().unwrap()
    };
    assert_eq!(of("valve"), json!({"tag":"valve","ok":true,"v":6}));
    assert_eq!(of("none")["error"]["code"], json!("not_found"));

    let found = operator.done("drivers/browse", json!({"driver":"plc","limit":1})).await;
    assert_eq!(found["items"][0]["address"], json!("holding:0"));
    let told = operator.done("drivers/test", json!({"driver":"plc"})).await;
    assert_eq!(told["identity"], json!({"maker":"Acme"}));
    let proposed = json!({"config":{"protocol":"modbus_tcp","address":"plc2:502"}});
    let told = operator.done("drivers/test", proposed).await;
    assert_eq!((&told["connected"], &told["identity"]["maker"]), (&json!(true), &json!("Acme")));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_of_a_machine_is_refused_with_a_code() {
    let world = World::new();
    let (node, mut app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    let mut operator = node.peer("operator");
    for (operation, body, code, field) in [
        ("tags/read", json!({"driver":"none","tag":"level"}), "not_found", "driver"),
        ("tags/read", json!({"driver":"plc","tag":"none"}), "not_found", "tag"),
        ("tags/read", json!({"driver":"plc","tags":[]}), "invalid", "tags"),
        ("tags/read", json!({"driver":"plc","tag":"level","x":1}), "bad_request", "x"),
        ("tags/write", json!({"driver":"plc","tag":"none","v":1}), "not_found", "tag"),
        ("tags/write", json!({"driver":"plc","tag":"valve","v":null}), "invalid", "v"),
        ("tags/write", json!({"driver":"plc","values":{"valve":null}}), "invalid", "values.valve"),
        ("tags/write", json!({"driver":"plc","values":{}}), "invalid", "values"),
        ("drivers/browse", json!({"driver":"plc","limit":1001}), "invalid", "limit"),
        ("drivers/test", json!({"driver":"none"}), "not_found", "driver"),
        ("drivers/test", json!({}), "bad_request", "driver"),
        (
            "drivers/test",
            json!({"config":{"protocol":"modbus_tcp","address":"plc"}}),
            "invalid",
            "config.address",
        ),
    ] {
        let refusal = operator.refused(operation, body.clone()).await;
        assert_eq!(refusal["code"], json!(code), "{operation} {body}: {refusal}");
        assert_eq!(refusal["field"], json!(field), "{operation} {body}: {refusal}");
    }
    world.machines.at(PLC, |machine| machine.is_lost = true);
    settled(&app, LEVEL, 40, "stale").await;
    for (operation, body) in [
        ("tags/read", json!({"driver":"plc","tag":"level"})),
        ("tags/write", json!({"driver":"plc","tag":"valve","v":1})),
        ("drivers/browse", json!({"driver":"plc"})),
        ("drivers/test", json!({"driver":"plc"})),
        ("drivers/test", json!({"config":{"protocol":"modbus_tcp","address":PLC}})),
    ] {
        let refusal = operator.refused(operation, body).await;
        assert_eq!(refusal["code"], json!("unavailable"), "{operation}: {refusal}");
    }
    let writes =
        world.machines.at(PLC, |it| it.log.iter().filter(|it| it.starts_with("write")).count());
    assert_eq!(writes, 0, "nothing that was refused has reached the machine");
    app.within(1).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_machine_holds_up_no_other_request_and_a_write_is_done_once() {
    let world = World::new();
    let (node, app) = plant(&world).await;
    settled(&app, LEVEL, 40, "good").await;
    world.machines.at(PLC, |machine| machine.read_ms = 3000);
    let slow = node.peer("slow");
    let write = json!({"driver":"plc","tag":"valve","v":9,"request_id":"w1"}).to_string();
    slow.publish("admin/tags/write/1", &write);
    slow.publish("admin/tags/write/2", &write);
    let mut other = node.peer("other");
    other.done("drivers/list", json!({})).await;
    assert!(app.retained(VALVE).is_some_and(|it| it["v"] == json!(0)), "not written yet");
    settled(&app, VALVE, 9, "good").await;
    let writes =
        world.machines.at(PLC, |it| it.log.iter().filter(|it| it.starts_with("write")).count());
    assert_eq!(writes, 1);
    let again = json!({"driver":"plc","tag":"valve","v":9,"request_id":"w1"});
    let mut slow = slow;
    let told = slow.done("tags/write", again).await;
    assert_eq!(told["v"], json!(9), "told again, and not done again");
    let writes =
        world.machines.at(PLC, |it| it.log.iter().filter(|it| it.starts_with("write")).count());
    assert_eq!(writes, 1);

    let mut operator = node.peer("auditor");
    let records = operator.done("audit/list", json!({"action":"tags write"})).await;
    let outcomes: Vec<&str> = records["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["outcome"].as_str().unwrap())
        .collect();
    assert!(outcomes.contains(&"begun") && outcomes.contains(&"ok"), "{records}");
    node.stop().await;
}
