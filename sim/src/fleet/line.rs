//! One connection: what is to be sent is gathered and written at once, what comes is acknowledged and handed on.

use std::future::pending;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::load::connection::{Endpoint, ReadBuffer, open, subscribe};
use crate::load::packet::{self, DISCONNECT, Packet};

/// The largest packet that comes: what a table of things is answered with.
const PACKET_BYTES_MAX: usize = 256 * 1024;

/// See the module.
pub(super) struct Line {
    stream: TcpStream,
    buffer: ReadBuffer,
    out: Vec<u8>,
    packet_id: u16,
}

impl Line {
    /// Connects, and subscribes with QoS 1.
    pub(super) async fn open(
        endpoint: &Endpoint,
        client_id: &str,
        filters: &[String],
    ) -> Result<Self> {
        let mut stream = open(endpoint, client_id, true).await?;
        for filter in filters {
            subscribe(&mut stream, filter, 1).await?;
        }
        let buffer = ReadBuffer::new(0);
        Ok(Self { stream, buffer, out: Vec::new(), packet_id: 0 })
    }

    /// Makes room for answers that are as large as those of the admin API may be.
    pub(super) fn with_large_packets(mut self) -> Self {
        self.buffer = ReadBuffer::new(PACKET_BYTES_MAX);
        self
    }

    /// Adds a PUBLISH with QoS 1 to what is to be sent.
    pub(super) fn push(&mut self, topic: &str, payload: &str) {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        let mut template = packet::publish(topic, 1, payload.len());
        if let Some(at) = template.packet_id_at {
            template.bytes[at..at + 2].copy_from_slice(&self.packet_id.to_be_bytes());
        }
        template.bytes[template.payload_at..].copy_from_slice(payload.as_bytes());
        self.out.extend_from_slice(&template.bytes);
    }

    /// Sends what was gathered, and waits until something comes or `until` has passed; each message is acknowledged and
    /// handed to `hear`. Answers how many PUBACKs came.
    pub(super) async fn turn(
        &mut self,
        until: Option<Instant>,
        mut hear: impl FnMut(&[u8]),
    ) -> Result<u64> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await.context("cannot write")?;
            self.out.clear();
        }
        let wait = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        tokio::select! {
            filled = self.buffer.fill(&mut self.stream) => {
                if !filled.context("cannot read")? {
                    bail!("closed by the target");
                }
            }
            () = wait => return Ok(0),
        }
        let mut acknowledged = 0;
        while let Some((packet, packet_bytes)) = self.buffer.peek()? {
            match packet {
                Packet::PubAck => acknowledged += 1,
                Packet::Publish { packet_id, payload } => {
                    hear(payload);
                    if let Some(packet_id) = packet_id {
                        self.out.extend_from_slice(&packet::puback(packet_id));
                    }
                }
                _ => {}
            }
            self.buffer.consume(packet_bytes);
        }
        Ok(acknowledged)
    }

    /// DISCONNECT.
    pub(super) async fn leave(mut self) -> Result<()> {
        self.out.extend_from_slice(&DISCONNECT);
        self.stream.write_all(&self.out).await.context("cannot write")
    }
}
