//! The protocol of one connected session as a state machine without I/O (MQTT 5.0 3 and 4).
//!
//! Packets go in, [`Step`]s come out: what the connection has to do. It keeps what the protocol makes a session
//! remember while it is connected: deliveries in flight, messages received and not released, acknowledgements owed,
//! topic aliases, and the limits both sides set. A violation comes back as the reason code to close with.

use crate::codec;
use crate::codec::publish::{self, Outgoing};
use crate::denial::Why;
use crate::durable::place::Place;
use crate::packet::{Ack, AckKind, AuthStep, Manner, Packet, Publish, Reply, Version};
use crate::reason::Reason;
use crate::session::acks::{AckGate, Due, Owed, Promise, Verdict};
use crate::session::aliases;
use crate::session::inflight::{Again, Inflight, Over, Received as Rec};
use crate::session::queue::{Delivery, Progress};
use crate::session::received::{Arrival, Entry, Received, Release};
use bytes::BytesMut;
use proto::{Qos, TimestampMs};
use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

/// What a packet makes the connection do.
#[derive(Debug)]
pub(crate) enum Step {
    Nothing,
    /// Route a message, if it is one to be routed.
    Publish(Box<Publish>),
    /// A delivery is over: its row may go.
    Over(Over),
    /// Set the flags of the row, then send PUBREL: [`Machine::release_after`].
    Release {
        packet_id: NonZeroU16,
        seq: u64,
        flags: u8,
    },
    /// Remove the identifier of a received message, then answer: [`Machine::forget_after`].
    Forget(Forget),
    Subscribe {
        packet_id: NonZeroU16,
        id: Option<NonZeroU32>,
        filters: Vec<(bytestring::ByteString, crate::packet::Options)>,
    },
    Unsubscribe {
        packet_id: NonZeroU16,
        filters: Vec<bytestring::ByteString>,
    },
    /// Go on with, or begin, proving who the client is.
    Authenticate(Box<AuthStep>),
    Reply(Reply),
    /// The client leaves.
    Leave {
        with_will: bool,
    },
}

/// An identifier to be removed from the store, and what to answer then: PUBCOMP, or a PUBREC that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forget {
    pub(crate) packet_id: NonZeroU16,
    kind: AckKind,
    reason: Reason,
    why: Option<Why>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) manner: Manner,
    inflight: Inflight,
    received: Received,
    /// Absent while nothing is owed.
    debts: Option<Box<Debts>>,
    aliases_in: aliases::Inbound,
    writer: publish::Writer,
    is_durable: bool,
    receive_max: u16,
    pub(crate) expiry_secs: u32,
    expiry_max_secs: u32,
}

/// What the client is owed, once something else has happened.
#[derive(Debug, Default)]
struct Debts {
    acks: Owed,
    /// Replies that wait for a commit, such as SUBACK.
    deferred: VecDeque<(Arc<AckGate>, Reply)>,
    /// Received messages that were refused although their identifiers are in the store.
    refused: Vec<Forget>,
}

impl Debts {
    fn is_paid(&self) -> bool {
        self.acks.is_empty() && self.deferred.is_empty() && self.refused.is_empty()
    }
}

/// The limits agreed on at CONNECT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed {
    pub(crate) manner: Manner,
    /// QoS 1 and 2 messages the client may have unacknowledged.
    pub(crate) receive_max: u16,
    /// QoS 1 and 2 messages we may have unacknowledged.
    pub(crate) inflight_max: u16,
    /// Topic aliases the client may set.
    pub(crate) aliases_in_max: u16,
    /// Topic aliases we may set.
    pub(crate) aliases_out_max: u16,
    pub(crate) expiry_secs: u32,
    pub(crate) expiry_max_secs: u32,
}

/// What one connection of a session leaves to the next (MQTT 5.0 4.1).
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) inflight: Option<Inflight>,
    pub(crate) received: Received,
}

impl Kept {
    /// How many messages of QoS 2 have been received and not released.
    pub(crate) fn unreleased(&self) -> usize {
        self.received.len()
    }

    /// The highest row that has been sent.
    pub(crate) fn sent_seq(&self) -> u64 {
        self.inflight.as_ref().map_or(0, Inflight::sent_seq)
    }
}

impl Machine {
    /// Goes on with what the connection before has left.
    pub(crate) fn new(agreed: Agreed, kept: Kept) -> Self {
        let mut inflight = kept.inflight.unwrap_or_else(|| Inflight::new(agreed.inflight_max));
        inflight.resume(agreed.inflight_max);
        Self {
            manner: agreed.manner,
            inflight,
            received: kept.received,
            debts: None,
            aliases_in: aliases::Inbound::new(agreed.aliases_in_max),
            writer: publish::Writer::new(
                agreed.manner.version,
                agreed.manner.packet_bytes_max as usize,
                agreed.aliases_out_max,
            ),
            is_durable: agreed.expiry_secs > 0,
            receive_max: agreed.receive_max,
            expiry_secs: agreed.expiry_secs,
            expiry_max_secs: agreed.expiry_max_secs,
        }
    }

