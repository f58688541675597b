//! The actor around [`DeviceState`] and the shadows: keeps each change before it is in force,
//! answers after.

use super::presence::{Event, Status};
use super::row::{DeviceRow, ThingKey, ThingRow};
use super::shadows::{Shadows, delete_rows};
use super::state::{DeviceState, PresenceChange};
use super::{event, telemetry};
use crate::context::Shared;
use crate::refused;
use crate::tenant::TenantMsg;
use broker::{AckToken, Client, Delivery, Outgoing};
use proto::platform::{ThingRoot, ThingTopic};
use proto::{PlatformTopic, Qos, Refusal, ThingId, TimestampMs, TopicFilter, UnsPath, Value};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::BTreeSet;
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
}

/// See [`super`].
pub(crate) struct DeviceActor;

/// Everything a device actor has.
pub(crate) struct DeviceCore {
    pub(super) context: Shared,
    pub(super) client: Client,
    pub(super) thing: ThingId,
    pub(super) shadows: Shadows,
    tenant: ActorRef<TenantMsg>,
    incarnation: u64,
    span: Span,
    /// `None` once the thing is deleted.
    registration: Option<ThingRow>,
    state: DeviceState,
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
        let core = DeviceCore::load(args)?;
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
        let DeviceArgs { context, client, tenant, thing, incarnation } = args;
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
            tenant,
            incarnation,
            span,
            registration,
            state: DeviceState::new(row),
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
        match message {
            DeviceMsg::Request { root, topic, delivery } => {
                self.request(root, topic, delivery).await?;
            }
            DeviceMsg::Presence { event, token } => self.presence(event, token).await,
            DeviceMsg::Resume(connections) => self.resume(connections).await,
            DeviceMsg::Change { row, changes, messages, reply } => {
                let outcome = self.change(*row, changes, messages).await;
                answer(reply, outcome);
            }
            DeviceMsg::Retire { changes, messages, reply } => {
                let outcome = self.retire(changes, messages).await;
                answer(reply, outcome);
            }
            DeviceMsg::Tick => unreachable!("handled above"),
        }
        Ok(())
    }

    async fn request(
        &mut self,
        root: ThingRoot,
        topic: ThingTopic,
        delivery: Delivery,
    ) -> Result<(), ReadError> {
        let Some(registration) = &self.registration else {
            let thing = self.thing.clone();
            let _ = self.tenant.cast(TenantMsg::Unregistered { root, thing, topic, delivery });
            return Ok(());
        };
        match topic {
            ThingTopic::Shadow(topic) => self.shadow_request(root, topic, delivery).await?,
            ThingTopic::Telemetry => {
                let location = registration.location(self.client.namespace(), &self.thing);
                self.telemetry(&location, delivery).await;
            }
            ThingTopic::Event(_) => self.event(delivery),
            // Not subscribed to: commands, jobs and files are not the device actor's yet.
            _ => delivery.ack(),
        }
        Ok(())
    }

    async fn telemetry(&mut self, location: &str, delivery: Delivery) {
        let settings = &self.context.settings;
        let limits = telemetry::Limits {
            values_max: settings.telemetry_values_max,
            depth_max: settings.telemetry_depth_max,
            ahead_ms_max: settings.telemetry_ahead_ms_max,
        };
        let decision = telemetry::parse(&delivery.payload, location, self.context.now(), &limits)
            .and_then(|readings| {
                let retained_at = |path: &UnsPath| retained_at(&self.client, path);
                self.state.decide_telemetry(readings, retained_at, settings.keys_per_thing_max)
            });
        let change = match decision {
            Ok(change) => change,
            Err(refusal) => {
                self.context.counters.telemetry_rejected.increase();
                self.refuse(&delivery, &refusal);
                delivery.ack();
                return;
            }
        };
        let message = |(path, value, is_newest): &(UnsPath, Value, bool)| {
            let topic = PlatformTopic::Uns(path.clone()).topic();
            let message = Outgoing::new(topic, value.to_json()).qos(Qos::AtLeastOnce);
            if *is_newest { message.retained() } else { message }
        };
        let messages = change.values.iter().map(message).collect();
        let mut changes = Changes::new();
        if let Some(row) = &change.row {
            changes.put::<DeviceRow>(&self.key(), row);
        }
        if let Err(error) = self.client.publish_durably(changes, messages).await {
            self.not_kept(&error);
            self.refuse(&delivery, &refused::by_store(&error));
            return;
        }
        let counters = &self.context.counters;
        counters.telemetry_accepted.increase();
        counters.telemetry_values.add(change.values.len() as u64);
        let backfilled = change.values.iter().filter(|(_, _, is_newest)| !is_newest).count();
        counters.telemetry_backfilled.add(backfilled as u64);
        self.state.apply_telemetry(change);
        delivery.ack();
    }

    fn event(&self, delivery: Delivery) {
        match event::check(&delivery.payload) {
            Ok(()) => self.context.counters.events_accepted.increase(),
            Err(refusal) => {
                self.context.counters.events_rejected.increase();
                self.refuse(&delivery, &refusal);
            }
        }
        delivery.ack();
    }

    async fn presence(&mut self, event: Event, token: AckToken) {
        let decided = self.state.decide_presence(self.context.run, event, self.context.now());
        if self.keep_presence(decided).await {
            token.ack();
        }
    }

    async fn resume(&mut self, connections: BTreeSet<u64>) {
        let run = self.context.run;
        let decided = self.state.decide_resume(run, connections, self.context.now());
        self.keep_presence(decided).await;
    }

    async fn keep_presence(&mut self, change: Option<PresenceChange>) -> bool {
        let Some(change) = change else { return true };
        if self.registration.is_none() {
            return true;
        }
        let mut changes = Changes::new();
        changes.put::<DeviceRow>(&self.key(), &change.row);
        let messages = change.status.iter().map(|it| status_message(&self.thing, it)).collect();
        if let Err(error) = self.client.publish_durably(changes, messages).await {
            self.not_kept(&error);
            return false;
        }
        if change.status.is_some() {
            self.context.counters.presence_changes.increase();
        }
        self.state.apply_presence(change);
        true
    }

    async fn change(
        &mut self,
        row: ThingRow,
        changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        if self.registration.is_none() {
            return Err(Refusal::not_found("thing", &self.thing));
        }
        self.keep(changes, messages).await?;
        self.registration = Some(row);
        Ok(())
    }

    async fn retire(
        &mut self,
        mut changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        if self.registration.is_none() {
            return Err(Refusal::not_found("thing", &self.thing));
        }
        delete_rows(&mut changes, self.client.namespace(), &self.thing);
        self.keep(changes, messages).await?;
        self.registration = None;
        self.shadows = Shadows::default();
        self.state = DeviceState::default();
        // What is still in the mailbox is answered as for any thing that is not registered.
        self.ask_to_sleep();
        Ok(())
    }

    async fn keep(&self, changes: Changes, messages: Vec<Outgoing>) -> Result<(), Refusal> {
        self.client.publish_durably(changes, messages).await.map_err(|error| {
            self.not_kept(&error);
            refused::by_store(&error)
        })
    }

    fn not_kept(&self, error: &store::CommitError) {
        self.context.counters.commits_failed.increase();
        tracing::warn!(%error, "change not kept");
    }

    fn refuse(&self, delivery: &Delivery, refusal: &Refusal) {
        let now = self.context.now();
        refused::publish(&self.client, &self.thing, &delivery.topic, refusal, now);
    }

    fn key(&self) -> ThingKey {
        (self.client.namespace().clone(), self.thing.clone())
    }

    fn tick(&self, myself: &ActorRef<DeviceMsg>) {
        let idle_ms = self.context.settings.device_idle_ms;
        let unused_ms = self.context.uptime_ms().saturating_sub(self.last_used_ms);
        if unused_ms >= idle_ms {
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

/// The time of the value that the bus has at a path.
fn retained_at(client: &Client, path: &UnsPath) -> Option<TimestampMs> {
    let topic = PlatformTopic::Uns(path.clone()).topic();
    let filter = TopicFilter::parse(topic.as_str().to_owned()).ok()?;
    let (_, payload) = client.retained(&filter).into_iter().next()?;
    Some(Value::parse(&payload, TimestampMs(0)).ok()?.t)
}

fn answer(reply: RpcReplyPort<Result<(), Refusal>>, outcome: Result<(), Refusal>) {
    // Who asked may have given up; the change is kept all the same.
    let _ = reply.send(outcome);
}
