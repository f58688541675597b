//! The task of an uplink: connects, sends what is due, gives up what has arrived, hands on what comes down.

use super::lanes::{Due, Lanes};
use super::packing;
use super::report::{Report, UplinkPhase, UplinkStatus};
use super::rows::GapRow;
use super::settings::UplinkSettings;
use super::tape::{CLIENT, Tape};
use crate::context::Shared;
use crate::driver::row::EditsRow;
use crate::task::Stopped;
use broker::{AttachOptions, Client};
use bytes::Bytes;
use drivers::Backoff;
use drivers::bridge::{Link, LinkEvent, RemoteMessage, RemoteProperties, SendError};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use proto::platform::{EdgeTopic, filters};
use proto::uplink::{GapReason, Lane, Range, Shipment};
use proto::{ClientId, EdgeId, Namespace, PlatformTopic, Qos, TimestampMs, TopicFilter, TopicName};
use std::sync::Arc;
use std::time::Duration;
use store::Changes;
use tokio::time::Instant;

/// How often the hub is told how the uplink is, and bounds in time are kept.
const REPORT: Duration = Duration::from_secs(5);

/// For the hub's word on what it has.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long nothing is sent after the hub could not take something.
const BREATHER: Duration = Duration::from_millis(500);

/// A connection that lasted so long was a good one: the next attempt follows a loss soon.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// For the goodbye when the node stops.
const STOP_DEADLINE: Duration = Duration::from_millis(700);

mod down;
mod enrolling;
mod said;

/// What an uplink is started with.
#[derive(Clone)]
pub(crate) struct UplinkArgs {
    pub(crate) context: Shared,
    pub(crate) namespace: Namespace,
    pub(crate) edge: EdgeId,
    pub(crate) settings: UplinkSettings,
}

/// What was sent.
enum Sent {
    Records(Lane, Range),
    Gap(GapRow),
    Report,
    Answer,
    Hello,
}

type Sending = BoxFuture<'static, (u64, Sent, Result<(), SendError>)>;

/// Whether the hub has said what it has.
enum Hello {
    /// There is nobody to ask, or it has.
    Settled,
    Due,
    Asked(Instant),
}

struct Worker {
    context: Shared,
    client: Client,
    edge: EdgeId,
    settings: UplinkSettings,
    tape: Arc<Tape>,
    /// A client for each connection, so that what an earlier one has left unsent is not sent twice.
    link: Option<Link>,
    /// Of the connection that is there, once the hub has said what it has.
    lanes: Option<Lanes>,
    /// The hub has to be asked what it has, or was asked then.
    hello: Hello,
    /// Which connection that is: what belongs to an earlier one changes no lane.
    connection: u64,
    sendings: FuturesUnordered<Sending>,
    is_gap_sent: bool,
    backoff: Backoff,
    retry_at: Option<Instant>,
    /// It registers at the hub.
    enrolling: Option<enrolling::Enrolling>,
    rests_until: Option<Instant>,
    connected_at: Option<Instant>,
    report_at: Instant,
    is_report_due: bool,
    status: UplinkStatus,
    told: Option<UplinkStatus>,
    started: TimestampMs,
    /// The largest packet that the hub takes.
    packet_bytes_max: usize,
}

/// Runs the uplink of a namespace until it is told to stop, or cannot go on.
pub(crate) async fn run(
    args: UplinkArgs,
    tape: Arc<Tape>,
    mut stopped: Stopped,
) -> Result<(), String> {
    let UplinkArgs { context, namespace, edge, settings } = args;
    let number = context.next_number();
    let client_id = ClientId::parse(&format!("{CLIENT}{number}")).map_err(|it| it.to_string())?;
    let attached =
        context.outside.broker.attach(&namespace, client_id, AttachOptions { window: 64 });
    let (client, mut inbox) = attached.ok_or("the uplink cannot attach to its namespace")?;
    // Answers of the admin API to questions of the hub.
    client.subscribe(own(&edge, EdgeTopic::Answer).into(), Qos::AtLeastOnce);
    let started = context.now();
    let mut worker = Worker {
        status: UplinkStatus::beginning(started),
        context,
        client,
        edge,
        settings,
        tape,
        link: None,
        lanes: None,
        hello: Hello::Settled,
        connection: 0,
        sendings: FuturesUnordered::new(),
        is_gap_sent: false,
        backoff: Backoff::default(),
        retry_at: Some(Instant::now()),
        enrolling: None,
        rests_until: None,
        connected_at: None,
        report_at: Instant::now(),
        is_report_due: false,
        told: None,
        started,
        packet_bytes_max: usize::MAX,
    };
    loop {
        worker.send();
        worker.pack();
        let wake_at = worker.wake_at();
        let tape = Arc::clone(&worker.tape);
        tokio::select! {
            () = stopped.told() => {
                worker.stop().await;
                return Ok(());
            }
            event = next_event(&mut worker.link) => {
                worker.event(event.ok_or("the client of the hub has ended")?).await;
            }
            Some((connection, sent, outcome)) = worker.sendings.next() => {
                worker.sent(connection, sent, outcome);
            }
            () = tape.news() => {}
            answer = inbox.receive() => {
                worker.answered(answer.ok_or("the namespace has let go of the uplink")?);
            }
            outcome = enrolling::ended(&mut worker.enrolling) => worker.enrolled(outcome).await,
            () = tokio::time::sleep_until(wake_at) => worker.woken().await,
        }
    }
}

