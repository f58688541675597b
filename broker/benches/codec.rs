//! The codec measured packet by packet, in both versions of the protocol.
//!
//! `cargo bench -p manifold-broker --bench codec`. Times are those of the processor.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends at the first failure"
)]

mod clock;

use broker::measure::{Encoder, decode};
use clock::{Moment, report};
use std::hint::black_box;

const COUNT: usize = 1_000_000;
/// Packets in one buffer, as they lie behind each other after a read.
const AT_ONCE: usize = 100;
const TOPIC: &str = "plant/site1/line2/machine3/temperature";

type Write = fn(&mut Encoder) -> usize;

fn main() {
    for (is_v5, version) in [(false, "3.1.1"), (true, "5.0")] {
        for (name, packet) in [
            ("PUBLISH, 256 B", publish(is_v5, 256)),
            ("SUBSCRIBE", subscribe(is_v5)),
            ("CONNECT", connect(is_v5)),
            ("PUBACK", vec![0x40, 2, 0, 7]),
        ] {
            let buffer = packet.repeat(AT_ONCE);
            let began = Moment::now();
            for _ in 0..COUNT / AT_ONCE {
                assert_eq!(decode(is_v5, black_box(&buffer)), AT_ONCE);
            }
            report(&format!("read {name}, MQTT {version}"), COUNT, &began);
        }
        let mut encoder = Encoder::new(is_v5, TOPIC, &[7; 256]).unwrap();
        let writers: [(&str, Write); 4] = [
            ("PUBLISH, 256 B", Encoder::publish),
            ("PUBACK", Encoder::puback),
            ("SUBACK", Encoder::suback),
            ("CONNACK", Encoder::connack),
        ];
        for (name, write) in writers {
            let began = Moment::now();
            for _ in 0..COUNT {
                assert!(black_box(write(&mut encoder)) > 0);
            }
            report(&format!("write {name}, MQTT {version}"), COUNT, &began);
        }
    }
}

/// QoS 1, without properties.
fn publish(is_v5: bool, payload_bytes: usize) -> Vec<u8> {
    let mut body = text(TOPIC);
    body.extend([0, 7]);
    body.extend(no_properties(is_v5));
    body.extend(vec![7; payload_bytes]);
    packet(0x32, body)
}

fn subscribe(is_v5: bool) -> Vec<u8> {
    let mut body = vec![0, 7];
    body.extend(no_properties(is_v5));
    body.extend(text("plant/+/line2/#"));
    body.push(1);
    packet(0x82, body)
}

/// With a user name and a password.
fn connect(is_v5: bool) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([if is_v5 { 5 } else { 4 }, 0xC2, 0, 60]);
    body.extend(no_properties(is_v5));
    for it in ["machine-000123", "default/default/machine-000123", "0123456789abcdef01234567"] {
        body.extend(text(it));
    }
    packet(0x10, body)
}

fn no_properties(is_v5: bool) -> &'static [u8] {
    if is_v5 { &[0] } else { &[] }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first_byte: u8, body: Vec<u8>) -> Vec<u8> {
    let mut packet = vec![first_byte];
    let mut left = body.len();
    loop {
        let low = u8::try_from(left % 128).unwrap();
        left /= 128;
        packet.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}
