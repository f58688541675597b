//! How the bits of a point are to be understood: its type, and the order of its bytes.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The longest text of a point, in bytes: what one Modbus request can carry.
pub const TEXT_BYTES_MAX: u16 = 246;

/// The type of a point, as the machine stores it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DataType {
    /// What the machine says it is; only where the protocol has the machine say so.
    #[default]
    Auto,
    /// One bit.
    Bool,
    /// 8 bits, signed.
    Int8,
    /// 8 bits, unsigned.
    Uint8,
    /// 16 bits, signed.
    Int16,
    /// 16 bits, unsigned.
    Uint16,
    /// 32 bits, signed.
    Int32,
    /// 32 bits, unsigned.
    Uint32,
    /// 64 bits, signed.
    Int64,
    /// 64 bits, unsigned.
    Uint64,
    /// 16 bits, a decimal digit in each four of them.
    Bcd16,
    /// 32 bits, a decimal digit in each four of them.
    Bcd32,
    /// IEEE 754, 32 bits.
    Float32,
    /// IEEE 754, 64 bits.
    Float64,
    /// A text in a field of fixed length: `string(16)`.
    Text {
        /// The length of the field, 1 to [`TEXT_BYTES_MAX`].
        bytes: u16,
    },
}

impl DataType {
    /// Whether the type is a number, which can be scaled.
    pub fn is_number(self) -> bool {
        !matches!(self, Self::Bool | Self::Text { .. })
    }

    /// Whether the type is a whole number, whose values can have labels.
    pub fn is_whole(self) -> bool {
        self.is_number() && !matches!(self, Self::Float32 | Self::Float64)
    }

    /// The numbers of a type of whole numbers; of another those of 64 bits, signed or not.
    pub(crate) fn whole_range(self) -> RangeInclusive<i128> {
        match self {
            Self::Int8 => i128::from(i8::MIN)..=i128::from(i8::MAX),
            Self::Uint8 => 0..=i128::from(u8::MAX),
            Self::Int16 => i128::from(i16::MIN)..=i128::from(i16::MAX),
            Self::Uint16 => 0..=i128::from(u16::MAX),
            Self::Int32 => i128::from(i32::MIN)..=i128::from(i32::MAX),
            Self::Uint32 => 0..=i128::from(u32::MAX),
            Self::Int64 => i128::from(i64::MIN)..=i128::from(i64::MAX),
            Self::Uint64 => 0..=i128::from(u64::MAX),
            Self::Bcd16 => 0..=9_999,
            Self::Bcd32 => 0..=99_999_999,
            _ => i128::from(i64::MIN)..=i128::from(u64::MAX),
        }
    }
}

impl JsonSchema for DataType {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "DataType".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "The type of a point; `string(<bytes>)` is a text in a field of 1 to 246 bytes.",
            "pattern": r"^(auto|bool|u?int(8|16|32|64)|bcd(16|32)|float(32|64)|string\([0-9]{1,3}\))$",
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Bool => "bool",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Int16 => "int16",
            Self::Uint16 => "uint16",
            Self::Int32 => "int32",
            Self::Uint32 => "uint32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Bcd16 => "bcd16",
            Self::Bcd32 => "bcd32",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Text { bytes } => return write!(f, "string({bytes})"),
        })
    }
}

impl FromStr for DataType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "uint8" => Self::Uint8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "uint64" => Self::Uint64,
            "bcd16" => Self::Bcd16,
            "bcd32" => Self::Bcd32,
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            other => return parse_text_type(other),
        })
    }
}

fn parse_text_type(text: &str) -> Result<DataType, String> {
    let Some(length) = text.strip_prefix("string(").and_then(|rest| rest.strip_suffix(')')) else {
        return Err(format!(
            "unknown type {text:?}, expected auto, bool, int8, uint8, int16, uint16, int32, \
             uint32, int64, uint64, bcd16, bcd32, float32, float64 or string(length in bytes)"
        ));
    };
    match length.parse::<u16>() {
        Ok(bytes) if (1..=TEXT_BYTES_MAX).contains(&bytes) => Ok(DataType::Text { bytes }),
        _ => Err(format!("the length of a string is 1 to {TEXT_BYTES_MAX} bytes, not {length:?}")),
    }
}

impl TryFrom<String> for DataType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DataType> for String {
    fn from(data_type: DataType) -> Self {
        data_type.to_string()
    }
}

/// The order in which the bytes of a number arrive; `A` is the most significant byte of a 32-bit
/// number.
///
/// A register is 16 bits, sent high byte first. Longer numbers take 2 or 4 registers, in an order
/// that is up to the machine. For 64 bits read the same two choices, order of the registers and
/// order of the bytes within each, over four registers. For 16 bits only the order of the bytes
/// matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ByteOrder {
    /// Big-endian: high register first, high byte first. What the Modbus specification means.
    #[default]
    #[serde(rename = "ABCD")]
    Abcd,
    /// High register first, low byte first.
    #[serde(rename = "BADC")]
    Badc,
    /// Low register first, high byte first; often called "word swapped".
    #[serde(rename = "CDAB")]
    Cdab,
    /// Little-endian: low register first, low byte first.
    #[serde(rename = "DCBA")]
    Dcba,
}

impl ByteOrder {
    /// Whether the register with the lowest bits comes first.
    pub fn is_low_register_first(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba)
    }

    /// Whether the low byte of each register comes first.
    pub fn is_low_byte_first(self) -> bool {
        matches!(self, Self::Badc | Self::Dcba)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_one_text() {
        for text in [
            "auto",
            "bool",
            "bcd16",
            "bcd32",
            "int16",
            "uint16",
            "int32",
            "uint32",
            "int64",
            "uint64",
            "float32",
            "float64",
            "string(1)",
            "string(246)",
        ] {
            assert_eq!(text.parse::<DataType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "Bool", "int", "uint24", "string", "string()", "string(0)", "string(247)"]
        {
            assert!(text.parse::<DataType>().is_err(), "{text}");
        }
    }
}
