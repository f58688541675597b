//! A monitored item for each point (OPC 10000-4, 5.13), in as many subscriptions (5.14) as the server needs for them:
//! each takes so many items and no more.
//!
//! A point that tells events has an item for them, which asks for those fields that the server knows: one that does not
//! know a field may send none for it, and the others would be taken for each other.
//!
//! Items that the server refuses are asked for again from time to time: a program that was loaded into a controller
//! after it started brings its nodes late.

use super::config::OpcUaConfig;
use super::events::{Field, filter};
use super::listener::{Listener, handle_of};
use super::points::value_of;
use super::profile::Quirks;
use super::requests::Requests;
use super::status::{is_too_much, refusal};
use crate::config::TagKind;
use crate::port::{Lost, PointId, PointRead, SubscribeError};
use opcua::client::services::CreateMonitoredItems;
use opcua::client::{Session, UARequest};
use opcua::types::{
    AttributeId, CallMethodRequest, DataChangeFilter, DataChangeTrigger, DeadbandType,
    EventFilterResult, ExtensionObject, MethodId, MonitoredItemCreateRequest, MonitoringMode,
    MonitoringParameters, NodeId, ObjectTypeId, ReadValueId, StatusCode, TimestampsToReturn,
    Variant,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// How often the server says that it is there if nothing changes.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// The longest that a server may make of it: whatever it says, a silence comes to an end.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(3600);
/// Publishing intervals without a request of ours after which the server ends the subscription: three keep-alives are
/// the least (OPC 10000-4, 5.13.2).
const LIFETIME_KEEP_ALIVES: u32 = 10;
/// How long before items that were refused are asked for again.
const RETRY: Duration = Duration::from_secs(10);

/// Events of one item that the server keeps between two publishes, the oldest going first.
const EVENTS_QUEUE: u32 = 1000;

/// The most subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 128;

/// The subscriptions of a connection.
#[derive(Clone)]
pub(crate) struct Items {
    listener: Listener,
    subscriptions: Vec<u32>,
    /// How many items the last of them has.
    held: usize,
    queue_size: u32,
    server_deadband: bool,
    /// The least severity of events that are told.
    severity_min: u16,
    /// How often the server says that it is there, as it was agreed on.
    keep_alive: Duration,
}

/// Whether a server says so of a filter that it does not take, for this node or at all (OPC 10000-4, 7.22.2).
fn is_of_filter(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BadFilterNotAllowed
            | StatusCode::BadMonitoredItemFilterInvalid
            | StatusCode::BadMonitoredItemFilterUnsupported
            | StatusCode::BadDeadbandFilterInvalid
    )
}

fn quirks(requests: &Requests<'_>) -> Quirks {
    requests.wire.limits.profile.quirks()
}

/// What became of some items.
#[derive(Default)]
struct Added {
    taken: usize,
    refused: Vec<PointRead>,
    /// Those for which the subscription has no room.
    full: Vec<PointId>,
}

impl Items {
    /// One subscription, without points.
    pub(crate) async fn create(
        requests: &mut Requests<'_>,
        listener: Listener,
    ) -> Result<Self, SubscribeError> {
        let OpcUaConfig { queue_size, server_deadband, event_severity_min, .. } = *requests.config;
        let mut items = Self {
            listener,
            subscriptions: Vec::new(),
            held: 0,
            queue_size,
            server_deadband: server_deadband && quirks(requests).filters,
            severity_min: event_severity_min,
            keep_alive: KEEP_ALIVE,
        };
        match items.open(requests).await? {
            Ok(()) => Ok(items),
            Err(StatusCode::BadServiceUnsupported | StatusCode::BadNotImplemented) => {
                Err(SubscribeError::Unsupported)
            }
            Err(status) => Err(SubscribeError::Device(refusal(status))),
        }
    }

