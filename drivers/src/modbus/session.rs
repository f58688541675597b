//! The connection to one unit: one request at a time, each under a deadline, each answer checked.
//!
//! A refusal by the machine (an exception) leaves the connection as it is; anything else than the right answer in time
//! drops it, since a late answer would be taken for the next one. For the same reason the connection is held by the
//! request under way: a caller that gives up drops it.

use super::bus::Bus;
use super::config::Options;
use super::line;
use super::pdu::{self, Answer, Write};
use super::plan::Span;
use super::wire::{Fault, Wire};
use crate::port::{ConnectError, Connectivity, Counters, DeviceError, Health, Lost};
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Texts by their numbers.
    Objects(Vec<(u8, String)>),
    /// What a serial unit answers to "report server id".
    Server(Vec<u8>),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The machine refused; the connection stands.
    Device(DeviceError),
    /// The connection is gone.
    Lost(Lost),
}

/// Requests after which a machine that goes on telling who it is is believed to never end.
const IDENTITY_REQUESTS_MAX: usize = 16;

/// The way to the unit.
enum Way {
    /// A connection of its own, or its absence.
    Own(Option<Wire>),
    /// A turn on a line that others use too, and whether the unit counts as connected.
    Shared(Arc<Bus>, bool),
}

/// What became of a request.
type Answered = Result<Result<Vec<u8>, Fault>, Elapsed>;

/// The connection, or its absence, and the counters of all connections so far.
pub(crate) struct Session {
    options: Options,
    way: Way,
    last_error: Option<String>,
    pub(crate) counters: Counters,
}

impl Session {
    /// A session without a connection, by a line of its own unless it is on a bus.
    pub(crate) fn new(options: Options, bus: Option<Arc<Bus>>) -> Self {
        let way = bus.map_or(Way::Own(None), |bus| Way::Shared(bus, false));
        Self { options, way, last_error: None, counters: Counters::default() }
    }

    /// Connects; an earlier connection is closed first, since some machines take only one.
    pub(crate) async fn connect(&mut self) -> Result<(), ConnectError> {
        match self.open().await {
            Ok(()) => {
                self.counters.connects += 1;
                self.last_error = None;
                Ok(())
            }
            Err(error) => {
                self.counters.connects_failed += 1;
                self.last_error = Some(error.to_string());
                Err(error)
            }
        }
    }

