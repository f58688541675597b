//! How far an edge node has what the hub wants of it, on `edges/<edge>/configuration`.

use super::rows::{End, SyncKey, SyncRow};
use crate::context::Context;
use crate::driver::row::{DriverKey, DriverRow, Version};
use crate::edges::hotline::is_online;
use broker::{Client, Outgoing};
use proto::platform::EdgeTopic;
use proto::{DriverId, EdgeId, Namespace, PlatformTopic, Qos, Refusal, TimestampMs, TopicName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{ReadError, Snapshot};
use tokio::time::Instant;

/// Where it is said.
pub(crate) fn topic(edge: &EdgeId) -> TopicName {
    PlatformTopic::Edge { edge: edge.clone(), topic: EdgeTopic::Configuration }.topic()
}

/// What is said of an edge node.
#[derive(Debug, PartialEq, Serialize)]
pub(in crate::edges) struct Survey {
    t: TimestampMs,
    in_sync: bool,
    drivers: BTreeMap<DriverId, DriverState>,
}

/// What is said of one driver.
#[derive(Debug, PartialEq, Serialize)]
struct DriverState {
    state: SyncState,
    /// The revision at the hub; absent if it is deleted there.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// The revision of the hub that the edge node has.
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_by: Option<End>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Refusal>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum SyncState {
    /// Both have the same.
    InSync,
    /// The edge node has yet to be told.
    Pending,
    /// One end does not take what the other has; each goes on with its own.
    Refused,
}

/// The drivers of an edge node as the hub has them, and what it remembers of each.
pub(super) struct Known {
    pub(super) wanted: BTreeMap<DriverId, Version>,
    pub(super) synced: BTreeMap<DriverId, SyncRow>,
}

/// The drivers that name an edge node, by edge node, with their versions.
pub(in crate::edges) type Wanted = BTreeMap<EdgeId, BTreeMap<DriverId, Version>>;

/// Looks at all drivers of a namespace, once for all its edge nodes; those of this node are left out.
pub(in crate::edges) fn wanted(
    snapshot: &Snapshot,
    namespace: &Namespace,
    own: &EdgeId,
) -> Result<Wanted, ReadError> {
    let mut wanted = Wanted::new();
    for row in snapshot.scan::<DriverRow>(&store::prefix(namespace))? {
        match row {
            Ok(((_, driver), row)) if row.edge != *own => {
                let version = row.version();
                wanted.entry(row.edge).or_default().insert(driver, version);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "a driver cannot be read, and is wanted of nobody")
            }
        }
    }
    Ok(wanted)
}

impl Known {
    /// What is kept of an edge node and of the drivers with these names, which may or may not be its own.
    pub(super) fn read(
        snapshot: &Snapshot,
        (namespace, edge): (&Namespace, &EdgeId),
        names: impl IntoIterator<Item = DriverId>,
    ) -> Result<Self, ReadError> {
        let mut known = Self { wanted: BTreeMap::new(), synced: BTreeMap::new() };
        let prefix = store::prefix(&(namespace.clone(), edge.clone()));
        for row in snapshot.scan::<SyncRow>(&prefix)? {
            let ((_, _, driver), row): (SyncKey, SyncRow) = row?;
            known.synced.insert(driver, row);
        }
        let names: BTreeSet<DriverId> = names.into_iter().collect();
        for driver in names.iter().chain(known.synced.keys()) {
            let key: DriverKey = (namespace.clone(), driver.clone());
            let row = snapshot.get::<DriverRow>(&key)?.filter(|row| row.edge == *edge);
            if let Some(row) = row {
                known.wanted.insert(driver.clone(), row.version());
            }
        }
        Ok(known)
    }

    fn survey(&self, now: TimestampMs) -> Survey {
        let names = self.wanted.keys().chain(self.synced.keys());
        let state = |driver: &DriverId| (driver.clone(), self.state(driver));
        let drivers: BTreeMap<_, _> = names.map(state).collect();
        let in_sync = drivers.values().all(|it| it.state == SyncState::InSync);
        Survey { t: now, in_sync, drivers }
    }

    fn state(&self, driver: &DriverId) -> DriverState {
        let wanted = self.wanted.get(driver).copied();
        let row = self.synced.get(driver);
        let base = row.and_then(|row| row.base);
        let refused = row.and_then(|row| row.refused.as_ref()).filter(|it| it.hub == wanted);
        DriverState {
            state: state(wanted, row),
            revision: wanted.map(|it| it.revision),
            applied: base.map(|it| it.hub.revision),
            refused_by: refused.map(|it| it.by),
            reason: refused.map(|it| it.refusal.clone()),
        }
    }
}

/// Reads how far an edge node is.
pub(in crate::edges) fn survey(
    snapshot: &Snapshot,
    of: (&Namespace, &EdgeId),
    names: impl IntoIterator<Item = DriverId>,
    now: TimestampMs,
) -> Result<Survey, ReadError> {
    Ok(Known::read(snapshot, of, names)?.survey(now))
}

/// Waits until an edge node has what is wanted of a driver, or does not take it, or the patience is over.
pub(crate) async fn settled(
    context: &Context,
    client: &Client,
    (edge, driver): (&EdgeId, &DriverId),
    patience: Duration,
) -> Result<(), Refusal> {
    let namespace = client.namespace();
    let driver_key: DriverKey = (namespace.clone(), driver.clone());
    let sync_key: SyncKey = (namespace.clone(), edge.clone(), driver.clone());
    let until = Instant::now() + patience;
    loop {
        let snapshot = context.outside.store.read().map_err(Refusal::internal)?;
        let wanted = snapshot.get::<DriverRow>(&driver_key).map_err(Refusal::internal)?;
        let row = snapshot.get::<SyncRow>(&sync_key).map_err(Refusal::internal)?;
        drop(snapshot);
        let wanted = wanted.map(|row| row.version());
        let is_pending = state(wanted, row.as_ref()) == SyncState::Pending;
        if !is_pending || !is_online(client, edge) || Instant::now() >= until {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn state(wanted: Option<Version>, row: Option<&SyncRow>) -> SyncState {
    let base = row.and_then(|row| row.base);
    let refused = row.and_then(|row| row.refused.as_ref()).filter(|it| it.hub == wanted);
    match refused {
        Some(_) => SyncState::Refused,
        None if wanted.is_some() && wanted == base.map(|base| base.hub) => SyncState::InSync,
        None => SyncState::Pending,
    }
}

impl Survey {
    /// Whether it says the same, but for when.
    pub(in crate::edges) fn says_as(&self, other: &Self) -> bool {
        self.drivers == other.drivers
    }

    /// The message that says it.
    pub(in crate::edges) fn message(&self, edge: &EdgeId) -> Outgoing {
        let payload = serde_json::to_vec(self).unwrap_or_default();
        Outgoing::new(topic(edge), payload).qos(Qos::AtLeastOnce).retained()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{Base, Refused};
    use super::*;
    use proto::RefusalCode;

    #[test]
    fn a_driver_is_in_sync_pending_or_refused() {
        let driver = DriverId::parse("plc").unwrap();
        let version = |revision| Version { created: TimestampMs(1), revision };
        let base = Some(Base { hub: version(2), edge: version(7) });
        let refusal = Refusal::new(RefusalCode::Invalid, "no");
        let refused = |hub| Refused {
            by: End::Edge,
            hub: Some(version(hub)),
            edge: None,
            refusal: refusal.clone(),
        };
        let cases = [
            (Some(2), base, None, SyncState::InSync),
            (Some(3), base, None, SyncState::Pending),
            (None, base, None, SyncState::Pending),
            (Some(1), None, None, SyncState::Pending),
            (Some(3), base, Some(refused(3)), SyncState::Refused),
            // Changed since it was refused.
            (Some(4), base, Some(refused(3)), SyncState::Pending),
        ];
        for (wanted, base, refused, expected) in cases {
            let mut known = Known { wanted: BTreeMap::new(), synced: BTreeMap::new() };
            if let Some(revision) = wanted {
                known.wanted.insert(driver.clone(), version(revision));
            }
            known.synced.insert(driver.clone(), SyncRow { base, refused });
            let survey = known.survey(TimestampMs(1));
            assert_eq!(survey.drivers[&driver].state, expected, "{wanted:?} {base:?}");
            assert_eq!(survey.in_sync, expected == SyncState::InSync);
        }
    }
}
