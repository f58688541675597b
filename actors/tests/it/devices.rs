//! Telemetry, events, sleeping and waking.

use crate::world::{START_MS, World, pass, until};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn telemetry_becomes_values_of_the_namespace() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.done("things/create", json!({"thing":"p2","location":"acme/berlin/hall/p2"})).await;
    app.subscribe("uns/#");
    app.publish("things/p1/telemetry", r#"{"motor":{"current":3}}"#);
    assert_eq!(
        app.expect("uns/default/p1/_raw/motor/current").await,
        json!({"v":3,"t":START_MS,"q":"good"})
    );
    app.publish("things/p2/telemetry", r#"{"t":1763668700000,"values":{"on":true}}"#);
    assert_eq!(
        app.expect("uns/acme/berlin/hall/p2/_raw/on").await,
        json!({"v":true,"t":1763668700000_u64,"q":"good"})
    );
    assert_eq!(app.retained("uns/acme/berlin/hall/p2/_raw/on").unwrap()["v"], json!(true));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn backfill_is_published_and_never_replaces_a_newer_value() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("uns/#");
    let topic = "uns/default/p1/_raw/a";
    let backfill = json!([
        {"t": START_MS - 10, "values": {"a": 2}},
        {"t": START_MS - 20, "values": {"a": 1}},
    ]);
    app.publish("things/p1/telemetry", &backfill.to_string());
    assert_eq!(app.expect(topic).await["v"], json!(1));
    assert_eq!(app.expect(topic).await["v"], json!(2));
    assert_eq!(app.retained(topic).unwrap()["v"], json!(2));

    let older = json!({"t": START_MS - 15, "values": {"a": 7}}).to_string();
    app.publish("things/p1/telemetry", &older);
    assert_eq!(app.expect(topic).await["v"], json!(7));
    assert_eq!(app.retained(topic).unwrap()["v"], json!(2));

    // Also when the device knows it from the bus only.
    drop(node);
    let node = world.start().await;
    let mut app = node.peer("app");
    app.subscribe("uns/#");
    app.publish("things/p1/telemetry", &older);
    assert_eq!(app.expect(topic).await["v"], json!(7));
    assert_eq!(app.retained(topic).unwrap()["v"], json!(2));
    assert_eq!(node.figures().telemetry_backfilled, 1);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn bad_telemetry_and_events_are_refused_whole_and_told() {
    let mut world = World::new();
    world.settings.keys_per_thing_max = 2;
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("uns/#");
    app.subscribe("events/rejected/+");
    let cases = [
        ("telemetry", r#"{"a":1,"b":null}"#, "invalid"),
        ("telemetry", "{", "bad_request"),
        ("telemetry", r#"{"a":1,"b":2,"c":3}"#, "quota_exceeded"),
        ("events/overheat", r#"{"level":"loud"}"#, "bad_request"),
    ];
    for (what, payload, code) in cases {
        let topic = format!("things/p1/{what}");
        app.publish(&topic, payload);
        let refused = app.expect("events/rejected/p1").await;
        assert_eq!((&refused["code"], &refused["topic"]), (&json!(code), &json!(topic)));
    }
    assert_eq!(app.retained("uns/default/p1/_raw/a"), None);
    app.publish("things/p1/events/overheat", r#"{"level":"error","data":{"at":90}}"#);
    app.publish("things/p1/telemetry", r#"{"a":1,"b":2}"#);
    app.expect("uns/default/p1/_raw/a").await;
    let figures = node.figures();
    assert_eq!((figures.telemetry_rejected, figures.telemetry_accepted), (3, 1));
    assert_eq!((figures.events_rejected, figures.events_accepted), (1, 1));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_device_sleeps_and_no_message_falls_between() {
    let mut world = World::new();
    world.settings.device_idle_ms = 50;
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("things/p1/shadow/update/accepted");
    let mut sent = 0;
    // Around the moment the device goes to sleep, over and over.
    for pause_ms in (0..110).chain(45..56) {
        pass(pause_ms).await;
        for _ in 0..3 {
            sent += 1;
            let update = json!({"state":{"reported":{"n":sent}}}).to_string();
            app.publish("things/p1/shadow/update", &update);
        }
        for version in sent - 2..=sent {
            let accepted = app.expect("things/p1/shadow/update/accepted").await;
            assert_eq!(accepted["version"], json!(version));
        }
    }
    assert!(node.figures().devices_slept > 10, "{:?}", node.figures());
    until("it sleeps", || node.figures().devices_awake == 0).await;
    assert_eq!(node.figures().devices_woken, node.figures().devices_slept);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_together_are_one_commit_in_their_order() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("uns/#");
    app.subscribe("things/p1/shadow/update/+");
    app.publish("things/p1/telemetry", r#"{"a":0}"#);
    app.expect("uns/default/p1/_raw/a").await;
    let commits = world.store.figures().commits;
    for number in 1..=30 {
        app.publish("things/p1/telemetry", &json!({"a":number}).to_string());
        let update = json!({"state":{"reported":{"n":number}},"version":number - 1}).to_string();
        app.publish("things/p1/shadow/update", &update);
        app.publish("things/p1/shadow/update", &update);
    }
    for number in 1..=30 {
        assert_eq!(app.expect("uns/default/p1/_raw/a").await["v"], json!(number));
        let accepted = app.expect("things/p1/shadow/update/accepted").await;
        assert_eq!(accepted["version"], json!(number));
        app.expect("things/p1/shadow/update/documents").await;
        let rejected = app.expect("things/p1/shadow/update/rejected").await;
        assert_eq!(rejected["code"], json!(409), "a step further down the same batch");
    }
    let commits = world.store.figures().commits - commits;
    assert!((1..=10).contains(&commits), "{commits} commits for 90 messages");
    assert_eq!(app.retained("uns/default/p1/_raw/a").unwrap()["v"], json!(30));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_has_not_happened() {
    let mut world = World::new();
    world.settings.keys_per_thing_max = 2;
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("things/p1/shadow/update/+");
    app.subscribe("events/rejected/p1");
    app.subscribe("uns/#");
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"a":1}}}"#);
    app.wait_for("things/p1/shadow/update/documents").await;
    world.store.close().await.unwrap();
    app.publish("things/p1/shadow/update", r#"{"state":{"desired":{"a":2}},"clientToken":"t"}"#);
    app.publish("things/p1/telemetry", r#"{"a":1,"b":1}"#);
    let heard = app.within(1000).await;
    let topics: Vec<&str> = heard.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["things/p1/shadow/update/rejected", "events/rejected/p1"]);
    assert_eq!((&heard[0].1["code"], &heard[0].1["clientToken"]), (&json!(503), &json!("t")));
    assert_eq!(app.retained("uns/default/p1/_raw/a"), None);
    // The values of before do not count: this one fails for the store only.
    app.publish("things/p1/telemetry", r#"{"c":1}"#);
    assert_eq!(app.expect("events/rejected/p1").await["code"], json!("unavailable"));
    assert_eq!(node.figures().commits_failed, 3);
    assert_eq!((node.figures().shadow_accepted, node.figures().telemetry_accepted), (1, 0));
}
