//! The task that takes in what edge nodes send up.

use super::arrival::{self, Arrived};
use super::desired::Wanted;
use super::received::ReceivedRow;
use super::row::{EdgeKey, EdgeRow};
use super::status::EdgeStatus;
use super::things::{rows::SaidRow, said};
use crate::context::Shared;
use crate::device::row::{ThingKey, ThingRow};
use crate::task::Stopped;
use crate::tenant::TenantMsg;
use crate::uplink::report::Report;
use broker::{AttachOptions, Client, Delivery, Inbox, Outgoing, Reason};
use bytes::Bytes;
use configuring::{Configuring, Ended};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use minding::{Minded, Minding};
use proto::platform::{EdgeTopic, EventTopic, filters};
use proto::uplink::{Known, Lane, Shipment};
use proto::{
    ClientId, EdgeId, Identity, Namespace, PlatformTopic, Qos, ThingId, TimestampMs, TopicName,
};
use ractor::ActorRef;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use store::{Changes, CommitError, ReadError};

/// Shipments and reports that are held unacknowledged, of all edge nodes together.
const WINDOW: usize = 256;

/// One edge node, as far as the hub has heard of it.
#[derive(Default)]
struct Node {
    /// The number of its connection, while it has one.
    connection: Option<u64>,
    /// On that connection it has said something: it hears as well, for it subscribes before it speaks.
    has_spoken: bool,
    /// What has come and waits for its turn.
    waiting: VecDeque<Delivery>,
    is_busy: bool,
    status: EdgeStatus,
    received: Option<ReceivedRow>,
    configuring: Configuring,
    minding: Minding,
}

/// What a commit brings about when it has ended.
struct Taken {
    edge: EdgeId,
    delivery: Delivery,
    row: ReceivedRow,
    lag_ms: Option<u64>,
    /// Things that something was said of.
    things: BTreeSet<ThingId>,
    outcome: Result<(), CommitError>,
}

/// What a shipment says.
struct Opened {
    row: ReceivedRow,
    messages: Vec<Outgoing>,
    /// What it says of things.
    said: Vec<(ThingId, SaidRow)>,
    lag_ms: Option<u64>,
}

mod configuring;
mod minding;
mod presence;

struct Worker {
    context: Shared,
    client: Client,
    tenant: ActorRef<TenantMsg>,
    nodes: BTreeMap<EdgeId, Node>,
    commits: FuturesUnordered<BoxFuture<'static, Taken>>,
    rounds: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Edge nodes whose round waits for that of another one to end.
    queued: BTreeSet<EdgeId>,
    /// Those that are tried again after a while.
    pauses: FuturesUnordered<BoxFuture<'static, EdgeId>>,
    wanted: Wanted,
    minding: FuturesUnordered<BoxFuture<'static, Minded>>,
    /// What is tried again after a while.
    resting: FuturesUnordered<BoxFuture<'static, Minded>>,
    /// Edge nodes whose errands wait for those of others to end.
    waiting: BTreeSet<EdgeId>,
}

/// Takes in what edge nodes of a namespace send, until it is told to stop.
pub(crate) async fn run(
    context: Shared,
    tenant: ActorRef<TenantMsg>,
    namespace: Namespace,
    mut stopped: Stopped,
) -> Result<(), String> {
    let (mut worker, mut inbox) = attach(context, tenant, &namespace)?;
    let reconfigured = worker.context.reconfigured.listen(&namespace);
    let things_changed = worker.context.due_things.listen(&namespace);
    worker.nobody_is_there().map_err(|error| error.to_string())?;
    worker.first_look();
    worker.take_up_what_was_said().map_err(|error| error.to_string())?;
    loop {
        tokio::select! {
            () = stopped.told() => return Ok(()),
            () = reconfigured.notified() => worker.reconfigured(),
            () = things_changed.notified() => worker.things_changed(),
            Some(minded) = worker.minding.next() => worker.minded(minded),
            Some(minded) = worker.resting.next() => worker.minded(minded),
            Some(ended) = worker.rounds.next() => worker.round_ended(ended),
            Some(edge) = worker.pauses.next() => worker.pause_over(&edge),
            Some(taken) = worker.commits.next() => worker.taken(taken),
            delivery = inbox.receive() => {
                worker.delivered(delivery.ok_or("the namespace has let go of it")?);
            }
        }
    }
}

