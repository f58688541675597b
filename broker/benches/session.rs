//! The session machine measured by whole exchanges: messages out and in with QoS 0, 1 and 2, up to the last
//! acknowledgement.
//!
//! `cargo bench -p manifold-broker --bench session`. Times are those of the processor.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends at the first failure"
)]

mod clock;

use broker::measure::Exchange;
use clock::{Moment, report};

const COUNT: usize = 1_000_000;

fn main() {
    for at_once in [1, 100] {
        for qos in 0..=2 {
            let mut exchange = Exchange::new(&[7; 256]).unwrap();
            let began = Moment::now();
            for _ in 0..COUNT / usize::from(at_once) {
                assert!(exchange.deliver(qos, at_once));
            }
            report(&format!("deliver, QoS {qos}, {at_once} in flight"), COUNT, &began);
        }
        for qos in 1..=2 {
            let mut exchange = Exchange::new(&[]).unwrap();
            let began = Moment::now();
            for _ in 0..COUNT / usize::from(at_once) {
                assert!(exchange.receive(qos, at_once));
            }
            report(&format!("receive, QoS {qos}, {at_once} in flight"), COUNT, &began);
        }
    }
}
