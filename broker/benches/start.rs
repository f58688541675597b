//! How long a broker takes to start on a store that is full, and what it holds in memory then.
//!
//! `cargo bench -p manifold-broker --bench start` fills a store with 1,000,000 retained messages and 100,000 durable
//! sessions of one subscription each, starts on it in a process of its own, and reads all retained messages with one
//! subscription to `#`. `-- RETAINED SESSIONS` takes other numbers. Figures depend on the machine.

#![expect(clippy::disallowed_methods, reason = "a bench measures the real time")]
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends at the first failure"
)]

use broker::{
    Anonymous, AttachOptions, Broker, BrokerConfig, Limits, ListenerConfig, ListenerKind, Outgoing,
};
use proto::{ClientId, Clock, Entropy, Namespace, Role, TimestampMs, TopicName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use store::{Changes, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Outside;

impl Clock for Outside {
    fn now(&self) -> TimestampMs {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        TimestampMs(since.as_millis() as u64)
    }
}

impl Entropy for Outside {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn main() {
    let numbers: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let [mark, path, retained] = numbers.as_slice()
        && mark == "start"
    {
        return runtime.block_on(start(Path::new(path), retained.parse().unwrap()));
    }
    let number = |place: usize, other| numbers.get(place).map_or(other, |it| it.parse().unwrap());
    let (retained, sessions) = (number(0, 1_000_000), number(1, 100_000));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let began = Instant::now();
    runtime.block_on(fill(&path, retained, sessions));
    println!("filled with {retained} and {sessions} in {:?}", began.elapsed());
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let status = again.arg("start").arg(&path).arg(retained.to_string()).status().unwrap();
    assert!(status.success());
}

fn open(path: &Path) -> (Broker, Store) {
    let limits = Limits { retained_bytes_max: 1 << 40, ..Limits::default() };
    let anonymous = Some(Anonymous { namespace: Namespace::default(), role: Role::App, acl: None });
    let config = BrokerConfig { limits, anonymous, ..BrokerConfig::default() };
    let store = Store::open(path).unwrap();
    let broker = Broker::open(config, store.clone(), Arc::new(Outside), Arc::new(Outside)).unwrap();
    broker.mount(&Namespace::default()).unwrap();
    (broker, store)
}

async fn listen(broker: &Broker) -> SocketAddr {
    let listener = ListenerConfig::tcp("mqtt", ListenerKind::Mqtt, ([127, 0, 0, 1], 0).into());
    broker.listen(listener).await.unwrap().address().unwrap()
}

async fn fill(path: &Path, retained: usize, sessions: usize) {
    let (broker, store) = open(path);
    let name = ClientId::parse("filler").unwrap();
    let options = AttachOptions { window: 1 };
    let (client, _inbox) = broker.attach(&Namespace::default(), name, options).unwrap();
    for first in (0..retained).step_by(2000) {
        let messages = (first..retained.min(first + 2000)).map(|number| {
            let topic = format!("plant/line{}/machine{}/value{number}", number % 50, number % 5000);
            Outgoing::new(TopicName::parse(topic).unwrap(), vec![b'x'; 64]).retained()
        });
        client.publish_durably(Changes::new(), messages.collect()).await.unwrap();
    }
    let address = listen(&broker).await;
    let mut tasks = Vec::new();
    for task in 0..64 {
        tasks.push(tokio::spawn(async move {
            for number in (task..sessions).step_by(64) {
                leave_a_session(address, number).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    broker.drain(Duration::from_secs(30)).await;
    assert_eq!(broker.figures().sessions as usize, sessions + 1);
    store.close().await.unwrap();
}

/// CONNECT with a session of a day, SUBSCRIBE, DISCONNECT.
async fn leave_a_session(address: SocketAddr, number: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&connect(&format!("s{number}"), 86_400)).await.unwrap();
    answer(&mut stream).await;
    stream.write_all(&subscribe(&format!("commands/{number}/#"), 1)).await.unwrap();
    answer(&mut stream).await;
    stream.write_all(&[0xE0, 0]).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
}

fn connect(client_id: &str, expiry_secs: u32) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x05\x02\x00\x3C\x05\x11".to_vec();
    body.extend(expiry_secs.to_be_bytes());
    body.extend((client_id.len() as u16).to_be_bytes());
    body.extend(client_id.as_bytes());
    frame(0x10, &body)
}

fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    body.extend((filter.len() as u16).to_be_bytes());
    body.extend(filter.as_bytes());
    body.push(qos);
    frame(0x82, &body)
}

fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first, body.len() as u8];
    packet.extend(body);
    packet
}

/// Reads one short packet.
async fn answer(stream: &mut TcpStream) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.unwrap();
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body).await.unwrap();
}

async fn start(path: &Path, retained: usize) {
    let began = Instant::now();
    let (broker, _store) = open(path);
    let address = listen(&broker).await;
    println!("ready after {:?}, {} MiB resident", began.elapsed(), resident_mib());
    while (broker.figures().retained as usize) < retained {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("counted after {:?}, {} MiB resident", began.elapsed(), resident_mib());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&connect("reader", 0)).await.unwrap();
    answer(&mut stream).await;
    let began = Instant::now();
    stream.write_all(&subscribe("#", 0)).await.unwrap();
    answer(&mut stream).await;
    let (mut count, mut most, mut buffer, mut chunk) = (0, 0, Vec::new(), vec![0; 64 * 1024]);
    while count < retained {
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "closed after {count}");
        buffer.extend_from_slice(&chunk[..read]);
        let mut at = 0;
        // Every packet here is shorter than 128 bytes.
        while buffer.len() >= at + 2 && buffer.len() >= at + 2 + usize::from(buffer[at + 1]) {
            at += 2 + usize::from(buffer[at + 1]);
            count += 1;
        }
        buffer.drain(..at);
        if count % 4096 < 64 {
            most = most.max(resident_mib());
        }
    }
    println!("`#` read {count} in {:?}, at most {most} MiB resident", began.elapsed());
}

/// Resident memory; 0 where the system does not say.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
