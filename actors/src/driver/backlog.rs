//! What a driver has for the bus besides values as they stand: events, and what the machine had kept while it was away.
//!
//! A gap begins with the last known value of a tag and ends with the first one of a connection. Those that begin at
//! about the same time are asked for together, a page at a time, when nothing else waits for the machine; the next page
//! only when the one before is on the bus. Events wait until they are on the bus, the oldest going first.

use super::tag::{Pacing, Tag};
use drivers::{Event, Gap, Kept, PointId, QueryError, Sample};
use proto::{Datum, TimestampMs, Value};
use std::collections::{BTreeMap, VecDeque};

/// Events that wait, as when no commit succeeds; then the oldest go.
const EVENTS_MAX: usize = 10_000;

/// The most gaps that are asked for at a time.
const GAPS_AT_ONCE: usize = 50;

/// How far apart the beginnings of those may be: what lies between is read in vain.
const APART_MS: u64 = 1000;

/// The gaps that wait, for each tag: one outage after the other, while the machine has no time for history.
const GAPS_PER_TAG: usize = 4;

/// Connections that may be lost one after the other while the machine is asked; then it is the question that they do
/// not survive, and it is not asked again.
const LOSSES_MAX: u32 = 3;

/// What is known of a gap besides its beginning.
#[derive(Debug, Clone)]
struct Hole {
    before: TimestampMs,
    /// The last value that was published before what is yet to come.
    last: Option<(TimestampMs, Datum)>,
}

/// See the module.
pub(crate) struct Backlog {
    back_max_ms: u64,
    gaps_max: usize,
    gaps: BTreeMap<(TimestampMs, PointId), Hole>,
    /// Those that the machine is asked for now.
    asked: Vec<(Gap, Hole)>,
    /// Connections lost over that since the machine last answered.
    losses: u32,
    recalled: VecDeque<(PointId, Value)>,
    events: VecDeque<Event>,
    lost: Losses,
}

/// What was given up, since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Events that had to make room.
    pub(crate) events: u64,
    /// Gaps of which some or all is not asked for.
    pub(crate) gaps: u64,
}

impl Backlog {
    /// Nothing, of a driver with so many tags whose machine is asked for so much of its history, if any.
    pub(crate) fn new(back_max_ms: u64, tags: usize) -> Self {
        Self {
            back_max_ms,
            gaps_max: tags.saturating_mul(GAPS_PER_TAG),
            gaps: BTreeMap::new(),
            asked: Vec::new(),
            losses: 0,
            recalled: VecDeque::new(),
            events: VecDeque::new(),
            lost: Losses::default(),
        }
    }

    /// What was given up since the last call.
    pub(crate) fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.lost)
    }

    /// Takes events in.
    pub(crate) fn happened(&mut self, events: Vec<Event>) {
        self.events.extend(events);
        let over = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..over);
        self.lost.events += over as u64;
    }

    /// Takes a gap in, if the machine is asked for history at all; `last` is the value before it.
    pub(crate) fn was_away(&mut self, gap: Gap, last: Option<Datum>) {
        if self.back_max_ms == 0 {
            return;
        }
        let earliest = TimestampMs(gap.before.0.saturating_sub(self.back_max_ms));
        if gap.after < earliest {
            self.lost.gaps += 1;
        }
        let last = last.map(|last| (gap.after, last));
        self.put(Gap { after: gap.after.max(earliest), ..gap }, last);
    }

    fn put(&mut self, gap: Gap, last: Option<(TimestampMs, Datum)>) {
        self.gaps.insert((gap.after, gap.point), Hole { before: gap.before, last });
        if self.gaps.len() > self.gaps_max {
            self.gaps.pop_first();
            self.lost.gaps += 1;
        }
    }

    /// What to ask the machine for next, if what it told before is on the bus.
    pub(crate) fn next_gaps(&mut self) -> Option<Vec<Gap>> {
        if !self.recalled.is_empty() {
            return None;
        }
        let (&(first, _), _) = self.gaps.first_key_value()?;
        while self.asked.len() < GAPS_AT_ONCE
            && let Some(entry) = self.gaps.first_entry()
            && entry.key().0.0 - first.0 <= APART_MS
        {
            let ((after, point), hole) = entry.remove_entry();
            self.asked.push((Gap { point, after, before: hole.before }, hole));
        }
        Some(self.asked.iter().map(|(gap, _)| *gap).collect())
    }

    /// The connection is gone: what was asked for is asked again, unless that is what ends connections.
    pub(crate) fn lost(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        self.losses += 1;
        if self.losses >= LOSSES_MAX {
            return self.give_up();
        }
        for (gap, hole) in std::mem::take(&mut self.asked) {
            self.put(gap, hole.last);
        }
    }

    /// What the machine has kept of that.
    pub(crate) fn recalled(&mut self, outcome: Result<Vec<Kept>, QueryError>, tags: &[Tag]) {
        let kept = match outcome {
            Ok(kept) => kept,
            Err(QueryError::Lost(_)) => return self.lost(),
            // It keeps nothing of anything: the next connection asks again.
            Err(QueryError::Unsupported) => {
                self.asked.clear();
                self.gaps.clear();
                return;
            }
            // It is late, or refuses: each further question would hold up what is current, and end in the same way.
            Err(_) => return self.give_up(),
        };
        self.losses = 0;
        for ((gap, hole), kept) in std::mem::take(&mut self.asked).into_iter().zip(kept) {
            let Some(tag) = tags.get(gap.point.index()) else { continue };
            let mut last = hole.last;
            for sample in kept.samples {
                let Some(at) = sample.at else { continue };
                if is_news(&tag.pacing, last.as_ref(), at, &sample) {
                    last = Some((at, sample.value.clone()));
                    let unit = tag.unit.as_deref().map(str::to_owned);
                    let value = Value { v: Some(sample.value), t: at, q: sample.quality, u: unit };
                    self.recalled.push_back((gap.point, value));
                }
            }
            if let Some(after) = kept.more_after {
                self.put(Gap { after, ..gap }, last);
            }
        }
    }

    fn give_up(&mut self) {
        self.lost.gaps += (self.asked.len() + self.gaps.len()) as u64;
        self.asked.clear();
        self.gaps.clear();
        self.losses = 0;
    }

    /// Whether anything waits for the bus.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.recalled.is_empty() || !self.events.is_empty()
    }

    /// The first values that were recalled, and the first events, as many as `limit` of each.
    pub(crate) fn unpublished(&self, limit: usize) -> (Vec<(PointId, Value)>, Vec<Event>) {
        let values = self.recalled.iter().take(limit).cloned().collect();
        (values, self.events.iter().take(limit).cloned().collect())
    }

    /// So many of them are on the bus, durably.
    pub(crate) fn published(&mut self, values: usize, events: usize) {
        self.recalled.drain(..values.min(self.recalled.len()));
        self.events.drain(..events.min(self.events.len()));
    }
}

/// Whether a value of the past is published, by what the tag says of its present ones.
fn is_news(
    pacing: &Pacing,
    last: Option<&(TimestampMs, Datum)>,
    at: TimestampMs,
    sample: &Sample,
) -> bool {
    let Some((last_at, last)) = last else { return true };
    let is_paced = at.0.saturating_sub(last_at.0) < u64::from(pacing.min_interval_ms);
    !is_paced && pacing.is_news(last, &sample.value)
}

#[cfg(test)]
mod tests;
