//! The [`Driver`] port on nothing.

use super::address::{Source, fraction};
use super::config::SimulatorConfig;
use super::table::Table;
use crate::config::{Access, ConfigError, DataType, TagConfig};
use crate::port::{
    ConnectError, Connectivity, DeviceError, Driver, Found, Health, Lost, PointId, QueryError,
    ReadError, ReadOutcome, Sample, SubscribeError, Subscription, WriteError,
};
use crate::scaling::{Scaling, Unfit};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use proto::{Datum, Quality};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a simulated machine is called in messages.
const NAME: &str = "the simulated machine";

/// Different tables of one machine: each is in memory.
const TABLES_MAX: usize = 16;

/// A machine that is not there.
pub(crate) struct SimulatorDriver {
    config: SimulatorConfig,
    dir: PathBuf,
    points: Vec<Point>,
    opened: Instant,
    reads: u64,
    health: Health,
}

struct Point {
    address: String,
    source: Source,
    data_type: DataType,
    scaling: Scaling,
    is_writable: bool,
    /// What a memory holds, raw.
    held: Held,
    table: Option<Arc<Table>>,
    /// Its own part of chance.
    chance: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Held {
    Number(f64),
    Text(String),
}

impl SimulatorDriver {
    /// A machine with these points, not yet connected to.
    pub(crate) fn new(
        config: &SimulatorConfig,
        tags: &[TagConfig],
        dir: PathBuf,
    ) -> Result<Self, ConfigError> {
        let mut points: Vec<Point> = Vec::with_capacity(tags.len());
        let mut tables = BTreeSet::new();
        for (index, tag) in tags.iter().enumerate() {
            points.push(Point::new(tag, config.seed).map_err(|error| error.of_tag(index))?);
            if let Some(Source::Table { file }) = points.last().map(|point| &point.source)
                && tables.insert(file.clone())
                && tables.len() > TABLES_MAX
            {
                let reason = format!("there are more than {TABLES_MAX} tables");
                return Err(ConfigError::new("address", reason).of_tag(index));
            }
        }
        Ok(Self {
            config: config.clone(),
            dir,
            points,
            opened: Instant::now(),
            reads: 0,
            health: Health::default(),
        })
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_connected(&self) -> bool {
        self.health.connectivity == Connectivity::Connected
    }

    /// Waits as long as the machine takes, and finds out whether it is there.
    async fn ask(&mut self, request: &str) -> Result<(), Lost> {
        if !self.is_connected() {
            return Err(Lost::NotConnected);
        }
        tokio::time::sleep(Duration::from_millis(u64::from(self.config.faults.delay_ms))).await;
        if self.config.faults.is_down(self.elapsed_ms()) {
            let reason = "it is down, as it was told".to_owned();
            let lost = Lost::Closed { request: request.to_owned(), reason };
            self.health.connectivity = Connectivity::Disconnected;
            self.health.counters.connections_lost += 1;
            self.health.last_error = Some(lost.to_string());
            return Err(lost);
        }
        self.health.counters.round_trips += 1;
        Ok(())
    }

    async fn connect_now(&mut self) -> Result<(), ConnectError> {
        self.health.connectivity = Connectivity::Disconnected;
        let outcome = match self.config.faults.is_down(self.elapsed_ms()) {
            true => Err("it is down, as it was told".to_owned()),
            false => self.read_tables().await,
        };
        match outcome {
            Ok(()) => {
                self.health.connectivity = Connectivity::Connected;
                self.health.counters.connects += 1;
                self.health.last_error = None;
                Ok(())
            }
            Err(reason) => {
                let error = ConnectError::Unreachable { address: NAME.to_owned(), reason };
                self.health.counters.connects_failed += 1;
                self.health.last_error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Reads each table once, away from those who may not wait for a disk.
    async fn read_tables(&mut self) -> Result<(), String> {
        let mut tables: BTreeMap<String, Arc<Table>> = BTreeMap::new();
        for point in &mut self.points {
            let Source::Table { file } = &point.source else { continue };
            if !tables.contains_key(file) {
                let (dir, name) = (self.dir.clone(), file.clone());
                let reading = tokio::task::spawn_blocking(move || Table::read(&dir, &name));
                let table = reading.await.map_err(|error| format!("{file}: {error}"))??;
                tables.insert(file.clone(), Arc::new(table));
            }
            point.table = tables.get(file).cloned();
        }
        Ok(())
    }

    async fn read_points(&mut self, ids: &[PointId]) -> ReadOutcome {
        if let Err(lost) = self.ask("a read").await {
            let points = ids.iter().map(|id| (*id, Err(ReadError::ConnectionLost))).collect();
            return ReadOutcome { points, lost: Some(lost) };
        }
        let elapsed_ms = self.elapsed_ms();
        let points = ids.iter().map(|id| (*id, self.read_one(*id, elapsed_ms))).collect();
        let outcome = ReadOutcome { points, lost: None };
        let failed = outcome.points.iter().filter(|(_, it)| it.is_err()).count() as u64;
        self.health.counters.points_failed += failed;
        self.health.counters.points_read += ids.len() as u64 - failed;
        outcome
    }

    fn read_one(&mut self, id: PointId, elapsed_ms: u64) -> Result<Sample, ReadError> {
        self.reads += 1;
        let refuse_every = u64::from(self.config.faults.refuse_every);
        let point = self.points.get(id.index()).ok_or(ReadError::UnknownPoint(id))?;
        let refused = |error| Err(ReadError::Device { target: point.address.clone(), error });
        if refuse_every > 0 && self.reads.is_multiple_of(refuse_every) {
            self.health.counters.device_errors += 1;
            return refused(DeviceError::DeviceFailure);
        }
        if point.source == Source::Missing {
            self.health.counters.device_errors += 1;
            return refused(DeviceError::IllegalAddress);
        }
        let value = point.show(elapsed_ms).map_err(|reason| ReadError::NoValue {
            target: point.address.clone(),
            data_type: point.data_type.to_string(),
            reason,
        })?;
        Ok(Sample { point: id, value, quality: Quality::Good, at: None })
    }

    async fn write_point(
        &mut self,
        id: PointId,
        value: &Datum,
        verify: bool,
    ) -> Result<Datum, WriteError> {
        let point = self.points.get(id.index()).ok_or(WriteError::UnknownPoint(id))?;
        let target = point.address.clone();
        if !self.is_connected() {
            return Err(WriteError::Lost(Lost::NotConnected));
        }
        if !point.is_writable {
            return Err(WriteError::ReadOnly { target });
        }
        let held = point.raw(value).map_err(|unfit| {
            let (value, data_type) = (value.clone(), point.data_type.to_string());
            let target = target.clone();
            match unfit {
                Unfit::WrongType => WriteError::WrongType { target, value, data_type },
                Unfit::OutOfRange => WriteError::OutOfRange { target, value, data_type },
            }
        })?;
        self.ask("a write").await?;
        if verify {
            // Reading back what was kept takes a second question.
            self.ask("a read back").await?;
        }
        let point = &mut self.points[id.index()];
        point.held = held;
        point.show(0).map_err(|reason| {
            let data_type = point.data_type.to_string();
            WriteError::NotReadBack(ReadError::NoValue { target, data_type, reason })
        })
    }
}

impl Point {
    fn new(tag: &TagConfig, seed: u64) -> Result<Self, ConfigError> {
        let source = Source::parse(&tag.address)?;
        let is_memory = matches!(source, Source::Memory { .. });
        let is_text = matches!(tag.data_type, DataType::Text { .. });
        if is_text && !is_memory {
            let reason = "only a memory holds a text";
            return Err(ConfigError::new("type", reason));
        }
        let is_writable = tag.access == Access::ReadWrite;
        if is_writable && !is_memory && source != Source::Missing {
            return Err(ConfigError::new("access", "only a memory can be written"));
        }
        let held = match source {
            Source::Memory { start } if !is_text => Held::Number(start),
            _ => Held::Text(String::new()),
        };
        let name = tag.tag.as_str().bytes();
        let chance = name.fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Ok(Self {
            address: tag.address.clone(),
            source,
            data_type: tag.data_type,
            scaling: Scaling::of(tag),
            is_writable,
            held,
            table: None,
            // Spread, so that neighbours in time of one point are none of another.
            chance: (fraction(chance) * (1_u64 << 53) as f64) as u64 * 2048,
        })
    }

    /// What it shows at a time.
    fn show(&self, elapsed_ms: u64) -> Result<Datum, &'static str> {
        let raw = match &self.source {
            Source::Memory { .. } => match &self.held {
                Held::Text(text) => return Ok(Datum::Text(text.clone())),
                Held::Number(number) => *number,
            },
            Source::Table { .. } => {
                let table = self.table.as_ref();
                table.and_then(|it| it.at(elapsed_ms)).ok_or("there is no table")?
            }
            source => source.at(elapsed_ms, self.chance).ok_or("there is no value")?,
        };
        match self.data_type {
            DataType::Bool => Ok(Datum::Bool(raw != 0.0)),
            DataType::Float32 => self.scaling.show_float(f64::from(raw as f32)),
            data_type if data_type.is_whole() && data_type != DataType::Auto => {
                let whole = raw.round() as i128;
                match data_type.whole_range().contains(&whole) {
                    true => self.scaling.show_whole(whole),
                    false => Err("the number does not fit the type"),
                }
            }
            _ => self.scaling.show_float(raw),
        }
    }

    /// What it has to hold to show a value.
    fn raw(&self, value: &Datum) -> Result<Held, Unfit> {
        match self.data_type {
            DataType::Text { bytes } => match value {
                Datum::Text(text) if text.len() <= usize::from(bytes) => {
                    Ok(Held::Text(text.clone()))
                }
                Datum::Text(_) => Err(Unfit::OutOfRange),
                _ => Err(Unfit::WrongType),
            },
            DataType::Bool => match value {
                Datum::Bool(it) => Ok(Held::Number(f64::from(u8::from(*it)))),
                _ => Err(Unfit::WrongType),
            },
            DataType::Float32 => {
                let raw = self.scaling.raw_float(value)? as f32;
                if raw.is_finite() { Ok(Held::Number(raw.into())) } else { Err(Unfit::OutOfRange) }
            }
            data_type if data_type.is_whole() && data_type != DataType::Auto => {
                let raw = self.scaling.raw_whole(value, &data_type.whole_range())?;
                Ok(Held::Number(raw as f64))
            }
            _ => self.scaling.raw_float(value).map(Held::Number),
        }
    }
}

impl Driver for SimulatorDriver {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), ConnectError>> {
        self.connect_now().boxed()
    }

    fn read<'a>(&'a mut self, points: &'a [PointId]) -> BoxFuture<'a, ReadOutcome> {
        self.read_points(points).boxed()
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
                Ok(_) => self.health.counters.writes += 1,
                Err(_) => self.health.counters.writes_failed += 1,
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

    fn browse<'a>(
        &'a mut self,
        _below: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, QueryError>> {
        const KINDS: [(&str, &str); 8] = [
            ("sine?min=0&max=100&period_s=60", "a sine"),
            ("triangle?min=0&max=100&period_s=60", "a triangle"),
            ("sawtooth?min=0&max=100&period_s=60", "a sawtooth"),
            ("square?min=0&max=1&period_s=10", "on and off"),
            ("noise?min=0&max=100&hold_s=1", "noise"),
            ("counter?per_s=1", "a counter"),
            ("memory?start=0", "what was written"),
            ("table?file=example.csv", "a table of this node"),
        ];
        async move {
            self.ask("a browse").await.map_err(QueryError::Lost)?;
            let found = |(address, name): (&str, &str)| Found {
                address: address.to_owned(),
                name: name.to_owned(),
                is: "variable",
                data_type: None,
                is_writable: Some(address.starts_with("memory")),
            };
            Ok(KINDS.into_iter().take(limit).map(found).collect())
        }
        .boxed()
    }

    fn identify(&mut self) -> BoxFuture<'_, Result<Vec<(String, String)>, QueryError>> {
        async move {
            self.ask("an identification").await.map_err(QueryError::Lost)?;
            let version = env!("CARGO_PKG_VERSION");
            let told = [("maker", "Manifold"), ("product", "simulator"), ("version", version)];
            Ok(told.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        }
        .boxed()
    }

    fn health(&self) -> Health {
        self.health.clone()
    }
}
