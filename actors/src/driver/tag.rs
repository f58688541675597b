//! One tag of a running driver: what was last read, what was last published, and when it turns
//! stale.
//!
//! A driver has ten thousand of them, so that each holds what is needed while it runs, and not all that was configured.

use super::command::Now;
use drivers::{Deadband, Gap, PointId, Publish, Sample, TagConfig, TagKind};
use proto::{Datum, Quality, TagId, TimestampMs, UnsPath, Value};

/// Poll intervals without a word from the machine after which a value is stale.
const STALE_INTERVALS: u64 = 2;

/// When the values of a tag are read and published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacing {
    pub(crate) poll_interval_ms: u32,
    pub(crate) min_interval_ms: u32,
    pub(crate) max_interval_ms: u32,
    publish: Publish,
    dead: Deadband,
}

impl Pacing {
    fn of(config: &TagConfig) -> Self {
        Self {
            poll_interval_ms: config.poll_interval_ms,
            min_interval_ms: config.min_interval_ms,
            max_interval_ms: config.max_interval_ms,
            publish: config.publish,
            dead: config.dead(),
        }
    }

    /// Whether a value has to be published after another one.
    pub(crate) fn is_news(&self, before: &Datum, datum: &Datum) -> bool {
        self.publish == Publish::Always || self.dead.is_exceeded(before, datum)
    }
}

/// One tag.
pub(crate) struct Tag {
    /// Its name.
    pub(crate) name: TagId,
    /// What it stands for.
    pub(crate) kind: TagKind,
    /// Of a method where it is.
    pub(crate) method: Option<Box<str>>,
    /// The unit of its value.
    pub(crate) unit: Option<Box<str>>,
    /// Where its value belongs.
    pub(crate) path: UnsPath,
    /// When it is read and published.
    pub(crate) pacing: Pacing,
    /// What the bus has.
    published: Option<(Option<Datum>, Quality)>,
    /// How far the value can be trusted now.
    pub(crate) quality: Quality,
    /// Its first value after a connect is yet to come, which is published, changed or not.
    is_fresh_connection: bool,
    /// Its first good value after a connect is yet to come.
    was_away: bool,
    /// Why the last read failed, if it did.
    pub(crate) error: Option<Box<str>>,
    datum: Option<Datum>,
    good_at: Option<TimestampMs>,
    heard_at_ms: u64,
    /// When the bus last got it; `None` if that was before this run.
    published_at_ms: Option<u64>,
}

impl Tag {
    /// A tag whose value on the bus, from an earlier run, is `retained`.
    pub(crate) fn new(config: TagConfig, path: UnsPath, retained: Option<Value>, now: Now) -> Self {
        Self {
            pacing: Pacing::of(&config),
            name: config.tag,
            kind: config.kind,
            method: (config.kind == TagKind::Method).then(|| config.address.into()),
            unit: config.unit.map(Into::into),
            path,
            quality: retained.as_ref().map_or(Quality::Good, |value| value.q),
            is_fresh_connection: true,
            was_away: true,
            error: None,
            datum: retained.as_ref().and_then(|value| value.v.clone()),
            good_at: retained.as_ref().map(|value| value.t),
            published: retained.map(|value| (value.v, value.q)),
            heard_at_ms: now.ms,
            published_at_ms: None,
        }
    }

    /// Whether the bus has a value of it.
    pub(super) fn is_published(&self) -> bool {
        self.published.is_some()
    }

    /// Whether it is a value of the machine.
    pub(super) fn is_value(&self) -> bool {
        self.kind == TagKind::Value
    }

