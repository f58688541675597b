//! Devices that speak MQTT in their own way become values: clients of the node itself and of another broker.

use drivers::contract::{self, Fixture};
use drivers::{
    ConnectError, Driver, DriverConfig, Health, PointId, ReadOutcome, Site as DriverSite,
    SubscribeError, Subscription, TagConfig, WriteError,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use manifold_tests::admin::Admin;
use manifold_tests::bridges::{free_port, hello, listener};
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::process::PATIENCE;
use manifold_tests::random::{self, Random};
use manifold_tests::wire::{Message, Packet, Version, Wire, packet};
use proto::Datum;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

fn tag(name: &str, address: &str, more: &Value) -> Value {
    let path = format!("acme/hall/_raw/{name}");
    let mut tag = json!({ "tag": name, "address": address, "path": path });
    tag.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    tag
}

async fn create(admin: &mut Admin, config: Value, tags: &[Value]) {
    admin.must("drivers", "create", json!({ "driver": "hall", "config": config })).await;
    admin.must("tags", "create", json!({ "driver": "hall", "tags": tags })).await;
    running(admin).await;
}

/// Waits until the driver has its connection.
async fn running(admin: &mut Admin) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let driver = admin.must("drivers", "get", json!({ "driver": "hall" })).await;
        let counters = &driver["status"]["counters"];
        if counters["connects"].as_u64() > Some(0) && driver["status"]["state"] != "connecting" {
            return;
        }
        assert!(Instant::now() < deadline, "the driver does not run: {driver}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The next value of a tag, as `value quality`.
async fn next_of(app: &mut Wire, name: &str) -> (String, u64) {
    loop {
        let message = app.next_message().await;
        if message.topic.ends_with(&format!("/{name}")) {
            let value = message.json();
            let text = format!("{} {}", value["v"], value["q"].as_str().unwrap_or("?"));
            return (text, value["t"].as_u64().unwrap_or(0));
        }
    }
}

#[tokio::test]
async fn what_devices_say_in_their_own_way_is_in_the_namespace() {
    let site = Site::new();
    let node = site.start().await;
    let mut device = node.client(&hello("device")).await;
    device.retain("stat/plug/POWER", b"OFF").await;
    let mut admin = Admin::enter(&node).await;
    let mut app = listener(&node, "app", "uns/acme/hall/_raw/+").await;
    let writable = json!({ "access": "read_write" });
    let tags = [
        tag("temperature", "z/kitchen#$.temperature", &json!({ "unit": "Cel" })),
        tag("battery", "z/kitchen#$.battery.percent", &json!({ "type": "uint8" })),
        tag("plug", "stat/plug/POWER -> cmnd/plug/POWER", &writable),
        tag("lamp", "z/lamp#$.state -> z/lamp/set#$.state", &writable),
        tag("level", "node/17/up#bytes:2", &json!({ "type": "float32", "byte_order": "DCBA" })),
        tag("alarm", "node/17/up#bytes:0.7", &json!({ "type": "bool" })),
    ];
    let time = json!({ "path": "$.ts", "unit": "secs" });
    create(&mut admin, json!({ "protocol": "mqtt", "timeout_ms": 700, "time": time }), &tags).await;

    assert_eq!(next_of(&mut app, "plug").await.0, "\"OFF\" uncertain", "nobody knows how old");
    let document = br#"{"temperature":21.5,"battery":{"percent":90},"ts":1763668800.5}"#;
    device.publish_acked("z/kitchen", document).await;
    // Those of one message come in the order of their names.
    assert_eq!(next_of(&mut app, "battery").await, ("90 good".into(), 1_763_668_800_500));
    assert_eq!(next_of(&mut app, "temperature").await, ("21.5 good".into(), 1_763_668_800_500));
    device.publish_acked("z/kitchen", br#"{"temperature":null,"battery":{"percent":900}}"#).await;
    assert_eq!(next_of(&mut app, "battery").await.0, "90 bad");
    assert_eq!(next_of(&mut app, "temperature").await.0, "21.5 bad");
    let driver = admin.must("drivers", "get", json!({ "driver": "hall" })).await;
    assert_eq!(driver["status"]["state"], "degraded", "{driver}");
    device.publish_acked("node/17/up", &[0x80, 0, 0x00, 0x00, 0xac, 0x41]).await;
    assert_eq!(next_of(&mut app, "alarm").await.0, "true good");
    assert_eq!(next_of(&mut app, "level").await.0, "21.5 good");
    device.publish_acked("stat/plug/POWER", b"ON").await;
    assert_eq!(next_of(&mut app, "plug").await.0, "\"ON\" good");

    writes(&node, &mut admin).await;

    let found =
        admin.must("drivers", "browse", json!({ "driver": "hall", "below": "stat/#" })).await;
    assert_eq!(found["items"][0]["address"], "stat/plug/POWER", "{found}");
    let refused =
        admin.ask("drivers", "browse", json!({ "driver": "hall", "below": "a/#/b" })).await;
    assert_eq!(refused.expect_err("no filter")["field"], "below");
    let loops = tag("loop", "uns/acme/hall/_raw/level", &json!({ "driver": "hall" }));
    let refused = admin.ask("tags", "create", loops).await.expect_err("a topic of the platform");
    assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid"), &json!("address")));
    let told = admin.must("drivers", "test", json!({ "config": { "protocol": "mqtt" } })).await;
    assert_eq!(told["connected"], true);
}

/// A lamp that does what it is told and says so, and a plug that says nothing.
async fn writes(node: &Node, admin: &mut Admin) {
    let mut lamp = node.client(&hello("lamp")).await;
    lamp.subscribe("z/lamp/set", 1).await;
    lamp.subscribe("cmnd/plug/POWER", 1).await;
    let works = tokio::spawn(async move {
        let told = lamp.next_message().await;
        assert_eq!(told.payload, br#"{"state":"ON"}"#);
        lamp.publish_acked("z/lamp", br#"{"state":"DIMMED"}"#).await;
        lamp.publish_acked("z/lamp", br#"{"state":"ON"}"#).await;
        assert_eq!(lamp.next_message().await.payload, b"OFF");
    });
    let write =
        |tag: &str, v: &str| json!({ "driver": "hall", "tag": tag, "v": v, "verify": true });
    let written = admin.must("tags", "write", write("lamp", "ON")).await;
    assert_eq!(written["v"], "ON");
    // The plug keeps saying ON.
    let refused = admin.ask("tags", "write", write("plug", "OFF")).await.expect_err("not done");
    assert_eq!(refused["code"], "version_conflict", "{refused}");
    works.await.expect("the lamp was told both");
}

#[tokio::test]
async fn topics_that_fall_silent_have_stale_values_until_they_speak_again() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let mut app = listener(&node, "app", "uns/acme/hall/_raw/+").await;
    let tags = [tag("a", "dev/a", &json!({})), tag("b", "dev/b", &json!({}))];
    create(&mut admin, json!({ "protocol": "mqtt", "silent_after_secs": 1 }), &tags).await;
    let mut device = node.client(&hello("device")).await;
    device.publish_acked("dev/a", b"1").await;
    let (first, t) = next_of(&mut app, "a").await;
    assert_eq!(first, "1 good");
    let (silent, t_silent) = next_of(&mut app, "a").await;
    assert_eq!((silent.as_str(), t_silent), ("1 stale", t), "the value keeps its time");
    device.publish_acked("dev/a", b"1").await;
    assert_eq!(next_of(&mut app, "a").await.0, "1 good");
    let b = admin.must("tags", "get", json!({ "driver": "hall", "tag": "b" })).await;
    assert_eq!(b["value"]["q"], "bad", "nothing has ever been heard: {b}");
}

#[tokio::test]
async fn a_device_whose_will_says_that_it_is_gone_has_stale_values() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let mut app = listener(&node, "app", "uns/acme/hall/_raw/+").await;
    let mut device = node.client(&hello("plug")).await;
    device.retain("tele/plug/LWT", b"Offline").await;
    device.retain("stat/plug", b"7").await;
    let offline = json!({ "address": "tele/plug/LWT", "value": "Offline" });
    let tags = [tag("power", "stat/plug", &json!({}))];
    create(&mut admin, json!({ "protocol": "mqtt", "offline": offline }), &tags).await;
    assert_eq!(next_of(&mut app, "power").await.0, "7 stale", "it was gone before");
    device.retain("tele/plug/LWT", b"Online").await;
    assert_eq!(next_of(&mut app, "power").await.0, "7 uncertain");
    device.publish_acked("stat/plug", b"7").await;
    let (good, t) = next_of(&mut app, "power").await;
    assert_eq!(good, "7 good");
    device.retain("tele/plug/LWT", b"Offline").await;
    assert_eq!(next_of(&mut app, "power").await, ("7 stale".to_owned(), t));
}

/// A device publishes without pause while the node is killed again and again.
#[tokio::test]
async fn what_a_device_was_acknowledged_is_a_value_whatever_happens() {
    let port = free_port();
    let site = Site::new().with(&format!("listen.mqtt=127.0.0.1:{port}"));
    let mut node = site.start().await;
    let address = node.mqtt();
    let mut app = node.client(&hello("app").persistent()).await;
    assert_eq!(app.subscribe("uns/acme/hall/_raw/n", 1).await, 1);
    app.leave().await;
    let mut admin = Admin::enter(&node).await;
    let tags = [tag("n", "dev/n", &json!({ "publish": "always" }))];
    create(&mut admin, json!({ "protocol": "mqtt" }), &tags).await;
    drop(admin);
    let seed = random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let (mut acked, mut next) = (BTreeSet::new(), 1);
    for _ in 0..8 {
        // From the moment on that the driver listens: what is published before is not for it.
        running(&mut Admin::enter(&node).await).await;
        let flooding = tokio::spawn(flood(address, next));
        tokio::time::sleep(Duration::from_millis(200 + random.below(300))).await;
        node.kill().await;
        let (done, after) = flooding.await.expect("the device sees the end");
        acked.extend(done);
        next = after;
        node = site.start().await;
    }
    assert!(acked.len() > 100, "{} acknowledged", acked.len());
    let mut app = node.client(&hello("app").persistent()).await;
    let mut missing = acked.clone();
    while !missing.is_empty() {
        let found = tokio::time::timeout(PATIENCE, app.next_message()).await;
        let message: Message = found.unwrap_or_else(|_| panic!("seed {seed}: lost {missing:?}"));
        let value = message.json();
        missing.remove(&value["v"].as_u64().expect("a number"));
    }
}

/// Publishes numbers until the node is gone; those that were acknowledged, and the next one.
async fn flood(address: SocketAddr, from: u64) -> (BTreeSet<u64>, u64) {
    const AT_LEAST_ONCE: u8 = 0b0010;
    let mut wire = Wire::connect(address, &hello("flood")).await;
    let (mut acked, mut next) = (BTreeSet::new(), from);
    let mut flying = BTreeMap::new();
    loop {
        while flying.len() < 20 {
            let packet_id = wire.new_id();
            flying.insert(packet_id, next);
            let payload = next.to_string();
            let bytes = packet::publish(
                Version::V5,
                b"dev/n",
                payload.as_bytes(),
                AT_LEAST_ONCE,
                packet_id,
            );
            wire.send(&bytes).await;
            next += 1;
        }
        match wire.next().await {
            Some(Packet::PubAck { packet_id, code }) => {
                let number = flying.remove(&packet_id).expect("it was published");
                if code < 0x80 {
                    acked.insert(number);
                }
            }
            Some(_) => {}
            None => return (acked, next),
        }
    }
}

#[tokio::test]
async fn devices_of_another_broker_are_found_again_after_any_outage() {
    let port = free_port();
    let far_site = Site::new().with(&format!("listen.mqtt=127.0.0.1:{port}"));
    let far = far_site.start().await;
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let url = format!("mqtt://127.0.0.1:{port}");
    let broker = json!({ "url": url, "client_id": "hall", "user_name": "admin", "secret": SECRET });
    let tags = [
        tag("a", "dev/a", &json!({ "poll_interval_ms": 100, "publish": "always" })),
        tag("b", "$dev/no -> dev/b/set", &json!({ "access": "read_write" })),
    ];
    create(&mut admin, json!({ "protocol": "mqtt", "broker": broker }), &tags).await;
    let shown = admin.must("drivers", "get", json!({ "driver": "hall" })).await;
    assert_eq!(shown["config"]["broker"]["has_secret"], true, "{shown}");
    assert!(!shown.to_string().contains(SECRET), "{shown}");
    let mut app = node.client(&hello("app").persistent()).await;
    app.subscribe("uns/acme/hall/_raw/a", 1).await;
    let mut device = far.client(&hello("device")).await;
    device.publish_acked("dev/a", b"1").await;
    assert_eq!(next_of(&mut app, "a").await.0, "1 good");

    far.kill().await;
    assert_eq!(next_of(&mut app, "a").await.0, "1 stale");
    let far = far_site.start().await;
    running(&mut admin).await;
    let mut device = far.client(&hello("device")).await;
    let deadline = Instant::now() + PATIENCE;
    // Until the driver is back, which takes as long as its pauses are.
    while app_value(&mut admin).await["q"] != "good" {
        device.publish_acked("dev/a", b"2").await;
        assert!(Instant::now() < deadline, "the driver does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.leave().await;

    // What is said while the node is away waits at the other broker.
    node.kill().await;
    for number in 10..20 {
        device.publish_acked("dev/a", number.to_string().as_bytes()).await;
    }
    let node = site.start().await;
    let mut app = node.client(&hello("app").persistent()).await;
    for number in 10..20 {
        loop {
            let (text, _) = next_of(&mut app, "a").await;
            if text == format!("{number} good") {
                break;
            }
            assert!(text.starts_with("1 ") || text.starts_with("2 "), "{text} before {number}");
        }
    }
}

async fn app_value(admin: &mut Admin) -> Value {
    let mut tag = admin.must("tags", "get", json!({ "driver": "hall", "tag": "a" })).await;
    tag["value"].take()
}

/// A driver whose devices are given the time to say something.
struct Patient(Box<dyn Driver>);

const A_MOMENT: Duration = Duration::from_millis(300);

impl Driver for Patient {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), ConnectError>> {
        async {
            let connected = self.0.connect().await;
            tokio::time::sleep(A_MOMENT).await;
            connected
        }
        .boxed()
    }

    fn read<'a>(&'a mut self, points: &'a [PointId]) -> BoxFuture<'a, ReadOutcome> {
        self.0.read(points)
    }

    fn write<'a>(
        &'a mut self,
        point: PointId,
        value: &'a Datum,
        verify: bool,
    ) -> BoxFuture<'a, Result<Datum, WriteError>> {
        async move {
            let written = self.0.write(point, value, verify).await;
            tokio::time::sleep(A_MOMENT).await;
            written
        }
        .boxed()
    }

    fn subscribe<'a>(
        &'a mut self,
        points: &'a [PointId],
    ) -> BoxFuture<'a, Result<Subscription, SubscribeError>> {
        self.0.subscribe(points)
    }

    fn health(&self) -> Health {
        self.0.health()
    }
}

#[tokio::test]
async fn it_is_a_driver_like_any_other() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let acl = json!([{ "permission": "deny", "action": "subscribe", "topic": "secret/#" },
        { "permission": "allow", "action": "all", "topic": "#" }]);
    let made = json!({ "role": "devices", "base": "app", "acl": acl });
    admin.must("roles", "create", made).await;
    let secret = admin.create_user("hall", "app").await;
    admin.must("users", "update", json!({ "user": "hall", "roles": ["devices"] })).await;
    let mut device = node.client(&hello("device")).await;
    device.retain("dev/fixed", br#"{"v":1,"t":1763668800000}"#).await;
    device.retain("dev/set", br#"{"v":1,"t":1763668800000}"#).await;
    device.subscribe("dev/set/to", 1).await;
    // It does what it is told, and keeps it for those who come later.
    let works = tokio::spawn(async move {
        loop {
            let told = device.next_message().await;
            let state = json!({ "v": told.json(), "t": 1_763_668_800_000_u64 });
            device.retain("dev/set", state.to_string().as_bytes()).await;
        }
    });
    let url = format!("mqtt://{}", node.mqtt());
    let broker = json!({ "url": url, "client_id": "hall", "user_name": "hall", "secret": secret });
    let config = json!({ "protocol": "mqtt", "broker": broker, "time": { "path": "$.t" } });
    let config: DriverConfig = serde_json::from_value(config).expect("a configuration");
    let writable = json!({ "access": "read_write", "type": "uint16" });
    let tags = [
        tag("set", "dev/set#$.v -> dev/set/to", &writable),
        tag("fixed", "dev/fixed#$.v", &json!({})),
        tag("missing", "secret/x#$.v", &json!({})),
    ];
    let tags = tags.map(|tag| serde_json::from_value::<TagConfig>(tag).expect("a tag"));
    let driver = drivers::open(&config, &tags, &DriverSite::new("unused")).expect("it opens");
    let fixture = Fixture {
        point_count: 3,
        writable: PointId(0),
        values: [Datum::Int(7), Datum::Int(8)],
        read_only: PointId(1),
        missing: PointId(2),
        refused: vec![
            (PointId(0), Datum::Int(65_536), "out_of_range"),
            (PointId(0), Datum::Text("x".to_owned()), "wrong_type"),
        ],
    };
    let checked = contract::check(&mut Patient(driver), &fixture).await;
    assert_eq!(checked, Ok(()));
    works.abort();
}
