//! One run of one case against one target: connect, warm up, measure, drain, account.
//!
//! Runs on one thread inside a `LocalSet`. Losses are counted over the whole run, warm-up included,
//! after a drain that lasts as long as messages still come; rates and latencies over the measured
//! part only.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::board::{Board, Phase};
use super::case::{Case, Length, Shape};
use super::connection::{Endpoint, open, subscribe};
use super::figures::{Figure, Figures};
use super::flood::flood;
use super::procfs::{self, Usage};
use super::{publisher, subscriber};

/// Connections that are being made at the same time.
const CONNECTING_MAX: usize = 64;
/// The drain ends when nothing came for this long.
const DRAIN_QUIET: Duration = Duration::from_secs(2);
/// The drain ends after this time whatever comes.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// How often the drain and the end of a counted run are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Time for connections to say goodbye.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Runs `case` against `endpoint`; `pid` is the process whose cost is read.
pub async fn run(case: &Case, endpoint: &Endpoint, pid: Option<u32>) -> Result<Figures> {
    let run = run_id()?;
    match case.shape {
        Shape::Idle => idle(case, endpoint, pid, &run).await,
        Shape::Flood => flood(case, endpoint, pid, &run).await,
        Shape::FanIn | Shape::Pairs | Shape::FanOut => flow(case, endpoint, pid, &run).await,
    }
}

/// Names this run in client ids and topics, so that two runs on one target never meet.
fn run_id() -> Result<String> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).context("cannot get random bytes")?;
    Ok(format!("{:08x}", u32::from_be_bytes(bytes)))
}

/// Messages flow as the case says.
pub(super) async fn flow(
    case: &Case,
    endpoint: &Endpoint,
    pid: Option<u32>,
    run: &str,
) -> Result<Figures> {
    let subscribers: Vec<Client> = (0..case.subscribers())
        .map(|index| Client {
            id: format!("load-{run}-s{index}"),
            is_clean: case.is_clean,
            subscription: Some((case.filter(run, index), case.qos)),
        })
        .collect();
    let publishers = (0..case.publishers())
        .map(|index| Client {
            id: format!("load-{run}-p{index}"),
            is_clean: true,
            subscription: None,
        })
        .collect();
    let subscriber_streams = open_all(endpoint, subscribers.clone()).await?;
    let publisher_streams = open_all(endpoint, publishers).await?;

    let board = Rc::new(Board::new(case.clone()));
    let mut tasks = JoinSet::new();
    for (index, stream) in subscriber_streams.into_iter().enumerate() {
        let running = subscriber::run(Rc::clone(&board), index, stream);
        tasks.spawn_local(guard(Rc::clone(&board), format!("subscriber {index}"), running));
    }
    for (index, stream) in publisher_streams.into_iter().enumerate() {
        let running = publisher::run(Rc::clone(&board), index, case.topic(run, index), stream);
        tasks.spawn_local(guard(Rc::clone(&board), format!("publisher {index}"), running));
    }

    let figures = conduct(&board, pid).await;
    board.enter(Phase::Done);
    board.leave.notify_waiters();
    let _ = timeout(LEAVE_MAX, async { while tasks.join_next().await.is_some() {} }).await;
    tasks.shutdown().await;
    if !case.is_clean {
        forget_sessions(endpoint, subscribers).await?;
    }
    figures
}

async fn guard(board: Rc<Board>, name: String, running: impl Future<Output = Result<()>>) {
    if let Err(error) = running.await {
        board.fail(format!("{name}: {error:#}"));
    }
}

