//! Both ends of a shadow are changed, and commands given, while either side is killed and the line is cut.

use super::{answer, create, device, given, invoke, online, same, update};
use manifold_tests::admin::Admin;
use manifold_tests::bridges::hello;
use manifold_tests::edges::Hub;
use manifold_tests::node::{Node, Site};
use manifold_tests::proxy::{Mood, Proxy};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::Wire;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

/// Keys that one writer sets, each to the number of the round, and what was acknowledged of them.
#[derive(Default)]
struct Writer {
    acknowledged: u64,
}

impl Writer {
    async fn write(&mut self, client: &mut Wire, section: &str, key: &str) {
        let next = self.acknowledged + 1;
        update(client, json!({ section: { key: next } })).await;
        self.acknowledged = next;
    }
}

/// A hub, an edge node and the line between them, of which a round breaks one.
struct Story {
    hub: Hub,
    site: Site,
    proxy: Proxy,
    hub_node: Option<Node>,
    edge: Option<Node>,
    secret: String,
    of_hub: Writer,
    of_edge: Writer,
    of_device: Writer,
    is_flagged: bool,
    /// How often the device was asked for each command.
    done: BTreeMap<String, u64>,
}

impl Story {
    async fn begin() -> Self {
        let (hub, hub_node) = Hub::found().await;
        let proxy = Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, hub.port))).await;
        let site = hub.edge(proxy.port());
        let edge = site.start().await;
        let mut admin = Admin::enter(&hub_node).await;
        online(&mut admin, true).await;
        let secret = create(&mut admin, "fan").await;
        given(&mut admin, "fan").await;
        let (of_hub, of_edge, of_device) =
            (Writer::default(), Writer::default(), Writer::default());
        let (hub_node, edge) = (Some(hub_node), Some(edge));
        let (is_flagged, done) = (false, BTreeMap::new());
        Self {
            hub,
            site,
            proxy,
            hub_node,
            edge,
            secret,
            of_hub,
            of_edge,
            of_device,
            is_flagged,
            done,
        }
    }

    fn hub_node(&self) -> &Node {
        self.hub_node.as_ref().expect("it runs")
    }

    fn edge(&self) -> &Node {
        self.edge.as_ref().expect("it runs")
    }

    async fn round(&mut self, round: u64, random: &mut Random) {
        let mut app = self.hub_node().client(&hello("app")).await;
        let mut beside = self.edge().client(&hello("beside")).await;
        let mut fan = device(self.edge(), &self.secret).await;
        let id = format!("c{round}");
        app.publish_acked("things/fan/commands/spin/invoke", &invoke(&id, 60_000)).await;
        for _ in 0..5 {
            self.of_hub.write(&mut app, "desired", "hub").await;
            // One that comes and goes: what is taken away at one end does not come back from the other.
            self.is_flagged = random.below(2) == 0;
            let flag = self.is_flagged.then_some(true);
            update(&mut app, json!({ "desired": { "flag": flag } })).await;
            self.of_edge.write(&mut beside, "desired", "edge").await;
            self.of_device.write(&mut fan, "reported", "device").await;
        }
        self.serve(&mut fan, Duration::from_millis(random.below(400))).await;
        match random.below(4) {
            0 => {
                self.proxy.set(Mood::Cut);
                self.proxy.set(Mood::Passing);
            }
            1 => {
                self.edge.take().expect("it runs").kill().await;
                self.edge = Some(self.site.start().await);
            }
            2 => {
                self.hub_node.take().expect("it runs").kill().await;
                self.hub_node = Some(self.hub.site.start().await);
            }
            _ => {
                self.proxy.set(Mood::Cut);
                self.of_hub.write(&mut app, "desired", "hub").await;
                self.of_edge.write(&mut beside, "desired", "edge").await;
                self.proxy.set(Mood::Passing);
            }
        }
    }

    /// The device does what it is asked for, for a while.
    async fn serve(&mut self, fan: &mut Wire, time: Duration) {
        let until = Instant::now() + time;
        while let Ok(message) = tokio::time::timeout_at(until, fan.next_message()).await {
            if message.topic.ends_with("/request") {
                let id = message.json()["id"].as_str().expect("it has an id").to_owned();
                *self.done.entry(id).or_default() += 1;
                answer(fan, &message).await;
            }
        }
    }

    /// What both ends have in the end.
    fn expected(&self) -> Value {
        let mut expected = json!({
            "desired": { "hub": self.of_hub.acknowledged, "edge": self.of_edge.acknowledged },
            "reported": { "device": self.of_device.acknowledged },
        });
        if self.is_flagged {
            expected["desired"]["flag"] = json!(true);
        }
        expected
    }
}

#[tokio::test]
async fn kills_and_cuts_lose_no_word_of_either_end_and_no_command_ends_twice() {
    const ROUNDS: u64 = 8;
    let seed = random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut story = Story::begin().await;
    for round in 0..ROUNDS {
        story.round(round, &mut random).await;
    }
    let (mut admin, mut edge_admin) =
        (Admin::enter(story.hub_node()).await, Admin::enter(story.edge()).await);
    let mut fan = device(story.edge(), &story.secret).await;
    let expected = story.expected();
    same(&mut admin, &mut edge_admin, |it| *it == expected).await;
    // What waited is done now; what was handed over and had no answer times out at its deadline, which is later.
    story.serve(&mut fan, Duration::from_secs(2)).await;
    for round in 0..ROUNDS {
        let id = format!("c{round}");
        let command = admin.must("commands", "get", json!({ "thing": "fan", "id": id })).await;
        let times = story.done.get(&id).copied().unwrap_or(0);
        assert!(times <= 1, "{id} was asked for {times} times");
        let state = command["state"].as_str().expect("it has a state");
        match times {
            1 => assert_eq!(state, "succeeded", "{id}: the device has answered"),
            _ => assert_eq!(state, "sent", "{id}: the device never heard of it"),
        }
    }
    println!("{} commands done of {ROUNDS}", story.done.len());
    assert!(!story.done.is_empty());
}
