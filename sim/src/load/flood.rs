//! The flood: publishers that are faster than their subscriber, and what that does to everybody else.
//!
//! Bystanders, pairs that talk at a modest rate, are measured twice: alone, and while the flood lasts. The flood has a
//! thread of its own, so that it is the broker that makes bystanders wait and not the generator. What was lost is
//! compared with what the broker says it has dropped, if it says so in [`DROPPED_TOPIC`].

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::case::{Case, Length, Shape};
use super::connection::{Endpoint, ReadBuffer, open, subscribe};
use super::figures::{Figure, Figures};
use super::packet::Packet;
use super::procfs;
use super::run::flow;

/// Pairs that stand by.
const BYSTANDERS: usize = 10;
/// Messages a second over all of them.
const BYSTANDERS_RATE: u64 = 1000;
/// The flood is under way when the bystanders are measured.
const HEAD_START: Duration = Duration::from_secs(1);
/// Where brokers tell how many messages they have dropped.
const DROPPED_TOPIC: &str = "$SYS/broker/publish/messages/dropped";
/// How long a broker may take to tell: the longest period in use is ten seconds.
const TELLING_MAX: Duration = Duration::from_secs(11);

/// Runs the case: bystanders alone, then beside the flood.
pub(super) async fn flood(
    case: &Case,
    endpoint: &Endpoint,
    pid: Option<u32>,
    run: &str,
) -> Result<Figures> {
    let Length::Time(time) = case.length else {
        return Err(anyhow!("a flood has a time, not a number of messages"));
    };
    let bystanders = bystanders(time);
    let alone = flow(&bystanders, endpoint, pid, &format!("{run}a")).await?;
    let dropped_before = dropped(endpoint, Duration::from_secs(1)).await;
    let flood = Case { length: Length::Time(HEAD_START + time), ..case.clone() };
    let flooding = in_a_thread(flood, endpoint.clone(), pid, format!("{run}f"))?;
    sleep(HEAD_START).await;
    let beside = flow(&bystanders, endpoint, pid, &format!("{run}b")).await?;
    let mut figures = flooding.await.context("the flood ended without a word")??;
    let p99 = |figures: &Figures| figures.get(Figure::LatencyP99Ms).unwrap_or(f64::NAN);
    figures.set(Figure::BystanderP99AloneMs, p99(&alone));
    figures.set(Figure::BystanderP99Ms, p99(&beside));
    let bystanders_lost = beside.get(Figure::Lost).unwrap_or(0.0);
    figures.set(Figure::BystandersLost, bystanders_lost);
    if let Some(before) = dropped_before
        && let Some(after) = dropped(endpoint, TELLING_MAX).await
    {
        figures.set(Figure::DroppedByTarget, after.saturating_sub(before) as f64);
    }
    if let Some(usage) = pid.and_then(procfs::usage) {
        figures.set(Figure::TargetPeakMib, usage.peak_kib as f64 / 1024.0);
    }
    Ok(figures)
}

fn bystanders(time: Duration) -> Case {
    Case {
        count: BYSTANDERS,
        window: 0,
        rate_per_second: BYSTANDERS_RATE,
        length: Length::Time(time),
        warmup: Duration::ZERO,
        ..Case::usual(Shape::Pairs)
    }
}

/// Runs a flow on a thread of its own.
fn in_a_thread(
    case: Case,
    endpoint: Endpoint,
    pid: Option<u32>,
    run: String,
) -> Result<oneshot::Receiver<Result<Figures>>> {
    let (tell, told) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("flood".into()).spawn(move || {
        let running = async { flow(&case, &endpoint, pid, &run).await };
        let outcome = LocalSet::new().block_on(&runtime, running);
        // Nobody hears it if the run has been broken off.
        let _ = tell.send(outcome);
    })?;
    Ok(told)
}

/// The last that the broker says within `patience` of the messages it has dropped; nothing if it does not.
async fn dropped(endpoint: &Endpoint, patience: Duration) -> Option<u64> {
    let ends = Instant::now() + patience;
    let mut stream = open(endpoint, "load-watch", true).await.ok()?;
    subscribe(&mut stream, DROPPED_TOPIC, 0).await.ok()?;
    let mut buffer = ReadBuffer::new(0);
    let mut last = None;
    while let Ok(Ok(true)) = timeout_at(ends, buffer.fill(&mut stream)).await {
        while let Ok(Some((packet, packet_bytes))) = buffer.peek() {
            if let Packet::Publish { payload, .. } = packet {
                last = std::str::from_utf8(payload).ok().and_then(|it| it.parse().ok()).or(last);
            }
            buffer.consume(packet_bytes);
        }
    }
    last
}