    /// Opens a subscription, which takes the next items.
    async fn open(&mut self, requests: &mut Requests<'_>) -> Result<Result<(), StatusCode>, Lost> {
        let interval = Duration::from_millis(requests.config.publishing_interval_ms.into());
        let keep_alives = KEEP_ALIVE.as_millis().div_ceil(interval.as_millis()).max(1) as u32;
        let session = Arc::clone(&requests.wire.session);
        let lifetime = keep_alives.saturating_mul(LIFETIME_KEEP_ALIVES);
        let listener = self.listener.clone();
        let create =
            session.create_subscription(interval, lifetime, keep_alives, 0, 0, true, listener);
        let id = match requests.call("subscribing", create).await? {
            Ok(id) => id,
            Err(status) => return Ok(Err(status)),
        };
        let agreed = {
            let state = session.subscription_state().lock();
            state
                .get(id)
                .map(|it| it.publishing_interval().saturating_mul(it.max_keep_alive_count()))
        };
        let agreed = agreed.unwrap_or_default().max(interval).min(KEEP_ALIVE_MAX);
        self.keep_alive = self.keep_alive.max(agreed);
        self.subscriptions.push(id);
        self.held = 0;
        Ok(Ok(()))
    }

    /// How long nothing at all may come before the connection counts as lost.
    pub(crate) fn silence_max(&self, config: &OpcUaConfig) -> Duration {
        self.keep_alive * 2 + Duration::from_millis(config.timeout_ms.into())
    }

    /// Adds points; returns those that the server refuses.
    pub(crate) async fn add(
        &mut self,
        requests: &mut Requests<'_>,
        asked: &[PointId],
    ) -> Result<Vec<PointRead>, Lost> {
        let (points, nodes) = (Arc::clone(&self.listener.points), Arc::clone(&self.listener.nodes));
        let mut refused = Vec::new();
        let mut left = Vec::new();
        for id in asked {
            match nodes.get(id.index()).map(|node| &node.id) {
                Some(Ok(_)) => left.push(*id),
                Some(Err(status)) => refused.push(points[id.index()].unknown(*id, *status)),
                None => return Err(Lost::NotConnected),
            }
        }
        loop {
            let has_room = self.held < quirks(requests).items_per_subscription;
            let added = self.fill(requests, &left).await?;
            self.held += added.taken;
            refused.extend(added.refused);
            left = added.full;
            // One that takes nothing at all would not take more the next time.
            let is_in_vain =
                (added.taken == 0 && has_room) || self.subscriptions.len() >= SUBSCRIPTIONS_MAX;
            if left.is_empty() || is_in_vain || self.open(requests).await?.is_err() {
                break;
            }
        }
        let full = StatusCode::BadTooManyMonitoredItems;
        refused.extend(left.iter().map(|id| points[id.index()].unknown(*id, full)));
        Ok(refused)
    }

    /// Adds points to the last subscription.
    async fn fill(&self, requests: &mut Requests<'_>, items: &[PointId]) -> Result<Added, Lost> {
        let points = &self.listener.points;
        let session = Arc::clone(&requests.wire.session);
        let mut limit = requests.wire.limits.monitor;
        let room = quirks(requests).items_per_subscription.saturating_sub(self.held);
        let (mut rest, beyond) = items.split_at(items.len().min(room));
        let mut added = Added { full: beyond.to_vec(), ..Added::default() };
        while !rest.is_empty() {
            let part = &rest[..rest.len().min(limit.max(1))];
            let answer = requests.call("subscribing", self.ask(&session, part)).await?;
            match answer {
                Ok(found) => {
                    for (id, status) in part.iter().zip(found) {
                        match status {
                            StatusCode::BadTooManyMonitoredItems => added.full.push(*id),
                            bad if bad.is_bad() => {
                                added.refused.push(points[id.index()].unknown(*id, bad));
                            }
                            _ => {
                                added.taken += 1;
                                self.listens(*id);
                            }
                        }
                    }
                }
                Err(status) if is_too_much(status) && part.len() > 1 => {
                    requests.counters.requests_split += 1;
                    limit = part.len() / 2;
                    continue;
                }
                Err(StatusCode::BadTooManyMonitoredItems) => added.full.extend_from_slice(part),
                Err(status) => {
                    let unknown = |id: &PointId| points[id.index()].unknown(*id, status);
                    added.refused.extend(part.iter().map(unknown));
                }
            }
            rest = &rest[part.len()..];
        }
        Ok(added)
    }

