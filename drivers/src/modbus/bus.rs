//! Lines that several units are on: a serial line, or a gateway that takes one request at a time. All drivers of one
//! line share one connection, and take turns: whoever has waited longest is next.
//!
//! A request without an answer closes the connection, since a late answer would be taken for that of the next one; the
//! next turn opens it anew after a rest. Which units are there is known to their drivers alone: one that does not
//! answer costs the others its time-out, and not their connection.

use super::config::{Line, Options};
use super::line;
use super::wire::Wire;
use crate::port::{ConnectError, Lost};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{sleep, timeout};

/// How many of its own time-outs a driver waits for its turn.
pub(crate) const TURN_TIMEOUTS: u32 = 10;

/// For a late answer to pass by, before the line is opened anew.
const REST: Duration = Duration::from_millis(50);

/// The lines of a node by their names, while drivers are on them.
#[derive(Default)]
pub(crate) struct Buses(Mutex<HashMap<String, Vec<Weak<Bus>>>>);

/// See the module.
pub(crate) struct Bus {
    line: Line,
    /// Those of the same name with other settings that were there first, as while its drivers are changed one by one.
    rivals: Vec<Weak<Bus>>,
    place: Arc<tokio::sync::Mutex<Place>>,
}

/// What the one has whose turn it is.
#[derive(Default)]
pub(crate) struct Place {
    /// The connection; taken out by a request, and put back only with its answer.
    pub(crate) wire: Option<Wire>,
    was_open: bool,
}

impl Buses {
    /// The line of a driver, if it shares one.
    pub(crate) fn of(&self, options: &Options) -> Option<Arc<Bus>> {
        let name = match &options.line {
            Line::Serial(config) => format!("serial {}", config.port),
            Line::Tcp { address, is_shared: true, .. } => format!("tcp {address}"),
            Line::Tcp { is_shared: false, .. } => return None,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, buses| buses.iter().any(|bus| bus.strong_count() > 0));
        let buses = all.entry(name).or_default();
        buses.retain(|bus| bus.strong_count() > 0);
        let is_it = |bus: &Arc<Bus>| bus.line.differs_from(&options.line).is_none();
        if let Some(bus) = buses.iter().filter_map(Weak::upgrade).find(is_it) {
            return Some(bus);
        }
        let (line, rivals) = (options.line.clone(), buses.clone());
        let bus = Arc::new(Bus { line, rivals, place: Arc::default() });
        buses.push(Arc::downgrade(&bus));
        Some(bus)
    }
}

impl Bus {
    /// Waits for the turn of a driver, with the line open.
    pub(crate) async fn turn(&self, options: &Options) -> Result<OwnedMutexGuard<Place>, NoTurn> {
        let mut rivals = self.rivals.iter().filter_map(Weak::upgrade);
        if let Some(field) = rivals.find_map(|rival| rival.line.differs_from(&self.line)) {
            let (address, reason) = (
                self.line.name().to_owned(),
                format!("another driver is on this line with another {field}"),
            );
            return Err(NoTurn::Closed(ConnectError::Unreachable { address, reason }));
        }
        let timeout_ms = options.timeout_ms.saturating_mul(TURN_TIMEOUTS);
        let waiting = Arc::clone(&self.place).lock_owned();
        let turn = timeout(Duration::from_millis(timeout_ms.into()), waiting).await;
        let mut turn = turn.map_err(|_| NoTurn::Busy { timeout_ms })?;
        if turn.wire.is_none() {
            if turn.was_open {
                sleep(REST).await;
            }
            turn.wire = Some(line::open(options).await.map_err(NoTurn::Closed)?);
            turn.was_open = true;
        }
        Ok(turn)
    }
}

/// Why it is not the turn of a driver.
pub(crate) enum NoTurn {
    /// Others have had the line all the time.
    Busy { timeout_ms: u32 },
    /// It cannot be opened.
    Closed(ConnectError),
}

impl NoTurn {
    /// As the reason why there is no connection.
    pub(crate) fn of_connect(self, options: &Options) -> ConnectError {
        match self {
            Self::Busy { timeout_ms } => {
                ConnectError::Timeout { address: options.line.name().to_owned(), timeout_ms }
            }
            Self::Closed(error) => error,
        }
    }

    /// As the reason why a request was not sent.
    pub(crate) fn of_request(self, request: String) -> Lost {
        match self {
            Self::Busy { timeout_ms } => Lost::Timeout { request, timeout_ms },
            Self::Closed(error) => Lost::Closed { request, reason: error.to_string() },
        }
    }
}
