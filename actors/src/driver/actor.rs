//! The actor around [`DriverState`](super::state::DriverState): passes commands to the task,
//! outcomes to the state, values and answers to the bus.

use super::asks::{Ask, Batches, Reply, does_not_run};
use super::backlog::Losses;
use super::command::{Answer, Command, Now, Query};
use super::io::{Outcome, tally};
use super::journal::Journal;
use super::pace::Pace;
use super::start::{Running, Writable, points_first, subscribe_writes};
use super::status::{DriverPhase, DriverStatus};
use super::write::{SetAnswer, SetRequest, Write, called};
use crate::context::Shared;
use crate::door::Door;
use broker::{Client, Delivery, Outgoing};
use drivers::{Counters, DriverConfig, PointWrite, Receipt, TagConfig};
use proto::platform::EdgeTopic;
use proto::{Datum, DriverId, EdgeId, PlatformTopic, Qos, Refusal, UnsPath};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::time::Duration;
use store::Changes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tracing::{Instrument, Span};

/// What a driver actor is told.
pub(crate) enum DriverMsg {
    /// A request to write.
    Set(Delivery),
    /// A question of an operator.
    Ask(Ask, Reply),
    /// What became of a command.
    Outcome(Outcome),
    /// The actor's own timer; only that of the latest turn counts.
    Tick {
        /// The turn that armed it.
        turn: u64,
    },
    /// Stop; with the node if `is_for_good`, otherwise to be started anew.
    Stop {
        /// Whether to say so.
        is_for_good: bool,
        /// Told when it is done.
        reply: RpcReplyPort<()>,
    },
}

/// What a driver actor is started with.
pub(crate) struct DriverArgs {
    pub(crate) context: Shared,
    pub(crate) client: Client,
    pub(crate) edge: EdgeId,
    pub(crate) driver: DriverId,
    pub(crate) config: DriverConfig,
    pub(crate) tags: Vec<TagConfig>,
}

/// See [`super`].
pub(crate) struct DriverActor;

/// Everything a driver actor has.
pub(crate) struct DriverCore {
    pub(super) context: Shared,
    pub(super) client: Client,
    edge: EdgeId,
    driver: DriverId,
    span: Span,
    /// `None` if the configuration is refused.
    pub(super) running: Option<Running>,
    /// Keeps the writes coming.
    _door: Door<DriverMsg>,
    writable: Writable,
    /// Those who wait for a write, or for an answer.
    pub(super) waiting: HashMap<u64, Waiting>,
    pub(super) batches: Batches,
    pub(super) next_ticket: u64,
    /// Of what was pushed and is yet to be published, each with the room that it takes: no more is taken meanwhile.
    receipts: Vec<(Receipt, OwnedSemaphorePermit)>,
    turn: u64,
    timer: Option<AbortHandle>,
    counters: Counters,
    pace: Pace,
    journal: Journal,
    was_connected: bool,
    status: DriverStatus,
    status_due_ms: u64,
    /// What has changed since is told when that time has come.
    has_news: bool,
}

/// Who waits for what a ticket stands for.
pub(super) enum Waiting {
    /// Who wrote to the topic of a tag.
    Set { path: UnsPath, id: Option<Json>, delivery: Box<Delivery> },
    /// A place among writes that are answered together.
    Batch { batch: u64, place: usize },
    /// Who asked something.
    Ask(Reply),
    /// Who asked what these points hold.
    Read { points: Vec<drivers::PointId>, reply: Reply },
}

impl Actor for DriverActor {
    type Msg = DriverMsg;
    type State = DriverCore;
    type Arguments = DriverArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<DriverMsg>,
        args: DriverArgs,
    ) -> Result<DriverCore, ActorProcessingErr> {
        let span = tracing::info_span!(
            "driver",
            tenant = %args.client.namespace(),
            edge_node = %args.edge,
            driver = %args.driver,
        );
        let mut core = DriverCore::new(args, &myself, span.clone())?;
        core.advance(&myself).instrument(span).await;
        Ok(core)
    }

    async fn handle(
        &self,
        myself: ActorRef<DriverMsg>,
        message: DriverMsg,
        core: &mut DriverCore,
    ) -> Result<(), ActorProcessingErr> {
        let span = core.span.clone();
        core.handle(&myself, message).instrument(span).await
    }
}