    /// Ends; what the session has to remember goes to the next connection.
    pub(crate) fn into_kept(self) -> Kept {
        Kept { inflight: Some(self.inflight), received: self.received }
    }

    /// Takes a packet; a PUBLISH, which nearly always comes without the codec, only up to [`Machine::arrive`].
    pub(crate) fn on_packet(&mut self, packet: Packet) -> Result<Step, Reason> {
        match packet {
            Packet::Publish(mut publish) => {
                if publish.has_subscription_id {
                    // Only a server sends them (MQTT 5.0 3.3.4-6).
                    return Err(Reason::ProtocolError);
                }
                let topic = std::mem::take(&mut publish.topic);
                publish.topic = self.aliases_in.resolve(publish.topic_alias, topic)?;
                Ok(Step::Publish(publish))
            }
            Packet::Ack(ack) => self.on_ack(ack),
            Packet::Subscribe { packet_id, id, filters } => {
                if filters.iter().any(|(filter, _)| filter.contains('\0')) {
                    // No text may have it (MQTT 5.0 1.5.4-2).
                    return Err(Reason::MalformedPacket);
                }
                Ok(Step::Subscribe { packet_id, id, filters })
            }
            Packet::Unsubscribe { filters, .. } if filters.iter().any(|it| it.contains('\0')) => {
                Err(Reason::MalformedPacket)
            }
            Packet::Unsubscribe { packet_id, filters } => {
                Ok(Step::Unsubscribe { packet_id, filters })
            }
            Packet::PingReq => Ok(Step::Reply(Reply::PingResp)),
            Packet::Disconnect { with_will, session_expiry_secs } => {
                self.set_expiry(session_expiry_secs)?;
                Ok(Step::Leave { with_will })
            }
            Packet::Auth(step) => Ok(Step::Authenticate(step)),
            // A second CONNECT (3.1.0-2), a packet that only servers send.
            Packet::Connect(_) | Packet::ServerOnly => Err(Reason::ProtocolError),
        }
    }

    fn on_ack(&mut self, ack: Ack) -> Result<Step, Reason> {
        let packet_id = ack.packet_id;
        let violation = |()| Reason::ProtocolError;
        let over = |over: Option<Over>| over.map_or(Step::Nothing, Step::Over);
        match ack.kind {
            AckKind::PubAck => self.inflight.ack(packet_id, false).map(over).map_err(violation),
            AckKind::PubRec if ack.is_refusal => {
                self.inflight.ack(packet_id, true).map(over).map_err(violation)
            }
            AckKind::PubRec => self.on_rec(packet_id),
            AckKind::PubComp => self.inflight.complete(packet_id).map(over).map_err(violation),
            AckKind::PubRel => match self.received.release(packet_id) {
                Release::Stored => Ok(Step::Forget(Forget {
                    packet_id,
                    kind: AckKind::PubComp,
                    reason: Reason::Success,
                    why: None,
                })),
                Release::InMemory => Ok(reply(AckKind::PubComp, packet_id, Reason::Success)),
                Release::Unknown(gate) => {
                    let it = reply(AckKind::PubComp, packet_id, Reason::PacketIdNotFound);
                    Ok(self.after(gate, it))
                }
                Release::Violation => Err(Reason::ProtocolError),
            },
        }
    }

    fn on_rec(&mut self, packet_id: NonZeroU16) -> Result<Step, Reason> {
        match self.inflight.received(packet_id) {
            Rec::First { seq: Some(seq), flags } => Ok(Step::Release { packet_id, seq, flags }),
            Rec::First { seq: None, .. } => Ok(reply(AckKind::PubRel, packet_id, Reason::Success)),
            Rec::Again(gate) => {
                Ok(self.after(gate, reply(AckKind::PubRel, packet_id, Reason::Success)))
            }
            Rec::Unknown => Ok(reply(AckKind::PubRel, packet_id, Reason::PacketIdNotFound)),
            Rec::Violation => Err(Reason::ProtocolError),
        }
    }

    /// Has a reply wait for a gate that may not be open yet.
    fn after(&mut self, gate: Option<Arc<AckGate>>, step: Step) -> Step {
        match (gate.filter(|gate| gate.outcome() != Some(Ok(()))), step) {
            (Some(gate), Step::Reply(reply)) => {
                self.defer(gate, reply);
                Step::Nothing
            }
            (_, step) => step,
        }
    }