    /// Asks for monitored items; the status of each. Those whose changes the server lets nobody filter are asked for
    /// once more without.
    async fn ask(
        &self,
        session: &Session,
        asked: &[PointId],
    ) -> Result<Vec<StatusCode>, opcua::types::Error> {
        let mut statuses = self.ask_once(session, asked).await?;
        let nodes = &self.listener.nodes;
        let mut places = Vec::new();
        for (place, (id, status)) in asked.iter().zip(&statuses).enumerate() {
            if is_of_filter(*status)
                && self.is_filtered(*id)
                && !nodes[id.index()].is_unfiltered.swap(true, Ordering::Relaxed)
            {
                places.push(place);
            }
        }
        if places.is_empty() {
            return Ok(statuses);
        }
        let again: Vec<PointId> = places.iter().map(|place| asked[*place]).collect();
        for (place, status) in places.into_iter().zip(self.ask_once(session, &again).await?) {
            statuses[place] = status;
        }
        Ok(statuses)
    }

    /// Whether the server is asked to leave out small changes of a point, or events of little severity.
    fn is_filtered(&self, id: PointId) -> bool {
        let Listener { points, nodes, .. } = &self.listener;
        let point = &points[id.index()];
        let is_wanted = match point.kind {
            TagKind::Events => self.severity_min > 1,
            _ => self.server_deadband && point.server_deadband > 0.0,
        };
        is_wanted && !nodes[id.index()].is_unfiltered.load(Ordering::Relaxed)
    }

    async fn ask_once(
        &self,
        session: &Session,
        asked: &[PointId],
    ) -> Result<Vec<StatusCode>, opcua::types::Error> {
        let fields = self.listener.fields.get().map(Vec::as_slice).unwrap_or_default();
        let items: Vec<_> = asked.iter().filter_map(|id| self.item(*id, fields)).collect();
        let id = self.subscriptions.last().copied().unwrap_or_default();
        // Past the session, which would keep what was asked of each item: a third of its memory, and read by nobody.
        let create = CreateMonitoredItems::new(id, session)
            .items_to_create(items)
            .timestamps_to_return(TimestampsToReturn::Both);
        let created = create.send(session.channel()).await?;
        Ok(created.results.iter().map(|it| it.result.status_code).collect())
    }

    /// What is asked of one point, of events those fields; `None` if its node is not known.
    fn item(&self, id: PointId, fields: &[Field]) -> Option<MonitoredItemCreateRequest> {
        let Listener { points, nodes, .. } = &self.listener;
        let point = &points[id.index()];
        let node = nodes[id.index()].id.as_ref().ok()?;
        let parameters = MonitoringParameters {
            client_handle: handle_of(id),
            discard_oldest: true,
            ..MonitoringParameters::default()
        };
        let (item_to_monitor, requested_parameters) = match point.kind {
            TagKind::Events => {
                let notifier = ReadValueId {
                    node_id: node.clone(),
                    attribute_id: AttributeId::EventNotifier as u32,
                    ..ReadValueId::default()
                };
                let severity_min = if self.is_filtered(id) { self.severity_min } else { 1 };
                let filter = ExtensionObject::from_message(filter(fields, severity_min));
                (notifier, MonitoringParameters { filter, queue_size: EVENTS_QUEUE, ..parameters })
            }
            // Virtual tags are no points of the server.
            TagKind::Value | TagKind::Method | TagKind::Virtual => {
                let (sampling_interval, queue_size) = (point.sampling_ms.into(), self.queue_size);
                let filter = match self.is_filtered(id) {
                    true => ExtensionObject::from_message(DataChangeFilter {
                        trigger: DataChangeTrigger::StatusValue,
                        deadband_type: DeadbandType::Absolute as u32,
                        deadband_value: point.server_deadband,
                    }),
                    false => ExtensionObject::null(),
                };
                let parameters =
                    MonitoringParameters { sampling_interval, queue_size, filter, ..parameters };
                (value_of(node, point), parameters)
            }
        };
        let monitoring_mode = MonitoringMode::Reporting;
        Some(MonitoredItemCreateRequest { item_to_monitor, monitoring_mode, requested_parameters })
    }