impl DriverCore {
    fn new(
        mut args: DriverArgs,
        myself: &ActorRef<DriverMsg>,
        span: Span,
    ) -> Result<Self, ActorProcessingErr> {
        points_first(&mut args.tags);
        let context = args.context.clone();
        let now = Now { ms: context.uptime_ms(), t: context.now() };
        let (door, writable) = subscribe_writes(&args, myself)?;
        let ends = (&context, &args.client);
        let (running, status) = match Running::open(ends, (&args.config, args.tags), myself, now) {
            Ok(running) => {
                (Some(running), DriverStatus::down(DriverPhase::Connecting, None, now.t))
            }
            Err(reason) => {
                let _entered = span.enter();
                tracing::error!(reason, "driver cannot run with this configuration");
                (None, DriverStatus::down(DriverPhase::Faulted, Some(reason), now.t))
            }
        };
        let core = Self {
            context,
            client: args.client,
            edge: args.edge,
            driver: args.driver,
            span,
            running,
            _door: door,
            writable,
            waiting: HashMap::new(),
            batches: Batches::default(),
            next_ticket: 0,
            receipts: Vec::new(),
            turn: 0,
            timer: None,
            counters: Counters::default(),
            pace: Pace::default(),
            journal: Journal::default(),
            was_connected: false,
            status,
            status_due_ms: 0,
            has_news: false,
        };
        core.publish_status();
        Ok(core)
    }

