//! Where a point lies in a Modbus unit: area, offset, and for one bit of a register its number.
//!
//! Two forms are read. `holding:0` names the area (`coil`, `discrete`, `input`, `holding`) and the
//! offset of the wire, from 0. `40001` is the form of manuals: the first digit is the area (0
//! coils, 1 discrete inputs, 3 input registers, 4 holding registers), the other four or five digits
//! the number, from 1. `.3` after either form is bit 3 of a register, bit 0 being the lowest, and `.4-7` are four bits;
//! `[8]` after it are eight values, one after the other. Inside there is only the offset from 0.
//!
//! Besides the tables a unit may have files of registers, `file:4:7` being record 7 of file 4, queues, `fifo:1246` by
//! the address of its pointer, and eight bits of `exception_status`.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The most values of an array: as many coils as one request reads.
const COUNT_MAX: u16 = 2000;
/// The last record of a file (6.14).
const RECORD_MAX: u16 = 9999;

/// One of the four tables of a unit (Modbus Application Protocol 4.3), or what it has besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Bits that can be written.
    Coil,
    /// Bits that can only be read.
    DiscreteInput,
    /// Registers that can only be read.
    InputRegister,
    /// Registers that can be written.
    HoldingRegister,
    /// The records of a file, by its number: registers that can be written (6.14).
    File(u16),
    /// Queues of registers, each by the address of its pointer (6.18).
    Fifo,
    /// Eight bits of which each machine has a meaning of its own (6.7).
    ExceptionStatus,
}

impl Area {
    /// Whether the area holds single bits and not registers.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::DiscreteInput)
    }

    /// Whether the protocol can write the area.
    pub fn is_writable(self) -> bool {
        matches!(self, Self::Coil | Self::HoldingRegister | Self::File(_))
    }

    /// A place in it, in words.
    pub(crate) fn show(self, offset: u16, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExceptionStatus => write!(f, "{self}"),
            area => write!(f, "{area}:{offset}"),
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coil => "coil",
            Self::DiscreteInput => "discrete",
            Self::InputRegister => "input",
            Self::HoldingRegister => "holding",
            Self::File(number) => return write!(f, "file:{number}"),
            Self::Fifo => "fifo",
            Self::ExceptionStatus => "exception_status",
        })
    }
}

/// The address of a point; shown as `holding:10.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The table.
    pub area: Area,
    /// The offset in the table, as on the wire: from 0.
    pub offset: u16,
    /// Bits of the register; only in register areas.
    pub bits: Option<Bits>,
    /// How many values there are, one after the other; absent: one, which is no array.
    pub count: Option<u16>,
}

/// Bits of a register that lie side by side; 0 is the lowest, 15 the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bits {
    first: u8,
    last: u8,
}

impl Bits {
    /// One of them.
    pub fn one(bit: u8) -> Option<Self> {
        Self::range(bit, bit)
    }

    /// From one to another; `None` if there are none such.
    pub fn range(first: u8, last: u8) -> Option<Self> {
        (first <= last && last < 16).then_some(Self { first, last })
    }

    /// How many.
    pub fn count(self) -> u8 {
        self.last - self.first + 1
    }

    /// The number they hold in a register.
    pub fn of(self, register: u16) -> u16 {
        (register & self.mask()) >> self.first
    }

    /// A register that has a number in these bits and nothing in the others; what does not fit is cut off.
    pub fn put(self, number: u16) -> u16 {
        number << self.first & self.mask()
    }

