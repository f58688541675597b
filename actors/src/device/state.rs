//! Rules of one device, without I/O: what presence and telemetry change and say.
//!
//! Shadows have rules of their own in [`super::shadow`]. A [`PresenceChange`] or [`TelemetryChange`] is put
//! in force by the actor, which keeps it with the batch it is in, and goes back if that cannot be kept.

use super::presence::{Event, Presence, Status};
use super::row::DeviceRow;
use super::telemetry::Reading;
use proto::{Refusal, RefusalCode, TimestampMs, UnsPath, Value};
use std::collections::HashMap;

/// How often a device that is heard through its gateway gets a row for it, in milliseconds.
const HEARD_EVERY_MS: u64 = 10_000;

/// What a device actor knows besides shadows.
#[derive(Debug, Default)]
pub(crate) struct DeviceState {
    /// What is stored.
    pub(crate) row: DeviceRow,
    /// The time of the newest value of each path seen since the actor woke.
    newest: HashMap<UnsPath, TimestampMs>,
}

/// A change of presence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PresenceChange {
    /// The row to keep.
    pub(crate) row: DeviceRow,
    /// What to say, if it differs from what was said.
    pub(crate) status: Option<Status>,
}

/// What a telemetry message leads to.
#[derive(Debug, PartialEq)]
pub(crate) struct TelemetryChange {
    /// The row to keep, if it changes.
    pub(crate) row: Option<DeviceRow>,
    /// Values to publish, in the order of their times, and whether each is the newest of its path.
    pub(crate) values: Vec<(UnsPath, Value, IsNewest)>,
    newest: HashMap<UnsPath, TimestampMs>,
}

/// Whether a value is to be retained.
pub(crate) type IsNewest = bool;

impl DeviceState {
    /// The state a stored row stands for.
    pub(crate) fn new(row: DeviceRow) -> Self {
        Self { row, newest: HashMap::new() }
    }

    /// What an event of a connection leads to; `None` if nothing.
    pub(crate) fn decide_presence(
        &self,
        run: u64,
        event: Event,
        now: TimestampMs,
    ) -> Option<PresenceChange> {
        let mut presence = self.row.presence.clone();
        let status = presence.apply(run, event, now);
        self.changed(presence, status)
    }

    /// What a fresh look at the connections leads to; `None` if nothing.
    pub(crate) fn decide_resume(
        &self,
        run: u64,
        connections: std::collections::BTreeSet<u64>,
        now: TimestampMs,
    ) -> Option<PresenceChange> {
        let mut presence = self.row.presence.clone();
        let status = presence.resume(run, connections, now);
        self.changed(presence, status)
    }

    fn changed(&self, presence: Presence, status: Option<Status>) -> Option<PresenceChange> {
        let is_changed = presence != self.row.presence;
        let row = DeviceRow { presence, ..self.row.clone() };
        is_changed.then_some(PresenceChange { row, status })
    }

    /// What readings, in the order of their times, lead to. `retained_at` looks up the time of the
    /// value that the bus has at a path.
    pub(crate) fn decide_telemetry(
        &self,
        readings: Vec<Reading>,
        retained_at: impl Fn(&UnsPath) -> Option<TimestampMs>,
        keys_max: u64,
    ) -> Result<TelemetryChange, Refusal> {
        let mut newest: HashMap<UnsPath, TimestampMs> = HashMap::new();
        let mut keys = self.row.keys;
        let mut values = Vec::with_capacity(readings.len());
        // From the end, so that only the last of several readings of one path is retained.
        for Reading { path, v, t, u } in readings.into_iter().rev() {
            let is_newest = match newest.get(&path).or_else(|| self.newest.get(&path)) {
                Some(known) if newest.contains_key(&path) => t > *known,
                Some(known) => t >= *known,
                None => match retained_at(&path) {
                    Some(known) => {
                        newest.insert(path.clone(), known);
                        t >= known
                    }
                    None => {
                        keys += 1;
                        true
                    }
                },
            };
            if is_newest {
                newest.insert(path.clone(), t);
            }
            values.push((path, Value::good(v, t, u), is_newest));
        }
        if keys > keys_max {
            let message =
                format!("the thing would report {keys} different values, at most {keys_max}");
            return Err(Refusal::new(RefusalCode::QuotaExceeded, message));
        }
        values.reverse();
        let is_changed = keys != self.row.keys;
        let row = is_changed.then(|| DeviceRow { keys, ..self.row.clone() });
        Ok(TelemetryChange { row, values, newest })
    }

