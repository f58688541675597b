//! When sleeping devices are to be woken for the deadlines of their commands, without I/O or clock.
//!
//! One alarm for each thing that has open commands, at the first deadline of them or before. An alarm that rings for
//! nothing costs a look at the store; a device that still has commands asks for its next one.

use proto::{ThingId, TimestampMs};
use std::collections::{BTreeSet, HashMap};

/// The longest that is waited at once, in milliseconds: the wall clock may be set meanwhile.
const WAIT_MS_MAX: u64 = 60_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    by_time: BTreeSet<(TimestampMs, ThingId)>,
    by_thing: HashMap<ThingId, TimestampMs>,
    /// When the timer rings that was set last.
    timer: Option<TimestampMs>,
}

impl Alarms {
    /// Wakes a thing at a time, unless it is woken before.
    pub(super) fn set(&mut self, thing: ThingId, at: TimestampMs) {
        match self.by_thing.get(&thing).copied() {
            Some(known) if known <= at => return,
            Some(known) => {
                self.by_time.remove(&(known, thing.clone()));
            }
            None => {}
        }
        self.by_thing.insert(thing.clone(), at);
        self.by_time.insert((at, thing));
    }

    /// Takes the things out that are to be woken by now.
    pub(super) fn ring(&mut self, now: TimestampMs) -> Vec<ThingId> {
        self.timer = None;
        let mut things = Vec::new();
        while let Some((at, thing)) = self.by_time.pop_first() {
            if at > now {
                self.by_time.insert((at, thing));
                break;
            }
            self.by_thing.remove(&thing);
            things.push(thing);
        }
        things
    }

    /// How long a timer has to wait from now, if one has to be set: none is, or it would ring too late.
    pub(super) fn timer_ms(&mut self, now: TimestampMs) -> Option<u64> {
        let (first, _) = self.by_time.first()?;
        let wait_ms = first.0.saturating_sub(now.0).min(WAIT_MS_MAX);
        let rings = TimestampMs(now.0 + wait_ms);
        if self.timer.is_some_and(|timer| timer <= rings) {
            return None;
        }
        self.timer = Some(rings);
        Some(wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(name: &str) -> ThingId {
        ThingId::parse(name).unwrap()
    }

    fn rung(alarms: &mut Alarms, now: u64) -> String {
        let things = alarms.ring(TimestampMs(now));
        things.iter().map(ThingId::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_thing_is_woken_once_at_the_first_of_its_times() {
        let mut alarms = Alarms::default();
        for (name, at) in [("a", 50), ("b", 20), ("a", 10), ("a", 30), ("c", 90)] {
            alarms.set(thing(name), TimestampMs(at));
        }
        assert_eq!(rung(&mut alarms, 9), "");
        assert_eq!(rung(&mut alarms, 20), "a b");
        assert_eq!(rung(&mut alarms, 60), "");
        assert_eq!(rung(&mut alarms, 90), "c");
        assert_eq!(alarms.timer_ms(TimestampMs(90)), None);
    }

    #[test]
    fn a_timer_is_set_for_the_first_alarm_and_again_for_an_earlier_one() {
        let mut alarms = Alarms::default();
        alarms.set(thing("a"), TimestampMs(500));
        assert_eq!(alarms.timer_ms(TimestampMs(100)), Some(400));
        alarms.set(thing("b"), TimestampMs(600));
        assert_eq!(alarms.timer_ms(TimestampMs(100)), None);
        alarms.set(thing("c"), TimestampMs(200));
        assert_eq!(alarms.timer_ms(TimestampMs(100)), Some(100));
        assert_eq!(rung(&mut alarms, 200), "c");
        assert_eq!(alarms.timer_ms(TimestampMs(200)), Some(300));
        alarms.set(thing("late"), TimestampMs(0));
        assert_eq!(alarms.timer_ms(TimestampMs(200)), Some(0));
    }

    #[test]
    fn no_timer_waits_longer_than_a_minute() {
        let mut alarms = Alarms::default();
        alarms.set(thing("a"), TimestampMs(10_000_000));
        assert_eq!(alarms.timer_ms(TimestampMs(0)), Some(60_000));
        assert_eq!(alarms.timer_ms(TimestampMs(0)), None);
        assert_eq!(rung(&mut alarms, 60_000), "");
        assert_eq!(alarms.timer_ms(TimestampMs(60_000)), Some(60_000));
    }
}
