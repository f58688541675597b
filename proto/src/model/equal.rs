//! Equality of JSON as JSON Schema has it: numbers by their value, so that 1 is 1.0 (2020-12, core 4.2.2).

use super::number::Num;
use serde_json::Value as Json;
use std::cmp::Ordering;

/// Whether both are the same value.
pub(super) fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => Num::of(a).compare(Num::of(b)) == Ordering::Equal,
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            let is_in_b = |(key, value): (&String, &Json)| {
                b.get(key).is_some_and(|other| equal(value, other))
            };
            a.len() == b.len() && a.iter().all(is_in_b)
        }
        _ => a == b,
    }
}
