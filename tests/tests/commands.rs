//! Commands and presence between real clients and a real node, `kill -9` included.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::{Hello, Message, Packet, Property, Version, Wire, packet};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const INVOKE: &str = "things/pump7/commands/run/invoke";
const RESPONSE: &str = "things/pump7/commands/run/response";

fn operator(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id).user("admin", SECRET)
}

/// Answers a request in the device's name.
async fn answer(device: &mut Wire, request: &Message) {
    let response = json!({ "id": request.json()["id"], "status": "ok", "output": 1 }).to_string();
    let topic = request.topic.replace("/request", "/response");
    assert_eq!(device.publish_acked(&topic, response.as_bytes()).await, 0);
}

#[tokio::test]
async fn what_waits_is_handed_over_when_the_device_subscribes_or_is_back_in_its_session() {
    let site = Site::new();
    let node = site.start().await;
    let secret = Admin::enter(&node).await.create_thing("pump7", "acme/pump7").await;
    let device = Hello::new(Version::V5, "pump7").user("pump7", &secret);
    let mut app = node.client(&operator("app")).await;
    app.subscribe("apps/1", 1).await;
    let mut packet_id = 76;
    let mut invoke = |id: &str| {
        packet_id += 1;
        let properties = [
            Property::ResponseTopic("apps/1".to_owned()),
            Property::CorrelationData(id.as_bytes().to_vec()),
        ];
        let payload = json!({ "id": id, "timeout_ms": 20_000 }).to_string();
        packet::publish_with(INVOKE.as_bytes(), payload.as_bytes(), 0b0010, packet_id, &properties)
    };
    app.send(&invoke("a")).await;
    // Connected alone is not listening.
    let mut pump = node.client(&device).await;
    assert_eq!(pump.subscribe("things/pump7/shadow/#", 1).await, 1);
    assert_eq!(pump.subscribe("things/pump7/commands/+/request", 1).await, 1);
    let request = pump.next_message().await;
    assert_eq!(
        (request.topic.as_str(), &request.json()["id"]),
        ("things/pump7/commands/run/request", &json!("a"))
    );
    let expiry = |it: &Property| matches!(it, Property::MessageExpiryInterval(1..=20));
    assert!(request.properties.iter().any(expiry), "{request:?}");
    answer(&mut pump, &request).await;
    let reply = app.next_message().await;
    assert_eq!(reply.json()["status"], json!("succeeded"));
    let correlation = Property::CorrelationData(b"a".to_vec());
    assert!(reply.properties.contains(&correlation), "{reply:?}");
    pump.leave().await;

    let persistent = device.persistent();
    let mut pump = node.client(&persistent).await;
    pump.subscribe("things/pump7/commands/+/request", 1).await;
    pump.leave().await;
    app.send(&invoke("b")).await;
    app.send(&invoke("c")).await;
    let mut pump = node.client(&persistent).await;
    for id in ["b", "c"] {
        let request = pump.next_message().await;
        assert_eq!(request.json()["id"], json!(id));
        answer(&mut pump, &request).await;
        assert_eq!(app.next_message().await.json()["status"], json!("succeeded"));
    }
}

