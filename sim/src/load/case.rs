//! One load: its shape, size and pace, as plain data.
//!
//! Everything that two runs must share to be comparable is in [`Case`]; the target is not. Limits
//! are checked here, once.

use std::time::Duration;

use super::batch::STAMP_BYTES;

/// Who publishes to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Many publishers, one subscriber.
    FanIn,
    /// Each publisher has its own subscriber.
    Pairs,
    /// One publisher, many subscribers.
    FanOut,
    /// Connections that do nothing.
    Idle,
    /// Many publishers, one subscriber that is slower than they are, and bystanders.
    Flood,
}

impl Shape {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FanIn => "fan-in",
            Self::Pairs => "pairs",
            Self::FanOut => "fan-out",
            Self::Idle => "idle",
            Self::Flood => "flood",
        }
    }
}

/// How long the measured part of a run takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// A time.
    Time(Duration),
    /// A number of published messages, over all publishers.
    Messages(u64),
}

/// One load.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Who publishes to whom.
    pub shape: Shape,
    /// Publishers of a fan-in, pairs, subscribers of a fan-out, or idle connections.
    pub count: usize,
    /// QoS of publishing and of the subscriptions, 0 or 1.
    pub qos: u8,
    /// Bytes of each application message, at least [`STAMP_BYTES`].
    pub payload_bytes: usize,
    /// Messages in flight per publisher, 0 for no bound of ours.
    pub window: u64,
    /// Published messages per second over all publishers, 0 for as fast as possible.
    pub rate_per_second: u64,
    /// Messages per second that a subscriber takes, 0 for as many as come.
    pub taken_per_second: u64,
    /// The measured part.
    pub length: Length,
    /// Time under load before the measurement.
    pub warmup: Duration,
    /// Whether the subscribers' sessions are clean (MQTT 3.1.1 Clean Session).
    pub is_clean: bool,
    /// Whether idle connections hold one subscription each.
    pub is_subscribed: bool,
}

/// Connections of one run: they all leave one loopback address, which has about 28,000 ports.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Bytes of an application message.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// QoS 1 messages in flight: MQTT has 65,535 packet identifiers for one connection.
pub const WINDOW_MAX: u64 = 60_000;
/// Windows of QoS 1 messages that a broker may queue for a subscriber.
pub const QUEUED_WINDOWS: u64 = 10;
/// Messages per second that the subscriber of a flood takes.
pub const FLOOD_TAKEN_PER_SECOND: u64 = 20_000;
/// Longest run.
pub const SECONDS_MAX: f64 = 36_000.0;

/// A load that cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{option} must be {allowed}, not {given}")]
pub struct CaseError {
    /// The option at fault.
    pub option: &'static str,
    /// What it may be.
    pub allowed: String,
    /// What it was.
    pub given: String,
}

impl Case {
    /// A load of `shape` with its usual size and window: 10 s after 2 s of warm-up, 256 B, QoS 0.
    ///
    /// The windows keep about a thousand to five thousand messages in flight in all: enough for a
    /// target to work in batches, less than any subscriber's queue of a usual broker.
    #[must_use]
    pub fn usual(shape: Shape) -> Self {
        let (count, window) = match shape {
            Shape::FanIn => (50, 20),
            Shape::Pairs => (50, 100),
            Shape::FanOut => (200, 100),
            Shape::Idle => (1000, 0),
            Shape::Flood => (10, 0),
        };
        Self {
            shape,
            count,
            qos: 0,
            payload_bytes: 256,
            window,
            rate_per_second: 0,
            taken_per_second: if shape == Shape::Flood { FLOOD_TAKEN_PER_SECOND } else { 0 },
            length: Length::Time(Duration::from_secs(10)),
            warmup: Duration::from_secs(2),
            is_clean: true,
            is_subscribed: false,
        }
    }

    /// Checks the limits.
    pub fn check(&self) -> Result<(), CaseError> {
        let connections = self.publishers() + self.subscribers();
        between("--connections", connections as f64, 1.0, CONNECTIONS_MAX as f64)?;
        between("--qos", f64::from(self.qos), 0.0, 1.0)?;
        let (least, most) = (STAMP_BYTES as f64, PAYLOAD_BYTES_MAX as f64);
        between("--payload", self.payload_bytes as f64, least, most)?;
        between("--window", self.window as f64, 0.0, WINDOW_MAX as f64)?;
        between("--rate", self.rate_per_second as f64, 0.0, 1e8)?;
        between("--warmup", self.warmup.as_secs_f64(), 0.0, SECONDS_MAX)?;
        match self.length {
            Length::Time(time) => between("--seconds", time.as_secs_f64(), 0.1, SECONDS_MAX),
            Length::Messages(count) => {
                between("--messages", count as f64, self.publishers() as f64, 1e12)
            }
        }
    }

    /// Connections that publish.
    #[must_use]
    pub fn publishers(&self) -> usize {
        match self.shape {
            Shape::FanIn | Shape::Pairs | Shape::Flood => self.count,
            Shape::FanOut => 1,
            Shape::Idle => 0,
        }
    }

