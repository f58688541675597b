//! The Modbus driver against real servers on real sockets, also with the frames of a serial line: the contract of the
//! port, then faults.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "modbus/functions.rs"]
mod functions;
#[path = "modbus/machine.rs"]
mod machine;

use drivers::contract::{self, Fixture};
use drivers::modbus::{Framing, ModbusSerialConfig, ModbusTcpConfig};
use drivers::{
    Access, Connectivity, Driver, DriverConfig, PointId, PointRead, ReadOutcome, Site, TagConfig,
    open,
};
use machine::{CLAMP_MAX, CLAMPED, HOLE, Machine, PROTECTED, TABLE_LEN};
use proto::Datum;
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Long enough for a loaded test machine; tests that wait for it use a shorter one.
const TIMEOUT_MS: u32 = 10_000;

/// Short enough to wait for, long enough for an answer that does come.
const SHORT_TIMEOUT_MS: u32 = 500;

fn tag(address: &str, data_type: &str) -> TagConfig {
    let name = format!("{address}-{data_type}").replace(['(', ')', '[', ']'], "-");
    serde_json::from_value(json!({
        "tag": name, "path": format!("x/_raw/{name}"), "address": address, "type": data_type,
    }))
    .unwrap()
}

fn writable(address: &str, data_type: &str) -> TagConfig {
    TagConfig { access: Access::ReadWrite, ..tag(address, data_type) }
}

fn config(address: SocketAddr, timeout_ms: u32) -> ModbusTcpConfig {
    ModbusTcpConfig { timeout_ms, ..ModbusTcpConfig::new(&address.to_string()) }
}

fn driver_with(config: ModbusTcpConfig, tags: &[TagConfig]) -> Box<dyn Driver> {
    match open(&DriverConfig::ModbusTcp(config), tags, &Site::new("unused")) {
        Ok(driver) => driver,
        Err(error) => panic!("{error}"),
    }
}

async fn connected(machine: &Machine, tags: &[TagConfig]) -> Box<dyn Driver> {
    let mut driver = driver_with(config(machine.address, TIMEOUT_MS), tags);
    driver.connect().await.unwrap();
    driver
}

fn all(count: u32) -> Vec<PointId> {
    (0..count).map(PointId).collect()
}

/// The values read, or the code of the error in angle brackets.
fn shown(outcome: &ReadOutcome) -> Vec<String> {
    let show = |(_, result): &PointRead| match result {
        Ok(sample) => sample.value.to_string(),
        Err(error) => format!("<{}>", error.code()),
    };
    outcome.points.iter().map(show).collect()
}

/// What every driver must keep, of a machine that is reached with `config`.
async fn keeps_the_contract(config: ModbusTcpConfig) {
    let tags = [
        TagConfig { scale: 0.1, ..writable("holding:0", "int16") },
        tag("holding:1", "uint16"),
        tag(&format!("holding:{HOLE}"), "uint16"),
        writable("coil:0", "bool"),
    ];
    let fixture = Fixture {
        point_count: 4,
        writable: PointId(0),
        values: [Datum::Float(21.5), Datum::Float(-3.2)],
        read_only: PointId(1),
        missing: PointId(2),
        refused: vec![
            (PointId(0), Datum::Float(3276.8), "out_of_range"),
            (PointId(0), Datum::Text("hot".into()), "wrong_type"),
            (PointId(3), Datum::Float(0.5), "wrong_type"),
            (PointId(3), Datum::Int(2), "out_of_range"),
        ],
    };
    let mut driver = driver_with(config, &tags);
    let result = contract::check(driver.as_mut(), &fixture).await;
    assert_eq!(result, Ok(()));
}

#[tokio::test]
async fn the_contract_of_the_port_over_tcp() {
    let machine = Machine::start().await;
    keeps_the_contract(config(machine.address, TIMEOUT_MS)).await;
}

#[tokio::test]
async fn the_contract_of_the_port_on_a_line_that_is_shared() {
    let machine = Machine::start().await;
    let config = config(machine.address, TIMEOUT_MS);
    keeps_the_contract(ModbusTcpConfig { shared: true, ..config }).await;
}

#[tokio::test]
async fn the_contract_of_the_port_with_the_frames_of_a_serial_line() {
    let machine = Machine::start_rtu().await;
    let config = config(machine.address, TIMEOUT_MS);
    keeps_the_contract(ModbusTcpConfig { framing: Framing::Rtu, ..config }).await;
}

