//! Resources of a device profile of EdgeX (Foundry 2 and 3): attributes of `device-modbus` and `device-opcua`.

use super::{Fields, must, name_of, number, refused, text};
use crate::config::{ConfigError, DriverConfig};
use serde_json::{Value as Json, json};

/// What changes a value there, and has no counterpart here.
const NOT_READ: [&str; 3] = ["assertion", "mapping", "base"];

/// The resources of a profile, in their order.
pub fn resources(profile: &Json) -> Result<Vec<Fields>, ConfigError> {
    let list = profile.get("deviceResources").and_then(Json::as_array);
    let Some(list) = list else { return refused("text", "the profile has no deviceResources") };
    Ok(list.iter().map(|it| it.as_object().cloned().unwrap_or_default()).collect())
}

pub(super) fn tag(config: &DriverConfig, resource: &Fields) -> Result<Fields, ConfigError> {
    let mut tag = Fields::new();
    let name = name_of(must(resource, "name")?);
    tag.insert("place".into(), format!("_raw/{name}").into());
    tag.insert("tag".into(), name.into());
    let inner = |field: &str| resource.get(field).and_then(Json::as_object).cloned();
    let properties = inner("properties").unwrap_or_default();
    let attributes = inner("attributes").unwrap_or_default();
    let is_writable = text(&properties, "readWrite").is_some_and(|it| it.contains('W'));
    tag.insert("access".into(), if is_writable { "read_write" } else { "read" }.into());
    if let Some(unit) = text(&properties, "units") {
        tag.insert("unit".into(), unit.into());
    }
    if let Some(field) = NOT_READ.iter().find(|field| has(&properties, field)) {
        return refused(field, "it has no counterpart");
    }
    let value_type = must(&properties, "valueType")?.to_ascii_lowercase();
    match config {
        DriverConfig::ModbusTcp(_) | DriverConfig::ModbusSerial(_) => {
            modbus(&attributes, &properties, &value_type, &mut tag)?;
        }
        DriverConfig::OpcUa(_) => {
            let node = text(&attributes, "nodeId").or_else(|| text(&attributes, "NodeID"));
            let Some(node) = node else { return refused("nodeId", "it is missing") };
            tag.insert("address".into(), node.into());
        }
        DriverConfig::Mqtt(_) | DriverConfig::Simulator(_) => {
            return refused("attributes", "profiles are read for Modbus and OPC UA");
        }
    }
    if let Some(scale) = number(&properties, "scale")?.filter(|it| *it != 1.0) {
        tag.insert("scale".into(), json!(scale));
    }
    if let Some(offset) = number(&properties, "offset")?.filter(|it| *it != 0.0) {
        tag.insert("offset".into(), json!(offset));
    }
    Ok(tag)
}

/// Whether a field says something.
fn has(fields: &Fields, field: &str) -> bool {
    match fields.get(field) {
        None | Some(Json::Null) => false,
        Some(Json::String(text)) => !text.trim().is_empty(),
        Some(_) => true,
    }
}

fn modbus(
    attributes: &Fields,
    properties: &Fields,
    value_type: &str,
    tag: &mut Fields,
) -> Result<(), ConfigError> {
    let area = match must(attributes, "primaryTable")? {
        "COILS" => "coil",
        "DISCRETES_INPUT" => "discrete",
        "INPUT_REGISTERS" => "input",
        "HOLDING_REGISTERS" => "holding",
        other => return refused("primaryTable", format!("{other} is none")),
    };
    let offset = whole(attributes, "startingAddress")?;
    let Some(offset) = offset else { return refused("startingAddress", "it is missing") };
    let bits = bits(properties)?;
    tag.insert("address".into(), format!("{area}:{offset}{bits}").into());
    // The machine's own type, where it is another one than that of the value.
    let raw = text(attributes, "rawType").map(str::to_ascii_lowercase);
    let data_type = raw.as_deref().unwrap_or(value_type);
    let data_type = match data_type {
        "bool" | "int16" | "uint16" | "int32" | "uint32" | "int64" | "uint64" | "float32"
        | "float64" => data_type.to_owned(),
        "string" => match whole(attributes, "stringRegisterSize")? {
            Some(size) => format!("string({})", size.saturating_mul(2)),
            None => return refused("stringRegisterSize", "it is missing"),
        },
        other => return refused("valueType", format!("{other} has no counterpart")),
    };
    tag.insert("type".into(), data_type.into());
    let order = match (is_set(attributes, "isByteSwap"), is_set(attributes, "isWordSwap")) {
        (false, false) => return Ok(()),
        (true, false) => "BADC",
        (false, true) => "CDAB",
        (true, true) => "DCBA",
    };
    tag.insert("byte_order".into(), order.into());
    Ok(())
}

