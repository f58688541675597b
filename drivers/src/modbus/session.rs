//! The connection to one unit: one request at a time, each under a deadline, each answer checked.
//!
//! With `line` and `bus` the only file that calls the Modbus library. It has no time-out of its own and takes answers
//! on trust, so this does both. A refusal by the machine (an exception) leaves the connection as it
//! is; anything else than the right answer in time drops it, since a late answer would be taken for
//! the next one. For the same reason the connection is held by the request under way: a caller that
//! gives up drops it.

use super::address::{Area, Bits};
use super::bus::Bus;
use super::config::Options;
use super::line;
use super::plan::Span;
use crate::port::{ConnectError, Connectivity, Counters, DeviceError, Health, Lost};
use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_modbus::client::{Client as _, Context};
use tokio_modbus::prelude::{DeviceIdObject, ReadCode};
use tokio_modbus::slave::SlaveContext as _;
use tokio_modbus::{ExceptionCode, Request, Response, Slave};

/// What a unit answered to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Bits(Vec<bool>),
    Registers(Vec<u16>),
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    Coil { offset: u16, value: bool },
    Registers { offset: u16, registers: Vec<u16> },
    Bits { offset: u16, bits: Bits, number: u16 },
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
    Own(Option<Context>),
    /// A turn on a line that others use too, and whether the unit counts as connected.
    Shared(Arc<Bus>, bool),
}

/// What the library says of a request.
type Answered = Result<tokio_modbus::Result<Response>, Elapsed>;

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
            Way::Own(context) => *context = Some(line::open(&self.options).await?),
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
            Way::Own(context) => *context = None,
            Way::Shared(_, is_connected) => *is_connected = false,
        }
    }

    /// Reads a span.
    pub(crate) async fn read(&mut self, span: Span) -> Result<Answer, RequestError> {
        let Span { area, offset, count } = span;
        let request = match area {
            Area::Coil => Request::ReadCoils(offset, count),
            Area::DiscreteInput => Request::ReadDiscreteInputs(offset, count),
            Area::InputRegister => Request::ReadInputRegisters(offset, count),
            Area::HoldingRegister => Request::ReadHoldingRegisters(offset, count),
        };
        let what = Words("reading", span, self.options.unit_id);
        let response = self.call(request, &what).await?;
        match (area, response) {
            (Area::Coil, Response::ReadCoils(bits))
            | (Area::DiscreteInput, Response::ReadDiscreteInputs(bits))
                if is_bit_count(bits.len(), count) =>
            {
                Ok(Answer::Bits(bits))
            }
            (Area::InputRegister, Response::ReadInputRegisters(registers))
            | (Area::HoldingRegister, Response::ReadHoldingRegisters(registers))
                if registers.len() == usize::from(count) =>
            {
                Ok(Answer::Registers(registers))
            }
            _ => Err(self.violation(&what, "another quantity than was asked for")),
        }
    }

    /// Writes, and checks that the machine confirms the same place.
    pub(crate) async fn write(&mut self, span: Span, write: &Write) -> Result<(), RequestError> {
        let request = request_to(write, self.options.write_multiple);
        let expected = expected_response(&request);
        let what = Words("writing", span, self.options.unit_id);
        let response = self.call(request, &what).await?;
        if Some(response) == expected {
            return Ok(());
        }
        Err(self.violation(&what, "it confirms another write than was asked for"))
    }

    /// What the machine says of itself (Modbus Application Protocol 6.21, basic and regular objects).
    pub(crate) async fn identify(&mut self) -> Result<Vec<(u8, String)>, RequestError> {
        let mut told = Vec::new();
        let mut from = 0;
        // The objects of the stream are numbered, at most 128 of them here: each answer brings one or more.
        for _ in 0..IDENTITY_REQUESTS_MAX {
            let request = Request::ReadDeviceIdentification(ReadCode::Regular, from);
            let answer = match self.call(request, &"asking who it is").await? {
                Response::ReadDeviceIdentification(answer) => answer,
                _ => return Err(self.violation(&"asking who it is", "another answer")),
            };
            let text = |it: &DeviceIdObject| String::from_utf8_lossy(&it.value).trim().to_owned();
            told.extend(answer.device_id_objects.iter().map(|it| (it.id, text(it))));
            if !answer.more_follows || answer.next_object_id <= from {
                break;
            }
            from = answer.next_object_id;
        }
        Ok(told)
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
        request: Request<'_>,
        what: &(dyn Display + Sync),
    ) -> Result<Response, RequestError> {
        match self.exchange(request, what).await.map_err(RequestError::Lost)? {
            Ok(Ok(Ok(response))) => {
                self.counters.round_trips += 1;
                Ok(response)
            }
            Ok(Ok(Err(exception))) => {
                self.counters.round_trips += 1;
                self.counters.device_errors += 1;
                Err(RequestError::Device(device_error(exception)))
            }
            Ok(Err(tokio_modbus::Error::Transport(error))) => Err(self.transport(what, &error)),
            Ok(Err(tokio_modbus::Error::Protocol(_))) => {
                Err(self.violation(what, "it belongs to another request"))
            }
            Err(_) => {
                self.counters.timeouts += 1;
                let timeout_ms = self.options.timeout_ms;
                Err(self.lose(Lost::Timeout { request: what.to_string(), timeout_ms }))
            }
        }
    }

    /// Asks, and keeps the connection if there is an answer.
    async fn exchange(
        &mut self,
        request: Request<'_>,
        what: &(dyn Display + Sync),
    ) -> Result<Answered, Lost> {
        let deadline = self.deadline();
        match &mut self.way {
            Way::Own(place) => {
                let mut context = place.take().ok_or(Lost::NotConnected)?;
                let answered = timeout(deadline, context.call(request)).await;
                *place = is_answer(&answered).then_some(context);
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
                let mut context = turn.context.take().ok_or(Lost::NotConnected)?;
                context.set_slave(Slave(self.options.unit_id));
                let answered = timeout(deadline, context.call(request)).await;
                turn.context = is_answer(&answered).then_some(context);
                Ok(answered)
            }
        }
    }

    fn transport(&mut self, what: &(dyn Display + Sync), error: &io::Error) -> RequestError {
        let reason = error.to_string();
        // The library reports an answer that it cannot decode as invalid data or as a short read.
        if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
            return self.violation(what, &reason);
        }
        self.counters.connections_lost += 1;
        // An orderly close is reported with whatever error the system had last, often none.
        let is_close = error.raw_os_error() == Some(0);
        let reason = if is_close { "closed by the machine".to_owned() } else { reason };
        self.lose(Lost::Closed { request: what.to_string(), reason })
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

