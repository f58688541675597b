//! How a tenant brings messages to devices: finding, waking, refusing, and what follows when one
//! fails.

use super::actor::{TenantCore, TenantMsg};
use super::directory::{AfterFailure, Route};
use super::settle;
use crate::device::presence::Event;
use crate::device::row::ThingRow;
use crate::device::{
    DeviceActor, DeviceArgs, DeviceMsg, Sent, reject_invocation, reject_unregistered,
};
use crate::refused;
use broker::{Delivery, Outgoing};
use proto::platform::{CommandTopic, EventTopic, ThingRoot, ThingTopic};
use proto::{Identity, PlatformTopic, Qos, Refusal, RefusalCode, ThingId, TimestampMs};
use ractor::ActorRef;
use serde::Deserialize;
use std::time::Duration;

/// How many topics of its own a device actor remembers the subscribers of: answers, and values of its telemetry.
const DEVICE_TOPICS_MAX: usize = 64;

/// What the tenant reads of the broker's events about connections.
#[derive(Deserialize)]
struct ClientEvent {
    identity: Identity,
    connection: u64,
    #[serde(default)]
    is_visit: bool,
    #[serde(default)]
    reason: Option<String>,
}

impl TenantCore {
    /// Finds out whom a delivery is for.
    pub(super) async fn delivered(&mut self, myself: &ActorRef<TenantMsg>, mut delivery: Delivery) {
        match PlatformTopic::parse(&delivery.topic) {
            Some(PlatformTopic::Thing { root, thing, topic }) => {
                self.send(myself, thing, DeviceMsg::Request { root, topic, delivery }).await;
            }
            Some(PlatformTopic::Event(_)) => match read_client_event(&delivery) {
                Some((thing, Some(event))) => {
                    let token = delivery.token();
                    self.send(myself, thing, DeviceMsg::Presence { event, token }).await;
                }
                Some((thing, None)) => {
                    let token = delivery.token();
                    self.send(myself, thing, DeviceMsg::Listening(token)).await;
                }
                None => delivery.ack(),
            },
            _ => delivery.ack(),
        }
    }

    /// Brings a message to a device, whatever state that is in.
    pub(super) async fn send(
        &mut self,
        myself: &ActorRef<TenantMsg>,
        thing: ThingId,
        message: DeviceMsg,
    ) {
        match self.directory.route(&thing, message, self.context.uptime_ms()) {
            // If it fails before it gets the message, that goes back to its publisher
            // unacknowledged.
            Route::Deliver(device, message) => drop(device.cast(message)),
            Route::Wake(message) => self.wake(myself, thing, vec![message]).await,
            Route::Kept => {}
            Route::Overflow(message) => {
                self.context.counters.mail_overflows.increase();
                drop(message);
            }
            Route::Refuse(message) => self.refuse_in_quarantine(&thing, message),
        }
    }

    async fn wake(&mut self, myself: &ActorRef<TenantMsg>, thing: ThingId, mail: Vec<DeviceMsg>) {
        let key = (self.client.namespace().clone(), thing.clone());
        let store = &self.context.outside.store;
        match store.read().and_then(|snapshot| snapshot.contains::<ThingRow>(&key)) {
            Ok(true) => self.start_device(myself, thing, mail).await,
            Ok(false) => {
                for message in mail {
                    self.refuse_for_unregistered(&thing, message);
                }
            }
            // The mail goes back to its publishers unacknowledged.
            Err(error) => tracing::error!(%error, device = %thing, "cannot look up a thing"),
        }
    }