/// A topic of an edge node.
fn own(edge: &EdgeId, topic: EdgeTopic) -> TopicName {
    PlatformTopic::Edge { edge: edge.clone(), topic }.topic()
}

/// The topics of the hub that come down.
fn down(edge: &EdgeId, up: &[TopicFilter]) -> Vec<TopicFilter> {
    let own = [EdgeTopic::Question, EdgeTopic::UplinkKnown].map(|topic| own(edge, topic).into());
    up.iter().flat_map(filters::writes_below).chain(own).collect()
}

async fn next_event(link: &mut Option<Link>) -> Option<LinkEvent> {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

impl Worker {
    fn wake_at(&self) -> Instant {
        let answer_by = match self.hello {
            Hello::Asked(at) => Some(at + PATIENCE),
            _ => None,
        };
        let due = [self.retry_at, self.rests_until, answer_by, Some(self.report_at)];
        due.into_iter().flatten().min().unwrap_or(self.report_at)
    }

    async fn woken(&mut self) {
        let now = Instant::now();
        if self.rests_until.is_some_and(|at| at <= now) {
            self.rests_until = None;
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            match self.begin_enrolment().await {
                Ok(()) if self.enrolling.is_none() => self.dial(),
                Ok(()) => {}
                Err(reason) => self.lost(reason),
            }
        }
        if matches!(self.hello, Hello::Asked(at) if at + PATIENCE <= now) {
            self.lost("the hub does not say what it has".to_owned());
        }
        if self.report_at <= now {
            self.report_at = now + REPORT;
            self.is_report_due = true;
            self.drop_old();
            self.report();
        }
    }

    /// Begins a connection.
    fn dial(&mut self) {
        match Link::open(&self.settings.remote, down(&self.edge, &self.settings.filters)) {
            Ok(link) => self.link = Some(link),
            Err(error) => self.lost(error.to_string()),
        }
    }

    /// Sends what is due, as far as the windows allow.
    fn send(&mut self) {
        if self.rests_until.is_some() {
            return;
        }
        if matches!(self.hello, Hello::Due) {
            self.hello = Hello::Asked(Instant::now());
            self.ship(EdgeTopic::Uplink, Shipment::hello(self.tape.row.epoch), Sent::Hello);
        }
        if self.lanes.is_none() {
            return;
        }
        if std::mem::take(&mut self.is_report_due) {
            self.send_report();
        }
        self.send_gap();
        while let Some(lanes) = &mut self.lanes
            && let Some(due) = lanes.next(&self.tape, &self.context.outside.store)
        {
            match due {
                Due::Shipment(lane, block) => {
                    let range = block.range();
                    let payload = Shipment::of_block(self.tape.row.epoch, lane, &block.finish());
                    self.ship(EdgeTopic::Uplink, payload, Sent::Records(lane, range));
                }
                Due::Lost(range) => self.lost_records(range),
            }
        }
    }

    fn send_gap(&mut self) {
        if self.is_gap_sent {
            return;
        }
        let Some(gap) = self.tape.shelf().gaps().next().copied() else { return };
        self.is_gap_sent = true;
        let times = [gap.oldest, gap.newest];
        let payload = Shipment::of_gap(self.tape.row.epoch, gap.range, gap.reason, times);
        self.ship(EdgeTopic::Uplink, payload, Sent::Gap(gap));
    }

    fn send_report(&mut self) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let edits = self.context.outside.store.read();
        let edits = edits.and_then(|it| it.get::<EditsRow>(self.client.namespace()));
        // What cannot be read is told by whoever needs it; none of it is news for the hub.
        let edits = edits.ok().flatten().unwrap_or_default().edits;
        let report = Report { version, started: self.started, edits, queue: self.status.queue };
        let payload = serde_json::to_vec(&report).unwrap_or_default();
        self.ship(EdgeTopic::UplinkReport, payload, Sent::Report);
    }

    fn ship(&mut self, topic: EdgeTopic, payload: Vec<u8>, sent: Sent) {
        let message = RemoteMessage {
            topic: own(&self.edge, topic),
            payload: Bytes::from(payload),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: RemoteProperties::default(),
        };
        let connection = self.connection;
        let Some(link) = &self.link else { return };
        let sending = link.publish(&message);
        self.sendings.push(sending.map(move |outcome| (connection, sent, outcome)).boxed());
    }

    /// What was sent has arrived, or not. What the hub has stays with it, whichever connection brought it there.
    fn sent(&mut self, connection: u64, sent: Sent, outcome: Result<(), SendError>) {
        if connection == self.connection
            && let (Some(lanes), Sent::Records(lane, _)) = (&mut self.lanes, &sent)
        {
            lanes.ended(*lane);
        }
        if matches!(sent, Sent::Gap(_)) {
            self.is_gap_sent = false;
        }
        match outcome {
            Ok(()) => self.arrived(&sent),
            Err(SendError::Refused(reason)) => {
                // It is not the records that are refused but the edge node, which an operator can mend.
                self.enter(UplinkPhase::Degraded, Some(reason));
                self.rest(connection);
            }
            Err(SendError::Again(_)) => self.rest(connection),
        }
    }

    /// Asks the hub again what it has, after a pause, and goes on from there.
    fn rest(&mut self, connection: u64) {
        if connection == self.connection {
            self.rests_until = Some(Instant::now() + BREATHER);
            self.greet();
        }
    }

    /// What is under way belongs to the past: only the hub knows what of it has arrived.
    fn greet(&mut self) {
        self.connection += 1;
        self.is_gap_sent = false;
        self.lanes = None;
        self.hello = Hello::Due;
    }

    fn arrived(&mut self, sent: &Sent) {
        self.backoff.reset();
        let mut changes = Changes::new();
        let mut shelf = self.tape.shelf();
        match sent {
            Sent::Records(_, range) => {
                let places = shelf.ack(*range);
                self.tape.release(places, &mut changes);
                self.status.sent += range.len();
            }
            Sent::Gap(gap) => {
                if shelf.told(gap) {
                    self.tape.release_gap(gap, &mut changes);
                }
                let places = shelf.sweep();
                self.tape.release(places, &mut changes);
            }
            Sent::Report | Sent::Answer | Sent::Hello => return,
        }
        self.tape.keep_acked(&shelf, &mut changes);
        drop(shelf);
        // Not waited for: what is sent once more after a crash does not count twice.
        drop(self.context.outside.store.submit(changes));
        if self.status.state == UplinkPhase::Degraded {
            self.enter(UplinkPhase::Connected, None);
        }
    }

    /// Records that cannot be read again.
    fn lost_records(&mut self, range: Range) {
        tracing::error!(
            first = range.first,
            end = range.end,
            "records on their way up cannot be read"
        );
        let now = self.context.now();
        let mut changes = Changes::new();
        let mut shelf = self.tape.shelf();
        shelf.lose(range, GapReason::Store, [now, now]);
        self.tape.forget(&shelf, &[], &mut changes);
        self.tape.keep_gaps(&shelf, &mut changes);
        drop(shelf);
        drop(self.context.outside.store.submit(changes));
    }

    fn drop_old(&mut self) {
        let before = TimestampMs(self.context.now().0.saturating_sub(self.settings.age_ms_max));
        let mut changes = Changes::new();
        let mut shelf = self.tape.shelf();
        let dropped = shelf.bound_age(before);
        self.tape.forget(&shelf, &dropped, &mut changes);
        drop(shelf);
        if !changes.is_empty() {
            drop(self.context.outside.store.submit(changes));
        }
    }

    fn pack(&self) {
        let from = self.lanes.as_ref().map_or(0, Lanes::packable_from);
        let bounds = (packing::BLOCKS_MIN, packing::BYTES_MAX);
        let parts = self.tape.shelf().begin_packing(from, bounds);
        if !parts.is_empty() {
            let store = self.context.outside.store.clone();
            packing::begin(Arc::clone(&self.tape), store, parts);
        }
    }

    async fn event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected(welcome) => {
                self.packet_bytes_max =
                    welcome.packet_bytes_max.map_or(usize::MAX, |it| it as usize);
                self.status.connects += 1;
                self.connected_at = Some(Instant::now());
                self.is_report_due = true;
                self.enter(UplinkPhase::Connected, None);
            }
            // The answer has to be heard.
            LinkEvent::Subscribed(answer) if answer.refused.is_empty() => self.greet(),
            LinkEvent::Subscribed(_) => {
                self.greet();
                let reason = "the hub lets no writes of values come down".to_owned();
                self.enter(UplinkPhase::Degraded, Some(reason));
            }
            LinkEvent::Received(received) => self.received(*received).await,
            LinkEvent::Lost(reason) => self.lost(reason),
        }
    }

    /// What is unacknowledged is sent again by the next connection; what the hub has of it counts once.
    fn lost(&mut self, reason: String) {
        let now = Instant::now();
        if self.connected_at.take().is_some_and(|at| now - at >= GOOD_CONNECTION) {
            self.backoff.reset();
        }
        self.status.losses += 1;
        self.connection += 1;
        self.lanes = None;
        self.hello = Hello::Settled;
        self.link = None;
        self.sendings.clear();
        let delay_ms = self.backoff.next_delay_ms(self.context.random());
        self.retry_at = Some(now + Duration::from_millis(delay_ms));
        self.enter(UplinkPhase::Connecting, Some(reason));
    }

    async fn stop(mut self) {
        self.enter(UplinkPhase::Stopped, None);
        if let Some(link) = self.link.take().filter(|_| self.connected_at.is_some()) {
            link.close(STOP_DEADLINE).await;
        }
    }
}