    /// What a PUBLISH is: one to be routed, or one sent again. More of QoS 2 than our Receive Maximum are an error
    /// (MQTT 5.0 3.3.4-9); with QoS 1 whoever has so many is not read from, which bounds it as well.
    pub(crate) fn arrive(
        &mut self,
        qos: Qos,
        packet_id: Option<NonZeroU16>,
    ) -> Result<Arrival, Reason> {
        let Some(packet_id) = packet_id.filter(|_| qos == Qos::ExactlyOnce) else {
            return Ok(Arrival::New);
        };
        let arrival = self.received.on_publish(packet_id);
        let is_full = self.manner.version == Version::V5
            && self.received.len() >= usize::from(self.receive_max);
        match arrival {
            Arrival::New if is_full => Err(Reason::ReceiveMaximumExceeded),
            arrival => Ok(arrival),
        }
    }

    /// Whether what the client sends is to be remembered across a restart.
    pub(crate) fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// A QoS 2 message has been routed.
    pub(crate) fn remember(&mut self, packet_id: NonZeroU16, entry: Entry) {
        self.received.remember(packet_id, entry);
    }

    /// How many acknowledgements are owed.
    pub(crate) fn owed(&self) -> usize {
        self.debts.as_ref().map_or(0, |debts| debts.acks.len())
    }

    /// How many messages of QoS 2 have been received and not released.
    pub(crate) fn unreleased(&self) -> usize {
        self.received.len()
    }

    /// Whether so many acknowledgements and replies are owed that nothing more should be read.
    pub(crate) fn is_owing_enough(&self) -> bool {
        let owed = self.debts.as_ref().map_or(0, |it| it.acks.len() + it.deferred.len());
        owed >= usize::from(self.receive_max)
    }

    /// Owes a PUBACK or PUBREC. One that is due at once, with none before it, is written straight away.
    pub(crate) fn owe(&mut self, promise: Promise, due: Due, out: &mut BytesMut) {
        match due {
            Due::Now(reason) if !reason.is_failure() && !self.is_owing_acks() => {
                self.write_ack(promise.kind, promise.packet_id, reason, out);
            }
            due => self.debts.get_or_insert_default().acks.push(promise, due),
        }
    }

    fn is_owing_acks(&self) -> bool {
        self.debts.as_ref().is_some_and(|debts| !debts.acks.is_empty())
    }

    /// Writes the acknowledgements and replies that have come due. An error closes the connection: a client before
    /// MQTT 5.0 can only be told by that that a message was not taken.
    pub(crate) fn write_due(&mut self, out: &mut BytesMut) -> Result<(), Reason> {
        let Some(debts) = &mut self.debts else { return Ok(()) };
        while let Some((Promise { kind, packet_id }, verdict)) = debts.acks.pop() {
            let (reason, why) = match (verdict, self.manner.version) {
                (Verdict::Taken(reason), _) => (reason, None),
                (Verdict::Refused(denial), Version::V3) => return Err(denial.reason),
                // To send it again would change nothing.
                (Verdict::TurnedDown(_), Version::V3) => (Reason::Success, None),
                (Verdict::Refused(denial) | Verdict::TurnedDown(denial), Version::V5) => {
                    (denial.reason, Some(denial.why))
                }
            };
            let is_no = kind == AckKind::PubRec && reason.is_failure();
            if is_no && self.received.refuse(packet_id) {
                debts.refused.push(Forget { packet_id, kind, reason, why });
                continue;
            }
            codec::encode(self.manner, &Reply::Ack { kind, packet_id, reason, why }, out);
        }
        while let Some((gate, _)) = debts.deferred.front()
            && let Some(outcome) = gate.outcome()
        {
            let Some((_, reply)) = debts.deferred.pop_front() else { break };
            outcome?;
            codec::encode(self.manner, &reply, out);
        }
        // A connection that rests keeps no memory.
        self.debts.take_if(|debts| debts.is_paid());
        Ok(())
    }

    /// What [`Machine::write_due`] could not say before it has gone from the store.
    pub(crate) fn take_refused(&mut self) -> Vec<Forget> {
        self.debts.as_mut().map_or_else(Vec::new, |debts| std::mem::take(&mut debts.refused))
    }

    /// Has a reply wait for a gate.
    pub(crate) fn defer(&mut self, gate: Arc<AckGate>, reply: Reply) {
        self.debts.get_or_insert_default().deferred.push_back((gate, reply));
    }

