//! The actor around [`DeviceState`] and the shadows: keeps each change before it is in force,
//! answers after.

use super::batch::Batch;
use super::commands::{Commands, Waiting};
use super::orders::Order;
use super::presence::{Event, Status};
use super::row::{DeviceRow, ThingKey, ThingRow};
use super::shadows::{Shadows, delete_rows};
use super::state::DeviceState;
use crate::context::Shared;
use crate::model::Loaded;
use crate::refused;
use crate::tenant::TenantMsg;
use broker::{AckToken, Client, Delivery, Outgoing};
use proto::platform::{Stage, ThingRoot, ThingTopic};
use proto::{Identity, PlatformTopic, Qos, Refusal, RefusalCode, ThingId};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{Changes, ReadError};
use tracing::{Instrument, Span};

/// What a device actor is told.
pub(crate) enum DeviceMsg {
    /// A device or app said something about the thing.
    Request {
        /// The root it came by.
        root: ThingRoot,
        /// What it is about.
        topic: ThingTopic,
        /// The message.
        delivery: Delivery,
    },
    /// A connection of the device came or went.
    Presence {
        /// Which, and why.
        event: Event,
        /// Acknowledged once it is kept.
        token: AckToken,
    },
    /// The device hears requests of commands that it may not have heard before.
    Listening(AckToken),
    /// The edge node that the thing is at has said something, which is kept.
    EdgeSaid,
    /// A deadline of a command has come, or a look at them is due for another reason.
    CommandsDue,
    /// An operator wants something of the commands of the thing.
    Order {
        /// What.
        order: Box<Order>,
        /// What to keep with it, unless it is refused.
        changes: Changes,
        /// Told once it is kept, if somebody waits.
        reply: Option<RpcReplyPort<Result<(), Refusal>>>,
    },
    /// These connections of the device live now, whatever was heard before.
    Resume(BTreeSet<u64>),
    /// The thing's registration changes: keep `changes`, which hold the row.
    Change {
        /// The new registration.
        row: Box<ThingRow>,
        /// What to keep with it.
        changes: Changes,
        /// What to say with it.
        messages: Vec<Outgoing>,
        /// Told once it is kept.
        reply: RpcReplyPort<Result<(), Refusal>>,
    },
    /// The thing is deleted: keep `changes`, and remove all that the device has.
    Retire {
        /// What to keep with it.
        changes: Changes,
        /// What to say with it.
        messages: Vec<Outgoing>,
        /// Told once it is kept.
        reply: RpcReplyPort<Result<(), Refusal>>,
    },
    /// The registration is another one now, which is kept already.
    Registered(Box<ThingRow>),
    /// The actor's own timer.
    Tick,
}

/// What a device actor is started with.
pub(crate) struct DeviceArgs {
    pub(crate) context: Shared,
    pub(crate) client: Client,
    pub(crate) tenant: ActorRef<TenantMsg>,
    pub(crate) thing: ThingId,
    /// Which of the thing's actors this is.
    pub(crate) incarnation: u64,
    /// How many messages the tenant has sent to it.
    pub(crate) sent: Sent,
}

/// Messages sent to an actor: counted before each is sent.
pub(crate) type Sent = Arc<AtomicU64>;

/// See [`super`].
pub(crate) struct DeviceActor;

/// Everything a device actor has.
pub(crate) struct DeviceCore {
    pub(super) context: Shared,
    pub(super) client: Client,
    pub(super) thing: ThingId,
    pub(super) shadows: Shadows,
    pub(super) commands: Commands,
    pub(super) tenant: ActorRef<TenantMsg>,
    incarnation: u64,
    span: Span,
    /// `None` once the thing is deleted.
    pub(super) registration: Option<ThingRow>,
    /// The model of the registration, once it was needed.
    pub(super) model: Option<Arc<Loaded>>,
    /// With what is decided and not yet kept.
    pub(super) state: DeviceState,
    pub(super) batch: Batch,
    /// The edge node has yet to be given something of what is decided.
    pub(super) owes_edge: bool,
    /// The row as it is stored.
    pub(super) kept: DeviceRow,
    sent: Sent,
    /// Messages of the tenant handled; as many as it has sent means that the mailbox is empty.
    handled: u64,
    last_used_ms: u64,
}

impl Actor for DeviceActor {
    type Msg = DeviceMsg;
    type State = DeviceCore;
    type Arguments = DeviceArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<DeviceMsg>,
        args: DeviceArgs,
    ) -> Result<DeviceCore, ActorProcessingErr> {
        let mut core = DeviceCore::load(args)?;
        if core.edge().is_some() {
            // It may have been said while the actor was not there to hear it.
            core.edge_said()?;
            core.flush().await;
        }
        core.arm(&myself, core.context.settings.device_idle_ms);
        Ok(core)
    }

    async fn handle(
        &self,
        myself: ActorRef<DeviceMsg>,
        message: DeviceMsg,
        core: &mut DeviceCore,
    ) -> Result<(), ActorProcessingErr> {
        let span = core.span.clone();
        core.handle(&myself, message).instrument(span).await.map_err(Into::into)
    }
}