    /// What hearing of the device at `now` leads to: the row to keep, if it is worth one.
    pub(crate) fn decide_heard(&self, is_through: bool, now: TimestampMs) -> Option<DeviceRow> {
        let is_due = match self.row.heard {
            None => is_through || !self.row.is_activated(),
            Some(heard) => is_through && now.0 >= heard.0.saturating_add(HEARD_EVERY_MS),
        };
        is_due.then(|| DeviceRow { heard: Some(now), ..self.row.clone() })
    }

    /// The paths among `values` that this actor has not seen yet.
    pub(crate) fn unseen<'a>(
        &self,
        values: &'a [(UnsPath, Value, IsNewest)],
    ) -> impl Iterator<Item = &'a UnsPath> {
        values.iter().map(|(path, ..)| path).filter(|path| !self.newest.contains_key(*path))
    }

    /// Puts a kept change of presence in force.
    pub(crate) fn apply_presence(&mut self, change: PresenceChange) {
        self.row = change.row;
    }

    /// Puts a kept telemetry message in force.
    pub(crate) fn apply_telemetry(&mut self, change: TelemetryChange) {
        if let Some(row) = change.row {
            self.row = row;
        }
        self.newest.extend(change.newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Datum;

    fn reading(name: &str, v: i64, t: u64) -> Reading {
        let path = UnsPath::from_parts("acme/p", "_raw", name).unwrap();
        Reading { path, v: Datum::Int(v), t: TimestampMs(t), u: None }
    }

    /// Each value as `name=v@t`, with `!` if it is retained.
    fn report(
        state: &mut DeviceState,
        retained: &[(&str, u64)],
        readings: &[(&str, i64, u64)],
    ) -> String {
        let readings = readings.iter().map(|(name, v, t)| reading(name, *v, *t)).collect();
        let retained_at = |path: &UnsPath| {
            let found = retained.iter().find(|(name, _)| *name == path.name());
            found.map(|(_, t)| TimestampMs(*t))
        };
        let change = state.decide_telemetry(readings, retained_at, 3).unwrap();
        let shown: Vec<String> = change
            .values
            .iter()
            .map(|(path, value, is_newest)| {
                let mark = if *is_newest { "!" } else { "" };
                format!("{}={}@{}{mark}", path.name(), value.v.as_ref().unwrap(), value.t)
            })
            .collect();
        state.apply_telemetry(change);
        shown.join(" ")
    }

    #[test]
    fn backfill_never_replaces_a_newer_value() {
        let mut state = DeviceState::default();
        assert_eq!(report(&mut state, &[], &[("a", 1, 10)]), "a=1@10!");
        assert_eq!(report(&mut state, &[], &[("a", 2, 5)]), "a=2@5");
        assert_eq!(report(&mut state, &[], &[("a", 3, 10)]), "a=3@10!");
        let several = [("a", 4, 8), ("a", 5, 12), ("a", 6, 15)];
        assert_eq!(report(&mut state, &[], &several), "a=4@8 a=5@12 a=6@15!");
        assert_eq!(report(&mut state, &[], &[("a", 7, 14)]), "a=7@14");
    }

    #[test]
    fn a_device_that_slept_asks_the_bus_what_is_newest() {
        let mut state = DeviceState::default();
        let several = [("a", 1, 18), ("a", 2, 19), ("b", 1, 19)];
        assert_eq!(report(&mut state, &[("a", 20)], &several), "a=1@18 a=2@19 b=1@19!");
        assert_eq!(report(&mut state, &[], &[("a", 3, 19)]), "a=3@19");
        assert_eq!(report(&mut state, &[], &[("a", 3, 20)]), "a=3@20!");
        assert_eq!(state.row.keys, 1);
    }

    #[test]
    fn different_values_are_counted_and_bounded() {
        let mut state = DeviceState::default();
        report(&mut state, &[], &[("a", 1, 1), ("b", 1, 1), ("a", 2, 2)]);
        assert_eq!(state.row.keys, 2);
        let readings = vec![reading("c", 1, 1), reading("d", 1, 1)];
        let refusal = state.decide_telemetry(readings, |_| None, 3).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::QuotaExceeded);
        assert_eq!(state.row.keys, 2);
    }

    #[test]
    fn an_event_that_changes_nothing_is_no_change() {
        let mut state = DeviceState::default();
        let connected = Event::Connected { connection: 1 };
        let change = state.decide_presence(7, connected.clone(), TimestampMs(1)).unwrap();
        assert!(change.status.as_ref().unwrap().online);
        state.apply_presence(change);
        assert_eq!(state.decide_presence(7, connected, TimestampMs(2)), None);
    }
}
