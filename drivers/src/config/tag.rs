//! One tag: a point of a machine, its type and scale, and its place in the Unified Namespace.

use super::{ByteOrder, ConfigError, DataType};
use proto::value::UNIT_BYTES_MAX;
use proto::{Scalar, TagId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The default poll interval, in milliseconds: fast enough for people, cheap for any machine.
pub const POLL_INTERVAL_MS_DEFAULT: u32 = 1000;

/// The shortest poll interval, in milliseconds: what a machine with a round trip of a few can
/// sustain.
pub const POLL_INTERVAL_MS_MIN: u32 = 10;

/// The longest poll interval, in milliseconds: one day.
pub const POLL_INTERVAL_MS_MAX: u32 = 86_400_000;

/// The longest address of a point and the longest path, in bytes.
const TEXT_FIELD_BYTES_MAX: usize = 1024;

/// Whether a tag may be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It may only be read; the default, since a write moves a machine.
    #[default]
    Read,
    /// It may be read and written.
    ReadWrite,
}

/// One tag of a driver.
///
/// The value of a number is `raw * scale + offset`, in `unit`; a write goes the other way and is
/// rounded to the nearest raw number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagConfig {
    /// The name of the tag, unique in its driver.
    pub tag: TagId,
    /// Where the machine keeps the point, in the words of its protocol: `40001`, `holding:0`,
    /// `coil:3`.
    pub address: String,
    /// The type of the point in the machine.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// The order of its bytes.
    #[serde(default)]
    pub byte_order: ByteOrder,
    /// What one raw unit is worth; finite and not 0.
    #[serde(default = "scale_default")]
    pub scale: f64,
    /// What a raw 0 is worth; finite.
    #[serde(default)]
    pub offset: f64,
    /// How often to read it, in milliseconds, [`POLL_INTERVAL_MS_MIN`] to [`POLL_INTERVAL_MS_MAX`].
    #[serde(default = "poll_interval_ms_default")]
    pub poll_interval_ms: u32,
    /// Whether it may be written.
    #[serde(default)]
    pub access: Access,
    /// Its UCUM unit, after scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its path in the Unified Namespace, without the root `uns/`, unique in its driver.
    pub path: String,
    /// The change below which a number counts as unchanged, in `unit`; absent: every change counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadband: Option<f64>,
}

fn scale_default() -> f64 {
    1.0
}

fn poll_interval_ms_default() -> u32 {
    POLL_INTERVAL_MS_DEFAULT
}