#[tokio::test]
async fn a_port_that_is_not_there_is_unreachable() {
    let config = DriverConfig::ModbusSerial(ModbusSerialConfig::new("/dev/no-such-port"));
    let mut driver = open(&config, &[], &Site::new("unused")).unwrap();
    let error = driver.connect().await.unwrap_err();
    assert_eq!(error.code(), "unreachable", "{error}");
}

#[tokio::test]
async fn every_area_and_type_is_read_with_few_requests() {
    let machine = Machine::start().await;
    machine.tables().holding.extend([(0, 0x41ac), (1, 0), (2, 0x4142), (3, 0x4300), (10, 0b1000)]);
    machine.tables().coils.insert(3, true);
    let tags = [
        tag("40001", "float32"),
        tag("holding:2", "string(4)"),
        tag("holding:10.3", "bool"),
        tag("holding:10.2", "bool"),
        tag("30008", "uint16"),
        tag("coil:3", "bool"),
        tag("coil:4", "bool"),
        tag("10002", "bool"),
    ];
    let mut driver = connected(&machine, &tags).await;
    let outcome = driver.read(&all(8)).await;
    let expected = ["21.5", "ABC", "true", "false", "1007", "true", "false", "true"];
    assert_eq!(shown(&outcome), expected);
    let requests = ["read coil 3+2", "read discrete 1+1", "read input 7+1", "read holding 0+11"];
    assert_eq!(machine.take_requests(), requests);
    let subset = driver.read(&[PointId(7), PointId(0)]).await;
    assert_eq!(shown(&subset), ["true", "21.5"]);
}

#[tokio::test]
async fn writes_use_the_function_that_fits() {
    let machine = Machine::start().await;
    machine.tables().holding.insert(8, 0b0101);
    let tags = [
        writable("coil:0", "bool"),
        writable("holding:0", "uint16"),
        writable("holding:2", "float32"),
        writable("holding:8.1", "bool"),
        writable("holding:4", "string(6)"),
    ];
    let values = [
        Datum::Bool(true),
        Datum::Int(7),
        Datum::Float(21.5),
        Datum::Bool(true),
        Datum::Text("pump".into()),
    ];
    for (write_multiple, functions) in [(false, [5, 6, 16, 22, 16]), (true, [15, 16, 16, 22, 16])] {
        let config = ModbusTcpConfig { write_multiple, ..config(machine.address, TIMEOUT_MS) };
        let mut driver = driver_with(config, &tags);
        driver.connect().await.unwrap();
        for (index, (value, function)) in values.iter().zip(functions).enumerate() {
            machine.take_requests();
            let written = driver.write(PointId(index as u32), value, true).await;
            assert_eq!(written.as_ref(), Ok(value));
            let request = &machine.take_requests()[0];
            assert!(request.starts_with(&format!("function {function} ")), "{request}");
        }
        assert_eq!(machine.tables().holding[&8], 0b0111, "the other bits stay");
        assert_eq!(driver.health().counters.writes, 5);
    }
}

#[tokio::test]
async fn a_write_that_the_machine_changes_or_refuses_is_no_success() {
    let machine = Machine::start().await;
    let tags = [
        writable(&format!("holding:{CLAMPED}"), "uint16"),
        writable(&format!("holding:{PROTECTED}"), "uint16"),
        writable(&format!("holding:{HOLE}"), "uint16"),
    ];
    let mut driver = connected(&machine, &tags).await;
    let over = Datum::Int(i64::from(CLAMP_MAX) + 1);
    for (point, verify, expected) in [
        (0, false, Ok(over.clone())),
        (0, true, Err("not_verified")),
        (1, false, Err("device_failure")),
        (2, true, Err("illegal_address")),
    ] {
        let written = driver.write(PointId(point), &over, verify).await;
        assert_eq!(written.map_err(|error| error.code()), expected, "point {point}");
    }
    assert_eq!(driver.health().connectivity, Connectivity::Connected);
    assert_eq!(driver.health().counters.writes_failed, 3);
}

