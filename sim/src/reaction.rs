//! Two Modbus machines, one that changes and one that is written to, and how long it takes from the one to the other:
//! what a rule of a node takes to close the loop.
//!
//! Holding register 0 of the first is 0 or 100 in turn. Whatever is to be 1 while that is high writes holding register
//! 0 of the second, which is where the time is taken. The machines have no other registers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use futures_util::future::{Ready, ready};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response};

/// How long one write may take before that is a fault.
const PATIENCE: Duration = Duration::from_secs(10);

/// Polls of a machine at rest before its first change.
const READS_BEFORE: u64 = 20;

/// For the first write: the node has yet to connect.
const FIRST: Duration = Duration::from_secs(120);

/// The flags of `manifold-sim reaction`.
#[derive(Debug, Clone, Args)]
pub struct ReactionArgs {
    /// Address of the machine that changes; the one that is written to has the next port
    #[arg(long, default_value = "127.0.0.1:5300")]
    pub listen: SocketAddr,
    /// Changes to measure
    #[arg(long, default_value_t = 1000)]
    pub changes: usize,
    /// Milliseconds between a write and the next change, at least; up to as many more by chance
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub pause_ms: u64,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Milliseconds from a change to the write that it brings about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReactionReport {
    /// How many were measured.
    pub changes: usize,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// A machine with one register.
struct Machine {
    register: watch::Sender<u16>,
    reads: watch::Sender<u64>,
    is_written: bool,
}

struct Unit(Arc<Machine>);

impl Service for Unit {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Request<'static>) -> Self::Future {
        let Self(machine) = self;
        ready(match request {
            Request::ReadHoldingRegisters(0, 1) => {
                machine.reads.send_modify(|reads| *reads += 1);
                Ok(Response::ReadHoldingRegisters(vec![*machine.register.borrow()]))
            }
            Request::WriteSingleRegister(0, value) if machine.is_written => {
                machine.register.send_replace(value);
                Ok(Response::WriteSingleRegister(0, value))
            }
            Request::ReadHoldingRegisters(..) | Request::WriteSingleRegister(..) => {
                Err(ExceptionCode::IllegalDataAddress)
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

/// Changes and waits, as often as told. `tell` hears of both addresses.
pub async fn reaction(
    args: &ReactionArgs,
    tell: impl Fn(SocketAddr) -> Result<()>,
) -> Result<ReactionReport> {
    let mut second = args.listen;
    if second.port() != 0 {
        second.set_port(second.port().checked_add(1).context("there is no next port")?);
    }
    let source = serve(args.listen, false, &tell).await?;
    let target = serve(second, true, &tell).await?;
    let mut written = target.register.subscribe();
    // The node has to see that it is low before it can see it rise.
    let mut reads = source.reads.subscribe();
    let seen = timeout(FIRST, reads.wait_for(|reads| *reads >= READS_BEFORE)).await;
    seen.context("nobody reads the machine")??;
    let mut took = Vec::with_capacity(args.changes);
    for change in 0..=args.changes {
        let is_high = change.is_multiple_of(2);
        let began = Instant::now();
        source.register.send_replace(if is_high { 100 } else { 0 });
        let wanted = u16::from(is_high);
        let patience = if change == 0 { FIRST } else { PATIENCE };
        let waited = timeout(patience, written.wait_for(|it| *it == wanted)).await;
        if waited.is_err() {
            bail!("the change to {wanted} is not written within {} s", patience.as_secs());
        }
        // The first has the connects in it.
        if change > 0 {
            took.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        let more = u64::from(getrandom::u32()?) % args.pause_ms.max(1);
        tokio::time::sleep(Duration::from_millis(args.pause_ms + more)).await;
    }
    Ok(ReactionReport::of(took))
}

impl ReactionReport {
    fn of(mut took: Vec<f64>) -> Self {
        took.sort_by(f64::total_cmp);
        let part = |share: f64| {
            let at = (took.len() as f64 * share).ceil() as usize;
            took.get(at.saturating_sub(1)).copied().map_or(0.0, |it| (it * 100.0).round() / 100.0)
        };
        Self { changes: took.len(), p50_ms: part(0.5), p99_ms: part(0.99), max_ms: part(1.0) }
    }

    /// As one line.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { changes, p50_ms, p99_ms, max_ms } = self;
        format!("{changes} changes: p50 {p50_ms} ms, p99 {p99_ms} ms, max {max_ms} ms\n")
    }
}

async fn serve(
    address: SocketAddr,
    is_written: bool,
    tell: impl Fn(SocketAddr) -> Result<()>,
) -> Result<Arc<Machine>> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    tell(listener.local_addr()?)?;
    let (register, reads) = (watch::Sender::new(0), watch::Sender::new(0));
    let machine = Arc::new(Machine { register, reads, is_written });
    let served = Arc::clone(&machine);
    tokio::spawn(async move {
        let new_service = |_| Ok(Some(Unit(Arc::clone(&served))));
        let on_connected = |stream, peer| ready(accept_tcp_connection(stream, peer, new_service));
        let on_error = |error| tracing::debug!(%error, "a connection ended");
        Server::new(listener).serve(&on_connected, on_error).await
    });
    Ok(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_values() {
        let report = ReactionReport::of((1..=200).rev().map(f64::from).collect());
        let expected = ReactionReport { changes: 200, p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 };
        assert_eq!(report, expected);
        assert_eq!(ReactionReport::of(Vec::new()).max_ms, 0.0);
    }
}