    /// The register that has these bits and no other.
    pub fn mask(self) -> u16 {
        u16::MAX >> (16 - self.count()) << self.first
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Neither of the two forms.
    #[error("expected area:offset such as holding:0, or 5 or 6 digits such as 40001")]
    Form,
    /// The word before the colon.
    #[error(
        "unknown area, expected coil, discrete, input, holding, file, fifo or exception_status"
    )]
    Area,
    /// File and record.
    #[error("expected file:number:record, with a number from 1 and a record from 0 to 9999")]
    File,
    /// The number in brackets.
    #[error("the count of an array is not a number between 1 and 2000")]
    Count,
    /// Bits and an array, or an array of what is one by itself.
    #[error("bits, queues and the exception status are no arrays")]
    CountOfBits,
    /// The first digit.
    #[error("the first digit must be 0, 1, 3 or 4")]
    AreaDigit,
    /// The offset after the colon.
    #[error("the offset is not a number between 0 and 65535")]
    Offset,
    /// The digits after the first.
    #[error("the number after the first digit counts from 1 and ends at 65536")]
    Number,
    /// The bit after the dot.
    #[error(
        "the bit is not a number between 0 and 15, nor are they from one to a higher one as in .4-7"
    )]
    Bit,
    /// A bit of something that is one.
    #[error("only a register has bits")]
    BitOfBit,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (text, count) = match text.strip_suffix(']').and_then(|it| it.split_once('[')) {
            Some((text, count)) => (text, Some(parse_count(count)?)),
            None => (text, None),
        };
        let (place, bits) = match text.split_once('.') {
            Some((place, bits)) => (place, Some(parse_bits(bits)?)),
            None => (text, None),
        };
        let (area, offset) = match place.split_once(':') {
            Some(("file", rest)) => parse_file(rest)?,
            Some((area, offset)) => (parse_area(area)?, parse_offset(offset)?),
            None if place == "exception_status" => (Area::ExceptionStatus, 0),
            None => parse_number(place)?,
        };
        if bits.is_some() && (area.is_bits() || area == Area::Fifo) {
            return Err(AddressError::BitOfBit);
        }
        let is_one = matches!(area, Area::Fifo | Area::ExceptionStatus);
        if count.is_some() && (bits.is_some() || is_one) {
            return Err(AddressError::CountOfBits);
        }
        Ok(Self { area, offset, bits, count })
    }
}

fn parse_area(text: &str) -> Result<Area, AddressError> {
    match text {
        "coil" => Ok(Area::Coil),
        "discrete" => Ok(Area::DiscreteInput),
        "input" => Ok(Area::InputRegister),
        "holding" => Ok(Area::HoldingRegister),
        "fifo" => Ok(Area::Fifo),
        _ => Err(AddressError::Area),
    }
}

fn parse_offset(text: &str) -> Result<u16, AddressError> {
    if !is_digits(text) {
        return Err(AddressError::Offset);
    }
    text.parse().map_err(|_| AddressError::Offset)
}

/// Number and record (6.14).
fn parse_file(text: &str) -> Result<(Area, u16), AddressError> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| is_digits(text));
    let (file, record) = text.split_once(':').ok_or(AddressError::File)?;
    let file = number(file).filter(|it| *it > 0);
    let record = number(record).filter(|it| *it <= RECORD_MAX);
    let (file, record) = file.zip(record).ok_or(AddressError::File)?;
    Ok((Area::File(file), record))
}

fn parse_count(text: &str) -> Result<u16, AddressError> {
    let count = text.parse().ok().filter(|_| is_digits(text));
    count.filter(|count| (1..=COUNT_MAX).contains(count)).ok_or(AddressError::Count)
}

fn parse_bits(text: &str) -> Result<Bits, AddressError> {
    let bit = |text: &str| text.parse().ok().filter(|_| is_digits(text));
    let bits = match text.split_once('-') {
        // One bit has one form.
        Some((first, last)) => bit(first).zip(bit(last)).filter(|(first, last)| first < last),
        None => bit(text).map(|bit| (bit, bit)),
    };
    bits.and_then(|(first, last)| Bits::range(first, last)).ok_or(AddressError::Bit)
}

fn parse_number(text: &str) -> Result<(Area, u16), AddressError> {
    if !is_digits(text) || !(5..=6).contains(&text.len()) {
        return Err(AddressError::Form);
    }
    let (first, rest) = text.split_at(1);
    let area = match first {
        "0" => Area::Coil,
        "1" => Area::DiscreteInput,
        "3" => Area::InputRegister,
        "4" => Area::HoldingRegister,
        _ => return Err(AddressError::AreaDigit),
    };
    let number: u32 = rest.parse().map_err(|_| AddressError::Number)?;
    let offset = number.checked_sub(1).ok_or(AddressError::Number)?;
    Ok((area, u16::try_from(offset).map_err(|_| AddressError::Number)?))
}

