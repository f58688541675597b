//! A proxy of MQTT over TCP that a test can make misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a proxy does with what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Hands it on.
    Passing,
    /// Hands it on after so many milliseconds.
    Slow(u64),
    /// Hands on what the client says, and swallows the answers: what arrives is sent again.
    Deaf,
    /// Holds everything, and lets the connections be.
    Stalled,
    /// Hands on each PUBLISH of the client and each answer to one twice, as if a packet had been sent again.
    Doubling,
    /// Ends every connection.
    Cut,
}

/// See the module.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mood: Arc<watch::Sender<Mood>>,
}

impl Proxy {
    /// One that leads to `to`, and passes everything.
    pub async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let mood = Arc::new(watch::Sender::new(Mood::Passing));
        let moods = Arc::clone(&mood);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(to).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(carry(from_client, to_server, moods.subscribe(), false));
                tokio::spawn(carry(from_server, to_client, moods.subscribe(), true));
            }
        });
        Self { address, mood }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Is in this mood from now on.
    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

/// Carries one direction until either end is gone, or the mood ends it. Whole packets at a time, so that any of them
/// can be doubled.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut moods: watch::Receiver<Mood>,
    is_answer: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut packets = Packets::default();
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = moods.wait_for(|mood| *mood == Mood::Cut) => return,
        };
        let Ok(length @ 1..) = read else { return };
        packets.arrived.extend_from_slice(&buffer[..length]);
        let Ok(mood) = moods.wait_for(|mood| *mood != Mood::Stalled).await.map(|it| *it) else {
            return;
        };
        match mood {
            Mood::Cut => return,
            Mood::Deaf if is_answer => {
                packets.arrived.clear();
                continue;
            }
            Mood::Slow(delay_ms) => tokio::time::sleep(Duration::from_millis(delay_ms)).await,
            _ => {}
        }
        let whole = packets.take(mood == Mood::Doubling);
        if to.write_all(&whole).await.is_err() {
            return;
        }
    }
}

/// MQTT packets as they arrive.
#[derive(Default)]
struct Packets {
    arrived: Vec<u8>,
}

impl Packets {
    /// The whole ones; twice those that may come again.
    fn take(&mut self, is_doubling: bool) -> Vec<u8> {
        let mut whole = Vec::new();
        let mut at = 0;
        while let Some(length) = packet_length(&self.arrived[at..]) {
            let packet = &self.arrived[at..at + length];
            whole.extend_from_slice(packet);
            // PUBLISH and PUBACK (MQTT 5.0 2.1.2).
            if is_doubling && matches!(packet[0] >> 4, 3 | 4) {
                whole.extend_from_slice(packet);
            }
            at += length;
        }
        self.arrived.drain(..at);
        whole
    }
}

/// How long the first packet is; `None` while it is not whole (MQTT 5.0 1.5.5).
fn packet_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = 0;
    for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
        rest |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let length = 2 + place + rest;
            return (bytes.len() >= length).then_some(length);
        }
    }
    None
}
