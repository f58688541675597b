//! Which topics there are, and what is in their payloads, as addresses of tags.

use super::json_path::{JsonPath, Step};
use super::payload::Payload;
use crate::bridge::RemoteMessage;
use crate::port::Found;
use proto::PlatformTopic;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// How deep documents are looked into.
const DEPTH_MAX: usize = 8;

/// The most values of one document.
const VALUES_MAX: usize = 200;

/// What has been found, by address.
pub(super) struct Finds {
    found: BTreeMap<String, Found>,
    limit: usize,
    /// Topics of the platform are none of devices.
    is_local: bool,
}

impl Finds {
    pub(super) fn new(limit: usize, is_local: bool) -> Self {
        Self { found: BTreeMap::new(), limit, is_local }
    }

    /// Whether it is enough.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    /// Takes a message in.
    pub(super) fn add(&mut self, message: &RemoteMessage) {
        let is_own = self.is_local && PlatformTopic::parse(&message.topic).is_some();
        if is_own || message.payload.is_empty() {
            return;
        }
        let topic = message.topic.as_str();
        let mut payload = Payload::new(&message.payload);
        match payload.json() {
            Some(document @ (Json::Object(_) | Json::Array(_))) => {
                let mut room = VALUES_MAX;
                self.look_into(topic, document, &mut Vec::new(), &mut room);
            }
            Some(value) => self.put(topic.to_owned(), topic, type_of(value)),
            None if std::str::from_utf8(&message.payload).is_ok() => {
                self.put(topic.to_owned(), topic, "string");
            }
            None => self.put(format!("{topic}#bytes:0"), topic, "bytes"),
        }
    }

    fn look_into(&mut self, topic: &str, json: &Json, path: &mut Vec<Step>, room: &mut usize) {
        if *room == 0 || path.len() >= DEPTH_MAX {
            return;
        }
        let mut look = |finds: &mut Self, step: Step, inner: &Json| {
            path.push(step);
            finds.look_into(topic, inner, path, room);
            path.pop();
        };
        match json {
            Json::Object(fields) => {
                fields.iter().for_each(|(name, inner)| look(self, Step::Name(name.clone()), inner))
            }
            Json::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(index, inner)| look(self, Step::Index(index), inner)),
            value => {
                *room -= 1;
                let path = JsonPath::of(path).to_string();
                self.put(format!("{topic}#{path}"), &path, type_of(value));
            }
        }
    }

    fn put(&mut self, address: String, name: &str, data_type: &str) {
        if !self.is_full() || self.found.contains_key(&address) {
            let (name, data_type) = (name.to_owned(), Some(data_type.to_owned()));
            let found = Found {
                address: address.clone(),
                name,
                is: "variable",
                data_type,
                is_writable: None,
            };
            self.found.insert(address, found);
        }
    }

    /// All of it, in the order of the addresses.
    pub(super) fn into_list(self) -> Vec<Found> {
        self.found.into_values().collect()
    }
}

fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::Null => "null",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proto::{Qos, TopicName};

    fn message(topic: &str, payload: &[u8]) -> RemoteMessage {
        RemoteMessage {
            topic: TopicName::parse(topic.to_owned()).unwrap(),
            payload: Bytes::copy_from_slice(payload),
            qos: Qos::AtMostOnce,
            retain: false,
            properties: Default::default(),
        }
    }

    #[test]
    fn payloads_show_the_addresses_of_their_values() {
        let mut finds = Finds::new(10, true);
        for (topic, payload) in [
            ("z/lamp", &br#"{"on":true,"level":{"now":0.5},"list":[1,"a"]}"#[..]),
            ("stat/POWER", b"ON"),
            ("up", b"\xff\x00"),
            ("uns/acme/_raw/x", b"1"),
            ("gone", b""),
        ] {
            finds.add(&message(topic, payload));
        }
        let found: Vec<(String, String)> = finds
            .into_list()
            .into_iter()
            .map(|it| (it.address, it.data_type.unwrap_or_default()))
            .collect();
        let expected = [
            ("stat/POWER", "string"),
            ("up#bytes:0", "bytes"),
            ("z/lamp#$.level.now", "float64"),
            ("z/lamp#$.list[0]", "int64"),
            ("z/lamp#$.list[1]", "string"),
            ("z/lamp#$.on", "bool"),
        ];
        let expected = expected.map(|(address, is)| (address.to_owned(), is.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let mut finds = Finds::new(3, true);
        let wide: Vec<u32> = (0..1000).collect();
        finds.add(&message("a", serde_json::to_string(&wide).unwrap().as_bytes()));
        assert!(finds.is_full());
        let mut finds = Finds::new(1000, true);
        finds.add(&message("a", serde_json::to_string(&wide).unwrap().as_bytes()));
        let deep = format!("{}1{}", "[".repeat(20), "]".repeat(20));
        finds.add(&message("b", deep.as_bytes()));
        assert_eq!(finds.into_list().len(), VALUES_MAX);
    }
}