    /// Says that the events of a point are told from now on, since nothing else does before the first one.
    fn listens(&self, id: PointId) {
        let points = &self.listener.points;
        if let Some(point) = points.get(id.index()).filter(|it| it.kind == TagKind::Events) {
            self.listener.queue.push([point.listened(id)], points.len());
        }
    }

    /// Adds points that tell events, with conditions if the server knows them, and asks for the states that these
    /// have; returns those that the server refuses.
    pub(crate) async fn add_events(
        &mut self,
        requests: &mut Requests<'_>,
        asked: &[PointId],
    ) -> Result<Vec<PointRead>, Lost> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let fields = self.agree(requests, asked).await?;
        let has_conditions = fields.iter().any(Field::is_of_condition);
        // It is the first who says so on this connection.
        let _ = self.listener.fields.set(fields);
        let refused = self.add(requests, asked).await?;
        if has_conditions {
            self.refresh(requests).await?;
        }
        Ok(refused)
    }

    /// The fields of events that the server knows, by an item for all of them that is taken away again.
    async fn agree(
        &self,
        requests: &mut Requests<'_>,
        asked: &[PointId],
    ) -> Result<Vec<Field>, Lost> {
        let session = Arc::clone(&requests.wire.session);
        let subscription = self.subscriptions.last().copied().unwrap_or_default();
        let every = Field::every(&requests.config.event_fields, &requests.wire.namespaces);
        for item in asked.iter().filter_map(|id| self.item(*id, &every)) {
            let create =
                session.create_monitored_items(subscription, TimestampsToReturn::Both, vec![item]);
            let Ok(created) = requests.call("subscribing", create).await? else { continue };
            let Some(created) = created.first().map(|it| &it.result) else { continue };
            if created.status_code.is_bad() {
                continue;
            }
            let items = [created.monitored_item_id];
            let delete = session.delete_monitored_items(subscription, &items);
            let _ = requests.call("subscribing", delete).await?;
            let words = created.filter_result.inner_as::<EventFilterResult>();
            let words = words.and_then(|it| it.select_clause_results.as_deref());
            let words = words.unwrap_or_default();
            let is_known = |place: usize| !words.get(place).is_some_and(StatusCode::is_bad);
            let known = every.into_iter().enumerate().filter(|(place, _)| is_known(*place));
            return Ok(known.map(|(_, field)| field).collect());
        }
        Ok(every.into_iter().filter(Field::is_of_every_event).collect())
    }

    /// Has the server tell the states of its conditions (OPC 10000-9, 5.5.7), also of those that changed while nobody
    /// listened. One that has no conditions refuses, which matters to nobody.
    async fn refresh(&self, requests: &mut Requests<'_>) -> Result<(), Lost> {
        let session = &requests.wire.session;
        let refresh = |id: &u32| CallMethodRequest {
            object_id: ObjectTypeId::ConditionType.into(),
            method_id: NodeId::from(MethodId::ConditionType_ConditionRefresh),
            input_arguments: Some(vec![Variant::from(*id)]),
        };
        let calls = self.subscriptions.iter().map(refresh).collect();
        let _ = requests.call("refreshing conditions", session.call(calls)).await?;
        Ok(())
    }

    /// Asks from time to time for what was refused, until the server has taken it all; `None` if nothing was.
    pub(crate) fn retry(
        &self,
        session: Arc<Session>,
        limit: usize,
        refused: &[PointRead],
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let items = self.clone();
        // What could not be looked up is looked up with the next connection.
        let is_known = |id: &PointId| items.listener.nodes[id.index()].id.is_ok();
        let mut left: Vec<PointId> = refused.iter().map(|(id, _)| *id).filter(is_known).collect();
        if left.is_empty() {
            return None;
        }
        Some(async move {
            while !left.is_empty() {
                sleep(RETRY).await;
                let mut refused = Vec::new();
                for part in left.chunks(limit.max(1)) {
                    // Whether the connection is gone is for others to tell.
                    match items.ask(&session, part).await {
                        Ok(found) => {
                            for (id, status) in part.iter().zip(found) {
                                match status.is_bad() {
                                    true => refused.push(*id),
                                    false => items.listens(*id),
                                }
                            }
                        }
                        Err(_) => refused.extend_from_slice(part),
                    }
                }
                left = refused;
            }
        })
    }
}
