//! `kill -9` during a mixed load of registrations, shadow updates, commands and mutations: all that was answered `ok`
//! or `accepted` is there afterwards, and nothing that was answered with an error is.
//!
//! Each round works on the data of the one before. `MANIFOLD_CRASH_ROUNDS` sets the number of rounds, `MANIFOLD_SEED`
//! repeats a run's choices.

use manifold_tests::admin::Admin;
use manifold_tests::deeds::{self, Deeds, Kind};
use manifold_tests::load::{self, Written};
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::{Hello, Message, Packet, Version, Wire, packet};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Rounds unless the environment says otherwise.
const ROUNDS: u64 = 4;

/// The longest that a round works before it is killed.
const WORK_MS_MAX: u64 = 600;

/// The thing whose shadow is reported, and which serves commands.
const THING: &str = "machine";

const DOOR: &str = "door";

/// What was promised, from the first round to the last.
struct Story {
    thing_secret: String,
    door_secret: String,
    deeds: BTreeMap<Kind, Deeds>,
    shadow: Written,
    registered: BTreeMap<u64, Value>,
    next_serial: u64,
    /// Serial numbers below have been looked at after a round before.
    looked_at: u64,
    refused_serials: BTreeSet<String>,
    /// How the commands of a round have ended.
    ended: BTreeMap<String, String>,
    commands: usize,
    next_command: u64,
    random: Random,
}

#[tokio::test]
async fn what_was_answered_ok_is_there_and_what_was_answered_with_an_error_is_not() {
    let rounds = std::env::var("MANIFOLD_CRASH_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |it| it.parse().expect("the rounds are a number"));
    let seed = random::seed();
    println!("{}={seed}, {rounds} rounds", random::SEED_VARIABLE);
    let site = Site::new().with("limits.commands_remembered_max=1000");
    let mut node = site.start().await;
    let mut story = Story::begin(&node, Random::new(seed)).await;
    for round in 1..=rounds {
        story.work(node).await;
        node = site.start().await;
        story.hold_against(&node, round).await;
    }
    story.looked_at = 0;
    story.check_registered(&mut Admin::enter(&node).await, &node, rounds).await;
    println!(
        "{} registered, {} commands ended, shadow {:?}",
        story.registered.len(),
        story.commands,
        story.shadow
    );
    for (kind, deeds) in &story.deeds {
        println!("{kind:?}: {}", deeds.summary());
    }
    assert!(story.commands > 0 && !story.registered.is_empty() && story.shadow.acknowledged > 0);
    node.terminate().await;
}

impl Story {
    async fn begin(node: &Node, random: Random) -> Self {
        let mut admin = Admin::enter(node).await;
        let thing_secret = admin.create_thing(THING, "acme/berlin/machine").await;
        let door = json!({ "enrolment": DOOR, "name": "new-{serial}", "listed_only": false });
        let door = admin.must("enrolments", "create", door).await;
        let door_secret = door["secret"].as_str().expect("a secret is made").to_owned();
        Self {
            thing_secret,
            door_secret,
            deeds: Kind::ALL.map(|kind| (kind, Deeds::default())).into(),
            shadow: Written::default(),
            registered: BTreeMap::new(),
            next_serial: 1,
            looked_at: 0,
            refused_serials: BTreeSet::new(),
            ended: BTreeMap::new(),
            commands: 0,
            next_command: 1,
            random,
        }
    }

    fn device(&self, client_id: &str) -> Hello {
        Hello::new(Version::V5, client_id).user(THING, &self.thing_secret)
    }

    /// Works on everything at once until the kill, and remembers what was answered.
    async fn work(&mut self, node: Node) {
        let mut wire = node.client(&self.device("reporter")).await;
        assert_eq!(wire.subscribe("things/machine/shadow/update/accepted", 1).await, 1);
        let reporter = tokio::spawn(load::report(wire, THING.to_owned(), self.shadow));
        let mut wire = node.client(&self.device("server")).await;
        assert_eq!(wire.subscribe("things/machine/commands/+/request", 1).await, 1);
        let server = tokio::spawn(serve(wire));
        let mut wire = node.client(&operator("asker")).await;
        assert_eq!(wire.subscribe("things/machine/commands/+/result", 1).await, 1);
        let asker = tokio::spawn(ask(wire, self.next_command));
        let door = Hello::new(Version::V3, "comer").user(DOOR, &self.door_secret);
        let mut wire = node.client(&door).await;
        assert_eq!(wire.subscribe("clients/comer/reply/+", 1).await, 1);
        let comer = tokio::spawn(register(wire, self.next_serial));
        let mut operators = Vec::new();
        for (kind, deeds) in std::mem::take(&mut self.deeds) {
            let admin = Admin::enter_with(&node, &format!("operator-{kind:?}")).await;
            let seed = self.random.below(u64::MAX);
            let work = deeds::work(admin, kind, deeds, Random::new(seed));
            operators.push(tokio::spawn(async move { (kind, work.await) }));
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(WORK_MS_MAX))).await;
        node.kill().await;
        self.shadow = reporter.await.expect("the device does not panic");
        server.await.expect("the device does not panic");
        let asked = asker.await.expect("the app does not panic");
        self.next_command = asked.next;
        self.ended.extend(asked.ended);
        let came = comer.await.expect("the comer does not panic");
        self.next_serial = came.next;
        self.registered.extend(came.registered);
        self.refused_serials.extend(came.refused);
        for operator in operators {
            let (kind, deeds) = operator.await.expect("an operator does not panic");
            self.deeds.insert(kind, deeds);
        }
    }

    async fn hold_against(&mut self, node: &Node, round: u64) {
        let mut admin = Admin::enter(node).await;
        for (kind, deeds) in &mut self.deeds {
            deeds.settle(&mut admin, *kind, round).await;
        }
        self.check_shadow(&mut admin, round).await;
        self.check_registered(&mut admin, node, round).await;
        for (id, status) in &self.ended {
            let shown = admin.must("commands", "get", json!({ "thing": THING, "id": id })).await;
            assert_eq!(shown["state"], *status, "round {round}: {id} has ended twice");
        }
        // A thing remembers its last commands only, so those of a round are looked at once.
        self.commands += std::mem::take(&mut self.ended).len();
        let verdict = admin.must("audit", "verify", json!({})).await;
        assert_eq!(verdict["holds"], true, "round {round}: {verdict}");
    }

    async fn check_shadow(&mut self, admin: &mut Admin, round: u64) {
        if self.shadow.acknowledged == 0 {
            return;
        }
        let shadow = admin.must("shadows", "get", json!({ "thing": THING })).await;
        let number = shadow["state"]["reported"]["n"].as_u64();
        let number = number.unwrap_or_else(|| panic!("a number was reported: {shadow}"));
        let promised = self.shadow.acknowledged..=self.shadow.sent;
        assert!(promised.contains(&number), "round {round}: {shadow} is not in {promised:?}");
        self.shadow.acknowledged = number;
    }

    /// Who was registered is, with the secret that was answered, and who was refused is not.
    async fn check_registered(&mut self, admin: &mut Admin, node: &Node, round: u64) {
        for (serial, _) in self.registered.range(self.looked_at..) {
            let thing = json!({ "thing": format!("new-{serial}") });
            let shown = admin.must("things", "get", thing).await;
            assert_eq!(shown["serial"], serial.to_string(), "round {round}");
        }
        self.looked_at = self.next_serial;
        for serial in std::mem::take(&mut self.refused_serials) {
            let listed =
                admin.must("things", "list", json!({ "query": { "serial": serial } })).await;
            assert_eq!(listed["items"], json!([]), "round {round}: {serial} was refused");
        }
        if let Some((_, data)) = self.registered.last_key_value() {
            let text = |field: &str| data[field].as_str().expect("the answer names it").to_owned();
            let hello = Hello::new(Version::V5, "new").user(&text("user"), &text("secret"));
            node.client(&hello).await.leave().await;
        }
    }
}

