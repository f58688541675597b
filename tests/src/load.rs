//! Work that goes on until the node is gone, and remembers what it was promised.

use crate::wire::{Packet, Version, Wire, packet};
use serde_json::json;
use std::collections::VecDeque;

/// Messages of one publisher that may be unacknowledged.
const WINDOW: usize = 16;

/// The version that all of it is done in.
const VERSION: Version = Version::V5;

/// What a publisher was promised.
#[derive(Debug, Default)]
pub struct Published {
    /// The numbers that were acknowledged, in order.
    pub acknowledged: Vec<u64>,
    /// The next number to use.
    pub next: u64,
}

/// Publishes rising numbers with QoS 1, some at a time, until the connection ends.
pub async fn publish(mut wire: Wire, topic: String, first: u64) -> Published {
    let mut published = Published { acknowledged: Vec::new(), next: first };
    let mut pending: VecDeque<(u16, u64)> = VecDeque::new();
    loop {
        while pending.len() < WINDOW {
            let id = wire.new_id();
            let payload = published.next.to_string();
            wire.send(&at_least_once(&topic, &payload, id)).await;
            pending.push_back((id, published.next));
            published.next += 1;
        }
        match wire.next().await {
            Some(Packet::PubAck { packet_id, code }) => {
                let (id, number) = pending.pop_front().expect("PUBACK answers a PUBLISH");
                assert_eq!(id, packet_id, "PUBACKs come in the order of the PUBLISHes");
                assert_ne!(code, 0x10, "{topic} has a subscriber");
                if code == 0 {
                    published.acknowledged.push(number);
                }
            }
            Some(Packet::Disconnect { .. }) => {}
            None => return published,
            Some(other) => panic!("a publisher is given {other:?}"),
        }
    }
}

/// Takes and acknowledges numbers until the connection ends; answers them with their topics.
pub async fn take(mut wire: Wire) -> Vec<(String, u64)> {
    let mut taken = Vec::new();
    while let Some(packet) = wire.next().await {
        let Packet::Publish(message) = packet else { continue };
        let number = message.text().parse().expect("a number was published");
        wire.acknowledge(&message).await;
        taken.push((message.topic, number));
    }
    taken
}

/// What a value that is overwritten again and again was promised to be at least.
#[derive(Debug, Default, Clone, Copy)]
pub struct Written {
    /// The last number that was acknowledged.
    pub acknowledged: u64,
    /// The version that came with it, where there is one.
    pub version: u64,
    /// The last number that was sent.
    pub sent: u64,
}

/// Publishes rising numbers, retained, one at a time, until the connection ends.
pub async fn retain(mut wire: Wire, topic: String, mut written: Written) -> Written {
    loop {
        written.sent += 1;
        let id = wire.new_id();
        let payload = written.sent.to_string();
        wire.send(&packet::publish(VERSION, topic.as_bytes(), payload.as_bytes(), 3, id)).await;
        loop {
            match wire.next().await {
                Some(Packet::PubAck { code: 0 | 0x10, .. }) => break,
                Some(Packet::PubAck { .. } | Packet::Disconnect { .. }) => {}
                None => return written,
                Some(other) => panic!("a publisher is given {other:?}"),
            }
        }
        written.acknowledged = written.sent;
    }
}

/// Reports rising numbers to the shadow of a thing, one at a time, until the connection ends.
/// The client is subscribed to what is accepted.
pub async fn report(mut wire: Wire, thing: String, mut written: Written) -> Written {
    let update = format!("things/{thing}/shadow/update");
    loop {
        written.sent += 1;
        let token = written.sent.to_string();
        let body = json!({ "state": { "reported": { "n": written.sent } }, "clientToken": token });
        let id = wire.new_id();
        wire.send(&at_least_once(&update, &body.to_string(), id)).await;
        loop {
            match wire.next().await {
                Some(Packet::Publish(message)) => {
                    wire.acknowledge(&message).await;
                    let answer = message.json();
                    if answer["clientToken"] == token.as_str() {
                        written.version = answer["version"].as_u64().expect("it has a version");
                        break;
                    }
                }
                Some(_) => {}
                None => return written,
            }
        }
        written.acknowledged = written.sent;
    }
}

fn at_least_once(topic: &str, payload: &str, packet_id: u16) -> Vec<u8> {
    packet::publish(VERSION, topic.as_bytes(), payload.as_bytes(), 2, packet_id)
}
