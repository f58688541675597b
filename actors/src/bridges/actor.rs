//! The actor of all bridges of a namespace: starts, stops, restarts and reconfigures them.

use crate::ask::ask;
use crate::bridge::row::{BridgeKey, BridgeRow, OriginRow};
use crate::bridge::status::{BridgePhase, BridgeStatus};
use crate::bridge::{self, BridgeActor, BridgeArgs, BridgeMsg, Tap};
use crate::context::Shared;
use crate::refused;
use crate::restart::{Failures, Verdict};
use broker::{AttachOptions, Client, Outgoing};
use futures_util::future::join_all;
use proto::{BridgeId, Refusal};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::collections::BTreeMap;
use std::time::Duration;
use store::Changes;
use tracing::{Instrument, Span};

/// What the bridges are told.
pub(crate) enum BridgesMsg {
    /// A bridge changes: keep `changes` while it is down, and start it from its row.
    Reconfigure {
        /// Which.
        bridge: BridgeId,
        /// What to keep.
        changes: Changes,
        /// What to say with it.
        messages: Vec<Outgoing>,
        /// Told once it is kept.
        reply: RpcReplyPort<Result<(), Refusal>>,
    },
    /// The project may have been opened or closed.
    Tenancy,
    /// The pause of a failed bridge is over.
    Rested {
        /// Which.
        bridge: BridgeId,
        /// Which of its lives ended.
        incarnation: u64,
    },
    /// The node stops.
    Stop(RpcReplyPort<()>),
}

/// What the bridges are started with.
pub(crate) struct BridgesArgs {
    pub(crate) context: Shared,
    pub(crate) client: Client,
}

/// See [`super`].
pub(crate) struct BridgesActor;

/// Everything the bridges have.
pub(crate) struct BridgesCore {
    context: Shared,
    client: Client,
    origin: String,
    /// Whether the project is.
    is_closed: bool,
    span: Span,
    bridges: BTreeMap<BridgeId, Slot>,
}

/// One bridge; without an actor while it rests.
struct Slot {
    tap: Tap,
    actor: Option<ActorRef<BridgeMsg>>,
    incarnation: u64,
    failures: Failures,
}

