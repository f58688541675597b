//! Exchanges of the session machine, from the first packet to the last.

use crate::message::Message;
use crate::packet::{Ack, AckKind, Manner, Packet, Version};
use crate::reason::Reason;
use crate::session::acks::{Due, Promise};
use crate::session::machine::{Agreed, Kept, Machine, Step};
use crate::session::queue::{Delivery, Progress};
use crate::session::received::{Arrival, Entry};
use bytes::BytesMut;
use proto::{Qos, TimestampMs};
use std::num::NonZeroU16;
use std::sync::Arc;

/// The machine of one clean session, with a client that answers at once and in order.
pub struct Exchange {
    machine: Machine,
    message: Arc<Message>,
    out: BytesMut,
    next_id: u16,
}

impl Exchange {
    /// For a client of MQTT 5.0; what is delivered has this payload. `None` never in practice.
    pub fn new(payload: &[u8]) -> Option<Self> {
        let agreed = Agreed {
            manner: Manner::plain(Version::V5),
            receive_max: 1000,
            inflight_max: 1000,
            aliases_in_max: 0,
            aliases_out_max: 0,
            expiry_secs: 0,
            expiry_max_secs: 0,
        };
        Some(Self {
            machine: Machine::new(agreed, Kept::default()),
            message: super::message("plant/line/machine/value", payload, Qos::ExactlyOnce)?,
            out: BytesMut::new(),
            next_id: 0,
        })
    }

    /// Delivers `count` messages and takes the answers to them; says whether nothing is left in flight.
    pub fn deliver(&mut self, qos: u8, count: u16) -> bool {
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(qos.min(2))];
        self.out.clear();
        let first = self.next_id;
        for _ in 0..count {
            let delivery = self.delivery(qos);
            if self.machine.deliver(delivery, TimestampMs(0), &mut self.out).is_err() {
                return false;
            }
        }
        let rounds: &[AckKind] = match qos {
            Qos::AtMostOnce => return self.machine.inflight() == 0,
            Qos::AtLeastOnce => &[AckKind::PubAck],
            Qos::ExactlyOnce => &[AckKind::PubRec, AckKind::PubComp],
        };
        for kind in rounds {
            self.next_id = first;
            for _ in 0..count {
                if !self.answer(*kind) {
                    return false;
                }
            }
        }
        self.machine.inflight() == 0
    }

    /// Takes `count` messages in, up to the last acknowledgement; says whether none is remembered.
    pub fn receive(&mut self, qos: u8, count: u16) -> bool {
        self.out.clear();
        for number in 1..=count {
            let Some(packet_id) = NonZeroU16::new(number) else { continue };
            let kind = if qos == 2 { AckKind::PubRec } else { AckKind::PubAck };
            if qos == 2 {
                let arrival = self.machine.arrive(Qos::ExactlyOnce, Some(packet_id));
                if !matches!(arrival, Ok(Arrival::New)) {
                    return false;
                }
                let entry = Entry { gate: None, is_stored: false, for_platform: false };
                self.machine.remember(packet_id, entry);
            }
            let promise = Promise { kind, packet_id };
            self.machine.owe(promise, Due::Now(Reason::Success), &mut self.out);
        }
        for packet_id in (1..=count).filter_map(NonZeroU16::new).filter(|_| qos == 2) {
            let ack = Ack { kind: AckKind::PubRel, packet_id, is_refusal: false };
            if !matches!(self.machine.on_packet(Packet::Ack(ack)), Ok(Step::Reply(_))) {
                return false;
            }
        }
        self.machine.unreleased() == 0
    }

    fn delivery(&self, qos: Qos) -> Delivery {
        Delivery {
            message: Arc::clone(&self.message),
            qos,
            retain: false,
            subscription_ids: None,
            seq: None,
            progress: Progress::New,
            gate: None,
            hold: None,
        }
    }

    /// The client's next answer: identifiers of deliveries without a row count up.
    fn answer(&mut self, kind: AckKind) -> bool {
        const TRANSIENT_IDS: u16 = 16_383;
        self.next_id = self.next_id % TRANSIENT_IDS + 1;
        let Some(packet_id) = NonZeroU16::new(self.next_id) else { return false };
        let ack = Ack { kind, packet_id, is_refusal: false };
        self.machine.on_packet(Packet::Ack(ack)).is_ok()
    }
}
