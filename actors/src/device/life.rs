//! What a thing is taken for: never seen, online, offline or disabled; and when it was heard of.
//!
//! A thing with connections of its own is online while one of them lives. A thing behind a gateway is online if it has
//! been heard of, through a gateway that is connected, since that gateway came; it shows within some seconds.

use super::actor::DeviceCore;
use super::batch::put_row;
use super::row::{DeviceRow, ThingRow};
use broker::Delivery;
use proto::Identity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::Changes;

/// What a thing is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ThingState {
    /// It has neither connected nor said anything yet.
    Unactivated,
    /// It is connected, or heard of through its gateway.
    Online,
    /// It is neither.
    Offline,
    /// An operator lets nobody in as it.
    Disabled,
}

impl DeviceRow {
    /// Whether the device has ever connected or said anything.
    pub(crate) fn is_activated(&self) -> bool {
        let has_connected = self.presence.status.is_some() || self.there.is_some();
        has_connected || self.heard.is_some() || self.keys > 0
    }

    /// Whether it has been heard of since `gateway` came, which is connected.
    fn is_heard_through(&self, gateway: &DeviceRow) -> bool {
        let since = gateway.presence.status.as_ref().filter(|it| it.online).map(|it| it.t);
        since.zip(self.heard).is_some_and(|(since, heard)| heard >= since)
    }
}

/// The state of a thing, with what is kept of its device and of the gateways that it is behind, and whether the edge
/// node that it is at is connected.
pub(crate) fn state_of(
    row: &ThingRow,
    device: Option<&DeviceRow>,
    mut gateways: impl Iterator<Item = DeviceRow>,
    is_edge_online: impl FnOnce() -> bool,
) -> ThingState {
    if row.is_disabled {
        return ThingState::Disabled;
    }
    let Some(device) = device.filter(|it| it.is_activated()) else {
        return ThingState::Unactivated;
    };
    let is_online_there = || device.there.as_ref().is_some_and(|it| it.online);
    let is_online = device.presence.is_online()
        || gateways.any(|it| device.is_heard_through(&it))
        || row.edge.is_some() && is_online_there() && is_edge_online();
    match is_online {
        true => ThingState::Online,
        false => ThingState::Offline,
    }
}

impl DeviceCore {
    /// The device, or its gateway for it, has said something that is accepted.
    pub(super) fn hear(&mut self, delivery: &Delivery, changes: &mut Changes) {
        let Identity::Thing(speaker) = &delivery.sender.identity else { return };
        let is_through = *speaker != self.thing;
        if let Some(row) = self.state.decide_heard(is_through, self.context.now()) {
            changes.append(put_row(self, &row));
            self.state.row = row;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::presence::{Presence, Status};
    use super::*;
    use proto::{EdgeId, TimestampMs};

    fn device(online: Option<bool>, t: u64, heard: Option<u64>) -> DeviceRow {
        let status = online.map(|online| Status { online, t: TimestampMs(t), reason: "x".into() });
        let presence = Presence { status, ..Presence::default() };
        DeviceRow { presence, heard: heard.map(TimestampMs), ..DeviceRow::default() }
    }

    #[test]
    fn a_thing_is_what_its_connections_and_its_gateways_make_it() {
        let row = ThingRow::new(TimestampMs(0));
        let never = device(None, 0, None);
        let gateway = device(Some(true), 100, None);
        let gone = device(Some(false), 100, None);
        for (own, above, expected) in [
            (None, vec![], ThingState::Unactivated),
            (Some(&never), vec![gateway.clone()], ThingState::Unactivated),
            (Some(&device(Some(true), 5, None)), vec![], ThingState::Online),
            (Some(&device(Some(false), 5, None)), vec![gateway.clone()], ThingState::Offline),
            (Some(&device(None, 0, Some(100))), vec![gateway.clone()], ThingState::Online),
            (Some(&device(None, 0, Some(99))), vec![gateway.clone()], ThingState::Offline),
            (Some(&device(None, 0, Some(200))), vec![gone.clone()], ThingState::Offline),
            (Some(&device(None, 0, Some(200))), vec![gone, gateway], ThingState::Online),
        ] {
            let state = state_of(&row, own, above.into_iter(), || true);
            assert_eq!(state, expected, "{own:?}");
        }
        let said = |online| Some(Status { online, t: TimestampMs(1), reason: "x".into() });
        let at_edge = ThingRow { edge: Some(EdgeId::parse("press").unwrap()), ..row.clone() };
        for (row, there, is_edge_online, expected) in [
            (&at_edge, said(true), true, ThingState::Online),
            (&at_edge, said(true), false, ThingState::Offline),
            (&at_edge, said(false), true, ThingState::Offline),
            (&at_edge, None, true, ThingState::Unactivated),
            // It was there before.
            (&row, said(true), true, ThingState::Offline),
        ] {
            let device = DeviceRow { there, ..DeviceRow::default() };
            let state = state_of(row, Some(&device), std::iter::empty(), || is_edge_online);
            assert_eq!(state, expected, "{device:?} {is_edge_online}");
        }
        let disabled = ThingRow { is_disabled: true, ..row };
        let online = device(Some(true), 5, None);
        let state = state_of(&disabled, Some(&online), std::iter::empty(), || true);
        assert_eq!(state, ThingState::Disabled);
    }
}
