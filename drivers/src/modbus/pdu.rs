//! Requests and answers as bytes (Modbus Application Protocol 1.1b3, 6): a function code and its data, without unit or
//! check. Pure: an answer that is not one to its request is refused with the reason.

use super::address::{Area, Bits};
use super::plan::Span;
use crate::port::DeviceError;

/// The longest request or answer (4.1).
pub(crate) const PDU_BYTES_MAX: usize = 253;

/// The most registers that one request writes (6.12), and by the function that reads as well (6.17).
pub(crate) const WRITE_REGISTERS_MAX: u16 = 123;
pub(crate) const WRITE_READ_REGISTERS_MAX: u16 = 121;
/// The most coils that one request writes (6.11).
pub(crate) const WRITE_COILS_MAX: u16 = 1968;
/// The most registers of a file in one request (6.14, 6.15).
pub(crate) const FILE_REGISTERS_MAX: u16 = 121;
/// The most registers of a queue (6.18).
const QUEUE_REGISTERS_MAX: usize = 31;

/// The kind of reference that files have (6.14).
const FILE_REFERENCE: u8 = 6;
/// Device identification behind the encapsulated interface (6.21), its basic and regular objects.
const IDENTIFICATION: u8 = 0x0e;
const REGULAR_OBJECTS: u8 = 2;

/// What a unit answered to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Bits(Vec<bool>),
    Registers(Vec<u16>),
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    Coils { offset: u16, values: Vec<bool> },
    Registers { offset: u16, registers: Vec<u16> },
    File { file: u16, record: u16, registers: Vec<u16> },
    Bits { offset: u16, bits: Bits, number: u16 },
}

/// Some of what a machine says of itself: numbered texts, and where they go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identification {
    pub(crate) objects: Vec<(u8, String)>,
    pub(crate) next: Option<u8>,
}

const fn function_of(area: Area) -> u8 {
    match area {
        Area::Coil => 0x01,
        Area::DiscreteInput => 0x02,
        Area::HoldingRegister => 0x03,
        Area::InputRegister => 0x04,
        Area::ExceptionStatus => 0x07,
        Area::File(_) => 0x14,
        Area::Fifo => 0x18,
    }
}

fn with_words(function: u8, words: &[u16]) -> Vec<u8> {
    let mut pdu = vec![function];
    words.iter().for_each(|word| pdu.extend(word.to_be_bytes()));
    pdu
}

/// The request for a span.
pub(crate) fn read(span: Span) -> Vec<u8> {
    let Span { area, offset, count } = span;
    let function = function_of(area);
    match area {
        Area::ExceptionStatus => vec![function],
        Area::Fifo => with_words(function, &[offset]),
        Area::File(file) => {
            let mut pdu = vec![function, 7, FILE_REFERENCE];
            [file, offset, count].iter().for_each(|word| pdu.extend(word.to_be_bytes()));
            pdu
        }
        _ => with_words(function, &[offset, count]),
    }
}

const QUANTITY: &str = "another quantity than was asked for";

/// What an answer to the request for a span says; its function was checked.
pub(crate) fn read_answer(span: Span, answer: &[u8]) -> Result<Answer, &'static str> {
    let data = answer.get(1..).unwrap_or_default();
    match span.area {
        Area::ExceptionStatus => match data {
            [status] => Ok(Answer::Registers(vec![(*status).into()])),
            _ => Err(QUANTITY),
        },
        Area::Fifo => {
            let (length, rest) = split_word(data).ok_or(QUANTITY)?;
            let (count, registers) = split_word(rest).ok_or(QUANTITY)?;
            let is_whole = usize::from(length) == rest.len()
                && registers.len() == 2 * usize::from(count)
                && usize::from(count) <= QUEUE_REGISTERS_MAX;
            if is_whole { Ok(Answer::Registers(words_of(registers))) } else { Err(QUANTITY) }
        }
        Area::File(_) => {
            let bytes = 2 * usize::from(span.count);
            match data {
                // The length of all, of the one group, and its kind.
                [all, group, FILE_REFERENCE, registers @ ..]
                    if registers.len() == bytes
                        && usize::from(*group) == bytes + 1
                        && usize::from(*all) == bytes + 2 =>
                {
                    Ok(Answer::Registers(words_of(registers)))
                }
                _ => Err(QUANTITY),
            }
        }
        area => {
            let (length, bytes) = data.split_first().ok_or(QUANTITY)?;
            let count = usize::from(span.count);
            let expected = if area.is_bits() { count.div_ceil(8) } else { 2 * count };
            if usize::from(*length) != expected || bytes.len() != expected {
                return Err(QUANTITY);
            }
            Ok(match area.is_bits() {
                true => {
                    Answer::Bits((0..count).map(|it| bytes[it / 8] >> (it % 8) & 1 == 1).collect())
                }
                false => Answer::Registers(words_of(bytes)),
            })
        }
    }
}