/// Signs, which `parse` would accept, are no part of an address.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.area.show(self.offset, f)?;
        if let Some(count) = self.count {
            return write!(f, "[{count}]");
        }
        match self.bits {
            Some(Bits { first, last }) if first == last => write!(f, ".{first}"),
            Some(Bits { first, last }) => write!(f, ".{first}-{last}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms() {
        for (text, canonical) in [
            ("00001", "coil:0"),
            ("09999", "coil:9998"),
            ("10001", "discrete:0"),
            ("30001", "input:0"),
            ("40001", "holding:0"),
            ("49999", "holding:9998"),
            ("400001", "holding:0"),
            ("465536", "holding:65535"),
            ("000017", "coil:16"),
            ("40011.3", "holding:10.3"),
            ("holding:10.15", "holding:10.15"),
            ("input:7.0", "input:7.0"),
            ("40011.4-7", "holding:10.4-7"),
            ("holding:10.0-15", "holding:10.0-15"),
            ("coil:3", "coil:3"),
            ("discrete:65535", "discrete:65535"),
            ("40011[8]", "holding:10[8]"),
            ("coil:0[1]", "coil:0[1]"),
            ("file:4:7", "file:4:7"),
            ("file:65535:9999[2]", "file:65535:9999[2]"),
            ("file:4:7.3", "file:4:7.3"),
            ("fifo:1246", "fifo:1246"),
            ("exception_status", "exception_status"),
            ("exception_status.7", "exception_status.7"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_address() {
        use AddressError as E;
        for (text, error) in [
            ("", E::Form),
            ("4001", E::Form),
            ("4000001", E::Form),
            ("4x001", E::Form),
            ("holding 0", E::Form),
            ("20001", E::AreaDigit),
            ("90001", E::AreaDigit),
            ("40000", E::Number),
            ("465537", E::Number),
            ("register:0", E::Area),
            ("Holding:0", E::Area),
            (":0", E::Area),
            ("holding:", E::Offset),
            ("holding:65536", E::Offset),
            ("holding:+1", E::Offset),
            ("holding:-1", E::Offset),
            ("holding:1.16", E::Bit),
            ("holding:1.", E::Bit),
            ("holding:1.+1", E::Bit),
            ("40001.1.1", E::Bit),
            ("40001.7-4", E::Bit),
            ("40001.4-4", E::Bit),
            ("40001.4-16", E::Bit),
            ("40001.-4", E::Bit),
            ("coil:1.0", E::BitOfBit),
            ("10001.2", E::BitOfBit),
            ("fifo:1.2", E::BitOfBit),
            ("file:4", E::File),
            ("file:0:1", E::File),
            ("file:1:10000", E::File),
            ("file:1:+1", E::File),
            ("fifo:", E::Offset),
            ("exception_status:0", E::Area),
            ("holding:1[0]", E::Count),
            ("holding:1[2001]", E::Count),
            ("holding:1[]", E::Count),
            ("holding:1[x]", E::Count),
            ("holding:1.2[3]", E::CountOfBits),
            ("fifo:1[3]", E::CountOfBits),
            ("exception_status[2]", E::CountOfBits),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }

    #[test]
    fn bits_are_taken_out_and_put_back() {
        let bits = Bits::range(4, 7).unwrap();
        assert_eq!((bits.mask(), bits.of(0xABCD), bits.put(0x1C)), (0x00F0, 0xC, 0x00C0));
        let all = Bits::range(0, 15).unwrap();
        assert_eq!((all.mask(), all.of(0xABCD), all.put(0xABCD)), (0xFFFF, 0xABCD, 0xABCD));
        assert_eq!(Bits::one(15).unwrap().mask(), 0x8000);
        assert_eq!((Bits::one(16), Bits::range(3, 2)), (None, None));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_shown_is_read(text in ".{0,12}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }

        #[test]
        fn six_digits_are_offset_plus_one(offset: u16) {
            let number = format!("4{:05}", u32::from(offset) + 1);
            let address = Address { area: Area::HoldingRegister, offset, bits: None, count: None };
            prop_assert_eq!(number.parse::<Address>(), Ok(address));
        }
    }
}
