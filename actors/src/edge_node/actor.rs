//! The actor of an edge node: starts, stops, restarts and reconfigures its drivers.

use crate::ask::ask;
use crate::context::Shared;
use crate::driver::row::{DriverRow, EditsRow, TagRow};
use crate::driver::{
    Ask, DriverActor, DriverArgs, DriverMsg, DriverPhase, DriverStatus, Reply, does_not_run,
    status_message,
};
use crate::refused;
use crate::restart::{Failures, Verdict};
use broker::{Client, Outgoing};
use futures_util::future::join_all;
use proto::platform::EdgeTopic;
use proto::{DriverId, EdgeId, PlatformTopic, Qos, Refusal};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::collections::BTreeMap;
use std::time::Duration;
use store::{Changes, ReadError};
use tracing::{Instrument, Span};

/// What an edge node is told.
pub(crate) enum EdgeNodeMsg {
    /// A driver or its tags change: keep `changes` while it is down, and start it from its rows.
    Reconfigure {
        /// Which.
        driver: DriverId,
        /// What to keep.
        changes: Changes,
        /// What to say with it.
        messages: Vec<Outgoing>,
        /// Told once it is kept.
        reply: RpcReplyPort<Result<(), Refusal>>,
    },
    /// An operator asks something of a driver.
    Ask {
        /// Which.
        driver: DriverId,
        /// What.
        ask: Ask,
        /// Told by the driver.
        reply: Reply,
    },
    /// The project may have been opened or closed.
    Tenancy,
    /// The pause of a failed driver is over.
    DriverRested {
        /// Which.
        driver: DriverId,
        /// Which of its lives ended.
        incarnation: u64,
    },
    /// The node stops.
    Stop(RpcReplyPort<()>),
}

/// What an edge node is started with.
pub(crate) struct EdgeNodeArgs {
    pub(crate) context: Shared,
    pub(crate) client: Client,
}

/// See [`super`].
pub(crate) struct EdgeNodeActor;

/// Everything an edge node has.
pub(crate) struct EdgeNodeCore {
    context: Shared,
    client: Client,
    edge: EdgeId,
    span: Span,
    drivers: BTreeMap<DriverId, Slot>,
}

/// One driver; without an actor while it rests.
#[derive(Default)]
struct Slot {
    actor: Option<ActorRef<DriverMsg>>,
    incarnation: u64,
    failures: Failures,
}

/// The name of the edge node that every hub has in process.
pub fn local_edge() -> EdgeId {
    match EdgeId::parse("local") {
        Ok(edge) => edge,
        Err(error) => unreachable!("a constant: {error}"),
    }
}

impl Actor for EdgeNodeActor {
    type Msg = EdgeNodeMsg;
    type State = EdgeNodeCore;
    type Arguments = EdgeNodeArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<EdgeNodeMsg>,
        args: EdgeNodeArgs,
    ) -> Result<EdgeNodeCore, ActorProcessingErr> {
        let EdgeNodeArgs { context, client } = args;
        let edge = context.settings.edge.clone();
        let span =
            tracing::info_span!("edge_node", tenant = %client.namespace(), edge_node = %edge);
        let drivers = BTreeMap::new();
        let mut core = EdgeNodeCore { context, client, edge, span: span.clone(), drivers };
        core.start_all(&myself).instrument(span).await?;
        core.publish_status(true);
        Ok(core)
    }

    async fn handle(
        &self,
        myself: ActorRef<EdgeNodeMsg>,
        message: EdgeNodeMsg,
        core: &mut EdgeNodeCore,
    ) -> Result<(), ActorProcessingErr> {
        let span = core.span.clone();
        core.handle(&myself, message).instrument(span).await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<EdgeNodeMsg>,
        event: SupervisionEvent,
        core: &mut EdgeNodeCore,
    ) -> Result<(), ActorProcessingErr> {
        let _entered = core.span.clone().entered();
        match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                core.child_ended(&myself, cell.get_id(), &error.to_string());
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                let reason = reason.unwrap_or_else(|| "ended by itself".to_owned());
                core.child_ended(&myself, cell.get_id(), &reason);
            }
            _ => {}
        }
        Ok(())
    }
}