fn split_word(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*word), rest))
}

fn words_of(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

/// The request for a write, and the only right answer to it; single coils and registers by the functions for several if
/// the machine wants it so.
pub(crate) fn write(write: &Write, write_multiple: bool) -> (Vec<u8>, Vec<u8>) {
    match write {
        Write::Coils { offset, values } if values.len() == 1 && !write_multiple => {
            echoed(with_words(0x05, &[*offset, if values[0] { 0xff00 } else { 0 }]))
        }
        Write::Coils { offset, values } => {
            let head = with_words(0x0f, &[*offset, values.len() as u16]);
            let mut bytes = vec![0_u8; values.len().div_ceil(8)];
            for (place, value) in values.iter().enumerate() {
                bytes[place / 8] |= u8::from(*value) << (place % 8);
            }
            (with_bytes(&head, &bytes), head)
        }
        Write::Registers { offset, registers } if registers.len() == 1 && !write_multiple => {
            echoed(with_words(0x06, &[*offset, registers[0]]))
        }
        Write::Registers { offset, registers } => {
            let head = with_words(0x10, &[*offset, registers.len() as u16]);
            (with_bytes(&head, &bytes_of(registers)), head)
        }
        Write::File { file, record, registers } => {
            let mut group = vec![FILE_REFERENCE];
            let words = [*file, *record, registers.len() as u16];
            words.iter().for_each(|word| group.extend(word.to_be_bytes()));
            group.extend(bytes_of(registers));
            echoed(with_bytes(&[0x15], &group))
        }
        // The machine changes these bits by itself: reading and writing back would undo what it, or somebody else, does
        // to the other bits in between.
        Write::Bits { offset, bits, number } => {
            echoed(with_words(0x16, &[*offset, !bits.mask(), bits.put(*number)]))
        }
    }
}

fn echoed(pdu: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    (pdu.clone(), pdu)
}

/// `head`, the length of `bytes` and these.
fn with_bytes(head: &[u8], bytes: &[u8]) -> Vec<u8> {
    // At most what fits a request, which is less than 256.
    [head, &[bytes.len() as u8], bytes].concat()
}

fn bytes_of(registers: &[u16]) -> Vec<u8> {
    registers.iter().flat_map(|register| register.to_be_bytes()).collect()
}

/// The request that writes registers and reads them back at once (6.17).
pub(crate) fn write_and_read(offset: u16, registers: &[u16]) -> Vec<u8> {
    let count = registers.len() as u16;
    with_bytes(&with_words(0x17, &[offset, count, offset, count]), &bytes_of(registers))
}

/// The request for what the machine says of itself, from an object on.
pub(crate) fn identify(from: u8) -> Vec<u8> {
    vec![0x2b, IDENTIFICATION, REGULAR_OBJECTS, from]
}

/// What it says.
pub(crate) fn identification(answer: &[u8]) -> Result<Identification, &'static str> {
    let broken = "an identification that cannot be read";
    let [_, IDENTIFICATION, _, _, more, next, count, rest @ ..] = answer else {
        return Err(broken);
    };
    let (mut rest, mut objects) = (rest, Vec::new());
    for _ in 0..*count {
        let [id, length, more @ ..] = rest else { return Err(broken) };
        let (text, after) = more.split_at_checked(usize::from(*length)).ok_or(broken)?;
        objects.push((*id, String::from_utf8_lossy(text).trim().to_owned()));
        rest = after;
    }
    Ok(Identification { objects, next: (*more == 0xff).then_some(*next) })
}

