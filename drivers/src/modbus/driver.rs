//! The [`Driver`] port on Modbus.

use super::bus::Buses;
use super::config::Options;
use super::plan::Limits;
use super::point::Point;
use super::read::Reading;
use super::session::{RequestError, Session};
use super::splits::Splits;
use crate::config::{ConfigError, TagConfig};
use crate::port::{
    ConnectError, Driver, Health, PointId, QueryError, ReadError, ReadOutcome, SubscribeError,
    Subscription, WriteError,
};
use crate::scaling::Unfit;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use proto::Datum;

/// A connection to one Modbus TCP unit.
pub struct ModbusDriver {
    points: Vec<Point>,
    limits: Limits,
    session: Session,
    splits: Splits,
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
        let session = Session::new(options, bus);
        Ok(Self { points, limits, session, splits: Splits::default() })
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
        match self.session.write(span, &write).await {
            Ok(()) if verify => {}
            Ok(()) => return Ok(written),
            Err(RequestError::Device(error)) => return Err(WriteError::Device { target, error }),
            Err(RequestError::Lost(lost)) => return Err(WriteError::Lost(lost)),
        }
        let answer = match self.session.read(span).await {
            Ok(answer) => answer,
            Err(RequestError::Device(error)) => {
                return Err(WriteError::NotReadBack(ReadError::Device { target, error }));
            }
            Err(RequestError::Lost(_)) => {
                return Err(WriteError::NotReadBack(ReadError::ConnectionLost));
            }
        };
        match point.decode(span, &answer) {
            Ok(found) if found == written => Ok(written),
            Ok(found) => Err(WriteError::NotVerified { target, written, found }),
            Err(reason) => {
                let data_type = point.encoding.data_type.to_string();
                Err(WriteError::NotReadBack(ReadError::NoValue { target, data_type, reason }))
            }
        }
    }
}

fn refused_value(error: Unfit, target: String, value: &Datum, point: &Point) -> WriteError {
    let (value, data_type) = (value.clone(), point.encoding.data_type.to_string());
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
            match self.session.identify().await {
                Ok(told) => Ok(told.into_iter().map(|(id, value)| (object(id), value)).collect()),
                Err(RequestError::Device(error)) => Err(QueryError::Device(error)),
                Err(RequestError::Lost(lost)) => Err(QueryError::Lost(lost)),
            }
        }
        .boxed()
    }

    fn health(&self) -> Health {
        self.session.health()
    }
}
