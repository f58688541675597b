//! The [`Driver`] port on OPC UA.

use super::config::OpcUaConfig;
use super::link::{self, Link};
use super::listener::Listener;
use super::points::{Node, Point, value_of};
use super::pushes::{Guarded, Queue, stream};
use super::requests::Requests;
use super::subscribe::Items;
use crate::config::{ConfigError, TagConfig, TagKind};
use crate::open::Site;
use crate::port::{
    Call, ConnectError, Connectivity, Counters, Discovered, Driver, Found, Gap, Health, Kept, Lost,
    PointId, PointRead, PointWrite, QueryError, ReadError, ReadOutcome, SubscribeError,
    Subscription, WriteError,
};
use futures_util::future::{BoxFuture, FutureExt as _, OptionFuture};
use proto::Datum;
use serde_json::Value as Json;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The most writes in one command: a server that takes one in a request is done with them in time.
const WRITES_AT_ONCE: usize = 100;

/// One connection to one OPC UA server.
pub struct OpcUaDriver {
    config: OpcUaConfig,
    site: Site,
    pub(super) points: Arc<Vec<Point>>,
    /// What the server calls the points, on this connection.
    pub(super) nodes: Arc<Vec<Node>>,
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
        let (config, counters) = (&self.config, &mut self.counters);
        let mut requests = Requests { wire: &link.wire, config, counters };
        let nodes = requests.resolve(&self.points).await.map_err(|lost| {
            let (address, reason) = (self.config.url.clone(), lost.to_string());
            ConnectError::Unreachable { address, reason }
        })?;
        self.nodes = Arc::new(nodes);
        self.link = Some(link);
        Ok(())
    }

    /// The connection, if it is there.
    pub(super) fn requests(&mut self) -> Result<Requests<'_>, Lost> {
        let link = self.link.as_ref().ok_or(Lost::NotConnected)?;
        if let Some(reason) = link.ended() {
            let request = "the session".to_owned();
            self.counters.connections_lost += 1;
            return Err(Lost::Closed { request, reason });
        }
        let (config, counters) = (&self.config, &mut self.counters);
        Ok(Requests { wire: &link.wire, config, counters })
    }

    /// Gives the connection up.
    pub(super) fn lose(&mut self, lost: Lost) -> Lost {
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
            Ok(mut requests) => requests.read_values(&asked_for).await,
            Err(lost) => Err(lost),
        };
        let lost = match values {
            Ok((values, layouts)) => {
                for ((place, _), value) in questions.iter().zip(&values) {
                    let id = asked[*place];
                    let point = &points[id.index()];
                    nodes[id.index()].learn(point, value);
                    outcome[*place] = Some(point.read(id, value, &layouts));
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

    async fn write_counted(&mut self, writes: &[PointWrite]) -> Vec<Result<Datum, WriteError>> {
        let outcomes = self.write_points(writes).await;
        let written = outcomes.iter().filter(|it| it.is_ok()).count();
        self.counters.writes += written as u64;
        self.counters.writes_failed += (outcomes.len() - written) as u64;
        outcomes
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
            namespaces: Arc::clone(&requests.wire.namespaces),
            types: Arc::clone(&requests.wire.types),
            severity_min: requests.config.event_severity_min,
            fields: Arc::default(),
            queue: Arc::clone(&queue),
            unread: Arc::default(),
        };
        let unread = listener.clone();
        let mut items = Items::create(&mut requests, listener).await?;
        let mut refused = items.add(&mut requests, &values).await?;
        refused.extend(items.add_events(&mut requests, &events).await?);
        let wire = requests.wire.clone();
        let retries = items.retry(Arc::clone(&wire.session), wire.limits.monitor, &refused);
        let learner = unread.learn(wire, self.config.clone());
        let aside = futures_util::future::join(OptionFuture::from(retries), learner);
        let aside = Guarded(tokio::spawn(aside).abort_handle());
        queue.push(refused, points.len());
        self.queue = Arc::clone(&queue);
        let pulse = self.link.as_ref().ok_or(Lost::NotConnected)?.pulse.clone();
        Ok(stream(queue, pulse, items.silence_max(&self.config), aside))
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
        value: &'a Datum,
        verify: bool,
    ) -> BoxFuture<'a, Result<Datum, WriteError>> {
        let write = [PointWrite { point, value: value.clone(), verify }];
        async move {
            let outcome = self.write_counted(&write).await.pop();
            outcome.unwrap_or(Err(WriteError::UnknownPoint(point)))
        }
        .boxed()
    }

    fn writes_at_once(&self) -> usize {
        WRITES_AT_ONCE
    }

    fn write_all<'a>(
        &'a mut self,
        writes: &'a [PointWrite],
    ) -> BoxFuture<'a, Vec<Result<Datum, WriteError>>> {
        self.write_counted(writes).boxed()
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

    fn discover(&mut self) -> BoxFuture<'_, Result<Option<Vec<Discovered>>, ConnectError>> {
        async move { super::discovery::discover(&self.config, &self.site).await.map(Some) }.boxed()
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
