//! The [`Driver`] port: one connection to one machine, whatever the protocol.
//!
//! A driver is opened with a list of tags; a [`PointId`] is the place of a tag in that list. A
//! driver does what it is told and nothing else: it never reconnects, retries a request that was
//! not answered, or looks at a clock other than for its own deadlines. Every method ends within a
//! bound that follows from the configured time-out. Dropping a future half way closes the
//! connection, since an answer that is still under way would otherwise be taken for that of the
//! next request.

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use futures_util::stream::BoxStream;
use proto::{Datum, Quality, TimestampMs};
use serde::Serialize;
use serde_json::{Map, Value as Json};

mod call;
mod error;
mod event;
mod health;
mod history;
mod receipt;

pub use call::{Call, Input};
pub use error::{
    ConnectError, DeviceError, Lost, QueryError, ReadError, SubscribeError, WriteError,
};
pub use event::{Event, EventLevel};
pub use health::{Connectivity, Counters, Health};
pub use history::{Gap, Kept};
pub use receipt::Receipt;

/// One point of a machine: the index of its tag in the list the driver was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(pub u32);

impl PointId {
    /// The index into the list of tags.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a point held when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The point that was read.
    pub point: PointId,
    /// Its value as the tag sees it: typed, scaled, in the tag's unit.
    pub value: Datum,
    /// How far the machine itself trusts the value; protocols that do not say so report good.
    pub quality: Quality,
    /// When it came about, as the machine says; `None` where it does not say, and the time of the read counts.
    pub at: Option<TimestampMs>,
}

/// What a point shall hold.
#[derive(Debug, Clone, PartialEq)]
pub struct PointWrite {
    /// The point.
    pub point: PointId,
    /// Its value as the tag sees it.
    pub value: Datum,
    /// Whether it is read back and compared.
    pub verify: bool,
}

/// What became of one point of a read.
pub type PointRead = (PointId, Result<Sample, ReadError>);

/// What became of a whole read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadOutcome {
    /// One entry for each point asked for, in the order asked, also for those that failed.
    pub points: Vec<PointRead>,
    /// Why there is no connection any more. The points read before the loss are good; the others
    /// carry [`ReadError::ConnectionLost`], and no read succeeds until the next `connect`.
    pub lost: Option<Lost>,
}

/// Some of what a machine pushes.
#[derive(Debug, Default)]
pub struct Pushed {
    /// Values of points, in order; one that tells events has one if it begins to, or is refused.
    pub points: Vec<PointRead>,
    /// What has happened, in order.
    pub events: Vec<Event>,
    /// Why there is no connection any more.
    pub lost: Option<Lost>,
    /// To be told once all of it is kept.
    pub receipt: Receipt,
}

/// What a machine pushes, in order; it ends with what says why the connection is lost. Who listens too slowly misses
/// values that are followed by newer ones, never the last one, and the oldest events; both are counted.
pub type Subscription = BoxStream<'static, Pushed>;

/// Something that a machine has, as [`Driver::browse`] finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its address, as a tag names it, and as [`Driver::browse`] takes it.
    pub address: String,
    /// What the machine calls it.
    pub name: String,
    /// What it is, in the words of the protocol: `object`, `variable`, `method`.
    pub is: &'static str,
    /// Its type as the machine says, of what has a value.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
    /// Whether it can be written, of what has a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_writable: Option<bool>,
}

/// Somebody who answers at an address: what it says, by the names that the protocol has for it.
pub type Discovered = Map<String, Json>;

/// One connection to one machine.
pub trait Driver: Send {
    /// Connects, closing an earlier connection first.
    fn connect(&mut self) -> BoxFuture<'_, Result<(), ConnectError>>;

    /// Reads points, as many as possible with one request.
    ///
    /// A point that fails does not fail its neighbours. Without a connection every point fails.
    fn read<'a>(&'a mut self, points: &'a [PointId]) -> BoxFuture<'a, ReadOutcome>;

    /// Writes one point and returns what was written as the tag sees it, after rounding to its
    /// step.
    ///
    /// With `verify` the point is read back, and a difference is [`WriteError::NotVerified`].
    /// A value that the point cannot hold is refused before anything is sent.
    fn write<'a>(
        &'a mut self,
        point: PointId,
        value: &'a Datum,
        verify: bool,
    ) -> BoxFuture<'a, Result<Datum, WriteError>>;

    /// How many writes one request of the protocol takes.
    fn writes_at_once(&self) -> usize {
        1
    }

    /// Writes points, each at most once and as [`Driver::write`] does, with as few requests as possible; what became of
    /// each, in the order given.
    fn write_all<'a>(
        &'a mut self,
        writes: &'a [PointWrite],
    ) -> BoxFuture<'a, Vec<Result<Datum, WriteError>>> {
        async move {
            let mut outcomes = Vec::with_capacity(writes.len());
            for PointWrite { point, value, verify } in writes {
                outcomes.push(self.write(*point, value, *verify).await);
            }
            outcomes
        }
        .boxed()
    }

    /// Whether the points are subscribed to after a connect, rather than polled.
    fn is_pushed(&self) -> bool {
        false
    }

    /// Asks the machine to push changes; [`SubscribeError::Unsupported`] where it must be polled. A point that cannot
    /// be subscribed to does not fail its neighbours: it is among the first that come, with its error.
    fn subscribe<'a>(
        &'a mut self,
        points: &'a [PointId],
    ) -> BoxFuture<'a, Result<Subscription, SubscribeError>>;

    /// What the machine has below an address, or at its root, at most `limit` of it and in its order.
    fn browse<'a>(
        &'a mut self,
        below: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, QueryError>> {
        let _ = (below, limit);
        ready(Err(QueryError::Unsupported)).boxed()
    }

    /// Who answers at the address of the driver, and how it can be connected to, in the words of the protocol; without
    /// a connection, and whether it is trusted or not. `None` where the protocol has no such question.
    fn discover(&mut self) -> BoxFuture<'_, Result<Option<Vec<Discovered>>, ConnectError>> {
        ready(Ok(None)).boxed()
    }

    /// What the machine says of itself: maker, product, version and the like, each with its name.
    fn identify(&mut self) -> BoxFuture<'_, Result<Vec<(String, String)>, QueryError>> {
        ready(Err(QueryError::Unsupported)).boxed()
    }

    /// Calls a method; what it returns, in its order. Whether a method was called whose answer is lost is not known.
    fn call<'a>(&'a mut self, call: &'a Call) -> BoxFuture<'a, Result<Vec<Json>, QueryError>> {
        let _ = call;
        ready(Err(QueryError::Unsupported)).boxed()
    }

    /// How far back a machine is asked for what it has kept, after it was away, in milliseconds; 0: not at all.
    fn backfill_max_ms(&self) -> u64 {
        0
    }

    /// What the machine has kept for some gaps, whose beginnings should be close together. Points of which it keeps
    /// nothing have no values; [`QueryError::Unsupported`] if it keeps none of any.
    fn history<'a>(&'a mut self, gaps: &'a [Gap]) -> BoxFuture<'a, Result<Vec<Kept>, QueryError>> {
        let _ = gaps;
        ready(Err(QueryError::Unsupported)).boxed()
    }

    /// The state of the connection and what happened since the driver was opened.
    fn health(&self) -> Health;
}