    /// Whether the machine tells something of it by itself, if it tells anything.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self.kind, TagKind::Value | TagKind::Events)
    }

    /// There is a connection again.
    pub(super) fn connected(&mut self) {
        self.is_fresh_connection = true;
        self.was_away = true;
        // Whether the machine tells events is found out anew.
        if self.kind == TagKind::Events {
            self.quality = Quality::Good;
        }
    }

    /// The time without values before the first good one of a connection, with the last value before it. A machine
    /// that does not say when its values came about has kept none.
    pub(super) fn gap_before(
        &mut self,
        point: PointId,
        sample: &Sample,
    ) -> Option<(Gap, Option<Datum>)> {
        let was_away = std::mem::take(&mut self.was_away) && self.is_value();
        let (after, before) = (self.good_at.filter(|_| was_away)?, sample.at?);
        let is_gap = before.0.saturating_sub(after.0) > 1;
        is_gap.then(|| (Gap { point, after, before }, self.datum.clone()))
    }

    /// Takes a good read in; whether it has to be published.
    pub(super) fn take_good(&mut self, sample: Sample, now: Now) -> bool {
        let Sample { value: datum, quality, at, .. } = sample;
        let is_news = std::mem::take(&mut self.is_fresh_connection)
            || match &self.published {
                Some((Some(before), q)) => *q != quality || self.pacing.is_news(before, &datum),
                _ => true,
            };
        self.quality = quality;
        self.error = None;
        self.datum = Some(datum);
        // A value that the driver itself calls stale is none of now.
        let known = self.good_at.filter(|_| quality == Quality::Stale);
        self.good_at = Some(at.or(known).unwrap_or(now.t));
        self.heard_at_ms = now.ms;
        is_news
    }

    /// The bus has this value, since `now`.
    pub(super) fn note_published(&mut self, value: Value, now_ms: u64) {
        self.published = Some((value.v, value.q));
        self.published_at_ms = Some(now_ms);
    }

    /// Until when a value that has to be published is held back, if it is.
    pub(super) fn held_until_ms(&self, now_ms: u64) -> Option<u64> {
        let min_ms = u64::from(self.pacing.min_interval_ms);
        // A change of quality does not wait.
        if self.published.as_ref().is_none_or(|(_, q)| *q != self.quality) {
            return None;
        }
        self.published_at_ms.map(|at_ms| at_ms.saturating_add(min_ms)).filter(|it| *it > now_ms)
    }

    /// When it has to be published again, changed or not; `None` if never, or not now.
    pub(super) fn again_at_ms(&self) -> Option<u64> {
        let max_ms = u64::from(self.pacing.max_interval_ms);
        let is_due = max_ms > 0 && self.quality == Quality::Good && self.datum.is_some();
        self.published_at_ms.filter(|_| is_due).map(|at_ms| at_ms.saturating_add(max_ms))
    }

    /// Takes a refusal of the machine in; whether it has to be published.
    pub(super) fn take_bad(&mut self, error: String, now: Now) -> bool {
        self.is_fresh_connection = false;
        self.quality = Quality::Bad;
        self.error = Some(error.into());
        self.heard_at_ms = now.ms;
        self.published.as_ref().is_none_or(|(_, q)| *q != Quality::Bad)
    }

    /// It cannot be computed any more, since what it stands upon is stale; whether that has to be published.
    pub(super) fn take_stale(&mut self) -> bool {
        self.quality = Quality::Stale;
        self.error = None;
        self.published.as_ref().is_some_and(|(_, q)| *q != Quality::Stale)
    }

    /// The value that others can be computed from, and its time; `None` if it has none now.
    pub(super) fn usable(&self) -> Option<(&Datum, TimestampMs)> {
        let is_usable = matches!(self.quality, Quality::Good | Quality::Uncertain);
        self.datum.as_ref().zip(self.good_at).filter(|_| is_usable)
    }

    /// When it turns stale without a connection; `None` if it is.
    pub(super) fn stale_at_ms(&self) -> Option<u64> {
        let patience_ms = STALE_INTERVALS * u64::from(self.pacing.poll_interval_ms);
        (self.is_value() && self.quality != Quality::Stale)
            .then(|| self.heard_at_ms.saturating_add(patience_ms))
    }

    /// The value as it stands: never the time of anything but a good read, if there was one.
    pub(super) fn value(&self, now: TimestampMs) -> Value {
        Value {
            v: self.datum.clone(),
            t: self.good_at.unwrap_or(now),
            q: self.quality,
            u: self.unit.as_deref().map(str::to_owned),
        }
    }
}
