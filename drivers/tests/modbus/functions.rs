//! Functions beyond the four tables, over each framing: files, queues, the exception status, arrays, writing and
//! reading at once, who it is, and requests of any function. The machine is bytes on a socket.

use super::{config, driver_with, shown, tag, writable};
use drivers::modbus::{Framing, ModbusTcpConfig};
use drivers::{Call, Driver, Input, PointId, TagConfig};
use proto::Datum;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Registers 0 to 9, and record 7 and 8 of file 4.
#[derive(Default)]
struct Unit {
    registers: [u16; 10],
    records: [u16; 2],
    functions: Vec<u8>,
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

fn bytes(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

impl Unit {
    /// The answer to a request, as the sections of the specification say.
    fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        self.functions.push(request[0]);
        match *request {
            [3, ..] => {
                let place = words(&request[1..]);
                let range = usize::from(place[0])..usize::from(place[0] + place[1]);
                let Some(held) = self.registers.get(range) else { return vec![0x83, 2] };
                [&[3, 2 * place[1] as u8], bytes(held).as_slice()].concat()
            }
            [0x10, _, offset, _, count, ..] => {
                let given = words(&request[6..]);
                self.registers[usize::from(offset)..usize::from(offset + count)]
                    .copy_from_slice(&given);
                request[..5].to_vec()
            }
            [7] => vec![7, 0b0000_0101],
            [0x11] => [&[0x11, 6, 9, 0xff], b"PLC1".as_slice()].concat(),
            // The machine keeps at most 100 of what is written.
            [0x17, _, from, _, count, _, offset, _, _, _, ..] => {
                for (place, value) in (usize::from(offset)..).zip(words(&request[10..])) {
                    self.registers[place] = value.min(100);
                }
                let held = &self.registers[usize::from(from)..usize::from(from + count)];
                [&[0x17, 2 * count], bytes(held).as_slice()].concat()
            }
            [0x14, 7, 6, 0, 4, 0, record @ 7..=8, 0, count] => {
                let from = usize::from(record) - 7;
                let held = bytes(&self.records[from..from + usize::from(count)]);
                [&[0x14, held.len() as u8 + 2, held.len() as u8 + 1, 6], held.as_slice()].concat()
            }
            [0x15, _, 6, 0, 4, 0, record @ 7..=8, ..] => {
                for (place, value) in (usize::from(record) - 7..).zip(words(&request[9..])) {
                    self.records[place] = value;
                }
                request.to_vec()
            }
            [0x14 | 0x15, ..] => vec![request[0] | 0x80, 2],
            [0x18, 0, 5] => [&[0x18, 0, 8, 0, 3], bytes(&[1, 2, 3]).as_slice()].concat(),
            [0x18, ..] => vec![0x18, 0, 2, 0, 0],
            [0x41, ..] => [&[0x41], &request[1..], &[0xee]].concat(),
            [function, ..] => vec![function | 0x80, 1],
            [] => vec![],
        }
    }
}

fn crc(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xffff_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 };
        }
    }
    crc.to_le_bytes()
}

fn in_ascii(body: &[u8]) -> Vec<u8> {
    let lrc = body.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    let digits: String = body.iter().chain([&lrc]).map(|byte| format!("{byte:02X}")).collect();
    format!(":{digits}\r\n").into_bytes()
}

/// Unit and PDU of a request, and what goes around the answer.
fn taken(framing: Framing, frame: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    Some(match framing {
        Framing::Tcp => (frame[..4].to_vec(), frame[6..].to_vec()),
        Framing::Rtu => {
            let (body, check) = frame.split_at(frame.len() - 2);
            (crc(body) == check).then(|| (vec![], body.to_vec()))?
        }
        Framing::Ascii => {
            let text = std::str::from_utf8(frame).ok()?;
            let digits = text.strip_prefix(':')?.strip_suffix("\r\n")?;
            let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            let mut body: Vec<u8> =
                pairs.map(|pair| u8::from_str_radix(pair, 16)).collect::<Result<_, _>>().ok()?;
            body.pop();
            (in_ascii(&body) == frame).then_some((vec![], body))?
        }
    })
}

async fn serve(mut stream: TcpStream, framing: Framing, unit: &Mutex<Unit>) {
    let mut buffer = [0; 600];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        // A request is sent at once.
        let (head, body) = taken(framing, &buffer[..length]).expect("a frame that checks");
        let answer = unit.lock().unwrap().answer(&body[1..]);
        let answer = [&body[..1], answer.as_slice()].concat();
        let frame = match framing {
            Framing::Tcp => [head, (answer.len() as u16).to_be_bytes().to_vec(), answer].concat(),
            Framing::Rtu => [answer.as_slice(), &crc(&answer)].concat(),
            Framing::Ascii => in_ascii(&answer),
        };
        // Late answers of others, and noise, come before.
        if framing != Framing::Tcp {
            let late = [9, 3, 2, 0, 1];
            let late = match framing {
                Framing::Ascii => in_ascii(&late),
                _ => [&[0][..], &late, &crc(&late)].concat(),
            };
            stream.write_all(&late).await.unwrap();
        }
        let (first, rest) = frame.split_at(frame.len() / 2);
        stream.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(rest).await.unwrap();
    }
}

