//! Several units behind one gateway, on one connection: turns, and a unit that does not answer.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use drivers::modbus::{Framing, ModbusTcpConfig};
use drivers::{Connectivity, Driver, DriverConfig, PointId, Site, TagConfig, open};
use proto::Datum;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The unit that is not there.
const DEAD: u8 = 9;

const TIMEOUT_MS: u32 = 300;

/// A gateway to a serial line: each unit holds its own number in all registers.
#[derive(Clone)]
struct Gateway {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// Requests that came while another one was under way.
    collisions: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
}

impl Gateway {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let count = Arc::<AtomicUsize>::default;
        let gateway = Self {
            address: listener.local_addr().unwrap(),
            connections: count(),
            requests: count(),
            collisions: count(),
            under_way: count(),
        };
        let serving = gateway.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serving.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        gateway
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut frame = [0; 12];
        while stream.read_exact(&mut frame).await.is_ok() {
            self.requests.fetch_add(1, Ordering::Relaxed);
            if self.under_way.fetch_add(1, Ordering::AcqRel) > 0 {
                self.collisions.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.under_way.fetch_sub(1, Ordering::AcqRel);
            let (unit, count) = (frame[6], frame[11]);
            if unit == DEAD {
                continue;
            }
            let mut answer = vec![frame[0], frame[1], 0, 0, 0, 3 + 2 * count, unit, 3, 2 * count];
            (0..count).for_each(|_| answer.extend([0, unit]));
            stream.write_all(&answer).await.unwrap();
        }
    }
}

fn config(gateway: &Gateway, unit_id: u8) -> ModbusTcpConfig {
    let config = ModbusTcpConfig::new(&gateway.address.to_string());
    ModbusTcpConfig { unit_id, shared: true, timeout_ms: TIMEOUT_MS, ..config }
}

fn driver(config: ModbusTcpConfig, site: &Site) -> Box<dyn Driver> {
    let tag = json!({"tag": "t", "path": "x/_raw/t", "address": "holding:0", "type": "uint16"});
    let tag: TagConfig = serde_json::from_value(tag).unwrap();
    open(&DriverConfig::ModbusTcp(config), &[tag], site).ok().unwrap()
}

/// Reads again and again; how often it was right.
async fn reads(mut driver: Box<dyn Driver>, unit: u8) -> usize {
    let mut right = 0;
    driver.connect().await.unwrap();
    for _ in 0..20 {
        let outcome = driver.read(&[PointId(0)]).await;
        match &outcome.points[0].1 {
            Ok(sample) => {
                assert_eq!(sample.value, Datum::Int(unit.into()));
                right += 1;
            }
            Err(_) => driver.connect().await.unwrap(),
        }
    }
    right
}

#[tokio::test]
async fn units_of_one_line_take_turns_on_one_connection() {
    let gateway = Gateway::start().await;
    let site = Site::new("unused");
    let units = [1, 2, 3];
    let reading =
        units.map(|unit| tokio::spawn(reads(driver(config(&gateway, unit), &site), unit)));
    for reading in reading {
        assert_eq!(reading.await.unwrap(), 20);
    }
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    assert_eq!(count(&gateway.requests), 60);
    assert_eq!((count(&gateway.connections), count(&gateway.collisions)), (1, 0));

    let apart = ModbusTcpConfig { shared: false, ..config(&gateway, 1) };
    assert_eq!(reads(driver(apart, &site), 1).await, 20);
    assert_eq!(count(&gateway.connections), 2, "one that does not share has its own");
}

#[tokio::test]
async fn a_unit_that_does_not_answer_costs_the_others_a_moment_and_no_value() {
    let gateway = Gateway::start().await;
    let site = Site::new("unused");
    let mut dead = driver(config(&gateway, DEAD), &site);
    let alive = tokio::spawn(reads(driver(config(&gateway, 2), &site), 2));
    dead.connect().await.unwrap();
    let outcome = dead.read(&[PointId(0)]).await;
    assert_eq!(outcome.lost.unwrap().code(), "timeout");
    assert_eq!(dead.health().connectivity, Connectivity::Disconnected);
    assert_eq!(alive.await.unwrap(), 20);
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    assert_eq!((count(&gateway.connections), count(&gateway.collisions)), (2, 0));
}

#[tokio::test]
async fn a_line_has_one_setting_and_is_not_waited_for_without_end() {
    let gateway = Gateway::start().await;
    let site = Site::new("unused");
    let mut first = driver(config(&gateway, 1), &site);
    first.connect().await.unwrap();
    let other = ModbusTcpConfig { framing: Framing::Rtu, ..config(&gateway, 2) };
    let mut other = driver(other, &site);
    let refused = other.connect().await.unwrap_err();
    assert!(refused.to_string().contains("another framing"), "{refused}");
    // As soon as the last one with the old setting is gone.
    let third = ModbusTcpConfig { framing: Framing::Rtu, ..config(&gateway, 3) };
    let mut third = driver(third, &site);
    drop(other);
    assert!(third.connect().await.is_err());
    drop(first);
    third.connect().await.unwrap();
    drop(third);

    // Ten of its own time-outs, while another one waits longer than that for an answer.
    let slow = ModbusTcpConfig { timeout_ms: 5000, ..config(&gateway, DEAD) };
    let mut slow = driver(slow, &site);
    slow.connect().await.unwrap();
    let holding = tokio::spawn(async move { slow.read(&[PointId(0)]).await.lost.unwrap() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let hasty = ModbusTcpConfig { timeout_ms: 10, ..config(&gateway, 1) };
    let refused = driver(hasty, &site).connect().await.unwrap_err();
    assert_eq!(refused.code(), "timeout", "{refused}");
    holding.abort();
}