/// A mask of bits side by side that are shifted down to the lowest, as part of an address.
fn bits(properties: &Fields) -> Result<String, ConfigError> {
    let (mask, shift) = (whole(properties, "mask")?, number(properties, "shift")?);
    let Some(mask) = mask.filter(|mask| *mask != 0) else {
        return match shift {
            Some(shift) if shift != 0.0 => refused("shift", "it needs a mask"),
            _ => Ok(String::new()),
        };
    };
    let first = mask.trailing_zeros();
    let last = 31 - mask.leading_zeros();
    let is_one_piece = mask.count_ones() == last - first + 1 && last < 16;
    // Down is negative in some releases, and positive in others.
    let is_to_the_lowest = shift.unwrap_or(0.0).abs() == f64::from(first);
    match is_one_piece && is_to_the_lowest {
        true if first == last => Ok(format!(".{first}")),
        true => Ok(format!(".{first}-{last}")),
        false => refused("mask", "only bits side by side, shifted to the lowest, are a tag"),
    }
}

/// A whole number, also as text, also hexadecimal.
fn whole(fields: &Fields, field: &str) -> Result<Option<u32>, ConfigError> {
    if let Some(digits) = text(fields, field).and_then(|it| it.strip_prefix("0x")) {
        let number = u32::from_str_radix(digits, 16);
        return number.map(Some).or_else(|_| refused(field, format!("0x{digits} is no number")));
    }
    match number(fields, field)? {
        None => Ok(None),
        Some(it) if it.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&it) => {
            Ok(Some(it as u32))
        }
        Some(it) => refused(field, format!("{it} is no whole number")),
    }
}

fn is_set(fields: &Fields, field: &str) -> bool {
    match fields.get(field) {
        Some(Json::Bool(is_set)) => *is_set,
        Some(Json::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modbus_tcp() -> DriverConfig {
        let json = json!({"protocol": "modbus_tcp", "address": "plc:502"});
        serde_json::from_value(json).unwrap()
    }

    fn read(attributes: Json, properties: Json) -> Result<Json, ConfigError> {
        let resource =
            json!({"name": "Phase A", "attributes": attributes, "properties": properties});
        tag(&modbus_tcp(), resource.as_object().unwrap()).map(Json::Object)
    }

    #[test]
    fn a_resource_is_a_tag() {
        let attributes = json!({"primaryTable": "HOLDING_REGISTERS", "startingAddress": "4",
            "rawType": "Int16", "isByteSwap": "true", "isWordSwap": true});
        let properties = json!({"valueType": "Float32", "readWrite": "RW", "units": "V",
            "scale": "0.1", "offset": 0});
        let expected = json!({"tag": "Phase_A", "place": "_raw/Phase_A", "address": "holding:4",
            "type": "int16", "byte_order": "DCBA", "access": "read_write", "unit": "V",
            "scale": 0.1});
        assert_eq!(read(attributes, properties), Ok(expected));
        let text = json!({"primaryTable": "INPUT_REGISTERS", "startingAddress": 1,
            "stringRegisterSize": 8});
        let read_text = read(text, json!({"valueType": "String"})).unwrap();
        assert_eq!(
            (&read_text["type"], &read_text["access"]),
            (&json!("string(16)"), &json!("read"))
        );
    }

    #[test]
    fn masks_are_bits_of_a_register() {
        let of = |mask: Json, shift: Json| {
            let attributes = json!({"primaryTable": "INPUT_REGISTERS", "startingAddress": 2});
            read(attributes, json!({"valueType": "Uint16", "mask": mask, "shift": shift}))
                .map(|tag| tag["address"].as_str().unwrap().to_owned())
        };
        assert_eq!(of(json!("0x00F0"), json!("4")), Ok("input:2.4-7".to_owned()));
        assert_eq!(of(json!(1), json!(0)), Ok("input:2.0".to_owned()));
        assert_eq!(of(json!(240), json!(-4)), Ok("input:2.4-7".to_owned()));
        for (mask, shift) in
            [(json!(5), json!(0)), (json!(240), json!(0)), (json!(131_072), json!(17))]
        {
            assert_eq!(of(mask, shift).unwrap_err().field, "mask");
        }
        assert_eq!(of(json!(null), json!(3)).unwrap_err().field, "shift");
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_field() {
        let place = json!({"primaryTable": "COILS", "startingAddress": 2});
        for (attributes, properties, field) in [
            (json!({}), json!({"valueType": "Bool"}), "primaryTable"),
            (json!({"primaryTable": "COILS"}), json!({"valueType": "Bool"}), "startingAddress"),
            (place.clone(), json!({}), "valueType"),
            (place.clone(), json!({"valueType": "Binary"}), "valueType"),
            (place.clone(), json!({"valueType": "Bool", "assertion": "1"}), "assertion"),
            (place.clone(), json!({"valueType": "Int16", "scale": "x"}), "scale"),
            (place, json!({"valueType": "String"}), "stringRegisterSize"),
        ] {
            assert_eq!(
                read(attributes, properties.clone()).unwrap_err().field,
                field,
                "{properties}"
            );
        }
        assert_eq!(resources(&json!({})).unwrap_err().field, "text");
    }
}