#[tokio::test]
async fn a_bad_address_is_isolated_and_remembered() {
    let machine = Machine::start().await;
    let offsets: Vec<u16> = (46..=54).collect();
    let tags: Vec<TagConfig> =
        offsets.iter().map(|it| tag(&format!("holding:{it}"), "uint16")).collect();
    machine.tables().holding.extend(offsets.iter().map(|it| (*it, it + 100)));
    let mut driver = connected(&machine, &tags).await;
    let expected = ["146", "147", "148", "149", "<illegal_address>", "151", "152", "153", "154"];
    assert_eq!(shown(&driver.read(&all(9)).await), expected);
    assert_eq!(driver.health().counters.requests_split, 1);
    machine.take_requests();
    assert_eq!(shown(&driver.read(&all(9)).await), expected);
    let requests = ["read holding 46+4", "read holding 51+4", "read holding 50+1"];
    assert_eq!(machine.take_requests(), requests);
    assert_eq!(driver.health().counters.requests_split, 1);
}

#[tokio::test]
async fn a_point_that_appears_is_found_and_what_was_learned_is_forgotten() {
    let machine = Machine::start().await;
    let tags: Vec<TagConfig> = (48..53).map(|it| tag(&format!("holding:{it}"), "uint16")).collect();
    let mut driver = connected(&machine, &tags).await;
    let hole = ["0", "0", "<illegal_address>", "0", "0"];
    for is_noticed_by in ["a probe", "a connect"] {
        machine.tables().is_hole_filled = false;
        for _ in 0..2 {
            assert_eq!(shown(&driver.read(&all(5)).await), hole);
        }
        machine.tables().is_hole_filled = true;
        match is_noticed_by {
            "a probe" => assert_eq!(shown(&driver.read(&all(5)).await), ["0"; 5]),
            _ => driver.connect().await.unwrap(),
        }
        machine.take_requests();
        assert_eq!(shown(&driver.read(&all(5)).await), ["0"; 5]);
        assert_eq!(machine.take_requests(), ["read holding 48+5"], "after {is_noticed_by}");
    }
}

#[tokio::test]
async fn a_machine_that_refuses_everything_for_a_while_is_soon_read_as_a_whole() {
    let machine = Machine::start().await;
    let tags: Vec<TagConfig> = (0..40).map(|it| tag(&format!("holding:{it}"), "uint16")).collect();
    let mut driver = connected(&machine, &tags).await;
    machine.tables().registers_max = Some(0);
    for _ in 0..10 {
        assert_eq!(shown(&driver.read(&all(40)).await), vec!["<illegal_value>"; 40]);
    }
    machine.tables().registers_max = None;
    let first = shown(&driver.read(&all(40)).await);
    assert_eq!(first.iter().filter(|it| *it == "0").count(), 16, "the known bad ones take turns");
    machine.take_requests();
    assert_eq!(shown(&driver.read(&all(40)).await), vec!["0"; 40]);
    assert_eq!(machine.take_requests(), ["read holding 0+40"]);
}

#[tokio::test]
async fn a_gap_that_cannot_be_read_is_avoided() {
    let machine = Machine::start().await;
    let tags = [tag("holding:49", "uint16"), tag("holding:51", "uint16")];
    let mut driver = connected(&machine, &tags).await;
    assert_eq!(shown(&driver.read(&all(2)).await), ["0", "0"]);
    machine.take_requests();
    assert_eq!(shown(&driver.read(&all(2)).await), ["0", "0"]);
    assert_eq!(machine.take_requests(), ["read holding 49+1", "read holding 51+1"]);
}

#[tokio::test]
async fn a_machine_that_takes_short_requests_only_is_read_whole() {
    let machine = Machine::start().await;
    machine.tables().registers_max = Some(10);
    let tags: Vec<TagConfig> = (0..40).map(|it| tag(&format!("holding:{it}"), "uint16")).collect();
    let mut driver = connected(&machine, &tags).await;
    for _ in 0..2 {
        machine.take_requests();
        assert_eq!(shown(&driver.read(&all(40)).await), vec!["0"; 40]);
    }
    assert_eq!(machine.take_requests().len(), 4);
}

/// 500 wrong addresses must not cost 500 requests in every poll, nor stay unnoticed once they are
/// right.
#[tokio::test]
async fn many_bad_addresses_cost_a_bounded_number_of_requests() {
    const BAD: u32 = 500;
    let machine = Machine::start().await;
    let bad = (0..BAD).map(|it| tag(&format!("holding:{}", 1000 + it), "uint16"));
    let tags: Vec<TagConfig> = [tag("holding:0", "uint16")].into_iter().chain(bad).collect();
    let mut driver = connected(&machine, &tags).await;
    // 1 + 4 planned requests, a search of 64, 16 refused points: never more in one read.
    for _ in 0..30 {
        machine.take_requests();
        let outcome = driver.read(&all(BAD + 1)).await;
        let shown = shown(&outcome);
        assert_eq!(shown[0], "0");
        assert!(shown[1..].iter().all(|it| it == "<illegal_address>"));
        let requests = machine.take_requests().len();
        assert!(requests <= 100, "{requests} requests");
    }
    assert!(driver.health().counters.probes_skipped > 0);
    let requests = machine.take_requests().len();
    assert_eq!(requests, 0);
    driver.read(&all(BAD + 1)).await;
    let requests = machine.take_requests().len();
    assert!(requests <= 17, "{requests} requests once every bad address is known");
}

