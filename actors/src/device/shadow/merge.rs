//! How sections of a shadow are merged and compared (AWS IoT Device Shadow, "device shadow service
//! documents").
//!
//! Beside each section stands its metadata: the same tree, with `{"timestamp":<seconds>}` where the
//! section has a scalar or an array. Objects are merged key by key, anything else is replaced
//! whole, `null` deletes.

use proto::shadow::Section;
use serde_json::{Map, Value as Json, json};

/// One section and when each of its keys was last set.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stamped {
    /// The section.
    pub(crate) state: Section,
    /// Its metadata.
    pub(crate) metadata: Section,
}

impl Stamped {
    /// Merges a patch; what it sets is stamped with `now_secs`.
    pub(crate) fn merge(&mut self, patch: &Section, now_secs: u64) {
        merge(&mut self.state, &mut self.metadata, patch, now_secs);
    }

    /// The part that differs from `other`, with its metadata; `None` if nothing does.
    ///
    /// Keys that only `other` has do not count, and inside an array nothing is compared apart.
    pub(crate) fn difference(&self, other: &Section) -> Option<Self> {
        difference(&self.state, &self.metadata, other)
    }

    /// The metadata of the keys that a patch has set.
    pub(crate) fn metadata_of(&self, patch: &Section) -> Section {
        metadata_of(&self.metadata, patch)
    }
}

fn merge(state: &mut Section, metadata: &mut Section, patch: &Section, now_secs: u64) {
    for (key, value) in patch {
        match value {
            Json::Null => {
                state.remove(key);
                metadata.remove(key);
            }
            Json::Object(inner) => {
                let was_object = state.get(key).is_some_and(Json::is_object);
                if !was_object {
                    state.insert(key.clone(), json!({}));
                    metadata.insert(key.clone(), json!({}));
                }
                let Some(Json::Object(state)) = state.get_mut(key) else { continue };
                merge(state, object_at(metadata, key), inner, now_secs);
            }
            scalar_or_array => {
                state.insert(key.clone(), scalar_or_array.clone());
                metadata.insert(key.clone(), json!({ "timestamp": now_secs }));
            }
        }
    }
}

/// The object at `key`, put there if it is missing.
fn object_at<'a>(map: &'a mut Section, key: &str) -> &'a mut Section {
    let slot = map.entry(key).or_insert(Json::Null);
    if !slot.is_object() {
        *slot = Json::Object(Map::new());
    }
    match slot {
        Json::Object(object) => object,
        _ => unreachable!("the slot was made an object just before"),
    }
}

fn difference(desired: &Section, metadata: &Section, reported: &Section) -> Option<Stamped> {
    let mut found = Stamped::default();
    for (key, wanted) in desired {
        let stamps = metadata.get(key).cloned().unwrap_or(Json::Null);
        let (state, stamps) = match (wanted, reported.get(key)) {
            (Json::Object(wanted), Some(Json::Object(actual))) => {
                let empty = Section::new();
                let inner = stamps.as_object().unwrap_or(&empty);
                match difference(wanted, inner, actual) {
                    Some(inner) => (Json::Object(inner.state), Json::Object(inner.metadata)),
                    None => continue,
                }
            }
            (wanted, Some(actual)) if is_same(wanted, actual) => continue,
            (wanted, _) => (wanted.clone(), stamps),
        };
        found.state.insert(key.clone(), state);
        found.metadata.insert(key.clone(), stamps);
    }
    (!found.state.is_empty()).then_some(found)
}

/// Equal as JSON documents are: `21` and `21.0` are one number.
fn is_same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => {
            left == right || (left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64()
        }
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| is_same(l, r))
        }
        (Json::Object(left), Json::Object(right)) => {
            let same_at = |(key, value)| right.get(key).is_some_and(|it| is_same(value, it));
            left.len() == right.len() && left.iter().all(same_at)
        }
        _ => left == right,
    }
}

