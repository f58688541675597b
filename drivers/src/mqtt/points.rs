//! The tags of a driver by the topics that they are on.

use super::address::{Address, Place};
use super::config::{Clock, MqttConfig};
use super::payload::Payload;
use crate::bridge::RemoteMessage;
use crate::config::{Access, ConfigError, DataType, TagConfig};
use crate::encoding::Encoding;
use crate::mqtt::address::Part;
use crate::port::{PointId, PointRead, ReadError, Sample};
use crate::scaling::Scaling;
use proto::{PlatformTopic, Quality, TopicFilter, TopicName};
use std::collections::HashMap;

/// One tag.
pub(super) struct Point {
    /// As it is called in messages.
    pub(super) target: String,
    pub(super) read: Place,
    pub(super) write: Option<Place>,
    pub(super) encoding: Encoding,
}

/// See the module.
pub(super) struct Points {
    pub(super) all: Vec<Point>,
    by_topic: HashMap<TopicName, Vec<PointId>>,
    clock: Option<Clock>,
    /// Where it is said whether the device is there, and what says that it is gone.
    presence: Option<(Place, String)>,
}

impl Points {
    pub(super) fn new(config: &MqttConfig, tags: &[TagConfig]) -> Result<Self, ConfigError> {
        let is_local = config.broker.is_none();
        let mut all = Vec::with_capacity(tags.len());
        let mut by_topic: HashMap<TopicName, Vec<PointId>> = HashMap::new();
        for (index, tag) in tags.iter().enumerate() {
            let point = Point::new(tag, is_local).map_err(|error| error.of_tag(index))?;
            // A driver has far fewer.
            let id = PointId(u32::try_from(index).unwrap_or(u32::MAX));
            by_topic.entry(point.read.topic.clone()).or_default().push(id);
            all.push(point);
        }
        Ok(Self { all, by_topic, clock: config.clock()?, presence: config.presence()? })
    }

    /// The filters that match them.
    pub(super) fn filters(&self) -> Vec<TopicFilter> {
        let filter = |topic: &TopicName| TopicFilter::parse(topic.as_str().to_owned()).ok();
        // First whether the device is there: what is retained of one that is not is told as such.
        let presence = self.presence.as_ref().map(|(place, _)| &place.topic);
        let others = self.by_topic.keys().filter(|topic| Some(*topic) != presence);
        presence.into_iter().chain(others).filter_map(filter).collect()
    }

    /// The points on a topic.
    pub(super) fn on(&self, topic: &TopicName) -> &[PointId] {
        self.by_topic.get(topic).map_or(&[], Vec::as_slice)
    }

    /// The topics, each once.
    pub(super) fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.by_topic.keys()
    }

    /// Whether a message says that the device is gone, or that it is there; `None` if it says nothing of that.
    pub(super) fn is_gone(&self, message: &RemoteMessage) -> Option<bool> {
        let (place, gone) = self.presence.as_ref()?;
        if place.topic != message.topic || message.payload.is_empty() {
            return None;
        }
        let data_type = DataType::Auto;
        let encoding =
            Encoding { data_type, byte_order: Default::default(), scaling: Scaling::default() };
        let said = Payload::new(&message.payload).value(&place.part, &encoding);
        said.ok().flatten().filter(proto::Datum::is_plain).map(|value| value.to_string() == *gone)
    }

    /// What a message says of its points. A value that was retained, of which nobody knows how old it is, is doubted.
    pub(super) fn read(&self, message: &RemoteMessage) -> Vec<PointRead> {
        // A retained message that is cleared says nothing.
        if message.payload.is_empty() {
            return Vec::new();
        }
        let mut payload = Payload::new(&message.payload);
        let told = self.clock.as_ref().and_then(|clock| clock.time(payload.json()?));
        let quality = match (message.retain, told) {
            (true, None) => Quality::Uncertain,
            _ => Quality::Good,
        };
        let mut reads = Vec::new();
        for id in self.on(&message.topic) {
            let point = &self.all[id.index()];
            let read = match payload.value(&point.read.part, &point.encoding) {
                Ok(None) => continue,
                Ok(Some(value)) => Ok(Sample { point: *id, value, quality, at: told }),
                Err(reason) => Err(point.no_value(reason)),
            };
            reads.push((*id, read));
        }
        reads
    }
}

impl Point {
    fn new(tag: &TagConfig, is_local: bool) -> Result<Self, ConfigError> {
        let refuse = |field: &str, reason: &str| Err(ConfigError::new(field, reason));
        let address =
            Address::parse(&tag.address).map_err(|reason| ConfigError::new("address", reason))?;
        let Address { read, write } = address;
        let is_writable = tag.access == Access::ReadWrite;
        if is_writable != write.is_some() {
            return match is_writable {
                true => refuse("address", "it says not where to write: add ` -> ` and a topic"),
                false => refuse("access", "the address says where to write: read_write"),
            };
        }
        let is_own = |place: &Place| is_local && PlatformTopic::parse(&place.topic).is_some();
        if is_own(&read) || write.as_ref().is_some_and(is_own) {
            return refuse("address", "it is a topic of the platform itself");
        }
        check_type(tag, &read.part)?;
        if let Some(write) = &write {
            check_type(tag, &write.part)?;
            match &write.part {
                Part::Json(path) if !path.is_of_names() => {
                    return refuse("address", "what is written is a document of names: no [index]");
                }
                Part::Bytes { from: 1.., .. } | Part::Bytes { bit: Some(_), .. } => {
                    return refuse("address", "what is written is the whole payload: #bytes:0");
                }
                _ => {}
            }
        }
        let (data_type, byte_order) = (tag.data_type, tag.byte_order);
        let encoding = Encoding { data_type, byte_order, scaling: Scaling::of(tag) };
        Ok(Self { target: read.to_string(), read, write, encoding })
    }

