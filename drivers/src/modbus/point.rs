//! One point of a unit: where it lies, how its bits are understood, whether it may be written.
//!
//! Made from a tag by [`Point::new`], which refuses what Modbus cannot do, so that reading and
//! writing need not ask again.

use super::address::{Address, Bits};
use super::config::Options;
use super::plan::Span;
use super::session::{Answer, Write};
use crate::config::{Access, ByteOrder, ConfigError, DataType, TagConfig};
use crate::encoding::{Encoding, register_count};
use crate::scaling::{Scaling, Unfit, truth};
use proto::Datum;

/// One point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) address: Address,
    pub(crate) encoding: Encoding,
    pub(crate) is_writable: bool,
}

impl Point {
    /// The point of a tag whose own limits were checked.
    pub(crate) fn new(tag: &TagConfig, options: &Options) -> Result<Self, ConfigError> {
        let parsed: Result<Address, _> = tag.address.parse();
        let address = parsed
            .map_err(|error| ConfigError::new("address", format!("{:?}: {error}", tag.address)))?;
        check_type(tag, address)?;
        let point = Self {
            address,
            encoding: Encoding {
                data_type: tag.data_type,
                byte_order: tag.byte_order,
                scaling: Scaling::of(tag),
            },
            is_writable: tag.access == Access::ReadWrite,
        };
        check_span(point.span(), options)?;
        Ok(point)
    }

    /// The bits or registers that hold the point.
    pub(crate) fn span(&self) -> Span {
        let Address { area, offset, .. } = self.address;
        Span { area, offset, count: register_count(self.encoding.data_type) }
    }

    /// The value of the point in the answer to a request over `read`, which covers the point.
    pub(crate) fn decode(&self, read: Span, answer: &Answer) -> Result<Datum, &'static str> {
        const MISSING: &str = "not in the answer";
        let span = self.span();
        let start = usize::from(span.offset.checked_sub(read.offset).ok_or(MISSING)?);
        let range = start..start + usize::from(span.count);
        match answer {
            Answer::Bits(bits) => bits.get(start).map(|bit| Datum::Bool(*bit)).ok_or(MISSING),
            Answer::Registers(registers) => {
                let registers = registers.get(range).ok_or(MISSING)?;
                match self.address.bits {
                    Some(bits) => self.show_bits(bits.of(registers[0])),
                    None => self.encoding.decode(registers),
                }
            }
        }
    }

    /// What to send for a value, and the value as it will read back.
    pub(crate) fn encode(&self, value: &Datum) -> Result<(Write, Datum), Unfit> {
        let offset = self.address.offset;
        if let Some(bits) = self.address.bits {
            let number = match self.encoding.data_type {
                DataType::Bool => u16::from(truth(value)?),
                _ => {
                    let range = 0..=i128::from(bits.of(u16::MAX));
                    self.encoding.scaling.raw_whole(value, &range)? as u16
                }
            };
            let seen = self.show_bits(number).map_err(|_| Unfit::OutOfRange)?;
            return Ok((Write::Bits { offset, bits, number }, seen));
        }
        if self.encoding.data_type == DataType::Bool {
            let value = truth(value)?;
            return Ok((Write::Coil { offset, value }, Datum::Bool(value)));
        }
        let registers = self.encoding.encode(value)?;
        let seen = self.encoding.decode(&registers).map_err(|_| Unfit::OutOfRange)?;
        Ok((Write::Registers { offset, registers }, seen))
    }
}

impl Point {
    fn show_bits(&self, number: u16) -> Result<Datum, &'static str> {
        match self.encoding.data_type {
            DataType::Bool => Ok(Datum::Bool(number == 1)),
            _ => self.encoding.scaling.show_whole(number.into()),
        }
    }
}

fn check_type(tag: &TagConfig, address: Address) -> Result<(), ConfigError> {
    let count = address.bits.map(Bits::count);
    let is_bit = address.area.is_bits() || count == Some(1);
    if tag.data_type == DataType::Auto {
        return Err(ConfigError::new("type", "Modbus does not tell types: name one"));
    }
    if count.is_some() && tag.byte_order != ByteOrder::Abcd {
        return Err(ConfigError::new("byte_order", "bits have none"));
    }
    if let Some(count @ 2..) = count {
        let has_room = match tag.data_type {
            DataType::Uint8 => count <= 8,
            data_type => data_type == DataType::Uint16,
        };
        if !has_room {
            let reason = format!("{} at {address}, which are {count} bits: uint16", tag.data_type);
            return Err(ConfigError::new("type", reason));
        }
        return check_access(tag, address);
    }
    if matches!(tag.data_type, DataType::Int8 | DataType::Uint8) {
        return Err(ConfigError::new("type", "a register has 16 bits: name those that count"));
    }
    let is_bool = tag.data_type == DataType::Bool;
    if is_bit && !is_bool {
        let reason = format!("{} at {address}, which is one bit: bool", tag.data_type);
        return Err(ConfigError::new("type", reason));
    }
    if is_bool && !is_bit {
        let reason = format!("bool at {address}, which is a register: name a bit, {address}.0");
        return Err(ConfigError::new("type", reason));
    }
    if is_bool && tag.byte_order != ByteOrder::Abcd {
        return Err(ConfigError::new("byte_order", "a bit has none"));
    }
    let is_text = matches!(tag.data_type, DataType::Text { .. });
    if is_text && tag.byte_order.is_low_register_first() {
        return Err(ConfigError::new("byte_order", "a string is ABCD or BADC"));
    }
    check_access(tag, address)
}