#[tokio::test]
async fn a_silent_machine_is_lost_after_the_timeout() {
    let machine = Machine::start().await;
    let tags = [tag("holding:0", "uint16"), tag("input:0", "uint16")];
    let mut driver = driver_with(config(machine.address, SHORT_TIMEOUT_MS), &tags);
    driver.connect().await.unwrap();
    machine.tables().is_silent = true;
    let outcome = driver.read(&all(2)).await;
    assert_eq!(shown(&outcome), ["<connection_lost>", "<connection_lost>"]);
    let lost = outcome.lost.unwrap();
    assert_eq!(lost.code(), "timeout");
    assert_eq!(lost.to_string(), "no answer within 500 ms to reading input:0 of unit 1");
    assert_eq!(machine.take_requests().len(), 1, "nothing is asked after the loss");
    let health = driver.health();
    assert_eq!(health.connectivity, Connectivity::Disconnected);
    assert_eq!((health.counters.timeouts, health.counters.points_failed), (1, 2));

    machine.tables().is_silent = false;
    assert_eq!(driver.read(&all(2)).await.lost.unwrap().code(), "not_connected");
    driver.connect().await.unwrap();
    assert_eq!(shown(&driver.read(&all(2)).await), ["0", "1000"]);
}

#[tokio::test]
async fn a_machine_that_restarts_is_connected_to_again() {
    let mut machine = Machine::start().await;
    let mut driver = connected(&machine, &[writable("holding:0", "uint16")]).await;
    assert_eq!(shown(&driver.read(&all(1)).await), ["0"]);

    machine.stop().await;
    let outcome = driver.read(&all(1)).await;
    assert_eq!(outcome.lost.map(|lost| lost.code()), Some("connection_lost"));
    let written = driver.write(PointId(0), &Datum::Int(1), false).await;
    assert_eq!(written.unwrap_err().code(), "not_connected");
    assert_eq!(driver.connect().await.unwrap_err().code(), "refused");
    let health = driver.health();
    assert_eq!((health.counters.connections_lost, health.counters.connects_failed), (1, 1));
    assert!(health.last_error.unwrap().contains("refused"));

    machine.restart().await;
    driver.connect().await.unwrap();
    assert_eq!(driver.write(PointId(0), &Datum::Int(1), true).await, Ok(Datum::Int(1)));
    assert_eq!(driver.health().counters.connects, 2);
    assert_eq!(driver.health().last_error, None);
}

#[tokio::test]
async fn an_unknown_host_is_unreachable() {
    let config = ModbusTcpConfig::new("no-such-host.invalid:502");
    let error = driver_with(ModbusTcpConfig { timeout_ms: TIMEOUT_MS, ..config }, &[])
        .connect()
        .await
        .unwrap_err();
    assert!(matches!(error.code(), "unreachable" | "timeout"), "{error}");
}

#[tokio::test]
async fn subscriptions_are_unsupported() {
    let machine = Machine::start().await;
    let mut driver = connected(&machine, &[tag("holding:0", "uint16")]).await;
    let error = driver.subscribe(&all(1)).await.err().unwrap();
    assert_eq!(error.code(), "unsupported");
}

#[tokio::test]
async fn the_ends_of_a_table() {
    let machine = Machine::start().await;
    let last = TABLE_LEN - 1;
    let tags = [
        tag(&format!("coil:{last}"), "bool"),
        tag(&format!("input:{last}"), "uint16"),
        tag(&format!("input:{last}"), "uint32"),
        tag("holding:65535", "uint16"),
    ];
    let mut driver = connected(&machine, &tags).await;
    for _ in 0..2 {
        let outcome = driver.read(&all(4)).await;
        let expected = ["false", "1099", "<illegal_address>", "<illegal_address>"];
        assert_eq!(shown(&outcome), expected);
    }
}

