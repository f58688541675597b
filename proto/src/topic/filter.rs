//! Topic filters: what a subscription asks for.

use super::{TopicError, TopicName, check_text};
use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A valid topic filter. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(ByteString);

impl TopicFilter {
    /// Parses a topic filter (MQTT 5.0 4.7.1). `$share/…` is a [`super::Subscription`], here it is plain text.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, TopicError> {
        let text = text.into();
        check_text(&text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let is_last = levels.peek().is_none();
            let well_placed = match level {
                "+" => true,
                "#" => is_last,
                _ => !level.bytes().any(|byte| byte == b'+' || byte == b'#'),
            };
            if !well_placed {
                return Err(TopicError::MisplacedWildcard);
            }
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels, first to last.
    pub fn levels(&self) -> std::str::Split<'_, char> {
        self.0.split('/')
    }

    /// Whether it names more than one topic.
    pub fn has_wildcard(&self) -> bool {
        self.0.bytes().any(|byte| byte == b'+' || byte == b'#')
    }

    /// Whether a message on `name` is for this filter.
    pub fn matches(&self, name: &TopicName) -> bool {
        if name.is_system() && self.starts_with_wildcard() {
            return false;
        }
        let mut name_levels = name.levels();
        for level in self.levels() {
            match (level, name_levels.next()) {
                // `#` also stands for its parent level (4.7.1.2).
                ("#", _) => return true,
                (_, None) => return false,
                ("+", Some(_)) => {}
                (level, Some(name_level)) if level == name_level => {}
                _ => return false,
            }
        }
        name_levels.next().is_none()
    }

    /// Whether every topic of `other` is also a topic of this filter.
    pub fn covers(&self, other: &Self) -> bool {
        if other.0.starts_with('$') && self.starts_with_wildcard() {
            return false;
        }
        let mut other_levels = other.levels();
        for level in self.levels() {
            match (level, other_levels.next()) {
                ("#", _) => return true,
                (_, None | Some("#")) => return false,
                ("+", Some(_)) => {}
                (level, Some(other_level)) if level == other_level => {}
                _ => return false,
            }
        }
        other_levels.next().is_none()
    }

    /// Whether some topic is one of both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        let hides =
            |wide: &Self, narrow: &Self| narrow.0.starts_with('$') && wide.starts_with_wildcard();
        if hides(self, other) || hides(other, self) {
            return false;
        }
        let (mut ours, mut theirs) = (self.levels(), other.levels());
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(our), Some(their)) if our == their => {}
                _ => return false,
            }
        }
    }

    fn starts_with_wildcard(&self) -> bool {
        matches!(self.0.as_bytes().first(), Some(b'+' | b'#'))
    }
}

impl From<TopicName> for TopicFilter {
    /// The filter that matches just this name.
    fn from(name: TopicName) -> Self {
        Self(name.as_byte_string().clone())
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for TopicFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.to_owned()).unwrap()
    }

    fn name(text: &str) -> TopicName {
        TopicName::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn the_examples_of_the_specification_hold() {
        let cases = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/broker", false),
            ("+/broker", "$SYS/broker", false),
            ("$SYS/#", "$SYS/broker", true),
            ("+", "温度", true),
        ];
        for (text, topic, expected) in cases {
            assert_eq!(filter(text).matches(&name(topic)), expected, "{text} on {topic}");
        }
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for bad in ["sport+", "sport/tennis#", "#/x", "a/#/b", "+a", "a/+b/c"] {
            assert_eq!(TopicFilter::parse(bad), Err(TopicError::MisplacedWildcard), "{bad}");
        }
    }

    /// The definition, written as a recursion over levels without regard for speed.
    fn naive(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            ([], []) | (["#"], _) => true,
            ([first, rest @ ..], [level, others @ ..]) => {
                (*first == "+" || first == level) && naive(rest, others)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_equals_the_definition(
            filter_levels in proptest::collection::vec("[ab+é]?|\\$x", 1..5),
            with_hash in any::<bool>(),
            name_levels in proptest::collection::vec("[abé]?|\\$x", 1..6),
        ) {
            let mut levels = filter_levels;
            if with_hash {
                levels.push("#".to_owned());
            }
            let (Ok(filter), Ok(name)) =
                (TopicFilter::parse(levels.join("/")), TopicName::parse(name_levels.join("/")))
            else {
                return Ok(());
            };
            let filter_levels: Vec<&str> = filter.levels().collect();
            let levels: Vec<&str> = name.levels().collect();
            let hidden = name.is_system() && matches!(filter_levels[0], "+" | "#");
            prop_assert_eq!(filter.matches(&name), !hidden && naive(&filter_levels, &levels));
        }

        #[test]
        fn a_covering_filter_matches_whatever_the_covered_one_does(
            wide in "([ab+]/){0,3}[ab+#]", narrow in "([ab+]/){0,3}[ab+#]", topic in "([ab]/){0,4}[ab]",
        ) {
            let (wide, narrow, topic) = (filter(&wide), filter(&narrow), name(&topic));
            if wide.covers(&narrow) && narrow.matches(&topic) {
                prop_assert!(wide.matches(&topic));
            }
        }

        #[test]
        fn filters_of_one_topic_overlap(
            one in "([ab+]/){0,3}[ab+#]", other in "([ab+]/){0,3}[ab+#]", topic in "([ab]/){0,4}[ab]",
        ) {
            let (one, other, topic) = (filter(&one), filter(&other), name(&topic));
            prop_assert_eq!(one.overlaps(&other), other.overlaps(&one));
            if one.matches(&topic) && other.matches(&topic) {
                prop_assert!(one.overlaps(&other));
            }
            if one.covers(&other) {
                prop_assert!(one.overlaps(&other));
            }
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = TopicFilter::parse(text.clone());
            let _ = TopicName::parse(text);
        }
    }
}