    pub(super) fn no_value(&self, reason: &'static str) -> ReadError {
        let (target, data_type) = (self.target.clone(), self.encoding.data_type.to_string());
        ReadError::NoValue { target, data_type, reason }
    }
}

fn check_type(tag: &TagConfig, part: &Part) -> Result<(), ConfigError> {
    let refuse = |reason: &str| Err(ConfigError::new("type", reason));
    let is_binary = matches!(tag.data_type, DataType::Bcd16 | DataType::Bcd32);
    match part {
        Part::Bytes { .. } if tag.data_type == DataType::Auto => {
            refuse("bytes do not tell types: name one")
        }
        Part::Bytes { bit: Some(_), .. } if tag.data_type != DataType::Bool => {
            refuse("it is one bit: bool")
        }
        Part::Whole | Part::Json(_) if is_binary => refuse("a text is not binary-coded"),
        Part::Whole | Part::Json(_) if tag.byte_order != Default::default() => {
            Err(ConfigError::new("byte_order", "a text has none"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proto::{Datum, Qos, TimestampMs};
    use serde_json::{Value as Json, json};

    fn tag(more: &Json) -> TagConfig {
        let mut tag = json!({"tag": "t", "path": "x/_raw/t"});
        tag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(tag).unwrap()
    }

    fn message(topic: &str, payload: &str, retain: bool) -> RemoteMessage {
        RemoteMessage {
            topic: TopicName::parse(topic.to_owned()).unwrap(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            qos: Qos::AtLeastOnce,
            retain,
            properties: Default::default(),
        }
    }

    #[test]
    fn what_no_device_could_have_is_refused_by_field() {
        let config = MqttConfig::default();
        for (more, field) in [
            (json!({"address": "a/+"}), "address"),
            (json!({"address": "a -> b"}), "access"),
            (json!({"address": "a", "access": "read_write"}), "address"),
            (json!({"address": "uns/acme/_raw/x"}), "address"),
            (json!({"address": "a -> uns/x/_raw/y/set", "access": "read_write"}), "address"),
            (json!({"address": "a#bytes:0"}), "type"),
            (json!({"address": "a#bytes:0.1", "type": "uint8"}), "type"),
            (json!({"address": "a#$.x", "type": "bcd16"}), "type"),
            (json!({"address": "a", "byte_order": "DCBA"}), "byte_order"),
            (json!({"address": "a -> b#$.x[0]", "access": "read_write"}), "address"),
            (
                json!({"address": "a -> b#bytes:1", "access": "read_write", "type": "uint8"}),
                "address",
            ),
        ] {
            let refused = Points::new(&config, &[tag(&more)]).err().expect("a refusal");
            assert_eq!(refused.path(), format!("tags[0].{field}"), "{more}");
        }
        let remote = json!({"broker": {"url": "mqtt://hub", "client_id": "c"}});
        let remote: MqttConfig = serde_json::from_value(remote).unwrap();
        assert!(Points::new(&remote, &[tag(&json!({"address": "uns/acme/_raw/x"}))]).is_ok());
    }

    #[test]
    fn a_will_says_that_the_device_is_gone() {
        let with = |address: &str| {
            let config = json!({"offline": {"address": address, "value": "Offline"}});
            let config: MqttConfig = serde_json::from_value(config).unwrap();
            Points::new(&config, &[tag(&json!({"address": "a"}))]).unwrap()
        };
        let plain = with("tele/LWT");
        assert_eq!(plain.filters().len(), 2);
        assert_eq!(with("a#$.state").filters().len(), 1);
        for (payload, expected) in
            [("Offline", Some(true)), ("Online", Some(false)), ("", None), ("{}", None)]
        {
            assert_eq!(plain.is_gone(&message("tele/LWT", payload, true)), expected, "{payload}");
        }
        assert_eq!(plain.is_gone(&message("a", "Offline", true)), None);
        let inner = with("a#$.state").is_gone(&message("a", r#"{"state":"Offline"}"#, false));
        assert_eq!(inner, Some(true));
    }

    #[test]
    fn one_message_is_values_of_several_points() {
        let config = json!({"time": {"path": "$.ts"}});
        let config: MqttConfig = serde_json::from_value(config).unwrap();
        let tags = ["a#$.x", "b#$.x", "a#$.y", "a"].map(|it| tag(&json!({"address": it})));
        let points = Points::new(&config, &tags).unwrap();
        assert_eq!(points.filters().len(), 2);
        let reads = points.read(&message("a", r#"{"x":1,"ts":5}"#, true));
        let sample = |point, value, quality, at| {
            let point = PointId(point);
            (point, Ok(Sample { point, value: Datum::Int(value), quality, at }))
        };
        assert_eq!(reads[0], sample(0, 1, Quality::Good, Some(TimestampMs(5))));
        assert_eq!(reads[1].0, PointId(3));
        let whole = Datum::from_json(json!({"x": 1, "ts": 5})).unwrap();
        assert_eq!(reads[1].1.as_ref().unwrap().value, whole);
        assert_eq!(reads.len(), 2, "nothing is said of $.y");
        let old = points.read(&message("b", r#"{"x":1}"#, true));
        assert_eq!(old, [sample(1, 1, Quality::Uncertain, None)]);
        let live = points.read(&message("b", r#"{"x":1}"#, false));
        assert_eq!(live, [sample(1, 1, Quality::Good, None)]);
        assert_eq!(points.read(&message("a", "", true)), []);
        assert_eq!(points.read(&message("c", "1", false)), []);
    }
}
