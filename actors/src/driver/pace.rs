//! How fast a machine is read, and how punctually.

use proto::TimestampMs;
use serde::Serialize;

/// What one poll counts for in a mean: the last sixteen make most of it.
const PART: f64 = 1.0 / 16.0;

/// Milliseconds that something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Span {
    /// The last time.
    pub last: u64,
    /// Of the last polls, the later ones counting more; in tenths.
    pub mean: f64,
    /// The longest since the driver was started.
    pub max: u64,
}

/// How fast a machine is read, and how punctually, since its driver was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pace {
    /// From the beginning of a poll to its last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycle_ms: Option<Span>,
    /// How long after it was due a poll began: the jitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<Span>,
    /// When a point was last read well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good: Option<TimestampMs>,
    #[serde(skip)]
    begun_ms: Option<u64>,
}

impl Span {
    fn with(before: Option<Self>, ms: u64) -> Option<Self> {
        let Some(before) = before else { return Some(Self { last: ms, mean: ms as f64, max: ms }) };
        let mean = before.mean + (ms as f64 - before.mean) * PART;
        Some(Self { last: ms, mean: (mean * 10.0).round() / 10.0, max: before.max.max(ms) })
    }
}

impl Pace {
    /// A poll begins that was due then, if a schedule asked for it.
    pub(super) fn begun(&mut self, now_ms: u64, due_ms: Option<u64>) {
        self.begun_ms = Some(now_ms);
        // A reading back after a write is due whenever it comes.
        if let Some(late_ms) = due_ms.and_then(|due_ms| now_ms.checked_sub(due_ms)) {
            self.late_ms = Span::with(self.late_ms, late_ms);
        }
    }

    /// It has ended.
    pub(super) fn ended(&mut self, now_ms: u64) {
        if let Some(begun_ms) = self.begun_ms.take() {
            self.cycle_ms = Span::with(self.cycle_ms, now_ms.saturating_sub(begun_ms));
        }
    }

    /// Some points were read well, or came well.
    pub(super) fn good(&mut self, t: TimestampMs) {
        self.last_good = Some(t);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_and_lateness_are_those_of_the_polls() {
        let mut pace = Pace::default();
        pace.begun(100, Some(95));
        pace.ended(120);
        assert_eq!(pace.cycle_ms, Some(Span { last: 20, mean: 20.0, max: 20 }));
        assert_eq!(pace.late_ms.map(|it| it.last), Some(5));
        // Read back after a write, before the next poll is due.
        pace.begun(150, Some(195));
        pace.ended(154);
        assert_eq!(pace.cycle_ms, Some(Span { last: 4, mean: 19.0, max: 20 }));
        assert_eq!(pace.late_ms.map(|it| (it.last, it.max)), Some((5, 5)));
        // An answer to nothing that was begun.
        pace.ended(500);
        assert_eq!(pace.cycle_ms.map(|it| it.last), Some(4));
        let shown = serde_json::to_value(pace).unwrap();
        assert_eq!(shown["cycle_ms"]["mean"], 19.0);
        assert!(shown.get("begun_ms").is_none() && shown.get("last_good").is_none());
    }
}
