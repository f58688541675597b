//! What a device actor hears of its device: telemetry, events, connections.

use super::actor::DeviceCore;
use super::batch::{Done, put_row};
use super::presence::Event;
use super::state::PresenceChange;
use super::telemetry::Place;
use super::{event, status_message, telemetry};
use crate::refused;
use broker::{AckToken, Client, Delivery, Outgoing};
use proto::{EventName, PlatformTopic, Qos, Refusal, TimestampMs, TopicFilter, UnsPath, Value};
use std::collections::BTreeSet;
use store::{Changes, ReadError};

impl DeviceCore {
    /// Takes telemetry into the Unified Namespace, whole or not at all.
    pub(super) fn telemetry(
        &mut self,
        location: &str,
        delivery: Delivery,
    ) -> Result<(), ReadError> {
        let model = self.model()?;
        let settings = &self.context.settings;
        let limits = telemetry::Limits {
            values_max: settings.telemetry_values_max,
            depth_max: settings.telemetry_depth_max,
            ahead_ms_max: settings.telemetry_ahead_ms_max,
        };
        let decision = model.and_then(|model| {
            let place = Place { location, model: model.as_deref() };
            let readings = telemetry::parse(&delivery.payload, place, self.context.now(), &limits)?;
            let retained_at = |path: &UnsPath| retained_at(&self.client, path);
            self.state.decide_telemetry(readings, retained_at, settings.keys_per_thing_max)
        });
        let change = match decision {
            Ok(change) => change,
            Err(refusal) => {
                self.context.counters.telemetry_rejected.increase();
                self.refuse(delivery, refusal);
                return Ok(());
            }
        };
        let message = |(path, value, is_newest): &(UnsPath, Value, bool)| {
            let topic = PlatformTopic::Uns(path.clone()).topic();
            let message = Outgoing::new(topic, value.to_json()).qos(Qos::AtLeastOnce);
            if *is_newest { message.retained() } else { message }
        };
        let says = change.values.iter().map(message).collect();
        let mut changes = change.row.as_ref().map_or_else(Changes::new, |row| put_row(self, row));
        self.note_reported(self.state.unseen(&change.values), &mut changes);
        let backfilled = change.values.iter().filter(|(_, _, is_newest)| !is_newest).count();
        let counts = (change.values.len() as u64, backfilled as u64);
        self.state.apply_telemetry(change);
        self.hear(&delivery, &mut changes);
        let done = Done::Telemetry(delivery, counts.0, counts.1);
        self.add(changes, says, done);
        Ok(())
    }

    /// Checks an event, which the broker has passed on already.
    pub(super) fn event(
        &mut self,
        name: &EventName,
        mut delivery: Delivery,
    ) -> Result<(), ReadError> {
        let checked =
            self.model()?.and_then(|model| event::check(&delivery.payload, name, model.as_deref()));
        match checked {
            Ok(()) => {
                self.context.counters.events_accepted.increase();
                let mut changes = Changes::new();
                self.hear(&delivery, &mut changes);
                if changes.is_empty() {
                    delivery.ack();
                    return Ok(());
                }
                let done = Done::Presence(Some(delivery.token()), false);
                self.add(changes, Vec::new(), done);
            }
            Err(refusal) => {
                self.context.counters.events_rejected.increase();
                self.refuse(delivery, refusal);
            }
        }
        Ok(())
    }

    /// A connection of the device came or went.
    pub(super) fn presence(&mut self, event: Event, token: AckToken) {
        let decided = self.state.decide_presence(self.context.run, event, self.context.now());
        match decided {
            Some(change) if self.is_registered() => {
                self.change_presence(change, Some(token));
            }
            _ => token.ack(),
        }
    }

    /// These connections live now.
    pub(super) fn resume(&mut self, connections: BTreeSet<u64>) {
        let run = self.context.run;
        let decided = self.state.decide_resume(run, connections, self.context.now());
        if let Some(change) = decided
            && self.is_registered()
        {
            self.change_presence(change, None);
        }
    }

    fn change_presence(&mut self, change: PresenceChange, token: Option<AckToken>) {
        let changes = put_row(self, &change.row);
        let status = change.status.as_ref();
        let own = status.map(|it| status_message(&self.thing, it));
        let says = own.into_iter().chain(status.and_then(|it| self.status_news(it))).collect();
        let is_change = change.status.is_some();
        self.state.apply_presence(change);
        self.add(changes, says, Done::Presence(token, is_change));
    }

    pub(super) fn refuse(&mut self, delivery: Delivery, refusal: Refusal) {
        let now = self.context.now();
        let told = refused::message(&self.thing, &delivery.topic, &refusal, now);
        let done = Done::Refused(delivery, Some(Box::new(refusal)));
        self.add(Changes::new(), vec![told], done);
    }
}

/// The time of the value that the bus has at a path.
fn retained_at(client: &Client, path: &UnsPath) -> Option<TimestampMs> {
    let topic = PlatformTopic::Uns(path.clone()).topic();
    let filter = TopicFilter::parse(topic.as_str().to_owned()).ok()?;
    let (_, payload) = client.retained(&filter).into_iter().next()?;
    Some(Value::parse(&payload, TimestampMs(0)).ok()?.t)
}
