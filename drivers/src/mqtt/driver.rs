//! The [`Driver`] port on MQTT.

use super::browse::Finds;
use super::config::MqttConfig;
use super::line::{LocalBroker, Opening};
use super::listen::{Known, Latest, Listener, Silence, Write, is_same};
use super::payload::written;
use super::points::{Point, Points};
use crate::bridge::{RemoteMessage, SendError};
use crate::config::{ConfigError, TagConfig};
use crate::port::{
    ConnectError, Connectivity, DeviceError, Driver, Found, Health, Lost, PointId, PointRead,
    Pushed, QueryError, ReadError, ReadOutcome, SubscribeError, Subscription, WriteError,
};
use crate::scaling::Unfit;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use proto::{Datum, Qos, TopicFilter, TopicName};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// What waits for whoever holds the subscription: so little that a device that is too fast feels it.
const PUSHES_MAX: usize = 4;

/// Retained messages that are taken over for one topic.
const RETAINED_OF_A_TOPIC: usize = 1;

/// The broker does not let us subscribe there.
const NOT_PERMITTED: DeviceError =
    DeviceError::Named { code: "not_permitted", name: "the broker refuses the topic" };

/// Devices behind one broker.
pub(crate) struct MqttDriver {
    config: MqttConfig,
    local: Option<Arc<dyn LocalBroker>>,
    points: Arc<Points>,
    connection: Option<Connection>,
    /// Of all connections before; what the present one has read is its own.
    health: Health,
}

struct Connection {
    known: Arc<Known>,
    refused: HashSet<TopicName>,
    writes: mpsc::Sender<Write>,
    pushes: Option<mpsc::Receiver<Pushed>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MqttDriver {
    /// Devices with these points, not yet connected to.
    pub(crate) fn new(
        config: &MqttConfig,
        tags: &[TagConfig],
        local: Option<Arc<dyn LocalBroker>>,
    ) -> Result<Self, ConfigError> {
        let points = Arc::new(Points::new(config, tags)?);
        let (config, health) = (config.clone(), Health::default());
        Ok(Self { config, local, points, connection: None, health })
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.config.timeout_ms.into())
    }

    async fn connect_now(&mut self) -> Result<(), ConnectError> {
        if self.connection.as_ref().is_some_and(|it| it.known.ended().is_some()) {
            self.health.counters.connections_lost += 1;
        }
        self.leave();
        // One that has no points is only tried out, while another one may be at work.
        let suffix = self.points.all.is_empty().then_some("-test");
        let opening = self.opening(suffix, RETAINED_OF_A_TOPIC);
        let (line, refused) = opening.open(self.points.filters()).await?;
        self.health.counters.values_skipped += line.let_go;
        let topic = |filter: TopicFilter| TopicName::parse(filter.as_str().to_owned()).ok();
        let refused: HashSet<TopicName> = refused.into_iter().filter_map(topic).collect();
        let known = Arc::new(Known::new(self.points.all.len()));
        let (pushes_to, pushes) = mpsc::channel(PUSHES_MAX);
        let (writes, writes_from) = mpsc::channel(1);
        let mut listener = Listener {
            line,
            points: Arc::clone(&self.points),
            known: Arc::clone(&known),
            pushes: pushes_to,
            writes: writes_from,
            silence: Silence::new(self.config.silent_after_secs, &self.points),
            is_gone: false,
        };
        listener.begin();
        let task = tokio::spawn(listener.run());
        let pushes = Some(pushes);
        self.connection = Some(Connection { known, refused, writes, pushes, task });
        Ok(())
    }