impl EdgeNodeCore {
    async fn handle(&mut self, myself: &ActorRef<EdgeNodeMsg>, message: EdgeNodeMsg) {
        match message {
            EdgeNodeMsg::Reconfigure { driver, changes, messages, reply } => {
                let outcome = self.reconfigure(myself, driver, changes, messages).await;
                let _ = reply.send(outcome);
            }
            EdgeNodeMsg::Ask { driver, ask, reply } => {
                let actor = self.drivers.get(&driver).and_then(|slot| slot.actor.as_ref());
                match actor {
                    // One that ends just now drops the question, which whoever asked is told.
                    Some(actor) => drop(actor.cast(DriverMsg::Ask(ask, reply))),
                    None => drop(reply.send(Err(does_not_run()))),
                }
            }
            EdgeNodeMsg::Tenancy => self.follow_tenancy(myself).await,
            EdgeNodeMsg::DriverRested { driver, incarnation } => {
                let rests = |slot: &Slot| slot.actor.is_none() && slot.incarnation == incarnation;
                if self.drivers.get(&driver).is_some_and(rests) {
                    self.start_driver(myself, driver).await;
                }
            }
            EdgeNodeMsg::Stop(reply) => {
                self.stop().await;
                let _ = reply.send(());
                myself.stop(None);
            }
        }
    }

    /// Starts the drivers that are not there yet.
    async fn start_all(&mut self, myself: &ActorRef<EdgeNodeMsg>) -> Result<(), ReadError> {
        let prefix = store::prefix(self.client.namespace());
        let found = self.context.outside.store.read()?.scan::<DriverRow>(&prefix)?;
        for row in found {
            match row {
                Ok(((_, driver), row)) if row.edge == self.edge => {
                    if !self.drivers.contains_key(&driver) {
                        self.start_driver(myself, driver).await;
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a driver cannot be read and does not run"),
            }
        }
        Ok(())
    }

    /// A closed project reads no machines and writes none.
    async fn follow_tenancy(&mut self, myself: &ActorRef<EdgeNodeMsg>) {
        match self.is_closed() {
            true => self.end_all().await,
            false => {
                if let Err(error) = self.start_all(myself).await {
                    tracing::error!(%error, "the drivers cannot be read and do not run");
                }
            }
        }
        self.publish_status(true);
    }

    fn is_closed(&self) -> bool {
        self.context.outside.broker.is_closed(self.client.namespace())
    }

    /// The driver is down while its rows change, so that it cannot publish what they no longer say.
    async fn reconfigure(
        &mut self,
        myself: &ActorRef<EdgeNodeMsg>,
        driver: DriverId,
        mut changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        if let Some(slot) = self.drivers.remove(&driver) {
            self.context.counters.drivers.decrease();
            end(slot.actor, false, self.context.call_timeout()).await;
        }
        let kept = match self.count_edit(&mut changes) {
            Ok(()) => self.client.publish_durably(changes, messages).await.map_err(|error| {
                self.context.counters.commits_failed.increase();
                refused::by_store(&error)
            }),
            Err(error) => Err(Refusal::internal(error)),
        };
        if kept.is_ok() {
            self.context.reconfigured.ring(self.client.namespace());
        }
        // Also if it was not kept: then from the rows as they were.
        self.start_driver(myself, driver).await;
        self.publish_status(true);
        kept
    }

    /// Changes come one after the other, so that none is counted twice.
    fn count_edit(&self, changes: &mut Changes) -> Result<(), ReadError> {
        let key = self.client.namespace().clone();
        let row = self.context.outside.store.read()?.get::<EditsRow>(&key)?.unwrap_or_default();
        changes.put::<EditsRow>(&key, &EditsRow { edits: row.edits + 1 });
        Ok(())
    }

    /// Starts a driver from its rows, if it has any and the project is open.
    async fn start_driver(&mut self, myself: &ActorRef<EdgeNodeMsg>, driver: DriverId) {
        if self.is_closed() {
            return;
        }
        let args = match self.read(&driver) {
            // That of another edge node is kept here, and runs there.
            Ok(Some(args)) if args.edge != self.edge => return,
            Ok(Some(args)) => args,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, %driver, "the rows of a driver cannot be read");
                return self.publish_fault(&driver, error.to_string());
            }
        };
        let spawned = DriverActor::spawn_linked(None, DriverActor, args, myself.get_cell()).await;
        let incarnation = self.context.next_number();
        if !self.drivers.contains_key(&driver) {
            self.context.counters.drivers.increase();
        }
        let slot = self.drivers.entry(driver.clone()).or_default();
        slot.incarnation = incarnation;
        match spawned {
            Ok((actor, _)) => slot.actor = Some(actor),
            Err(error) => self.rest(myself, &driver, &error.to_string()),
        }
    }

