//! The acknowledged exchanges of QoS 1 and 2 as a connection sees them: what is committed before which packet.
//!
//! | before | is on disk |
//! |---|---|
//! | PUBACK, PUBREC | every durable copy of the message; for PUBREC of a durable session also the packet identifier |
//! | PUBREL | that PUBREC has come |
//! | PUBCOMP | that the packet identifier is free |
//!
//! That PUBACK or PUBCOMP has come may be lost in a crash: then the packet before it is sent once more.

use super::{Connection, Socket};
use crate::codec;
use crate::durable::rows::ReceivedRow;
use crate::outbox::Routed;
use crate::packet::{AckKind, Version};
use crate::publisher::Refused;
use crate::reason::Reason;
use crate::session::acks::{AckGate, Due, Promise};
use crate::session::machine::{Forget, Step};
use crate::session::received::Entry;
use proto::Qos;
use std::num::NonZeroU16;
use std::sync::Arc;
use store::Changes;

impl<S: Socket> Connection<S> {
    /// Does what an acknowledgement brings about.
    pub(super) fn act_on_exchange(&mut self, step: Step) {
        match step {
            Step::Over(over) => {
                if let Some(seq) = over.seq
                    && self.session.queue().acked(seq, over.weight)
                {
                    self.desk.get().outbox.changes.dequeue(self.session.key(), seq);
                }
            }
            Step::Release { packet_id, seq, flags } => {
                let mut changes = Changes::new();
                changes.set_queue_flags(self.session.key(), seq, flags);
                let gate = self.commit(changes);
                self.machine.release_after(packet_id, gate);
            }
            Step::Forget(forget) => self.forget(forget),
            Step::Reply(reply) => {
                codec::encode(self.machine.manner, &reply, &mut self.desk.get().out)
            }
            Step::Nothing
            | Step::Authenticate(_)
            | Step::Publish(_)
            | Step::Subscribe { .. }
            | Step::Unsubscribe { .. }
            | Step::Leave { .. } => {}
        }
    }

    /// Removes the identifiers of messages that have been refused, so that PUBREC can say so.
    pub(super) fn forget_refused(&mut self) {
        for forget in self.machine.take_refused() {
            self.forget(forget);
        }
    }

    fn forget(&mut self, forget: Forget) {
        let mut changes = Changes::new();
        changes.delete::<ReceivedRow>(&ReceivedRow::key(self.session.key(), forget.packet_id));
        let gate = self.commit(changes);
        self.machine.forget_after(forget, gate);
    }

    /// Adds changes to those of this turn; the gate opens when they are committed.
    pub(super) fn commit(&mut self, changes: Changes) -> Arc<AckGate> {
        let gate = AckGate::new(self.session.waker());
        self.desk.get().outbox.commit_with(changes, Arc::clone(&gate));
        gate
    }

    /// A PUBLISH has been routed, or refused: owes what its QoS asks for.
    pub(super) fn after_publish(
        &mut self,
        qos: Qos,
        packet_id: Option<NonZeroU16>,
        routed: Result<Routed, Refused>,
    ) -> Result<(), Reason> {
        self.desk.get().tally.received += 1;
        self.stall_if_pressed();
        let routed = match routed {
            Ok(routed) => routed,
            Err(Refused::Connection(reason)) => return Err(reason),
            Err(Refused::Message(denial)) => {
                let (client, reason) = (&self.session.sender().client_id, denial.reason);
                tracing::debug!(%client, %reason, why = %denial.why, "publish refused");
                // Before MQTT 5.0 an acknowledgement cannot say no (MQTT 3.1.1 3.3.5-2).
                if packet_id.is_some() && self.machine.manner.version == Version::V3 {
                    return Err(reason);
                }
                Routed::Refused(denial)
            }
        };
        if matches!(&routed, Routed::Refused(_)) {
            self.desk.get().tally.refused += 1;
        }
        let Some(packet_id) = packet_id else { return Ok(()) };
        let (kind, due) = match (qos, routed) {
            (Qos::ExactlyOnce, routed) => (AckKind::PubRec, self.remember(packet_id, routed)),
            (_, Routed::Done(reason)) => (AckKind::PubAck, Due::Now(reason)),
            (_, Routed::Refused(denial)) => (AckKind::PubAck, Due::Refused(Box::new(denial))),
            (_, Routed::Waiting { gate, .. }) => (AckKind::PubAck, Due::After(gate)),
        };
        self.machine.owe(Promise { kind, packet_id }, due, &mut self.desk.get().out);
        Ok(())
    }

    /// Owes the PUBREC of a message that had been routed before.
    pub(super) fn acknowledge_again(
        &mut self,
        packet_id: Option<NonZeroU16>,
        gate: Option<Arc<AckGate>>,
    ) {
        let Some(packet_id) = packet_id else { return };
        self.desk.get().tally.received += 1;
        let due = gate.map_or(Due::Now(Reason::Success), Due::After);
        self.machine.owe(
            Promise { kind: AckKind::PubRec, packet_id },
            due,
            &mut self.desk.get().out,
        );
    }

    /// Remembers a QoS 2 message: in the store together with its durable copies, if it has any and the session
    /// outlives its connection. A message that nobody is owed durably may be routed again after a crash.
    fn remember(&mut self, packet_id: NonZeroU16, routed: Routed) -> Due {
        let (gate, for_platform) = match routed {
            Routed::Refused(denial) => return Due::Refused(Box::new(denial)),
            Routed::Done(reason) => {
                let entry = Entry { gate: None, is_stored: false, for_platform: false };
                self.machine.remember(packet_id, entry);
                return Due::Now(reason);
            }
            Routed::Waiting { gate, for_platform } => (gate, for_platform),
        };
        let is_stored = self.machine.is_durable();
        if is_stored {
            let mut changes = Changes::new();
            let key = ReceivedRow::key(self.session.key(), packet_id);
            changes.put(&key, &ReceivedRow { for_platform });
            gate.hold();
            self.desk.get().outbox.commit_with(changes, Arc::clone(&gate));
        }
        let entry = Entry { gate: Some(Arc::clone(&gate)), is_stored, for_platform };
        self.machine.remember(packet_id, entry);
        Due::After(gate)
    }
}