/// The library unpacks whole bytes, so an answer has up to 7 bits more than were asked for.
fn is_bit_count(unpacked: usize, asked: u16) -> bool {
    unpacked == usize::from(asked).next_multiple_of(8)
}

fn request_to(write: &Write, write_multiple: bool) -> Request<'_> {
    match *write {
        Write::Coil { offset, value } if write_multiple => {
            Request::WriteMultipleCoils(offset, Cow::Owned(vec![value]))
        }
        Write::Coil { offset, value } => Request::WriteSingleCoil(offset, value),
        Write::Registers { offset, ref registers } if registers.len() == 1 && !write_multiple => {
            Request::WriteSingleRegister(offset, registers[0])
        }
        Write::Registers { offset, ref registers } => {
            Request::WriteMultipleRegisters(offset, Cow::Borrowed(registers))
        }
        // The machine changes these bits by itself: reading and writing back would undo what it,
        // or somebody else, does to the other bits in between.
        Write::Bits { offset, bits, number } => {
            Request::MaskWriteRegister(offset, !bits.mask(), bits.put(number))
        }
    }
}

/// The only right answer to a write.
fn expected_response(request: &Request<'_>) -> Option<Response> {
    match *request {
        Request::WriteSingleCoil(offset, value) => Some(Response::WriteSingleCoil(offset, value)),
        Request::WriteSingleRegister(offset, value) => {
            Some(Response::WriteSingleRegister(offset, value))
        }
        Request::WriteMultipleCoils(offset, ref coils) => {
            Some(Response::WriteMultipleCoils(offset, u16::try_from(coils.len()).ok()?))
        }
        Request::WriteMultipleRegisters(offset, ref registers) => {
            Some(Response::WriteMultipleRegisters(offset, u16::try_from(registers.len()).ok()?))
        }
        Request::MaskWriteRegister(offset, and_mask, or_mask) => {
            Some(Response::MaskWriteRegister(offset, and_mask, or_mask))
        }
        _ => None,
    }
}

fn device_error(exception: ExceptionCode) -> DeviceError {
    match exception {
        ExceptionCode::IllegalFunction => DeviceError::IllegalFunction,
        ExceptionCode::IllegalDataAddress => DeviceError::IllegalAddress,
        ExceptionCode::IllegalDataValue => DeviceError::IllegalValue,
        ExceptionCode::ServerDeviceFailure | ExceptionCode::MemoryParityError => {
            DeviceError::DeviceFailure
        }
        ExceptionCode::Acknowledge | ExceptionCode::ServerDeviceBusy => DeviceError::DeviceBusy,
        ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice => {
            DeviceError::GatewayFailure
        }
        ExceptionCode::Custom(code) => DeviceError::Other(code),
    }
}
