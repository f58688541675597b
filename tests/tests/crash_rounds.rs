//! `kill -9` at a random moment, again and again: nothing that was acknowledged is ever lost.
//!
//! Each round works on the data of the one before: three publishers with QoS 1 for a persistent
//! subscriber and for a crew of two that share a subscription, one retained topic, one shadow; after the
//! restart all of them are held against what was promised. `MANIFOLD_CRASH_ROUNDS` sets the number of
//! rounds, `MANIFOLD_SEED` repeats a run's choices.

use manifold_tests::admin::Admin;
use manifold_tests::ledger::Ledger;
use manifold_tests::load::{self, Written};
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::{Hello, Packet, Version, Wire};
use std::collections::BTreeSet;
use std::time::Duration;

/// Rounds unless the environment says otherwise.
const ROUNDS: u64 = 5;

/// The longest that a round works before it is killed.
const WORK_MS_MAX: u64 = 500;

const PUBLISHERS: u64 = 3;
const CREW: u64 = 2;
const THING: &str = "pump7";

/// How long the crew may wait for the next message.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is promised, from the first round to the last.
struct Story {
    random: Random,
    app_secret: String,
    thing_secret: String,
    ledger: Ledger,
    shared: Ledger,
    next: [u64; PUBLISHERS as usize],
    retained: Written,
    shadow: Written,
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let rounds = std::env::var("MANIFOLD_CRASH_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |it| it.parse().expect("the rounds are a number"));
    let seed = random::seed();
    println!("{}={seed}, {rounds} rounds", random::SEED_VARIABLE);
    let site = Site::new();
    let node = site.start().await;
    let mut story = begin(&node, Random::new(seed)).await;
    story.work(node).await;
    for round in 1..rounds {
        let node = site.start().await;
        story.hold_against(&node, round).await;
        story.work(node).await;
    }
    let node = site.start().await;
    story.hold_against(&node, rounds).await;
    println!("messages: {}", story.ledger.summary());
    println!("shared: {}", story.shared.summary());
    println!("retained: {:?}", story.retained);
    println!("shadow: {:?}", story.shadow);
}

async fn begin(node: &Node, random: Random) -> Story {
    let mut admin = Admin::enter(node).await;
    let thing_secret = admin.create_thing(THING, "acme/berlin/pump7").await;
    let app_secret = admin.create_user("load", "app").await;
    let story = Story {
        random,
        app_secret,
        thing_secret,
        ledger: Ledger::default(),
        shared: Ledger::default(),
        next: [1; PUBLISHERS as usize],
        retained: Written::default(),
        shadow: Written::default(),
    };
    let mut subscriber = node.client(&story.subscriber()).await;
    assert_eq!(subscriber.subscribe("crash/+", 1).await, 1);
    subscriber.leave().await;
    for index in 0..CREW {
        let mut member = node.client(&story.member(index)).await;
        assert_eq!(member.subscribe("$share/crew/crash/+", 1).await, 1);
        member.leave().await;
    }
    story
}

impl Story {
    fn app(&self, client_id: &str) -> Hello {
        Hello::new(Version::V5, client_id).user("load", &self.app_secret)
    }

    fn subscriber(&self) -> Hello {
        self.app("subscriber").persistent()
    }

    fn member(&self, index: u64) -> Hello {
        self.app(&format!("member-{index}")).persistent()
    }

    /// Works until the kill, and remembers what was promised until then.
    async fn work(&mut self, node: Node) {
        let mut publishers = Vec::new();
        for index in 0..PUBLISHERS {
            let wire = node.client(&self.app(&format!("publisher-{index}"))).await;
            let first = self.next[index as usize];
            publishers.push(tokio::spawn(load::publish(wire, topic(index), first)));
        }
        let wire = node.client(&self.app("retainer")).await;
        let retainer = tokio::spawn(load::retain(wire, "kept/number".to_owned(), self.retained));
        let hello = Hello::new(Version::V5, "device").user(THING, &self.thing_secret);
        let mut wire = node.client(&hello).await;
        assert_eq!(wire.subscribe("things/pump7/shadow/update/accepted", 1).await, 1);
        let device = tokio::spawn(load::report(wire, THING.to_owned(), self.shadow));
        // In some rounds a subscriber is there, in others everything waits for it.
        let mut crew = Vec::new();
        for index in 0..CREW {
            if self.random.below(2) == 0 {
                let wire = node.client(&self.member(index)).await;
                crew.push(tokio::spawn(load::take(wire)));
            }
        }
        let is_listening = self.random.below(2) == 0;
        let listener = match is_listening {
            true => Some(node.client(&self.subscriber()).await),
            false => None,
        };
        let work_ms = self.random.below(WORK_MS_MAX);
        let kill = async {
            tokio::time::sleep(Duration::from_millis(work_ms)).await;
            node.kill().await;
        };
        tokio::join!(kill, self.listen(listener));
        for (index, publisher) in publishers.into_iter().enumerate() {
            let published = publisher.await.expect("a publisher does not panic");
            self.next[index] = published.next;
            for number in published.acknowledged {
                self.ledger.acknowledge(&topic(index as u64), number);
                self.shared.acknowledge(&topic(index as u64), number);
            }
        }
        for member in crew {
            for (topic, number) in member.await.expect("a member does not panic") {
                self.shared.share(&topic, number);
            }
        }
        self.retained = retainer.await.expect("the retainer does not panic");
        self.shadow = device.await.expect("the device does not panic");
    }

