//! The [`Driver`] port on OPC UA.

use super::config::OpcUaConfig;
use super::link::{self, Link};
use super::points::{Node, Point, value_of};
use super::pushes::{Guarded, Listener, Queue, stream};
use super::requests::{Failed, Requests};
use super::subscribe::Items;
use super::value::encode;
use crate::config::{ConfigError, TagConfig, TagKind};
use crate::open::Site;
use crate::port::{
    Call, ConnectError, Connectivity, Counters, Driver, Found, Gap, Health, Kept, Lost, PointId,
    PointRead, QueryError, ReadError, ReadOutcome, SubscribeError, Subscription, WriteError,
};
use crate::scaling::Unfit;
use futures_util::future::{BoxFuture, FutureExt as _};
use opcua::types::NodeId;
use proto::Scalar;
use serde_json::Value as Json;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One connection to one OPC UA server.
pub struct OpcUaDriver {
    config: OpcUaConfig,
    site: Site,
    points: Arc<Vec<Point>>,
    /// What the server calls the points, on this connection.
    nodes: Arc<Vec<Node>>,
    link: Option<Link>,
    queue: Arc<Queue>,
    counters: Counters,
    last_error: Option<String>,
}

impl OpcUaDriver {
    /// A driver of checked options; the tags are checked here.
    pub(crate) fn new(
        config: &OpcUaConfig,
        tags: &[TagConfig],
        site: &Site,
    ) -> Result<Self, ConfigError> {
        super::endpoint::identity(config).map_err(|reason| ConfigError::new("user", reason))?;
        let mut points = Vec::with_capacity(tags.len());
        for (index, tag) in tags.iter().enumerate() {
            points.push(Point::new(tag).map_err(|error| error.of_tag(index))?);
        }
        Ok(Self {
            config: config.clone(),
            site: site.clone(),
            points: Arc::new(points),
            nodes: Arc::default(),
            link: None,
            queue: Arc::default(),
            counters: Counters::default(),
            last_error: None,
        })
    }

    async fn connect_anew(&mut self) -> Result<(), ConnectError> {
        if self.link.take().is_some_and(|link| link.ended().is_some()) {
            self.counters.connections_lost += 1;
        }
        let link = link::open(&self.config, &self.site).await?;
        let mut requests =
            Requests { link: &link, config: &self.config, counters: &mut self.counters };
        let nodes = requests.resolve(&self.points).await.map_err(|lost| {
            let (address, reason) = (self.config.url.clone(), lost.to_string());
            ConnectError::Unreachable { address, reason }
        })?;
        self.nodes = Arc::new(nodes);
        self.link = Some(link);
        Ok(())
    }

