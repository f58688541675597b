//! MQTT topic names, topic filters and subscriptions (MQTT 5.0 4.7 and 4.8.2), valid by construction.
//!
//! Any UTF-8 text of 1 to 65,535 bytes without U+0000 and wildcards is a topic name. Names starting with `$`
//! are not matched by filters that start with a wildcard (4.7.2).

mod filter;
mod name;
mod subscription;

pub use filter::TopicFilter;
pub use name::TopicName;
pub use subscription::{SHARE_PREFIX, Subscription};

use serde::{Deserialize, Serialize};

/// The longest topic name or filter, in bytes (MQTT 5.0 1.5.4).
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// Why a text is not a topic name or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Names and filters have at least one character (4.7.3).
    #[error("the topic is empty")]
    Empty,
    /// Longer than [`TOPIC_BYTES_MAX`].
    #[error("the topic is longer than 65535 bytes")]
    TooLong,
    /// U+0000 is not allowed (4.7.3).
    #[error("the topic contains U+0000")]
    NullCharacter,
    /// A topic name holds no wildcard (4.7.1).
    #[error("a topic name must not contain `+` or `#`")]
    WildcardInName,
    /// `+` and `#` stand for a whole level, `#` only for the last (4.7.1).
    #[error("`+` must be a whole level and `#` the whole last level of a filter")]
    MisplacedWildcard,
    /// `$share/<group>/<filter>` with a group without wildcards and a filter (4.8.2).
    #[error("a shared subscription must read `$share/<group>/<filter>`")]
    MalformedShare,
}

/// Quality of service (MQTT 5.0 4.3).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "u8", try_from = "u8")]
pub enum Qos {
    /// At most once.
    #[default]
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> Self {
        qos as Self
    }
}

impl TryFrom<u8> for Qos {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            other => Err(format!("QoS is 0, 1 or 2, not {other}")),
        }
    }
}

/// What names and filters have in common (4.7.3).
fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong);
    }
    if text.as_bytes().contains(&0) {
        return Err(TopicError::NullCharacter);
    }
    Ok(())
}
