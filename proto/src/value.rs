//! Values of the Unified Namespace: what a `uns/…` topic carries.
//!
//! A value is a [`Datum`] with its source time, a [`Quality`] and optionally a UCUM unit. On the wire it is
//! `{"v":21.5,"t":1763668800123,"q":"good","u":"Cel"}`, where `v` may be an array or an object as
//! well; a bare JSON scalar is accepted too and stamped by the receiver ([`Value::parse`]).

use crate::Datum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest unit accepted, in bytes. UCUM codes in use are far shorter.
pub const UNIT_BYTES_MAX: usize = 32;

/// Milliseconds since the Unix epoch.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TimestampMs(pub u64);

impl TimestampMs {
    /// Whole seconds since the Unix epoch.
    pub fn as_secs(self) -> u64 {
        self.0 / 1000
    }
}

impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a value can be trusted (OPC UA Part 8, 6.3, with `stale` for a source that was lost).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Read from the source as it should be.
    #[default]
    Good,
    /// Read, but the source doubts it.
    Uncertain,
    /// The source answered with an error for this point.
    Bad,
    /// The source is lost; the value and time are the last good ones.
    Stale,
}

/// One value of the Unified Namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// The datum; absent (`null`) if none was ever read.
    pub v: Option<Datum>,
    /// Source time.
    pub t: TimestampMs,
    /// Quality.
    #[serde(default)]
    pub q: Quality,
    /// UCUM unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub u: Option<String>,
}

/// Why a payload is not a [`Value`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not JSON, or JSON of another shape.
    #[error("not a value: {0}")]
    Shape(String),
    /// The unit is longer than [`UNIT_BYTES_MAX`].
    #[error("the unit has {0} bytes, at most {UNIT_BYTES_MAX} are allowed")]
    UnitTooLong(usize),
}

impl Value {
    /// A good value.
    pub fn good(v: Datum, t: TimestampMs, u: Option<String>) -> Self {
        Self { v: Some(v), t, q: Quality::Good, u }
    }

    /// Reads a payload: the object form, or a bare JSON scalar, which is stamped with `arrival`.
    pub fn parse(payload: &[u8], arrival: TimestampMs) -> Result<Self, ValueError> {
        let shape = |error: serde_json::Error| ValueError::Shape(error.to_string());
        let json: serde_json::Value = serde_json::from_slice(payload).map_err(shape)?;
        if let Some(v) = Datum::plain(&json) {
            return Ok(Self::good(v, arrival, None));
        }
        if !json.is_object() {
            return Err(ValueError::Shape("neither a JSON scalar nor an object".to_owned()));
        }
        let value: Self = serde_json::from_value(json).map_err(shape)?;
        match &value.u {
            Some(unit) if unit.len() > UNIT_BYTES_MAX => Err(ValueError::UnitTooLong(unit.len())),
            _ => Ok(value),
        }
    }

    /// The wire form.
    pub fn to_json(&self) -> Vec<u8> {
        // No datum holds NaN, keys are texts: serialisation has no way to fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(7);

    #[test]
    fn the_object_form_round_trips() {
        let value =
            Value::good(Datum::Float(21.5), TimestampMs(1_763_668_800_123), Some("Cel".into()));
        let wire = value.to_json();
        assert_eq!(
            std::str::from_utf8(&wire).unwrap(),
            r#"{"v":21.5,"t":1763668800123,"q":"good","u":"Cel"}"#
        );
        assert_eq!(Value::parse(&wire, NOW), Ok(value));
    }

    #[test]
    fn a_bare_scalar_is_stamped_on_arrival() {
        assert_eq!(Value::parse(b"true", NOW), Ok(Value::good(Datum::Bool(true), NOW, None)));
        assert_eq!(Value::parse(b"-3", NOW), Ok(Value::good(Datum::Int(-3), NOW, None)));
        let large = u64::MAX.to_string();
        let parsed = Value::parse(large.as_bytes(), NOW).unwrap();
        assert_eq!(parsed.v, Some(Datum::UInt(u64::MAX)));
    }

    #[test]
    fn arrays_and_structures_are_values_in_the_object_form_only() {
        for wire in [r#"{"v":[1,[2.5,"x"]],"t":1,"q":"good"}"#, r#"{"v":{"a":1},"t":1,"q":"bad"}"#]
        {
            let value = Value::parse(wire.as_bytes(), NOW).unwrap();
            assert!(!value.v.as_ref().unwrap().is_plain());
            assert_eq!(std::str::from_utf8(&value.to_json()).unwrap(), wire);
        }
        assert!(Value::parse(b"[1]", NOW).is_err());
    }

    #[test]
    fn what_is_not_a_value_is_refused() {
        for bad in [&b"[1]"[..], b"null", b"{", b"{\"v\":1}", b"{\"v\":1,\"t\":1,\"x\":2}", b"\xff"]
        {
            assert!(Value::parse(bad, NOW).is_err(), "{bad:?}");
        }
        let long = format!(r#"{{"v":1,"t":1,"u":"{}"}}"#, "x".repeat(33));
        assert_eq!(Value::parse(long.as_bytes(), NOW), Err(ValueError::UnitTooLong(33)));
    }
}
