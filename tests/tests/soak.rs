//! Churn: clients come, subscribe, publish and go, thousands of times, and the memory of the node ends where it began.
//!
//! One cycle is one client with a random id, version, session, filters and messages, that leaves politely or is
//! torn off. What a cycle leaves behind (sessions, wills, queued messages, retained messages of a fixed set of
//! topics) is bounded or expires within seconds, so memory that goes on rising is a leak. `MANIFOLD_SOAK_CYCLES`
//! sets the number of cycles of a round: the default shows a gross leak, 10,000 and more a small one.
//! `MANIFOLD_SOAK_ROUNDS` sets the number of rounds.

use manifold_tests::node::{Node, Site};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::{Hello, Version, Wire, packet};
use std::time::Duration;

const CYCLES: u64 = 400;

/// Clients that churn at the same time.
const LANES: u64 = 8;

/// Client ids that come back, and topics that are used.
const CLIENT_IDS: u64 = 200;
const TOPICS: u64 = 64;

/// How long a session outlives its client, at most.
const EXPIRY_SECS_MAX: u64 = 2;

/// What the last sessions need to expire, and the node to notice.
const SETTLE: Duration = Duration::from_secs(8);

/// Rounds in which caches, pools and the allocator take their fill.
const WARM_UP: usize = 2;

/// Rounds after these, of which the first half is the start and the second the end.
const ROUNDS: usize = 4;

/// Growth that ends the test, in per cent, once there were enough cycles to tell a leak from noise.
const GROWTH_MAX_PERCENT: u64 = 5;
const CYCLES_THAT_TELL: u64 = 10_000;

/// Rounds then, unless others are given: a level goes up and down by a tenth, the mean of a dozen by a fiftieth.
const ROUNDS_THAT_TELL: usize = 24;

/// The longest that changes stay in memory before a checkpoint, and time for the checkpoint itself.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(90);

/// How long an allocator keeps what a checkpoint has freed before it gives it back (a release: 2 s), and more.
const GIVE_BACK: Duration = Duration::from_secs(5);

#[tokio::test]
async fn churn_leaves_no_memory_behind() {
    let given = |name| std::env::var(name).ok().map(|it| it.parse().expect("it is a number"));
    let cycles = given("MANIFOLD_SOAK_CYCLES").unwrap_or(CYCLES);
    let tells = cycles >= CYCLES_THAT_TELL;
    let usual = if tells { ROUNDS_THAT_TELL } else { ROUNDS };
    let rounds = given("MANIFOLD_SOAK_ROUNDS").map_or(usual, |it| it as usize).max(2);
    let seed = random::seed();
    println!("{}={seed}, {rounds} rounds of {cycles} cycles", random::SEED_VARIABLE);
    let anonymous = r#"security.anonymous={ namespace = "default/default", role = "app" }"#;
    let mut node = Site::new().with(anonymous).start().await;
    let mut levels = Vec::new();
    for round in 0..WARM_UP + rounds {
        churn(&node, seed + round as u64, cycles).await;
        tokio::time::sleep(SETTLE).await;
        if tells {
            checkpointed(&node).await;
            tokio::time::sleep(GIVE_BACK).await;
        }
        node.assert_alive();
        levels.push(node.resident_bytes());
        println!("round {round}: {} KiB resident", levels[round] / 1024);
    }
    // What the allocator holds in reserve goes up and down with chance, from round to round.
    let mean = |levels: &[u64]| levels.iter().sum::<u64>() / levels.len() as u64;
    let (start, end) = levels[WARM_UP..].split_at(rounds / 2);
    let (start, end) = (mean(start), mean(end));
    println!("{} KiB at the start, {} KiB at the end", start / 1024, end / 1024);
    let percent = if tells { GROWTH_MAX_PERCENT } else { 50 };
    assert!(end <= start + start * percent / 100, "grown from {start} to {end} bytes");
    assert_eq!(node.figure("broker_connections").await, 0, "clients are left");
    assert_eq!(node.figure("actors_restarts_total").await, 0, "an actor has failed");
}

/// Waits until the store has brought what it keeps in memory into its file: before, that grows with the work done
/// since the last time, up to its bound. If the last one has come just now there would not be another one: hence a
/// message that is kept.
async fn checkpointed(node: &Node) {
    let made = node.figure("store_checkpoints_total").await;
    let mut wire = Wire::connect(node.mqtt(), &Hello::new(Version::V5, "marker")).await;
    wire.retain("soak/0/0", b"kept").await;
    wire.leave().await;
    let wait = async {
        while node.figure("store_checkpoints_total").await == made {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(CHECKPOINT_PATIENCE, wait).await.expect("a checkpoint is made in time");
}

async fn churn(node: &Node, seed: u64, cycles: u64) {
    let lanes = (0..LANES).map(|lane| {
        let address = node.mqtt();
        let mut random = Random::new(seed.wrapping_mul(31) + lane);
        tokio::spawn(async move {
            for _ in 0..cycles / LANES {
                cycle(address, &mut random).await;
            }
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await.expect("a lane of clients does not panic");
    }
}

async fn cycle(address: std::net::SocketAddr, random: &mut Random) {
    let version = if random.below(2) == 0 { Version::V3 } else { Version::V5 };
    let client_id = match random.below(2) {
        0 => format!("again-{}", random.below(CLIENT_IDS)),
        _ => format!("once-{}", random.below(u64::MAX)),
    };
    let mut hello = Hello::new(version, &client_id);
    if version == Version::V5 && random.below(2) == 0 {
        hello.is_clean = random.below(4) == 0;
        hello.expiry_secs = u32::try_from(1 + random.below(EXPIRY_SECS_MAX)).expect("it is small");
    }
    if random.below(4) == 0 {
        hello = hello.will(&topic(random), "gone");
    }
    let mut wire = Wire::open(address, version).await;
    wire.send(&hello.encode()).await;
    // Two lanes may have drawn the same id: one of them is sent off, which is churn as well.
    let Some(_) = wire.next().await else { return };
    for _ in 0..random.below(4) {
        let id = wire.new_id();
        let qos = u8::try_from(random.below(2)).expect("it is small");
        wire.send(&packet::subscribe(version, id, filter(random).as_bytes(), qos)).await;
    }
    for _ in 0..random.below(8) {
        let id = wire.new_id();
        // QoS 0 or 1, retained or not.
        let flags = u8::try_from(random.below(4)).expect("it is small");
        let count = usize::try_from(random.below(2000)).expect("it is small");
        let payload = random.bytes(count);
        wire.send(&packet::publish(version, topic(random).as_bytes(), &payload, flags, id)).await;
    }
    let _ = wire.next_within(Duration::from_millis(random.below(20))).await;
    if random.below(2) == 0 {
        wire.send(&packet::frame(0xE0, &[])).await;
        while matches!(wire.next_within(Duration::from_secs(5)).await, Ok(Some(_))) {}
    }
}

fn topic(random: &mut Random) -> String {
    format!("soak/{}/{}", random.below(8), random.below(TOPICS / 8))
}

fn filter(random: &mut Random) -> String {
    match random.below(5) {
        0 => "soak/#".to_owned(),
        1 => format!("soak/+/{}", random.below(TOPICS / 8)),
        2 => format!("$share/g{}/soak/{}/#", random.below(3), random.below(8)),
        3 => format!("elsewhere/{}", random.below(u64::MAX)),
        _ => topic(random),
    }
}