/// A worker that hears what edge nodes of a namespace send.
fn attach(
    context: Shared,
    tenant: ActorRef<TenantMsg>,
    namespace: &Namespace,
) -> Result<(Worker, Inbox), String> {
    let number = context.next_number();
    let client_id = ClientId::parse(&format!("$platform/intake/{number}"));
    let client_id = client_id.map_err(|error| error.to_string())?;
    let options = AttachOptions { window: WINDOW };
    let attached = context.outside.broker.attach(namespace, client_id, options);
    let (client, inbox) = attached.ok_or("it cannot attach to its namespace")?;
    for filter in filters::uplinks() {
        client.subscribe(filter, Qos::AtLeastOnce);
    }
    client.subscribe(filters::client_events(), Qos::AtLeastOnce);
    let worker = Worker {
        context,
        client,
        tenant,
        nodes: BTreeMap::new(),
        commits: FuturesUnordered::new(),
        rounds: FuturesUnordered::new(),
        queued: BTreeSet::new(),
        pauses: FuturesUnordered::new(),
        wanted: Wanted::new(),
        minding: FuturesUnordered::new(),
        resting: FuturesUnordered::new(),
        waiting: BTreeSet::new(),
    };
    Ok((worker, inbox))
}

impl Worker {
    /// After a start no edge node has a connection: those who come back say so.
    fn nobody_is_there(&mut self) -> Result<(), ReadError> {
        let namespace = self.client.namespace().clone();
        let snapshot = self.context.outside.store.read()?;
        let edges = snapshot.scan::<EdgeRow>(&store::prefix(&namespace))?;
        for ((_, edge), _) in edges.into_iter().filter_map(Result::ok) {
            let row = snapshot.get::<ReceivedRow>(&(namespace.clone(), edge.clone()))?;
            let node = self.nodes.entry(edge.clone()).or_default();
            node.status.t = self.context.now();
            node.status.count(&row.clone().unwrap_or_default());
            node.received = row;
            self.client.publish(node.status.message(&edge));
        }
        Ok(())
    }

    fn delivered(&mut self, delivery: Delivery) {
        match PlatformTopic::parse(&delivery.topic) {
            Some(PlatformTopic::Event(event)) => {
                self.came_or_went(event == EventTopic::ClientConnected, &delivery.payload);
                delivery.ack();
            }
            Some(PlatformTopic::Edge { edge, topic }) => {
                // An operator may publish there as well, and knows no numbers.
                if delivery.sender.identity != Identity::Edge(edge.clone()) {
                    let why = "only an edge node may send that, and only for itself";
                    return delivery.refuse(Reason::NotAuthorized, why);
                }
                match topic {
                    EdgeTopic::Uplink => self.arrived(edge, delivery),
                    EdgeTopic::UplinkReport => self.reported(&edge, delivery),
                    EdgeTopic::Answer => self.answered(&edge, delivery),
                    _ => delivery.ack(),
                }
            }
            _ => delivery.ack(),
        }
    }

    /// Takes a shipment in when those before it of the same edge node are.
    fn arrived(&mut self, edge: EdgeId, delivery: Delivery) {
        let node = self.nodes.entry(edge.clone()).or_default();
        node.waiting.push_back(delivery);
        self.work(&edge);
    }

    fn work(&mut self, edge: &EdgeId) {
        loop {
            let Some(node) = self.nodes.get_mut(edge) else { return };
            if node.is_busy {
                return;
            }
            let Some(delivery) = node.waiting.pop_front() else { return };
            self.take(edge, delivery);
        }
    }

    /// Begins the commit of a shipment, or refuses it.
    fn take(&mut self, edge: &EdgeId, delivery: Delivery) {
        let key: EdgeKey = (self.client.namespace().clone(), edge.clone());
        let row = match self.row(&key) {
            Ok(Some(row)) => row,
            Ok(None) => {
                let why = format!("the edge node `{edge}` is not registered");
                return delivery.refuse(Reason::NotAuthorized, &why);
            }
            // Dropped: it comes again.
            Err(error) => {
                return tracing::warn!(%error, %edge, "what an edge node sent is not taken");
            }
        };
        if let Ok(Shipment::Hello { epoch }) = Shipment::parse(&delivery.payload) {
            return self.greet(edge, &row.of_life(epoch), delivery);
        }
        let Opened { row, messages, said, lag_ms } = match self.open(edge, &delivery.payload, row) {
            Ok(opened) => opened,
            Err(why) => {
                tracing::warn!(%edge, why, "a shipment of an edge node is refused");
                return delivery.refuse(Reason::PayloadFormatInvalid, &why);
            }
        };
        if let Some(node) = self.nodes.get_mut(edge) {
            node.is_busy = true;
        }
        let mut changes = Changes::new();
        changes.put::<ReceivedRow>(&key, &row);
        let mut things = BTreeSet::new();
        for (thing, row) in said {
            said::keep(&mut changes, &key.0, &thing, row);
            things.insert(thing);
        }
        let client = self.client.clone();
        let edge = edge.clone();
        let commit = async move {
            let outcome = client.publish_patiently(changes, messages).await;
            Taken { edge, delivery, row, lag_ms, things, outcome }
        };
        self.commits.push(commit.boxed());
    }

