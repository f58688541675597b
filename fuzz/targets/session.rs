//! A whole broker under a script: what a hostile client may send, and good clients that must not notice.
//!
//! The input is a list of actions: which of three connections acts, and what it does: send these bytes, send a
//! CONNECT that is right, hang up, or let time pass. Afterwards a publisher and a subscriber meet on the same
//! broker; if their message does not pass, the input has broken the broker for others.

#![no_main]

use broker::{Anonymous, Broker, BrokerConfig, Limits};
use proto::{Clock, Entropy, Namespace, Role, TimestampMs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

/// Hostile connections of one script.
const CONNECTIONS: usize = 3;

/// Actions of one script; a longer one says nothing new.
const ACTIONS_MAX: usize = 64;

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can be made");
    runtime.block_on(play(script));
});

async fn play(script: &[u8]) {
    let stage = Stage::new();
    let mut wires: [Option<DuplexStream>; CONNECTIONS] = Default::default();
    let mut rest = script;
    for _ in 0..ACTIONS_MAX {
        let Some((action, more)) = rest.split_first() else { break };
        rest = more;
        let index = usize::from(action >> 6) % CONNECTIONS;
        match action & 0x0F {
            // A CONNECT that is right, of 3.1.1 or 5.0, clean or not.
            0..=3 => {
                let mut wire = stage.connect();
                let _ = wire.write_all(&hello(index, action & 1 == 1, action & 2 == 2)).await;
                wires[index] = Some(wire);
            }
            4 => wires[index] = None,
            5 => tokio::time::sleep(Duration::from_secs(u64::from(*action))).await,
            _ => {
                let Some((length, more)) = rest.split_first() else { break };
                let (bytes, more) = more.split_at(usize::from(*length).min(more.len()));
                rest = more;
                let wire = wires[index].get_or_insert_with(|| stage.connect());
                let send = wire.write_all(bytes);
                let _ = tokio::time::timeout(Duration::from_secs(60), send).await;
            }
        }
        settle(&mut wires).await;
    }
    stage.assert_alive().await;
}

/// Lets the broker answer, and takes what it says.
async fn settle(wires: &mut [Option<DuplexStream>; CONNECTIONS]) {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    let mut sink = [0; 4096];
    for wire in wires.iter_mut().flatten() {
        let heard = tokio::time::timeout(Duration::from_millis(1), wire.read(&mut sink));
        let _ = heard.await;
    }
}

/// The broker, and what is around it.
struct Stage {
    broker: Broker,
}

impl Stage {
    fn new() -> Self {
        let outside = Arc::new(Outside(AtomicU64::new(1)));
        let store = Store::in_memory_inline().expect("memory is there");
        let limits = Limits { connect_timeout_ms: 1000, ..Limits::default() };
        let namespace = Namespace::default();
        let anonymous =
            Some(Anonymous { namespace: namespace.clone(), role: Role::App, acl: None });
        let config = BrokerConfig { limits, anonymous, ..BrokerConfig::default() };
        let broker = Broker::open(config, store, outside.clone(), outside).expect("it opens");
        broker.mount(&namespace).expect("an empty namespace is mounted");
        Self { broker }
    }

    fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        let broker = self.broker.clone();
        let address = ([127, 0, 0, 1], 1).into();
        tokio::spawn(async move { broker.serve_visit("stream", theirs, address).await });
        ours
    }

    /// A message passes from one good client to another.
    async fn assert_alive(&self) {
        let mut subscriber = self.connect();
        say(&mut subscriber, &hello(10, true, true), &[0x20]).await;
        say(&mut subscriber, b"\x82\x09\x00\x01\x00\x00\x03ok!\x00", &[0x90]).await;
        let mut publisher = self.connect();
        say(&mut publisher, &hello(11, false, true), &[0x20]).await;
        say(&mut publisher, b"\x32\x08\x00\x03ok!\x00\x01x", &[0x40]).await;
        assert_eq!(next_packet(&mut subscriber).await[0] & 0xF0, 0x30, "it is not delivered");
    }
}

/// Sends a packet; what comes back begins with this byte.
async fn say(wire: &mut DuplexStream, packet: &[u8], answer: &[u8]) {
    wire.write_all(packet).await.expect("a good client is read from");
    let heard = next_packet(wire).await;
    assert_eq!(&heard[..1], answer, "{packet:?} is answered with {heard:?}");
}

/// The next packet, of at most 127 bytes.
async fn next_packet(wire: &mut DuplexStream) -> Vec<u8> {
    let read = async {
        let mut head = [0; 2];
        wire.read_exact(&mut head).await.expect("a good client is not closed");
        let mut packet = vec![0; usize::from(head[1])];
        wire.read_exact(&mut packet).await.expect("a packet is whole");
        [head.to_vec(), packet].concat()
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("a good client is answered")
}

/// CONNECT of a client, persistent unless it is clean.
fn hello(index: usize, is_v5: bool, is_clean: bool) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT".to_vec();
    body.push(if is_v5 { 5 } else { 4 });
    body.extend([u8::from(is_clean) << 1, 0, 60]);
    if is_v5 {
        let expiry_secs = if is_clean { 0 } else { 100 };
        body.extend([5, 0x11, 0, 0, 0, expiry_secs]);
    }
    body.extend([0, 1, b'a' + u8::try_from(index).unwrap_or_default()]);
    let length = u8::try_from(body.len()).expect("it is short");
    [vec![0x10, length], body].concat()
}

/// A clock that moves with tokio's, and chance without any.
struct Outside(AtomicU64);

impl Clock for Outside {
    fn now(&self) -> TimestampMs {
        TimestampMs(1_700_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

impl Entropy for Outside {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes()[0];
        }
    }
}
