//! One tag: a point of a machine, its type and scale, and its place in the Unified Namespace.

use super::{ByteOrder, ConfigError, DataType};
use proto::value::UNIT_BYTES_MAX;
use proto::{Datum, Expression, TagId, UnsPath};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The default poll interval, in milliseconds: fast enough for people, cheap for any machine.
pub const POLL_INTERVAL_MS_DEFAULT: u32 = 1000;

/// The shortest poll interval, in milliseconds: what a machine with a round trip of a few can
/// sustain.
pub const POLL_INTERVAL_MS_MIN: u32 = 10;

/// The longest poll interval, in milliseconds: one day.
pub const POLL_INTERVAL_MS_MAX: u32 = 86_400_000;

/// The most decimal places that can be asked for; a float has no more.
pub const PRECISION_MAX: u8 = 15;

/// The most labels of a tag.
pub const LABELS_MAX: usize = 256;

/// The longest label, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;

/// The contracts below which events are told.
const EVENT_CONTRACTS: [&str; 2] = ["_event", "_alarm"];

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

/// What a tag stands for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TagKind {
    /// A value of the machine.
    #[default]
    Value,
    /// A method of the machine: `{"v": […]}` on its `set` topic calls it.
    Method,
    /// What the machine tells of, below `_event` or `_alarm`.
    Events,
    /// A value that is computed from other tags of the same driver.
    Virtual,
}

impl TagKind {
    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Method => "method",
            Self::Events => "events",
            Self::Virtual => "virtual",
        }
    }
}

/// Which good values are published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// Those that differ from the one before, by more than the deadband.
    #[default]
    OnChange,
    /// All that are read.
    Always,
}

/// The changes of a number that count as none: those that do not exceed both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deadband {
    absolute: f64,
    /// Per cent of the value before.
    percent: f64,
}

