//! Presence at the start of a tenant: who was online when the last run ended, and is not now.
//!
//! Done from the rows, many in one commit, before any device can be awake: a node with many devices
//! must not wake them all to say that they are gone.

use crate::context::Context;
use crate::device::presence::Presence;
use crate::device::row::{DeviceRow, ThingRow};
use crate::device::status_message;
use broker::{Client, Outgoing};
use proto::{Identity, ThingId};
use std::collections::{BTreeSet, HashMap};
use store::{Changes, CommitError, ReadError};

/// Devices in one commit.
const DEVICES_PER_COMMIT: usize = 500;

/// The connections that live, by thing.
pub(super) type Connections = HashMap<ThingId, BTreeSet<u64>>;

/// Why presence could not be settled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettleError {
    /// The rows cannot be read.
    #[error("cannot read the presence of devices: {0}")]
    Read(#[from] ReadError),
    /// The new presence cannot be kept.
    #[error("cannot keep the presence of devices: {0}")]
    Commit(#[from] CommitError),
}

/// The connections of devices that live now.
pub(super) fn connections(context: &Context, client: &Client) -> Connections {
    let mut found = Connections::new();
    for connection in context.outside.broker.connections(client.namespace()) {
        if let Identity::Thing(thing) = connection.identity
            && !connection.is_visit
        {
            found.entry(thing).or_default().insert(connection.connection);
        }
    }
    found
}

/// Says of every device what is true now.
pub(super) async fn settle(context: &Context, client: &Client) -> Result<(), SettleError> {
    let mut live = connections(context, client);
    let mut rows = Vec::new();
    let snapshot = context.outside.store.read()?;
    for found in snapshot.scan::<DeviceRow>(&store::prefix(client.namespace()))? {
        match found {
            Ok(((_, thing), row)) => {
                let connections = live.remove(&thing).unwrap_or_default();
                rows.push((thing, row, connections));
            }
            // Its device fails when it is woken, and shows in quarantine.
            Err(error) => tracing::error!(%error, "the presence of a device cannot be read"),
        }
    }
    for (thing, connections) in live {
        if snapshot.contains::<ThingRow>(&(client.namespace().clone(), thing.clone()))? {
            rows.push((thing, DeviceRow::default(), connections));
        }
    }
    drop(snapshot);

    let mut pending: Vec<(ThingId, DeviceRow, Option<Outgoing>)> = Vec::new();
    for (thing, row, connections) in rows {
        let mut presence: Presence = row.presence.clone();
        let status = presence.resume(context.run, connections, context.now());
        let message = status.map(|status| status_message(&thing, &status));
        let is_worth_a_row = message.is_some() || !presence.connections.is_empty();
        if is_worth_a_row {
            pending.push((thing, DeviceRow { presence, ..row }, message));
        }
    }
    for some in pending.chunks(DEVICES_PER_COMMIT) {
        let mut changes = Changes::new();
        let mut messages = Vec::new();
        for (thing, row, message) in some {
            changes.put::<DeviceRow>(&(client.namespace().clone(), thing.clone()), row);
            messages.extend(message.clone());
        }
        context.counters.presence_changes.add(messages.len() as u64);
        client.publish_durably(changes, messages).await?;
    }
    Ok(())
}
