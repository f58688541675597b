//! Shadows over the bus: answers, roots, response topics, refusals, and a restart.

use crate::world::{START_MS, World};
use broker::Outgoing;
use proto::TopicName;
use serde_json::{Value as Json, json};

const SECS: u64 = START_MS / 1000;

#[tokio::test(start_paused = true)]
async fn an_update_is_answered_with_accepted_delta_and_documents() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("things/p1/shadow/#");
    app.publish(
        "things/p1/shadow/update",
        r#"{"state":{"desired":{"on":true}},"clientToken":"t"}"#,
    );
    assert_eq!(
        app.expect("things/p1/shadow/update/accepted").await,
        json!({"state":{"desired":{"on":true}},"metadata":{"desired":{"on":{"timestamp":SECS}}},
            "version":1,"timestamp":SECS,"clientToken":"t"})
    );
    let delta = app.expect("things/p1/shadow/update/delta").await;
    assert_eq!((&delta["state"], &delta["version"]), (&json!({"on":true}), &json!(1)));
    let documents = app.expect("things/p1/shadow/update/documents").await;
    assert_eq!(documents["current"]["state"], json!({"desired":{"on":true}}));

    app.publish("things/p1/shadow/update", r#"{"state":{"reported":{"on":true}}}"#);
    app.expect("things/p1/shadow/update/accepted").await;
    app.expect("things/p1/shadow/update/documents").await;

    app.publish("things/p1/shadow/get", "");
    let got = app.expect("things/p1/shadow/get/accepted").await;
    assert_eq!(got["state"], json!({"desired":{"on":true},"reported":{"on":true}}));
    assert_eq!(got["version"], json!(2));

    app.publish("things/p1/shadow/delete", "");
    assert_eq!(
        app.expect("things/p1/shadow/delete/accepted").await,
        json!({"version":2,"timestamp":SECS})
    );
    app.publish("things/p1/shadow/get", "");
    assert_eq!(app.expect("things/p1/shadow/get/rejected").await["code"], json!(404));
    assert_eq!(node.figures().shadow_accepted, 4);
    assert_eq!(node.figures().shadow_rejected, 1);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn refusals_say_why_and_change_nothing() {
    let mut world = World::new();
    world.settings.shadow_bytes_max = 300;
    world.settings.shadow_depth_max = 3;
    world.settings.shadows_per_thing_max = 2;
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("things/p1/shadow/#");
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"a":1}}}"#);
    app.wait_for("things/p1/shadow/update/documents").await;
    let large = format!(r#"{{"state":{{"desired":{{"a":"{}"}}}}}}"#, "x".repeat(300));
    let cases = [
        (r#"{"state":{"desired":{"a":2}},"version":7}"#, 409),
        ("no json", 400),
        (r#"{"desired":{"a":2}}"#, 400),
        (r#"{"state":{"wanted":{"a":2}}}"#, 400),
        (r#"{"state":{"desired":{"a":{"b":{"c":{"d":{}}}}}}}"#, 413),
        (&large, 413),
    ];
    for (payload, code) in cases {
        app.publish("things/p1/shadow/update", payload);
        let rejected = app.expect("things/p1/shadow/update/rejected").await;
        assert_eq!(rejected["code"], json!(code), "{payload}: {rejected}");
    }
    app.publish("things/p1/shadow/get", "");
    let got = app.expect("things/p1/shadow/get/accepted").await;
    assert_eq!((&got["state"]["desired"], &got["version"]), (&json!({"a":1}), &json!(1)));

    app.publish("things/p1/shadow/name/n1/update", r#"{"state":{"desired":{"a":1}}}"#);
    app.wait_for("things/p1/shadow/name/n1/update/documents").await;
    app.publish("things/p1/shadow/name/n2/update", r#"{"state":{"desired":{"a":1}}}"#);
    let rejected = app.expect("things/p1/shadow/name/n2/update/rejected").await;
    assert_eq!(rejected["code"], json!(429), "{rejected}");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn answers_go_to_the_root_and_the_response_topic_of_the_request() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("things/p1/shadow/#");
    app.subscribe("$aws/things/p1/shadow/#");
    let mut other = node.peer("other");
    other.subscribe("test/answers");
    app.ask(
        "$aws/things/p1/shadow/name/n/update",
        r#"{"state":{"reported":{"a":1}}}"#,
        "test/answers",
        "c-1",
    );
    app.expect("$aws/things/p1/shadow/name/n/update/accepted").await;
    app.expect("$aws/things/p1/shadow/name/n/update/documents").await;
    let (correlation, answer) = other.next_correlated().await;
    assert_eq!((correlation.as_ref(), &answer["version"]), (&b"c-1"[..], &json!(1)));

    app.ask("things/p1/shadow/get", "", "test/answers", "c-2");
    assert_eq!(app.expect("things/p1/shadow/get/rejected").await["code"], json!(404));
    let (correlation, answer) = other.next_correlated().await;
    assert_eq!((correlation.as_ref(), &answer["code"]), (&b"c-2"[..], &json!(404)));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thing_that_is_not_registered_has_no_shadow() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.subscribe("things/#");
    app.subscribe("events/#");
    app.publish("things/ghost/shadow/update", r#"{"state":{"desired":{"a":1}},"clientToken":"t"}"#);
    let rejected = app.expect("things/ghost/shadow/update/rejected").await;
    assert_eq!((&rejected["code"], &rejected["clientToken"]), (&json!(404), &json!("t")));
    app.publish("things/ghost/telemetry", r#"{"a":1}"#);
    let refused = app.expect("events/rejected/ghost").await;
    assert_eq!(refused["code"], json!("not_found"));
    assert_eq!(node.figures().unregistered, 2);
    assert_eq!(node.figures().devices_woken, 0);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shadow_survives_a_crash_with_its_version() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("things/p1/shadow/#");
    for number in 1..=3 {
        let update = json!({"state":{"desired":{"n":number}}}).to_string();
        app.publish("things/p1/shadow/update", &update);
        app.wait_for("things/p1/shadow/update/documents").await;
    }
    // Not stopped: the next node finds what was committed.
    drop((app, node));
    let node = world.start().await;
    let mut app = node.peer("app");
    app.subscribe("things/p1/shadow/#");
    app.publish("things/p1/shadow/get", "");
    let got = app.expect("things/p1/shadow/get/accepted").await;
    assert_eq!((&got["version"], &got["state"]["delta"]), (&json!(3), &json!({"n":3})));
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"n":4}},"version":3}"#);
    assert_eq!(app.expect("things/p1/shadow/update/accepted").await["version"], json!(4));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_of_qos_0_is_answered_like_any_other() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("things/p1/shadow/update/accepted");
    let topic = TopicName::parse("things/p1/shadow/update").unwrap();
    app.client.publish(Outgoing::new(topic, r#"{"state":{"desired":{"a":1}}}"#));
    assert_eq!(app.expect("things/p1/shadow/update/accepted").await["version"], json!(1));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn operators_see_the_shadows_of_a_thing_and_who_changed_them() {
    let mut world = World::new();
    world.settings.shadow_changes_max = 3;
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    let device = node.device("p1");
    app.subscribe("things/p1/shadow/+/accepted");
    app.subscribe("things/p1/shadow/name/+/+/accepted");
    for v in 1..=4 {
        let update = json!({ "state": { "desired": { "v": v } } }).to_string();
        app.publish("things/p1/shadow/update", &update);
        app.next().await;
    }
    device.publish("things/p1/shadow/update", r#"{"state":{"reported":{"v":4},"desired":null}}"#);
    app.next().await;
    for name in ["config", "config-2", "config0"] {
        app.publish(&format!("things/p1/shadow/name/{name}/update"), r#"{"state":{"desired":{}}}"#);
        app.next().await;
    }
    app.publish("things/p1/shadow/name/config/delete", "");
    app.next().await;

    let listed = app.done("shadows/list", json!({ "thing": "p1" })).await;
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, [&Json::Null, &json!("config-2"), &json!("config0")]);
    let got = app.done("shadows/get", json!({ "thing": "p1" })).await;
    assert_eq!((&got["version"], &got["state"]["reported"]), (&json!(5), &json!({ "v": 4 })));

    let history = app.done("shadows/history", json!({ "thing": "p1" })).await;
    let items = history["items"].as_array().unwrap();
    let versions: Vec<_> = items.iter().map(|it| it["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [5, 4, 3], "the last three, newest first");
    assert_eq!((&items[0]["by"], &items[0]["desired"]), (&json!("thing p1"), &Json::Null));
    assert!(items[0].as_object().unwrap().contains_key("desired"), "it was cleared");
    assert_eq!((&items[1]["client_id"], &items[1]["desired"]), (&json!("app"), &json!({ "v": 4 })));
    let body = json!({ "thing": "p1", "name": "config" });
    let history = app.done("shadows/history", body.clone()).await;
    assert_eq!(history["items"][0]["deleted"], json!(true));
    assert_eq!(app.refused("shadows/get", body).await["field"], json!("name"));
    let refusal = app.refused("shadows/list", json!({ "thing": "ghost" })).await;
    assert_eq!((&refusal["code"], &refusal["field"]), (&json!("not_found"), &json!("thing")));

    app.done("things/delete", json!({ "thing": "p1" })).await;
    app.thing("p1").await;
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"v":9}}}"#);
    app.next().await;
    let history = app.done("shadows/history", json!({ "thing": "p1" })).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 1, "{history}");
    node.stop().await;
}

/// Each comes a little later on the way of an update: before it is decided, while it is committed, or afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_while_an_update_is_kept_hears_all_of_it_or_nothing() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    let update = |n: u32| format!(r#"{{"state":{{"reported":{{"n":{n}}}}}}}"#);
    for round in 0..300_u32 {
        let begun = tokio::time::Instant::now();
        for number in 0..3 {
            app.publish("things/p1/shadow/update", &update(number));
        }
        while begun.elapsed() < std::time::Duration::from_micros(u64::from(round % 60) * 4) {
            std::hint::spin_loop();
        }
        let mut late = node.peer(&format!("late-{round}"));
        late.subscribe("things/p1/shadow/update/documents");
        late.subscribe("things/p1/shadow/update/accepted");
        app.publish("things/p1/shadow/update", &update(1000));
        let (mut accepted, mut told) = (Vec::new(), Vec::new());
        let last = (u64::from(round) + 1) * 4;
        while !told.contains(&last) {
            match late.next().await {
                (topic, it) if topic.ends_with("accepted") => {
                    accepted.push(it["version"].as_u64().unwrap());
                }
                (_, it) => told.push(it["current"]["version"].as_u64().unwrap()),
            }
        }
        assert!(told.is_sorted(), "round {round}: {told:?}");
        accepted.retain(|version| !told.contains(version));
        assert!(accepted.is_empty(), "round {round}: {accepted:?} without documents");
    }
    node.stop().await;
}