impl Actor for BridgesActor {
    type Msg = BridgesMsg;
    type State = BridgesCore;
    type Arguments = BridgesArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<BridgesMsg>,
        args: BridgesArgs,
    ) -> Result<BridgesCore, ActorProcessingErr> {
        let BridgesArgs { context, client } = args;
        let span = tracing::info_span!("bridges", tenant = %client.namespace());
        let snapshot = context.outside.store.read()?;
        let namespace = client.namespace();
        let found = snapshot.scan::<BridgeRow>(&store::prefix(namespace))?;
        let known = snapshot.get::<OriginRow>(namespace)?;
        drop(snapshot);
        let origin = match known {
            Some(OriginRow(origin)) => origin,
            None => {
                let origin = OriginRow::generate(&*context.outside.entropy);
                let mut changes = Changes::new();
                changes.put::<OriginRow>(namespace, &origin);
                context.outside.store.commit(changes).await?;
                origin.0
            }
        };
        client.set_origin(&origin);
        let bridges = BTreeMap::new();
        let is_closed = context.outside.broker.is_closed(client.namespace());
        let mut core =
            BridgesCore { context, client, origin, is_closed, span: span.clone(), bridges };
        for row in found {
            match row {
                Ok(((_, bridge), row)) => {
                    core.start(&myself, bridge, row).instrument(span.clone()).await;
                }
                Err(error) => tracing::error!(%error, "a bridge cannot be read and does not run"),
            }
        }
        Ok(core)
    }

    async fn handle(
        &self,
        myself: ActorRef<BridgesMsg>,
        message: BridgesMsg,
        core: &mut BridgesCore,
    ) -> Result<(), ActorProcessingErr> {
        let span = core.span.clone();
        core.handle(&myself, message).instrument(span).await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<BridgesMsg>,
        event: SupervisionEvent,
        core: &mut BridgesCore,
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

impl BridgesCore {
    async fn handle(&mut self, myself: &ActorRef<BridgesMsg>, message: BridgesMsg) {
        match message {
            BridgesMsg::Reconfigure { bridge, changes, messages, reply } => {
                let outcome = self.reconfigure(myself, bridge, changes, messages).await;
                let _ = reply.send(outcome);
            }
            BridgesMsg::Tenancy => self.follow_tenancy(myself).await,
            BridgesMsg::Rested { bridge, incarnation } => {
                let rests = |slot: &Slot| slot.actor.is_none() && slot.incarnation == incarnation;
                if self.bridges.get(&bridge).is_some_and(rests) {
                    self.start_from_row(myself, bridge).await;
                }
            }
            BridgesMsg::Stop(reply) => {
                self.stop().await;
                let _ = reply.send(());
                myself.stop(None);
            }
        }
    }

    /// The bridges of a closed project are paused: they keep what they are given for later.
    async fn follow_tenancy(&mut self, myself: &ActorRef<BridgesMsg>) {
        let is_closed = self.context.outside.broker.is_closed(self.client.namespace());
        if is_closed == self.is_closed {
            return;
        }
        self.is_closed = is_closed;
        self.stop().await;
        let bridges: Vec<BridgeId> = self.bridges.keys().cloned().collect();
        for bridge in bridges {
            self.start_from_row(myself, bridge).await;
        }
    }

    /// The bridge is down while its row changes; what is published meanwhile waits in its client.
    async fn reconfigure(
        &mut self,
        myself: &ActorRef<BridgesMsg>,
        bridge: BridgeId,
        changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        if let Some(slot) = self.bridges.get_mut(&bridge) {
            slot.failures = Failures::default();
            end(slot.actor.take(), self.context.call_timeout()).await;
        }
        let kept = self.client.publish_durably(changes, messages).await;
        // Also if it was not kept: then from the row as it was.
        self.start_from_row(myself, bridge).await;
        kept.map_err(|error| {
            self.context.counters.commits_failed.increase();
            refused::by_store(&error)
        })
    }

    /// Starts a bridge from its row; without one, it is gone.
    async fn start_from_row(&mut self, myself: &ActorRef<BridgesMsg>, bridge: BridgeId) {
        let key: BridgeKey = (self.client.namespace().clone(), bridge.clone());
        let store = &self.context.outside.store;
        match store.read().and_then(|snapshot| snapshot.get::<BridgeRow>(&key)) {
            Ok(Some(row)) => self.start(myself, bridge, row).await,
            Ok(None) => {
                if self.bridges.remove(&bridge).is_some() {
                    self.context.counters.bridges.decrease();
                }
                self.context.bridges.forget(self.client.namespace(), &bridge);
            }
            Err(error) => {
                tracing::error!(%error, %bridge, "the row of a bridge cannot be read");
                self.tell_of_fault(&bridge, error.to_string());
            }
        }
    }

    async fn start(&mut self, myself: &ActorRef<BridgesMsg>, bridge: BridgeId, row: BridgeRow) {
        if !self.bridges.contains_key(&bridge) {
            let Some(tap) = self.tap(&bridge) else {
                return tracing::error!(%bridge, "a bridge cannot attach to its namespace");
            };
            let failures = Failures::default();
            let slot = Slot { tap, actor: None, incarnation: 0, failures };
            self.bridges.insert(bridge.clone(), slot);
            self.context.counters.bridges.increase();
        }
        let incarnation = self.context.next_number();
        let Some(slot) = self.bridges.get_mut(&bridge) else { return };
        slot.incarnation = incarnation;
        let args = BridgeArgs {
            context: self.context.clone(),
            tap: slot.tap.clone(),
            bridge: bridge.clone(),
            row: BridgeRow { is_paused: row.is_paused || self.is_closed, ..row },
            origin: self.origin.clone(),
        };
        match BridgeActor::spawn_linked(None, BridgeActor, args, myself.get_cell()).await {
            Ok((actor, _)) => slot.actor = Some(actor),
            Err(error) => self.rest(myself, &bridge, &error.to_string()),
        }
    }

    fn tap(&self, bridge: &BridgeId) -> Option<Tap> {
        let client_id = bridge::client_id(bridge, self.context.next_number())?;
        let options = AttachOptions { window: self.context.settings.bridge_window };
        let broker = &self.context.outside.broker;
        let (client, inbox) = broker.attach(self.client.namespace(), client_id, options)?;
        Some(Tap::new(client, inbox))
    }

    fn child_ended(&mut self, myself: &ActorRef<BridgesMsg>, id: ActorId, reason: &str) {
        let is_it = |slot: &Slot| slot.actor.as_ref().is_some_and(|actor| actor.get_id() == id);
        let found = self.bridges.iter_mut().find(|(_, slot)| is_it(slot));
        let Some((bridge, slot)) = found else { return };
        slot.actor = None;
        let bridge = bridge.clone();
        self.rest(myself, &bridge, reason);
    }

    fn rest(&mut self, myself: &ActorRef<BridgesMsg>, bridge: &BridgeId, reason: &str) {
        let settings = &self.context.settings;
        let now_ms = self.context.uptime_ms();
        let Some(slot) = self.bridges.get_mut(bridge) else { return };
        let incarnation = slot.incarnation;
        let after_ms = match slot.failures.record(&settings.restart, now_ms) {
            Verdict::RestartAfter(after_ms) => {
                tracing::warn!(%bridge, reason, after_ms, "bridge failed, restarting");
                self.context.counters.restarts.increase();
                after_ms
            }
            Verdict::GiveUp => {
                let quarantine_ms = settings.quarantine_ms;
                tracing::error!(%bridge, reason, quarantine_ms, "bridge in quarantine");
                self.context.counters.quarantined.increase();
                quarantine_ms
            }
        };
        self.tell_of_fault(bridge, reason.to_owned());
        let bridge = bridge.clone();
        myself.send_after(Duration::from_millis(after_ms), move || BridgesMsg::Rested {
            bridge,
            incarnation,
        });
    }

    fn tell_of_fault(&self, bridge: &BridgeId, reason: String) {
        let now = self.context.now();
        let status = BridgeStatus::down(BridgePhase::Faulted, Some(reason), &self.origin, now);
        self.client.publish(status.message(bridge));
        self.context.bridges.show(self.client.namespace(), bridge, status);
    }

    async fn stop(&mut self) {
        let timeout = self.context.call_timeout();
        let actors = self.bridges.values_mut().map(|slot| slot.actor.take());
        join_all(actors.map(|actor| end(actor, timeout))).await;
    }
}

impl Drop for BridgesCore {
    fn drop(&mut self) {
        self.context.counters.bridges.subtract(self.bridges.len() as u64);
        for bridge in self.bridges.keys() {
            self.context.bridges.forget(self.client.namespace(), bridge);
        }
    }
}

async fn end(bridge: Option<ActorRef<BridgeMsg>>, timeout: Duration) {
    let Some(bridge) = bridge else { return };
    if ask(&bridge, BridgeMsg::Stop, timeout).await.is_none() {
        bridge.kill();
    }
}
