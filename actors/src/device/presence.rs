//! Presence of a device, without I/O: which of its connections live, and what `status` says.
//!
//! A device is online while at least one connection of its identity lives. Connections carry
//! numbers that rise on a node, so a takeover, which tells of the new connection before or after
//! the end of the old one, never shows the device as offline. Numbers of an earlier run of the node
//! mean nothing; [`Presence::resume`] drops them.

use proto::TimestampMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Reason of a device that was online when the node went down and has not come back.
pub(crate) const NODE_RESTARTED: &str = "node_restarted";

/// The payload of the retained `status` topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Whether a connection of the device lives.
    pub(crate) online: bool,
    /// Since when.
    pub(crate) t: TimestampMs,
    /// What brought it about.
    pub(crate) reason: String,
}

/// What is kept about the connections of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Presence {
    /// Which run of the node the connection numbers belong to.
    pub(crate) run: u64,
    /// The numbers of the connections that live.
    pub(crate) connections: BTreeSet<u64>,
    /// What was last said; `None` if the device never connected.
    pub(crate) status: Option<Status>,
}

/// What the broker says about a connection of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is there.
    Connected {
        /// Its number.
        connection: u64,
    },
    /// It has ended.
    Disconnected {
        /// Its number.
        connection: u64,
        /// Why.
        reason: String,
    },
}

impl Presence {
    /// Takes an event in; the new status, if what is said changes.
    pub(crate) fn apply(&mut self, run: u64, event: Event, now: TimestampMs) -> Option<Status> {
        if self.run != run {
            self.run = run;
            self.connections.clear();
        }
        let reason = match event {
            Event::Connected { connection } => {
                self.connections.insert(connection);
                "connected".to_owned()
            }
            Event::Disconnected { connection, reason } => {
                self.connections.remove(&connection);
                reason
            }
        };
        self.say(now, reason)
    }

    /// Starts a run of the node, or of the part that hears the events, with the connections that
    /// live now.
    pub(crate) fn resume(
        &mut self,
        run: u64,
        connections: BTreeSet<u64>,
        now: TimestampMs,
    ) -> Option<Status> {
        let reason = match connections.is_empty() {
            true if self.run != run => NODE_RESTARTED,
            true => "connection_lost",
            false => "connected",
        };
        self.run = run;
        self.connections = connections;
        self.say(now, reason.to_owned())
    }

    /// Whether the device is said to be online.
    pub(crate) fn is_online(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.online)
    }

    fn say(&mut self, t: TimestampMs, reason: String) -> Option<Status> {
        let online = !self.connections.is_empty();
        if online == self.is_online() {
            return None;
        }
        let status = Status { online, t, reason };
        self.status = Some(status.clone());
        Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: u64 = 7;

    fn connected(connection: u64) -> Event {
        Event::Connected { connection }
    }

    fn disconnected(connection: u64) -> Event {
        Event::Disconnected { connection, reason: "taken_over".into() }
    }

    /// What is said after each event: `+` online, `-` offline, `.` nothing.
    fn said(presence: &mut Presence, events: &[Event]) -> String {
        let mut out = String::new();
        for (t, event) in (1..).zip(events) {
            out.push(match presence.apply(RUN, event.clone(), TimestampMs(t)) {
                None => '.',
                Some(Status { online: true, .. }) => '+',
                Some(Status { online: false, .. }) => '-',
            });
        }
        out
    }

    #[test]
    fn a_takeover_does_not_flap() {
        let cases: [(&[Event], &str); 7] = [
            (&[connected(1), disconnected(1)], "+-"),
            (&[connected(1), connected(2), disconnected(1), disconnected(2)], "+..-"),
            (&[connected(1), disconnected(1), connected(2)], "+-+"),
            (&[connected(1), connected(2), disconnected(2), disconnected(1)], "+..-"),
            (&[disconnected(1)], "."),
            (&[connected(1), connected(1), disconnected(1)], "+.-"),
            (&[connected(1), disconnected(2)], "+."),
        ];
        for (events, expected) in cases {
            assert_eq!(said(&mut Presence::default(), events), expected, "{events:?}");
        }
    }

    #[test]
    fn connections_of_an_earlier_run_are_forgotten() {
        let mut presence = Presence::default();
        presence.apply(1, connected(5), TimestampMs(1));
        let status = presence.resume(2, BTreeSet::new(), TimestampMs(9)).unwrap();
        assert_eq!((status.online, status.reason.as_str()), (false, NODE_RESTARTED));
        assert_eq!(presence.resume(3, BTreeSet::new(), TimestampMs(10)), None);

        presence.apply(3, connected(1), TimestampMs(11));
        // Number 1 of run 3 is not number 1 of run 4.
        presence.apply(4, connected(2), TimestampMs(12));
        assert!(presence.apply(4, disconnected(2), TimestampMs(13)).is_some());
    }

    #[test]
    fn a_part_that_missed_events_says_what_is_true_now() {
        let mut presence = Presence::default();
        presence.apply(RUN, connected(5), TimestampMs(1));
        assert_eq!(presence.resume(RUN, BTreeSet::from([5, 6]), TimestampMs(2)), None);
        let status = presence.resume(RUN, BTreeSet::new(), TimestampMs(3)).unwrap();
        assert_eq!(status.reason, "connection_lost");
        assert!(presence.resume(RUN, BTreeSet::from([9]), TimestampMs(4)).unwrap().online);
    }
}
