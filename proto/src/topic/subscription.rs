//! What a SUBSCRIBE packet names: a filter, shared with a group or not (MQTT 5.0 4.8.2).

use super::{TopicError, TopicFilter};
use bytestring::ByteString;
use std::fmt;

/// What the filter of a shared subscription begins with.
pub const SHARE_PREFIX: &str = "$share/";

/// A filter as it stands in a SUBSCRIBE packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscription {
    /// The group of a shared subscription; each message goes to one member of it.
    pub group: Option<ByteString>,
    /// The filter proper.
    pub filter: TopicFilter,
}

impl Subscription {
    /// Parses `<filter>` or `$share/<group>/<filter>`.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, TopicError> {
        let text = text.into();
        let Some(shared) = text.strip_prefix(SHARE_PREFIX) else {
            return Ok(Self { group: None, filter: TopicFilter::parse(text)? });
        };
        let (group, filter) = shared.split_once('/').ok_or(TopicError::MalformedShare)?;
        if group.is_empty() || filter.is_empty() || group.contains(['+', '#']) {
            return Err(TopicError::MalformedShare);
        }
        let filter = TopicFilter::parse(filter.to_owned())?;
        Ok(Self { group: Some(ByteString::from(group.to_owned())), filter })
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => self.filter.fmt(f),
            Some(group) => write!(f, "{SHARE_PREFIX}{group}/{}", self.filter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_a_group_and_a_filter() {
        let shared = Subscription::parse("$share/g/a/+").unwrap();
        assert_eq!(shared.group.as_deref(), Some("g"));
        assert_eq!(shared.filter.as_str(), "a/+");
        assert_eq!(shared.to_string(), "$share/g/a/+");
        for bad in ["$share/g", "$share//a", "$share/g/", "$share/+/a", "$share/"] {
            assert_eq!(Subscription::parse(bad), Err(TopicError::MalformedShare), "{bad}");
        }
        assert_eq!(Subscription::parse("$shared/g").unwrap().group, None);
    }
}