    /// Sends PUBREL once `gate` is open.
    pub(crate) fn release_after(&mut self, packet_id: NonZeroU16, gate: Arc<AckGate>) {
        self.inflight.release_after(packet_id, &gate);
        let kind = AckKind::PubRel;
        self.defer(gate, Reply::ack(kind, packet_id, Reason::Success));
    }

    /// Answers once `gate` is open.
    pub(crate) fn forget_after(&mut self, forget: Forget, gate: Arc<AckGate>) {
        let Forget { packet_id, kind, reason, why } = forget;
        self.received.forget_after(&gate);
        self.defer(gate, Reply::Ack { kind, packet_id, reason, why });
    }

    fn write_ack(&self, kind: AckKind, packet_id: NonZeroU16, reason: Reason, out: &mut BytesMut) {
        codec::encode(self.manner, &Reply::ack(kind, packet_id, reason), out);
    }

    /// Whether the next delivery may be sent if it is not of QoS 0.
    pub(crate) fn has_window(&self) -> bool {
        self.inflight.has_window()
    }

    /// Whether this delivery may be sent now.
    pub(crate) fn may_send(&mut self, delivery: &Delivery) -> bool {
        delivery.qos == Qos::AtMostOnce
            || self.inflight.has_window()
                && delivery.seq.is_none_or(|seq| self.inflight.has_id_for(seq))
    }

    /// How many deliveries are in flight.
    pub(crate) fn inflight(&self) -> usize {
        self.inflight.len()
    }

    /// Sends a delivery. Gives it back if the client cannot take a packet of its length: it is to be treated as
    /// delivered (MQTT 5.0 3.1.2-25).
    pub(crate) fn deliver(
        &mut self,
        delivery: Delivery,
        now: TimestampMs,
        out: &mut BytesMut,
    ) -> Result<(), Delivery> {
        if delivery.qos == Qos::AtMostOnce {
            let how = outgoing(None, &delivery, false, now);
            let is_written = self.writer.write(&delivery.message, how, out);
            return if is_written { Ok(()) } else { Err(delivery) };
        }
        let packet_id = self.inflight.id_for(&delivery);
        let dup = delivery.progress == Progress::MaybeSent;
        let how = outgoing(Some(packet_id), &delivery, dup, now);
        if delivery.progress == Progress::Released {
            self.write_ack(AckKind::PubRel, packet_id, Reason::Success, out);
        } else if !self.writer.write(&delivery.message, how, out) {
            self.inflight.skip(&delivery);
            return Err(delivery);
        }
        self.inflight.send(delivery);
        Ok(())
    }

    /// Sends again the next one of what was in flight when the connection before ended (MQTT 5.0 4.4-1); `None` if
    /// there is no more, or not before the client has acknowledged something. What is not allowed any more is over.
    pub(crate) fn resend(
        &mut self,
        now: TimestampMs,
        is_allowed: impl Fn(&Delivery) -> bool,
        out: &mut BytesMut,
    ) -> Option<Step> {
        let packet_id = match self.inflight.next_again()? {
            Again::Publish(packet_id, delivery) => {
                let how = outgoing(Some(packet_id), delivery, true, now);
                if is_allowed(delivery) && self.writer.write(&delivery.message, how, out) {
                    return Some(Step::Nothing);
                }
                packet_id
            }
            Again::Release { packet_id, seq: None } => {
                return Some(reply(AckKind::PubRel, packet_id, Reason::Success));
            }
            Again::Release { packet_id, seq: Some(seq) } => {
                let released =
                    Place { qos: Qos::ExactlyOnce, is_released: true, ..Place::default() };
                return Some(Step::Release { packet_id, seq, flags: released.flags() });
            }
        };
        Some(self.inflight.give_up(packet_id).map_or(Step::Nothing, Step::Over))
    }

    /// A DISCONNECT may change the session expiry, but not bring a session to life that had none
    /// (MQTT 5.0 3.14.2.2.2).
    fn set_expiry(&mut self, secs: Option<u32>) -> Result<(), Reason> {
        match secs {
            Some(secs) if self.expiry_secs == 0 && secs != 0 => Err(Reason::ProtocolError),
            Some(secs) => {
                self.expiry_secs = secs.min(self.expiry_max_secs);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn reply(kind: AckKind, packet_id: NonZeroU16, reason: Reason) -> Step {
    Step::Reply(Reply::ack(kind, packet_id, reason))
}

fn outgoing(
    packet_id: Option<NonZeroU16>,
    delivery: &Delivery,
    dup: bool,
    now: TimestampMs,
) -> Outgoing<'_> {
    Outgoing {
        qos: delivery.qos,
        retain: delivery.retain,
        dup,
        packet_id,
        subscription_ids: delivery.subscription_ids.as_deref().unwrap_or_default(),
        now,
    }
}

#[cfg(test)]
mod model_tests;