    /// Tells an edge node which of its records are here: all that came before this is taken in.
    fn greet(&mut self, edge: &EdgeId, row: &ReceivedRow, delivery: Delivery) {
        let known = Known { epoch: row.epoch, numbers: row.numbers.clone() };
        let payload = serde_json::to_vec(&known).unwrap_or_default();
        let topic = EdgeTopic::UplinkKnown;
        let topic = PlatformTopic::Edge { edge: edge.clone(), topic }.topic();
        self.client.publish(Outgoing::new(topic, payload).qos(Qos::AtLeastOnce));
        delivery.ack();
        if let Some(node) = self.nodes.get_mut(edge) {
            node.minding.life = Some(row.epoch);
        }
        self.has_spoken(edge);
        // Also if it was here all the time: what it was given meanwhile it may not have got.
        self.look_for_errands(edge);
    }

    /// What is known of the numbers of an edge node; `None` if it is not registered.
    fn row(&mut self, key: &EdgeKey) -> Result<Option<ReceivedRow>, ReadError> {
        let snapshot = self.context.outside.store.read()?;
        let Some(edge) = snapshot.get::<EdgeRow>(key)? else { return Ok(None) };
        if edge.adopted.is_none() {
            self.adopt(key, edge);
        }
        let known = self.nodes.get(&key.1).and_then(|node| node.received.clone());
        let row = match known {
            Some(row) => row,
            None => snapshot.get::<ReceivedRow>(key)?.unwrap_or_default(),
        };
        Ok(Some(row))
    }

    /// An edge node has come for the first time.
    fn adopt(&self, key: &EdgeKey, row: EdgeRow) {
        let now = self.context.now();
        let mut changes = Changes::new();
        changes.put::<EdgeRow>(key, &EdgeRow { adopted: Some(now), ..row });
        drop(self.context.outside.store.submit(changes));
        self.tell(&key.1, serde_json::json!({ "event": "adopted", "t": now }));
    }

    /// What a shipment says: the numbers that are then here, what to publish, and how long it was on its way.
    fn open(&self, edge: &EdgeId, payload: &Bytes, row: ReceivedRow) -> Result<Opened, String> {
        let now = self.context.now();
        match Shipment::parse(payload).map_err(|error| error.to_string())? {
            Shipment::Hello { .. } => {
                Ok(Opened { row, messages: Vec::new(), said: Vec::new(), lag_ms: None })
            }
            Shipment::Records { epoch, lane, block } => {
                let mut row = row.of_life(epoch);
                let at = block.at();
                let numbers = (&mut row, now);
                let around =
                    (|topic: &_| self.retained(topic), |thing: &_| self.is_at(edge, thing));
                let max = self.said_bytes_max();
                let arrived = arrival::open((edge, epoch), lane, block, numbers, around, max);
                let Arrived { messages, said } = arrived.map_err(|error| error.to_string())?;
                if row.is_torn() {
                    return Err("its numbers have too many holes".to_owned());
                }
                let lag_ms = (lane == Lane::Live).then(|| now.0.saturating_sub(at.0));
                Ok(Opened { row, messages, said, lag_ms })
            }
            Shipment::Gap { epoch, range, reason, oldest, newest } => {
                let mut row = row.of_life(epoch);
                let records = row.lose(range);
                if row.is_torn() {
                    return Err("its numbers have too many holes".to_owned());
                }
                let event = serde_json::json!({
                    "event": "gap", "t": now, "reason": reason.name(), "records": records,
                    "from": oldest, "to": newest,
                });
                let told = (records > 0).then(|| event_message(edge, &event));
                let messages = told.into_iter().collect();
                Ok(Opened { row, messages, said: Vec::new(), lag_ms: None })
            }
        }
    }

