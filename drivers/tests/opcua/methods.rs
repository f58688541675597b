//! Methods that are called, and events that come by themselves.

use super::{Dirs, dirs, driver, of_tank, plain, pushed, tag};
use drivers::{Call, Driver, Event, EventLevel, Input, PointId, Subscription, TagConfig};
use futures_util::StreamExt as _;
use proto::Datum;
use serde_json::{Value as Json, json};
use sim::tank::{Kind, OpcUaServer};
use std::time::Duration;
use tokio::time::timeout;

const EVENTS: PointId = PointId(1);

fn tags() -> Vec<TagConfig> {
    let of_server = json!({
        "tag": "plc", "kind": "events", "address": "i=2253", "path": "acme/_event/plc",
    });
    let events = serde_json::from_value(of_server).expect("a tag");
    vec![tag("level", &of_tank("Level"), &json!({})), events]
}

async fn tank() -> (Dirs, OpcUaServer, Box<dyn Driver>) {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let mut driver = driver(&plain(&server), &tags(), &dirs.site);
    driver.connect().await.expect("a connection");
    (dirs, server, driver)
}

fn fill(method: &str, object: Option<&str>, input: Json) -> Call {
    Call { method: method.to_owned(), object: object.map(str::to_owned), input: Input::of(input) }
}

/// The next events, as many as `count`.
async fn events(stream: &mut Subscription, count: usize) -> Vec<Event> {
    let mut found = Vec::new();
    let wait = async {
        while found.len() < count {
            found.extend(stream.next().await.expect("the stream goes on").events);
        }
    };
    timeout(Duration::from_secs(10), wait).await.expect("events come");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_is_called_by_any_of_its_addresses() {
    let (_dirs, _server, mut driver) = tank().await;
    let index = 2;
    let by_path = format!("/Objects/{index}:Tank/{index}:Fill");
    let (method, object) = (of_tank("Fill"), of_tank("Tank"));
    for (call, before) in [
        (fill(&method, None, json!([40.0, "by id"])), 12.5),
        (fill(&by_path, None, json!([41, "by path"])), 40.0),
        (fill(&method, Some(&object), json!({"note": "by name", "to": 42.5})), 41.0),
    ] {
        let output = driver.call(&call).await.expect("it returns");
        assert_eq!(output, [json!(before)], "{call:?}");
    }
    assert_eq!(driver.health().counters.calls, 3);
    let read = driver.read(&[PointId(0)]).await.points.remove(0).1.expect("a level");
    assert_eq!(read.value, Datum::Float(42.5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_fit_says_why_and_does_nothing() {
    let (_dirs, _server, mut driver) = tank().await;
    let method = of_tank("Fill");
    for (call, code, text) in [
        (fill(&method, None, json!(null)), "invalid_input", "input: 0 arguments"),
        (fill(&method, None, json!(["x", "y"])), "invalid_input", "to: \"x\" is no Double"),
        (fill(&method, None, json!({"to": 1.0})), "invalid_input", "note: it is missing"),
        (fill(&method, None, json!([101.0, ""])), "illegal_value", "BadOutOfRange"),
        (fill(&of_tank("Gone"), None, json!([])), "invalid_address", "no object has this method"),
        (fill("Fill", None, json!([])), "invalid_address", "is no address"),
        (fill(&of_tank("Level"), None, json!([])), "illegal_address", "Bad"),
    ] {
        let error = driver.call(&call).await.expect_err("a refusal");
        assert_eq!(error.code(), code, "{call:?}: {error}");
        assert!(error.to_string().contains(text), "{call:?}: {error}");
    }
    let read = driver.read(&[PointId(0)]).await.points.remove(0).1.expect("a level");
    assert_eq!(read.value, Datum::Float(12.5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_beside_values() {
    let (_dirs, server, mut driver) = tank().await;
    let mut stream = driver.subscribe(&[PointId(0), EVENTS]).await.expect("a subscription");
    let seen = pushed(&mut stream, |seen| seen.len() == 2).await;
    assert_eq!(seen[&EVENTS], Ok(Datum::Bool(true)), "the server tells events");
    server.tell("nothing much", 1);
    server.tell("on fire", 900);
    let call = fill(&of_tank("Fill"), None, json!([50.0, "morning"]));
    driver.call(&call).await.expect("it returns");
    let found = events(&mut stream, 3).await;
    let told: Vec<(&Json, EventLevel)> =
        found.iter().map(|event| (&event.data["message"], event.level)).collect();
    let expected = [
        (&json!("nothing much"), EventLevel::Notify),
        (&json!("on fire"), EventLevel::Error),
        (&json!("filled to 50: morning"), EventLevel::Warning),
    ];
    assert_eq!(told, expected);
    let filled = &found[2];
    assert_eq!((filled.point, &filled.data["source"]), (EVENTS, &json!("Tank")));
    assert_eq!(filled.data["source_node"], json!(of_tank("Tank")));
    assert_eq!(filled.data["type"], json!("SystemEventType"));
    assert!(filled.at.is_some() && filled.data["id"].is_string(), "{filled:?}");
    assert_eq!(driver.health().counters.events, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tells_no_events_is_bad_and_fails_nobody_else() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let mut tags = tags();
    tags[1].address = of_tank("Level");
    let mut driver = driver(&plain(&server), &tags, &dirs.site);
    driver.connect().await.expect("a connection");
    let mut stream = driver.subscribe(&[PointId(0), EVENTS]).await.expect("a subscription");
    let seen = pushed(&mut stream, |seen| seen.len() == 2).await;
    assert!(seen[&PointId(0)].is_ok() && seen[&EVENTS].is_err(), "{seen:?}");
}
