//! What registers of 16 bits mean, as machines keep them and binary payloads carry them: registers to a raw value and
//! back, by type and byte order. What the raw value is called, and how it is scaled, is [`Scaling`]'s.
//!
//! A `float32` reads as the shortest decimal that names it. Whatever does not fit is an error; nothing wraps or
//! saturates.

use crate::config::{ByteOrder, DataType};
use crate::scaling::{Scaling, Unfit, shortest};
use proto::Datum;

/// How the registers of one point are to be understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Encoding {
    /// The type; a bit has no registers of its own and is not encoded here.
    pub(crate) data_type: DataType,
    /// The order of bytes and registers.
    pub(crate) byte_order: ByteOrder,
    /// What the raw value shows as.
    pub(crate) scaling: Scaling,
}

/// How many registers a value of this type takes; one of 8 bits is the low byte of one.
pub(crate) fn register_count(data_type: DataType) -> u16 {
    match data_type {
        DataType::Auto | DataType::Bool | DataType::Int8 | DataType::Uint8 => 1,
        DataType::Int16 | DataType::Uint16 | DataType::Bcd16 => 1,
        DataType::Int32 | DataType::Uint32 | DataType::Bcd32 | DataType::Float32 => 2,
        DataType::Int64 | DataType::Uint64 | DataType::Float64 => 4,
        DataType::Text { bytes } => bytes.div_ceil(2),
    }
}

impl Encoding {
    /// The value that the registers hold, or what is wrong with them.
    pub(crate) fn decode(&self, registers: &[u16]) -> Result<Datum, &'static str> {
        if registers.len() != usize::from(register_count(self.data_type)) {
            return Err("another number of registers");
        }
        if let DataType::Text { bytes } = self.data_type {
            return decode_text(&to_bytes(registers, self.byte_order, true), bytes);
        }
        let bits = self.to_bits(registers);
        match self.data_type {
            DataType::Uint16 | DataType::Uint32 | DataType::Uint64 => {
                self.scaling.show_whole(i128::from(bits))
            }
            DataType::Uint8 => self.scaling.show_whole(i128::from(bits as u8)),
            DataType::Int8 => self.scaling.show_whole(i128::from(bits as u8 as i8)),
            DataType::Int16 => self.scaling.show_whole(i128::from(bits as u16 as i16)),
            DataType::Int32 => self.scaling.show_whole(i128::from(bits as u32 as i32)),
            DataType::Int64 => self.scaling.show_whole(i128::from(bits as i64)),
            DataType::Bcd16 | DataType::Bcd32 => self.scaling.show_whole(from_bcd(bits)?),
            DataType::Float32 => self.scaling.show_float(shortest(f32::from_bits(bits as u32))),
            DataType::Float64 => self.scaling.show_float(f64::from_bits(bits)),
            DataType::Auto | DataType::Bool | DataType::Text { .. } => Err("not a number"),
        }
    }

    /// The registers that hold a value.
    pub(crate) fn encode(&self, value: &Datum) -> Result<Vec<u16>, Unfit> {
        let bits = match self.data_type {
            DataType::Auto | DataType::Bool => return Err(Unfit::WrongType),
            DataType::Text { bytes } => return self.encode_text(value, bytes),
            DataType::Float32 => {
                let raw = self.scaling.raw_float(value)? as f32;
                let raw = if raw.is_finite() { raw } else { return Err(Unfit::OutOfRange) };
                u64::from(raw.to_bits())
            }
            DataType::Float64 => self.scaling.raw_float(value)?.to_bits(),
            DataType::Bcd16 => to_bcd(self.scaling.raw_whole(value, &(0..=9_999))?),
            DataType::Bcd32 => to_bcd(self.scaling.raw_whole(value, &(0..=99_999_999))?),
            // In range, so the low bits of the two's complement are the number.
            whole => self.scaling.raw_whole(value, &whole.whole_range())? as u64,
        };
        Ok(self.to_registers(bits))
    }

    fn encode_text(&self, value: &Datum, bytes_max: u16) -> Result<Vec<u16>, Unfit> {
        let Datum::Text(text) = value else { return Err(Unfit::WrongType) };
        // A NUL ends the text in the machine: what follows would be lost without a word.
        if text.len() > usize::from(bytes_max) || text.contains('\0') {
            return Err(Unfit::OutOfRange);
        }
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(2 * usize::from(register_count(self.data_type)), 0);
        let pair = |pair: &[u8]| self.order_bytes(u16::from_be_bytes([pair[0], pair[1]]));
        Ok(bytes.chunks_exact(2).map(pair).collect())
    }

    fn order_bytes(&self, register: u16) -> u16 {
        if self.byte_order.is_low_byte_first() { register.swap_bytes() } else { register }
    }

    fn to_bits(&self, registers: &[u16]) -> u64 {
        let bytes = to_bytes(registers, self.byte_order, false);
        bytes.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }

    fn to_registers(&self, bits: u64) -> Vec<u16> {
        let count = register_count(self.data_type);
        let register = |index: u16| self.order_bytes((bits >> (16 * index)) as u16);
        if self.byte_order.is_low_register_first() {
            (0..count).map(register).collect()
        } else {
            (0..count).rev().map(register).collect()
        }
    }
}

/// The bytes in big-endian order; a text has no high and low registers, only a reading direction.
fn to_bytes(registers: &[u16], byte_order: ByteOrder, is_text: bool) -> Vec<u8> {
    let mut ordered = registers.to_vec();
    if byte_order.is_low_register_first() && !is_text {
        ordered.reverse();
    }
    let bytes = |register: u16| {
        if byte_order.is_low_byte_first() { register.to_le_bytes() } else { register.to_be_bytes() }
    };
    ordered.into_iter().flat_map(bytes).collect()
}

fn decode_text(bytes: &[u8], length: u16) -> Result<Datum, &'static str> {
    let field = &bytes[..usize::from(length).min(bytes.len())];
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    match std::str::from_utf8(&field[..end]) {
        Ok(text) => Ok(Datum::Text(text.trim_end_matches(' ').to_owned())),
        Err(_) => Err("the machine's text is not UTF-8"),
    }
}

/// The number whose decimal digits are the half bytes.
fn from_bcd(bits: u64) -> Result<i128, &'static str> {
    let mut number = 0;
    for shift in (0..64).step_by(4).rev() {
        let digit = bits >> shift & 0xf;
        if digit > 9 {
            return Err("not binary-coded decimal");
        }
        number = number * 10 + i128::from(digit);
    }
    Ok(number)
}

fn to_bcd(number: i128) -> u64 {
    let mut rest = number as u64;
    let mut bits = 0;
    for shift in (0..64).step_by(4) {
        bits |= (rest % 10) << shift;
        rest /= 10;
    }
    bits
}

#[cfg(test)]
mod tests;
