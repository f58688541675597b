//! Two ends of one shadow: a table of who is right, and that both always come to the same.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn section(json: &Json) -> Section {
    json.as_object().unwrap().clone()
}

fn stamped(json: &Json, t: u64) -> Stamped {
    let mut stamped = Stamped::default();
    stamped.merge(&section(json), t);
    stamped
}

fn shadow(desired: Json, reported: Json, t: u64) -> ShadowState {
    let exists = desired != json!({}) || reported != json!({});
    let (desired, reported) = (stamped(&desired, t), stamped(&reported, t));
    ShadowState { version: t, exists, desired, reported, of_hub: None }
}

#[test]
fn what_one_end_has_changed_counts_and_each_end_is_right_about_its_own() {
    let one = json!({"a": 1});
    // Base, hub, edge node; what becomes of it as `desired`, and as `reported`.
    let cases = [
        (one.clone(), one.clone(), one.clone(), json!({"a": 1}), json!({"a": 1})),
        (one.clone(), json!({"a": 2}), one.clone(), json!({"a": 2}), json!({"a": 2})),
        (one.clone(), one.clone(), json!({"a": 3}), json!({"a": 3}), json!({"a": 3})),
        (one.clone(), json!({"a": 2}), json!({"a": 3}), json!({"a": 2}), json!({"a": 3})),
        // Different keys do not meet.
        (
            one.clone(),
            json!({"a": 1, "h": 1}),
            json!({"a": 1, "e": 1}),
            json!({"a": 1, "h": 1, "e": 1}),
            json!({"a": 1, "h": 1, "e": 1}),
        ),
        // Taken away at one end.
        (json!({"a": 1, "b": 1}), one.clone(), json!({"a": 1, "b": 1}), one.clone(), one.clone()),
        (json!({"a": 1, "b": 1}), json!({"a": 1, "b": 1}), one.clone(), one.clone(), one.clone()),
        // Taken away at one, changed at the other.
        (one.clone(), json!({}), json!({"a": 3}), json!({}), json!({"a": 3})),
        (one.clone(), json!({"a": 2}), json!({}), json!({"a": 2}), json!({})),
        // Within objects.
        (
            json!({"o": {"x": 1, "y": 1}}),
            json!({"o": {"x": 2, "y": 1}}),
            json!({"o": {"x": 1, "y": 3}}),
            json!({"o": {"x": 2, "y": 3}}),
            json!({"o": {"x": 2, "y": 3}}),
        ),
        (
            json!({}),
            json!({"o": {"x": 2}}),
            json!({"o": 7}),
            json!({"o": {"x": 2}}),
            json!({"o": 7}),
        ),
    ];
    for (base, hub, edge, desired, reported) in cases {
        let of = |it: &Json| shadow(it.clone(), it.clone(), 1);
        let merged = merged(&of(&base), &of(&hub), &of(&edge));
        assert_eq!(Json::Object(merged.desired.state), desired, "{base} {hub} {edge}");
        assert_eq!(Json::Object(merged.reported.state), reported, "{base} {hub} {edge}");
    }
}

#[test]
fn a_shadow_is_deleted_if_nobody_has_touched_it_meanwhile() {
    let there = shadow(json!({"a": 1}), json!({"a": 1}), 1);
    let changed = shadow(json!({"a": 2}), json!({"a": 1}), 2);
    let gone = ShadowState { version: 1, ..ShadowState::default() };
    assert!(!merged(&there, &there, &gone).exists);
    assert!(!merged(&there, &gone, &there).exists);
    assert!(!merged(&there, &gone, &gone).exists);
    assert!(merged(&there, &changed, &gone).exists);
    assert_eq!(Json::Object(merged(&there, &changed, &gone).desired.state), json!({"a": 2}));
    assert!(merged(&ShadowState::default(), &there, &ShadowState::default()).exists);
    assert!(merged(&ShadowState::default(), &ShadowState::default(), &there).exists);
}

#[test]
fn times_of_keys_are_those_of_the_end_that_set_them() {
    let base = shadow(json!({"a": 1, "o": {"x": 1}}), json!({}), 1);
    let hub = shadow(json!({"a": 2, "o": {"x": 1}}), json!({}), 5);
    let edge = shadow(json!({"a": 1, "o": {"x": 1, "y": 2}}), json!({"r": 1}), 9);
    let merged = merged(&base, &hub, &edge);
    assert_eq!(merged.desired.metadata["a"], json!({"timestamp": 5}));
    assert_eq!(merged.desired.metadata["o"]["y"], json!({"timestamp": 9}));
    assert_eq!(merged.reported.metadata["r"], json!({"timestamp": 9}));
}

#[test]
fn it_is_told_as_an_update_that_anybody_could_have_made() {
    let before = shadow(json!({"a": 1, "gone": 1, "o": {"x": 1, "y": 1}}), json!({}), 4);
    let after = shadow(json!({"a": 2, "o": {"x": 1, "y": 2}}), json!({"a": 2}), 6);
    let decision = before.decide_becoming(after.clone(), 9);
    let next = decision.next.unwrap();
    assert_eq!((next.version, next.has_same_state(&after)), (5, true));
    let accepted = serde_json::to_value(&decision.accepted).unwrap();
    let desired = json!({"a": 2, "gone": null, "o": {"y": 2}});
    assert_eq!(accepted["state"], json!({"desired": desired, "reported": {"a": 2}}));
    let delta = serde_json::to_value(decision.delta).unwrap();
    assert_eq!(delta["state"], json!({"o": {"x": 1, "y": 2}}));
    let deleted = before.decide_becoming(ShadowState::default(), 9);
    assert_eq!(deleted.next.unwrap(), ShadowState { version: 4, ..ShadowState::default() });
    assert_eq!((decision.is_update, deleted.is_update), (true, false));
}

fn tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![(0..3).prop_map(Json::from), Just(json!([1, 2]))];
    leaf.prop_recursive(2, 12, 3, |inner| {
        proptest::collection::btree_map("[a-c]", inner, 0..3)
            .prop_map(|map| Json::Object(map.into_iter().collect()))
    })
}

fn any_shadow() -> impl Strategy<Value = ShadowState> {
    let object = || {
        proptest::collection::btree_map("[a-c]", tree(), 0..3)
            .prop_map(|map| Json::Object(map.into_iter().collect()))
    };
    (object(), object()).prop_map(|(desired, reported)| shadow(desired, reported, 1))
}

proptest! {
    #[test]
    fn what_only_one_end_has_changed_is_what_it_becomes(base in any_shadow(), next in any_shadow()) {
        prop_assert!(merged(&base, &base, &next).has_same_state(&next));
        prop_assert!(merged(&base, &next, &base).has_same_state(&next));
    }

    #[test]
    fn when_the_edge_node_has_taken_it_there_is_nothing_left_to_merge(
        base in any_shadow(), hub in any_shadow(), edge in any_shadow(),
    ) {
        let together = merged(&base, &hub, &edge);
        // The edge node's is the new base; it then takes what the hub has.
        prop_assert!(merged(&edge, &together, &edge).has_same_state(&together));
        prop_assert!(merged(&edge, &together, &together).has_same_state(&together));
        // Stamps keep the shape of what they tell of.
        for section in [&together.desired, &together.reported] {
            for key in section.state.keys() {
                prop_assert!(section.metadata.contains_key(key), "{} has no stamp", key);
            }
            prop_assert_eq!(section.metadata.len(), section.state.len());
        }
    }
}
