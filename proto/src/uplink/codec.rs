//! Records as bytes, each as the difference to the one before on its topic.
//!
//! Nearly every record is a value of the Unified Namespace, written `{"v":21.5,"t":1763668800123,…}`: number and time
//! differ little from the last ones of the topic, and what follows them not at all, so that it takes three to
//! five bytes. The text is kept, not the value: what is read is what was written, whatever its shape.
//!
//! A record is a byte of [`flag`]s and the fields they ask for, in the order in which [`Coder::encode`] writes them.
//! Topics are numbered in the order of their first use and named there, by what they share with the topic before.

use super::decimal::Decimal;
use crate::topic::{Qos, TopicName};
use crate::varint::{byte, get, get_bytes, get_signed, put, put_bytes, put_signed};
use bytes::Bytes;
use std::collections::HashMap;

/// What follows the time of a value, and a value that is no number, are differences up to this length. A record may
/// repeat them in one byte, so that this also bounds what a block of bytes can grow to.
pub const TAIL_BYTES_MAX: usize = 256;

const HEAD: &[u8] = b"{\"v\":";
const TIME: &[u8] = b",\"t\":";

mod flag {
    /// The topic is the one numbered after that of the record before.
    pub(super) const NEXT_TOPIC: u8 = 0x01;
    /// The payload is a value as [`super::Value`] has it.
    pub(super) const VALUE: u8 = 0x02;
    /// The same datum as the last one of the topic.
    pub(super) const SAME_DATUM: u8 = 0x04;
    /// The datum is a decimal with as many places as the last one.
    pub(super) const SAME_PLACES: u8 = 0x08;
    /// As much time has gone by as before the last one.
    pub(super) const STEADY: u8 = 0x10;
    /// What follows the time is the same.
    pub(super) const SAME_TAIL: u8 = 0x20;
    /// QoS and retain flag are the same, and there are no properties.
    pub(super) const SAME_MANNER: u8 = 0x40;
}

/// In place of the number of places: the datum is no decimal.
const TEXT: u8 = 0xFF;

/// One message as it was published on the edge node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where to.
    pub topic: TopicName,
    /// What.
    pub payload: Bytes,
    /// The guarantee it was published with.
    pub qos: Qos,
    /// The RETAIN flag as published.
    pub retain: bool,
    /// Its MQTT 5.0 properties in a form that the two ends agree on; empty if there are none.
    pub properties: Bytes,
}

/// The parts of a payload that is a value.
struct Value<'a> {
    datum: &'a [u8],
    time: u64,
    tail: &'a [u8],
}

/// What the last record of a topic was.
#[derive(Debug, Clone)]
struct Last {
    topic: TopicName,
    datum: Datum,
    time: u64,
    step: i64,
    tail: Bytes,
    manner: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Datum {
    Decimal(Decimal),
    Text(Bytes),
}

/// Both directions: what one end has been told of the topics so far.
#[derive(Debug, Default)]
pub(super) struct Coder {
    topics: Vec<Last>,
    /// For the writing end only.
    numbers: HashMap<TopicName, usize>,
    /// The number of the topic of the next record, if it is the usual one.
    next: usize,
}

impl Coder {
    /// Appends a record.
    pub(super) fn encode(&mut self, record: &Record, out: &mut Vec<u8>) {
        let number = self.numbers.get(&record.topic).copied();
        let at = out.len();
        out.push(0);
        let mut flags = 0;
        let index = match number {
            Some(number) if number == self.next => {
                flags |= flag::NEXT_TOPIC;
                number
            }
            Some(number) => {
                put(number as u64, out);
                number
            }
            None => self.name(&record.topic, out),
        };
        self.next = index + 1;
        let last = &mut self.topics[index];
        let manner = u8::from(record.qos) | u8::from(record.retain) << 2;
        if manner == last.manner && record.properties.is_empty() {
            flags |= flag::SAME_MANNER;
        } else {
            out.push(manner);
            put_bytes(&record.properties, out);
            last.manner = manner;
        }
        match Value::of(&record.payload) {
            Some(value) => flags |= flag::VALUE | last.encode(&value, out),
            None => put_bytes(&record.payload, out),
        }
        out[at] = flags;
    }

    fn name(&mut self, topic: &TopicName, out: &mut Vec<u8>) -> usize {
        let number = self.topics.len();
        let before = self.topics.last().map_or("", |last| last.topic.as_str()).as_bytes();
        let name = topic.as_str().as_bytes();
        let shared = before.iter().zip(name).take_while(|(a, b)| a == b).count();
        put(number as u64, out);
        put(shared as u64, out);
        put_bytes(&name[shared..], out);
        self.numbers.insert(topic.clone(), number);
        self.topics.push(Last::new(topic.clone()));
        number
    }

    /// Takes the next record; `None` if these bytes are none.
    pub(super) fn decode(&mut self, input: &mut &[u8]) -> Option<Record> {
        let flags = byte(input)?;
        let has = |flag: u8| flags & flag != 0;
        let index = match has(flag::NEXT_TOPIC) {
            true => self.next,
            false => usize::try_from(get(input)?).ok()?,
        };
        if index == self.topics.len() {
            let topic = self.read_name(input)?;
            self.topics.push(Last::new(topic));
        }
        let last = self.topics.get_mut(index)?;
        self.next = index + 1;
        let mut properties = Bytes::new();
        if !has(flag::SAME_MANNER) {
            last.manner = byte(input)?;
            properties = Bytes::copy_from_slice(get_bytes(input)?);
        }
        let payload = match has(flag::VALUE) {
            true => last.decode(flags, input)?,
            false => Bytes::copy_from_slice(get_bytes(input)?),
        };
        let qos = Qos::try_from(last.manner & 0x03).ok()?;
        let retain = last.manner & 0x04 != 0;
        Some(Record { topic: last.topic.clone(), payload, qos, retain, properties })
    }