fn check_access(tag: &TagConfig, address: Address) -> Result<(), ConfigError> {
    if tag.access == Access::ReadWrite && !address.area.is_writable() {
        let reason = format!("Modbus cannot write {address}");
        return Err(ConfigError::new("access", reason));
    }
    Ok(())
}

fn check_span(span: Span, options: &Options) -> Result<(), ConfigError> {
    if span.end() > 1 << 16 {
        let reason = format!("{span} reaches beyond the last offset, 65535");
        return Err(ConfigError::new("address", reason));
    }
    if span.count > options.registers_per_request_max {
        let reason = format!(
            "{span} has {} registers, registers_per_request_max is {}",
            span.count, options.registers_per_request_max
        );
        return Err(ConfigError::new("type", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::ModbusTcpConfig;
    use serde_json::json;

    fn point(
        address: &str,
        data_type: &str,
        more: &serde_json::Value,
    ) -> Result<Point, ConfigError> {
        let mut json = json!({"tag": "t", "path": "a/_raw/t", "address": address,
            "type": data_type});
        for (key, value) in more.as_object().unwrap() {
            json[key] = value.clone();
        }
        let config =
            ModbusTcpConfig { registers_per_request_max: 16, ..ModbusTcpConfig::new("plc:502") };
        Point::new(&serde_json::from_value(json).unwrap(), &config.options())
    }

    #[test]
    fn what_modbus_cannot_do_is_refused_with_the_field() {
        for (address, data_type, more, field) in [
            ("50001", "uint16", json!({}), "address"),
            ("holding:65535", "uint32", json!({}), "address"),
            ("coil:0", "uint16", json!({}), "type"),
            ("holding:0", "auto", json!({}), "type"),
            ("holding:0.3", "uint16", json!({}), "type"),
            ("holding:0", "bool", json!({}), "type"),
            ("holding:0", "string(33)", json!({}), "type"),
            ("holding:0", "uint8", json!({}), "type"),
            ("holding:0.1-3", "bool", json!({}), "type"),
            ("holding:0.0-8", "uint8", json!({}), "type"),
            ("holding:0.1-3", "uint16", json!({"byte_order": "DCBA"}), "byte_order"),
            ("input:0.1-3", "uint16", json!({"access": "read_write"}), "access"),
            ("coil:0", "bool", json!({"byte_order": "DCBA"}), "byte_order"),
            ("holding:0", "string(4)", json!({"byte_order": "CDAB"}), "byte_order"),
            ("input:0", "uint16", json!({"access": "read_write"}), "access"),
            ("discrete:0", "bool", json!({"access": "read_write"}), "access"),
        ] {
            let error = point(address, data_type, &more).unwrap_err();
            assert_eq!(error.field, field, "{address} {data_type} {more}: {error}");
        }
    }

    #[test]
    fn a_bit_of_a_register() {
        let point = point("holding:10.3", "bool", &json!({"access": "read_write"})).unwrap();
        let read = Span { offset: 9, count: 2, ..point.span() };
        for (register, is_set) in [(0b1000, true), (0b0111, false), (0xffff, true)] {
            let answer = Answer::Registers(vec![0, register]);
            assert_eq!(point.decode(read, &answer), Ok(Datum::Bool(is_set)), "{register:b}");
        }
        let bits = Bits::one(3).unwrap();
        let write = Write::Bits { offset: 10, bits, number: 1 };
        assert_eq!(point.encode(&Datum::Bool(true)), Ok((write, Datum::Bool(true))));
    }

    #[test]
    fn some_bits_of_a_register() {
        let more = json!({"access": "read_write", "labels": {"0": "off", "5": "manual"}});
        let point = point("holding:10.4-6", "uint8", &more).unwrap();
        let read = point.span();
        let shown = |register| point.decode(read, &Answer::Registers(vec![register]));
        assert_eq!(shown(0b0101_1111), Ok(Datum::Text("manual".to_owned())));
        assert_eq!(shown(0b1000_1111), Ok(Datum::Text("off".to_owned())));
        assert!(shown(0b0001_0000).is_err(), "a number without a label");
        let manual = Datum::Text("manual".to_owned());
        let bits = Bits::range(4, 6).unwrap();
        let write = Write::Bits { offset: 10, bits, number: 5 };
        assert_eq!(point.encode(&manual), Ok((write, manual)));

        let point = self::point("holding:10.4-6", "uint16", &json!({"scale": 10.0})).unwrap();
        assert_eq!(point.decode(read, &Answer::Registers(vec![0x70])), Ok(Datum::Float(70.0)));
        assert_eq!(point.encode(&Datum::Int(80)).unwrap_err(), Unfit::OutOfRange);
    }

    #[test]
    fn a_coil_takes_truth_values_and_1_and_0() {
        let point = point("coil:4", "bool", &json!({"access": "read_write"})).unwrap();
        for (value, expected) in [
            (Datum::Bool(true), Ok(true)),
            (Datum::Int(0), Ok(false)),
            (Datum::Int(2), Err(Unfit::OutOfRange)),
            (Datum::Float(1.0), Err(Unfit::WrongType)),
            (Datum::Text("true".into()), Err(Unfit::WrongType)),
        ] {
            let encoded = point.encode(&value).map(|(_, seen)| seen);
            assert_eq!(encoded, expected.map(Datum::Bool), "{value}");
        }
    }

    #[test]
    fn an_answer_that_is_too_short_is_no_value() {
        let point = point("holding:10", "uint32", &json!({})).unwrap();
        let read = Span { offset: 9, ..point.span() };
        assert!(point.decode(read, &Answer::Registers(vec![1, 2])).is_err());
        assert!(point.decode(Span { offset: 11, ..read }, &Answer::Registers(vec![1, 2])).is_err());
    }
}
