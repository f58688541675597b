//! Topic names: where a message is published to.

use super::{TopicError, check_text};
use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A valid topic name. Cloning shares the text, which may be a slice of a received packet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(ByteString);

impl TopicName {
    /// Parses a topic name (MQTT 5.0 4.7).
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, TopicError> {
        let text = text.into();
        check_text(&text)?;
        if text.bytes().any(|byte| byte == b'+' || byte == b'#') {
            return Err(TopicError::WildcardInName);
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text.
    pub fn as_byte_string(&self) -> &ByteString {
        &self.0
    }

    /// The levels, first to last; an empty level is a level (4.7.1.1).
    pub fn levels(&self) -> std::str::Split<'_, char> {
        self.0.split('/')
    }

    /// Whether filters that start with a wildcard pass it by (4.7.2).
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }

    /// A copy that does not keep the packet alive which the text was sliced from.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(ByteString::from(self.as_str().to_owned()))
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for TopicName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_script_and_first_character_is_a_name() {
        for good in ["温度/1", "é", "/", "//", "$SYS/x", " ", "a b", "\u{feff}x", "😀/1", "\u{1}"]
        {
            assert_eq!(TopicName::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        assert_eq!(TopicName::parse(""), Err(TopicError::Empty));
        assert_eq!(TopicName::parse("a\0"), Err(TopicError::NullCharacter));
        assert_eq!(TopicName::parse("a/+"), Err(TopicError::WildcardInName));
        assert_eq!(TopicName::parse("a#"), Err(TopicError::WildcardInName));
        assert_eq!(TopicName::parse("x".repeat(65_536)), Err(TopicError::TooLong));
        assert!(TopicName::parse("x".repeat(65_535)).is_ok());
    }
}
