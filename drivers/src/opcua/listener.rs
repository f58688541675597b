//! Whom the library tells what a server sends: values, events, and that a subscription has ended.
//!
//! A value that has a structure of a type that is not known yet waits until the server was asked for it.

use super::config::OpcUaConfig;
use super::events::{Field, event_of};
use super::link::Wire;
use super::points::{Node, Point, UNKNOWN_TYPE};
use super::pushes::{Queue, lock};
use super::requests::Requests;
use super::structures::{Layouts, Types, encoding_of};
use crate::config::TagKind;
use crate::port::{Counters, PointId, PointRead, ReadError};
use opcua::client::{MonitoredItemMap, OnSubscriptionNotificationCore};
use opcua::types::{
    DataChangeNotification, DataValue, EventNotificationList, NotificationMessage,
    StatusChangeNotification,
};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::Notify;

/// What the library calls.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) points: Arc<Vec<Point>>,
    pub(crate) nodes: Arc<Vec<Node>>,
    pub(crate) namespaces: Arc<[String]>,
    /// What is known of structures.
    pub(crate) types: Arc<Types>,
    /// The least severity of events that are told.
    pub(crate) severity_min: u16,
    /// Which fields of events come, in this order; set before the first one can.
    pub(crate) fields: Arc<OnceLock<Vec<Field>>>,
    pub(crate) queue: Arc<Queue>,
    /// The last values that cannot be told before their types are known.
    pub(crate) unread: Arc<Unread>,
}

/// Values with structures of types that the server has to be asked for, the last one of each point.
#[derive(Default)]
pub(crate) struct Unread {
    values: Mutex<BTreeMap<PointId, DataValue>>,
    arrived: Notify,
}

impl Listener {
    /// A value that came; `None` if it has to wait for its type. A later one of the same point waits behind it.
    fn value(&self, id: PointId, value: &DataValue, layouts: &Layouts) -> Option<PointRead> {
        // Some servers say of an item for events that it has no value yet.
        let point = self.points.get(id.index()).filter(|it| it.kind == TagKind::Value)?;
        self.nodes.get(id.index())?.learn(point, value);
        let read = point.read(id, value, layouts);
        if value.value.as_ref().is_some_and(|it| encoding_of(it).is_some()) {
            let mut unread = lock(&self.unread.values);
            let is_unknown = matches!(&read.1, Err(ReadError::NoValue { reason, .. }) if *reason == UNKNOWN_TYPE);
            if is_unknown || unread.contains_key(&id) {
                unread.insert(id, value.clone());
                self.unread.arrived.notify_one();
                return None;
            }
        }
        Some(read)
    }

    /// Asks for the types of what cannot be told, and tells it then, as long as the connection lasts.
    pub(crate) async fn learn(self, wire: Wire, config: OpcUaConfig) {
        // These requests are few, and counted by nobody.
        let mut counters = Counters::default();
        loop {
            self.unread.arrived.notified().await;
            let values: Vec<DataValue> = lock(&self.unread.values).values().cloned().collect();
            let held = || values.iter().filter_map(|it| it.value.as_ref());
            let (wire, config, counters) = (&wire, &config, &mut counters);
            let mut requests = Requests { wire, config, counters };
            // Whether the connection is gone is for others to tell.
            let Ok(layouts) = requests.learn_types(|known| known.missing(held())).await else {
                return;
            };
            // None that comes meanwhile overtakes them: it waits for the lock.
            let mut unread = lock(&self.unread.values);
            let (left, told): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut *unread)
                .into_iter()
                .partition(|(_, value)| !layouts.missing(&value.value).is_empty());
            if !left.is_empty() {
                self.unread.arrived.notify_one();
            }
            *unread = left;
            let read = |(id, value): (PointId, DataValue)| {
                self.points[id.index()].read(id, &value, &layouts)
            };
            self.queue.push(told.into_iter().map(read), self.points.len());
        }
    }
}

/// The handle of a point in notifications; 0 would let the library choose one.
pub(crate) fn handle_of(point: PointId) -> u32 {
    point.0 + 1
}

impl OnSubscriptionNotificationCore for Listener {
    fn on_subscription_notification(
        &mut self,
        notification: NotificationMessage,
        _items: MonitoredItemMap<'_>,
    ) {
        for body in notification.notification_data.into_iter().flatten() {
            if let Some(changes) = body.inner_as::<DataChangeNotification>() {
                let items = changes.monitored_items.iter().flatten();
                let layouts = self.types.known();
                let values = items.filter_map(|it| {
                    let id = PointId(it.client_handle.checked_sub(1)?);
                    self.value(id, &it.value, &layouts)
                });
                self.queue.push(values, self.points.len());
            } else if let Some(told) = body.inner_as::<EventNotificationList>() {
                let events = told.events.iter().flatten();
                let layouts = self.types.known();
                let events = events.filter_map(|it| {
                    let id = PointId(it.client_handle.checked_sub(1)?);
                    let fields = self.fields.get()?.iter().zip(it.event_fields.as_deref()?);
                    let event = event_of(id, fields, &self.namespaces, &layouts)?;
                    // Not every server leaves out what it is asked to.
                    let severity = event.data.get("severity").and_then(Json::as_u64);
                    severity.is_none_or(|it| it >= self.severity_min.into()).then_some(event)
                });
                self.queue.push_events(events);
            } else if let Some(change) = body.inner_as::<StatusChangeNotification>() {
                self.queue.end(change.status);
            }
        }
    }
}