fn operator(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id).user("admin", SECRET)
}

/// What a comer was answered.
#[derive(Default)]
struct Came {
    next: u64,
    registered: BTreeMap<u64, Value>,
    refused: BTreeSet<String>,
}

/// Registers serial numbers, and between them some that no thing may have, until the connection ends.
async fn register(mut wire: Wire, first: u64) -> Came {
    let mut came = Came { next: first, ..Came::default() };
    loop {
        let number = came.next;
        came.next += 1;
        let is_bad = number.is_multiple_of(5);
        let serial = if is_bad { format!("{number} with a blank") } else { number.to_string() };
        let nonce = format!("a nonce of the device {number}");
        let body = json!({ "serial": serial, "nonce": nonce }).to_string();
        let id = wire.new_id();
        let topic = format!("admin/enrolments/register/{number}");
        let bytes = (topic.as_bytes(), body.as_bytes());
        wire.send(&packet::publish(Version::V3, bytes.0, bytes.1, 0b0010, id)).await;
        let Some(answer) = next_publish(&mut wire).await else { return came };
        let mut answer = answer.json();
        match answer["ok"].as_bool() {
            Some(true) => drop(came.registered.insert(number, answer["data"].take())),
            Some(false) => {
                assert!(is_bad, "{serial} is refused: {answer}");
                came.refused.insert(serial);
            }
            None => panic!("an answer says whether it is ok: {answer}"),
        }
    }
}

/// The next message, acknowledged; `None` when the connection has ended.
async fn next_publish(wire: &mut Wire) -> Option<Message> {
    loop {
        if let Packet::Publish(message) = wire.next().await? {
            wire.acknowledge(&message).await;
            return Some(message);
        }
    }
}

/// A device that answers what it is asked, until the connection ends.
async fn serve(mut wire: Wire) {
    while let Some(request) = next_publish(&mut wire).await {
        let response = json!({ "id": request.json()["id"], "status": "ok" }).to_string();
        let topic = request.topic.replace("/request", "/response");
        let id = wire.new_id();
        let bytes = (topic.as_bytes(), response.as_bytes());
        wire.send(&packet::publish(Version::V5, bytes.0, bytes.1, 0b0010, id)).await;
    }
}

/// How commands have ended.
#[derive(Default)]
struct Asked {
    next: u64,
    ended: BTreeMap<String, String>,
}

/// Asks for one command after the other, until the connection ends.
async fn ask(mut wire: Wire, first: u64) -> Asked {
    let mut asked = Asked { next: first, ended: BTreeMap::new() };
    loop {
        let command = format!("c{}", asked.next);
        asked.next += 1;
        let body = json!({ "id": command, "timeout_ms": 60_000 }).to_string();
        let id = wire.new_id();
        let topic = b"things/machine/commands/run/invoke";
        wire.send(&packet::publish(Version::V5, topic, body.as_bytes(), 0b0010, id)).await;
        loop {
            let Some(result) = next_publish(&mut wire).await else { return asked };
            let result = result.json();
            let text = |field: &str| result[field].as_str().expect("a result says it").to_owned();
            // One of a round before may end only now.
            let is_this = result["id"] == command.as_str();
            asked.ended.insert(text("id"), text("status"));
            if is_this {
                break;
            }
        }
    }
}