    fn retained(&self, topic: &TopicName) -> Option<Bytes> {
        self.client.retained(&topic.clone().into()).pop().map(|(_, payload)| payload)
    }

    /// The most bytes of what an edge node says of a thing: a shadow with a stamp for each key, or what a command
    /// returns.
    fn said_bytes_max(&self) -> usize {
        let settings = &self.context.settings;
        let shadow = settings.shadow_limits().bytes_max;
        shadow.max(settings.command_bytes_max).saturating_mul(8)
    }

    /// Whether a thing is at an edge node. What cannot be looked up is: the device actor looks again.
    fn is_at(&self, edge: &EdgeId, thing: &ThingId) -> bool {
        let key: ThingKey = (self.client.namespace().clone(), thing.clone());
        let row = self.context.outside.store.read().and_then(|it| it.get::<ThingRow>(&key));
        row.map_or(true, |row| row.is_some_and(|row| row.edge.as_ref() == Some(edge)))
    }

    /// The commit of a shipment has ended: the next one.
    fn taken(&mut self, taken: Taken) {
        let Taken { edge, delivery, row, lag_ms, things, outcome } = taken;
        let Some(node) = self.nodes.get_mut(&edge) else { return };
        node.is_busy = false;
        match outcome {
            Ok(()) => {
                let is_lossy = row.lost > node.status.lost;
                let (counters, before) = (&self.context.counters, &node.status);
                counters.edge_records.add(row.records.saturating_sub(before.received));
                counters.edge_records_again.add(row.again.saturating_sub(before.again));
                counters.edge_records_lost.add(row.lost.saturating_sub(before.lost));
                counters.edge_records_refused.add(row.refused.saturating_sub(before.refused));
                node.status.count(&row);
                node.status.lag_ms = lag_ms.or(node.status.lag_ms);
                node.received = Some(row);
                if is_lossy {
                    self.client.publish(node.status.message(&edge));
                }
                delivery.ack();
                self.has_said(things);
            }
            // Dropped: it comes again.
            Err(error) => {
                self.context.counters.commits_failed.increase();
                tracing::warn!(%error, %edge, "what an edge node sent could not be kept");
                node.received = None;
                // And so does what follows: order is kept.
                node.waiting.clear();
            }
        }
        self.work(&edge);
    }

    fn reported(&mut self, edge: &EdgeId, delivery: Delivery) {
        match serde_json::from_slice::<Report>(&delivery.payload) {
            Ok(report) => {
                self.has_spoken(edge);
                let node = self.nodes.entry(edge.clone()).or_default();
                let edits = report.edits;
                node.status.report = Some(report);
                self.client.publish(node.status.message(edge));
                delivery.ack();
                self.edge_says(edge, edits);
            }
            Err(error) => {
                delivery.refuse(Reason::PayloadFormatInvalid, &error.to_string());
            }
        }
    }

    fn answered(&self, edge: &EdgeId, delivery: Delivery) {
        match serde_json::from_slice(&delivery.payload) {
            Ok(answer) => {
                self.context.hotline.answered(self.client.namespace(), edge, answer);
                delivery.ack();
            }
            Err(error) => {
                delivery.refuse(Reason::PayloadFormatInvalid, &error.to_string());
            }
        }
    }

    fn tell(&self, edge: &EdgeId, event: serde_json::Value) {
        self.client.publish(event_message(edge, &event));
    }
}

/// An event about one thing or driver of an edge node, with what there is more to say of it.
pub(super) fn event_of(
    event: &str,
    t: TimestampMs,
    (field, name): (&str, &str),
    more: &serde_json::Value,
) -> serde_json::Value {
    let mut told = serde_json::json!({ "event": event, "t": t, field: name });
    for (field, value) in more.as_object().into_iter().flatten() {
        told[field.as_str()] = value.clone();
    }
    told
}

pub(super) fn event_message(edge: &EdgeId, event: &serde_json::Value) -> Outgoing {
    let topic = PlatformTopic::Event(EventTopic::Edge(edge.clone())).topic();
    Outgoing::new(topic, event.to_string()).qos(Qos::AtLeastOnce)
}

impl Drop for Worker {
    fn drop(&mut self) {
        let online = self.nodes.values().filter(|node| node.status.online).count();
        self.context.counters.edges_online.subtract(online as u64);
        self.context.reconfigured.forget(self.client.namespace());
        self.context.due_things.forget(self.client.namespace());
    }
}
