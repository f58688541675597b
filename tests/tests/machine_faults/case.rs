//! A case: what goes wrong with a machine, how that shows meanwhile, and how it is over.

use crate::rig::{Fault, Pki, Rig};
use manifold_tests::admin::Admin;
use manifold_tests::node::Node;
use manifold_tests::wire::{Hello, Packet, Version, Wire};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// By then a machine that is back is read again.
const BACK: Duration = Duration::from_secs(10);

/// By then it shows that a machine is not there: no value may be old in silence.
const NOTICED: Duration = Duration::from_secs(15);

/// For how long a machine stays away once that shows.
const AWAY: Duration = Duration::from_secs(1);

/// How the values are meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The machine is not reached: the last value, marked as old.
    Stale,
    /// The machine answers, and this value cannot be had: the cause is with it.
    Bad,
    /// They go on, perhaps with a pause.
    Good,
}

impl Sign {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stale => "`stale`",
            Self::Bad => "`bad`",
            Self::Good => "`good`",
        }
    }
}

/// What goes wrong.
pub(crate) struct Case {
    /// The name of the driver in the test.
    pub(crate) name: &'static str,
    /// What a reader of the table is told.
    pub(crate) what: &'static str,
    pub(crate) sign: Sign,
    pub(crate) fault: Fault,
}

/// The node, and who looks at it.
pub(crate) struct Bench {
    pub(crate) admin: Admin,
    app: Wire,
    /// The last value, so that one that comes twice is found.
    last: Option<Value>,
    pub(crate) name: &'static str,
}

impl Bench {
    async fn enter(node: &Node, name: &'static str) -> Self {
        let secret = manifold_tests::node::SECRET;
        let hello = |who: &str| Hello::new(Version::V5, &format!("{who}-{name}"));
        let mut app = node.client(&hello("app").user("admin", secret)).await;
        app.subscribe(&format!("uns/faults/{name}/_raw/count"), 0).await;
        let admin = Admin::enter_with(node, &format!("operator-{name}")).await;
        Self { admin, app, last: None, name }
    }

    /// The next value, if one comes in time; never the one before once more.
    async fn value(&mut self, within: Duration) -> Option<Value> {
        let next = async {
            loop {
                match self.app.next().await {
                    Some(Packet::Publish(message)) => return message.json(),
                    Some(_) => {}
                    None => panic!("the node has gone"),
                }
            }
        };
        let value = timeout(within, next).await.ok()?;
        if let Some(last) = self.last.replace(value.clone()) {
            assert_ne!(last, value, "{}: published twice", self.name);
            let is_older = |a: &Value, b: &Value| a["t"].as_u64() > b["t"].as_u64();
            let are_good = last["q"] == "good" && value["q"] == "good";
            assert!(!are_good || !is_older(&last, &value), "{}: {last}, {value}", self.name);
        }
        Some(value)
    }

    /// Waits for a value of this quality; what came until then is told if none does.
    async fn quality(&mut self, quality: &str, within: Duration) -> Result<Value, String> {
        let until = Instant::now() + within;
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.value(left).await {
                Some(value) if value["q"] == quality => return Ok(value),
                Some(value) => seen.push(value.to_string()),
                None => {
                    let shown = self.admin.must("drivers", "get", json!({ "driver": self.name }));
                    let status = shown.await["status"].to_string();
                    let last = seen.split_off(seen.len().saturating_sub(3));
                    return Err(format!("not {quality} in {within:?}: {last:?}, {status}"));
                }
            }
        }
    }

    /// Values that change `times` times.
    async fn moves(&mut self, times: usize) -> Result<(), String> {
        let mut last = Value::Null;
        let mut changes = 0;
        while changes < times {
            let value = self.quality("good", BACK).await?;
            if value["v"] != last {
                changes += 1;
                last = value["v"].clone();
            }
        }
        Ok(())
    }

    async fn drain(&mut self) {
        while self.value(Duration::from_millis(5)).await.is_some() {}
    }
}

/// Goes through the case; how long it took until the machine that is back was read again, or what went wrong.
pub(crate) async fn run(node: &Node, case: &Case, pki: &Pki) -> Result<Duration, String> {
    let mut bench = Bench::enter(node, case.name).await;
    let mut rig = Rig::start(&mut bench, case, pki).await;
    if rig.is_broken_from_the_start(case) {
        // There is no value that could be old; the driver says that it has no connection.
        sleep(AWAY).await;
    } else {
        bench.moves(2).await.map_err(|why| format!("before: {why}"))?;
        rig.inject(&case.fault).await;
        match case.sign {
            Sign::Good => bench.moves(3).await.map_err(|why| format!("meanwhile: {why}"))?,
            Sign::Stale => drop(bench.quality("stale", NOTICED).await?),
            Sign::Bad => drop(bench.quality("bad", NOTICED).await?),
        }
        sleep(AWAY).await;
    }
    bench.drain().await;
    rig.mend(&case.fault, &mut bench).await;
    let began = Instant::now();
    bench.quality("good", BACK).await.map_err(|why| format!("after: {why}"))?;
    let took = began.elapsed();
    bench.moves(3).await.map_err(|why| format!("later: {why}"))?;
    let until = Instant::now() + BACK;
    loop {
        let shown = bench.admin.must("drivers", "get", json!({ "driver": case.name })).await;
        if shown["status"]["state"] == "running" {
            return Ok(took);
        }
        if Instant::now() > until {
            return Err(format!("it does not run: {}", shown["status"]));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
