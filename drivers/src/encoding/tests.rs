//! Tables and properties of [`Encoding`]: what goes in comes out, and what does not fit stays out.

use super::*;
use ByteOrder::{Abcd, Badc, Cdab, Dcba};
use proptest::prelude::*;

fn encoding(data_type: &str, byte_order: ByteOrder) -> Encoding {
    Encoding { data_type: data_type.parse().unwrap(), byte_order, scaling: Scaling::default() }
}

fn scaled(data_type: &str, scale: f64, offset: f64) -> Encoding {
    Encoding {
        scaling: Scaling { scale, offset, ..Scaling::default() },
        ..encoding(data_type, Abcd)
    }
}

fn text(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

#[test]
fn every_type_in_every_order() {
    let float = Datum::Float;
    for (data_type, byte_order, registers, value) in [
        ("uint16", Abcd, vec![0x1234], Datum::Int(0x1234)),
        ("uint16", Cdab, vec![0x1234], Datum::Int(0x1234)),
        ("uint16", Badc, vec![0x3412], Datum::Int(0x1234)),
        ("uint16", Dcba, vec![0x3412], Datum::Int(0x1234)),
        ("int16", Abcd, vec![0xfffe], Datum::Int(-2)),
        ("uint32", Abcd, vec![0x1234, 0x5678], Datum::Int(0x1234_5678)),
        ("uint32", Badc, vec![0x3412, 0x7856], Datum::Int(0x1234_5678)),
        ("uint32", Cdab, vec![0x5678, 0x1234], Datum::Int(0x1234_5678)),
        ("uint32", Dcba, vec![0x7856, 0x3412], Datum::Int(0x1234_5678)),
        ("int32", Abcd, vec![0xffff, 0xfffe], Datum::Int(-2)),
        ("uint64", Abcd, vec![0x0102, 0x0304, 0x0506, 0x0708], Datum::Int(0x0102_0304_0506_0708)),
        ("uint64", Badc, vec![0x0201, 0x0403, 0x0605, 0x0807], Datum::Int(0x0102_0304_0506_0708)),
        ("uint64", Cdab, vec![0x0708, 0x0506, 0x0304, 0x0102], Datum::Int(0x0102_0304_0506_0708)),
        ("uint64", Dcba, vec![0x0807, 0x0605, 0x0403, 0x0201], Datum::Int(0x0102_0304_0506_0708)),
        ("uint64", Abcd, vec![0xffff; 4], Datum::UInt(u64::MAX)),
        ("int64", Abcd, vec![0x8000, 0, 0, 0], Datum::Int(i64::MIN)),
        ("float32", Abcd, vec![0x41ac, 0x0000], float(21.5)),
        ("float32", Cdab, vec![0x0000, 0x41ac], float(21.5)),
        ("float32", Abcd, vec![0x3dcc, 0xcccd], float(0.1)),
        ("float64", Abcd, vec![0x3fb9, 0x9999, 0x9999, 0x999a], float(0.1)),
        ("bcd16", Abcd, vec![0x1234], Datum::Int(1234)),
        ("bcd16", Dcba, vec![0x3412], Datum::Int(1234)),
        ("bcd32", Abcd, vec![0x1234, 0x5678], Datum::Int(12_345_678)),
        ("bcd32", Cdab, vec![0x5678, 0x1234], Datum::Int(12_345_678)),
        ("string(4)", Abcd, vec![0x4142, 0x4300], text("ABC")),
        ("string(4)", Badc, vec![0x4241, 0x0043], text("ABC")),
        ("string(3)", Abcd, vec![0xc3a9, 0x4100], text("éA")),
    ] {
        let encoding = encoding(data_type, byte_order);
        assert_eq!(encoding.decode(&registers), Ok(value.clone()), "{encoding:?}");
        assert_eq!(encoding.encode(&value), Ok(registers), "{encoding:?}");
    }
}

#[test]
fn scale_and_offset() {
    for (encoding, registers, value) in [
        (scaled("uint16", 0.1, 0.0), vec![3], 0.3),
        (scaled("int16", 0.1, -40.0), vec![614], 21.4),
        (scaled("int16", -0.01, 0.0), vec![0xfff6], 0.1),
        (scaled("uint16", 1.0, -10.0), vec![10], 0.0),
        (scaled("float32", 2.0, 1.0), vec![0x3dcc, 0xcccd], 1.2),
        (scaled("uint32", 0.001, 0.0), vec![0xffff, 0xffff], 4_294_967.295),
    ] {
        let value = Datum::Float(value);
        assert_eq!(encoding.decode(&registers), Ok(value.clone()), "{encoding:?}");
        assert_eq!(encoding.encode(&value), Ok(registers), "{encoding:?}");
    }
}

#[test]
fn a_scaled_write_goes_to_the_nearest_step() {
    let encoding = scaled("uint16", 0.5, 0.0);
    for (value, raw) in [(1.2, 2), (1.3, 3), (-0.2, 0)] {
        assert_eq!(encoding.encode(&Datum::Float(value)), Ok(vec![raw]), "{value}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    use Unfit::{OutOfRange, WrongType};
    let plain = |data_type| encoding(data_type, Abcd);
    for (encoding, value, error) in [
        (plain("uint16"), Datum::Int(-1), OutOfRange),
        (plain("uint16"), Datum::Int(65_536), OutOfRange),
        (plain("int16"), Datum::Int(32_768), OutOfRange),
        (plain("int16"), Datum::Int(-32_769), OutOfRange),
        (plain("uint32"), Datum::Int(1 << 32), OutOfRange),
        (plain("int32"), Datum::Int(1 << 31), OutOfRange),
        (plain("int64"), Datum::UInt(u64::MAX), OutOfRange),
        (plain("uint64"), Datum::Int(-1), OutOfRange),
        (plain("uint64"), Datum::Float(1e300), OutOfRange),
        (plain("int64"), Datum::Float(-1e300), OutOfRange),
        (plain("uint64"), Datum::Float(18_446_744_073_709_551_616.0), OutOfRange),
        (plain("float32"), Datum::Float(1e39), OutOfRange),
        (plain("float64"), Datum::Float(f64::NAN), OutOfRange),
        (scaled("uint16", 0.1, 0.0), Datum::Float(6553.56), OutOfRange),
        (scaled("uint16", 1e-300, 0.0), Datum::Float(1e300), OutOfRange),
        (plain("string(2)"), text("abc"), OutOfRange),
        (plain("string(2)"), text("a\0"), OutOfRange),
        (plain("uint16"), Datum::Float(1.5), WrongType),
        (plain("uint16"), text("1"), WrongType),
        (plain("uint16"), Datum::Bool(true), WrongType),
        (plain("float32"), Datum::Bool(true), WrongType),
        (plain("string(2)"), Datum::Int(1), WrongType),
        (plain("bool"), Datum::Bool(true), WrongType),
    ] {
        assert_eq!(encoding.encode(&value), Err(error), "{value} as {encoding:?}");
    }
}

#[test]
fn registers_without_a_value_are_said_so() {
    for (encoding, registers) in [
        (encoding("float32", Abcd), vec![0x7fc0, 0]),
        (encoding("float32", Abcd), vec![0x7f80, 0]),
        (scaled("float64", 1e300, 0.0), vec![0x7fe0, 0, 0, 0]),
        (encoding("string(2)", Abcd), vec![0xff41]),
        (encoding("uint32", Abcd), vec![1]),
        (encoding("uint16", Abcd), vec![]),
    ] {
        assert!(encoding.decode(&registers).is_err(), "{registers:?} as {encoding:?}");
    }
}

#[test]
fn a_text_ends_at_nul_and_loses_trailing_spaces() {
    let encoding = encoding("string(6)", Abcd);
    assert_eq!(encoding.decode(&[0x4142, 0x0043, 0x4400]), Ok(text("AB")));
    assert_eq!(encoding.decode(&[0x2041, 0x2020, 0x2020]), Ok(text(" A")));
}

fn any_number() -> impl Strategy<Value = Encoding> {
    let types = ["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"];
    let orders = [Abcd, Badc, Cdab, Dcba];
    (0..types.len(), 0..orders.len()).prop_map(move |(a, b)| encoding(types[a], orders[b]))
}

proptest! {
    /// Every pattern of registers either has no value or is written back bit by bit.
    #[test]
    fn what_is_read_is_written_back(encoding in any_number(), pattern: [u16; 4]) {
        let count = usize::from(register_count(encoding.data_type));
        if let Ok(value) = encoding.decode(&pattern[..count]) {
            prop_assert_eq!(encoding.encode(&value), Ok(pattern[..count].to_vec()));
        }
    }

    /// Scaled numbers of up to 32 bits survive the way through a float.
    #[test]
    fn a_scaled_number_is_written_back(raw: u32, step in 1_u32..1000, offset in -1000_i32..1000) {
        let encoding = scaled("uint32", f64::from(step) / 1000.0, f64::from(offset));
        let registers = vec![(raw >> 16) as u16, raw as u16];
        let value = encoding.decode(&registers).unwrap();
        prop_assert_eq!(encoding.encode(&value), Ok(registers));
    }

    #[test]
    fn no_number_panics(encoding in any_number(), value: f64, scale: f64, offset: f64) {
        if scale.is_finite() && scale != 0.0 && offset.is_finite() {
            let encoding = Encoding {
                scaling: Scaling { scale, offset, ..Scaling::default() },
                ..encoding
            };
            let _ = encoding.encode(&Datum::Float(value));
        }
    }

    #[test]
    fn a_text_without_nul_or_trailing_space_is_read_back(written in "[^\0]{0,8}[^\0 ]") {
        let encoding = encoding("string(40)", Badc);
        let registers = encoding.encode(&Datum::Text(written.clone())).unwrap();
        prop_assert_eq!(encoding.decode(&registers), Ok(Datum::Text(written)));
    }
}

#[test]
fn what_is_no_decimal_digit_is_no_value() {
    let bcd = encoding("bcd16", Abcd);
    for register in [0x000a, 0xf000, 0x1a34] {
        assert!(bcd.decode(&[register]).is_err(), "{register:x}");
    }
    for value in [Datum::Int(10_000), Datum::Int(-1)] {
        assert_eq!(bcd.encode(&value), Err(Unfit::OutOfRange), "{value}");
    }
}