impl Deadband {
    /// Whether `current` differs from `previous` by more.
    ///
    /// The caller compares with the last value it published, not the last it read: a slow drift
    /// shows.
    pub fn is_exceeded(&self, previous: &Datum, current: &Datum) -> bool {
        let band = |before: f64| self.absolute.max(before.abs() * self.percent / 100.0);
        match (previous.as_f64(), current.as_f64()) {
            (Some(before), Some(now)) if band(before) > 0.0 => (now - before).abs() > band(before),
            _ => previous != current,
        }
    }
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
    /// `coil:3`; a virtual tag has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// What a virtual tag amounts to, by the names of other tags of the driver: `flow * 3.6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// What it stands for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: TagKind,
    /// The type of the point in the machine.
    #[serde(rename = "type", default)]
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
    /// To how many decimal places the value is rounded, 0 to [`PRECISION_MAX`]; absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<u8>,
    /// What the raw whole numbers are called: `{"0":"stopped","1":"running"}`. The value is then the label, and a
    /// number without one is no good value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<i64, String>,
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
    /// The same in per cent of the value before; with both, a change counts that exceeds both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadband_percent: Option<f64>,
    /// Which good values are published.
    #[serde(default, skip_serializing_if = "is_default")]
    pub publish: Publish,
    /// Published at most once in so many milliseconds, 0 to [`POLL_INTERVAL_MS_MAX`]: of what changes faster the last
    /// value counts. A change of quality does not wait.
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_interval_ms: u32,
    /// Published at least once in so many milliseconds while it is good, changed or not; 0: only when it changes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_interval_ms: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
        check_text("path", &self.path)?;
        self.check_source()?;
        match self.kind {
            TagKind::Value => {}
            TagKind::Virtual => self.has_none_of(&self.of_points())?,
            TagKind::Method | TagKind::Events => return self.check_kind(),
        }
        self.check_scaling()?;
        self.check_intervals()?;
        if self.unit.as_ref().is_some_and(|unit| unit.is_empty() || unit.len() > UNIT_BYTES_MAX) {
            let reason = format!("a unit has 1 to {UNIT_BYTES_MAX} bytes");
            return Err(ConfigError::new("unit", reason));
        }
        Ok(())
    }

    /// Which changes are none.
    pub fn dead(&self) -> Deadband {
        Deadband {
            absolute: self.deadband.unwrap_or_default(),
            percent: self.deadband_percent.unwrap_or_default(),
        }
    }

    fn check_scaling(&self) -> Result<(), ConfigError> {
        if !self.scale.is_finite() || self.scale == 0.0 {
            return Err(ConfigError::new("scale", "it must be finite and not 0"));
        }
        if !self.offset.is_finite() {
            return Err(ConfigError::new("offset", "it must be finite"));
        }
        let bands = [("deadband", self.deadband), ("deadband_percent", self.deadband_percent)];
        for (field, band) in bands {
            if band.is_some_and(|it| !it.is_finite() || it < 0.0) {
                return Err(ConfigError::new(field, "it must be finite and not negative"));
            }
        }
        if self.precision.is_some_and(|places| places > PRECISION_MAX) {
            let reason = format!("at most {PRECISION_MAX} decimal places");
            return Err(ConfigError::new("precision", reason));
        }
        self.check_labels()?;
        if self.data_type.is_number() {
            return Ok(());
        }
        let number_only = [
            ("scale", self.scale != 1.0),
            ("offset", self.offset != 0.0),
            ("precision", self.precision.is_some()),
            ("deadband", self.deadband.is_some()),
            ("deadband_percent", self.deadband_percent.is_some()),
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

impl TagConfig {
    /// Where it comes from: an address, or an expression.
    fn check_source(&self) -> Result<(), ConfigError> {
        if self.kind != TagKind::Virtual {
            self.has_none_of(&[("expression", self.expression.is_some())])?;
            return check_text("address", &self.address);
        }
        self.has_none_of(&[("address", !self.address.is_empty())])?;
        let expression = self.expression.as_deref().unwrap_or_default();
        if expression.trim().is_empty() {
            return Err(ConfigError::new("expression", "it is missing"));
        }
        let read = Expression::parse(expression);
        read.map(drop).map_err(|error| ConfigError::new("expression", error.to_string()))
    }

    /// What only a point of a machine has, and whether it is there.
    fn of_points(&self) -> [(&'static str, bool); 7] {
        [
            ("type", self.data_type != DataType::default()),
            ("byte_order", self.byte_order != ByteOrder::default()),
            ("scale", self.scale != 1.0),
            ("offset", self.offset != 0.0),
            ("labels", !self.labels.is_empty()),
            ("poll_interval_ms", self.poll_interval_ms != POLL_INTERVAL_MS_DEFAULT),
            ("access", self.access != Access::Read),
        ]
    }

    fn has_none_of(&self, fields: &[(&'static str, bool)]) -> Result<(), ConfigError> {
        match fields.iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => {
                let reason = format!("a tag of kind {} has none", self.kind.name());
                Err(ConfigError::new(field, reason))
            }
            None => Ok(()),
        }
    }

    /// What is no value has nothing of what makes a value.
    fn check_kind(&self) -> Result<(), ConfigError> {
        if self.kind == TagKind::Events {
            let contract = UnsPath::parse(&self.path).map(|path| path.contract().to_owned());
            let is_for_events = |it: &String| EVENT_CONTRACTS.contains(&it.as_str());
            if contract.ok().is_none_or(|it| !is_for_events(&it)) {
                let reason = "events belong below _event or _alarm, as in acme/line1/_event/plc";
                return Err(ConfigError::new("path", reason));
            }
        }
        self.has_none_of(&self.of_points())?;
        self.has_none_of(&[
            ("precision", self.precision.is_some()),
            ("unit", self.unit.is_some()),
            ("deadband", self.deadband.is_some()),
            ("deadband_percent", self.deadband_percent.is_some()),
            ("publish", self.publish != Publish::default()),
            ("min_interval_ms", self.min_interval_ms != 0),
            ("max_interval_ms", self.max_interval_ms != 0),
        ])
    }

    fn check_labels(&self) -> Result<(), ConfigError> {
        let refuse = |reason: String| Err(ConfigError::new("labels", reason));
        if self.labels.is_empty() {
            return Ok(());
        }
        if !self.data_type.is_whole() {
            return refuse(format!("a value of type {} has none", self.data_type));
        }
        if self.scale != 1.0 || self.offset != 0.0 || self.precision.is_some() {
            return refuse("a number with labels has no scale, offset or precision".to_owned());
        }
        if self.labels.len() > LABELS_MAX {
            return refuse(format!("{} labels, at most {LABELS_MAX}", self.labels.len()));
        }
        let mut seen = BTreeSet::new();
        for (raw, label) in &self.labels {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                return refuse(format!(
                    "the label of {raw} must have 1 to {LABEL_BYTES_MAX} bytes"
                ));
            }
            if !seen.insert(label) {
                return refuse(format!("{label:?} is there twice, so it cannot be written"));
            }
        }
        Ok(())
    }

    fn check_intervals(&self) -> Result<(), ConfigError> {
        let limits = [
            ("poll_interval_ms", self.poll_interval_ms, POLL_INTERVAL_MS_MIN),
            ("min_interval_ms", self.min_interval_ms, 0),
            ("max_interval_ms", self.max_interval_ms, 0),
        ];
        for (field, value, min) in limits {
            if !(min..=POLL_INTERVAL_MS_MAX).contains(&value) {
                let reason = format!("{value} is not between {min} and {POLL_INTERVAL_MS_MAX}");
                return Err(ConfigError::new(field, reason));
            }
        }
        if self.max_interval_ms != 0 && self.max_interval_ms < self.min_interval_ms {
            let reason = format!("it is below min_interval_ms, {}", self.min_interval_ms);
            return Err(ConfigError::new("max_interval_ms", reason));
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
            (json!({"deadband_percent": -1.0}), "deadband_percent"),
            (json!({"precision": 16}), "precision"),
            (json!({"min_interval_ms": 86_400_001}), "min_interval_ms"),
            (json!({"min_interval_ms": 20, "max_interval_ms": 10}), "max_interval_ms"),
            (json!({"labels": {"0": ""}}), "labels"),
            (json!({"labels": {"0": "on", "1": "on"}}), "labels"),
            (json!({"labels": {"0": "on"}, "scale": 2.0}), "labels"),
            (json!({"labels": {"0": "on"}, "type": "float32"}), "labels"),
            (json!({"kind": "method"}), "type"),
            (json!({"kind": "method", "type": "auto", "access": "read_write"}), "access"),
            (json!({"kind": "events", "type": "auto"}), "path"),
            (json!({"kind": "events", "path": "acme/_event/plc"}), "type"),
            (json!({"kind": "method", "type": "auto", "unit": "Cel"}), "unit"),
            (json!({"expression": "a + 1"}), "expression"),
            (json!({"kind": "virtual"}), "address"),
            (json!({"kind": "virtual", "address": ""}), "expression"),
            (json!({"kind": "virtual", "address": "", "expression": " "}), "expression"),
            (json!({"kind": "virtual", "address": "", "expression": "a +"}), "expression"),
            (json!({"kind": "virtual", "address": "", "expression": "a"}), "type"),
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
            json!({"kind": "method", "type": "auto"}),
            json!({"kind": "virtual", "address": "", "expression": "a + 1", "type": "auto",
                "unit": "W", "precision": 2, "deadband": 1.0, "max_interval_ms": 10_000}),
            json!({"kind": "events", "type": "auto", "path": "acme/_alarm/plc"}),
        ] {
            assert_eq!(tag(&changes).unwrap().check(), Ok(()), "{changes}");
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for changes in [
            json!({"type": "uint24"}),
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
        let plain = tag(&json!({})).unwrap().dead();
        let damped = tag(&json!({"deadband": 0.5})).unwrap().dead();
        let (low, near, far) = (Datum::Float(1.0), Datum::Float(1.5), Datum::Float(1.6));
        assert!(plain.is_exceeded(&low, &near));
        assert!(!plain.is_exceeded(&low, &low));
        assert!(!damped.is_exceeded(&low, &near));
        assert!(damped.is_exceeded(&low, &far));
        let relative = tag(&json!({"deadband_percent": 10.0})).unwrap().dead();
        let (hundred, less, more) = (Datum::Int(-100), Datum::Int(-110), Datum::Int(-111));
        assert!(!relative.is_exceeded(&hundred, &less));
        assert!(relative.is_exceeded(&hundred, &more));
        assert!(damped.is_exceeded(&Datum::Bool(true), &Datum::Bool(false)));
    }
}
