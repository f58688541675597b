//! Paths of the Unified Namespace: `<location…>/_<contract>/<name…>`, below the topic root `uns/`.
//!
//! The location is 1 to [`LOCATION_LEVELS_MAX`] levels of ISA-95, enterprise first
//! (`acme/berlin/press/line1/cell2/pump7`). The contract level starts with `_` and names what the payload
//! promises: `_raw` anything, `_pump_v1` a model's versioned contract. The name is one or more levels. No level
//! is empty; the last one is not `set` or `result`, which name the write topics of a value.

use crate::topic::{TopicError, TopicName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The deepest location: enterprise, site, area, work center, work unit, asset and one more.
pub const LOCATION_LEVELS_MAX: usize = 7;

/// The contract that promises nothing.
pub const RAW_CONTRACT: &str = "_raw";

/// The path of one value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnsPath {
    text: Box<str>,
    /// Where the contract level starts in `text`.
    contract_start: usize,
    /// Where the name starts in `text`.
    name_start: usize,
}

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsPathError {
    /// The levels do not make a topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// A level is empty.
    #[error("the path has an empty level")]
    EmptyLevel,
    /// No level starts with `_`.
    #[error("the path has no contract level such as `_raw` after its location")]
    NoContract,
    /// The location is missing, too deep, or starts with `$`.
    #[error("the location must have 1 to 7 levels and must not start with `$`")]
    Location,
    /// The contract is not `_` and lower-case letters, digits and `_`.
    #[error("the contract must be `_` followed by lower-case letters, digits or `_`")]
    Contract,
    /// Nothing follows the contract.
    #[error("the path has no name after its contract")]
    NoName,
    /// The name ends with a reserved level.
    #[error("the last level must not be `set` or `result`")]
    ReservedName,
}

impl UnsPath {
    /// Parses a path without the root `uns/`.
    pub fn parse(text: &str) -> Result<Self, UnsPathError> {
        TopicName::parse(text.to_owned())?;
        let mut contract_start = None;
        let mut offset = 0;
        let mut location_levels = 0;
        for level in text.split('/') {
            if level.is_empty() {
                return Err(UnsPathError::EmptyLevel);
            }
            if contract_start.is_none() {
                if level.starts_with('_') {
                    contract_start = Some((offset, offset + level.len()));
                } else {
                    location_levels += 1;
                }
            }
            offset += level.len() + 1;
        }
        let (contract_start, contract_end) = contract_start.ok_or(UnsPathError::NoContract)?;
        if !(1..=LOCATION_LEVELS_MAX).contains(&location_levels) || text.starts_with('$') {
            return Err(UnsPathError::Location);
        }
        if !is_contract(&text[contract_start..contract_end]) {
            return Err(UnsPathError::Contract);
        }
        let name_start = contract_end + 1;
        match text.get(name_start..) {
            None => Err(UnsPathError::NoName),
            Some(name) if matches!(name.rsplit('/').next(), Some("set" | "result")) => {
                Err(UnsPathError::ReservedName)
            }
            Some(_) => Ok(Self { text: text.into(), contract_start, name_start }),
        }
    }

    /// The path made of its three parts.
    pub fn from_parts(location: &str, contract: &str, name: &str) -> Result<Self, UnsPathError> {
        let path = Self::parse(&format!("{location}/{contract}/{name}"))?;
        // A location that itself holds a contract level would shift the parts.
        if path.location() == location { Ok(path) } else { Err(UnsPathError::Location) }
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The location, such as `acme/berlin/press`.
    pub fn location(&self) -> &str {
        &self.text[..self.contract_start - 1]
    }

    /// The contract, such as `_raw`.
    pub fn contract(&self) -> &str {
        &self.text[self.contract_start..self.name_start - 1]
    }

    /// The name, such as `temperature` or `motor/current`.
    pub fn name(&self) -> &str {
        &self.text[self.name_start..]
    }
}

fn is_contract(level: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    level.len() > 1 && level.bytes().all(lower)
}

impl fmt::Display for UnsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for UnsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Serialize for UnsPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for UnsPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_has_three_parts() {
        let path = UnsPath::parse("acme/berlin/press/_pump_v1/motor/current").unwrap();
        assert_eq!(path.location(), "acme/berlin/press");
        assert_eq!(path.contract(), "_pump_v1");
        assert_eq!(path.name(), "motor/current");
        assert_eq!(UnsPath::from_parts("acme/berlin/press", "_pump_v1", "motor/current"), Ok(path));
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_reason() {
        let cases = [
            ("acme", UnsPathError::NoContract),
            ("_raw/x", UnsPathError::Location),
            ("$a/_raw/x", UnsPathError::Location),
            ("1/2/3/4/5/6/7/8/_raw/x", UnsPathError::Location),
            ("acme//_raw/x", UnsPathError::EmptyLevel),
            ("acme/_Raw/x", UnsPathError::Contract),
            ("acme/_/x", UnsPathError::Contract),
            ("acme/_raw", UnsPathError::NoName),
            ("acme/_raw/x/set", UnsPathError::ReservedName),
            ("acme/_raw/x/set/result", UnsPathError::ReservedName),
            ("acme/+/_raw/x", UnsPathError::Topic(TopicError::WildcardInName)),
        ];
        for (text, error) in cases {
            assert_eq!(UnsPath::parse(text), Err(error), "{text}");
        }
        assert_eq!(UnsPath::from_parts("a/_b", "_raw", "x"), Err(UnsPathError::Location));
    }

    proptest! {
        #[test]
        fn parts_always_join_to_the_whole(text in "[a-z$_+/]{0,20}") {
            if let Ok(path) = UnsPath::parse(&text) {
                let joined = [path.location(), path.contract(), path.name()].join("/");
                prop_assert_eq!(joined, text);
            }
        }
    }
}
