//! One point of a unit: where it lies, how its bits are understood, whether it may be written.
//!
//! Made from a tag by [`Point::new`], which refuses what Modbus cannot do, so that reading and
//! writing need not ask again.

use super::address::{Address, Area, Bits};
use super::config::Options;
use super::pdu::{Answer, FILE_REGISTERS_MAX, WRITE_COILS_MAX, WRITE_REGISTERS_MAX, Write};
use super::plan::Span;
use crate::config::{Access, ByteOrder, ConfigError, DataType, TagConfig};
use crate::encoding::{Encoding, register_count};
use crate::scaling::{Scaling, Unfit, truth};
use proto::Datum;
use serde_json::Value as Json;

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
        check_span(&point, options)?;
        Ok(point)
    }

    /// The bits or registers that hold the point.
    pub(crate) fn span(&self) -> Span {
        let Address { area, offset, count, .. } = self.address;
        let each = match area {
            Area::Fifo | Area::ExceptionStatus => 1,
            _ => register_count(self.encoding.data_type),
        };
        Span { area, offset, count: each.saturating_mul(count.unwrap_or(1)) }
    }

    /// Its type as it is told in errors.
    pub(crate) fn data_type(&self) -> String {
        let data_type = self.encoding.data_type.to_string();
        self.address.count.map_or(data_type.clone(), |count| format!("{data_type}[{count}]"))
    }

    /// The value of the point in the answer to a request over `read`, which covers the point.
    pub(crate) fn decode(&self, read: Span, answer: &Answer) -> Result<Datum, &'static str> {
        const MISSING: &str = "not in the answer";
        let span = self.span();
        let start = usize::from(span.offset.checked_sub(read.offset).ok_or(MISSING)?);
        let range = start..start + usize::from(span.count);
        let is_array = self.address.count.is_some();
        match answer {
            Answer::Bits(bits) => match bits.get(range).ok_or(MISSING)? {
                bits if is_array => {
                    Ok(Datum::Array(bits.iter().map(|bit| Json::Bool(*bit)).collect()))
                }
                bits => bits.first().map(|bit| Datum::Bool(*bit)).ok_or(MISSING),
            },
            Answer::Registers(registers) if self.address.area == Area::Fifo => {
                Ok(self.elements(registers))
            }
            Answer::Registers(registers) => {
                let registers = registers.get(range).ok_or(MISSING)?;
                match self.address.bits {
                    Some(bits) => self.show_bits(bits.of(registers[0])),
                    None if is_array => Ok(self.elements(registers)),
                    None => self.encoding.decode(registers),
                }
            }
        }
    }

    /// Values one after the other; null stands for one that is none of the type.
    fn elements(&self, registers: &[u16]) -> Datum {
        let each = usize::from(register_count(self.encoding.data_type));
        let shown = registers.chunks_exact(each).map(|registers| {
            self.encoding.decode(registers).map_or(Json::Null, |value| value.to_json())
        });
        Datum::Array(shown.collect())
    }

    /// What to send for a value, and the value as it will read back.
    pub(crate) fn encode(&self, value: &Datum) -> Result<(Write, Datum), Unfit> {
        let Address { offset, bits, count, .. } = self.address;
        if let Some(bits) = bits {
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
        let Some(count) = count else {
            if self.address.area == Area::Coil {
                let value = truth(value)?;
                return Ok((Write::Coils { offset, values: vec![value] }, Datum::Bool(value)));
            }
            let registers = self.encoding.encode(value)?;
            let seen = self.encoding.decode(&registers).map_err(|_| Unfit::OutOfRange)?;
            return Ok((self.write_of(registers), seen));
        };
        let Datum::Array(values) = value else { return Err(Unfit::WrongType) };
        if values.len() != usize::from(count) {
            return Err(Unfit::WrongType);
        }
        let values: Option<Vec<Datum>> = values.iter().map(Datum::plain).collect();
        let values = values.ok_or(Unfit::WrongType)?;
        if self.address.area == Area::Coil {
            let values: Vec<bool> = values.iter().map(truth).collect::<Result<_, _>>()?;
            let seen = Datum::Array(values.iter().map(|it| Json::Bool(*it)).collect());
            return Ok((Write::Coils { offset, values }, seen));
        }
        let mut registers = Vec::with_capacity(usize::from(self.span().count));
        for value in &values {
            registers.extend(self.encoding.encode(value)?);
        }
        let seen = self.elements(&registers);
        Ok((self.write_of(registers), seen))
    }

    fn write_of(&self, registers: Vec<u16>) -> Write {
        let Address { area, offset, .. } = self.address;
        match area {
            Area::File(file) => Write::File { file, record: offset, registers },
            _ => Write::Registers { offset, registers },
        }
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
    if address.area == Area::ExceptionStatus {
        return check_status(tag, address);
    }
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
    if is_bool && address.area == Area::Fifo {
        return Err(ConfigError::new("type", "a queue has registers: uint16"));
    }
    let is_text = matches!(tag.data_type, DataType::Text { .. });
    if is_text && tag.byte_order.is_low_register_first() {
        return Err(ConfigError::new("byte_order", "a string is ABCD or BADC"));
    }
    check_access(tag, address)
}

/// Eight bits: a number of its own, or one or some of them.
fn check_status(tag: &TagConfig, address: Address) -> Result<(), ConfigError> {
    let fits = match address.bits {
        None => tag.data_type == DataType::Uint8,
        Some(bits) if bits.of(0xff) != bits.of(0xffff) => {
            return Err(ConfigError::new("address", "the exception status has bits 0 to 7"));
        }
        Some(bits) if bits.count() == 1 => tag.data_type == DataType::Bool,
        Some(_) => tag.data_type == DataType::Uint8,
    };
    if !fits {
        let reason = format!("{} at {address}: uint8, or bool for one bit", tag.data_type);
        return Err(ConfigError::new("type", reason));
    }
    if tag.byte_order != ByteOrder::Abcd {
        return Err(ConfigError::new("byte_order", "bits have none"));
    }
    check_access(tag, address)
}

fn check_access(tag: &TagConfig, address: Address) -> Result<(), ConfigError> {
    // The machine changes single bits of its registers only (6.16).
    let is_of_file = matches!(address.area, Area::File(_)) && address.bits.is_some();
    if tag.access == Access::ReadWrite && (!address.area.is_writable() || is_of_file) {
        let reason = format!("Modbus cannot write {address}");
        return Err(ConfigError::new("access", reason));
    }
    Ok(())
}

fn check_span(point: &Point, options: &Options) -> Result<(), ConfigError> {
    let span = point.span();
    if span.end() > 1 << 16 {
        let reason = format!("{span} reaches beyond the last offset, 65535");
        return Err(ConfigError::new("address", reason));
    }
    let (read_max, write_max) = match span.area {
        Area::Coil | Area::DiscreteInput => (options.bits_per_request_max, WRITE_COILS_MAX),
        Area::File(_) => {
            (options.registers_per_request_max.min(FILE_REGISTERS_MAX), FILE_REGISTERS_MAX)
        }
        _ => (options.registers_per_request_max, WRITE_REGISTERS_MAX),
    };
    let max = if point.is_writable { read_max.min(write_max) } else { read_max };
    if span.count > max {
        let what = if span.area.is_bits() { "bits" } else { "registers" };
        let reason = format!("{span} has {} {what}, one request takes {max}", span.count);
        let field = if point.address.count.is_some() { "address" } else { "type" };
        return Err(ConfigError::new(field, reason));
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
            ("holding:0[17]", "uint16", json!({}), "address"),
            ("holding:0[5]", "float64", json!({}), "address"),
            ("coil:0[1969]", "bool", json!({"access": "read_write"}), "address"),
            ("coil:0[2]", "uint16", json!({}), "type"),
            ("fifo:0", "bool", json!({}), "type"),
            ("fifo:0", "uint16", json!({"access": "read_write"}), "access"),
            ("exception_status", "uint16", json!({}), "type"),
            ("exception_status.8", "bool", json!({}), "address"),
            ("exception_status.0", "bool", json!({"access": "read_write"}), "access"),
            ("file:1:9999", "string(34)", json!({}), "type"),
            ("file:1:1.3", "bool", json!({"access": "read_write"}), "access"),
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
    fn arrays_are_read_and_written_whole() {
        let array = |json| Datum::from_json(json).unwrap();
        let writable = json!({"access": "read_write", "scale": 0.5});
        let point = self::point("holding:10[2]", "int16", &writable).unwrap();
        assert_eq!(
            (point.span().to_string().as_str(), point.data_type().as_str()),
            ("holding:10..=11", "int16[2]")
        );
        let read = Span { offset: 9, count: 4, ..point.span() };
        let answer = Answer::Registers(vec![9, 3, 0xffff, 9]);
        assert_eq!(point.decode(read, &answer), Ok(array(json!([1.5, -0.5]))));
        let write = Write::Registers { offset: 10, registers: vec![3, 0xffff] };
        assert_eq!(
            point.encode(&array(json!([1.5, -0.5]))),
            Ok((write, array(json!([1.5, -0.5]))))
        );
        for (value, unfit) in [
            (array(json!([1.0])), Unfit::WrongType),
            (array(json!([1.0, null])), Unfit::WrongType),
            (array(json!([1.0, 1e9])), Unfit::OutOfRange),
            (Datum::Float(1.0), Unfit::WrongType),
        ] {
            assert_eq!(point.encode(&value).unwrap_err(), unfit, "{value}");
        }
        let floats = self::point("input:0[2]", "float32", &json!({})).unwrap();
        let answer = Answer::Registers(vec![0x3f80, 0, 0x7fc0, 0]);
        assert_eq!(floats.decode(floats.span(), &answer), Ok(array(json!([1.0, null]))));

        let coils = self::point("coil:4[3]", "bool", &json!({"access": "read_write"})).unwrap();
        let answer = Answer::Bits(vec![true, false, true]);
        assert_eq!(coils.decode(coils.span(), &answer), Ok(array(json!([true, false, true]))));
        let write = Write::Coils { offset: 4, values: vec![true, false, true] };
        let value = array(json!([1, 0, true]));
        assert_eq!(coils.encode(&value), Ok((write, array(json!([true, false, true])))));
    }

    #[test]
    fn files_queues_and_the_status_are_points() {
        let file = point("file:4:7", "uint32", &json!({"access": "read_write"})).unwrap();
        let write = Write::File { file: 4, record: 7, registers: vec![1, 2] };
        assert_eq!(file.encode(&Datum::Int(65_538)), Ok((write, Datum::Int(65_538))));
        let queue = point("fifo:1246", "uint16", &json!({"scale": 0.1})).unwrap();
        let held = queue.decode(queue.span(), &Answer::Registers(vec![440, 4740])).unwrap();
        assert_eq!(held.to_json(), json!([44.0, 474.0]));
        let none = queue.decode(queue.span(), &Answer::Registers(vec![])).unwrap();
        assert_eq!(none.to_json(), json!([]));
        let answer = Answer::Registers(vec![0x6d]);
        for (address, data_type, shown) in [
            ("exception_status", "uint8", json!(109)),
            ("exception_status.1", "bool", json!(false)),
            ("exception_status.2-6", "uint8", json!(27)),
        ] {
            let point = point(address, data_type, &json!({})).unwrap();
            let held = point.decode(point.span(), &answer).unwrap();
            assert_eq!(held.to_json(), shown, "{address}");
        }
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