    /// Takes what comes until the node is gone.
    async fn listen(&mut self, listener: Option<Wire>) {
        let Some(mut listener) = listener else { return };
        self.ledger.reconnect();
        while let Some(packet) = listener.next().await {
            let Packet::Publish(message) = packet else { continue };
            let number = message.text().parse().expect("a number was published");
            // What is acknowledged is not sent again, so it counts from here on.
            let delivered = self.ledger.deliver(&message.topic, number);
            assert_eq!(delivered, Ok(()));
            listener.acknowledge(&message).await;
        }
    }

    /// Compares what the node has with what was promised.
    async fn hold_against(&mut self, node: &Node, round: u64) {
        self.collect(node, round).await;
        assert_eq!(self.ledger.missing(), [], "round {round}: acknowledged, but lost");
        self.collect_shared(node, round).await;
        self.check_retained(node, round).await;
        self.check_shadow(node, round).await;
    }

    /// Everything that waits for the subscriber, up to a message that is sent now.
    async fn collect(&mut self, node: &Node, round: u64) {
        let mut subscriber = node.client(&self.subscriber()).await;
        assert!(subscriber.is_session_present(), "round {round}: the session is lost");
        self.ledger.reconnect();
        let mut app = node.client(&self.app("marker")).await;
        assert_eq!(app.publish_acked("crash/end", round.to_string().as_bytes()).await, 0);
        loop {
            let message = subscriber.next_message().await;
            let number = message.text().parse().expect("a number was published");
            if message.topic == "crash/end" && number == round {
                break;
            }
            assert_eq!(self.ledger.deliver(&message.topic, number), Ok(()), "round {round}");
        }
        subscriber.leave().await;
    }

    /// Everything that waits for the crew, until what was promised is there.
    async fn collect_shared(&mut self, node: &Node, round: u64) {
        let mut missing: BTreeSet<_> = self.shared.missing().into_iter().collect();
        let mut crew = [node.client(&self.member(0)).await, node.client(&self.member(1)).await];
        assert!(crew.iter().all(Wire::is_session_present), "round {round}: a session is lost");
        while !missing.is_empty() {
            let [one, other] = &mut crew;
            // Neither loses a packet when the other one is first: what was read stays with the wire.
            let (packet, member) = tokio::select! {
                packet = one.next() => (packet, 0),
                packet = other.next() => (packet, 1),
                () = tokio::time::sleep(PATIENCE) => panic!("round {round}: lost: {missing:?}"),
            };
            let Some(Packet::Publish(message)) = packet else {
                panic!("the node stays: {packet:?}")
            };
            let number = message.text().parse().expect("a number was published");
            self.shared.share(&message.topic, number);
            missing.remove(&(message.topic.clone(), number));
            crew[member].acknowledge(&message).await;
        }
        for member in crew {
            member.leave().await;
        }
    }

    async fn check_retained(&mut self, node: &Node, round: u64) {
        if self.retained.acknowledged == 0 {
            return;
        }
        let mut app = node.client(&self.app("reader")).await;
        assert_eq!(app.subscribe("kept/number", 1).await, 1);
        let number: u64 = app.next_message().await.text().parse().expect("a number was kept");
        let promised = self.retained.acknowledged..=self.retained.sent;
        assert!(promised.contains(&number), "round {round}: {number} is kept, not {promised:?}");
        // What has survived a restart is durable, promised or not.
        self.retained.acknowledged = number;
        app.leave().await;
    }

    async fn check_shadow(&mut self, node: &Node, round: u64) {
        if self.shadow.acknowledged == 0 {
            return;
        }
        let hello = Hello::new(Version::V5, "shadow-reader").user("admin", SECRET);
        let mut reader = node.client(&hello).await;
        assert_eq!(reader.subscribe("things/pump7/shadow/get/accepted", 1).await, 1);
        reader.publish_acked("things/pump7/shadow/get", b"{}").await;
        let shadow = reader.next_message().await.json();
        let number = shadow["state"]["reported"]["n"].as_u64().expect("a number was reported");
        let promised = self.shadow.acknowledged..=self.shadow.sent;
        assert!(promised.contains(&number), "round {round}: {shadow} is not in {promised:?}");
        // One update is under way at a time, so at most one was done and not acknowledged. Its number
        // may be more than the next, since one that was lost in a round before is not sent again.
        let version = self.shadow.version + u64::from(number != self.shadow.acknowledged);
        assert_eq!(shadow["version"], version, "round {round}: {:?}, {shadow}", self.shadow);
        self.shadow = Written { acknowledged: number, version, ..self.shadow };
        reader.leave().await;
    }
}

fn topic(publisher: u64) -> String {
    format!("crash/{publisher}")
}
