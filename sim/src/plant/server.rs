//! The sockets and the clock around [`Plant`].
//!
//! One listener, one task a connection, one interval that steps the process. At most
//! [`CONNECTIONS_MAX`] clients at a time: a further one is closed at once and counted. Dropping the
//! future of [`PlantServer::run`] closes everything. Every unit id is answered, as gateways of one
//! machine do.
//!
//! A frame that contradicts itself ends its connection and no other: tokio-modbus refuses most of
//! them, and panics on some (a coil count beyond its bytes), which ends the connection's task only.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_modbus::server::{Service, tcp::Server};
use tokio_modbus::{ExceptionCode, Request, Response};

use super::bank::{Exception, Plant};
use super::registers::Area;

/// Clients served at a time; a plant has one or two masters, this leaves room for tools.
pub const CONNECTIONS_MAX: usize = 64;

/// Interval between two steps of the process unless told otherwise, in milliseconds.
pub const STEP_MS_DEFAULT: u64 = 100;

/// Wait after a failed accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the plant could not start.
#[derive(Debug, thiserror::Error)]
pub enum PlantError {
    /// The address is in use or not allowed.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A plant bound to its address and ready to run.
#[derive(Debug)]
pub struct PlantServer {
    server: Server,
    local_addr: SocketAddr,
    step_ms: u64,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    plant: Mutex<Plant>,
    slots: Arc<Semaphore>,
    connections_refused: AtomicU64,
}

impl Plant {
    /// Binds a plant in its initial state to `address`; port 0 picks a free port.
    pub async fn bind(address: SocketAddr) -> Result<PlantServer, PlantError> {
        let bind_error = |source| PlantError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let local_addr = listener.local_addr().map_err(bind_error)?;
        let shared = Shared {
            plant: Mutex::new(Self::default()),
            slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            connections_refused: AtomicU64::new(0),
        };
        Ok(PlantServer {
            server: Server::new(listener),
            local_addr,
            step_ms: STEP_MS_DEFAULT,
            shared: Arc::new(shared),
        })
    }
}

impl PlantServer {
    /// The address that clients connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Sets the interval between two steps of the process, at least 1 millisecond.
    #[must_use]
    pub fn with_step_ms(mut self, step_ms: u64) -> Self {
        self.step_ms = step_ms.max(1);
        self
    }

    /// Clients turned away since the start because all connections were taken.
    #[must_use]
    pub fn connections_refused(&self) -> u64 {
        self.shared.connections_refused.load(Ordering::Relaxed)
    }

    /// Serves clients and moves the process until `shutdown` is done, then closes all connections.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = shutdown => {}
            () = self.tick() => {}
            () = self.serve() => {}
        }
    }

    async fn tick(&self) {
        let mut interval = tokio::time::interval(Duration::from_millis(self.step_ms));
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        interval.tick().await;
        loop {
            interval.tick().await;
            self.shared.plant.lock().step(self.step_ms);
        }
    }

    async fn serve(&self) {
        let on_connected = |stream, peer| ready(Ok(admit(&self.shared, stream, peer))) as Admitted;
        loop {
            let on_error = |error| tracing::debug!(%error, "modbus connection failed");
            if let Err(error) = self.server.serve(&on_connected, on_error).await {
                tracing::warn!(%error, "cannot accept modbus connections");
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

type Admitted = Ready<io::Result<Option<(PlantService, TcpStream)>>>;

fn admit(
    shared: &Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<(PlantService, TcpStream)> {
    let Ok(slot) = Arc::clone(&shared.slots).try_acquire_owned() else {
        shared.connections_refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%peer, connections_max = CONNECTIONS_MAX, "modbus connection refused");
        return None;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    Some((PlantService { shared: Arc::clone(shared), _slot: slot }, stream))
}

/// One connection's view of the plant; the slot is free again when the connection ends.
struct PlantService {
    shared: Arc<Shared>,
    _slot: OwnedSemaphorePermit,
}

impl Service for PlantService {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        ready(answer(&mut self.shared.plant.lock(), request))
    }
}

fn answer(plant: &mut Plant, request: Request<'_>) -> Result<Response, ExceptionCode> {
    let response = match request {
        Request::ReadCoils(offset, quantity) => {
            Response::ReadCoils(plant.read_bits(Area::Coil, offset, quantity)?)
        }
        Request::ReadDiscreteInputs(offset, quantity) => {
            Response::ReadDiscreteInputs(plant.read_bits(Area::Discrete, offset, quantity)?)
        }
        Request::ReadInputRegisters(offset, quantity) => {
            Response::ReadInputRegisters(plant.read_registers(Area::Input, offset, quantity)?)
        }
        Request::ReadHoldingRegisters(offset, quantity) => {
            Response::ReadHoldingRegisters(plant.read_registers(Area::Holding, offset, quantity)?)
        }
        Request::WriteSingleCoil(offset, is_on) => {
            plant.write_coils(offset, &[is_on])?;
            Response::WriteSingleCoil(offset, is_on)
        }
        Request::WriteMultipleCoils(offset, coils) => {
            plant.write_coils(offset, &coils)?;
            Response::WriteMultipleCoils(offset, coils.len() as u16)
        }
        Request::WriteSingleRegister(offset, word) => {
            plant.write_registers(offset, &[word])?;
            Response::WriteSingleRegister(offset, word)
        }
        Request::WriteMultipleRegisters(offset, words) => {
            plant.write_registers(offset, &words)?;
            Response::WriteMultipleRegisters(offset, words.len() as u16)
        }
        _ => return Err(ExceptionCode::IllegalFunction),
    };
    Ok(response)
}

impl From<Exception> for ExceptionCode {
    fn from(exception: Exception) -> Self {
        match exception {
            Exception::IllegalAddress => Self::IllegalDataAddress,
            Exception::IllegalValue => Self::IllegalDataValue,
        }
    }
}
