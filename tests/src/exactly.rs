//! Clients that keep what QoS 2 makes a client remember, over any number of connections (MQTT 5.0 4.3.3).
//!
//! A [`Publisher`] never gives a message up, so each of its numbers must arrive once, and none may be left out: what
//! a [`Subscriber`] is given has to be exactly 1, 2, 3 and so on.

use crate::wire::{Packet, Version, Wire, packet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Messages of one publisher that may be unfinished.
const WINDOW: usize = 8;

/// DUP, and QoS 2.
const AGAIN: u8 = 0b1100;
const FIRST: u8 = 0b0100;

/// Publishes rising numbers on one topic.
#[derive(Debug)]
pub struct Publisher {
    topic: String,
    next: u64,
    unfinished: VecDeque<Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    packet_id: u16,
    number: u64,
    is_received: bool,
}

impl Publisher {
    /// One that has published nothing.
    pub fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), next: 1, unfinished: VecDeque::new() }
    }

    /// Where it publishes.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// How many numbers it has begun to publish.
    pub fn begun(&self) -> u64 {
        self.next - 1
    }

    /// Publishes until the connection ends, first what is unfinished.
    pub async fn work(&mut self, mut wire: Wire) {
        self.resend(&mut wire).await;
        loop {
            while self.unfinished.len() < WINDOW {
                self.begin(&mut wire).await;
            }
            let Some(packet) = wire.next().await else { return };
            self.take(packet, &mut wire).await;
        }
    }

    /// Finishes what is unfinished.
    pub async fn finish(&mut self, mut wire: Wire) {
        self.resend(&mut wire).await;
        while !self.unfinished.is_empty() {
            let packet = wire.next().await.expect("the node stays");
            self.take(packet, &mut wire).await;
        }
        wire.leave().await;
    }

    async fn resend(&self, wire: &mut Wire) {
        for it in &self.unfinished {
            let bytes = match it.is_received {
                true => packet::pub_rel(it.packet_id),
                false => self.publish(it.number, it.packet_id, AGAIN),
            };
            wire.send(&bytes).await;
        }
    }

    async fn begin(&mut self, wire: &mut Wire) {
        // Few identifiers, used again at once: what the broker remembers of one too long is a message lost.
        let is_free = |id: &u16| self.unfinished.iter().all(|it| it.packet_id != *id);
        let packet_id = (1..).find(is_free).expect("there are more identifiers than places");
        let number = self.next;
        self.next += 1;
        wire.send(&self.publish(number, packet_id, FIRST)).await;
        self.unfinished.push_back(Unfinished { packet_id, number, is_received: false });
    }

    fn publish(&self, number: u64, packet_id: u16, flags: u8) -> Vec<u8> {
        let payload = number.to_string();
        packet::publish(Version::V5, self.topic.as_bytes(), payload.as_bytes(), flags, packet_id)
    }

    async fn take(&mut self, packet: Packet, wire: &mut Wire) {
        let place = |id| self.unfinished.iter().position(|it| it.packet_id == id);
        match packet {
            Packet::PubRec { packet_id, code: 0 } => {
                let place = place(packet_id).expect("PUBREC answers a PUBLISH");
                self.unfinished[place].is_received = true;
                wire.send(&packet::pub_rel(packet_id)).await;
            }
            Packet::PubComp { packet_id, code: 0 | 0x92 } => {
                let place = place(packet_id).expect("PUBCOMP answers a PUBREL");
                self.unfinished.remove(place);
            }
            // The node may say that it is about to go.
            Packet::PubRec { .. } | Packet::PubComp { .. } | Packet::Disconnect { .. } => {}
            other => panic!("a publisher is given {other:?}"),
        }
    }
}

/// Takes numbers and holds them against what has to come.
#[derive(Debug, Default)]
pub struct Subscriber {
    /// Identifiers of messages taken and not released.
    taken: BTreeSet<u16>,
    /// The last number of each topic.
    last: BTreeMap<String, u64>,
}

impl Subscriber {
    /// The last number of a topic that has come; all before it have as well.
    pub fn last(&self, topic: &str) -> u64 {
        self.last.get(topic).copied().unwrap_or(0)
    }

    /// Takes one packet and answers it.
    pub async fn take(&mut self, packet: Packet, wire: &mut Wire) {
        match packet {
            Packet::Publish(message) => {
                assert_eq!(message.qos, 2);
                if self.taken.insert(message.packet_id) {
                    let number: u64 = message.text().parse().expect("a number was published");
                    let last = self.last.insert(message.topic.clone(), number).unwrap_or(0);
                    assert_eq!(
                        number,
                        last + 1,
                        "{}: lost, doubled or out of order",
                        message.topic
                    );
                } else {
                    assert!(message.is_dup, "{message:?} is not marked as sent again");
                }
                wire.send(&packet::pub_rec(message.packet_id)).await;
            }
            Packet::PubRel { packet_id, .. } => {
                self.taken.remove(&packet_id);
                wire.send(&packet::pub_comp(packet_id)).await;
            }
            Packet::Disconnect { .. } => {}
            other => panic!("a subscriber is given {other:?}"),
        }
    }
}
