//! What registers mean: registers to a value and back, by type, byte order, scale and offset.
//!
//! Whole numbers without a scale stay whole and exact over all 64 bits. Scaled numbers are floats
//! of 15 significant digits, so that a raw 3 at scale 0.1 reads 0.3 and not 0.30000000000000004. A
//! `float32` reads as the shortest decimal that names it. Whatever does not fit is an error;
//! nothing wraps or saturates.

use crate::config::{ByteOrder, DataType};
use proto::Scalar;

/// How the registers of one point are to be understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Encoding {
    /// The type; a bit has no registers of its own and is not encoded here.
    pub(crate) data_type: DataType,
    /// The order of bytes and registers.
    pub(crate) byte_order: ByteOrder,
    /// What one raw unit is worth; finite and not 0.
    pub(crate) scale: f64,
    /// What a raw 0 is worth; finite.
    pub(crate) offset: f64,
}

/// Why a value has no registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EncodeError {
    /// A text for a number, a fraction for a whole number, and the like.
    WrongType,
    /// The right kind, but it does not fit.
    OutOfRange,
}

/// How many registers a value of this type takes.
pub(crate) fn register_count(data_type: DataType) -> u16 {
    match data_type {
        DataType::Bool | DataType::Int16 | DataType::Uint16 => 1,
        DataType::Int32 | DataType::Uint32 | DataType::Float32 => 2,
        DataType::Int64 | DataType::Uint64 | DataType::Float64 => 4,
        DataType::Text { bytes } => bytes.div_ceil(2),
    }
}

impl Encoding {
    /// The value that the registers hold, or what is wrong with them.
    pub(crate) fn decode(&self, registers: &[u16]) -> Result<Scalar, &'static str> {
        if registers.len() != usize::from(register_count(self.data_type)) {
            return Err("another number of registers");
        }
        if let DataType::Text { bytes } = self.data_type {
            return decode_text(&to_bytes(registers, self.byte_order, true), bytes);
        }
        let bits = self.to_bits(registers);
        match self.data_type {
            DataType::Uint16 | DataType::Uint32 | DataType::Uint64 => {
                self.scaled(i128::from(bits), bits as f64)
            }
            DataType::Int16 => self.signed(i64::from(bits as u16 as i16)),
            DataType::Int32 => self.signed(i64::from(bits as u32 as i32)),
            DataType::Int64 => self.signed(bits as i64),
            DataType::Float32 => self.float(shortest(f32::from_bits(bits as u32))),
            DataType::Float64 => self.float(f64::from_bits(bits)),
            DataType::Bool | DataType::Text { .. } => Err("not a number"),
        }
    }

    /// The registers that hold a value.
    pub(crate) fn encode(&self, value: &Scalar) -> Result<Vec<u16>, EncodeError> {
        match self.data_type {
            DataType::Bool => Err(EncodeError::WrongType),
            DataType::Text { bytes } => self.encode_text(value, bytes),
            DataType::Float32 => {
                let raw = self.unscaled(value)? as f32;
                let raw = if raw.is_finite() { raw } else { return Err(EncodeError::OutOfRange) };
                Ok(self.to_registers(u64::from(raw.to_bits())))
            }
            DataType::Float64 => Ok(self.to_registers(self.unscaled(value)?.to_bits())),
            DataType::Uint16 => self.encode_whole(value, 0, i128::from(u16::MAX)),
            DataType::Uint32 => self.encode_whole(value, 0, i128::from(u32::MAX)),
            DataType::Uint64 => self.encode_whole(value, 0, i128::from(u64::MAX)),
            DataType::Int16 => self.encode_whole(value, i128::from(i16::MIN), i128::from(i16::MAX)),
            DataType::Int32 => self.encode_whole(value, i128::from(i32::MIN), i128::from(i32::MAX)),
            DataType::Int64 => self.encode_whole(value, i128::from(i64::MIN), i128::from(i64::MAX)),
        }
    }

    fn is_scaled(&self) -> bool {
        self.scale != 1.0 || self.offset != 0.0
    }

    fn signed(&self, raw: i64) -> Result<Scalar, &'static str> {
        self.scaled(i128::from(raw), raw as f64)
    }

    /// `exact` and `near` are the same number, which above 2^53 a float only approaches.
    fn scaled(&self, exact: i128, near: f64) -> Result<Scalar, &'static str> {
        if self.is_scaled() {
            return self.float(near);
        }
        match (i64::try_from(exact), u64::try_from(exact)) {
            (Ok(signed), _) => Ok(Scalar::Int(signed)),
            (_, Ok(unsigned)) => Ok(Scalar::unsigned(unsigned)),
            _ => Err("not a number of 64 bits"),
        }
    }

    fn float(&self, raw: f64) -> Result<Scalar, &'static str> {
        if raw.is_nan() {
            return Err("the machine says NaN");
        }
        if raw.is_infinite() {
            return Err("the machine says infinity");
        }
        let value =
            if self.is_scaled() { round_to_15_digits(raw * self.scale + self.offset) } else { raw };
        Scalar::float(value).ok_or("the scaled number is too large")
    }

    /// The raw number of a value, before rounding.
    fn unscaled(&self, value: &Scalar) -> Result<f64, EncodeError> {
        let value = value.as_f64().ok_or(EncodeError::WrongType)?;
        let raw = if self.is_scaled() { (value - self.offset) / self.scale } else { value };
        if raw.is_finite() { Ok(raw) } else { Err(EncodeError::OutOfRange) }
    }

    fn encode_whole(&self, value: &Scalar, min: i128, max: i128) -> Result<Vec<u16>, EncodeError> {
        let raw = match *value {
            Scalar::Int(it) if !self.is_scaled() => i128::from(it),
            Scalar::UInt(it) if !self.is_scaled() => i128::from(it),
            _ => self.whole(value)?,
        };
        if !(min..=max).contains(&raw) {
            return Err(EncodeError::OutOfRange);
        }
        // In range, so the low bits of the two's complement are the number.
        Ok(self.to_registers(raw as u64))
    }

    /// The nearest raw number of a scaled value; without a scale only a float that is whole.
    fn whole(&self, value: &Scalar) -> Result<i128, EncodeError> {
        let raw = self.unscaled(value)?;
        if !self.is_scaled() && raw.fract() != 0.0 {
            return Err(EncodeError::WrongType);
        }
        // A float that exceeds 128 bits becomes the nearest number of 128 bits, which is out of any
        // range.
        Ok(raw.round() as i128)
    }

    fn encode_text(&self, value: &Scalar, bytes_max: u16) -> Result<Vec<u16>, EncodeError> {
        let Scalar::Text(text) = value else { return Err(EncodeError::WrongType) };
        // A NUL ends the text in the machine: what follows would be lost without a word.
        if text.len() > usize::from(bytes_max) || text.contains('\0') {
            return Err(EncodeError::OutOfRange);
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

fn decode_text(bytes: &[u8], length: u16) -> Result<Scalar, &'static str> {
    let field = &bytes[..usize::from(length).min(bytes.len())];
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    match std::str::from_utf8(&field[..end]) {
        Ok(text) => Ok(Scalar::Text(text.trim_end_matches(' ').to_owned())),
        Err(_) => Err("the machine's text is not UTF-8"),
    }
}

/// The shortest decimal that names this `f32`, as a float: 0.1 and not 0.10000000149011612.
fn shortest(raw: f32) -> f64 {
    format!("{raw:e}").parse().unwrap_or_else(|_| f64::from(raw))
}

fn round_to_15_digits(value: f64) -> f64 {
    format!("{value:.14e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests;
