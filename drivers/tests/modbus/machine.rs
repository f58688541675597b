//! A Modbus TCP machine for the tests: real sockets, four tables of 100, and faults on demand.
//!
//! It has no holding register 50, keeps at most 100 in holding register 90, refuses writes to
//! holding register 91, and notes every request. It can be told to stop answering, and can be
//! stopped and started on its address.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::server::{Service, rtu_over_tcp};
use tokio_modbus::{ExceptionCode, Request, Response};

/// How many coils, discrete inputs, input and holding registers there are.
pub(crate) const TABLE_LEN: u16 = 100;
/// The holding register that does not exist.
pub(crate) const HOLE: u16 = 50;
/// The holding register that keeps at most [`CLAMP_MAX`].
pub(crate) const CLAMPED: u16 = 90;
/// The most that [`CLAMPED`] keeps.
pub(crate) const CLAMP_MAX: u16 = 100;
/// The holding register that refuses writes.
pub(crate) const PROTECTED: u16 = 91;

/// What the machine holds and what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) coils: HashMap<u16, bool>,
    pub(crate) holding: HashMap<u16, u16>,
    /// Every request, in words such as `read holding 0+2`.
    pub(crate) requests: Vec<String>,
    pub(crate) is_silent: bool,
    /// Whether holding register [`HOLE`] exists after all.
    pub(crate) is_hole_filled: bool,
    /// The most registers of one read; `None`: as many as the protocol allows.
    pub(crate) registers_max: Option<u16>,
}

/// A machine on a port of its own.
pub(crate) struct Machine {
    pub(crate) address: SocketAddr,
    tables: Arc<Mutex<Tables>>,
    server: Option<JoinHandle<()>>,
}

impl Machine {
    pub(crate) async fn start() -> Self {
        let tables = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Some(serve(listener, Arc::clone(&tables)));
        Self { address, tables, server }
    }

    /// A machine behind a converter: the frames of a serial line over TCP.
    pub(crate) async fn start_rtu() -> Self {
        let tables: Arc<Mutex<Tables>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let of_unit = Arc::clone(&tables);
        let server = tokio::spawn(async move {
            let new_service = |_| Ok(Some(Unit { tables: Arc::clone(&of_unit) }));
            let on_connected = |stream, peer| {
                ready(rtu_over_tcp::accept_tcp_connection(stream, peer, new_service))
            };
            rtu_over_tcp::Server::new(listener).serve(&on_connected, |_| {}).await.unwrap();
        });
        Self { address, tables, server: Some(server) }
    }

    /// Closes the port and every connection, as a machine does that loses power.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
    }

    /// Starts again on the same address with the same tables.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.server = Some(serve(listener, Arc::clone(&self.tables)));
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.tables().requests)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

fn serve(listener: TcpListener, tables: Arc<Mutex<Tables>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let new_service = |_| Ok(Some(Unit { tables: Arc::clone(&tables) }));
        let on_connected = |stream, peer| ready(accept_tcp_connection(stream, peer, new_service));
        Server::new(listener).serve(&on_connected, |_| {}).await.unwrap();
    })
}

struct Unit {
    tables: Arc<Mutex<Tables>>,
}

impl Service for Unit {
    type Request = Request<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Option<Response>, ExceptionCode>>;

    fn call(&self, request: Request<'static>) -> Self::Future {
        let mut tables = self.tables.lock().unwrap();
        tables.requests.push(words(&request));
        if tables.is_silent {
            return ready(Ok(None));
        }
        ready(tables.answer(request).map(Some))
    }
}

fn words(request: &Request<'_>) -> String {
    match request {
        Request::ReadCoils(offset, count) => format!("read coil {offset}+{count}"),
        Request::ReadDiscreteInputs(offset, count) => format!("read discrete {offset}+{count}"),
        Request::ReadInputRegisters(offset, count) => format!("read input {offset}+{count}"),
        Request::ReadHoldingRegisters(offset, count) => format!("read holding {offset}+{count}"),
        other => format!("function {} at {other:?}", other.function_code().value()),
    }
}

impl Tables {
    fn answer(&mut self, request: Request<'static>) -> Result<Response, ExceptionCode> {
        match request {
            Request::ReadCoils(offset, count) => {
                check(offset, count)?;
                let coil = |it| self.coils.get(&it).copied().unwrap_or_default();
                Ok(Response::ReadCoils((offset..offset + count).map(coil).collect()))
            }
            Request::ReadDiscreteInputs(offset, count) => {
                check(offset, count)?;
                let input = |it: u16| it % 2 == 1;
                Ok(Response::ReadDiscreteInputs((offset..offset + count).map(input).collect()))
            }
            Request::ReadInputRegisters(offset, count) => {
                check(offset, count)?;
                let input = |it: u16| 1000 + it;
                Ok(Response::ReadInputRegisters((offset..offset + count).map(input).collect()))
            }
            Request::ReadHoldingRegisters(offset, count) => {
                if self.registers_max.is_some_and(|max| count > max) {
                    return Err(ExceptionCode::IllegalDataValue);
                }
                self.check_holding(offset, count)?;
                let register = |it| self.holding.get(&it).copied().unwrap_or_default();
                Ok(Response::ReadHoldingRegisters((offset..offset + count).map(register).collect()))
            }
            other => self.write(other),
        }
    }

    fn write(&mut self, request: Request<'static>) -> Result<Response, ExceptionCode> {
        match request {
            Request::WriteSingleCoil(offset, value) => {
                check(offset, 1)?;
                self.coils.insert(offset, value);
                Ok(Response::WriteSingleCoil(offset, value))
            }
            Request::WriteMultipleCoils(offset, values) => {
                check(offset, values.len() as u16)?;
                self.coils.extend((offset..).zip(values.iter().copied()));
                Ok(Response::WriteMultipleCoils(offset, values.len() as u16))
            }
            Request::WriteSingleRegister(offset, value) => {
                self.keep(offset, &[value])?;
                Ok(Response::WriteSingleRegister(offset, value))
            }
            Request::WriteMultipleRegisters(offset, values) => {
                self.keep(offset, &values)?;
                Ok(Response::WriteMultipleRegisters(offset, values.len() as u16))
            }
            Request::MaskWriteRegister(offset, and_mask, or_mask) => {
                let register = self.holding.get(&offset).copied().unwrap_or_default();
                self.keep(offset, &[register & and_mask | or_mask & !and_mask])?;
                Ok(Response::MaskWriteRegister(offset, and_mask, or_mask))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        }
    }

    fn check_holding(&self, offset: u16, count: u16) -> Result<(), ExceptionCode> {
        check(offset, count)?;
        if (offset..offset + count).contains(&HOLE) && !self.is_hole_filled {
            return Err(ExceptionCode::IllegalDataAddress);
        }
        Ok(())
    }

    fn keep(&mut self, offset: u16, values: &[u16]) -> Result<(), ExceptionCode> {
        self.check_holding(offset, values.len() as u16)?;
        for (offset, value) in (offset..).zip(values) {
            match offset {
                PROTECTED => return Err(ExceptionCode::ServerDeviceFailure),
                CLAMPED => self.holding.insert(offset, (*value).min(CLAMP_MAX)),
                _ => self.holding.insert(offset, *value),
            };
        }
        Ok(())
    }
}

fn check(offset: u16, count: u16) -> Result<(), ExceptionCode> {
    match offset.checked_add(count) {
        Some(end) if end <= TABLE_LEN => Ok(()),
        _ => Err(ExceptionCode::IllegalDataAddress),
    }
}
