//! Rows of a tag sheet of Neuron 2 or NeuronEX, with the columns `group`, `name`, `address`, `attribute`, `type`,
//! `description`, `decimal`, `precision` and `bias`.

use super::{Fields, must, name_of, number, refused, text};
use crate::config::{ByteOrder, ConfigError, DriverConfig};
use serde_json::{Value as Json, json};

/// What a group and a name are put together with: names are unique in a group only.
const JOINT: &str = ".";

pub(super) fn tag(
    config: &DriverConfig,
    row: &Fields,
    byte_order: ByteOrder,
) -> Result<Fields, ConfigError> {
    let mut tag = Fields::new();
    let name = name_of(must(row, "name")?);
    let group = text(row, "group").map(name_of);
    let whole = group.as_ref().map_or_else(|| name.clone(), |group| [group, JOINT, &name].concat());
    tag.insert("tag".into(), whole.into());
    let place =
        group.map_or_else(|| format!("_raw/{name}"), |group| format!("{group}/_raw/{name}"));
    tag.insert("place".into(), place.into());
    let is_writable = attributes(must(row, "attribute")?)?;
    tag.insert("access".into(), if is_writable { "read_write" } else { "read" }.into());
    let data_type = must(row, "type")?.to_ascii_uppercase();
    let address = must(row, "address")?;
    match config {
        DriverConfig::ModbusTcp(it) => {
            modbus(address, &data_type, it.unit_id, byte_order, &mut tag)?
        }
        DriverConfig::ModbusSerial(it) => {
            modbus(address, &data_type, it.unit_id, byte_order, &mut tag)?;
        }
        DriverConfig::OpcUa(_) => {
            tag.insert("address".into(), opcua(address)?.into());
            tag.insert("type".into(), type_of(&data_type, None)?.into());
        }
        DriverConfig::Mqtt(_) | DriverConfig::Simulator(_) => {
            return refused("address", "sheets are read for Modbus and OPC UA");
        }
    }
    if let Some(scale) = number(row, "decimal")?.filter(|it| *it != 0.0 && *it != 1.0) {
        tag.insert("scale".into(), json!(scale));
    }
    if let Some(offset) = number(row, "bias")?.filter(|it| *it != 0.0) {
        tag.insert("offset".into(), json!(offset));
    }
    let is_float = matches!(data_type.as_str(), "FLOAT" | "DOUBLE") || tag.contains_key("scale");
    if let Some(places) = number(row, "precision")?.filter(|it| *it > 0.0 && is_float) {
        tag.insert("precision".into(), Json::from(places as u64));
    }
    Ok(tag)
}

/// Whether it can be written.
fn attributes(text: &str) -> Result<bool, ConfigError> {
    if let Ok(bits) = text.parse::<u8>() {
        return Ok(bits & 2 != 0);
    }
    let mut is_writable = false;
    for word in text.split([' ', ',', '|', ';', '+']).filter(|word| !word.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "write" => is_writable = true,
            "read" | "subscribe" => {}
            other => return refused("attribute", format!("{other:?} is none")),
        }
    }
    Ok(is_writable)
}

fn type_of(name: &str, bytes: Option<u16>) -> Result<String, ConfigError> {
    Ok(match name {
        "INT8" | "UINT8" | "INT16" | "UINT16" | "INT32" | "UINT32" | "INT64" | "UINT64" => {
            name.to_ascii_lowercase()
        }
        "WORD" => "uint16".to_owned(),
        "DWORD" => "uint32".to_owned(),
        "LWORD" => "uint64".to_owned(),
        "FLOAT" => "float32".to_owned(),
        "DOUBLE" => "float64".to_owned(),
        "BIT" | "BOOL" => "bool".to_owned(),
        "STRING" => bytes.map_or_else(|| "auto".to_owned(), |bytes| format!("string({bytes})")),
        other => return refused("type", format!("{other} has no counterpart")),
    })
}

/// `SLAVE!ADDRESS[.BIT][#ENDIAN][.LEN[H][L]]`.
fn modbus(
    address: &str,
    data_type: &str,
    unit: u8,
    byte_order: ByteOrder,
    tag: &mut Fields,
) -> Result<(), ConfigError> {
    let (slave, place) = match address.split_once('!') {
        Some(parts) => parts,
        None => return refused("address", "it has no unit, as in 1!400001"),
    };
    if slave.parse() != Ok(unit) {
        let reason = format!("it is of unit {slave}, and this driver of {unit}: import it there");
        return refused("address", reason);
    }
    let (place, endian) = match place.split_once('#') {
        Some((place, endian)) => (place, Some(endian)),
        None => (place, None),
    };
    let mut order = match data_type {
        "INT16" | "UINT16" | "WORD" | "BIT" | "STRING" => ByteOrder::Abcd,
        _ => byte_order,
    };
    match endian {
        None => {}
        Some("B" | "BB") => order = ByteOrder::Abcd,
        Some("BL") => order = ByteOrder::Badc,
        Some("LB") => order = ByteOrder::Cdab,
        // Of 16 bits these are the two bytes, of 64 all eight.
        Some("L" | "LL") => order = ByteOrder::Dcba,
        Some(other) => return refused("address", format!("#{other} has no counterpart")),
    }
    let (digits, rest) = match place.split_once('.') {
        Some((digits, rest)) => (digits, Some(rest)),
        None => (place, None),
    };
    let (digits, data_type) = match (data_type, rest) {
        ("STRING", Some(length)) => {
            let end = length.find(|c: char| !c.is_ascii_digit()).unwrap_or(length.len());
            let (count, kind) = length.split_at(end);
            let bytes = count.parse().ok().and_then(|it: u16| it.checked_mul(2));
            let Some(bytes) = bytes else { return refused("address", "its length is no number") };
            match kind {
                "" | "H" => {}
                "L" => order = ByteOrder::Badc,
                other => return refused("address", format!("texts of kind {other} are not read")),
            }
            (digits.to_owned(), type_of("STRING", Some(bytes))?)
        }
        ("STRING", None) => return refused("address", "a text needs a length, as in 1!400001.10"),
        (_, Some(bit)) => (format!("{digits}.{bit}"), type_of(data_type, None)?),
        (_, None) => (digits.to_owned(), type_of(data_type, None)?),
    };
    tag.insert("address".into(), digits.into());
    tag.insert("type".into(), data_type.into());
    if order != ByteOrder::Abcd {
        tag.insert("byte_order".into(), json!(order));
    }
    Ok(())
}

