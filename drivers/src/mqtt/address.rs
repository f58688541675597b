//! Where a value is: `topic`, `topic#$.path` or `topic#bytes:4`, and behind ` -> ` where it is written.

use super::json_path::JsonPath;
use proto::TopicName;
use std::fmt;

/// The last byte of a payload that can be named.
const BYTE_MAX: usize = 65_535;

/// Which part of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, as text or as one JSON value.
    Whole,
    /// A value of a JSON document.
    Json(JsonPath),
    /// Bytes from here on.
    Bytes { from: usize, bit: Option<u8> },
}

/// A part of the payload on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) topic: TopicName,
    pub(crate) part: Part,
}

/// Where a point is read, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) read: Place,
    pub(crate) write: Option<Place>,
}

impl Address {
    /// Reads an address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (read, write) = match text.split_once(" -> ") {
            Some((read, write)) => (read, Some(write)),
            None => (text, None),
        };
        Ok(Self { read: Place::parse(read)?, write: write.map(Place::parse).transpose()? })
    }
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // No topic name has a #.
        let (topic, part) = match text.split_once('#') {
            Some((topic, part)) => (topic, Part::parse(part)?),
            None => (text, Part::Whole),
        };
        let named = TopicName::parse(topic.to_owned());
        let topic = named.map_err(|error| format!("{topic:?} is no topic: {error}"))?;
        Ok(Self { topic, part })
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        let Some(place) = text.strip_prefix("bytes:") else {
            return JsonPath::parse(text).map(Self::Json).map_err(|reason| {
                format!("behind # stands a path, as in #$.temperature, or #bytes:4: {reason}")
            });
        };
        let (from, bit) = match place.split_once('.') {
            Some((from, bit)) => (from, Some(bit)),
            None => (place, None),
        };
        let number = |text: &str, max: usize| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<usize>().ok().filter(|it| is_plain && *it <= max);
            number.ok_or_else(|| format!("{text:?} is not a number from 0 to {max}"))
        };
        let from = number(from, BYTE_MAX)?;
        let bit = bit.map(|bit| number(bit, 7)).transpose()?.map(|bit| bit as u8);
        Ok(Self::Bytes { from, bit })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.topic.as_str())?;
        match &self.part {
            Part::Whole => Ok(()),
            Part::Json(path) => write!(f, "#{path}"),
            Part::Bytes { from, bit: None } => write!(f, "#bytes:{from}"),
            Part::Bytes { from, bit: Some(bit) } => write!(f, "#bytes:{from}.{bit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_part_of_a_payload() {
        for text in [
            "stat/lamp/POWER",
            "home/kitchen#$.temperature",
            "home/kitchen#$.values[0]",
            "node/1/up#bytes:0",
            "node/1/up#bytes:65535.7",
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.read.to_string().as_str(), address.write), (text, None));
        }
        let address = Address::parse("z/lamp#$.state -> z/lamp/set#$.state").unwrap();
        assert_eq!(address.write.unwrap().to_string(), "z/lamp/set#$.state");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "#$.a",
            "a/+",
            "a#",
            "a#b",
            "a#bytes:",
            "a#bytes:-1",
            "a#bytes:+1",
            "a#bytes:65536",
            "a#bytes:1.8",
            "a -> ",
            "a -> b/#",
            "a#bytes:0#$.c",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