    fn opening(&self, suffix: Option<&'static str>, retained_max: usize) -> Opening<'_> {
        Opening { config: &self.config, local: self.local.as_ref(), suffix, retained_max }
    }

    /// Closes the connection, and takes over what it has counted.
    fn leave(&mut self) {
        self.health = Health { connectivity: Connectivity::Disconnected, ..self.health() };
        self.connection = None;
    }

    /// The connection, if it is there.
    fn connected(&mut self) -> Result<&Connection, Lost> {
        let Some(connection) = &self.connection else { return Err(Lost::NotConnected) };
        match connection.known.ended() {
            None => Ok(self.connection.as_ref().ok_or(Lost::NotConnected)?),
            Some(lost) => Err(self.lose(lost)),
        }
    }

    fn lose(&mut self, lost: Lost) -> Lost {
        self.leave();
        match &lost {
            Lost::Timeout { .. } => self.health.counters.timeouts += 1,
            _ => self.health.counters.connections_lost += 1,
        }
        self.health.last_error = Some(lost.to_string());
        lost
    }

    /// MQTT has no question: what was last heard is told.
    fn read_points(&mut self, asked: &[PointId]) -> ReadOutcome {
        let points = Arc::clone(&self.points);
        let connection = match self.connected() {
            Ok(connection) => connection,
            Err(lost) => {
                let read = |id: &PointId| match points.all.get(id.index()) {
                    Some(_) => (*id, Err(ReadError::ConnectionLost)),
                    None => (*id, Err(ReadError::UnknownPoint(*id))),
                };
                let points: Vec<PointRead> = asked.iter().map(read).collect();
                self.health.counters.points_failed += points.len() as u64;
                return ReadOutcome { points, lost: Some(lost) };
            }
        };
        let read = |id: &PointId| {
            let Some(point) = points.all.get(id.index()) else {
                return (*id, Err(ReadError::UnknownPoint(*id)));
            };
            let latest = connection.known.latest(*id).read;
            let nothing = || match connection.refused.contains(&point.read.topic) {
                true => Err(not_permitted(point)),
                false => Err(point.no_value("nothing has been heard yet")),
            };
            (*id, latest.unwrap_or_else(nothing))
        };
        let points: Vec<PointRead> = asked.iter().map(read).collect();
        let failed = points.iter().filter(|(_, read)| read.is_err()).count();
        self.health.counters.points_failed += failed as u64;
        self.health.counters.points_read += (points.len() - failed) as u64;
        ReadOutcome { points, lost: None }
    }

    async fn write_point(
        &mut self,
        id: PointId,
        value: &Datum,
        verify: bool,
    ) -> Result<Datum, WriteError> {
        let points = Arc::clone(&self.points);
        let point = points.all.get(id.index()).ok_or(WriteError::UnknownPoint(id))?;
        let deadline = Instant::now() + self.timeout();
        let connection = self.connected()?;
        let (known, writes) = (Arc::clone(&connection.known), connection.writes.clone());
        let Some(place) = &point.write else {
            return Err(WriteError::ReadOnly { target: point.target.clone() });
        };
        let target = place.to_string();
        let (payload, seen) = written(&place.part, &point.encoding, value).map_err(|unfit| {
            let (target, value) = (target.clone(), value.clone());
            let data_type = point.encoding.data_type.to_string();
            match unfit {
                Unfit::WrongType => WriteError::WrongType { target, value, data_type },
                Unfit::OutOfRange => WriteError::OutOfRange { target, value, data_type },
            }
        })?;
        let before = known.latest(id).count;
        let message = RemoteMessage {
            topic: place.topic.clone(),
            payload: Bytes::from(payload),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: Default::default(),
        };
        let (told, outcome) = oneshot::channel();
        let sending = async {
            // The task that is gone says why there is no connection.
            let _ = writes.send(Write { message, told }).await;
            outcome.await.unwrap_or_else(|_| Err(SendError::Again("it is closed".to_owned())))
        };
        let request = format!("a message on {}", place.topic);
        match timeout_at(deadline, sending).await {
            Ok(Ok(())) => self.health.counters.round_trips += 1,
            Ok(Err(SendError::Refused(_))) => {
                self.health.counters.round_trips += 1;
                self.health.counters.device_errors += 1;
                return Err(WriteError::Device { target, error: NOT_PERMITTED });
            }
            Ok(Err(SendError::Again(reason))) => {
                return Err(self.lose(Lost::Closed { request, reason }).into());
            }
            Err(_) => {
                let timeout_ms = self.config.timeout_ms;
                return Err(self.lose(Lost::Timeout { request, timeout_ms }).into());
            }
        }
        if verify {
            self.health.counters.round_trips += 1;
            confirmed((point, id), &known, (before, &seen), deadline).await?;
        }
        Ok(seen)
    }

    async fn look_around(
        &mut self,
        below: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Found>, QueryError> {
        self.connected()?;
        let below = below.unwrap_or("#");
        let filter = TopicFilter::parse(below.to_owned()).map_err(|error| QueryError::Address {
            address: below.to_owned(),
            reason: error.to_string(),
        })?;
        let deadline = Instant::now() + self.timeout();
        let opened = self.opening(Some("-browse"), limit).open(vec![filter]).await;
        let closed = |reason: String| {
            QueryError::Lost(Lost::Closed { request: "a browse".to_owned(), reason })
        };
        let (mut line, refused) = opened.map_err(|error| closed(error.to_string()))?;
        if !refused.is_empty() {
            return Err(QueryError::Device(NOT_PERMITTED));
        }
        let mut finds = Finds::new(limit, self.config.broker.is_none());
        while !finds.is_full() {
            match timeout_at(deadline, line.next()).await {
                Ok(Ok((message, receipt))) => {
                    finds.add(&message);
                    receipt.kept();
                }
                Ok(Err(lost)) => return Err(closed(lost.to_string())),
                // Whoever has something to say has said it.
                Err(_) => break,
            }
        }
        self.health.counters.round_trips += 1;
        Ok(finds.into_list())
    }
}

fn not_permitted(point: &Point) -> ReadError {
    ReadError::Device { target: point.target.clone(), error: NOT_PERMITTED }
}

/// Waits for the device to say what was written.
async fn confirmed(
    (point, id): (&Point, PointId),
    known: &Known,
    (before, seen): (u64, &Datum),
    deadline: Instant,
) -> Result<(), WriteError> {
    let (target, written) = (point.target.clone(), seen.clone());
    loop {
        let news = known.news.notified();
        tokio::pin!(news);
        // From here on nothing is missed.
        news.as_mut().enable();
        let latest = known.latest(id);
        let is_it = |read: &Latest| {
            let value = read.read.as_ref().and_then(|read| read.as_ref().ok());
            value.is_some_and(|sample| is_same(seen, &sample.value))
        };
        if latest.count > before && is_it(&latest) {
            return Ok(());
        }
        if timeout_at(deadline, news).await.is_err() {
            // A device that holds the value already may say nothing.
            return match latest.read {
                _ if is_it(&latest) => Ok(()),
                Some(Ok(sample)) => {
                    Err(WriteError::NotVerified { target, written, found: sample.value })
                }
                Some(Err(error)) => Err(WriteError::NotReadBack(error)),
                None => {
                    let error = point.no_value("the device has not said what it holds");
                    Err(WriteError::NotReadBack(error))
                }
            };
        }
    }
}

impl Driver for MqttDriver {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), ConnectError>> {
        async move {
            let outcome = self.connect_now().await;
            match &outcome {
                Ok(()) => {
                    self.health.connectivity = Connectivity::Connected;
                    self.health.counters.connects += 1;
                    self.health.last_error = None;
                }
                Err(error) => {
                    self.health.counters.connects_failed += 1;
                    self.health.last_error = Some(error.to_string());
                }
            }
            outcome
        }
        .boxed()
    }

    fn is_pushed(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, points: &'a [PointId]) -> BoxFuture<'a, ReadOutcome> {
        async move { self.read_points(points) }.boxed()
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
        points: &'a [PointId],
    ) -> BoxFuture<'a, Result<Subscription, SubscribeError>> {
        async move {
            self.connected()?;
            let connection = self.connection.as_mut().ok_or(Lost::NotConnected)?;
            let pushes = connection.pushes.take().ok_or(Lost::NotConnected)?;
            let is_refused = |id: &&PointId| {
                let point = self.points.all.get(id.index());
                point.is_some_and(|point| connection.refused.contains(&point.read.topic))
            };
            let refused = points.iter().filter(is_refused);
            let refused = refused.map(|id| (*id, Err(not_permitted(&self.points.all[id.index()]))));
            let first = Pushed { points: refused.collect(), ..Pushed::default() };
            let first = (!first.points.is_empty()).then_some(first);
            let pushes = futures_util::stream::unfold(pushes, |mut pushes| async move {
                pushes.recv().await.map(|pushed| (pushed, pushes))
            });
            Ok(futures_util::stream::iter(first).chain(pushes).boxed())
        }
        .boxed()
    }

    fn browse<'a>(
        &'a mut self,
        below: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, QueryError>> {
        self.look_around(below, limit).boxed()
    }

    fn health(&self) -> Health {
        let mut health = self.health.clone();
        if let Some(connection) = &self.connection {
            let [good, failed] = &connection.known.tally;
            health.counters.points_read += good.load(Ordering::Relaxed);
            health.counters.points_failed += failed.load(Ordering::Relaxed);
        }
        health
    }
}