fn metadata_of(metadata: &Section, patch: &Section) -> Section {
    let mut found = Section::new();
    for (key, value) in patch {
        let Some(stamps) = metadata.get(key) else { continue };
        let stamps = match (value, stamps) {
            (Json::Null, _) => continue,
            (Json::Object(inner), Json::Object(stamps)) => Json::Object(metadata_of(stamps, inner)),
            _ => stamps.clone(),
        };
        found.insert(key.clone(), stamps);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn section(json: Json) -> Section {
        json.as_object().unwrap().clone()
    }

    fn merged(before: Json, patch: Json) -> Stamped {
        let mut stamped = Stamped::default();
        stamped.merge(&section(before), 1);
        stamped.merge(&section(patch), 2);
        stamped
    }

    #[test]
    fn merging_follows_the_table() {
        let cases = [
            (json!({"a":1}), json!({"b":2}), json!({"a":1,"b":2})),
            (json!({"a":1}), json!({"a":null}), json!({})),
            (json!({}), json!({"a":null}), json!({})),
            (json!({"a":{"x":1}}), json!({"a":{"y":2}}), json!({"a":{"x":1,"y":2}})),
            (json!({"a":{"x":1}}), json!({"a":{"x":null}}), json!({"a":{}})),
            (json!({"a":[1,2,3]}), json!({"a":[9]}), json!({"a":[9]})),
            (json!({"a":1}), json!({"a":{"x":1,"y":null}}), json!({"a":{"x":1}})),
            (json!({"a":{"x":1}}), json!({"a":7}), json!({"a":7})),
        ];
        for (before, patch, after) in cases {
            assert_eq!(Json::Object(merged(before, patch.clone()).state), after, "{patch}");
        }
    }

    #[test]
    fn only_what_is_set_is_stamped_anew() {
        let after = merged(json!({"a":{"x":1,"y":1},"l":[1]}), json!({"a":{"y":2},"l":[2]}));
        assert_eq!(
            Json::Object(after.metadata.clone()),
            json!({"a":{"x":{"timestamp":1},"y":{"timestamp":2}},"l":{"timestamp":2}})
        );
        let echoed = after.metadata_of(&section(json!({"a":{"y":2,"gone":null}})));
        assert_eq!(Json::Object(echoed), json!({"a":{"y":{"timestamp":2}}}));
    }

    #[test]
    fn the_difference_holds_desired_keys_only_that_differ() {
        let cases = [
            (json!({"a":1}), json!({"a":1}), None),
            (json!({"a":21}), json!({"a":21.0}), None),
            (json!({"a":1}), json!({"a":1,"b":2}), None),
            (json!({"a":1}), json!({}), Some(json!({"a":1}))),
            (json!({"a":1}), json!({"a":"1"}), Some(json!({"a":1}))),
            (json!({"a":[1,2]}), json!({"a":[1,3]}), Some(json!({"a":[1,2]}))),
            (json!({"a":{"x":1,"y":2}}), json!({"a":{"x":1}}), Some(json!({"a":{"y":2}}))),
            (json!({"a":{"x":1}}), json!({"a":5}), Some(json!({"a":{"x":1}}))),
            (json!({"a":{}}), json!({"a":{"x":1}}), None),
        ];
        for (desired, reported, expected) in cases {
            let mut stamped = Stamped::default();
            stamped.merge(&section(desired.clone()), 1);
            let difference = stamped.difference(&section(reported));
            assert_eq!(difference.map(|it| Json::Object(it.state)), expected, "{desired}");
        }
    }

    /// A naive model: every leaf by its path. A path ending in an empty object is `{}`.
    fn leaves(path: &str, json: &Json, out: &mut BTreeMap<String, Json>) {
        match json {
            Json::Object(map) if !map.is_empty() || path.is_empty() => {
                for (key, value) in map {
                    leaves(&format!("{path}/{key}"), value, out);
                }
            }
            other => {
                out.insert(path.to_owned(), other.clone());
            }
        }
    }

    fn flat(section: &Section) -> BTreeMap<String, Json> {
        let mut out = BTreeMap::new();
        leaves("", &Json::Object(section.clone()), &mut out);
        out
    }

    fn tree() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            (0..4).prop_map(Json::from),
            Just(json!([1, 2])),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            proptest::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect()))
        })
    }

    fn object() -> impl Strategy<Value = Section> {
        proptest::collection::btree_map("[a-c]", tree(), 0..4)
            .prop_map(|map| map.into_iter().collect())
    }

    /// RFC 7396 as its appendix writes it.
    fn naive_merge(target: &Json, patch: &Json) -> Json {
        let Json::Object(patch) = patch else { return patch.clone() };
        let mut result = target.as_object().cloned().unwrap_or_default();
        for (key, value) in patch {
            if value.is_null() {
                result.remove(key);
            } else {
                let before = result.get(key).cloned().unwrap_or(Json::Null);
                result.insert(key.clone(), naive_merge(&before, value));
            }
        }
        Json::Object(result)
    }

    proptest! {
        #[test]
        fn merging_equals_the_naive_model(patches in proptest::collection::vec(object(), 1..5)) {
            let mut stamped = Stamped::default();
            let mut naive = json!({});
            for (now, patch) in (1..).zip(&patches) {
                stamped.merge(patch, now);
                naive = naive_merge(&naive, &Json::Object(patch.clone()));
            }
            prop_assert_eq!(Json::Object(stamped.state.clone()), naive);
            // The metadata has the shape of the section: one stamp for each leaf.
            let stamps = flat(&stamped.metadata);
            for (path, value) in flat(&stamped.state) {
                let is_stamped = stamps.contains_key(&format!("{path}/timestamp"));
                prop_assert!(is_stamped || value == json!({}), "{} is not stamped", path);
            }
        }

        #[test]
        fn reporting_the_difference_ends_it(desired in object(), reported in object()) {
            let (mut want, mut have) = (Stamped::default(), Stamped::default());
            want.merge(&desired, 1);
            have.merge(&reported, 1);
            if let Some(difference) = want.difference(&have.state) {
                have.merge(&difference.state, 2);
            }
            prop_assert_eq!(want.difference(&have.state), None);
        }
    }
}
