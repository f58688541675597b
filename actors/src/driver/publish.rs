//! What a driver brings to the bus: values as they stand, events, and what the machine had kept while it was away.

use super::actor::DriverCore;
use super::command::Now;
use crate::uplink::properties::HISTORICAL;
use broker::Outgoing;
use drivers::{Event, PointId};
use proto::{PlatformTopic, Qos, Quality, TimestampMs, Value};
use serde_json::json;
use store::Changes;

/// The most values of one commit: so many that it costs little for each, so few that others come between.
const VALUES_AT_ONCE: usize = 500;

impl DriverCore {
    /// In parts, so that one value of another driver does not wait for ten thousand of this one. Whether all that is to
    /// be published is kept.
    pub(super) async fn publish_values(&mut self, now: Now) -> bool {
        let Some(running) = &mut self.running else { return false };
        let mut values = running.state.unpublished(now);
        while !values.is_empty() {
            let rest = values.split_off(values.len().min(VALUES_AT_ONCE));
            if !self.publish_part(std::mem::replace(&mut values, rest), now).await {
                return false;
            }
        }
        true
    }

    /// Whether they were kept.
    async fn publish_part(&mut self, values: Vec<(PointId, Value)>, now: Now) -> bool {
        let messages = values.iter().filter_map(|(point, value)| self.value(*point, value));
        let messages = messages.map(Outgoing::retained).collect();
        if !self.publish(messages).await {
            return false;
        }
        let stale = values.iter().filter(|(_, value)| value.q == Quality::Stale).count();
        self.context.counters.values_published.add(values.len() as u64);
        self.context.counters.points_stale.add(stale as u64);
        if let Some(running) = &mut self.running {
            running.state.published(values, now);
        }
        true
    }

    /// Events, and values that are older than those that are retained, which they never replace: one commit of them,
    /// so that what is current comes between. Whether there are more.
    pub(super) async fn publish_backlog(&mut self, now: Now) -> bool {
        let Some(running) = &self.running else { return false };
        let (values, events) = running.state.backlog.unpublished(VALUES_AT_ONCE);
        if values.is_empty() && events.is_empty() {
            return false;
        }
        let events_as_told = events.iter().filter_map(|event| self.event(event, now.t));
        let past = values.iter().filter_map(|(point, value)| {
            let mut message = self.value(*point, value)?;
            let property = (HISTORICAL.into(), "true".into());
            message.properties.user_properties.push(property);
            Some(message)
        });
        let messages = events_as_told.chain(past).collect();
        if !self.publish(messages).await {
            return false;
        }
        self.context.counters.values_recalled.add(values.len() as u64);
        self.context.counters.driver_events.add(events.len() as u64);
        let Some(running) = &mut self.running else { return false };
        running.state.backlog.published(values.len(), events.len());
        running.state.backlog.is_waiting()
    }

    fn value(&self, point: PointId, value: &Value) -> Option<Outgoing> {
        let tag = self.running.as_ref()?.state.tags().get(point.index())?;
        let topic = PlatformTopic::Uns(tag.path.clone()).topic();
        Some(Outgoing::new(topic, value.to_json()).qos(Qos::AtLeastOnce))
    }

    fn event(&self, event: &Event, now: TimestampMs) -> Option<Outgoing> {
        let tag = self.running.as_ref()?.state.tags().get(event.point.index())?;
        let topic = PlatformTopic::Uns(tag.path.clone()).topic();
        let told =
            json!({ "t": event.at.unwrap_or(now), "level": event.level, "data": event.data });
        Some(Outgoing::new(topic, told.to_string()).qos(Qos::AtLeastOnce))
    }

    /// Whether they were kept; if not, they are offered again with the next outcome, or when the timer says so.
    async fn publish(&self, messages: Vec<Outgoing>) -> bool {
        let outcome = self.client.publish_durably(Changes::new(), messages).await;
        if let Err(error) = &outcome {
            self.context.counters.commits_failed.increase();
            tracing::warn!(%error, "values not published");
        }
        outcome.is_ok()
    }
}
