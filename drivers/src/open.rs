//! Opens a driver from its configuration: the one place that knows every protocol.
//!
//! Opening checks everything that can be checked without the machine and does no I/O, so the admin
//! API opens a driver to check a configuration, and drops it.

use crate::config::{ConfigError, DriverConfig, TAGS_MAX, TagConfig, TagKind};
use crate::modbus::{Buses, ModbusDriver};
use crate::mqtt::{LocalBroker, MqttDriver};
use crate::port::Driver;
use crate::simulator::SimulatorDriver;
use crate::trust::TrustList;
use crate::virtual_tags::virtual_tags;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// What the drivers of one node share: where they keep what machines know the node by, the lines that
/// several machines are on, the way to devices that are clients of the node itself, and whose certificates are trusted.
#[derive(Clone)]
pub struct Site {
    /// The directory of the node.
    pub(crate) dir: PathBuf,
    broker: Option<Arc<dyn LocalBroker>>,
    #[cfg(feature = "opcua")]
    pub(crate) trust: Option<Arc<dyn TrustList>>,
    buses: Arc<Buses>,
    #[cfg(feature = "opcua")]
    pub(crate) identity: Arc<tokio::sync::Mutex<Option<Arc<crate::opcua::identity::Identity>>>>,
}

impl Site {
    /// The site of a node that keeps its state in `dir`. Nothing is written there before it is needed.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            broker: None,
            #[cfg(feature = "opcua")]
            trust: None,
            buses: Arc::default(),
            #[cfg(feature = "opcua")]
            identity: Arc::default(),
        }
    }

    /// The same, for a driver of the project that this is the broker of.
    pub fn with_broker(self, broker: Arc<dyn LocalBroker>) -> Self {
        Self { broker: Some(broker), ..self }
    }

    /// The same, for a driver of the project that this is the trust list of.
    #[cfg_attr(not(feature = "opcua"), expect(unused_variables, reason = "nobody asks"))]
    pub fn with_trust(self, trust: Arc<dyn TrustList>) -> Self {
        Self {
            #[cfg(feature = "opcua")]
            trust: Some(trust),
            ..self
        }
    }
}

/// Opens a driver, not yet connected, or says which field is wrong. Its points are the tags that are not virtual, in
/// their order.
pub fn open(
    config: &DriverConfig,
    tags: &[TagConfig],
    site: &Site,
) -> Result<Box<dyn Driver>, ConfigError> {
    config.check()?;
    check_tags(config, tags)?;
    virtual_tags(tags)?;
    // The machine has nothing of those.
    let is_point = |tag: &TagConfig| tag.kind != TagKind::Virtual;
    if tags.iter().all(is_point) {
        return open_points(config, tags, site);
    }
    let (places, points): (Vec<usize>, Vec<TagConfig>) =
        tags.iter().cloned().enumerate().filter(|(_, tag)| is_point(tag)).unzip();
    let placed = |error: ConfigError| match error.tag {
        Some(point) => error.of_tag(places[point]),
        None => error,
    };
    open_points(config, &points, site).map_err(placed)
}

fn open_points(
    config: &DriverConfig,
    tags: &[TagConfig],
    site: &Site,
) -> Result<Box<dyn Driver>, ConfigError> {
    match config {
        DriverConfig::ModbusTcp(config) => {
            Ok(Box::new(ModbusDriver::new(config.options(), tags, &site.buses)?))
        }
        #[cfg(feature = "serial")]
        DriverConfig::ModbusSerial(config) => {
            Ok(Box::new(ModbusDriver::new(config.options(), tags, &site.buses)?))
        }
        #[cfg(not(feature = "serial"))]
        DriverConfig::ModbusSerial(_) => {
            Err(ConfigError::new("protocol", "this build has no serial lines"))
        }
        #[cfg(feature = "opcua")]
        DriverConfig::OpcUa(config) => {
            Ok(Box::new(crate::opcua::OpcUaDriver::new(config, tags, site)?))
        }
        DriverConfig::Mqtt(config) => {
            Ok(Box::new(MqttDriver::new(config, tags, site.broker.clone())?))
        }
        DriverConfig::Simulator(config) => {
            Ok(Box::new(SimulatorDriver::new(config, tags, site.dir.clone())?))
        }
        #[cfg(not(feature = "opcua"))]
        DriverConfig::OpcUa(_) => Err(ConfigError::new("protocol", "this build has no OPC UA")),
    }
}

