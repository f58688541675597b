//! Opens a driver from its configuration: the one place that knows every protocol.
//!
//! Opening checks everything that can be checked without the machine and does no I/O, so the admin
//! API opens a driver to check a configuration, and drops it.

use crate::config::{ConfigError, DriverConfig, TAGS_MAX, TagConfig};
use crate::modbus::ModbusDriver;
use crate::port::Driver;
use std::collections::HashSet;

/// Opens a driver, not yet connected, or says which field is wrong.
pub fn open(config: &DriverConfig, tags: &[TagConfig]) -> Result<Box<dyn Driver>, ConfigError> {
    config.check()?;
    check_tags(tags)?;
    match config {
        DriverConfig::ModbusTcp(config) => Ok(Box::new(ModbusDriver::new(config, tags)?)),
    }
}

fn check_tags(tags: &[TagConfig]) -> Result<(), ConfigError> {
    if tags.len() > TAGS_MAX {
        let reason = format!("{} tags, a driver has at most {TAGS_MAX}", tags.len());
        return Err(ConfigError::new("tags", reason));
    }
    let mut names = HashSet::new();
    let mut paths = HashSet::new();
    for (index, tag) in tags.iter().enumerate() {
        tag.check().map_err(|error| error.of_tag(index))?;
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
    use crate::config::Publish;
    use crate::modbus::ModbusTcpConfig;
    use serde_json::json;

    fn tag(name: &str, address: &str, path: &str) -> TagConfig {
        let json = json!({"tag": name, "address": address, "type": "uint16", "path": path});
        serde_json::from_value(json).unwrap()
    }

    fn refusal(config: ModbusTcpConfig, tags: &[TagConfig]) -> Option<String> {
        open(&DriverConfig::ModbusTcp(config), tags).err().map(|error| error.field)
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
        ] {
            let refused = refusal(config.clone(), &[good.clone(), second]);
            assert_eq!(refused.as_deref(), Some(field));
        }
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

    const README: &str = include_str!("modbus/README.md");

    /// The `index`-th JSON block of the reference.
    fn example<T: serde::de::DeserializeOwned>(index: usize) -> T {
        let block = README.split("```json").nth(index + 1).unwrap();
        serde_json::from_str(block.split("```").next().unwrap()).unwrap()
    }

    /// The cells of the row of an option.
    fn row(option: &str) -> Vec<&'static str> {
        let start = format!("| `{option}` |");
        let rows = README.lines().find(|line| line.starts_with(&start));
        rows.unwrap_or_else(|| panic!("{option} is not in the reference")).split(" | ").collect()
    }

    #[test]
    fn the_examples_of_the_reference_open() {
        let (config, tags): (DriverConfig, Vec<TagConfig>) = (example(0), example(1));
        assert_eq!(open(&config, &tags).err(), None);
        assert_eq!(tags.len(), 6);
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
            assert_eq!(row(option)[1], default, "{option}");
        }
    }
}
