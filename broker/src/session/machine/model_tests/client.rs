//! The client's side of the model: it never dies, and keeps to the protocol to the letter.

use super::{RECEIVE_MAX, WINDOW, id};
use crate::packet::{Ack, AckKind, Packet, Publish};
use bytes::Bytes;
use proto::Qos;
use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU16;

/// What it has published and not finished.
struct Outgoing {
    packet_id: NonZeroU16,
    number: u32,
    qos: Qos,
    is_released: bool,
}

#[derive(Default)]
pub(super) struct Client {
    outgoing: Vec<Outgoing>,
    /// Everything it has published.
    pub(super) published: Vec<(u32, Qos)>,
    /// Identifiers of QoS 2 messages taken and not released.
    taken: HashSet<NonZeroU16>,
    /// What it has been given, in order.
    pub(super) delivered: Vec<u32>,
    /// What each identifier in use means, and whether of QoS 2.
    open: HashMap<NonZeroU16, (u32, bool)>,
    /// Messages of this connection that it has not answered to the end.
    charged: HashSet<NonZeroU16>,
    replies: VecDeque<Ack>,
}

impl Client {
    pub(super) fn publish(&mut self, qos: Qos, upward: &mut VecDeque<Packet>) {
        let is_free = |number: &u16| self.outgoing.iter().all(|it| it.packet_id != id(*number));
        let Some(packet_id) = (1..=RECEIVE_MAX).find(is_free).map(id) else { return };
        let number = self.published.len() as u32 + 1;
        self.published.push((number, qos));
        let outgoing = Outgoing { packet_id, number, qos, is_released: false };
        upward.push_back(outgoing.packet());
        self.outgoing.push(outgoing);
    }

    /// The connection is gone, and with it every packet on its way.
    pub(super) fn lose(&mut self) {
        self.replies.clear();
        self.charged.clear();
    }

    /// After a crash of the node an identifier of QoS 1 may mean another message.
    pub(super) fn forget_at_least_once(&mut self) {
        self.open.retain(|_, (_, is_exactly)| *is_exactly);
    }

    /// It has come back: everything again, in order.
    pub(super) fn resend(&mut self, upward: &mut VecDeque<Packet>) {
        upward.extend(self.outgoing.iter().map(Outgoing::packet));
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.outgoing.is_empty() && self.replies.is_empty()
    }

    /// Sends the next reply.
    pub(super) fn reply(&mut self, upward: &mut VecDeque<Packet>) {
        let Some(ack) = self.replies.pop_front() else { return };
        if matches!(ack.kind, AckKind::PubAck | AckKind::PubComp) {
            self.charged.remove(&ack.packet_id);
            self.open.remove(&ack.packet_id);
        }
        upward.push_back(Packet::Ack(ack));
    }

    pub(super) fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Publish(publish) => self.deliver(&publish),
            Packet::Ack(ack) => self.finish(ack),
            other => panic!("{other:?}"),
        }
    }

    fn deliver(&mut self, publish: &Publish) {
        let packet_id = publish.packet_id.unwrap();
        let number = u32::from_be_bytes(publish.payload[..].try_into().unwrap());
        let is_exactly = publish.qos == Qos::ExactlyOnce;
        let before = self.open.insert(packet_id, (number, is_exactly));
        assert!(
            before.is_none_or(|it| it.0 == number),
            "{packet_id} meant {before:?}, now {number}"
        );
        self.charged.insert(packet_id);
        assert!(self.charged.len() <= usize::from(WINDOW), "over the receive maximum");
        if !is_exactly || self.taken.insert(packet_id) {
            self.delivered.push(number);
        }
        let kind = if is_exactly { AckKind::PubRec } else { AckKind::PubAck };
        self.replies.push_back(Ack { kind, packet_id, is_refusal: false });
    }

    fn finish(&mut self, ack: Ack) {
        let packet_id = ack.packet_id;
        let place = self.outgoing.iter().position(|it| it.packet_id == packet_id);
        let answer = match ack.kind {
            AckKind::PubAck | AckKind::PubComp => {
                self.outgoing.remove(place.expect("it was sent"));
                return;
            }
            AckKind::PubRec => {
                self.outgoing[place.expect("it was sent")].is_released = true;
                AckKind::PubRel
            }
            AckKind::PubRel => {
                self.taken.remove(&packet_id);
                AckKind::PubComp
            }
        };
        self.replies.push_back(Ack { kind: answer, packet_id, is_refusal: false });
    }
}

impl Outgoing {
    fn packet(&self) -> Packet {
        if self.is_released {
            let (kind, packet_id) = (AckKind::PubRel, self.packet_id);
            return Packet::Ack(Ack { kind, packet_id, is_refusal: false });
        }
        Packet::Publish(Box::new(Publish {
            topic: "t".into(),
            payload: Bytes::copy_from_slice(&self.number.to_be_bytes()),
            qos: self.qos,
            packet_id: Some(self.packet_id),
            ..Publish::default()
        }))
    }
}
