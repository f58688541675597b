//! `POST /ingest/<topic>`: a device without MQTT hands its messages in.

use manifold_tests::admin::Admin;
use manifold_tests::http::Request;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Hello, Property, Version, Wire};

fn ingest(topic: &str, body: &str) -> Request {
    Request::new("POST", &format!("/ingest/{topic}")).body(body)
}

async fn app(node: &Node) -> Wire {
    node.client(&Hello::new(Version::V5, "app").user("admin", SECRET).persistent()).await
}

#[tokio::test]
async fn a_message_goes_where_its_device_may_publish_and_nowhere_else() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let pump = admin.create_thing("pump7", "acme/berlin/pump7").await;
    admin.create_thing("pump8", "acme/berlin/pump8").await;
    let mut app = app(&node).await;
    for filter in ["things/#", "uns/#", "plant/#"] {
        app.subscribe(filter, 1).await;
    }
    let telemetry = ingest("things/pump7/telemetry", r#"{"temperature":21.5}"#)
        .header("Content-Type", "application/json")
        .user("pump7", &pump);
    let answer = telemetry.send(&node).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let message = app.next_message().await;
    assert_eq!(message.topic, "things/pump7/telemetry");
    let content_type = Property::ContentType("application/json".to_owned());
    assert!(message.properties.contains(&content_type), "{:?}", message.properties);
    app.acknowledge(&message).await;
    let value = app.next_message().await;
    assert_eq!(value.topic, "uns/acme/berlin/pump7/_raw/temperature");
    app.acknowledge(&value).await;
    for (request, status, code) in [
        (ingest("things/pump8/telemetry", "{}").user("pump7", &pump), 403, "forbidden"),
        (ingest("events/things/pump7", "{}").user("pump7", &pump), 403, "forbidden"),
        (ingest("things/pump7/telemetry", "{}"), 401, "unauthorized"),
        (ingest("things/pump7/telemetry", "{}").user("pump7", "wrong"), 401, "unauthorized"),
        (ingest("plant/%23", "1").user("admin", SECRET), 422, "invalid"),
        (ingest("plant/%00", "1").user("admin", SECRET), 422, "invalid"),
        (ingest("plant/%ff", "1").user("admin", SECRET), 400, "bad_request"),
        (ingest("plant/a?qos=2", "1").user("admin", SECRET), 400, "bad_request"),
        (ingest("plant/a?retain=yes", "1").user("admin", SECRET), 400, "bad_request"),
        (ingest("plant/a?color=red", "1").user("admin", SECRET), 400, "bad_request"),
        (Request::get("/ingest/plant/a").user("admin", SECRET), 405, "unknown_operation"),
    ] {
        let (seen, its_code, _) = request.send(&node).await.refusal();
        assert_eq!((seen, its_code.as_str()), (status, code), "{request:?}");
    }
    let good = ingest("plant/%E6%B8%A9%20a?retain=true", "on").user("admin", SECRET);
    assert_eq!(good.send(&node).await.status, 204);
    let fleeting = ingest("plant/end?qos=0", "").user("admin", SECRET).send(&node).await;
    assert_eq!(fleeting.status, 202);
    let seen = app.messages_until("plant/end").await;
    // Its device was never there to be spoken to, so it was not said to be online.
    let topics: Vec<&str> = seen.iter().map(|it| it.topic.as_str()).collect();
    assert_eq!(topics, ["plant/温 a", "plant/end"]);
    let kept = Request::get("/api/retained/get?topic=plant/%E6%B8%A9%20a").user("admin", SECRET);
    assert_eq!(kept.send(&node).await.data()["payload"], "on");
}

#[tokio::test]
async fn what_is_answered_204_is_there_after_kill_9() {
    let site = Site::new();
    let node = site.start().await;
    let mut durable = app(&node).await;
    durable.subscribe("plant/#", 1).await;
    durable.leave().await;
    for number in 0..20 {
        let path = format!("plant/{number}?retain=true");
        let answer = ingest(&path, "on").user("admin", SECRET).send(&node).await;
        assert_eq!(answer.status, 204);
    }
    node.kill().await;
    let node = site.start().await;
    let mut durable = app(&node).await;
    for number in 0..20 {
        let message = durable.next_message().await;
        assert_eq!(message.topic, format!("plant/{number}"));
        durable.acknowledge(&message).await;
        let path = format!("/api/retained/get?topic=plant/{number}");
        let kept = Request::get(&path).user("admin", SECRET).send(&node).await;
        assert_eq!(kept.data()["payload"], "on");
    }
}
