//! The protocol of one connected session as a state machine without I/O (MQTT 5.0 3 and 4).
//!
//! Packets go in, [`Step`]s come out: what the connection has to do. It keeps what the protocol makes a session
//! remember while it is connected: deliveries in flight, acknowledgements owed, and the limits both sides set. A
//! violation comes back as the reason code to close with.

use crate::codec::publish::{self, Outgoing};
use crate::packet::{Packet, Publish, Reply, Version};
use crate::reason::Reason;
use crate::session::acks::{AckGate, Due, Owed};
use crate::session::inflight::Inflight;
use crate::session::queue::Delivery;
use bytes::BytesMut;
use proto::{Qos, TimestampMs};
use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

/// What a packet makes the connection do.
#[derive(Debug)]
pub(crate) enum Step {
    Nothing,
    /// Route a message.
    Publish(Box<Publish>),
    /// A delivery has been acknowledged: its row may go.
    Acked(Delivery),
    Subscribe {
        packet_id: NonZeroU16,
        id: Option<NonZeroU32>,
        filters: Vec<(bytestring::ByteString, crate::packet::Options)>,
    },
    Unsubscribe {
        packet_id: NonZeroU16,
        filters: Vec<bytestring::ByteString>,
    },
    Reply(Reply),
    /// The client leaves.
    Leave {
        with_will: bool,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) version: Version,
    inflight: Inflight,
    owed: Owed,
    /// Replies that wait for a commit, such as SUBACK.
    deferred: VecDeque<(Arc<AckGate>, Reply)>,
    receive_max: usize,
    /// Longest packet the client takes.
    packet_bytes_max: usize,
    pub(crate) expiry_secs: u32,
    expiry_max_secs: u32,
}

/// The limits agreed on at CONNECT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed {
    pub(crate) version: Version,
    /// QoS 1 messages the client may have unacknowledged.
    pub(crate) receive_max: u16,
    /// QoS 1 messages we may have unacknowledged.
    pub(crate) inflight_max: u16,
    /// Longest packet the client takes, in bytes.
    pub(crate) packet_bytes_max: usize,
    pub(crate) expiry_secs: u32,
    pub(crate) expiry_max_secs: u32,
}

impl Machine {
    /// Goes on with what was in flight on the connection before.
    pub(crate) fn new(agreed: Agreed, inflight: Option<Inflight>) -> Self {
        let mut inflight = inflight.unwrap_or_else(|| Inflight::new(agreed.inflight_max));
        inflight.resume(agreed.inflight_max);
        Self {
            version: agreed.version,
            inflight,
            owed: Owed::default(),
            deferred: VecDeque::new(),
            receive_max: usize::from(agreed.receive_max),
            packet_bytes_max: agreed.packet_bytes_max,
            expiry_secs: agreed.expiry_secs,
            expiry_max_secs: agreed.expiry_max_secs,
        }
    }

    /// Takes a packet, PUBLISH apart unless it came through the codec.
    pub(crate) fn on_packet(&mut self, packet: Packet) -> Result<Step, Reason> {
        match packet {
            Packet::Publish(publish) => {
                self.check_publish(publish.qos)?;
                if publish.has_subscription_id {
                    // Only a server sends them (MQTT 5.0 3.3.4-6).
                    return Err(Reason::ProtocolError);
                }
                if publish.has_topic_alias {
                    // We have announced no Topic Alias Maximum (MQTT 5.0 3.2.2.3.8).
                    return Err(Reason::TopicAliasInvalid);
                }
                Ok(Step::Publish(publish))
            }
            Packet::PubAck { packet_id } => {
                Ok(self.inflight.ack(packet_id).map_or(Step::Nothing, Step::Acked))
            }
            Packet::Subscribe { packet_id, id, filters } => {
                Ok(Step::Subscribe { packet_id, id, filters })
            }
            Packet::Unsubscribe { packet_id, filters } => {
                Ok(Step::Unsubscribe { packet_id, filters })
            }
            Packet::PingReq => Ok(Step::Reply(Reply::PingResp)),
            Packet::Disconnect { with_will, session_expiry_secs } => {
                self.set_expiry(session_expiry_secs)?;
                Ok(Step::Leave { with_will })
            }
            // A second CONNECT (3.1.0-2), AUTH without an authentication method (4.12), QoS 2 without QoS 2
            // granted, a packet that only servers send.
            Packet::Connect(_) | Packet::Auth | Packet::Qos2Step | Packet::ServerOnly => {
                Err(Reason::ProtocolError)
            }
        }
    }