impl DeviceCore {
    fn load(args: DeviceArgs) -> Result<Self, ReadError> {
        let DeviceArgs { context, client, tenant, thing, incarnation, sent } = args;
        let namespace = client.namespace().clone();
        let span = tracing::info_span!("device", tenant = %namespace, device = %thing);
        let snapshot = context.outside.store.read()?;
        let key: ThingKey = (namespace, thing.clone());
        let registration = snapshot.get::<ThingRow>(&key)?;
        let row = snapshot.get::<DeviceRow>(&key)?.unwrap_or_default();
        let last_used_ms = context.uptime_ms();
        Ok(Self {
            context,
            client,
            thing,
            shadows: Shadows::default(),
            commands: Commands::default(),
            tenant,
            incarnation,
            span,
            registration,
            model: None,
            state: DeviceState::new(row.clone()),
            batch: Batch::default(),
            owes_edge: false,
            kept: row,
            sent,
            handled: 0,
            last_used_ms,
        })
    }

    async fn handle(
        &mut self,
        myself: &ActorRef<DeviceMsg>,
        message: DeviceMsg,
    ) -> Result<(), ReadError> {
        if let DeviceMsg::Tick = message {
            self.tick(myself);
            return Ok(());
        }
        self.handled += 1;
        self.last_used_ms = self.context.uptime_ms();
        if self.needs_settled(&message) {
            self.flush().await;
        }
        if let Some(slow) = self.decide(message)? {
            // Boxed, as they are rare and large.
            Box::pin(self.commit_apart(slow)).await?;
        }
        let is_last = self.handled >= self.sent.load(Ordering::Acquire);
        if is_last || self.is_full() {
            self.flush().await;
        }
        Ok(())
    }

    /// Whether a message is decided on rows that the batch may be about to change, or answered at once, and answers
    /// come in the order of requests.
    fn needs_settled(&self, message: &DeviceMsg) -> bool {
        match message {
            DeviceMsg::Request { topic, .. } => {
                matches!(topic, ThingTopic::Model(_) | ThingTopic::Certificate(_))
            }
            DeviceMsg::EdgeSaid | DeviceMsg::Change { .. } | DeviceMsg::Retire { .. } => true,
            DeviceMsg::CommandsDue => self.edge().is_some(),
            _ => false,
        }
    }

    /// Decides what a message leads to, which is then part of the batch. Gives back what has a commit of its own.
    fn decide(&mut self, message: DeviceMsg) -> Result<Option<DeviceMsg>, ReadError> {
        match message {
            DeviceMsg::Request { root, topic, delivery } => {
                return self.request(root, topic, delivery);
            }
            DeviceMsg::Presence { event, token } => {
                let is_new = matches!(event, Event::Connected { .. });
                self.presence(event, token);
                if is_new {
                    self.look_at_commands(Waiting::Nobody)?;
                }
            }
            DeviceMsg::Listening(token) => self.look_at_commands(Waiting::Broker(token))?,
            DeviceMsg::CommandsDue => self.commands_due()?,
            DeviceMsg::EdgeSaid => self.edge_said()?,
            DeviceMsg::Order { order, changes, reply } => self.order(*order, changes, reply)?,
            DeviceMsg::Resume(connections) => {
                self.resume(connections);
                self.look_at_commands(Waiting::Nobody)?;
            }
            DeviceMsg::Registered(row) => self.registration = Some(*row),
            message @ (DeviceMsg::Change { .. } | DeviceMsg::Retire { .. }) => {
                return Ok(Some(message));
            }
            DeviceMsg::Tick => {}
        }
        Ok(None)
    }

    /// Carries out what has a commit of its own.
    async fn commit_apart(&mut self, message: DeviceMsg) -> Result<(), ReadError> {
        match message {
            DeviceMsg::Change { row, changes, messages, reply } => {
                let outcome = self.change(*row, changes, messages).await;
                answer(reply, outcome);
            }
            DeviceMsg::Retire { changes, messages, reply } => {
                let outcome = self.retire(changes, messages).await;
                answer(reply, outcome);
            }
            DeviceMsg::Request { delivery, .. } => self.certificate_request(delivery).await?,
            _ => {}
        }
        Ok(())
    }

