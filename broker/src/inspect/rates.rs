//! How much a connection carries in a second, found out when an operator asks.
//!
//! A connection keeps counts and no history. Whoever asks leaves a sample behind, in a table of bounded size, and the
//! next answer is the difference to one that is some seconds old. The first answer is over the whole connection; each
//! answer says over how long it is.

use crate::live::Carriage;
use hashbrown::HashMap;
use proto::TimestampMs;
use serde::Serialize;

/// Samples of one namespace. Beyond, rates are over whole connections.
const SAMPLES_MAX: usize = 10_000;

/// The least time that a rate is taken over, unless the connection is younger.
const SPAN_MIN_MS: u64 = 1_000;

/// A sample is followed by the next one after this, so that rates are of the last 5 to 10 seconds for who asks often.
const SPAN_MS: u64 = 5_000;

/// A sample that nobody has asked for in this time is forgotten.
const KEPT_MS: u64 = 60_000;

/// What a connection carries in a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// The milliseconds that the rates are taken over, up to now.
    pub over_ms: u64,
    /// Messages received.
    pub received: f64,
    /// Bytes received, all packets.
    pub received_bytes: f64,
    /// Messages sent.
    pub sent: f64,
    /// Bytes sent, all packets.
    pub sent_bytes: f64,
}

/// The samples of one namespace, by the numbers of connections.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    samples: HashMap<u64, Samples>,
    swept_at: TimestampMs,
}

/// What rates are taken against now, and what they will be.
#[derive(Debug, Clone, Copy)]
struct Samples {
    base: Sample,
    next: Sample,
    asked_at: TimestampMs,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: TimestampMs,
    is: Carriage,
}

impl Meter {
    /// The rates of a connection that has carried `is` since `connected_at`.
    pub(crate) fn rates(
        &mut self,
        connection: u64,
        connected_at: TimestampMs,
        is: Carriage,
        now: TimestampMs,
    ) -> Rates {
        self.sweep(now);
        let begin = Sample { at: connected_at, is: Carriage::default() };
        let current = Sample { at: now, is };
        if let Some(samples) = self.samples.get_mut(&connection) {
            samples.asked_at = now;
            if now.0.saturating_sub(samples.next.at.0) >= SPAN_MS {
                samples.base = samples.next;
                samples.next = current;
            }
            let is_too_young = now.0.saturating_sub(samples.base.at.0) < SPAN_MIN_MS;
            return between(if is_too_young { &begin } else { &samples.base }, &current);
        }
        if self.samples.len() < SAMPLES_MAX {
            let samples = Samples { base: current, next: current, asked_at: now };
            self.samples.insert(connection, samples);
        }
        between(&begin, &current)
    }

    /// Forgets what nobody asks for.
    fn sweep(&mut self, now: TimestampMs) {
        if now.0.saturating_sub(self.swept_at.0) < SPAN_MIN_MS {
            return;
        }
        self.swept_at = now;
        self.samples.retain(|_, it| now.0.saturating_sub(it.asked_at.0) < KEPT_MS);
        self.samples.shrink_to(2 * self.samples.len());
    }
}

fn between(from: &Sample, to: &Sample) -> Rates {
    let over_ms = to.at.0.saturating_sub(from.at.0);
    let secs = over_ms.max(1) as f64 / 1000.0;
    // One digit is what the eye takes in.
    let rate = |from: u64, to: u64| (to.saturating_sub(from) as f64 / secs * 10.0).round() / 10.0;
    Rates {
        over_ms,
        received: rate(from.is.received, to.is.received),
        received_bytes: rate(from.is.received_bytes, to.is.received_bytes),
        sent: rate(from.is.sent, to.is.sent),
        sent_bytes: rate(from.is.sent_bytes, to.is.sent_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(meter: &mut Meter, at_ms: u64, received: u64) -> (u64, f64) {
        let is = Carriage { received, ..Carriage::default() };
        let rates = meter.rates(1, TimestampMs(0), is, TimestampMs(at_ms));
        (rates.over_ms, rates.received)
    }

    #[test]
    fn who_asks_again_is_told_of_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!(ask(&mut meter, 100_000, 1000), (100_000, 10.0), "over the whole connection");
        assert_eq!(ask(&mut meter, 100_500, 1100), (100_500, 10.9), "too soon for a difference");
        assert_eq!(ask(&mut meter, 102_000, 1200), (2_000, 100.0));
        assert_eq!(ask(&mut meter, 106_000, 1600), (6_000, 100.0));
        assert_eq!(ask(&mut meter, 110_000, 1600), (10_000, 60.0));
        assert_eq!(ask(&mut meter, 112_000, 1600), (6_000, 0.0), "what was before is forgotten");
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten_and_the_table_is_bounded() {
        let mut meter = Meter::default();
        let none = Carriage::default();
        for number in 0..2 * SAMPLES_MAX as u64 {
            meter.rates(number, TimestampMs(0), none, TimestampMs(1));
        }
        assert_eq!(meter.samples.len(), SAMPLES_MAX);
        meter.rates(0, TimestampMs(0), none, TimestampMs(1 + KEPT_MS));
        assert_eq!(meter.samples.len(), 1);
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_rate() {
        let mut meter = Meter::default();
        ask(&mut meter, 9_000, 10);
        assert_eq!(ask(&mut meter, 8_000, 10), (8_000, 1.3));
    }
}
