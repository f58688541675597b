//! What a driver says about itself on `edges/<edge>/drivers/<driver>/status`, retained.

use super::pace::Pace;
use super::state::DriverState;
use drivers::Counters;
use proto::{Quality, TimestampMs};
use serde::Serialize;

/// The state of a driver in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverPhase {
    /// There is no connection; it is being made.
    Connecting,
    /// Connected, and every point is good.
    Running,
    /// Connected, and the machine refuses some points.
    Degraded,
    /// Stopped with the node.
    Stopped,
    /// It cannot run: its configuration is refused, or its restarts are used up.
    Faulted,
}

/// The payload of the status topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriverStatus {
    /// In one word.
    pub state: DriverPhase,
    /// When it was said.
    pub t: TimestampMs,
    /// Why it is not running as it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its points by quality.
    pub points: PointFigures,
    /// What it did since it was last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
    /// How fast it is read, and how punctually.
    #[serde(flatten)]
    pub pace: Pace,
}

/// How many points are of which quality.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PointFigures {
    /// All of them.
    pub total: u64,
    /// Good, or not read yet.
    pub good: u64,
    /// Doubted by the machine.
    pub uncertain: u64,
    /// Refused by the machine.
    pub bad: u64,
    /// Without a source.
    pub stale: u64,
}

impl DriverStatus {
    /// A status without points, of a driver that does not run.
    pub(crate) fn down(state: DriverPhase, reason: Option<String>, t: TimestampMs) -> Self {
        Self {
            state,
            t,
            reason,
            points: PointFigures::default(),
            counters: None,
            pace: Pace::default(),
        }
    }

    /// The status of a running driver.
    pub(crate) fn of(
        state: &DriverState,
        (counters, pace): (Counters, Pace),
        t: TimestampMs,
    ) -> Self {
        let mut points = PointFigures::default();
        let mut first_bad = None;
        for tag in state.tags() {
            points.total += 1;
            match tag.quality {
                Quality::Good => points.good += 1,
                Quality::Uncertain => points.uncertain += 1,
                Quality::Bad => points.bad += 1,
                Quality::Stale => points.stale += 1,
            }
            if tag.quality == Quality::Bad && first_bad.is_none() {
                let error = tag.error.as_deref().unwrap_or("refused");
                first_bad = Some(format!("{}: {error}", tag.name));
            }
        }
        let (phase, reason) = match (state.is_connected(), first_bad) {
            (false, _) => (DriverPhase::Connecting, state.reason().map(str::to_owned)),
            (true, Some(first_bad)) => (DriverPhase::Degraded, Some(first_bad)),
            (true, None) => (DriverPhase::Running, None),
        };
        Self { state: phase, t, reason, points, counters: Some(counters), pace }
    }

    /// Whether somebody should hear at once that this is no longer `other`.
    pub(crate) fn is_turn_from(&self, other: &Self) -> bool {
        let has_values = |status: &Self| status.pace.last_good.is_some();
        self.state != other.state
            || self.reason != other.reason
            || has_values(self) != has_values(other)
    }

    /// Whether anything but the time differs from `other`.
    pub(crate) fn is_news_after(&self, other: &Self) -> bool {
        self.is_turn_from(other) || self.points != other.points || self.counters != other.counters
    }
}