    /// The connection, if it is there.
    fn requests(&mut self) -> Result<Requests<'_>, Lost> {
        let link = self.link.as_ref().ok_or(Lost::NotConnected)?;
        if let Some(reason) = link.ended() {
            let request = "the session".to_owned();
            self.counters.connections_lost += 1;
            return Err(Lost::Closed { request, reason });
        }
        Ok(Requests { link, config: &self.config, counters: &mut self.counters })
    }

    /// Gives the connection up.
    fn lose(&mut self, lost: Lost) -> Lost {
        self.link = None;
        self.last_error = Some(lost.to_string());
        lost
    }

    async fn read_points(&mut self, asked: &[PointId]) -> ReadOutcome {
        let (points, nodes) = (Arc::clone(&self.points), Arc::clone(&self.nodes));
        let mut outcome: Vec<Option<PointRead>> = Vec::with_capacity(asked.len());
        let mut questions = Vec::with_capacity(asked.len());
        for (place, id) in asked.iter().enumerate() {
            let Some(point) = points.get(id.index()) else {
                outcome.push(Some((*id, Err(ReadError::UnknownPoint(*id)))));
                continue;
            };
            outcome.push(match nodes.get(id.index()).map(|node| &node.id) {
                Some(Ok(node)) => {
                    questions.push((place, value_of(node, point)));
                    None
                }
                Some(Err(status)) => Some(point.unknown(*id, *status)),
                None => None,
            });
        }
        let asked_for: Vec<_> = questions.iter().map(|(_, question)| question.clone()).collect();
        let values = match self.requests() {
            Ok(mut requests) => requests.read(&asked_for).await,
            Err(lost) => Err(lost),
        };
        let lost = match values {
            Ok(values) => {
                for ((place, _), value) in questions.iter().zip(&values) {
                    let id = asked[*place];
                    nodes[id.index()].learn(value);
                    outcome[*place] = Some(points[id.index()].read(id, value));
                }
                None
            }
            Err(lost) => Some(self.lose(lost)),
        };
        let mut points = Vec::with_capacity(asked.len());
        for (id, result) in asked.iter().zip(outcome) {
            // What was found out before the loss is of no use to anybody without a value.
            let result = match (&lost, result) {
                (None, Some(result)) => result,
                (Some(_), Some((_, Err(error @ ReadError::UnknownPoint(_))))) => (*id, Err(error)),
                _ => (*id, Err(ReadError::ConnectionLost)),
            };
            match result.1 {
                Ok(_) => self.counters.points_read += 1,
                Err(_) => self.counters.points_failed += 1,
            }
            points.push(result);
        }
        ReadOutcome { points, lost }
    }

    async fn write_point(
        &mut self,
        id: PointId,
        value: &Scalar,
        verify: bool,
    ) -> Result<Scalar, WriteError> {
        let (points, nodes) = (Arc::clone(&self.points), Arc::clone(&self.nodes));
        let point = points.get(id.index()).ok_or(WriteError::UnknownPoint(id))?;
        let target = point.address.to_string();
        if !point.is_writable {
            return Err(WriteError::ReadOnly { target });
        }
        let mut requests = self.requests()?;
        let Some(node) = nodes.get(id.index()) else { return Err(Lost::NotConnected.into()) };
        let node_id = match &node.id {
            Ok(node) => node,
            Err(status) => {
                let error = super::status::refusal(*status);
                return Err(WriteError::Device { target, error });
            }
        };
        let kind = requests.kind(node, node_id, point).await?;
        let Some(kind) = kind else {
            let reason = "the server's value, whose type a write must have, cannot be read";
            let data_type = point.data_type();
            let error = ReadError::NoValue { target, data_type, reason };
            return Err(WriteError::NotWritten(error));
        };
        let is_element = point.address.index.is_some();
        let encoded = encode(value, kind, &point.scaling, is_element);
        let variant = encoded.map_err(|unfit| refused(unfit, target.clone(), value, point))?;
        let sent = opcua::types::DataValue { value: Some(variant.clone()), ..Default::default() };
        let written = match point.read(id, &sent) {
            (_, Ok(sample)) => sample.value,
            (_, Err(_)) => return Err(refused(Unfit::OutOfRange, target, value, point)),
        };
        requests.write(node_id, point, variant).await.map_err(|failed| match failed {
            Failed::Device(error) => WriteError::Device { target: target.clone(), error },
            Failed::Lost(lost) => WriteError::Lost(lost),
        })?;
        if !verify {
            return Ok(written);
        }
        self.verify(id, point, node_id, written).await
    }

    async fn verify(
        &mut self,
        id: PointId,
        point: &Point,
        node: &NodeId,
        written: Scalar,
    ) -> Result<Scalar, WriteError> {
        let target = point.address.to_string();
        let found = self.requests()?.read(&[value_of(node, point)]).await;
        let Ok(found) = found else {
            return Err(WriteError::NotReadBack(ReadError::ConnectionLost));
        };
        let found = found.first().map(|value| point.read(id, value).1);
        match found.unwrap_or(Err(ReadError::ConnectionLost)) {
            Ok(sample) if sample.value == written => Ok(written),
            Ok(sample) => Err(WriteError::NotVerified { target, written, found: sample.value }),
            Err(error) => Err(WriteError::NotReadBack(error)),
        }
    }

    async fn subscribe_to(&mut self, asked: &[PointId]) -> Result<Subscription, SubscribeError> {
        if !self.config.subscribe {
            return Err(SubscribeError::Unsupported);
        }
        let (points, nodes) = (Arc::clone(&self.points), Arc::clone(&self.nodes));
        if let Some(unknown) = asked.iter().find(|id| id.index() >= points.len()) {
            return Err(SubscribeError::UnknownPoint(*unknown));
        }
        let is_for_events = |id: &PointId| points[id.index()].kind == TagKind::Events;
        let (events, values): (Vec<PointId>, Vec<PointId>) =
            asked.iter().partition(|id| is_for_events(id));
        let queue = Arc::new(Queue::default());
        // What was pushed so far counts as long as the driver does.
        for (new, old) in queue.tally.iter().zip(&self.queue.tally) {
            new.store(old.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let mut requests = self.requests()?;
        let listener = Listener {
            points: Arc::clone(&points),
            nodes: Arc::clone(&nodes),
            namespaces: Arc::clone(&requests.link.namespaces),
            fields: Arc::default(),
            queue: Arc::clone(&queue),
        };
        let mut items = Items::create(&mut requests, listener).await?;
        let mut refused = items.add(&mut requests, &values).await?;
        refused.extend(items.add_events(&mut requests, &events).await?);
        let (pulse, session) = (requests.link.pulse.clone(), Arc::clone(&requests.link.session));
        let retries = items.retry(session, requests.link.limits.monitor, &refused);
        let retries = retries.map(|task| Guarded(tokio::spawn(task).abort_handle()));
        queue.push(refused, points.len());
        self.queue = Arc::clone(&queue);
        Ok(stream(queue, pulse, items.silence_max(&self.config), retries))
    }
}

fn refused(unfit: Unfit, target: String, value: &Scalar, point: &Point) -> WriteError {
    let (value, data_type) = (value.clone(), point.data_type());
    match unfit {
        Unfit::WrongType => WriteError::WrongType { target, value, data_type },
        Unfit::OutOfRange => WriteError::OutOfRange { target, value, data_type },
    }
}

impl Driver for OpcUaDriver {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), ConnectError>> {
        async move {
            let result = self.connect_anew().await;
            match &result {
                Ok(()) => {
                    self.counters.connects += 1;
                    self.last_error = None;
                }
                Err(error) => {
                    self.counters.connects_failed += 1;
                    self.last_error = Some(error.to_string());
                }
            }
            result
        }
        .boxed()
    }

    fn read<'a>(&'a mut self, points: &'a [PointId]) -> BoxFuture<'a, ReadOutcome> {
        self.read_points(points).boxed()
    }

    fn write<'a>(
        &'a mut self,
        point: PointId,
        value: &'a Scalar,
        verify: bool,
    ) -> BoxFuture<'a, Result<Scalar, WriteError>> {
        async move {
            let result = self.write_point(point, value, verify).await;
            match &result {
                Ok(_) => self.counters.writes += 1,
                Err(_) => self.counters.writes_failed += 1,
            }
            match result {
                Err(WriteError::Lost(lost)) => Err(WriteError::Lost(self.lose(lost))),
                result => result,
            }
        }
        .boxed()
    }

    fn is_pushed(&self) -> bool {
        self.config.subscribe
    }

    fn subscribe<'a>(
        &'a mut self,
        points: &'a [PointId],
    ) -> BoxFuture<'a, Result<Subscription, SubscribeError>> {
        async move {
            match self.subscribe_to(points).await {
                Err(SubscribeError::Lost(lost)) => Err(SubscribeError::Lost(self.lose(lost))),
                result => result,
            }
        }
        .boxed()
    }

    fn browse<'a>(
        &'a mut self,
        below: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, QueryError>> {
        async move { self.requests()?.browse(below, limit).await }.boxed()
    }

    fn identify(&mut self) -> BoxFuture<'_, Result<Vec<(String, String)>, QueryError>> {
        async move { self.requests()?.identify().await }.boxed()
    }

    fn call<'a>(&'a mut self, call: &'a Call) -> BoxFuture<'a, Result<Vec<Json>, QueryError>> {
        async move {
            match self.requests()?.call_method(call).await {
                Err(QueryError::Lost(lost)) => Err(QueryError::Lost(self.lose(lost))),
                result => result,
            }
        }
        .boxed()
    }

    fn backfill_max_ms(&self) -> u64 {
        u64::from(self.config.backfill_max_secs) * 1000
    }

    fn history<'a>(&'a mut self, gaps: &'a [Gap]) -> BoxFuture<'a, Result<Vec<Kept>, QueryError>> {
        async move {
            let (points, nodes) = (Arc::clone(&self.points), Arc::clone(&self.nodes));
            match self.requests()?.history(gaps, &points, &nodes).await {
                Err(QueryError::Lost(lost)) => Err(QueryError::Lost(self.lose(lost))),
                result => result,
            }
        }
        .boxed()
    }

    fn health(&self) -> Health {
        let is_there = self.link.as_ref().is_some_and(|link| link.ended().is_none());
        let pushed = |index: usize| self.queue.tally[index].load(Ordering::Relaxed);
        let mut counters = self.counters;
        counters.points_read += pushed(0);
        counters.points_failed += pushed(1);
        counters.values_skipped += pushed(2);
        counters.events += pushed(3);
        counters.events_skipped += pushed(4);
        let connectivity =
            if is_there { Connectivity::Connected } else { Connectivity::Disconnected };
        Health { connectivity, counters, last_error: self.last_error.clone(), last_good: None }
    }
}