    /// Whether a PUBLISH of this QoS is in order now.
    pub(crate) fn check_publish(&self, qos: Qos) -> Result<(), Reason> {
        match qos {
            // A client over its Receive Maximum is not read from, which bounds it as well as closing would.
            Qos::AtMostOnce | Qos::AtLeastOnce => Ok(()),
            Qos::ExactlyOnce => Err(Reason::QosNotSupported),
        }
    }

    /// Whether so many acknowledgements and replies are owed that nothing more should be read.
    pub(crate) fn is_owing_enough(&self) -> bool {
        self.owed.len() + self.deferred.len() >= self.receive_max
    }

    /// Owes an acknowledgement. One that is due at once, with none before it, is written straight away.
    pub(crate) fn owe(&mut self, packet_id: NonZeroU16, due: Due, out: &mut BytesMut) {
        match due {
            Due::Now(reason) if self.owed.is_empty() => self.write_ack(packet_id, reason, out),
            due => self.owed.push(packet_id, due),
        }
    }

    /// Writes the acknowledgements and replies that have come due. An error closes the connection: a client before
    /// MQTT 5.0 can only be told by that that a message was not taken.
    pub(crate) fn write_due(&mut self, out: &mut BytesMut) -> Result<(), Reason> {
        while let Some((packet_id, reason)) = self.owed.pop() {
            let is_failure = matches!(reason, Reason::UnspecifiedError | Reason::QuotaExceeded);
            if is_failure && self.version == Version::V3 {
                return Err(reason);
            }
            self.write_ack(packet_id, reason, out);
        }
        while let Some((gate, _)) = self.deferred.front()
            && let Some(outcome) = gate.outcome()
        {
            let Some((_, reply)) = self.deferred.pop_front() else { break };
            outcome?;
            crate::codec::encode(self.version, &reply, out);
        }
        Ok(())
    }

    /// Has a reply wait for a gate.
    pub(crate) fn defer(&mut self, gate: Arc<AckGate>, reply: Reply) {
        self.deferred.push_back((gate, reply));
    }

    fn write_ack(&self, packet_id: NonZeroU16, reason: Reason, out: &mut BytesMut) {
        // The usual case, the same four bytes in every version (MQTT 5.0 3.4.2.1).
        if reason == Reason::Success || self.version == Version::V3 {
            let [high, low] = packet_id.get().to_be_bytes();
            out.extend_from_slice(&[0x40, 2, high, low]);
            return;
        }
        crate::codec::encode(self.version, &Reply::PubAck { packet_id, reason }, out);
    }

    /// Whether one more QoS 1 delivery may be sent.
    pub(crate) fn has_window(&self) -> bool {
        self.inflight.has_window()
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
            return match self.write_publish(None, &delivery, false, now, out) {
                true => Ok(()),
                false => Err(delivery),
            };
        }
        let start = out.len();
        let packet_id = self.inflight.next_id();
        if !self.write_publish(Some(packet_id), &delivery, false, now, out) {
            out.truncate(start);
            self.inflight.skip(&delivery);
            return Err(delivery);
        }
        self.inflight.send(delivery);
        Ok(())
    }

    /// Sends again what was in flight when the connection before ended (MQTT 5.0 4.4-1).
    pub(crate) fn resend(&self, now: TimestampMs, out: &mut BytesMut) -> u64 {
        let mut count = 0;
        for (packet_id, delivery) in self.inflight.unacknowledged() {
            count += u64::from(self.write_publish(Some(packet_id), delivery, true, now, out));
        }
        count
    }

    fn write_publish(
        &self,
        packet_id: Option<NonZeroU16>,
        delivery: &Delivery,
        dup: bool,
        now: TimestampMs,
        out: &mut BytesMut,
    ) -> bool {
        let how = Outgoing {
            qos: delivery.qos,
            retain: delivery.retain,
            dup,
            packet_id,
            subscription_ids: delivery.subscription_ids.as_deref().unwrap_or_default(),
            now,
        };
        publish::write(self.version, &delivery.message, how, self.packet_bytes_max, out)
    }

    /// The highest row that has been sent.
    pub(crate) fn sent_seq(&self) -> u64 {
        self.inflight.sent_seq()
    }

    /// Ends; what is in flight goes to the next connection.
    pub(crate) fn into_inflight(self) -> Inflight {
        self.inflight
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