    async fn open(&mut self) -> Result<(), ConnectError> {
        self.close();
        match &mut self.way {
            Way::Own(wire) => *wire = Some(line::open(&self.options).await?),
            Way::Shared(bus, is_connected) => {
                let turn = bus.turn(&self.options).await;
                turn.map_err(|it| it.of_connect(&self.options))?;
                *is_connected = true;
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        match &mut self.way {
            Way::Own(wire) => *wire = None,
            Way::Shared(_, is_connected) => *is_connected = false,
        }
    }

    /// Reads a span.
    pub(crate) async fn read(&mut self, span: Span) -> Result<Answer, RequestError> {
        let what = Words("reading", span, self.options.unit_id);
        let answer = self.call(&pdu::read(span), &what).await?;
        pdu::read_answer(span, &answer).map_err(|reason| self.violation(&what, reason))
    }

    /// Writes, and checks that the machine confirms the same place.
    pub(crate) async fn write(&mut self, span: Span, write: &Write) -> Result<(), RequestError> {
        let (request, expected) = pdu::write(write, self.options.write_multiple);
        let what = Words("writing", span, self.options.unit_id);
        let answer = self.call(&request, &what).await?;
        if answer == expected {
            return Ok(());
        }
        Err(self.violation(&what, "it confirms another write than was asked for"))
    }

    /// Writes registers and reads them back in one request.
    pub(crate) async fn write_and_read(
        &mut self,
        span: Span,
        registers: &[u16],
    ) -> Result<Answer, RequestError> {
        let what = Words("writing and reading", span, self.options.unit_id);
        let answer = self.call(&pdu::write_and_read(span.offset, registers), &what).await?;
        pdu::read_answer(span, &answer).map_err(|reason| self.violation(&what, reason))
    }

    /// Sends a request of any function; what the machine answers, without the function code.
    pub(crate) async fn custom(&mut self, pdu: &[u8]) -> Result<Vec<u8>, RequestError> {
        let function = pdu.first().copied().unwrap_or_default();
        let what = format!("function {function} of unit {}", self.options.unit_id);
        let mut answer = self.call(pdu, &what).await?;
        answer.drain(..1);
        Ok(answer)
    }

    /// What the machine says of itself: by objects with numbers, or else as one piece of a kind of its own.
    pub(crate) async fn identify(&mut self) -> Result<Identity, RequestError> {
        let what = "asking who it is";
        let (mut told, mut from) = (Vec::new(), 0);
        // The objects of the stream are numbered, at most 128 of them here: each answer brings one or more.
        for _ in 0..IDENTITY_REQUESTS_MAX {
            let answer = match self.call(&pdu::identify(from), &what).await {
                Ok(answer) => answer,
                Err(RequestError::Device(_)) if told.is_empty() => {
                    let answer = self.call(&pdu::server_id(), &what).await?;
                    let told = pdu::server_id_of(&answer).map(<[u8]>::to_vec);
                    return told.map(Identity::Server).map_err(|it| self.violation(&what, it));
                }
                Err(error) => return Err(error),
            };
            let part = pdu::identification(&answer).map_err(|it| self.violation(&what, it))?;
            told.extend(part.objects);
            match part.next.filter(|next| *next > from) {
                Some(next) => from = next,
                None => break,
            }
        }
        Ok(Identity::Objects(told))
    }

    /// The words for a span in messages, with the unit.
    pub(crate) fn target(&self, span: Span) -> String {
        format!("{span} of unit {}", self.options.unit_id)
    }

    pub(crate) fn health(&self) -> Health {
        let connectivity = match self.way {
            Way::Own(Some(_)) | Way::Shared(_, true) => Connectivity::Connected,
            Way::Own(None) | Way::Shared(_, false) => Connectivity::Disconnected,
        };
        Health {
            connectivity,
            counters: self.counters,
            last_error: self.last_error.clone(),
            last_good: None,
        }
    }

    async fn call(
        &mut self,
        request: &[u8],
        what: &(dyn Display + Sync),
    ) -> Result<Vec<u8>, RequestError> {
        let answer = match self.exchange(request, what).await.map_err(RequestError::Lost)? {
            Ok(Ok(answer)) => answer,
            Ok(Err(Fault::Broken(reason))) => return Err(self.violation(what, reason)),
            Ok(Err(Fault::Closed)) => return Err(self.closed(what, "closed by the machine")),
            Ok(Err(Fault::Line(error))) => return Err(self.closed(what, &error.to_string())),
            Err(_) => {
                self.counters.timeouts += 1;
                let timeout_ms = self.options.timeout_ms;
                return Err(self.lose(Lost::Timeout { request: what.to_string(), timeout_ms }));
            }
        };
        let function = request.first().copied().unwrap_or_default();
        match pdu::answer_to(function, &answer) {
            Ok(Ok(())) => {
                self.counters.round_trips += 1;
                Ok(answer)
            }
            Ok(Err(error)) => {
                self.counters.round_trips += 1;
                self.counters.device_errors += 1;
                Err(RequestError::Device(error))
            }
            Err(reason) => Err(self.violation(what, reason)),
        }
    }

    /// Asks, and keeps the connection if there is an answer.
    async fn exchange(
        &mut self,
        request: &[u8],
        what: &(dyn Display + Sync),
    ) -> Result<Answered, Lost> {
        let (deadline, unit) = (self.deadline(), self.options.unit_id);
        match &mut self.way {
            Way::Own(place) => {
                let mut wire = place.take().ok_or(Lost::NotConnected)?;
                let answered = timeout(deadline, wire.exchange(unit, request)).await;
                *place = is_answer(&answered).then_some(wire);
                Ok(answered)
            }
            Way::Shared(_, false) => Err(Lost::NotConnected),
            Way::Shared(bus, true) => {
                let turn = bus.turn(&self.options).await;
                let mut turn = match turn.map_err(|it| it.of_request(what.to_string())) {
                    Ok(turn) => turn,
                    Err(lost) => {
                        self.close();
                        self.last_error = Some(lost.to_string());
                        return Err(lost);
                    }
                };
                let mut wire = turn.wire.take().ok_or(Lost::NotConnected)?;
                let answered = timeout(deadline, wire.exchange(unit, request)).await;
                turn.wire = is_answer(&answered).then_some(wire);
                Ok(answered)
            }
        }
    }

    fn closed(&mut self, what: &(dyn Display + Sync), reason: &str) -> RequestError {
        self.counters.connections_lost += 1;
        self.lose(Lost::Closed { request: what.to_string(), reason: reason.to_owned() })
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.options.timeout_ms.into())
    }

    fn violation(&mut self, what: &(dyn Display + Sync), reason: &str) -> RequestError {
        self.counters.protocol_violations += 1;
        self.lose(Lost::Protocol { request: what.to_string(), reason: reason.to_owned() })
    }

    fn lose(&mut self, lost: Lost) -> RequestError {
        self.close();
        self.last_error = Some(lost.to_string());
        RequestError::Lost(lost)
    }
}

/// Whether the machine has answered, be it by a refusal: then nothing of it is to come.
fn is_answer(answered: &Answered) -> bool {
    matches!(answered, Ok(Ok(_)))
}

/// A request in words, put together only when it fails.
struct Words(&'static str, Span, u8);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of unit {}", self.0, self.1, self.2)
    }
}