impl TagConfig {
    /// Checks every value against its limits; the form of `address` is up to the protocol.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_text("address", &self.address)?;
        check_text("path", &self.path)?;
        self.check_scaling()?;
        if !(POLL_INTERVAL_MS_MIN..=POLL_INTERVAL_MS_MAX).contains(&self.poll_interval_ms) {
            let reason = format!(
                "{} is not between {POLL_INTERVAL_MS_MIN} and {POLL_INTERVAL_MS_MAX}",
                self.poll_interval_ms
            );
            return Err(ConfigError::new("poll_interval_ms", reason));
        }
        if self.unit.as_ref().is_some_and(|unit| unit.is_empty() || unit.len() > UNIT_BYTES_MAX) {
            let reason = format!("a unit has 1 to {UNIT_BYTES_MAX} bytes");
            return Err(ConfigError::new("unit", reason));
        }
        Ok(())
    }

    /// Whether `current` differs from `previous` by more than the deadband.
    ///
    /// The caller compares with the last value it published, not the last it read: a slow drift
    /// shows.
    pub fn is_changed(&self, previous: &Scalar, current: &Scalar) -> bool {
        match (self.deadband, previous.as_f64(), current.as_f64()) {
            (Some(deadband), Some(previous), Some(current)) => {
                (current - previous).abs() > deadband
            }
            _ => previous != current,
        }
    }

    fn check_scaling(&self) -> Result<(), ConfigError> {
        if !self.scale.is_finite() || self.scale == 0.0 {
            return Err(ConfigError::new("scale", "it must be finite and not 0"));
        }
        if !self.offset.is_finite() {
            return Err(ConfigError::new("offset", "it must be finite"));
        }
        if self.deadband.is_some_and(|it| !it.is_finite() || it < 0.0) {
            return Err(ConfigError::new("deadband", "it must be finite and not negative"));
        }
        if self.data_type.is_number() {
            return Ok(());
        }
        let number_only = [
            ("scale", self.scale != 1.0),
            ("offset", self.offset != 0.0),
            ("deadband", self.deadband.is_some()),
        ];
        for (field, is_set) in number_only {
            if is_set {
                let reason = format!("a value of type {} has none", self.data_type);
                return Err(ConfigError::new(field, reason));
            }
        }
        Ok(())
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), ConfigError> {
    match text.len() {
        0 => Err(ConfigError::new(field, "it is empty")),
        1..=TEXT_FIELD_BYTES_MAX => Ok(()),
        _ => Err(ConfigError::new(field, format!("longer than {TEXT_FIELD_BYTES_MAX} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn tag(changes: &Value) -> Result<TagConfig, serde_json::Error> {
        let mut json = json!({"tag": "level", "address": "40001", "type": "uint16",
            "path": "acme/berlin/tank1/_raw/level"});
        for (key, value) in changes.as_object().unwrap() {
            json[key] = value.clone();
        }
        serde_json::from_value(json)
    }

    #[test]
    fn the_short_form_takes_the_defaults_and_round_trips() {
        let tag = tag(&json!({})).unwrap();
        assert_eq!(tag.check(), Ok(()));
        assert_eq!((tag.scale, tag.offset, tag.poll_interval_ms), (1.0, 0.0, 1000));
        assert_eq!((tag.access, tag.byte_order), (Access::Read, ByteOrder::Abcd));
        let stored = serde_json::to_value(&tag).unwrap();
        assert_eq!(serde_json::from_value::<TagConfig>(stored).unwrap(), tag);
    }

    #[test]
    fn limits_are_refused_with_the_field() {
        for (changes, field) in [
            (json!({"address": ""}), "address"),
            (json!({"address": "x".repeat(1025)}), "address"),
            (json!({"path": ""}), "path"),
            (json!({"scale": 0.0}), "scale"),
            (json!({"deadband": -1.0}), "deadband"),
            (json!({"poll_interval_ms": 9}), "poll_interval_ms"),
            (json!({"poll_interval_ms": 86_400_001}), "poll_interval_ms"),
            (json!({"unit": ""}), "unit"),
            (json!({"unit": "x".repeat(33)}), "unit"),
            (json!({"type": "bool", "scale": 2.0}), "scale"),
            (json!({"type": "string(4)", "offset": 2.0}), "offset"),
            (json!({"type": "bool", "deadband": 1.0}), "deadband"),
        ] {
            let error = tag(&changes).unwrap().check().unwrap_err();
            assert_eq!(error.field, field, "{changes}");
        }
    }

    #[test]
    fn limits_themselves_are_accepted() {
        for changes in [
            json!({"poll_interval_ms": 10}),
            json!({"poll_interval_ms": 86_400_000}),
            json!({"unit": "x".repeat(32), "deadband": 0.0}),
            json!({"scale": -0.1, "offset": -40.0}),
        ] {
            assert_eq!(tag(&changes).unwrap().check(), Ok(()), "{changes}");
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for changes in [
            json!({"type": "uint8"}),
            json!({"byte_order": "abcd"}),
            json!({"access": "write"}),
            json!({"tag": "a/b"}),
            json!({"colour": "red"}),
        ] {
            assert!(tag(&changes).is_err(), "{changes}");
        }
    }

    #[test]
    fn a_change_within_the_deadband_is_none() {
        let plain = tag(&json!({})).unwrap();
        let damped = tag(&json!({"deadband": 0.5})).unwrap();
        let (low, near, far) = (Scalar::Float(1.0), Scalar::Float(1.5), Scalar::Float(1.6));
        assert!(plain.is_changed(&low, &near));
        assert!(!plain.is_changed(&low, &low));
        assert!(!damped.is_changed(&low, &near));
        assert!(damped.is_changed(&low, &far));
        assert!(damped.is_changed(&Scalar::Bool(true), &Scalar::Bool(false)));
    }
}