/// `NAMESPACE!IDENTIFIER`, where a number is a number.
fn opcua(address: &str) -> Result<String, ConfigError> {
    match address.split_once('!') {
        Some((namespace, id)) if namespace.parse::<u16>().is_ok() && !id.is_empty() => {
            let kind = if id.bytes().all(|it| it.is_ascii_digit()) { "i" } else { "s" };
            Ok(format!("ns={namespace};{kind}={id}"))
        }
        _ => refused("address", "it is not a namespace and an identifier, as in 2!Line.Speed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modbus_tcp() -> DriverConfig {
        let json = json!({"protocol": "modbus_tcp", "address": "plc:502", "unit_id": 1});
        serde_json::from_value(json).unwrap()
    }

    fn row(address: &str, data_type: &str) -> Fields {
        let row = json!({"group": "line 1", "name": "speed", "address": address,
            "attribute": "Read Write", "type": data_type});
        row.as_object().unwrap().clone()
    }

    fn read(address: &str, data_type: &str) -> Result<Fields, ConfigError> {
        tag(&modbus_tcp(), &row(address, data_type), ByteOrder::Abcd)
    }

    #[test]
    fn a_row_is_a_tag() {
        let mut row = row("1!400003#LB", "FLOAT");
        row.insert("decimal".into(), json!("0.1"));
        row.insert("precision".into(), json!(2));
        row.insert("bias".into(), json!(""));
        let read = tag(&modbus_tcp(), &row, ByteOrder::Abcd).unwrap();
        let expected = json!({"tag": "line_1.speed", "place": "line_1/_raw/speed",
            "address": "400003", "type": "float32", "byte_order": "CDAB",
            "access": "read_write", "scale": 0.1, "precision": 2});
        assert_eq!(Json::Object(read), expected);
    }

    #[test]
    fn addresses_of_modbus_are_read() {
        for (address, data_type, expected) in [
            ("1!000007", "BIT", json!(["000007", "bool", null])),
            ("1!300004.3", "BIT", json!(["300004.3", "bool", null])),
            ("1!300004", "INT16", json!(["300004", "int16", null])),
            ("1!300004#L", "UINT16", json!(["300004", "uint16", "DCBA"])),
            ("1!400001#BL", "INT32", json!(["400001", "int32", "BADC"])),
            ("1!400001#LL", "DWORD", json!(["400001", "uint32", "DCBA"])),
            ("1!400001#B", "DOUBLE", json!(["400001", "float64", null])),
            ("1!400001.10", "STRING", json!(["400001", "string(20)", null])),
            ("1!400001.10L", "STRING", json!(["400001", "string(20)", "BADC"])),
        ] {
            let tag = read(address, data_type).unwrap();
            let order = tag.get("byte_order").cloned().unwrap_or_default();
            assert_eq!(json!([tag["address"], tag["type"], order]), expected, "{address}");
        }
        let given = tag(&modbus_tcp(), &row("1!400001", "INT32"), ByteOrder::Cdab).unwrap();
        assert_eq!(given["byte_order"], "CDAB");
        let of_16_bits = tag(&modbus_tcp(), &row("1!400001", "INT16"), ByteOrder::Cdab).unwrap();
        assert_eq!(of_16_bits.get("byte_order"), None);
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_column() {
        for (address, data_type, field) in [
            ("2!400001", "INT16", "address"),
            ("400001", "INT16", "address"),
            ("1!400001#XY", "INT32", "address"),
            ("1!400001.4D", "STRING", "address"),
            ("1!400001", "STRING", "address"),
            ("1!400001", "BYTES", "type"),
        ] {
            assert_eq!(read(address, data_type).unwrap_err().field, field, "{address}");
        }
        for (column, value) in [("attribute", "Static"), ("decimal", "x"), ("name", "")] {
            let mut row = row("1!400001", "INT16");
            row.insert(column.into(), value.into());
            assert_eq!(tag(&modbus_tcp(), &row, ByteOrder::Abcd).unwrap_err().field, column);
        }
    }

    #[test]
    fn addresses_of_opc_ua_are_read() {
        assert_eq!(opcua("2!Line.Speed"), Ok("ns=2;s=Line.Speed".to_owned()));
        assert_eq!(opcua("0!2258"), Ok("ns=0;i=2258".to_owned()));
        assert!(opcua("Line.Speed").is_err() && opcua("2!").is_err());
        assert_eq!((attributes("3"), attributes("Subscribe")), (Ok(true), Ok(false)));
    }
}
