//! The [`Driver`] port on Modbus.

use super::bus::Buses;
use super::config::Options;
use super::custom;
use super::pdu::{WRITE_READ_REGISTERS_MAX, Write};
use super::plan::Limits;
use super::point::Point;
use super::read::Reading;
use super::session::{Identity, RequestError, Session};
use super::splits::Splits;
use crate::config::{ConfigError, TagConfig};
use crate::port::{
    Call, ConnectError, Driver, Health, PointId, QueryError, ReadError, ReadOutcome,
    SubscribeError, Subscription, WriteError,
};
use crate::scaling::Unfit;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use proto::Datum;
use serde_json::Value as Json;

/// A connection to one Modbus unit.
pub struct ModbusDriver {
    points: Vec<Point>,
    limits: Limits,
    session: Session,
    splits: Splits,
    /// Whether a write that is verified is one request.
    write_and_read: bool,
}

impl ModbusDriver {
    /// A driver for these tags, not yet connected.
    pub(crate) fn new(
        options: Options,
        tags: &[TagConfig],
        buses: &Buses,
    ) -> Result<Self, ConfigError> {
        let mut points = Vec::with_capacity(tags.len());
        for (index, tag) in tags.iter().enumerate() {
            points.push(Point::new(tag, &options).map_err(|error| error.of_tag(index))?);
        }
        let limits = Limits {
            gap_registers: options.gap_registers,
            registers_max: options.registers_per_request_max,
            bits_max: options.bits_per_request_max,
        };
        let bus = buses.of(&options);
        let write_and_read = options.write_and_read;
        let session = Session::new(options, bus);
        Ok(Self { points, limits, session, splits: Splits::default(), write_and_read })
    }

    async fn write_point(
        &mut self,
        id: PointId,
        value: &Datum,
        verify: bool,
    ) -> Result<Datum, WriteError> {
        let point = self.points.get(id.index()).ok_or(WriteError::UnknownPoint(id))?;
        let span = point.span();
        let target = self.session.target(span);
        if !point.is_writable {
            return Err(WriteError::ReadOnly { target });
        }
        let (write, written) = match point.encode(value) {
            Ok(encoded) => encoded,
            Err(error) => return Err(refused_value(error, target, value, point)),
        };
        let at_once = match &write {
            Write::Registers { registers, .. } if verify && self.write_and_read => {
                Some(registers).filter(|it| it.len() <= usize::from(WRITE_READ_REGISTERS_MAX))
            }
            _ => None,
        };
        let failed = |error| match error {
            RequestError::Device(error) => WriteError::Device { target: target.clone(), error },
            RequestError::Lost(lost) => WriteError::Lost(lost),
        };
        let answer = match at_once {
            Some(registers) => {
                self.session.write_and_read(span, registers).await.map_err(failed)?
            }
            None => {
                self.session.write(span, &write).await.map_err(failed)?;
                if !verify {
                    return Ok(written);
                }
                self.session.read(span).await.map_err(|error| {
                    WriteError::NotReadBack(match error {
                        RequestError::Device(error) => {
                            ReadError::Device { target: target.clone(), error }
                        }
                        RequestError::Lost(_) => ReadError::ConnectionLost,
                    })
                })?
            }
        };
        match point.decode(span, &answer) {
            Ok(found) if found == written => Ok(written),
            Ok(found) => Err(WriteError::NotVerified { target, written, found }),
            Err(reason) => {
                let data_type = point.data_type();
                Err(WriteError::NotReadBack(ReadError::NoValue { target, data_type, reason }))
            }
        }
    }
}

fn refused_value(error: Unfit, target: String, value: &Datum, point: &Point) -> WriteError {
    let (value, data_type) = (value.clone(), point.data_type());
    match error {
        Unfit::WrongType => WriteError::WrongType { target, value, data_type },
        Unfit::OutOfRange => WriteError::OutOfRange { target, value, data_type },
    }
}

/// The name of an object of identification (Modbus Application Protocol 6.21, figure 1).
fn object(id: u8) -> String {
    match id {
        0 => "maker".to_owned(),
        1 => "product".to_owned(),
        2 => "version".to_owned(),
        3 => "url".to_owned(),
        4 => "product_name".to_owned(),
        5 => "model_name".to_owned(),
        6 => "application".to_owned(),
        other => format!("object_{other}"),
    }
}

/// What a serial unit says of itself (6.13): a number and a state, as most have it, and all of it as digits.
fn server(told: &[u8]) -> Vec<(String, String)> {
    let mut said = vec![("server_id".to_owned(), custom::digits(told))];
    if let [_, state @ (0 | 0xff), text @ ..] = told {
        said.push(("is_running".to_owned(), (*state == 0xff).to_string()));
        let text = String::from_utf8_lossy(text).trim_matches(['\0', ' ']).to_owned();
        if !text.is_empty() && !text.contains(|it: char| it.is_control()) {
            said.push(("text".to_owned(), text));
        }
    }
    said
}

fn of_query(error: RequestError) -> QueryError {
    match error {
        RequestError::Device(error) => QueryError::Device(error),
        RequestError::Lost(lost) => QueryError::Lost(lost),
    }
}

impl Driver for ModbusDriver {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), ConnectError>> {
        // A machine that was away may have come back with another program: nothing learned holds.
        self.splits.forget();
        self.session.connect().boxed()
    }

    fn read<'a>(&'a mut self, points: &'a [PointId]) -> BoxFuture<'a, ReadOutcome> {
        Reading::new(&mut self.session, &mut self.splits, &self.points, points)
            .run(&self.limits)
            .boxed()
    }

    fn write<'a>(
        &'a mut self,
        point: PointId,
        value: &'a Datum,
        verify: bool,
    ) -> BoxFuture<'a, Result<Datum, WriteError>> {
        async move {
            let result = self.write_point(point, value, verify).await;
            match result {
                Ok(_) => self.session.counters.writes += 1,
                Err(_) => self.session.counters.writes_failed += 1,
            }
            result
        }
        .boxed()
    }

    fn subscribe<'a>(
        &'a mut self,
        _points: &'a [PointId],
    ) -> BoxFuture<'a, Result<Subscription, SubscribeError>> {
        ready(Err(SubscribeError::Unsupported)).boxed()
    }

    fn identify(&mut self) -> BoxFuture<'_, Result<Vec<(String, String)>, QueryError>> {
        async move {
            match self.session.identify().await.map_err(of_query)? {
                Identity::Objects(told) => {
                    Ok(told.into_iter().map(|(id, value)| (object(id), value)).collect())
                }
                Identity::Server(told) => Ok(server(&told)),
            }
        }
        .boxed()
    }

    fn call<'a>(&'a mut self, call: &'a Call) -> BoxFuture<'a, Result<Vec<Json>, QueryError>> {
        async move {
            let pdu = custom::request(call)?;
            let answer = self.session.custom(&pdu).await;
            self.session.counters.calls += 1;
            Ok(vec![Json::String(custom::digits(&answer.map_err(of_query)?))])
        }
        .boxed()
    }

    fn health(&self) -> Health {
        self.session.health()
    }
}