/// The request for what a serial unit says of itself (6.13).
pub(crate) fn server_id() -> Vec<u8> {
    vec![0x11]
}

/// What it says: how much of it is a number and how much a text is its own matter.
pub(crate) fn server_id_of(answer: &[u8]) -> Result<&[u8], &'static str> {
    match answer {
        [_, length, data @ ..] if usize::from(*length) == data.len() => Ok(data),
        _ => Err("a server id that is cut off"),
    }
}

/// Whether an answer is one to a function: its data, or a refusal.
pub(crate) fn answer_to(
    function: u8,
    answer: &[u8],
) -> Result<Result<(), DeviceError>, &'static str> {
    match answer {
        [found, ..] if *found == function => Ok(Ok(())),
        [found, code] if *found == function | 0x80 => Ok(Err(device_error(*code))),
        [found, ..] if *found == function | 0x80 => Err("an exception without a code"),
        _ => Err("it belongs to another request"),
    }
}

/// An exception code (7).
fn device_error(code: u8) -> DeviceError {
    match code {
        1 => DeviceError::IllegalFunction,
        2 => DeviceError::IllegalAddress,
        3 => DeviceError::IllegalValue,
        4 | 8 => DeviceError::DeviceFailure,
        5 | 6 => DeviceError::DeviceBusy,
        10 | 11 => DeviceError::GatewayFailure,
        code => DeviceError::Other(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(area: Area, offset: u16, count: u16) -> Span {
        Span { area, offset, count }
    }

    /// Requests and answers of the specification, each in its section.
    #[test]
    fn reads_are_those_of_the_specification() {
        let bits = |text: &str| Answer::Bits(text.chars().map(|it| it == '1').collect());
        for (span, request, answer, told) in [
            (
                span(Area::Coil, 0x13, 0x13),
                &[0x01_u8, 0, 0x13, 0, 0x13][..],
                &[0x01_u8, 3, 0xcd, 0x6b, 0x05][..],
                bits("1011001111010110101"),
            ),
            (
                span(Area::HoldingRegister, 0x6b, 3),
                &[0x03, 0, 0x6b, 0, 3],
                &[0x03, 6, 0x02, 0x2b, 0, 0, 0, 0x64],
                Answer::Registers(vec![555, 0, 100]),
            ),
            (
                span(Area::InputRegister, 8, 1),
                &[0x04, 0, 8, 0, 1],
                &[0x04, 2, 0, 0x0a],
                Answer::Registers(vec![10]),
            ),
            (
                span(Area::ExceptionStatus, 0, 1),
                &[0x07],
                &[0x07, 0x6d],
                Answer::Registers(vec![109]),
            ),
            (
                span(Area::File(4), 1, 2),
                &[0x14, 7, 6, 0, 4, 0, 1, 0, 2],
                &[0x14, 6, 5, 6, 0x0d, 0xfe, 0, 0x20],
                Answer::Registers(vec![0x0dfe, 0x20]),
            ),
            (
                span(Area::Fifo, 0x04de, 1),
                &[0x18, 0x04, 0xde],
                &[0x18, 0, 6, 0, 2, 0x01, 0xb8, 0x12, 0x84],
                Answer::Registers(vec![440, 4740]),
            ),
        ] {
            assert_eq!(read(span), request, "{span}");
            assert_eq!(read_answer(span, answer), Ok(told), "{span}");
            for end in 1..answer.len() {
                assert!(read_answer(span, &answer[..end]).is_err(), "{span} cut at {end}");
            }
            assert!(read_answer(span, &[answer, &[0]].concat()).is_err(), "{span} is longer");
        }
        let long = [vec![0x18, 0, 66, 0, 32], vec![0; 64]].concat();
        assert!(read_answer(span(Area::Fifo, 1, 1), &long).is_err(), "more than a queue has");
    }

    #[test]
    fn writes_are_those_of_the_specification() {
        let bits = Bits::range(1, 2).unwrap();
        for (write, multiple, request, answer) in [
            (
                Write::Coils { offset: 0xac, values: vec![true] },
                false,
                vec![0x05, 0, 0xac, 0xff, 0],
                vec![0x05, 0, 0xac, 0xff, 0],
            ),
            (
                Write::Coils {
                    offset: 0x13,
                    values: "1011001110".chars().map(|it| it == '1').collect(),
                },
                false,
                vec![0x0f, 0, 0x13, 0, 0x0a, 2, 0xcd, 0x01],
                vec![0x0f, 0, 0x13, 0, 0x0a],
            ),
            (
                Write::Registers { offset: 1, registers: vec![3] },
                false,
                vec![0x06, 0, 1, 0, 3],
                vec![0x06, 0, 1, 0, 3],
            ),
            (
                Write::Registers { offset: 1, registers: vec![3] },
                true,
                vec![0x10, 0, 1, 0, 1, 2, 0, 3],
                vec![0x10, 0, 1, 0, 1],
            ),
            (
                Write::Registers { offset: 1, registers: vec![10, 0x0102] },
                false,
                vec![0x10, 0, 1, 0, 2, 4, 0, 10, 1, 2],
                vec![0x10, 0, 1, 0, 2],
            ),
            (
                Write::File { file: 4, record: 7, registers: vec![0x06af, 0x04be, 0x100d] },
                false,
                vec![0x15, 0x0d, 6, 0, 4, 0, 7, 0, 3, 0x06, 0xaf, 0x04, 0xbe, 0x10, 0x0d],
                vec![0x15, 0x0d, 6, 0, 4, 0, 7, 0, 3, 0x06, 0xaf, 0x04, 0xbe, 0x10, 0x0d],
            ),
            (
                Write::Bits { offset: 4, bits, number: 3 },
                false,
                vec![0x16, 0, 4, 0xff, 0xf9, 0, 6],
                vec![0x16, 0, 4, 0xff, 0xf9, 0, 6],
            ),
        ] {
            assert_eq!(self::write(&write, multiple), (request, answer), "{write:?}");
        }
        let both = write_and_read(14, &[255, 1]);
        assert_eq!(both, [0x17, 0, 14, 0, 2, 0, 14, 0, 2, 4, 0, 255, 0, 1]);
    }

    #[test]
    fn machines_say_who_they_are_in_parts() {
        assert_eq!(identify(3), [0x2b, 0x0e, 2, 3]);
        let answer = b"\x2b\x0e\x02\x82\xff\x02\x02\x00\x03ACM\x01\x02P1";
        let objects = vec![(0, "ACM".to_owned()), (1, "P1".to_owned())];
        assert_eq!(identification(answer), Ok(Identification { objects, next: Some(2) }));
        for end in 0..answer.len() {
            assert!(identification(&answer[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(server_id_of(&[0x11, 3, 7, 0xff, 65]), Ok(&[7, 0xff, 65][..]));
        assert!(server_id_of(&[0x11, 3, 7]).is_err());
    }

    #[test]
    fn an_answer_is_to_its_request_or_a_refusal() {
        assert_eq!(answer_to(3, &[3, 2, 0, 1]), Ok(Ok(())));
        assert_eq!(answer_to(3, &[0x83, 2]), Ok(Err(DeviceError::IllegalAddress)));
        assert_eq!(answer_to(3, &[0x83, 0x42]), Ok(Err(DeviceError::Other(0x42))));
        for answer in [&[][..], &[0x83], &[4, 2, 0, 1], &[0x84, 2]] {
            assert!(answer_to(3, answer).is_err(), "{answer:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..40), count in 1_u16..40, area in 0_usize..7,
        ) {
            let areas = [
                Area::Coil, Area::DiscreteInput, Area::HoldingRegister, Area::InputRegister,
                Area::ExceptionStatus, Area::File(1), Area::Fifo,
            ];
            let _ = read_answer(span(areas[area], 0, count), &bytes);
            let _ = (identification(&bytes), server_id_of(&bytes));
            let _ = answer_to(3, &bytes);
        }
    }
}
