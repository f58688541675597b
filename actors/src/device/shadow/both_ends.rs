//! A shadow that is changed at two ends, a hub and an edge node: how the two become one, without I/O.
//!
//! [`merged`] takes what both began with, and what each has made of it. Key by key, what one end has changed counts; if
//! both have changed it, apps at the hub are right about `desired`, and the edge node, where the device is, about
//! `reported`. So [`merged`] needs no clocks, and whatever comes late, or twice, leads to the same.

use super::merge::Stamped;
use super::{Decision, ShadowState};
use proto::shadow::{Accepted, Delta, Section, Sections};
use serde_json::{Map, Value as Json};

/// The one that is right where both ends have changed a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Winner {
    Hub,
    Edge,
}

/// What the hub and an edge node make of a shadow together; the version is that of the hub.
pub(crate) fn merged(base: &ShadowState, hub: &ShadowState, edge: &ShadowState) -> ShadowState {
    let exists = match (!base.has_same_state(hub), !base.has_same_state(edge)) {
        (_, false) => hub.exists,
        (false, true) => edge.exists,
        (true, true) => hub.exists || edge.exists,
    };
    let mut merged = ShadowState { exists, ..hub.clone() };
    merge(Winner::Hub, &base.desired.state, &mut merged.desired, &edge.desired);
    merge(Winner::Edge, &base.reported.state, &mut merged.reported, &edge.reported);
    merged
}

fn merge(winner: Winner, base: &Section, hub: &mut Stamped, edge: &Stamped) {
    let Stamped { state, metadata } = hub;
    merge_keys(winner, base, (state, metadata), (&edge.state, &edge.metadata));
}

fn merge_keys(
    winner: Winner,
    base: &Section,
    (hub, hub_stamps): (&mut Section, &mut Section),
    (edge, edge_stamps): (&Section, &Section),
) {
    let none = Section::new();
    let gone = base.keys().filter(|key| !edge.contains_key(*key));
    let keys: Vec<&String> = edge.keys().chain(gone).collect();
    for key in keys {
        let (was, there) = (base.get(key), edge.get(key));
        if was == there {
            continue;
        }
        if let (Some(Json::Object(there)), Some(Json::Object(here))) = (there, hub.get_mut(key)) {
            let was = was.and_then(Json::as_object).unwrap_or(&none);
            let stamps = edge_stamps.get(key).and_then(Json::as_object).unwrap_or(&none);
            let own = object_at(hub_stamps, key);
            merge_keys(winner, was, (here, own), (there, stamps));
        } else if winner == Winner::Edge || was == hub.get(key) {
            put(hub, key, there);
            put(hub_stamps, key, edge_stamps.get(key).filter(|_| there.is_some()));
        }
    }
}

fn put(section: &mut Section, key: &str, value: Option<&Json>) {
    match value {
        Some(value) => drop(section.insert(key.to_owned(), value.clone())),
        None => drop(section.remove(key)),
    }
}

/// The stamps of an object, which has an object of them.
fn object_at<'a>(stamps: &'a mut Section, key: &str) -> &'a mut Section {
    let slot = stamps.entry(key).or_insert_with(|| Json::Object(Map::new()));
    if !slot.is_object() {
        *slot = Json::Object(Map::new());
    }
    match slot {
        Json::Object(object) => object,
        _ => unreachable!("the slot was made an object just before"),
    }
}

/// The update that makes `after` out of `before`.
fn patch(before: &Section, after: &Section) -> Section {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let mut patch: Section = gone.map(|key| (key.clone(), Json::Null)).collect();
    for (key, value) in after {
        match (before.get(key), value) {
            (Some(was), value) if was == value => {}
            (Some(Json::Object(was)), Json::Object(is)) => {
                patch.insert(key.clone(), Json::Object(self::patch(was, is)));
            }
            (_, value) => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    patch
}

impl ShadowState {
    /// Whether another one says the same, whatever its version and its stamps.
    pub(crate) fn has_same_state(&self, other: &Self) -> bool {
        self.exists == other.exists
            && self.desired.state == other.desired.state
            && self.reported.state == other.reported.state
    }

    /// What becoming another one leads to: a further version, told as an update or a deletion would be.
    pub(crate) fn decide_becoming(&self, other: Self, now_secs: u64) -> Decision {
        if !other.exists {
            let next = Self { version: self.version, of_hub: other.of_hub, ..Self::default() };
            let accepted = Accepted {
                state: None,
                metadata: None,
                version: self.version,
                timestamp: now_secs,
                client_token: None,
            };
            return Decision { next: Some(next), accepted, delta: None, is_update: false };
        }
        let next = Self { version: self.version + 1, ..other };
        let changed = |before: &Stamped, after: &Stamped| {
            let patch = patch(&before.state, &after.state);
            let stamps = after.metadata_of(&patch);
            let some = |section: Section| (!section.is_empty()).then_some(Json::Object(section));
            (some(patch), some(stamps))
        };
        let (desired, desired_stamps) = changed(&self.desired, &next.desired);
        let (reported, reported_stamps) = changed(&self.reported, &next.reported);
        let accepted = Accepted {
            state: Some(Sections { desired, reported, delta: None }),
            metadata: Some(Sections {
                desired: desired_stamps,
                reported: reported_stamps,
                delta: None,
            }),
            version: next.version,
            timestamp: now_secs,
            client_token: None,
        };
        let delta = next.desired.difference(&next.reported.state).map(|it| Delta {
            version: next.version,
            timestamp: now_secs,
            state: it.state,
            metadata: it.metadata,
            client_token: None,
        });
        Decision { next: Some(next), accepted, delta, is_update: true }
    }
}

#[cfg(test)]
mod tests;