    /// As [`DeviceCore::decide`].
    fn request(
        &mut self,
        root: ThingRoot,
        topic: ThingTopic,
        delivery: Delivery,
    ) -> Result<Option<DeviceMsg>, ReadError> {
        let Some(registration) = &self.registration else {
            let (thing, delivery) = (self.thing.clone(), Box::new(delivery));
            let _ = self.tenant.cast(TenantMsg::Unregistered { root, thing, topic, delivery });
            return Ok(None);
        };
        if registration.is_disabled && matches!(delivery.sender.identity, Identity::Thing(_)) {
            let refusal = Refusal::new(RefusalCode::Forbidden, "the thing is disabled");
            self.refuse(delivery, refusal);
            return Ok(None);
        }
        match topic {
            ThingTopic::Shadow(topic) => self.shadow_request(root, topic, delivery)?,
            ThingTopic::Telemetry => {
                let location = registration.location(self.client.namespace(), &self.thing);
                self.telemetry(&location, delivery)?;
            }
            ThingTopic::Event(name) => self.event(&name, delivery)?,
            ThingTopic::Model(Stage::Request) => self.model_request(delivery)?,
            ThingTopic::Certificate(Stage::Request) => {
                return Ok(Some(DeviceMsg::Request { root, topic, delivery }));
            }
            ThingTopic::Command(name, step) => self.command((name, step), delivery)?,
            // Not subscribed to: jobs and files are not the device actor's yet.
            _ => delivery.ack(),
        }
        Ok(None)
    }

    async fn change(
        &mut self,
        row: ThingRow,
        mut changes: Changes,
        mut messages: Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        if self.registration.is_none() {
            return Err(Refusal::not_found("thing", &self.thing));
        }
        if self.edge() != row.edge.as_ref() {
            messages.extend(self.forget_there(&mut changes));
        }
        if row.is_hubs {
            messages.extend(self.all_news(&row).map_err(Refusal::internal)?);
        }
        if let Err(refusal) = self.keep(changes, messages).await {
            self.state.row = self.kept.clone();
            return Err(refusal);
        }
        self.kept = self.state.row.clone();
        self.follow_gateway(row.parent.clone());
        self.registration = Some(row);
        self.model = None;
        Ok(())
    }

    async fn retire(
        &mut self,
        mut changes: Changes,
        mut messages: Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        if self.registration.is_none() {
            return Err(Refusal::not_found("thing", &self.thing));
        }
        messages.extend(self.forget_reported(&mut changes).map_err(Refusal::internal)?);
        let tally = self.retire_commands(&mut changes, &mut messages);
        delete_rows(&mut changes, self.client.namespace(), &self.thing);
        self.keep(changes, messages).await?;
        tally.count(&self.context);
        self.follow_gateway(None);
        self.registration = None;
        self.model = None;
        self.shadows = Shadows::default();
        self.state = DeviceState::default();
        self.kept = DeviceRow::default();
        // What is still in the mailbox is answered as for any thing that is not registered.
        self.ask_to_sleep();
        Ok(())
    }

    /// Has its gateway speak for it, and no other.
    fn follow_gateway(&self, parent: Option<ThingId>) {
        let relation = vec![(self.thing.clone(), parent)];
        self.context.outside.broker.set_parents(self.client.namespace(), relation);
    }

    pub(super) async fn keep(
        &mut self,
        changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        self.client.publish_durably(changes, messages).await.map_err(|error| {
            self.context.counters.commits_failed.increase();
            tracing::warn!(%error, "change not kept");
            refused::by_store(&error)
        })
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    pub(super) fn key(&self) -> ThingKey {
        (self.client.namespace().clone(), self.thing.clone())
    }

    fn tick(&self, myself: &ActorRef<DeviceMsg>) {
        let idle_ms = self.context.settings.device_idle_ms;
        let unused_ms = self.context.uptime_ms().saturating_sub(self.last_used_ms);
        if unused_ms >= idle_ms && self.is_settled() {
            self.ask_to_sleep();
        }
        // Armed also after asking: the tenant may have had a message under way.
        let left_ms = idle_ms.saturating_sub(unused_ms);
        self.arm(myself, if left_ms == 0 { idle_ms } else { left_ms });
    }

    fn ask_to_sleep(&self) {
        let (thing, incarnation, handled) = (self.thing.clone(), self.incarnation, self.handled);
        let _ = self.tenant.cast(TenantMsg::Idle { thing, incarnation, handled });
    }

    fn arm(&self, myself: &ActorRef<DeviceMsg>, after_ms: u64) {
        myself.send_after(Duration::from_millis(after_ms.max(1)), || DeviceMsg::Tick);
    }
}

/// The retained message that says whether a device is online.
pub(crate) fn status_message(thing: &ThingId, status: &Status) -> Outgoing {
    let topic = PlatformTopic::thing(thing, ThingTopic::Status).topic();
    // Made of a text, a number and a truth value: serialisation has no way to fail.
    let payload = serde_json::to_vec(status).unwrap_or_default();
    Outgoing::new(topic, payload).qos(Qos::AtLeastOnce).retained()
}

fn answer(reply: RpcReplyPort<Result<(), Refusal>>, outcome: Result<(), Refusal>) {
    // Who asked may have given up; the change is kept all the same.
    let _ = reply.send(outcome);
}