    fn read_name(&self, input: &mut &[u8]) -> Option<TopicName> {
        let shared = usize::try_from(get(input)?).ok()?;
        let before = self.topics.last().map_or("", |last| last.topic.as_str());
        let mut name = before.as_bytes().get(..shared)?.to_vec();
        name.extend_from_slice(get_bytes(input)?);
        TopicName::parse(String::from_utf8(name).ok()?).ok()
    }
}

impl Last {
    fn new(topic: TopicName) -> Self {
        let datum = Datum::Decimal(Decimal { mantissa: 0, places: 0 });
        Self { topic, datum, time: 0, step: 0, tail: Bytes::new(), manner: 0x05 }
    }

    /// Appends what of a value differs; the flags that say so.
    fn encode(&mut self, value: &Value<'_>, out: &mut Vec<u8>) -> u8 {
        let mut flags = 0;
        let datum = match (Decimal::parse(value.datum), &self.datum) {
            (Some(decimal), _) => Some(Datum::Decimal(decimal)),
            (None, Datum::Text(text)) if text == value.datum => None,
            (None, _) => Some(Datum::Text(Bytes::copy_from_slice(value.datum))),
        };
        match datum.filter(|datum| *datum != self.datum) {
            None => flags |= flag::SAME_DATUM,
            Some(datum) => {
                match (&self.datum, &datum) {
                    (Datum::Decimal(old), Datum::Decimal(new)) if old.places == new.places => {
                        flags |= flag::SAME_PLACES;
                        put_signed(new.mantissa.wrapping_sub(old.mantissa), out);
                    }
                    (_, Datum::Decimal(new)) => {
                        out.push(new.places);
                        put_signed(new.mantissa, out);
                    }
                    (_, Datum::Text(text)) => {
                        out.push(TEXT);
                        put_bytes(text, out);
                    }
                }
                self.datum = datum;
            }
        }
        let step = value.time.wrapping_sub(self.time) as i64;
        if step == self.step {
            flags |= flag::STEADY;
        } else {
            put_signed(step.wrapping_sub(self.step), out);
        }
        (self.time, self.step) = (value.time, step);
        if value.tail == self.tail {
            flags |= flag::SAME_TAIL;
        } else {
            put_bytes(value.tail, out);
            self.tail = Bytes::copy_from_slice(value.tail);
        }
        flags
    }

    /// The payload of a value.
    fn decode(&mut self, flags: u8, input: &mut &[u8]) -> Option<Bytes> {
        let has = |flag: u8| flags & flag != 0;
        if !has(flag::SAME_DATUM) {
            self.datum = match (&self.datum, has(flag::SAME_PLACES)) {
                (Datum::Decimal(old), true) => {
                    let mantissa = old.mantissa.wrapping_add(get_signed(input)?);
                    Datum::Decimal(Decimal { mantissa, ..*old })
                }
                (Datum::Text(_), true) => return None,
                (_, false) => match byte(input)? {
                    TEXT => Datum::Text(short(input)?),
                    places => Datum::Decimal(Decimal { mantissa: get_signed(input)?, places }),
                },
            };
        }
        if !has(flag::STEADY) {
            self.step = self.step.wrapping_add(get_signed(input)?);
        }
        self.time = self.time.wrapping_add_signed(self.step);
        if !has(flag::SAME_TAIL) {
            self.tail = short(input)?;
        }
        let mut payload = Vec::with_capacity(64 + self.tail.len());
        payload.extend_from_slice(HEAD);
        match &self.datum {
            Datum::Decimal(decimal) => decimal.write(&mut payload),
            Datum::Text(text) => payload.extend_from_slice(text),
        }
        payload.extend_from_slice(TIME);
        write_number(self.time, &mut payload);
        payload.extend_from_slice(&self.tail);
        Some(Bytes::from(payload))
    }
}

impl<'a> Value<'a> {
    /// The parts of a payload, if it is written as the platform writes values and none of them is too long.
    fn of(payload: &'a [u8]) -> Option<Self> {
        let rest = payload.strip_prefix(HEAD)?;
        let is_time = |window: &[u8]| window == TIME;
        // A text may have in it what looks like a time.
        let at = match rest.first()? {
            b'"' => rest.windows(TIME.len()).rposition(is_time)?,
            _ => rest.windows(TIME.len()).position(is_time)?,
        };
        let (datum, rest) = (&rest[..at], &rest[at + TIME.len()..]);
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (time, tail) = rest.split_at(digits);
        let is_odd = digits == 0 || digits > 19 || (digits > 1 && time[0] == b'0');
        if is_odd || datum.len() > TAIL_BYTES_MAX || tail.len() > TAIL_BYTES_MAX {
            return None;
        }
        let digit = |sum: u64, byte: &u8| sum * 10 + u64::from(byte - b'0');
        Some(Self { datum, time: time.iter().fold(0, digit), tail })
    }
}

/// Bytes that later records may repeat.
fn short(input: &mut &[u8]) -> Option<Bytes> {
    get_bytes(input).filter(|it| it.len() <= TAIL_BYTES_MAX).map(Bytes::copy_from_slice)
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}
