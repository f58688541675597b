//! Many Modbus machines with many registers each, for load and for faults.
//!
//! They need no memory for what they hold: register `n` of a machine is `n` plus the number of changes since the start,
//! unless it was written. They can be slow, busy and silent, as the flags say, by the number of the request, so that a
//! run can be repeated.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use std::future::ready;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response};

/// The most machines of one process.
const MACHINES_MAX: u16 = 1000;

/// The flags of `manifold-sim machines`.
#[derive(Debug, Clone, Args)]
pub struct MachinesArgs {
    /// Address of the first; each further one has the next port. With port 0 each picks a free one
    #[arg(long, default_value = "127.0.0.1:5100")]
    pub listen: SocketAddr,
    /// How many machines
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(MACHINES_MAX)))]
    pub machines: u16,
    /// Holding and input registers of each; an address beyond them is refused
    #[arg(long, default_value_t = 10_000)]
    pub registers: u16,
    /// Milliseconds between two changes of all registers
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub change_ms: u64,
    /// Milliseconds before each answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub delay_ms: u64,
    /// Every so many requests one is answered with "busy" (exception 6); 0: none
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub busy_every: u64,
    /// Every so many requests one is not answered at all; 0: none
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub silent_every: u64,
}

/// What all connections of one machine share.
struct Machine {
    args: MachinesArgs,
    started: Instant,
    written: Mutex<HashMap<u16, u16>>,
    requests: AtomicU64,
}

/// Serves the machines until `shutdown` is done; `tell` hears of each address once it can be connected to.
pub async fn machines(
    args: &MachinesArgs,
    tell: impl Fn(SocketAddr) -> Result<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    let started = Instant::now();
    for number in 0..args.machines {
        let mut address = args.listen;
        if address.port() != 0 {
            let port = address.port().checked_add(number).context("there are no more ports")?;
            address.set_port(port);
        }
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let machine = Arc::new(Machine {
            args: args.clone(),
            started,
            written: Mutex::default(),
            requests: AtomicU64::new(0),
        });
        tasks.spawn(async move {
            let new_service = |_| Ok(Some(Unit(Arc::clone(&machine))));
            let on_connected =
                |stream, peer| ready(accept_tcp_connection(stream, peer, new_service));
            let on_error = |error| tracing::debug!(%error, "a connection ended");
            Server::new(listener).serve(&on_connected, on_error).await
        });
        tell(address)?;
    }
    shutdown.await;
    Ok(())
}

struct Unit(Arc<Machine>);

impl Service for Unit {
    type Request = Request<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = BoxFuture<'static, Result<Option<Response>, ExceptionCode>>;

    fn call(&self, request: Request<'static>) -> Self::Future {
        let machine = Arc::clone(&self.0);
        async move {
            let number = machine.requests.fetch_add(1, Ordering::Relaxed) + 1;
            if machine.args.delay_ms > 0 {
                sleep(Duration::from_millis(machine.args.delay_ms)).await;
            }
            let is_turn = |every: u64| every > 0 && number.is_multiple_of(every);
            if is_turn(machine.args.silent_every) {
                return Ok(None);
            }
            if is_turn(machine.args.busy_every) {
                return Err(ExceptionCode::ServerDeviceBusy);
            }
            machine.answer(request).map(Some)
        }
        .boxed()
    }
}

impl Machine {
    fn answer(&self, request: Request<'static>) -> Result<Response, ExceptionCode> {
        match request {
            Request::ReadHoldingRegisters(offset, count) => {
                self.read(offset, count).map(Response::ReadHoldingRegisters)
            }
            Request::ReadInputRegisters(offset, count) => {
                self.read(offset, count).map(Response::ReadInputRegisters)
            }
            Request::WriteSingleRegister(offset, value) => {
                self.write(offset, &[value])?;
                Ok(Response::WriteSingleRegister(offset, value))
            }
            Request::WriteMultipleRegisters(offset, values) => {
                self.write(offset, &values)?;
                Ok(Response::WriteMultipleRegisters(offset, count_of(&values)))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        }
    }

    fn read(&self, offset: u16, count: u16) -> Result<Vec<u16>, ExceptionCode> {
        let end = offset.checked_add(count).filter(|end| *end <= self.args.registers);
        let end = end.ok_or(ExceptionCode::IllegalDataAddress)?;
        let changes = self.started.elapsed().as_millis() / u128::from(self.args.change_ms);
        // Registers wrap by themselves.
        let changes = (changes % (1 << 16)) as u16;
        let written = self.written.lock();
        let value = |register: u16| {
            written.get(&register).copied().unwrap_or_else(|| register.wrapping_add(changes))
        };
        Ok((offset..end).map(value).collect())
    }

    fn write(&self, offset: u16, values: &[u16]) -> Result<(), ExceptionCode> {
        let end = offset.checked_add(count_of(values)).filter(|end| *end <= self.args.registers);
        let end = end.ok_or(ExceptionCode::IllegalDataAddress)?;
        self.written.lock().extend((offset..end).zip(values.iter().copied()));
        Ok(())
    }
}

/// A request carries at most 123 of them.
fn count_of(values: &[u16]) -> u16 {
    u16::try_from(values.len()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(change_ms: u64) -> Machine {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let args = MachinesArgs {
            listen,
            machines: 1,
            registers: 100,
            change_ms,
            delay_ms: 0,
            busy_every: 0,
            silent_every: 0,
        };
        let (started, requests) = (Instant::now(), AtomicU64::new(0));
        Machine { args, started, written: Mutex::default(), requests }
    }

    #[tokio::test(start_paused = true)]
    async fn registers_count_until_they_are_written() {
        let machine = machine(1000);
        assert_eq!(machine.read(10, 3), Ok(vec![10, 11, 12]));
        machine.write(11, &[500]).unwrap();
        tokio::time::advance(Duration::from_millis(2500)).await;
        assert_eq!(machine.read(10, 3), Ok(vec![12, 500, 14]));
        for (offset, count) in [(99, 2), (u16::MAX, 1)] {
            assert_eq!(machine.read(offset, count), Err(ExceptionCode::IllegalDataAddress));
        }
        assert_eq!(machine.write(100, &[1]), Err(ExceptionCode::IllegalDataAddress));
    }
}