    fn read(&self, driver: &DriverId) -> Result<Option<DriverArgs>, ReadError> {
        let snapshot = self.context.outside.store.read()?;
        let key = (self.client.namespace().clone(), driver.clone());
        let Some(row) = snapshot.get::<DriverRow>(&key)? else { return Ok(None) };
        let mut tags = Vec::new();
        for tag in snapshot.scan::<TagRow>(&store::prefix(&key))? {
            let (_, TagRow(config)) = tag?;
            tags.push(config);
        }
        Ok(Some(DriverArgs {
            context: self.context.clone(),
            client: self.client.clone(),
            edge: row.edge,
            driver: driver.clone(),
            config: row.config,
            tags,
        }))
    }

    fn child_ended(&mut self, myself: &ActorRef<EdgeNodeMsg>, id: ActorId, reason: &str) {
        let is_it = |slot: &Slot| slot.actor.as_ref().is_some_and(|actor| actor.get_id() == id);
        let found = self.drivers.iter_mut().find(|(_, slot)| is_it(slot));
        let Some((driver, slot)) = found else { return };
        slot.actor = None;
        let driver = driver.clone();
        self.rest(myself, &driver, reason);
    }

    fn rest(&mut self, myself: &ActorRef<EdgeNodeMsg>, driver: &DriverId, reason: &str) {
        let settings = &self.context.settings;
        let now_ms = self.context.uptime_ms();
        let Some(slot) = self.drivers.get_mut(driver) else { return };
        let incarnation = slot.incarnation;
        let after_ms = match slot.failures.record(&settings.restart, now_ms) {
            Verdict::RestartAfter(after_ms) => {
                tracing::warn!(%driver, reason, after_ms, "driver failed, restarting");
                self.context.counters.restarts.increase();
                after_ms
            }
            Verdict::GiveUp => {
                let quarantine_ms = settings.quarantine_ms;
                tracing::error!(%driver, reason, quarantine_ms, "driver in quarantine");
                self.context.counters.quarantined.increase();
                quarantine_ms
            }
        };
        self.publish_fault(driver, reason.to_owned());
        let driver = driver.clone();
        myself.send_after(Duration::from_millis(after_ms), move || EdgeNodeMsg::DriverRested {
            driver,
            incarnation,
        });
    }

    fn publish_fault(&self, driver: &DriverId, reason: String) {
        let status = DriverStatus::down(DriverPhase::Faulted, Some(reason), self.context.now());
        self.client.publish(status_message(&self.edge, driver, &status));
    }

    fn publish_status(&self, online: bool) {
        let topic = PlatformTopic::Edge { edge: self.edge.clone(), topic: EdgeTopic::Status };
        let status = serde_json::json!({
            "online": online, "t": self.context.now(), "drivers": self.drivers.len(),
        });
        let message = Outgoing::new(topic.topic(), status.to_string());
        self.client.publish(message.qos(Qos::AtLeastOnce).retained());
    }

    async fn stop(&mut self) {
        self.end_all().await;
        self.publish_status(false);
    }

    async fn end_all(&mut self) {
        let timeout = self.context.call_timeout();
        self.context.counters.drivers.subtract(self.drivers.len() as u64);
        let drivers = std::mem::take(&mut self.drivers);
        join_all(drivers.into_values().map(|slot| end(slot.actor, true, timeout))).await;
    }
}

impl Drop for EdgeNodeCore {
    fn drop(&mut self) {
        self.context.counters.drivers.subtract(self.drivers.len() as u64);
    }
}

async fn end(driver: Option<ActorRef<DriverMsg>>, is_for_good: bool, timeout: Duration) {
    let Some(driver) = driver else { return };
    let stop = |reply| DriverMsg::Stop { is_for_good, reply };
    if ask(&driver, stop, timeout).await.is_none() {
        driver.kill();
    }
}
