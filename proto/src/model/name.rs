//! What a model is called: its name, a version of it, and the contract of the values that keep to it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name of a model, in bytes.
pub const MODEL_NAME_BYTES_MAX: usize = 64;

/// The name of a model: lower-case letters, digits and `_`, a letter first, so that it can stand in a contract.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct ModelName(
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]*$"), length(min = 1, max = 64))] Arc<str>,
);

/// A published version of a model, as it stands in texts: `pump@3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelVersion {
    /// Which model.
    pub model: ModelName,
    /// Which of its versions; the first is 1.
    pub version: u32,
}

/// What a request names: `pump@3`, or `pump` for the latest version.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(inline, with = "String")]
pub struct ModelRef {
    /// Which model.
    pub model: ModelName,
    /// Which of its versions; `None` is the latest.
    pub version: Option<u32>,
}

/// Why a text names no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid model: {0}")]
pub struct ModelNameError(&'static str);

impl ModelName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, ModelNameError> {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        match text.bytes().next() {
            None => Err(ModelNameError("empty")),
            Some(_) if text.len() > MODEL_NAME_BYTES_MAX => {
                Err(ModelNameError("longer than 64 bytes"))
            }
            Some(first) if !first.is_ascii_lowercase() => {
                Err(ModelNameError("it must start with a lower-case letter"))
            }
            Some(_) if !text.bytes().all(is_allowed) => {
                Err(ModelNameError("only lower-case letters, digits and `_` are allowed"))
            }
            Some(_) => Ok(Self(text.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ModelVersion {
    /// The contract of the values that keep to it, such as `_pump_v3`.
    pub fn contract(&self) -> String {
        format!("_{}_v{}", self.model, self.version)
    }
}

impl ModelRef {
    /// Parses `<model>` or `<model>@<version>`.
    pub fn parse(text: &str) -> Result<Self, ModelNameError> {
        let (model, version) = match text.split_once('@') {
            None => (text, None),
            Some((model, version)) => (model, Some(parse_version(version)?)),
        };
        Ok(Self { model: ModelName::parse(model)?, version })
    }
}

fn parse_version(text: &str) -> Result<u32, ModelNameError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let version = if is_plain { text.parse().ok() } else { None };
    version.ok_or(ModelNameError("after `@` stands the number of a version, from 1 on"))
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.model, self.version)
    }
}

impl FromStr for ModelVersion {
    type Err = ModelNameError;
    fn from_str(text: &str) -> Result<Self, ModelNameError> {
        let ModelRef { model, version } = ModelRef::parse(text)?;
        let version = version.ok_or(ModelNameError("it must read `<model>@<version>`"))?;
        Ok(Self { model, version })
    }
}

impl<'de> Deserialize<'de> for ModelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ModelRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.model),
            None => self.model.fmt(f),
        }
    }
}

impl Serialize for ModelRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ModelVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UnsPath;

    #[test]
    fn a_version_makes_a_contract_of_the_namespace() {
        let pump: ModelVersion = "water_pump2@3".parse().unwrap();
        assert_eq!((pump.to_string().as_str(), pump.version), ("water_pump2@3", 3));
        let path = UnsPath::from_parts("acme/p", &pump.contract(), "speed").unwrap();
        assert_eq!(path.contract(), "_water_pump2_v3");
        assert_eq!(ModelRef::parse("pump").unwrap().version, None);
    }

    #[test]
    fn what_names_no_model_is_refused() {
        let long = "x".repeat(65);
        for bad in
            ["", "Pump", "9pump", "_pump", "pump-7", "pump@", "pump@0", "pump@x", "pump@01", &long]
        {
            assert!(ModelRef::parse(bad).is_err(), "{bad}");
        }
        for bad in ["pump", "pump@+1", "pump@4294967296"] {
            assert!(bad.parse::<ModelVersion>().is_err(), "{bad}");
        }
    }
}
