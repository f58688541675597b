//! What an operator says about devices that speak MQTT in their own way.

use super::address::{Part, Place};
use super::json_path::JsonPath;
use crate::bridge::RemoteConfig;
use crate::config::{ConfigError, check_timeout_ms};
use proto::TimestampMs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The default time-out: a broker far away answers within it.
const TIMEOUT_MS: u32 = 5000;

/// The longest silence that can be asked for, in seconds: thirty days.
const SILENT_AFTER_SECS_MAX: u32 = 30 * 86_400;

/// Devices behind one MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// The broker; absent: the node's own, in the project of the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<RemoteConfig>,
    /// How long to wait for the broker, and for a device that is to confirm what was written.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u32,
    /// After so many seconds without a word on a topic its values are stale; 0: never.
    #[serde(default)]
    pub silent_after_secs: u32,
    /// Where a document says when its values came about; absent: the time of arrival counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<SourceTime>,
    /// What says that the device is gone, as its will does; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<Offline>,
}

/// What says that a device is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offline {
    /// Where it is said, as in the address of a tag: `tele/plug/LWT`, `z/bridge/state#$.state`.
    pub address: String,
    /// The value that says so; any other says that the device is there.
    pub value: String,
}

/// Where a document says when its values came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceTime {
    /// The path to it in the document, as in `$.ts`.
    pub path: String,
    /// What it is there.
    #[serde(default)]
    pub unit: TimeUnit,
}

/// What a time is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds since the Unix epoch, also with a fraction.
    Secs,
    /// Milliseconds since the Unix epoch.
    #[default]
    Millis,
    /// Microseconds since the Unix epoch.
    Micros,
    /// A text, `2026-11-27T08:30:00.5+01:00`.
    Rfc3339,
}

fn timeout_ms() -> u32 {
    TIMEOUT_MS
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            broker: None,
            timeout_ms: TIMEOUT_MS,
            silent_after_secs: 0,
            time: None,
            offline: None,
        }
    }
}

impl MqttConfig {
    /// Checks every value against its limits.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(broker) = &self.broker {
            broker.check().map_err(|error| {
                ConfigError::new(&format!("broker.{}", error.field), error.reason)
            })?;
        }
        check_timeout_ms(self.timeout_ms)?;
        if self.silent_after_secs > SILENT_AFTER_SECS_MAX {
            let reason = format!("{} is more than {SILENT_AFTER_SECS_MAX}", self.silent_after_secs);
            return Err(ConfigError::new("silent_after_secs", reason));
        }
        self.clock()?;
        self.presence().map(drop)
    }

    /// Where it is said whether the device is there, and what says that it is gone.
    pub(super) fn presence(&self) -> Result<Option<(Place, String)>, ConfigError> {
        let Some(Offline { address, value }) = &self.offline else { return Ok(None) };
        let refused = |reason: String| ConfigError::new("offline.address", reason);
        let place = Place::parse(address).map_err(refused)?;
        if matches!(place.part, Part::Bytes { .. }) {
            return Err(refused("it is a text or a value of a document".to_owned()));
        }
        Ok(Some((place, value.clone())))
    }

    /// How the time of a document is found.
    pub(super) fn clock(&self) -> Result<Option<Clock>, ConfigError> {
        let Some(SourceTime { path, unit }) = &self.time else { return Ok(None) };
        let path = JsonPath::parse(path).map_err(|reason| ConfigError::new("time.path", reason))?;
        Ok(Some(Clock { path, unit: *unit }))
    }
}

/// Finds the time of a document.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    path: JsonPath,
    unit: TimeUnit,
}

impl Clock {
    /// The time in a document; `None` if it tells none that can be.
    pub(super) fn time(&self, document: &Json) -> Option<TimestampMs> {
        let time = self.path.find(document)?;
        if self.unit == TimeUnit::Rfc3339 {
            let time = OffsetDateTime::parse(time.as_str()?, &Rfc3339).ok()?;
            let ms = time.unix_timestamp_nanos() / 1_000_000;
            return u64::try_from(ms).ok().map(TimestampMs);
        }
        let text = time.as_str().map(str::trim);
        let number = time.as_f64().or_else(|| text.and_then(|text| text.parse().ok()))?;
        let ms = match self.unit {
            TimeUnit::Secs => number * 1000.0,
            TimeUnit::Micros => number / 1000.0,
            TimeUnit::Millis | TimeUnit::Rfc3339 => number,
        };
        // Up to the year 9999; a float is exact to the millisecond so far.
        (0.0..253_402_300_800_000.0).contains(&ms).then(|| TimestampMs(ms.round() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_outside_the_limits_are_refused_by_field() {
        for (config, field) in [
            (json!({"broker": {"url": "hub", "client_id": "c"}}), "broker.url"),
            (json!({"timeout_ms": 9}), "timeout_ms"),
            (json!({"silent_after_secs": 2_592_001}), "silent_after_secs"),
            (json!({"time": {"path": "ts"}}), "time.path"),
            (json!({"offline": {"address": "a/#", "value": "x"}}), "offline.address"),
            (json!({"offline": {"address": "a#bytes:0", "value": "x"}}), "offline.address"),
        ] {
            let read: MqttConfig = serde_json::from_value(config).unwrap();
            assert_eq!(read.check().unwrap_err().path(), field);
        }
        assert_eq!(MqttConfig::default().check(), Ok(()));
    }

    #[test]
    fn times_are_found_in_documents() {
        let ms = 1_763_668_800_500;
        for (unit, document, expected) in [
            ("secs", json!({"ts": 1_763_668_800.5}), Some(ms)),
            ("secs", json!({"ts": "1763668800.5"}), Some(ms)),
            ("millis", json!({"ts": 1_763_668_800_500_u64}), Some(ms)),
            ("micros", json!({"ts": 1_763_668_800_500_123_u64}), Some(ms)),
            ("rfc3339", json!({"ts": "2025-11-20T21:00:00.5+01:00"}), Some(ms)),
            ("rfc3339", json!({"ts": "yesterday"}), None),
            ("rfc3339", json!({"ts": 5}), None),
            ("millis", json!({"ts": -5}), None),
            ("millis", json!({"ts": 1e30}), None),
            ("millis", json!({"ts": null}), None),
            ("millis", json!({}), None),
        ] {
            let time = json!({"time": {"path": "$.ts", "unit": unit}});
            let config: MqttConfig = serde_json::from_value(time).unwrap();
            let clock = config.clock().unwrap().unwrap();
            assert_eq!(clock.time(&document), expected.map(TimestampMs), "{unit} {document}");
        }
    }
}
