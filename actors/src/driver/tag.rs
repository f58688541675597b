//! One tag of a running driver: what was last read, what was last published, and when it turns
//! stale.

use super::state::Now;
use drivers::TagConfig;
use proto::{Quality, Scalar, TimestampMs, UnsPath, Value};

/// Poll intervals without a word from the machine after which a value is stale.
const STALE_INTERVALS: u64 = 2;

/// One tag.
pub(crate) struct Tag {
    /// What the operator configured.
    pub(crate) config: TagConfig,
    /// Where its value belongs.
    pub(crate) path: UnsPath,
    /// What the bus has.
    pub(crate) published: Option<Value>,
    /// How far the value can be trusted now.
    pub(crate) quality: Quality,
    /// Its first value after a connect is yet to come.
    pub(crate) is_fresh_connection: bool,
    /// Why the last read failed, if it did.
    pub(crate) error: Option<String>,
    datum: Option<Scalar>,
    good_at: Option<TimestampMs>,
    heard_at_ms: u64,
}

impl Tag {
    /// A tag whose value on the bus, from an earlier run, is `retained`.
    pub(crate) fn new(config: TagConfig, path: UnsPath, retained: Option<Value>, now: Now) -> Self {
        Self {
            config,
            path,
            quality: retained.as_ref().map_or(Quality::Good, |value| value.q),
            is_fresh_connection: true,
            error: None,
            datum: retained.as_ref().and_then(|value| value.v.clone()),
            good_at: retained.as_ref().map(|value| value.t),
            published: retained,
            heard_at_ms: now.ms,
        }
    }

    /// Takes a good read in; whether it has to be published.
    pub(super) fn take_good(&mut self, datum: Scalar, quality: Quality, now: Now) -> bool {
        let is_news = std::mem::take(&mut self.is_fresh_connection)
            || match &self.published {
                Some(Value { v: Some(before), q, .. }) => {
                    *q != quality || self.config.is_changed(before, &datum)
                }
                _ => true,
            };
        self.quality = quality;
        self.error = None;
        self.datum = Some(datum);
        self.good_at = Some(now.t);
        self.heard_at_ms = now.ms;
        is_news
    }

    /// Takes a refusal of the machine in; whether it has to be published.
    pub(super) fn take_bad(&mut self, error: String, now: Now) -> bool {
        self.is_fresh_connection = false;
        self.quality = Quality::Bad;
        self.error = Some(error);
        self.heard_at_ms = now.ms;
        self.published.as_ref().is_none_or(|value| value.q != Quality::Bad)
    }

    /// When it turns stale without a connection; `None` if it is.
    pub(super) fn stale_at_ms(&self) -> Option<u64> {
        let patience_ms = STALE_INTERVALS * u64::from(self.config.poll_interval_ms);
        (self.quality != Quality::Stale).then(|| self.heard_at_ms.saturating_add(patience_ms))
    }

    /// The value as it stands: never the time of anything but a good read, if there was one.
    pub(super) fn value(&self, now: TimestampMs) -> Value {
        Value {
            v: self.datum.clone(),
            t: self.good_at.unwrap_or(now),
            q: self.quality,
            u: self.config.unit.clone(),
        }
    }
}
