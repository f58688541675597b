//! The task of a bridge: takes deliveries, commits, sends, publishes, reconnects. One thing after the other, so that
//! its state is its own; whatever takes time is a future beside it.

mod carry;
mod report;

use super::account::{InAccount, OutAccount};
use super::carry::Carrier;
use super::inward::{Arrivals, Inward, introductions};
use super::mapping::Mapping;
use super::outward::{Batch, Outward, READ_MAX, restored};
use super::row::BridgeRow;
use super::status::{BridgePhase, BridgeStatus};
use super::tap::Tap;
use crate::context::Shared;
use broker::{Delivery, Inbox};
use drivers::Backoff;
use drivers::bridge::{Link, LinkAck, LinkEvent, RemoteVersion, SendError, Subscribed};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use proto::{BridgeId, TopicFilter};
use std::sync::Arc;
use std::time::Duration;
use store::{Changes, CommitError, ReadError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Deliveries, or messages of the remote broker, in one commit.
const BATCH_MAX: usize = 256;

/// Commits under way, each way.
const COMMITS_MAX: usize = 16;

/// How long nothing is sent after the remote broker could not take something.
const BREATHER: Duration = Duration::from_millis(500);

/// A connection that lasted so long was a good one: the next attempt follows a loss at once.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// For what is under way, and for the goodbye, when the bridge stops.
const STOP_DEADLINE: Duration = Duration::from_millis(700);

/// Ends the task; answered when what was under way has ended.
pub(super) struct Stop(pub(super) oneshot::Sender<()>);

type Sent = BoxFuture<'static, (u64, Result<(), SendError>)>;
type Committed = BoxFuture<'static, (Batch, Result<(), CommitError>)>;
type Arrived = BoxFuture<'static, (Vec<LinkAck>, Result<(), CommitError>)>;

/// See the module.
pub(super) struct Worker {
    context: Shared,
    tap: Tap,
    bridge: BridgeId,
    row: BridgeRow,
    mapping: Mapping,
    link: Option<Link>,
    outward: Outward,
    inward: Inward,
    carrier: Carrier,
    sendings: FuturesUnordered<Sent>,
    commits: FuturesOrdered<Committed>,
    arrivals: FuturesOrdered<Arrived>,
    /// Places to be given up with the next commit.
    freed: Changes,
    backoff: Backoff,
    retry_at: Option<Instant>,
    /// Nothing is sent before.
    rests_until: Option<Instant>,
    connected_at: Option<Instant>,
    refused: Vec<TopicFilter>,
    phase: BridgePhase,
    reason: Option<String>,
    connects: u64,
    losses: u64,
    /// What the figures of the node have been told of.
    counted: (OutAccount, InAccount),
    told: Option<BridgeStatus>,
    status_due: Instant,
}

impl Worker {
    /// Opens the queue and begins to connect; the reason if the configuration is refused.
    pub(super) fn open(
        context: &Shared,
        tap: &Tap,
        bridge: &BridgeId,
        row: BridgeRow,
        origin: &str,
    ) -> Result<Self, String> {
        let mapping = Mapping::new(&row.config).map_err(|error| error.to_string())?;
        let outward = Outward::open(&context.outside.store, &row, origin);
        let outward = outward.map_err(|error| error.to_string())?;
        let hops_max = outward.hops_max;
        let inward = Inward { origin: origin.to_owned(), hops_max, ..Inward::default() };
        let carrier = carry::open(&context.outside.store, &tap.key(bridge), &row.config);
        let carrier = carrier.map_err(|error| error.to_string())?;
        tap.hear(mapping.local_filters());
        let now = Instant::now();
        let phase = if row.is_paused { BridgePhase::Paused } else { BridgePhase::Connecting };
        let mut worker = Self {
            context: Arc::clone(context),
            tap: tap.clone(),
            bridge: bridge.clone(),
            row,
            mapping,
            link: None,
            outward,
            inward,
            carrier,
            sendings: FuturesUnordered::new(),
            commits: FuturesOrdered::new(),
            arrivals: FuturesOrdered::new(),
            freed: Changes::new(),
            backoff: Backoff::default(),
            retry_at: None,
            rests_until: None,
            connected_at: None,
            refused: Vec::new(),
            phase,
            reason: None,
            connects: 0,
            losses: 0,
            counted: Default::default(),
            told: None,
            status_due: now,
        };
        if worker.phase == BridgePhase::Connecting {
            worker.open_link()?;
        }
        Ok(worker)
    }

    fn open_link(&mut self) -> Result<(), String> {
        let mut filters = self.mapping.remote_filters();
        if !filters.is_empty() && self.row.config.remote.version == RemoteVersion::V5 {
            filters.insert(0, introductions());
        }
        let link = Link::open(&self.row.config.remote, filters);
        self.link = Some(link.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Works until it is told to stop, or cannot go on.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Stop>) -> Result<(), String> {
        let inbox = Arc::clone(&self.tap.inbox);
        let mut inbox = inbox.lock().await;
        loop {
            self.send();
            self.free_places();
            self.report();
            let wake_at = self.wake_at();
            tokio::select! {
                order = orders.recv() => {
                    drop(inbox);
                    self.stop().await;
                    if let Some(Stop(reply)) = order {
                        let _ = reply.send(());
                    }
                    return Ok(());
                }
                Some((ticket, outcome)) = self.sendings.next() => {
                    self.sent(ticket, outcome);
                    while let Some(Some((ticket, outcome))) = self.sendings.next().now_or_never() {
                        self.sent(ticket, outcome);
                    }
                }
                Some((batch, outcome)) = self.commits.next() => self.committed(batch, outcome),
                Some((acks, outcome)) = self.arrivals.next() => self.arrived(acks, outcome),
                event = next_event(&mut self.link), if self.arrivals.len() < COMMITS_MAX => {
                    self.event(event.ok_or("the client of the remote broker has ended")?);
                }
                delivery = inbox.receive(), if self.commits.len() < COMMITS_MAX => {
                    let delivery = delivery.ok_or("the namespace has let go of the bridge")?;
                    self.take(delivery, &mut inbox);
                }
                () = std::future::ready(()), if self.may_carry() => self.carry(),
                () = tokio::time::sleep_until(wake_at) => self.woken(),
            }
        }
    }

    /// The next moment at which something is due.
    fn wake_at(&self) -> Instant {
        let due = [self.retry_at, self.rests_until, Some(self.status_due)];
        due.into_iter().flatten().min().unwrap_or(self.status_due)
    }

    fn woken(&mut self) {
        let now = Instant::now();
        if self.rests_until.is_some_and(|at| at <= now) {
            self.rests_until = None;
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            match &self.link {
                Some(link) => link.retry(),
                None => {
                    if let Err(reason) = self.open_link() {
                        self.lost(reason);
                    }
                }
            }
        }
    }

    /// Takes what the namespace has for the remote broker, and commits it.
    fn take(&mut self, first: Delivery, inbox: &mut Inbox) {
        let mut batch = Batch::default();
        self.outward.take(&self.mapping, first, &mut batch);
        for _ in 1..BATCH_MAX {
            let Some(Some(delivery)) = inbox.receive().now_or_never() else { break };
            self.outward.take(&self.mapping, delivery, &mut batch);
        }
        if batch.changes.is_empty() {
            return;
        }
        self.commit(batch);
    }

    fn commit(&mut self, mut batch: Batch) {
        let commit = self.context.outside.store.submit(std::mem::take(&mut batch.changes));
        self.commits.push_back(async move { (batch, commit.await) }.boxed());
    }

    fn committed(&mut self, mut batch: Batch, outcome: Result<(), CommitError>) {
        if let Err(error) = &outcome {
            self.context.counters.commits_failed.increase();
            tracing::warn!(%error, "messages for a bridge could not be kept");
        }
        if let Some(row) = batch.carried.take() {
            self.carried(row, outcome.is_ok());
        }
        self.outward.settle(batch, outcome.is_ok());
    }

    /// Sends what is due, as far as the window allows.
    fn send(&mut self) {
        if !self.outward.is_connected || self.rests_until.is_some() {
            return;
        }
        let now = self.context.now();
        let window = usize::from(self.row.config.remote.inflight_max);
        while self.outward.queue.in_flight() < window {
            if let Some(after) = self.outward.queue.wants_to_read() {
                self.read_back(after);
            }
            let Some((ticket, message)) = self.outward.next(now, &mut self.freed) else {
                match self.outward.queue.wants_to_read() {
                    Some(_) if self.rests_until.is_none() => continue,
                    _ => return,
                }
            };
            let Some(link) = &self.link else { return };
            let sending = link.publish(&message);
            self.sendings.push(sending.map(move |outcome| (ticket, outcome)).boxed());
        }
    }

    /// Reads the next messages from disk.
    fn read_back(&mut self, after: u64) {
        let (rows, bytes) = READ_MAX;
        let key = self.outward.key;
        let store = &self.context.outside.store;
        let read = store.read().and_then(|snapshot| snapshot.queue(key, after, rows, bytes));
        match read {
            Ok(found) if !found.is_empty() => {
                for queued in found {
                    let item = restored(queued.body, queued.expires_at_ms);
                    let is_damaged = item.is_none();
                    if self.outward.queue.read(queued.seq, item) && is_damaged {
                        self.outward.account.dropped.store += 1;
                        self.freed.dequeue(key, queued.seq);
                    }
                }
            }
            Ok(_) | Err(ReadError::Unreadable { .. }) => {
                tracing::error!(bridge = %self.bridge, after, "a message cannot be read again");
                if let Some(seq) = self.outward.queue.give_up_next() {
                    self.outward.account.dropped.store += 1;
                    self.freed.dequeue(key, seq);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the queue of a bridge cannot be read now");
                self.rests_until = Some(Instant::now() + BREATHER);
            }
        }
    }

    fn sent(&mut self, ticket: u64, outcome: Result<(), SendError>) {
        match outcome {
            Ok(()) => {
                self.outward.account.sent += 1;
                self.backoff.reset();
                self.outward.done(ticket, &mut self.freed);
                if self.phase == BridgePhase::Degraded && self.refused.is_empty() {
                    self.enter(BridgePhase::Connected, None);
                }
            }
            Err(SendError::Refused(reason)) => {
                tracing::debug!(reason, "a message is refused by the remote broker");
                self.outward.account.dropped.refused += 1;
                self.outward.done(ticket, &mut self.freed);
            }
            Err(SendError::Again(reason)) => {
                if !self.outward.queue.returned(ticket) {
                    self.outward.account.dropped.offline += 1;
                }
                if self.outward.is_connected {
                    self.rests_until = Some(Instant::now() + BREATHER);
                    self.enter(BridgePhase::Degraded, Some(reason));
                }
            }
        }
    }

    /// Gives up the places of what has been sent. A row that outlives a failure here is sent once more.
    fn free_places(&mut self) {
        if !self.freed.is_empty() {
            drop(self.context.outside.store.submit(std::mem::take(&mut self.freed)));
        }
    }

    fn event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected(welcome) => {
                self.connects += 1;
                self.context.counters.bridge_connects.increase();
                self.connected_at = Some(Instant::now());
                self.outward.is_connected = true;
                self.outward.packet_bytes_max = welcome.packet_bytes_max;
                self.refused.clear();
                // With subscriptions, only their answer makes the connection a whole one.
                if self.mapping.remote_filters().is_empty() {
                    self.enter(BridgePhase::Connected, None);
                }
            }
            LinkEvent::Subscribed(Subscribed { mut refused }) => {
                refused.retain(|filter| *filter != introductions());
                self.refused = refused;
                if self.refused.is_empty() {
                    self.backoff.reset();
                    self.enter(BridgePhase::Connected, None);
                } else {
                    let names: Vec<&str> = self.refused.iter().map(TopicFilter::as_str).collect();
                    let reason = format!("subscriptions refused: {}", names.join(", "));
                    self.enter(BridgePhase::Degraded, Some(reason));
                }
            }
            LinkEvent::Lost(reason) => self.lost(reason),
            LinkEvent::Received(received) => {
                let mut arrivals = Arrivals::default();
                let mut next = Some(received);
                let mut other = None;
                while let (Some(received), Some(link)) = (next.take(), &mut self.link) {
                    if let Some(ack) = self.inward.take(&self.mapping, *received, &mut arrivals) {
                        link.acknowledge(ack);
                    }
                    if arrivals.acks.len() < BATCH_MAX {
                        match link.next().now_or_never().flatten() {
                            Some(LinkEvent::Received(received)) => next = Some(received),
                            event => other = event,
                        }
                    }
                }
                self.publish(arrivals);
                if let Some(event) = other {
                    self.event(event);
                }
            }
        }
    }

    /// Publishes what has come, and acknowledges it when it is committed.
    fn publish(&mut self, arrivals: Arrivals) {
        let Arrivals { messages, acks } = arrivals;
        if acks.is_empty() {
            return;
        }
        let client = self.tap.client.clone();
        let work = async move { (acks, client.publish_durably(Changes::new(), messages).await) };
        self.arrivals.push_back(work.boxed());
    }

    fn arrived(&mut self, acks: Vec<LinkAck>, outcome: Result<(), CommitError>) {
        self.inward.settle(acks.len(), outcome.is_ok());
        match outcome {
            Ok(()) => {
                if let Some(link) = &self.link {
                    acks.into_iter().for_each(|ack| link.acknowledge(ack));
                }
            }
            Err(error) => {
                self.context.counters.commits_failed.increase();
                // A new connection has the remote broker send again what was not acknowledged.
                self.link = None;
                self.lost(format!("what has come could not be kept: {error}"));
            }
        }
    }

    fn lost(&mut self, reason: String) {
        let now = Instant::now();
        if self.connected_at.take().is_some_and(|at| now - at >= GOOD_CONNECTION) {
            self.backoff.reset();
        }
        self.losses += 1;
        self.context.counters.bridge_losses.increase();
        self.outward.disconnected();
        let delay_ms = self.backoff.next_delay_ms(self.context.random());
        self.retry_at = Some(now + Duration::from_millis(delay_ms));
        self.enter(BridgePhase::Connecting, Some(reason));
    }

    /// Lets what is under way come to an end, and says goodbye.
    async fn stop(&mut self) {
        let settled = async {
            loop {
                tokio::select! {
                    Some((batch, outcome)) = self.commits.next() => self.committed(batch, outcome),
                    Some((acks, outcome)) = self.arrivals.next() => self.arrived(acks, outcome),
                    Some((ticket, outcome)) = self.sendings.next() => self.sent(ticket, outcome),
                    else => break,
                }
            }
        };
        let _ = tokio::time::timeout(STOP_DEADLINE, settled).await;
        self.free_places();
        if let Some(link) = self.link.take().filter(|_| self.outward.is_connected) {
            link.close(STOP_DEADLINE).await;
        }
        self.outward.disconnected();
        if self.phase != BridgePhase::Paused {
            self.enter(BridgePhase::Stopped, None);
        }
        self.report();
    }
}

async fn next_event(link: &mut Option<Link>) -> Option<LinkEvent> {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