/// Answers every request on one connection with the same bytes after the transaction id, or closes.
async fn liar(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 12];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(&request[..2]).await.unwrap();
        stream.write_all(answer).await.unwrap();
        if !answer.is_empty() {
            // The peer ends the connection; until then it is silent, not closed.
            let _ = stream.read(&mut request).await;
        }
    });
    address
}

#[tokio::test]
async fn nonsense_ends_the_connection_and_nothing_else() {
    for (name, answer, code) in [
        ("one register too few", &b"\0\0\0\x05\x01\x03\x02\0\x01"[..], "protocol_violation"),
        (
            "one register too many",
            b"\0\0\0\x09\x01\x03\x06\0\x01\0\x02\0\x03",
            "protocol_violation",
        ),
        ("half a register", b"\0\0\0\x06\x01\x03\x03\0\x01\0", "protocol_violation"),
        ("a length that lies", b"\0\0\0\x04\x01\x03\x04\0", "protocol_violation"),
        ("no length", b"\0\0\0\0\x01\x03", "protocol_violation"),
        ("only a unit", b"\0\0\0\x01\x01", "protocol_violation"),
        ("another function", b"\0\0\0\x07\x01\x04\x04\0\x01\0\x02", "protocol_violation"),
        ("another unit", b"\0\0\0\x07\x09\x03\x04\0\x01\0\x02", "protocol_violation"),
        ("another protocol", b"\x12\x34\0\x07\x01\x03\x04\0\x01\0\x02", "protocol_violation"),
        ("an exception of another function", b"\0\0\0\x03\x01\x84\x02", "protocol_violation"),
        ("an exception without a code", b"\0\0\0\x02\x01\x83", "protocol_violation"),
        ("half an answer", b"\0\0\0\x07\x01\x03\x04\0\x01", "timeout"),
        ("a length of 64 KiB", b"\0\0\xff\xff\x01\x03\x04\0\x01\0\x02", "protocol_violation"),
        ("the end", b"", "connection_lost"),
    ] {
        let timeout_ms = if code == "timeout" { SHORT_TIMEOUT_MS } else { TIMEOUT_MS };
        let config = config(liar(answer).await, timeout_ms);
        let mut driver = driver_with(config, &[tag("holding:0", "uint32")]);
        driver.connect().await.unwrap();
        let outcome = driver.read(&all(1)).await;
        let lost = outcome.lost.as_ref().map(|lost| lost.code());
        assert_eq!(lost, Some(code), "{name}: {outcome:?}");
        assert_eq!(shown(&outcome), ["<connection_lost>"], "{name}");
        assert_eq!(driver.health().connectivity, Connectivity::Disconnected, "{name}");
    }
}

#[tokio::test]
async fn the_number_of_bits_is_checked() {
    for (answer, value) in [
        (&b"\0\0\0\x04\x01\x01\x01\x01"[..], Some(true)),
        (b"\0\0\0\x03\x01\x01\0", None),
        (b"\0\0\0\x05\x01\x01\x02\x01\0", None),
    ] {
        let config = config(liar(answer).await, TIMEOUT_MS);
        let mut driver = driver_with(config, &[tag("coil:0", "bool")]);
        driver.connect().await.unwrap();
        let outcome = driver.read(&all(1)).await;
        match value {
            Some(value) => assert_eq!(shown(&outcome), [value.to_string()]),
            None => assert_eq!(outcome.lost.unwrap().code(), "protocol_violation", "{answer:?}"),
        }
    }
}

#[tokio::test]
async fn an_exception_code_beyond_the_specification_is_shown() {
    let config = config(liar(b"\0\0\0\x03\x01\x83\x77").await, TIMEOUT_MS);
    let mut driver = driver_with(config, &[tag("holding:0", "uint32")]);
    driver.connect().await.unwrap();
    let outcome = driver.read(&all(1)).await;
    assert_eq!(outcome.lost, None);
    let error = outcome.points[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), "device_error");
    assert_eq!(error.to_string(), "cannot read holding:0..=1 of unit 1: exception code 119");
}

#[tokio::test]
async fn a_write_confirmed_for_another_place_is_not_trusted() {
    let config = config(liar(b"\0\0\0\x06\x01\x06\0\x01\0\x07").await, TIMEOUT_MS);
    let mut driver = driver_with(config, &[writable("holding:0", "uint16")]);
    driver.connect().await.unwrap();
    let written = driver.write(PointId(0), &Datum::Int(7), false).await;
    assert_eq!(written.unwrap_err().code(), "protocol_violation");
}