async fn machine(framing: Framing) -> (SocketAddr, Arc<Mutex<Unit>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let unit: Arc<Mutex<Unit>> = Arc::default();
    let of_unit = Arc::clone(&unit);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let unit = Arc::clone(&of_unit);
            tokio::spawn(async move { serve(stream, framing, &unit).await });
        }
    });
    (address, unit)
}

async fn to(
    framing: Framing,
    tags: &[TagConfig],
    write_and_read: bool,
) -> (Box<dyn Driver>, Arc<Mutex<Unit>>) {
    let (address, unit) = machine(framing).await;
    let config = ModbusTcpConfig { framing, write_and_read, ..config(address, 5000) };
    let mut driver = driver_with(config, tags);
    driver.connect().await.unwrap();
    (driver, unit)
}

const FRAMINGS: [Framing; 3] = [Framing::Tcp, Framing::Rtu, Framing::Ascii];

fn datum(json: Json) -> Datum {
    Datum::from_json(json).unwrap()
}

#[tokio::test]
async fn files_queues_arrays_and_the_status_are_read_and_written() {
    let tags = [
        writable("file:4:7", "uint32"),
        tag("file:5:0", "uint16"),
        tag("fifo:5", "uint16"),
        tag("fifo:6", "uint16"),
        tag("exception_status", "uint8"),
        tag("exception_status.2", "bool"),
        writable("holding:2[3]", "int16"),
    ];
    for framing in FRAMINGS {
        let (mut driver, unit) = to(framing, &tags, false).await;
        let read = (0..7).map(PointId).collect::<Vec<_>>();
        let outcome = driver.read(&read).await;
        let expected = ["0", "<illegal_address>", "[1,2,3]", "[]", "5", "true", "[0,0,0]"];
        assert_eq!(shown(&outcome), expected, "{framing:?}: {outcome:?}");
        // Two points of the status are one request.
        let asked = unit.lock().unwrap().functions.iter().filter(|it| **it == 7).count();
        assert_eq!(asked, 1, "{framing:?}");
        for (point, value) in [(0, json!(70_000)), (6, json!([1, -2, 300]))] {
            let value = datum(value);
            assert_eq!(driver.write(PointId(point), &value, true).await, Ok(value.clone()));
        }
        let held = unit.lock().unwrap().registers;
        assert_eq!(held[2..5], [1, 0xfffe, 300], "{framing:?}");
        let error = driver.write(PointId(6), &datum(json!([1, 2])), true).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "[1,2] is no value of type int16[3] for holding:2..=4 of unit 1"
        );
    }
}

#[tokio::test]
async fn a_write_is_verified_by_one_request_where_the_machine_can() {
    for framing in FRAMINGS {
        let (mut driver, unit) = to(framing, &[writable("holding:1", "uint32")], true).await;
        let error = driver.write(PointId(0), &Datum::Int(500), true).await.unwrap_err();
        assert_eq!(error.code(), "not_verified", "{framing:?}: {error}");
        assert_eq!(driver.write(PointId(0), &Datum::Int(50), true).await, Ok(Datum::Int(50)));
        assert_eq!(driver.write(PointId(0), &Datum::Int(7), false).await, Ok(Datum::Int(7)));
        assert_eq!(unit.lock().unwrap().functions, [0x17, 0x17, 0x10]);
    }
}

#[tokio::test]
async fn a_unit_that_has_no_objects_says_who_it_is_all_the_same() {
    for framing in FRAMINGS {
        let (mut driver, _unit) = to(framing, &[], false).await;
        let said = driver.identify().await.unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected =
            [pair("server_id", "09FF504C4331"), pair("is_running", "true"), pair("text", "PLC1")];
        assert_eq!(said, expected, "{framing:?}");
    }
}

#[tokio::test]
async fn an_operator_sends_any_function() {
    for framing in FRAMINGS {
        let (mut driver, _unit) = to(framing, &[], false).await;
        let call = |method: &str, input: Json| Call {
            method: method.to_owned(),
            object: None,
            input: Input::of(input),
        };
        let answer = driver.call(&call("0x41", json!("0102ff"))).await;
        assert_eq!(answer, Ok(vec![json!("0102FFEE")]), "{framing:?}");
        let refused = driver.call(&call("66", json!(null))).await.unwrap_err();
        assert_eq!(refused.code(), "illegal_function", "{framing:?}");
        assert_eq!(driver.health().counters.calls, 2);
        assert!(driver.read(&[]).await.lost.is_none(), "the connection stays");
    }
}