#[tokio::test]
async fn only_the_device_answers_and_nobody_speaks_for_the_platform() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    admin.create_thing("pump7", "acme/pump7").await;
    let other = admin.create_thing("pump8", "acme/pump8").await;
    let app_secret = admin.create_user("panel", "app").await;
    let reader_secret = admin.create_user("viewer", "user").await;
    let mut other = node.client(&Hello::new(Version::V5, "pump8").user("pump8", &other)).await;
    let mut app = node.client(&Hello::new(Version::V5, "panel").user("panel", &app_secret)).await;
    let viewer = Hello::new(Version::V5, "viewer").user("viewer", &reader_secret);
    let mut viewer = node.client(&viewer).await;
    let payload = br#"{"id":"a","status":"ok"}"#;
    const NOT_AUTHORIZED: u8 = 0x87;
    assert_eq!(other.publish_acked(RESPONSE, payload).await, NOT_AUTHORIZED);
    assert_eq!(other.publish_acked(INVOKE, br#"{"id":"a"}"#).await, NOT_AUTHORIZED);
    assert_eq!(app.publish_acked(RESPONSE, payload).await, NOT_AUTHORIZED);
    assert_eq!(viewer.publish_acked(INVOKE, br#"{"id":"a"}"#).await, NOT_AUTHORIZED);
    for step in ["request", "result"] {
        let topic = format!("things/pump7/commands/run/{step}");
        assert_eq!(app.publish_acked(&topic, payload).await, NOT_AUTHORIZED);
    }
    app.subscribe("things/pump7/commands/+/result", 1).await;
    app.publish_acked(INVOKE, br#"{"id":"a","queue":false}"#).await;
    assert_eq!(app.next_message().await.json()["error"]["code"], json!("unavailable"));
}

#[tokio::test]
async fn a_takeover_leaves_the_device_online() {
    let site = Site::new();
    let node = site.start().await;
    let secret = Admin::enter(&node).await.create_thing("pump7", "acme/pump7").await;
    let device = Hello::new(Version::V5, "pump7").user("pump7", &secret);
    let mut app = node.client(&operator("app")).await;
    app.subscribe("things/pump7/status", 1).await;
    let mut connections = Vec::new();
    for _ in 0..5 {
        // The one before is still there, and ends by this.
        connections.push(node.client(&device).await);
    }
    // Presence has heard of the last one when an answer to it is there.
    let mut last = connections.pop().expect("there are five");
    last.subscribe("things/pump7/shadow/get/rejected", 1).await;
    last.publish_acked("things/pump7/shadow/get", b"").await;
    last.next_message().await;
    for mut replaced in connections {
        while replaced.next().await.is_some() {}
    }
    last.leave().await;
    let mut statuses: Vec<Value> = Vec::new();
    while statuses.last().is_none_or(|status| status["online"] != json!(false)) {
        statuses.push(app.next_message().await.json());
    }
    let said: Vec<_> = statuses.iter().map(|it| (&it["online"], &it["reason"])).collect();
    assert_eq!(said[0], (&json!(true), &json!("connected")), "{said:?}");
    assert_eq!(said.len(), 2, "online once and offline once: {said:?}");
}

/// Rounds unless the environment says otherwise.
const ROUNDS: u64 = 3;

/// Commands whose end is asked for after a round: the latest, which a thing remembers 1000 of.
const LOOKED_AT_MAX: usize = 900;

/// The longest that a round works before it is killed.
const WORK_MS_MAX: u64 = 600;

/// Commands of a round for the device that is away; all of them have to wait together.
const AWAY_MAX: u64 = 18;

/// What was promised, and what was seen, from the first round to the last.
#[derive(Default)]
struct Story {
    /// Commands whose PUBACK has come, by thing.
    acknowledged: BTreeSet<(&'static str, String)>,
    /// How often each request came to its device.
    executed: BTreeMap<String, u64>,
    /// How each command was said to have ended.
    heard: BTreeMap<String, BTreeSet<String>>,
    next: u64,
}

#[tokio::test]
async fn over_kills_every_acknowledged_command_ends_once_and_is_handed_over_at_most_once() {
    let rounds = std::env::var("MANIFOLD_CRASH_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |it| it.parse().expect("the rounds are a number")).min(3);
    let seed = random::seed();
    eprintln!("{}={seed}, {rounds} rounds", random::SEED_VARIABLE);
    let mut random = Random::new(seed);
    let site = Site::new().with("limits.commands_remembered_max=1000");
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let here = admin.create_thing("here", "acme/here").await;
    let away = admin.create_thing("away", "acme/away").await;
    let mut watcher = node.client(&operator("watcher").persistent()).await;
    watcher.subscribe("things/+/commands/+/result", 1).await;
    watcher.leave().await;
    let mut story = Story::default();
    let device = |thing: &str, secret: &str| Hello::new(Version::V5, thing).user(thing, secret);
    work(&mut story, node, &device("here", &here), random.below(WORK_MS_MAX)).await;
    for _ in 1..rounds {
        let node = site.start().await;
        work(&mut story, node, &device("here", &here), random.below(WORK_MS_MAX)).await;
    }
    let node = site.start().await;
    let device = serve(node.client(&device("away", &away)).await, "away").await;
    hold_against(&mut story, &node, device).await;
}

/// Works until the kill: an app asks both devices, one of which is there.
async fn work(story: &mut Story, node: Node, here: &Hello, work_ms: u64) {
    let device = serve(node.client(here).await, "here").await;
    let app = node.client(&operator("app")).await;
    let first = story.next;
    let asked = tokio::spawn(ask(app, first));
    tokio::time::sleep(Duration::from_millis(work_ms)).await;
    node.kill().await;
    let (next, acknowledged) = asked.await.expect("an app does not panic");
    eprintln!("{} of {} acknowledged", acknowledged.len(), next - first);
    story.next = next;
    story.acknowledged.extend(acknowledged);
    note_executed(story, device.await.expect("a device does not panic"));
}

/// Asks until the connection is lost: the next number, and what was acknowledged.
async fn ask(mut app: Wire, first: u64) -> (u64, Vec<(&'static str, String)>) {
    let mut acknowledged = Vec::new();
    let mut number = first;
    loop {
        let is_away = number.is_multiple_of(8) && number - first < 8 * AWAY_MAX;
        let thing = if is_away { "away" } else { "here" };
        let timeout_ms = if is_away { 60_000 } else { 1500 };
        let id = format!("c{number}");
        let topic = format!("things/{thing}/commands/run/invoke");
        let payload = json!({ "id": id, "input": number, "timeout_ms": timeout_ms }).to_string();
        let packet_id = app.new_id();
        let publish =
            packet::publish(Version::V5, topic.as_bytes(), payload.as_bytes(), 0b0010, packet_id);
        app.send(&publish).await;
        number += 1;
        match app.next().await {
            Some(Packet::PubAck { code: 0 | 0x10, .. }) => acknowledged.push((thing, id)),
            Some(other) => panic!("no PUBACK but {other:?}"),
            None => return (number, acknowledged),
        }
    }
}

/// A device that answers all that it is asked, until its connection ends; the ids in order.
async fn serve(mut wire: Wire, thing: &str) -> tokio::task::JoinHandle<Vec<String>> {
    let granted = wire.subscribe(&format!("things/{thing}/commands/+/request"), 1).await;
    assert_eq!(granted, 1);
    tokio::spawn(async move {
        let mut ids = Vec::new();
        loop {
            let message = match wire.next_within(Duration::from_secs(3)).await {
                Ok(Some(Packet::Publish(message))) => message,
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => return ids,
            };
            let id = message.json()["id"].as_str().expect("a request has an id").to_owned();
            wire.acknowledge(&message).await;
            let response = json!({ "id": id, "status": "ok" }).to_string();
            let topic = message.topic.replace("/request", "/response");
            let packet_id = wire.new_id();
            let bytes = (topic.as_bytes(), response.as_bytes());
            wire.send(&packet::publish(Version::V5, bytes.0, bytes.1, 0b0010, packet_id)).await;
            ids.push(id);
        }
    })
}

fn note_executed(story: &mut Story, ids: Vec<String>) {
    for id in ids {
        *story.executed.entry(id).or_default() += 1;
    }
}

/// The device that was away has come; once nothing is open, all is held against what was promised.
async fn hold_against(story: &mut Story, node: &Node, away: tokio::task::JoinHandle<Vec<String>>) {
    let mut admin = Admin::enter(node).await;
    loop {
        let mut open = 0;
        for state in ["queued", "sent"] {
            let listed = admin.must("commands", "list", json!({ "state": state })).await;
            open += listed["items"].as_array().expect("a list has items").len();
        }
        if open == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let served = away.await.expect("a device does not panic");
    let numbers: Vec<u64> = served.iter().map(|id| id[1..].parse().expect("a number")).collect();
    assert!(numbers.is_sorted(), "what waited comes in order: {numbers:?}");
    note_executed(story, served);
    assert!(story.executed.values().all(|times| *times == 1), "{:?}", story.executed);

    let mut watcher = node.client(&operator("watcher").persistent()).await;
    let mut marker = node.client(&operator("marker")).await;
    watcher.subscribe("marker", 1).await;
    marker.publish_acked("marker", b"").await;
    for result in watcher.messages_until("marker").await {
        if result.topic != "marker" {
            let result = result.json();
            let text = |field: &str| result[field].as_str().unwrap_or_default().to_owned();
            story.heard.entry(text("id")).or_default().insert(text("status"));
        }
    }
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let mut latest: Vec<_> = story.acknowledged.iter().collect();
    latest.sort_by_key(|(_, id)| id[1..].parse::<u64>().expect("a number"));
    for (thing, id) in latest.into_iter().rev().take(LOOKED_AT_MAX) {
        let shown = admin.must("commands", "get", json!({ "thing": thing, "id": id })).await;
        let state = shown["state"].as_str().expect("a command has a state").to_owned();
        let heard = &story.heard[id];
        assert_eq!(heard, &BTreeSet::from([state.clone()]), "{id} ends once, and all are told");
        if *thing == "away" {
            assert_eq!(state, "succeeded", "{id} waited for its device");
        }
        *ends.entry(state).or_default() += 1;
    }
    assert!(!ends.is_empty(), "something was acknowledged");
    eprintln!("{} commands acknowledged: {ends:?}", story.acknowledged.len());
}
