//! Which routes a change of the subscriptions makes stale.
//!
//! Every change has a number. It is noted in the place of its filter's first levels up to a wildcard, at most
//! [`DEPTH`] of them; a route is stale once a change is noted in a place of its topic's first levels. So clients
//! that come and go do not make others look their routes up again, unless two places are one by chance. Changes
//! are noted under the lock that a route is computed under.

use hashbrown::DefaultHashBuilder;
use proto::{TopicFilter, TopicName};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// Places of one namespace, 16 KiB of them.
const PLACES: usize = 2048;

/// How many levels count.
const DEPTH: usize = 4;

/// The changes of one namespace.
#[derive(Debug)]
pub(super) struct Versions {
    latest: AtomicU64,
    /// The latest change that concerns every topic, such as one under a filter that starts with a wildcard.
    everywhere: AtomicU64,
    places: Box<[AtomicU64]>,
    hasher: DefaultHashBuilder,
}

/// Up to which change a route of one topic is good, and where to look for later ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    version: u64,
    /// Of the first level, the first two and so on; the last is repeated.
    places: [u16; DEPTH],
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            latest: AtomicU64::new(0),
            everywhere: AtomicU64::new(0),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl Versions {
    /// A stamp for a route of `topic` that is computed now.
    pub(super) fn stamp(&self, topic: &TopicName) -> Stamp {
        let mut places = [0; DEPTH];
        let mut last = 0;
        let mut levels = topic.levels();
        for place in &mut places {
            if let Some(level) = levels.next() {
                last = self.step(last, level);
            }
            *place = last_place(last);
        }
        Stamp { version: self.latest.load(Ordering::Acquire), places }
    }

    /// Whether a route is still good. If so, the stamp moves on, so that the next look is quick.
    pub(super) fn is_good(&self, stamp: &mut Stamp) -> bool {
        let latest = self.latest.load(Ordering::Acquire);
        if stamp.version == latest {
            return true;
        }
        let noted = |place: &u16| self.places[usize::from(*place)].load(Ordering::Relaxed);
        let is_stale = self.everywhere.load(Ordering::Relaxed) > stamp.version
            || stamp.places.iter().any(|place| noted(place) > stamp.version);
        if !is_stale {
            stamp.version = latest;
        }
        !is_stale
    }

    /// Notes a change under `filter`. To be called under the lock of the subscriptions.
    pub(super) fn changed(&self, filter: &TopicFilter) {
        let mut last = None;
        for level in filter.levels().take(DEPTH).take_while(|level| !matches!(*level, "+" | "#")) {
            last = Some(self.step(last.unwrap_or(0), level));
        }
        self.note(match last {
            Some(last) => &self.places[usize::from(last_place(last))],
            None => &self.everywhere,
        });
    }

    /// Notes a change that concerns every topic. To be called under the lock of the subscriptions.
    pub(super) fn changed_everywhere(&self) {
        self.note(&self.everywhere);
    }

    fn note(&self, place: &AtomicU64) {
        let version = self.latest.load(Ordering::Relaxed) + 1;
        place.store(version, Ordering::Relaxed);
        // Whoever sees the number sees the note.
        self.latest.store(version, Ordering::Release);
    }

    fn step(&self, above: u64, level: &str) -> u64 {
        self.hasher.hash_one((above, level))
    }
}

fn last_place(hash: u64) -> u16 {
    // Less than PLACES, which fits.
    (hash % PLACES as u64) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.to_owned()).unwrap()
    }

    fn topic(text: &str) -> TopicName {
        TopicName::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn changes_elsewhere_leave_a_route_good() {
        let versions = Versions::default();
        let mut stamps: Vec<Stamp> = (0..100)
            .map(|number| versions.stamp(&topic(&format!("things/d{number}/telemetry"))))
            .collect();
        versions.changed(&filter("things/other/#"));
        versions.changed(&filter("clients/c1/reply/+"));
        let good = stamps.iter_mut().filter_map(|it| versions.is_good(it).then_some(())).count();
        assert!(good >= 95, "{good} of 100 are still good");
        versions.changed(&filter("things/+/telemetry"));
        assert!(!stamps.iter_mut().any(|it| versions.is_good(it)));
    }

    #[test]
    fn a_filter_that_starts_with_a_wildcard_concerns_every_topic() {
        let versions = Versions::default();
        for text in ["#", "+/c"] {
            let mut stamp = versions.stamp(&topic("a/b"));
            assert!(versions.is_good(&mut stamp));
            versions.changed(&filter(text));
            assert!(!versions.is_good(&mut stamp), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_change_that_matters_is_never_missed(
            filters in proptest::collection::vec("([ab+]/){0,6}[ab+#]", 1..5),
            name in "([ab]/){0,6}[ab]",
        ) {
            let versions = Versions::default();
            let name = topic(&name);
            let mut stamp = versions.stamp(&name);
            let mut is_concerned = false;
            for text in filters {
                let filter = filter(&text);
                versions.changed(&filter);
                is_concerned |= filter.matches(&name);
                prop_assert!(!(is_concerned && versions.is_good(&mut stamp)));
            }
        }
    }
}
