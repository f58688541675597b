//! A machine behind the driver port: points with values, and every way to misbehave.

use actors::{OpenDriver, Opening};
use drivers::{
    ConfigError, ConnectError, Connectivity, Counters, DeviceError, Driver, DriverConfig, Found,
    Health, Lost, PointId, QueryError, ReadError, ReadOutcome, Sample, SubscribeError,
    Subscription, TagConfig, WriteError,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proto::{Datum, Quality};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// All machines, by the address of their configuration.
#[derive(Clone, Default)]
pub(crate) struct Machines(Arc<Mutex<BTreeMap<String, Machine>>>);

/// One machine.
#[derive(Default)]
pub(crate) struct Machine {
    /// What its points hold, by the address of the tag.
    pub(crate) values: BTreeMap<String, Datum>,
    /// Points it refuses.
    pub(crate) refused: BTreeSet<String>,
    /// Whether it cannot be reached.
    pub(crate) is_lost: bool,
    /// Whether it takes requests and never answers.
    pub(crate) is_hung: bool,
    /// Whether the driver panics at the next read.
    pub(crate) panics: bool,
    /// How long a read takes, in milliseconds.
    pub(crate) read_ms: u64,
    /// Connections made.
    pub(crate) connects: u64,
    /// What was asked, in order: `read a b` or `write a`.
    pub(crate) log: Vec<String>,
}

struct FakeDriver {
    machines: Machines,
    address: String,
    tags: Vec<TagConfig>,
    is_connected: bool,
    counters: Counters,
}

impl Machines {
    /// Looks at, or changes, the machine at an address.
    pub(crate) fn at<T>(&self, address: &str, look: impl FnOnce(&mut Machine) -> T) -> T {
        look(self.0.lock().unwrap().entry(address.to_owned()).or_default())
    }

    /// Sets a point.
    pub(crate) fn set(&self, address: &str, point: &str, value: Datum) {
        self.at(address, |machine| machine.values.insert(point.to_owned(), value));
    }

    /// Opens drivers to these machines; refuses what the real ones refuse.
    pub(crate) fn opener(&self) -> OpenDriver {
        let machines = self.clone();
        Arc::new(move |opening: Opening<'_>| {
            let Opening { config, tags, .. } = opening;
            drivers::open(config, tags, &drivers::Site::new("unused"))?;
            let DriverConfig::ModbusTcp(modbus) = config else { panic!("no such machine") };
            let driver: Box<dyn Driver> = Box::new(FakeDriver {
                machines: machines.clone(),
                address: modbus.address.clone(),
                tags: tags.to_vec(),
                is_connected: false,
                counters: Counters::default(),
            });
            Ok::<_, ConfigError>(driver)
        })
    }
}

impl FakeDriver {
    async fn reach(&mut self, what: String) -> Result<(), Lost> {
        let lost = Lost::Closed { request: what.clone(), reason: "reset".to_owned() };
        let (is_lost, is_hung, panics, read_ms) = self.machines.at(&self.address, |machine| {
            machine.log.push(what);
            let panics = std::mem::take(&mut machine.panics);
            (machine.is_lost, machine.is_hung, panics, machine.read_ms)
        });
        assert!(!panics, "the driver panics, as it was told to");
        if is_hung {
            std::future::pending::<()>().await;
        }
        if read_ms > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(read_ms)).await;
        }
        if is_lost || !self.is_connected {
            self.is_connected = false;
            return Err(lost);
        }
        Ok(())
    }

    async fn read_all(&mut self, points: &[PointId]) -> ReadOutcome {
        let names: Vec<&str> =
            points.iter().map(|it| self.tags[it.index()].address.as_str()).collect();
        if let Err(lost) = self.reach(format!("read {}", names.join(" "))).await {
            let points = points.iter().map(|point| (*point, Err(ReadError::ConnectionLost)));
            return ReadOutcome { points: points.collect(), lost: Some(lost) };
        }
        let read = |point: &PointId| {
            let target = self.tags[point.index()].address.clone();
            let value = self.machines.at(&self.address, |machine| {
                let is_refused = machine.refused.contains(&target);
                machine.values.get(&target).filter(|_| !is_refused).cloned()
            });
            let outcome = match value {
                Some(value) => {
                    Ok(Sample { point: *point, value, quality: Quality::Good, at: None })
                }
                None => Err(ReadError::Device { target, error: DeviceError::IllegalAddress }),
            };
            (*point, outcome)
        };
        ReadOutcome { points: points.iter().map(read).collect(), lost: None }
    }
}

impl Driver for FakeDriver {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), ConnectError>> {
        async move {
            let address = self.address.clone();
            let is_lost = self.machines.at(&address, |machine| {
                machine.connects += u64::from(!machine.is_lost);
                machine.is_lost
            });
            if is_lost {
                return Err(ConnectError::Refused { address });
            }
            self.is_connected = true;
            self.counters.connects += 1;
            Ok(())
        }
        .boxed()
    }

    fn read<'a>(&'a mut self, points: &'a [PointId]) -> BoxFuture<'a, ReadOutcome> {
        self.read_all(points).boxed()
    }

    fn write<'a>(
        &'a mut self,
        point: PointId,
        value: &'a Datum,
        _verify: bool,
    ) -> BoxFuture<'a, Result<Datum, WriteError>> {
        async move {
            let target = self.tags[point.index()].address.clone();
            self.reach(format!("write {target}")).await?;
            self.machines.set(&self.address, &target, value.clone());
            Ok(value.clone())
        }
        .boxed()
    }

    fn subscribe<'a>(
        &'a mut self,
        _points: &'a [PointId],
    ) -> BoxFuture<'a, Result<Subscription, SubscribeError>> {
        async { Err(SubscribeError::Unsupported) }.boxed()
    }

    fn browse<'a>(
        &'a mut self,
        below: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, QueryError>> {
        async move {
            self.reach(format!("browse {}", below.unwrap_or("the root"))).await?;
            let found = |address: &String| Found {
                address: address.clone(),
                name: address.clone(),
                is: "variable",
                data_type: None,
                is_writable: None,
            };
            let all =
                self.machines.at(&self.address, |it| it.values.keys().cloned().collect::<Vec<_>>());
            Ok(all.iter().take(limit).map(found).collect())
        }
        .boxed()
    }

    fn identify(&mut self) -> BoxFuture<'_, Result<Vec<(String, String)>, QueryError>> {
        async move {
            self.reach("identify".to_owned()).await?;
            Ok(vec![("maker".to_owned(), "Acme".to_owned())])
        }
        .boxed()
    }

    fn health(&self) -> Health {
        let connectivity = match self.is_connected {
            true => Connectivity::Connected,
            false => Connectivity::Disconnected,
        };
        Health { connectivity, counters: self.counters, last_error: None, last_good: None }
    }
}
