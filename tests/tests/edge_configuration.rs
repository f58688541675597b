//! Drivers and tags of an edge node are wanted at the hub and had at the edge node: each change at either end reaches
//! the other, whoever was away.

use manifold_tests::admin::Admin;
use manifold_tests::bridges::hello;
use manifold_tests::edges::{EDGE, Hub, status};
use manifold_tests::node::Node;
use manifold_tests::process::PATIENCE;
use manifold_tests::proxy::{Mood, Proxy};
use manifold_tests::random::{self, Random};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

fn tag(name: &str, path: &str) -> Value {
    let address = "memory";
    json!({ "tag": name, "address": address, "type": "float64", "path": path, "access": "read_write" })
}

fn simulator() -> Value {
    json!({ "protocol": "simulator" })
}

fn driver(name: &str, tags: &[Value]) -> Value {
    json!({ "driver": name, "edge": EDGE, "config": simulator(), "tags": tags })
}

/// What is said of a driver of the edge node, once it is as wanted.
async fn configured(admin: &mut Admin, driver: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = admin.ask("drivers", "get", json!({ "driver": driver })).await;
        if let Ok(shown) = &shown
            && is_it(&shown["configuration"])
        {
            return shown.clone();
        }
        assert!(Instant::now() < deadline, "the driver {driver} is not as wanted: {shown:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn in_sync(configuration: &Value) -> bool {
    configuration["state"] == "in_sync"
}

/// A driver as a node has it; `None` if it has none. The edge node counts revisions of its own.
async fn document(admin: &mut Admin, driver: &str) -> Option<Value> {
    let mut told = admin.ask("drivers", "export", json!({ "driver": driver })).await.ok()?;
    for of_one_end in ["edge", "created", "revision"] {
        told.as_object_mut().expect("an object").remove(of_one_end);
    }
    Some(told)
}

/// Waits until both ends have the same of a driver, and returns it.
async fn same(hub: &mut Admin, edge: &mut Admin, driver: &str) -> Option<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (here, there) = (document(hub, driver).await, document(edge, driver).await);
        if here == there {
            return here;
        }
        assert!(Instant::now() < deadline, "{driver}: hub {here:?}, edge node {there:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn online(admin: &mut Admin, is_online: bool) {
    status(admin, "as wanted", |it| it["online"] == is_online).await;
}

async fn proxy_to(port: u16) -> Proxy {
    Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

#[tokio::test]
async fn what_is_wanted_while_the_edge_node_is_away_is_there_when_it_comes() {
    let (hub, hub_node) = Hub::found().await;
    let mut admin = Admin::enter(&hub_node).await;
    let nobody = json!({ "driver": "plc", "edge": "nobody", "config": simulator() });
    let refusal = admin.ask("drivers", "create", nobody).await.expect_err("it is not registered");
    assert_eq!((&refusal["code"], &refusal["field"]), (&json!("not_found"), &json!("edge")));
    let wanted = json!({ "driver": "plc", "edge": EDGE, "config": simulator() });
    admin.must("drivers", "create", wanted).await;
    let speed = "acme/berlin/press/_raw/speed";
    let tags = json!({ "driver": "plc", "tags": [tag("speed", speed)] });
    admin.must("tags", "create", tags).await;
    let shown = configured(&mut admin, "plc", |it| it["state"] == "pending").await;
    assert_eq!((&shown["edge"], &shown["revision"]), (&json!(EDGE), &json!(2)));
    assert_eq!(shown["status"], Value::Null, "it does not run here");
    // A machine there cannot be asked meanwhile.
    let write = json!({ "driver": "plc", "tag": "speed", "v": 5 });
    let refusal = admin.ask("tags", "write", write.clone()).await.expect_err("it is away");
    assert_eq!(refusal["code"], "unavailable");

    let edge = hub.edge(hub.port).start().await;
    online(&mut admin, true).await;
    // What has just come is given what is wanted before it is asked.
    let written = admin.must("tags", "write", write).await;
    assert_eq!((&written["driver"], &written["tag"]), (&json!("plc"), &json!("speed")));
    let shown = configured(&mut admin, "plc", in_sync).await;
    assert_eq!(shown["configuration"]["applied"], 2);
    let read = json!({ "driver": "plc", "tags": ["speed"] });
    let read = admin.must("tags", "read", read).await;
    assert_eq!(read["values"][0]["v"], 5.0, "{read}");
    let test = admin.must("drivers", "test", json!({ "driver": "plc" })).await;
    let proposed = json!({ "config": simulator(), "edge": EDGE });
    assert_eq!(admin.must("drivers", "test", proposed).await["connected"], true, "{test}");
    let mut there = Admin::enter(&edge).await;
    let records = there.must("audit", "list", json!({ "action": "drivers apply" })).await;
    assert_eq!(records["items"][0]["by"]["name"], "$platform", "{records}");

    // Gone at the hub is gone there, also its value.
    admin.must("drivers", "delete", json!({ "driver": "plc" })).await;
    assert_eq!(same(&mut admin, &mut there, "plc").await, None);
}

#[tokio::test]
async fn an_edit_at_the_edge_node_goes_up_and_the_hub_is_right_if_both_have_changed() {
    let (hub, hub_node) = Hub::found().await;
    let proxy = proxy_to(hub.port).await;
    let edge = hub.edge(proxy.port()).start().await;
    let (mut admin, mut there) = (Admin::enter(&hub_node).await, Admin::enter(&edge).await);
    // Created at the edge node, before or after it has come.
    let mut local = driver("local", &[tag("a", "acme/_raw/a")]);
    local.as_object_mut().expect("an object").remove("edge");
    let made = there.must("drivers", "apply", local.clone()).await;
    assert_eq!((&made["changed"], &made["tags"]), (&json!(true), &json!(1)));
    assert_eq!(there.must("drivers", "apply", local).await["changed"], false);
    let shown = configured(&mut admin, "local", in_sync).await;
    assert_eq!(shown["edge"], EDGE);
    let unit = json!({ "driver": "local", "tag": "a", "unit": "bar" });
    there.must("tags", "update", unit).await;
    let deadline = Instant::now() + PATIENCE;
    while admin.must("tags", "get", json!({ "driver": "local", "tag": "a" })).await["unit"] != "bar"
    {
        assert!(Instant::now() < deadline, "the edit does not go up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let mut events = hub_node.client(&hello("events")).await;
    events.subscribe(&format!("events/edges/{EDGE}"), 1).await;
    proxy.set(Mood::Cut);
    online(&mut admin, false).await;
    there.must("tags", "update", json!({ "driver": "local", "tag": "a", "unit": "psi" })).await;
    admin.must("tags", "update", json!({ "driver": "local", "tag": "a", "unit": "Pa" })).await;
    configured(&mut admin, "local", |it| it["state"] == "pending").await;
    proxy.set(Mood::Passing);
    let agreed = same(&mut admin, &mut there, "local").await.expect("it is there");
    assert_eq!(agreed["tags"][0]["unit"], "Pa");
    loop {
        let event = events.next_message().await.json();
        if event["event"] == "configuration_overruled" {
            assert_eq!(event["driver"], "local");
            break;
        }
    }
    there.must("drivers", "delete", json!({ "driver": "local" })).await;
    assert_eq!(same(&mut admin, &mut there, "local").await, None);
}

#[tokio::test]
async fn what_one_end_does_not_take_is_told_and_the_old_one_goes_on() {
    let (hub, hub_node) = Hub::found().await;
    let edge = hub.edge(hub.port).start().await;
    let (mut admin, mut there) = (Admin::enter(&hub_node).await, Admin::enter(&edge).await);
    online(&mut admin, true).await;
    admin.must("drivers", "create", json!({ "driver": "plc", "config": simulator() })).await;
    let taken =
        json!({ "driver": "plc", "config": simulator(), "tags": [tag("t", "acme/_raw/t")] });
    there.must("drivers", "apply", taken).await;
    // The hub has one of that name itself.
    let said = |driver: &'static str, state: &'static str| {
        move |it: &Value| it["drivers"][driver]["state"] == state
    };
    let told = configuration(&hub_node, said("plc", "refused")).await;
    let plc = &told["drivers"]["plc"];
    assert_eq!(
        (&plc["refused_by"], &plc["reason"]["code"]),
        (&json!("hub"), &json!("already_exists"))
    );
    assert_eq!(told["in_sync"], false);

    // The path belongs to a tag there, of which the hub knows nothing.
    admin.must("drivers", "apply", driver("b", &[])).await;
    configured(&mut admin, "b", in_sync).await;
    admin.must("drivers", "apply", driver("b", &[tag("u", "acme/_raw/t")])).await;
    let shown = configured(&mut admin, "b", |it| it["state"] == "refused").await;
    let refused = &shown["configuration"];
    assert_eq!((&refused["refused_by"], &refused["applied"]), (&json!("edge"), &json!(1)));
    assert_eq!(refused["reason"]["field"], "tags.u.path", "{refused}");
    let old = document(&mut there, "b").await.expect("the old one goes on");
    assert_eq!(old["tags"], json!([]));
    // Another change is tried.
    admin.must("drivers", "apply", driver("b", &[tag("u", "acme/_raw/u")])).await;
    configured(&mut admin, "b", in_sync).await;
    // And so is the same once the edge node has changed.
    there.must("drivers", "delete", json!({ "driver": "plc" })).await;
    configuration(&hub_node, |it| it["in_sync"] == true && it["drivers"]["plc"].is_null()).await;
}

/// Waits for what the hub says of the configuration of the edge node.
async fn configuration(hub: &Node, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut listener = hub.client(&hello("looks")).await;
    listener.subscribe(&format!("edges/{EDGE}/configuration"), 1).await;
    loop {
        let told = listener.next_message().await.json();
        if is_it(&told) {
            return told;
        }
    }
}

/// A broken edge node is replaced by an empty one, which gets all that the hub wants of it.
#[tokio::test]
async fn an_empty_edge_node_gets_everything_and_takes_nothing_away() {
    let (hub, hub_node) = Hub::found().await;
    let mut admin = Admin::enter(&hub_node).await;
    let edge = hub.edge(hub.port).start().await;
    for name in ["a", "b", "c"] {
        let path = format!("acme/_raw/{name}");
        admin.must("drivers", "apply", driver(name, &[tag("t", &path)])).await;
        configured(&mut admin, name, in_sync).await;
    }
    edge.kill().await;
    online(&mut admin, false).await;
    let other = hub.edge(hub.port).start().await;
    let mut there = Admin::enter(&other).await;
    for name in ["a", "b", "c"] {
        let has = same(&mut admin, &mut there, name).await.expect("it is not taken away");
        assert_eq!(has["tags"][0]["tag"], "t");
    }
    // Deregistered, nothing is wanted of it any more.
    admin.must("edges", "delete", json!({ "edge": EDGE })).await;
    assert_eq!(admin.must("drivers", "list", json!({})).await["items"], json!([]));
    assert!(document(&mut there, "a").await.is_some(), "it goes on for itself");
}

/// Whatever happens in whichever order, both ends have the same in the end.
#[tokio::test]
async fn random_edits_cuts_and_kills_of_either_side_end_in_agreement() {
    const DRIVERS: [&str; 3] = ["a", "b", "c"];
    let mut random = Random::new(random::seed());
    let (hub, hub_node) = Hub::found().await;
    let proxy = proxy_to(hub.port).await;
    let site = hub.edge(proxy.port());
    let mut nodes = [Some(hub_node), Some(site.start().await)];
    for turn in 0..24_u64 {
        for _ in 0..3 {
            let end = random.below(2) as usize;
            let node = nodes[end].as_ref().expect("it runs");
            let mut admin = Admin::enter(node).await;
            let name = DRIVERS[random.below(3) as usize];
            let path = format!("acme/_raw/{name}{}", random.below(4));
            let mut wanted = driver(name, &[tag("t", &path), tag("u", &format!("{path}-u"))]);
            if end == 1 {
                wanted.as_object_mut().expect("an object").remove("edge");
            }
            // One that is not there cannot be deleted, which is fine here.
            match random.below(4) {
                0 => drop(admin.ask("drivers", "delete", json!({ "driver": name })).await),
                _ => drop(admin.must("drivers", "apply", wanted).await),
            }
        }
        match random.below(4) {
            0 => proxy.set(if turn % 2 == 0 { Mood::Cut } else { Mood::Passing }),
            1 => {
                nodes[0].take().expect("it runs").kill().await;
                nodes[0] = Some(hub.site.start().await);
            }
            2 => {
                nodes[1].take().expect("it runs").kill().await;
                nodes[1] = Some(site.start().await);
            }
            _ => tokio::time::sleep(Duration::from_millis(random.below(400))).await,
        }
    }
    proxy.set(Mood::Passing);
    let [Some(hub_node), Some(edge)] = &nodes else { panic!("both run") };
    let mut admin = Admin::enter(hub_node).await;
    online(&mut admin, true).await;
    configuration(hub_node, |it| it["in_sync"] == true).await;
    let mut there = Admin::enter(edge).await;
    for name in DRIVERS {
        same(&mut admin, &mut there, name).await;
    }
}