    async fn handle(
        &mut self,
        myself: &ActorRef<DriverMsg>,
        message: DriverMsg,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DriverMsg::Set(delivery) => self.set(delivery).await,
            DriverMsg::Ask(ask, reply) => self.ask(ask, reply),
            DriverMsg::Outcome(outcome) => self.outcome(outcome).await?,
            DriverMsg::Tick { turn } if turn == self.turn => {}
            DriverMsg::Tick { .. } => return Ok(()),
            DriverMsg::Stop { is_for_good, reply } => {
                self.stop(is_for_good).await;
                let _ = reply.send(());
                myself.stop(None);
                return Ok(());
            }
        }
        self.advance(myself).await;
        Ok(())
    }

    async fn set(&mut self, delivery: Delivery) {
        let Some((point, path)) = self.writable.get(&delivery.topic).cloned() else {
            return delivery.ack();
        };
        let Some(running) = &mut self.running else {
            let id = SetRequest::<Json>::parse(&delivery.payload).ok().and_then(|it| it.id);
            return self.answer(&path, id, Err(does_not_run()), delivery).await;
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let taken = match &running.state.tags()[point.index()].method {
            Some(method) => called(method.to_string(), &delivery.payload).and_then(|(id, call)| {
                let asked = running.state.ask(ticket, Query::Call(call));
                asked.map(|()| id.clone()).map_err(|refusal| (refusal, id))
            }),
            None => SetRequest::<Datum>::parse(&delivery.payload).and_then(|request| {
                let SetRequest { v: value, id, verify } = request;
                let what = PointWrite { point, value, verify };
                let asked = running.state.ask_write(Write { what, ticket });
                asked.map(|()| id.clone()).map_err(|refusal| (refusal, id))
            }),
        };
        match taken {
            Ok(id) => {
                let delivery = Box::new(delivery);
                self.waiting.insert(ticket, Waiting::Set { path, id, delivery });
            }
            Err((refusal, id)) => self.answer(&path, id, Err(refusal), delivery).await,
        }
    }

    async fn outcome(&mut self, outcome: Outcome) -> Result<(), ActorProcessingErr> {
        let now = self.now();
        let random = self.context.random();
        let Some(running) = &mut self.running else { return Ok(()) };
        let state = &mut running.state;
        let mut answers = match outcome {
            Outcome::Connected(outcome, counters) => {
                self.counters = counters;
                if let Err(error) = &outcome {
                    self.journal.lost(Some(&error.to_string()));
                }
                state.connected(outcome, now, random)
            }
            Outcome::Subscribed(outcome, counters) => {
                self.counters = counters;
                if let Err(error) = &outcome {
                    tracing::warn!(%error, "the machine does not push, its points are polled");
                }
                state.subscribed(outcome, now, random)
            }
            Outcome::Pushed(mut outcome, counters, room) => {
                self.counters = counters;
                if tally(&outcome.points, &self.context.counters) {
                    self.pace.good(now.t);
                    self.journal.heard();
                }
                let receipt = std::mem::take(&mut outcome.receipt);
                self.receipts.extend((!receipt.is_empty()).then_some((receipt, room)));
                state.pushed(outcome, now, random)
            }
            Outcome::Read(outcome, counters) => {
                self.counters = counters;
                self.context.counters.driver_polls.increase();
                self.pace.ended(now.ms);
                if tally(&outcome.points, &self.context.counters) {
                    self.pace.good(now.t);
                    self.journal.heard();
                }
                state.read(outcome, now, random)
            }
            Outcome::Written(outcomes, counters) => {
                self.counters = counters;
                state.written(outcomes, now, random)
            }
            Outcome::Asked(ticket, answered, counters) => {
                self.counters = counters;
                self.asked(ticket, answered)
            }
            Outcome::Recalled(outcome, counters) => {
                self.counters = counters;
                state.recalled(outcome, now, random)
            }
            Outcome::Hung(deadline_ms) => {
                tracing::warn!(deadline_ms, "driver did not come back from the machine");
                let reason = format!("the driver did not come back within {deadline_ms} ms");
                state.lost(reason, now, random)
            }
            Outcome::Panicked(text) => return Err(format!("the driver panicked: {text}").into()),
        };
        if let Some(running) = &mut self.running {
            answers.extend(running.state.late(now, random));
        }
        self.answer_all(answers).await;
        Ok(())
    }

    /// Does what follows from the state: values to the bus, a command to the machine, the timer,
    /// the status.
    async fn advance(&mut self, myself: &ActorRef<DriverMsg>) {
        let now = self.now();
        let Some(running) = &mut self.running else { return };
        running.state.age(now);
        self.command(now);
        if self.publish_values(now).await {
            self.receipts.drain(..).for_each(|(receipt, _)| receipt.kept());
        }
        let has_more = self.publish_backlog(now).await;
        // What waited for that to be on the bus.
        self.command(now);
        self.note_losses();
        self.note_connection();
        self.tell_status(now);
        self.arm(myself);
        if has_more {
            // Behind what is in the mailbox already.
            let _ = myself.cast(DriverMsg::Tick { turn: self.turn });
        }
    }

    /// Tells the machine what comes next, if it is free.
    fn command(&mut self, now: Now) {
        let Some(running) = &mut self.running else { return };
        let due_ms = running.state.poll_due_ms();
        if let Some(command) = running.state.next_command(now) {
            if matches!(command, Command::Read(_)) {
                self.pace.begun(now.ms, due_ms);
            }
            // The task is free, or the state would not have given a command.
            let _ = running.commands.try_send(command);
        }
    }

    fn note_losses(&mut self) {
        let Some(running) = &mut self.running else { return };
        let counters = &self.context.counters;
        counters.driver_ticks_missed.add(running.state.take_ticks_missed());
        let Losses { events, gaps } = running.state.backlog.take_losses();
        counters.driver_events_lost.add(events);
        counters.driver_gaps_lost.add(gaps);
        if gaps > 0 {
            tracing::warn!(
                gaps,
                "not all is asked for of what the machine has kept while it was away"
            );
        }
        if events > 0 {
            tracing::warn!(events, "events given up, since too many waited");
        }
    }

    async fn answer_all(&mut self, answers: Vec<Answer>) {
        for (ticket, outcome) in answers {
            match self.waiting.remove(&ticket) {
                Some(Waiting::Set { path, id, delivery }) => {
                    self.answer(&path, id, outcome, *delivery).await;
                }
                Some(Waiting::Batch { batch, place }) => {
                    self.count_write(&outcome);
                    self.batches.ended(batch, place, outcome);
                }
                Some(Waiting::Ask(reply) | Waiting::Read { reply, .. }) => {
                    drop(reply.send(outcome));
                }
                None => {}
            }
        }
    }

    async fn answer(
        &self,
        path: &UnsPath,
        id: Option<Json>,
        outcome: Result<Json, Refusal>,
        delivery: Delivery,
    ) {
        self.count_write(&outcome);
        // Made of texts, numbers and JSON values only: serialisation has no way to fail.
        let payload = serde_json::to_vec(&SetAnswer::new(id, outcome)).unwrap_or_default();
        let topic = PlatformTopic::UnsSetResult(path.clone()).topic();
        let mut messages = vec![Outgoing::new(topic, payload.clone()).qos(Qos::AtLeastOnce)];
        if let Some(topic) = &delivery.response_topic {
            let copy = Outgoing::new(topic.clone(), payload).qos(Qos::AtLeastOnce);
            messages.push(copy.correlation(delivery.correlation_data.clone()));
        }
        if let Err(error) = self.client.publish_durably(Changes::new(), messages).await {
            self.context.counters.commits_failed.increase();
            tracing::warn!(%error, "answer to a write not published");
        }
        // Also without an answer: sent again, it would move the machine a second time.
        delivery.ack();
    }

    fn count_write<T>(&self, outcome: &Result<T, Refusal>) {
        match outcome {
            Ok(_) => self.context.counters.writes_done.increase(),
            Err(_) => self.context.counters.writes_refused.increase(),
        }
    }

    fn note_connection(&mut self) {
        let is_connected = self.running.as_ref().is_some_and(|it| it.state.is_connected());
        let counters = &self.context.counters;
        match (self.was_connected, is_connected) {
            (false, true) => {
                counters.drivers_connected.increase();
            }
            (true, false) => {
                counters.drivers_connected.decrease();
                // Without a running part it is us who left.
                if let Some(running) = &self.running {
                    counters.driver_losses.increase();
                    self.journal.lost(running.state.reason());
                }
            }
            _ => {}
        }
        self.was_connected = is_connected;
    }

    fn tell_status(&mut self, now: Now) {
        let Some(running) = &self.running else { return };
        let status = DriverStatus::of(&running.state, (self.counters, self.pace), now.t);
        let is_turn = status.is_turn_from(&self.status);
        self.has_news = is_turn || status.is_news_after(&self.status);
        if is_turn || self.has_news && now.ms >= self.status_due_ms {
            self.has_news = false;
            self.status = status;
            self.status_due_ms = now.ms + self.context.settings.driver_status_ms;
            self.publish_status();
        }
    }

    fn publish_status(&self) {
        self.client.publish(status_message(&self.edge, &self.driver, &self.status));
    }

    fn arm(&mut self, myself: &ActorRef<DriverMsg>) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        self.turn += 1;
        let told_at_ms = self.has_news.then_some(self.status_due_ms);
        let wake_at_ms = self.running.as_ref().and_then(|it| it.state.wake_at_ms());
        let Some(at_ms) = wake_at_ms.into_iter().chain(told_at_ms).min() else {
            return;
        };
        let after = Duration::from_millis(at_ms.saturating_sub(self.context.uptime_ms()));
        let turn = self.turn;
        self.timer =
            Some(myself.send_after(after, move || DriverMsg::Tick { turn }).abort_handle());
    }

    /// Closes the connection; writes that wait are refused.
    async fn stop(&mut self, is_for_good: bool) {
        let now = self.now();
        if let Some(mut running) = self.running.take() {
            let answers = running.state.lost("the driver stops".to_owned(), now, 0);
            drop(running);
            self.answer_all(answers).await;
        }
        self.note_connection();
        if is_for_good && self.status.state != DriverPhase::Faulted {
            self.status = DriverStatus::down(DriverPhase::Stopped, None, now.t);
            self.publish_status();
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { ms: self.context.uptime_ms(), t: self.context.now() }
    }
}

impl Drop for DriverCore {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        if self.was_connected {
            self.context.counters.drivers_connected.decrease();
        }
    }
}

/// The retained message that says how a driver is.
pub(crate) fn status_message(edge: &EdgeId, driver: &DriverId, status: &DriverStatus) -> Outgoing {
    let topic = EdgeTopic::DriverStatus(driver.clone());
    let topic = PlatformTopic::Edge { edge: edge.clone(), topic }.topic();
    // Made of texts and numbers only: serialisation has no way to fail.
    let payload = serde_json::to_vec(status).unwrap_or_default();
    Outgoing::new(topic, payload).qos(Qos::AtLeastOnce).retained()
}
