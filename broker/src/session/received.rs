//! The QoS 2 messages that a client has sent and not released: their identifiers are remembered, so that none is
//! routed twice (MQTT 5.0 4.3.3).
//!
//! Plain state. For a session that outlives its connection an identifier is committed together with the copies of
//! its message, and is gone from the store before PUBCOMP says so.

use crate::session::acks::AckGate;
use hashbrown::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Absent while there are none: most clients never send with QoS 2.
    ids: Option<Box<HashMap<NonZeroU16, Entry>>>,
    /// The last removal from the store that was under way: no PUBCOMP before it has ended.
    forgetting: Option<Arc<AckGate>>,
}

/// A message received.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What PUBREC waits for; `None` if nothing any more.
    pub(crate) gate: Option<Arc<AckGate>>,
    /// Its identifier has a row.
    pub(crate) is_stored: bool,
    /// It was also for subscribers in process, whose part the row does not cover.
    pub(crate) for_platform: bool,
}

/// What a PUBLISH of QoS 2 is.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A message not seen before.
    New,
    /// One that has been routed: only to be acknowledged, once the gate is open.
    Duplicate(Option<Arc<AckGate>>),
    /// One whose copies are in the store, but the subscribers in process may not have done their work.
    Unfinished,
}

/// What a PUBREL means.
#[derive(Debug)]
pub(crate) enum Release {
    /// Remove the row, then send PUBCOMP.
    Stored,
    /// Send PUBCOMP.
    InMemory,
    /// No such identifier, which is nothing to worry about after a reconnect: PUBCOMP after the gate says so.
    Unknown(Option<Arc<AckGate>>),
    /// PUBREC has not been sent.
    Violation,
}

impl Received {
    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.ids.as_ref().map_or(0, |ids| ids.len())
    }

    /// Takes one up that the store remembers.
    pub(crate) fn restore(&mut self, packet_id: NonZeroU16, for_platform: bool) {
        self.remember(packet_id, Entry { gate: None, is_stored: true, for_platform });
    }

    /// A PUBLISH of QoS 2 has come.
    pub(crate) fn on_publish(&mut self, packet_id: NonZeroU16) -> Arrival {
        let Some(ids) = &mut self.ids else { return Arrival::New };
        let Some(entry) = ids.get_mut(&packet_id) else { return Arrival::New };
        let Some(gate) = &entry.gate else {
            return match entry.for_platform {
                true => Arrival::Unfinished,
                false => Arrival::Duplicate(None),
            };
        };
        match gate.outcome() {
            None => Arrival::Duplicate(Some(Arc::clone(gate))),
            // To be told once more.
            Some(Ok(())) if gate.is_refused() => Arrival::Duplicate(Some(Arc::clone(gate))),
            Some(Ok(())) => {
                (entry.gate, entry.for_platform) = (None, false);
                Arrival::Duplicate(None)
            }
            Some(Err(_)) if entry.is_stored && gate.is_committed() => Arrival::Unfinished,
            Some(Err(_)) => {
                self.forget(packet_id);
                Arrival::New
            }
        }
    }

    /// Remembers a message that has been routed.
    pub(crate) fn remember(&mut self, packet_id: NonZeroU16, entry: Entry) {
        self.ids.get_or_insert_default().insert(packet_id, entry);
    }

    /// PUBREC has said no: the exchange is over. Says whether a row is to be removed first.
    pub(crate) fn refuse(&mut self, packet_id: NonZeroU16) -> bool {
        self.forget(packet_id).is_some_and(|entry| {
            entry.is_stored && entry.gate.is_none_or(|gate| gate.is_committed())
        })
    }

    /// PUBREL has come.
    pub(crate) fn release(&mut self, packet_id: NonZeroU16) -> Release {
        let Some(entry) = self.ids.as_ref().and_then(|ids| ids.get(&packet_id)) else {
            let gate = self.forgetting.clone();
            return match gate.as_ref().and_then(|gate| gate.outcome()) {
                Some(Ok(())) => {
                    self.forgetting = None;
                    Release::Unknown(None)
                }
                // The removal may have been that of this one.
                Some(Err(_)) => Release::Stored,
                None => Release::Unknown(gate),
            };
        };
        if entry.gate.as_ref().is_some_and(|gate| gate.outcome().is_none()) {
            return Release::Violation;
        }
        let is_stored = entry.is_stored;
        self.forget(packet_id);
        if is_stored { Release::Stored } else { Release::InMemory }
    }

    /// The removal of a row opens `gate`.
    pub(crate) fn forget_after(&mut self, gate: &Arc<AckGate>) {
        self.forgetting = Some(Arc::clone(gate));
    }

    fn forget(&mut self, packet_id: NonZeroU16) -> Option<Entry> {
        let removed = self.ids.as_mut()?.remove(&packet_id);
        self.ids.take_if(|ids| ids.is_empty());
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn id() -> NonZeroU16 {
        NonZeroU16::MIN
    }

    fn entry(gate: &Arc<AckGate>, is_stored: bool) -> Entry {
        Entry { gate: Some(Arc::clone(gate)), is_stored, for_platform: true }
    }

    #[test]
    fn a_message_is_new_until_it_is_remembered_and_again_once_it_is_released() {
        let mut received = Received::default();
        assert!(matches!(received.on_publish(id()), Arrival::New));
        let gate = AckGate::new(&Arc::default());
        received.remember(id(), entry(&gate, true));
        assert!(matches!(received.on_publish(id()), Arrival::Duplicate(Some(_))));
        assert!(matches!(received.release(id()), Release::Violation));
        gate.release(Ok(()));
        assert!(matches!(received.on_publish(id()), Arrival::Duplicate(None)));
        assert!(matches!(received.release(id()), Release::Stored));
        assert!(matches!(received.release(id()), Release::Unknown(None)));
        assert!(matches!(received.on_publish(id()), Arrival::New));
    }

    #[test]
    fn a_message_whose_commit_failed_was_never_received() {
        let mut received = Received::default();
        let gate = AckGate::new(&Arc::default());
        received.remember(id(), entry(&gate, true));
        gate.release(Err(Reason::QuotaExceeded));
        assert!(matches!(received.on_publish(id()), Arrival::New));
    }

    #[test]
    fn a_removal_that_is_under_way_holds_back_every_answer() {
        let mut received = Received::default();
        received.restore(id(), false);
        assert!(matches!(received.release(id()), Release::Stored));
        let gate = AckGate::new(&Arc::default());
        received.forget_after(&gate);
        assert!(matches!(received.release(id()), Release::Unknown(Some(_))));
        gate.release(Err(Reason::UnspecifiedError));
        assert!(matches!(received.release(id()), Release::Stored));
    }

    #[test]
    fn only_the_platform_gets_what_it_has_not_finished() {
        let mut received = Received::default();
        received.restore(id(), true);
        assert!(matches!(received.on_publish(id()), Arrival::Unfinished));
    }
}