/// Takes the run through its phases.
async fn conduct(board: &Board, pid: Option<u32>) -> Result<Figures> {
    if board.case.warmup > Duration::ZERO {
        board.enter(Phase::Warmup);
        hold(board, board.case.warmup).await?;
    }
    if let Length::Messages(messages) = board.case.length {
        board.enter(Phase::Pause);
        drain(board).await?;
        share_out(board, messages);
    }
    let before = Costs::read(pid);
    let start_ns = board.now_ns();
    board.enter(Phase::Measure);
    match board.case.length {
        Length::Time(time) => hold(board, time).await?,
        Length::Messages(_) => {
            while !board.is_budget_spent() {
                hold(board, LOOK).await?;
            }
            drain(board).await?;
        }
    }
    let end_ns = match board.case.length {
        Length::Time(_) => board.now_ns(),
        Length::Messages(_) => board.last_arrival_ns(),
    };
    let after = Costs::read(pid);
    board.enter(Phase::Pause);
    drain(board).await?;

    let seconds = end_ns.saturating_sub(start_ns) as f64 / 1e9;
    let mut figures = account(board, seconds);
    let delivered = board.counters.measured.get();
    cost(&mut figures, &before, &after, Some(delivered));
    if let (Some(before), Some(after)) = (before.target, after.target)
        && after.written_bytes > before.written_bytes
    {
        let written = (after.written_bytes - before.written_bytes) as f64;
        let message_bytes = delivered as f64 * board.case.payload_bytes as f64;
        figures.set(Figure::DiskBytesPerByte, written / message_bytes);
    }
    Ok(figures)
}

/// Divides the messages of a counted run among the publishers.
fn share_out(board: &Board, messages: u64) {
    let publishers = board.lanes.len() as u64;
    for (index, lane) in board.lanes.iter().enumerate() {
        let extra = u64::from((index as u64) < messages % publishers);
        lane.budget.set(Some(messages / publishers + extra));
    }
}

/// Waits, unless a connection fails.
async fn hold(board: &Board, time: Duration) -> Result<()> {
    // Checked first: a failure of an earlier phase may have used up its notification.
    if board.failure().is_none() {
        let _ = timeout(time, board.failed.notified()).await;
    }
    match board.failure() {
        Some(reason) => bail!("the run broke off: {reason}"),
        None => Ok(()),
    }
}

/// Waits until everything sent has arrived, or nothing comes any more.
async fn drain(board: &Board) -> Result<()> {
    let start = Instant::now();
    let mut last_arrival = (board.last_arrival_ns(), start);
    while board.counters.received.get() < board.expected() {
        let now = Instant::now();
        if board.last_arrival_ns() != last_arrival.0 {
            last_arrival = (board.last_arrival_ns(), now);
        }
        if now - last_arrival.1 > DRAIN_QUIET || now - start > DRAIN_MAX {
            break;
        }
        hold(board, LOOK).await?;
    }
    Ok(())
}

fn account(board: &Board, seconds: f64) -> Figures {
    let counters = &board.counters;
    let mut figures = Figures::default();
    figures.set(Figure::DeliveredPerSecond, counters.measured.get() as f64 / seconds);
    let histogram = board.histogram.borrow();
    for (figure, share) in
        [(Figure::LatencyP50Ms, 0.5), (Figure::LatencyP99Ms, 0.99), (Figure::LatencyP999Ms, 0.999)]
    {
        if let Some(ns) = histogram.quantile_ns(share) {
            figures.set(figure, ns as f64 / 1e6);
        }
    }
    let lost = board.expected().saturating_sub(counters.received.get());
    figures.set(Figure::Lost, lost as f64);
    if board.case.shape == Shape::Flood {
        figures.set(Figure::LostPercent, lost as f64 * 100.0 / board.expected() as f64);
    }
    figures.set(Figure::Duplicates, counters.duplicates.get() as f64);
    figures.set(Figure::OutOfOrder, counters.late.get() as f64);
    figures.set(Figure::Stalls, counters.stalls.get() as f64);
    figures
}

/// What target and generator have cost at one moment.
struct Costs {
    at: Instant,
    target: Option<Usage>,
    generator: Option<Usage>,
}

impl Costs {
    fn read(pid: Option<u32>) -> Self {
        let generator = procfs::usage(std::process::id());
        Self { at: Instant::now(), target: pid.and_then(procfs::usage), generator }
    }
}