    async fn start_device(
        &mut self,
        myself: &ActorRef<TenantMsg>,
        thing: ThingId,
        mail: Vec<DeviceMsg>,
    ) {
        let incarnation = self.directory.incarnation();
        let sent = Sent::default();
        let args = DeviceArgs {
            context: self.context.clone(),
            client: self.client.apart(DEVICE_TOPICS_MAX),
            tenant: myself.clone(),
            thing: thing.clone(),
            incarnation,
            sent: Sent::clone(&sent),
        };
        match self.context.spawn_apart(DeviceActor, args, myself.get_cell()).await {
            Ok(device) => {
                self.context.counters.devices_awake.increase();
                self.context.counters.devices_woken.increase();
                self.device_of.insert(device.get_id(), (thing.clone(), incarnation));
                self.directory.awake(thing.clone(), device, incarnation, sent);
                let resume = self.unsure.remove(&thing).then(|| {
                    let mut live = settle::connections(&self.context, &self.client);
                    DeviceMsg::Resume(live.remove(&thing).unwrap_or_default())
                });
                for message in resume.into_iter().chain(mail) {
                    // Through the directory, which counts what it sends.
                    let now_ms = self.context.uptime_ms();
                    if let Route::Deliver(device, message) =
                        self.directory.route(&thing, message, now_ms)
                    {
                        let _ = device.cast(message);
                    }
                }
            }
            Err(error) => {
                self.device_failed(myself, &thing, incarnation, mail, &error.to_string());
            }
        }
    }

    /// Tells a device, if it is awake, that its registration is another one now; one that sleeps reads it when it
    /// wakes.
    pub(super) fn registered(&mut self, thing: &ThingId, row: ThingRow) {
        if self.directory.is_awake(thing) {
            let message = DeviceMsg::Registered(Box::new(row));
            let now_ms = self.context.uptime_ms();
            if let Route::Deliver(device, message) = self.directory.route(thing, message, now_ms) {
                let _ = device.cast(message);
            }
        }
    }

    /// A device asks to sleep: it may, unless a message is on its way to it.
    pub(super) fn idle(&mut self, thing: &ThingId, incarnation: u64, handled: u64) {
        if let Some(device) = self.directory.sleep(thing, incarnation, handled) {
            self.device_of.remove(&device.get_id());
            self.context.counters.devices_awake.decrease();
            self.context.counters.devices_slept.increase();
            device.stop(None);
        }
    }

    /// A device has failed or could not be started.
    pub(super) fn device_failed(
        &mut self,
        myself: &ActorRef<TenantMsg>,
        thing: &ThingId,
        incarnation: u64,
        mail: Vec<DeviceMsg>,
        reason: &str,
    ) {
        let now_ms = self.context.uptime_ms();
        let Some(after) = self.directory.failed(thing, incarnation, mail, now_ms) else { return };
        self.unsure.insert(thing.clone());
        match after {
            AfterFailure::Rest { after_ms, incarnation } => {
                tracing::warn!(device = %thing, reason, after_ms, "device failed, restarting");
                self.context.counters.restarts.increase();
                let thing = thing.clone();
                myself.send_after(Duration::from_millis(after_ms), move || {
                    TenantMsg::DeviceRested(thing, incarnation)
                });
            }
            AfterFailure::Quarantine(mail) => {
                let quarantine_ms = self.context.settings.quarantine_ms;
                tracing::error!(device = %thing, reason, quarantine_ms, "device in quarantine");
                self.context.counters.quarantined.increase();
                self.tell_of_quarantine(thing, reason);
                for message in mail {
                    self.refuse_in_quarantine(thing, message);
                }
            }
        }
    }

    /// The pause is over: a device with mail is woken, any other sleeps until there is some.
    pub(super) async fn device_rested(
        &mut self,
        myself: &ActorRef<TenantMsg>,
        thing: ThingId,
        incarnation: u64,
    ) {
        let Some(mut mail) = self.directory.rested(&thing, incarnation) else { return };
        if mail.is_empty() && self.has_work(&thing) {
            // It may have been about to hand commands over, to end them, or to take in what its edge node has said.
            mail.push(DeviceMsg::CommandsDue);
        }
        if !mail.is_empty() {
            self.wake(myself, thing, mail).await;
        }
    }