    /// Connections that subscribe (or idle).
    #[must_use]
    pub fn subscribers(&self) -> usize {
        match self.shape {
            Shape::FanIn | Shape::Flood => 1,
            Shape::Pairs | Shape::FanOut | Shape::Idle => self.count,
        }
    }

    /// Copies made of each published message.
    #[must_use]
    pub fn copies(&self) -> usize {
        if self.shape == Shape::FanOut { self.count } else { 1 }
    }

    /// The publishers that `subscriber` hears, as first and number.
    #[must_use]
    pub fn heard_by(&self, subscriber: usize) -> (usize, usize) {
        match self.shape {
            Shape::FanIn | Shape::Flood => (0, self.count),
            Shape::Pairs => (subscriber, 1),
            Shape::FanOut => (0, 1),
            Shape::Idle => (0, 0),
        }
    }

    /// The place of `subscriber` among those who hear the same publisher.
    #[must_use]
    pub fn place(&self, subscriber: usize) -> usize {
        if self.shape == Shape::FanOut { subscriber } else { 0 }
    }

    /// The topic name of `publisher` in the run called `run`.
    #[must_use]
    pub fn topic(&self, run: &str, publisher: usize) -> String {
        format!("load/{run}/{publisher}")
    }

    /// The topic filter of `subscriber` in the run called `run`.
    #[must_use]
    pub fn filter(&self, run: &str, subscriber: usize) -> String {
        match self.shape {
            Shape::FanIn | Shape::Flood => format!("load/{run}/+"),
            Shape::Pairs | Shape::Idle => self.topic(run, subscriber),
            Shape::FanOut => self.topic(run, 0),
        }
    }

    /// QoS 1 messages of one publisher without a PUBACK; without a window, those that MQTT can
    /// name.
    #[must_use]
    pub fn unacknowledged_max(&self) -> u64 {
        if self.window == 0 { WINDOW_MAX } else { self.window }
    }

    /// Messages of one publisher that its slowest subscriber has not received.
    ///
    /// At QoS 1 some windows more than the window: a broker may acknowledge before it delivers, but
    /// a load that let its queues grow for the whole run would measure their limits and not its
    /// speed.
    #[must_use]
    pub fn unseen_max(&self) -> u64 {
        match (self.window, self.qos) {
            (0, _) => u64::MAX,
            (window, 0) => window,
            (window, _) => window * QUEUED_WINDOWS,
        }
    }

    /// One line for a report, for example `pairs 50, QoS 1, 256 B, window 100`.
    #[must_use]
    pub fn title(&self) -> String {
        let mut title = format!("{} {}", self.shape.name(), self.count);
        if self.shape == Shape::Idle {
            title.push_str(if self.is_subscribed { ", subscribed" } else { "" });
            return title;
        }
        title.push_str(&format!(", QoS {}, {} B", self.qos, self.payload_bytes));
        if self.window > 0 {
            title.push_str(&format!(", window {}", self.window));
        }
        if self.rate_per_second > 0 {
            title.push_str(&format!(", {} msg/s", self.rate_per_second));
        }
        if self.taken_per_second > 0 {
            title.push_str(&format!(", {} msg/s taken", self.taken_per_second));
        }
        if !self.is_clean {
            title.push_str(", persistent");
        }
        title
    }
}

/// Refuses a number that is not between two others, both included.
pub(crate) fn between(
    option: &'static str,
    given: f64,
    least: f64,
    most: f64,
) -> Result<(), CaseError> {
    // Written so that a NaN is refused too.
    if given >= least && given <= most {
        return Ok(());
    }
    let allowed = format!("between {least} and {most}");
    Err(CaseError { option, allowed, given: given.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_heard_by_the_stated_number_of_subscribers() {
        for shape in [Shape::FanIn, Shape::Pairs, Shape::FanOut, Shape::Flood] {
            let case = Case { count: 7, ..Case::usual(shape) };
            for publisher in 0..case.publishers() {
                let hears = |&subscriber: &usize| {
                    let (first, number) = case.heard_by(subscriber);
                    (first..first + number).contains(&publisher)
                };
                let hearing: Vec<usize> = (0..case.subscribers()).filter(hears).collect();
                assert_eq!(hearing.len(), case.copies());
                let places: Vec<usize> = hearing.iter().map(|&it| case.place(it)).collect();
                assert_eq!(places, (0..case.copies()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_usual_cases_pass_and_those_beyond_a_limit_name_the_option() {
        let usual = Case::usual(Shape::Pairs);
        usual.check().unwrap();
        for (case, option) in [
            (Case { count: 0, ..usual.clone() }, "--connections"),
            (Case { count: CONNECTIONS_MAX, ..usual.clone() }, "--connections"),
            (Case { qos: 2, ..usual.clone() }, "--qos"),
            (Case { payload_bytes: STAMP_BYTES - 1, ..usual.clone() }, "--payload"),
            (Case { window: WINDOW_MAX + 1, ..usual.clone() }, "--window"),
            (Case { length: Length::Messages(1), ..usual.clone() }, "--messages"),
            (Case { length: Length::Time(Duration::ZERO), ..usual }, "--seconds"),
        ] {
            assert_eq!(case.check().unwrap_err().option, option);
        }
    }
}
