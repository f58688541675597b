//! QoS 2 over `kill -9` at a random moment, again and again: every message once, in order, none left out.
//!
//! `MANIFOLD_CRASH_ROUNDS` sets the number of rounds, `MANIFOLD_SEED` repeats a run's choices.

use manifold_tests::exactly::{Publisher, Subscriber};
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::{Hello, Version, Wire};
use std::time::Duration;

/// Rounds unless the environment says otherwise.
const ROUNDS: u64 = 5;

/// The longest that a round works before it is killed.
const WORK_MS_MAX: u64 = 500;

const TOPICS: [&str; 3] = ["exactly/0", "exactly/1", "exactly/2"];

async fn client(node: &Node, client_id: &str) -> Wire {
    let hello = Hello::new(Version::V5, client_id).user("admin", SECRET).persistent();
    node.client(&hello).await
}

/// Takes what comes until the connection ends, or until `is_enough`.
async fn listen(
    subscriber: &mut Subscriber,
    wire: &mut Wire,
    is_enough: impl Fn(&Subscriber) -> bool,
) {
    while !is_enough(subscriber)
        && let Some(packet) = wire.next().await
    {
        subscriber.take(packet, wire).await;
    }
}

#[tokio::test]
async fn every_message_arrives_once_over_any_number_of_crashes() {
    let rounds = std::env::var("MANIFOLD_CRASH_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |it| it.parse().expect("the rounds are a number"));
    let seed = random::seed();
    println!("{}={seed}, {rounds} rounds", random::SEED_VARIABLE);
    let mut random = Random::new(seed);
    let site = Site::new();
    let mut subscriber = Subscriber::default();
    let mut publishers = TOPICS.map(Publisher::new);
    let mut node = site.start().await;
    let mut wire = client(&node, "subscriber").await;
    assert_eq!(wire.subscribe("exactly/+", 2).await, 2);
    wire.leave().await;
    for round in 0..rounds {
        // In some rounds the subscriber is there, in others everything waits for it.
        let mut listener = match random.below(3) {
            0 => None,
            _ => Some(client(&node, "subscriber").await),
        };
        let mut working = Vec::new();
        for (index, mut publisher) in publishers.into_iter().enumerate() {
            let wire = client(&node, &format!("publisher-{index}")).await;
            working.push(tokio::spawn(async move {
                publisher.work(wire).await;
                publisher
            }));
        }
        let work_ms = random.below(WORK_MS_MAX);
        let kill = async {
            tokio::time::sleep(Duration::from_millis(work_ms)).await;
            node.kill().await;
        };
        let listening = async {
            if let Some(wire) = &mut listener {
                listen(&mut subscriber, wire, |_| false).await;
            }
        };
        tokio::join!(kill, listening);
        let mut back = Vec::new();
        for publisher in working {
            back.push(publisher.await.expect("a publisher does not panic"));
        }
        publishers = back.try_into().expect("as many as before");
        let last = TOPICS.map(|topic| subscriber.last(topic));
        println!("round {round}: {last:?} of {:?}", publishers.each_ref().map(Publisher::begun));
        node = site.start().await;
    }
    for (index, publisher) in publishers.iter_mut().enumerate() {
        publisher.finish(client(&node, &format!("publisher-{index}")).await).await;
    }
    let begun = publishers.each_ref().map(Publisher::begun);
    let mut wire = client(&node, "subscriber").await;
    assert!(wire.is_session_present(), "the session is lost");
    let has_all =
        |it: &Subscriber| TOPICS.iter().zip(begun).all(|(topic, begun)| it.last(topic) == begun);
    listen(&mut subscriber, &mut wire, has_all).await;
    assert_eq!(TOPICS.map(|topic| subscriber.last(topic)), begun);
    assert!(begun.iter().all(|it| *it > 0), "nothing was published");
}