    fn refuse_in_quarantine(&mut self, thing: &ThingId, message: DeviceMsg) {
        self.context.counters.refused_in_quarantine.increase();
        if matches!(message, DeviceMsg::CommandsDue | DeviceMsg::EdgeSaid) {
            // Its commands end when it is out of it, and what was said of it is taken in.
            let quarantine_ms = self.context.settings.quarantine_ms;
            self.alarms.set(thing.clone(), TimestampMs(self.context.now().0 + quarantine_ms));
        }
        let refusal =
            Refusal::new(RefusalCode::Unavailable, "the device is in quarantine after failures");
        self.refuse(thing, message, &refusal);
    }

    fn refuse_for_unregistered(&self, thing: &ThingId, message: DeviceMsg) {
        self.context.counters.unregistered.increase();
        self.refuse(thing, message, &Refusal::not_found("thing", thing));
    }

    /// Refuses a message that came for a thing which was deleted meanwhile.
    pub(super) fn refuse_unregistered(
        &self,
        root: ThingRoot,
        thing: &ThingId,
        topic: ThingTopic,
        delivery: Delivery,
    ) {
        self.refuse_for_unregistered(thing, DeviceMsg::Request { root, topic, delivery });
    }

    fn refuse(&self, thing: &ThingId, message: DeviceMsg, refusal: &Refusal) {
        match message {
            DeviceMsg::Request { root, topic: ThingTopic::Shadow(topic), delivery } => {
                let asked = (root, thing, topic);
                reject_unregistered(&self.context, &self.client, asked, &delivery, refusal);
                delivery.ack();
            }
            DeviceMsg::Request {
                topic: ThingTopic::Command(name, CommandTopic::Invoke),
                delivery,
                ..
            } => {
                let told = (thing, &name);
                reject_invocation(&self.context, &self.client, told, &delivery, refusal);
                delivery.ack();
            }
            DeviceMsg::Request { delivery, .. } => {
                let now = self.context.now();
                self.client.publish(refused::message(thing, &delivery.topic, refusal, now));
                refused::send_back(delivery, refusal);
            }
            DeviceMsg::Presence { token, .. } | DeviceMsg::Listening(token) => token.ack(),
            DeviceMsg::Order { order, reply, .. } => {
                if let Some(id) = order.broadcast() {
                    self.end_member(thing, id, refusal);
                }
                if let Some(reply) = reply {
                    let _ = reply.send(Err(refusal.clone()));
                }
            }
            DeviceMsg::Change { reply, .. } | DeviceMsg::Retire { reply, .. } => {
                let _ = reply.send(Err(refusal.clone()));
            }
            // What was said of it stays in the store, or went with what else it had.
            DeviceMsg::CommandsDue
            | DeviceMsg::EdgeSaid
            | DeviceMsg::Resume(_)
            | DeviceMsg::Registered(_)
            | DeviceMsg::Tick => {}
        }
    }

    fn tell_of_quarantine(&self, thing: &ThingId, reason: &str) {
        let topic = PlatformTopic::Event(EventTopic::Thing(thing.clone())).topic();
        let event = serde_json::json!({
            "t": self.context.now(), "event": "quarantined", "reason": reason,
        });
        self.client.publish(Outgoing::new(topic, event.to_string()).qos(Qos::AtLeastOnce));
    }
}

/// The thing a connection is of, and what became of it, if it did not just begin to listen; `None` for any other
/// client, and for a device that hands something in by other means than MQTT: it is not there to be spoken to.
fn read_client_event(delivery: &Delivery) -> Option<(ThingId, Option<Event>)> {
    let event: ClientEvent = serde_json::from_slice(&delivery.payload).ok()?;
    if event.is_visit {
        return None;
    }
    let Identity::Thing(thing) = event.identity else { return None };
    let connection = event.connection;
    let topic = PlatformTopic::parse(&delivery.topic)?;
    let event = match topic {
        PlatformTopic::Event(EventTopic::ClientConnected) => Some(Event::Connected { connection }),
        PlatformTopic::Event(EventTopic::ClientListening) => None,
        PlatformTopic::Event(EventTopic::ClientDisconnected) => {
            let reason = event.reason.unwrap_or_else(|| "connection_lost".to_owned());
            Some(Event::Disconnected { connection, reason })
        }
        _ => return None,
    };
    Some((thing, event))
}