fn check_tags(config: &DriverConfig, tags: &[TagConfig]) -> Result<(), ConfigError> {
    if tags.len() > TAGS_MAX {
        let reason = format!("{} tags, a driver has at most {TAGS_MAX}", tags.len());
        return Err(ConfigError::new("tags", reason));
    }
    let mut names = HashSet::new();
    let mut paths = HashSet::new();
    for (index, tag) in tags.iter().enumerate() {
        tag.check().map_err(|error| error.of_tag(index))?;
        if !config.has(tag.kind) {
            let reason = format!("this machine has none of kind {}", tag.kind.name());
            return Err(ConfigError::new("kind", reason).of_tag(index));
        }
        if !names.insert(&tag.tag) {
            return Err(ConfigError::new("tag", "another tag has this name").of_tag(index));
        }
        if !paths.insert(&tag.path) {
            return Err(ConfigError::new("path", "another tag has this path").of_tag(index));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::RemoteConfig;
    use crate::config::Publish;
    use crate::modbus::{ModbusSerialConfig, ModbusTcpConfig};
    use crate::mqtt::{MqttConfig, Offline, SourceTime, TimeUnit};
    use crate::opcua::{OpcUaConfig, OpcUaUser};
    use serde_json::json;

    fn tag(name: &str, address: &str, path: &str) -> TagConfig {
        let json = json!({"tag": name, "address": address, "type": "uint16", "path": path});
        serde_json::from_value(json).unwrap()
    }

    fn method(name: &str, path: &str) -> TagConfig {
        let json = json!({"tag": name, "address": "i=1", "kind": "method", "path": path});
        serde_json::from_value(json).unwrap()
    }

    fn computed(name: &str, expression: &str) -> TagConfig {
        let path = format!("x/_raw/{name}");
        let json = json!({"tag": name, "kind": "virtual", "expression": expression, "path": path});
        serde_json::from_value(json).unwrap()
    }

    fn refusal(config: ModbusTcpConfig, tags: &[TagConfig]) -> Option<String> {
        open(&DriverConfig::ModbusTcp(config), tags, &Site::new("unused"))
            .err()
            .map(|error| error.path())
    }

    #[test]
    fn every_field_is_checked_and_named() {
        let config = ModbusTcpConfig::new("plc:502");
        let good = tag("a", "40001", "x/_raw/a");
        assert_eq!(refusal(config.clone(), &[]), None);
        assert_eq!(refusal(config.clone(), std::slice::from_ref(&good)), None);
        let slow = ModbusTcpConfig { timeout_ms: 60_001, ..config.clone() };
        assert_eq!(refusal(slow, &[]).as_deref(), Some("timeout_ms"));
        for (second, field) in [
            (tag("a", "40002", "x/_raw/b"), "tags[1].tag"),
            (tag("b", "40002", "x/_raw/a"), "tags[1].path"),
            (tag("b", "20001", "x/_raw/b"), "tags[1].address"),
            (TagConfig { scale: 0.0, ..tag("b", "40002", "x/_raw/b") }, "tags[1].scale"),
            (method("b", "x/_raw/b"), "tags[1].kind"),
            (computed("b", "c + 1"), "tags[1].expression"),
        ] {
            let refused = refusal(config.clone(), &[good.clone(), second]);
            assert_eq!(refused.as_deref(), Some(field));
        }
        let bad = tag("c", "20001", "x/_raw/c");
        let tags = [computed("b", "a + 1"), good, bad];
        assert_eq!(refusal(config.clone(), &tags).as_deref(), Some("tags[2].address"));
        assert_eq!(refusal(config, &tags[..2]), None);
    }

    #[test]
    fn a_driver_has_a_limit_of_tags() {
        let tags = |count: usize| -> Vec<TagConfig> {
            let name = |index| format!("t{index}");
            (0..count).map(|it| tag(&name(it), "40001", &format!("x/_raw/{it}"))).collect()
        };
        let config = ModbusTcpConfig::new("plc:502");
        assert_eq!(refusal(config.clone(), &tags(TAGS_MAX)), None);
        assert_eq!(refusal(config, &tags(TAGS_MAX + 1)).as_deref(), Some("tags"));
    }

    const MODBUS: &str = include_str!("modbus/README.md");
    const OPCUA: &str = include_str!("opcua/README.md");
    const MQTT: &str = include_str!("mqtt/README.md");

    /// The `index`-th JSON block of a reference.
    fn example<T: serde::de::DeserializeOwned>(reference: &str, index: usize) -> T {
        let block = reference.split("```json").nth(index + 1).unwrap();
        serde_json::from_str(block.split("```").next().unwrap()).unwrap()
    }

    /// The cells of the row of an option.
    fn row<'a>(reference: &'a str, option: &str) -> Vec<&'a str> {
        let start = format!("| `{option}` |");
        let rows = reference.lines().find(|line| line.starts_with(&start));
        rows.unwrap_or_else(|| panic!("{option} is not in the reference")).split(" | ").collect()
    }

    #[test]
    fn the_examples_of_the_references_open() {
        for (reference, count) in [(MODBUS, 6), (OPCUA, 4), (MQTT, 5)] {
            let config: DriverConfig = example(reference, 0);
            let (_, tags) = reference.split_once("## Tags").unwrap();
            let tags: Vec<TagConfig> = example(tags, 0);
            let opened = open(&config, &tags, &Site::new("unused"));
            #[cfg(not(feature = "opcua"))]
            let opened = if reference == OPCUA { continue } else { opened };
            assert_eq!(opened.err(), None);
            assert_eq!(tags.len(), count);
        }
    }

    #[test]
    fn the_reference_names_every_option_of_a_serial_line_with_its_default() {
        let (_, serial) = MODBUS.split_once("### Serial lines").unwrap();
        let (serial, _) = serial.split_once("## Tags").unwrap();
        let options = serde_json::to_value(ModbusSerialConfig::new("port")).unwrap();
        let common = serde_json::to_value(ModbusTcpConfig::new("plc:502")).unwrap();
        for (option, value) in options.as_object().unwrap() {
            let default = match option.as_str() {
                "port" => "required".to_owned(),
                it if it != "framing" && common.get(it).is_some() => continue,
                _ => format!("`{value}`"),
            };
            assert_eq!(row(serial, option)[1], default, "{option}");
        }
        let config: DriverConfig = example(serial, 0);
        let refused = open(&config, &[], &Site::new("unused")).err();
        assert_eq!(refused.is_none(), cfg!(feature = "serial"), "{refused:?}");
    }

    #[test]
    fn the_reference_of_mqtt_names_every_option_with_its_default() {
        let time = SourceTime { path: "$.t".into(), unit: TimeUnit::default() };
        let broker = Some(RemoteConfig::new("mqtt://hub", "c"));
        let offline = Some(Offline { address: "a".into(), value: "b".into() });
        let config = MqttConfig { broker, time: Some(time), offline, ..MqttConfig::default() };
        let options = serde_json::to_value(config).unwrap();
        for (option, value) in options.as_object().unwrap() {
            let default = match option.as_str() {
                "broker" | "time" | "offline" => "none".to_owned(),
                _ => format!("`{value}`"),
            };
            assert_eq!(row(MQTT, option)[1], default, "{option}");
        }
    }

    #[test]
    fn the_reference_of_opc_ua_names_every_option_with_its_default() {
        let mut config = OpcUaConfig::new("opc.tcp://plc:4840");
        config.user = Some(OpcUaUser::Name { name: "n".into(), secret: "s".into() });
        config.trusted = vec!["0".repeat(64)];
        let options = serde_json::to_value(config).unwrap();
        for (option, value) in options.as_object().unwrap() {
            let default = match option.as_str() {
                "url" => "required".to_owned(),
                "user" | "trusted" => "none".to_owned(),
                _ => format!("`{value}`"),
            };
            assert_eq!(row(OPCUA, option)[1], default, "{option}");
        }
    }

    #[test]
    fn the_reference_names_every_option_with_its_default() {
        let config = DriverConfig::ModbusTcp(ModbusTcpConfig::new("plc:502"));
        let mut tag = tag("a", "40001", "x/_raw/a");
        (tag.unit, tag.deadband) = (Some("Cel".to_owned()), Some(0.5));
        (tag.deadband_percent, tag.precision) = (Some(1.0), Some(2));
        tag.labels.insert(0, "off".to_owned());
        (tag.publish, tag.min_interval_ms, tag.max_interval_ms) = (Publish::Always, 1, 1);
        let options = [serde_json::to_value(&config).unwrap(), serde_json::to_value(&tag).unwrap()];
        let required = ["address", "tag", "type", "path"];
        for (option, value) in options.iter().flat_map(|it| it.as_object().unwrap()) {
            let default = match option.as_str() {
                "protocol" => continue,
                "unit" | "deadband" | "deadband_percent" | "precision" | "labels" => {
                    "none".to_owned()
                }
                "publish" => "`\"on_change\"`".to_owned(),
                "min_interval_ms" | "max_interval_ms" => "`0`".to_owned(),
                it if required.contains(&it) => "required".to_owned(),
                _ => format!("`{value}`"),
            };
            assert_eq!(row(MODBUS, option)[1], default, "{option}");
        }
    }
}