fn cost(figures: &mut Figures, before: &Costs, after: &Costs, delivered: Option<u64>) {
    let seconds = (after.at - before.at).as_secs_f64();
    if let (Some(before), Some(after)) = (before.target, after.target) {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        if let Some(delivered) = delivered {
            let per_million = cpu_seconds / (delivered as f64 / 1e6);
            figures.set(Figure::TargetCpuSecondsPerMillion, per_million);
        }
        figures.set(Figure::TargetCpuCores, cpu_seconds / seconds);
        figures.set(Figure::TargetResidentMib, after.resident_kib as f64 / 1024.0);
    }
    if let (Some(before), Some(after)) = (before.generator, after.generator) {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        figures.set(Figure::GeneratorCpuCores, cpu_seconds / seconds);
    }
}

/// Opens the connections of an idle run, lets them settle, then watches what they cost.
async fn idle(case: &Case, endpoint: &Endpoint, pid: Option<u32>, run: &str) -> Result<Figures> {
    let clients = (0..case.subscribers())
        .map(|index| Client {
            id: format!("load-{run}-i{index}"),
            is_clean: true,
            subscription: case.is_subscribed.then(|| (case.filter(run, index), case.qos)),
        })
        .collect();
    let Length::Time(time) = case.length else {
        bail!("an idle run has a time, not a number of messages");
    };
    let empty = Costs::read(pid);
    let streams = open_all(endpoint, clients).await?;
    let connected = Costs::read(pid);
    sleep(case.warmup).await;
    let settled = Costs::read(pid);
    sleep(time).await;
    let end = Costs::read(pid);

    let mut figures = Figures::default();
    let connect_seconds = (connected.at - empty.at).as_secs_f64();
    figures.set(Figure::ConnectsPerSecond, streams.len() as f64 / connect_seconds);
    if let (Some(empty), Some(connected)) = (empty.target, connected.target) {
        let micros = (connected.cpu_seconds - empty.cpu_seconds) * 1e6;
        figures.set(Figure::TargetCpuMicrosPerConnect, micros / streams.len() as f64);
    }
    if let (Some(empty), Some(settled)) = (empty.target, settled.target) {
        let grown_kib = settled.resident_kib as f64 - empty.resident_kib as f64;
        figures.set(Figure::KibPerConnection, grown_kib / streams.len() as f64);
    }
    figures.set(Figure::Lost, streams.iter().filter(|stream| is_closed(stream)).count() as f64);
    cost(&mut figures, &settled, &end, None);
    Ok(figures)
}

fn is_closed(stream: &TcpStream) -> bool {
    let mut byte = [0];
    match stream.try_read(&mut byte) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// A connection to be made.
#[derive(Debug, Clone)]
struct Client {
    id: String,
    is_clean: bool,
    /// Topic filter and QoS.
    subscription: Option<(String, u8)>,
}

/// Connects all clients, at most [`CONNECTING_MAX`] at a time, and keeps their order.
async fn open_all(endpoint: &Endpoint, clients: Vec<Client>) -> Result<Vec<TcpStream>> {
    let mut streams: Vec<Option<TcpStream>> = clients.iter().map(|_| None).collect();
    let mut opening = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        if opening.len() >= CONNECTING_MAX {
            place_next(&mut opening, &mut streams).await?;
        }
        let endpoint = endpoint.clone();
        opening.spawn_local(async move {
            let mut stream = open(&endpoint, &client.id, client.is_clean).await?;
            if let Some((filter, qos)) = &client.subscription {
                subscribe(&mut stream, filter, *qos).await?;
            }
            anyhow::Ok((index, stream))
        });
    }
    while !opening.is_empty() {
        place_next(&mut opening, &mut streams).await?;
    }
    Ok(streams.into_iter().flatten().collect())
}

async fn place_next(
    opening: &mut JoinSet<Result<(usize, TcpStream)>>,
    streams: &mut [Option<TcpStream>],
) -> Result<()> {
    if let Some(opened) = opening.join_next().await {
        let (index, stream) = opened.context("a connecting task ended")??;
        streams[index] = Some(stream);
    }
    Ok(())
}

/// Ends the persistent sessions of a run: connecting clean once discards them.
async fn forget_sessions(endpoint: &Endpoint, clients: Vec<Client>) -> Result<()> {
    let clean = |client| Client { is_clean: true, subscription: None, ..client };
    open_all(endpoint, clients.into_iter().map(clean).collect()).await?;
    Ok(())
}
