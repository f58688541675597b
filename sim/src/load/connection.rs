//! A connection to the target up to the point where messages flow, and its read buffer.
//!
//! Every wait has a deadline; a refusal says what was refused. Keep alive is set to its longest, so
//! no run needs pings.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::packet::{self, Credentials, Malformed, Packet};

/// Time for connecting and for each answer before the load starts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes read at once; large enough for hundreds of usual messages.
const READ_BYTES: usize = 64 * 1024;

/// The target could not be reached at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach {address}: {reason}")]
pub struct Unreachable {
    /// The address tried.
    pub address: SocketAddr,
    /// What the system said.
    pub reason: String,
}

/// Where to connect and as whom.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The MQTT/TCP address.
    pub address: SocketAddr,
    /// What CONNECT carries.
    pub credentials: Option<Credentials>,
}

/// Connects and waits for the CONNACK.
pub async fn open(endpoint: &Endpoint, client_id: &str, is_clean: bool) -> Result<TcpStream> {
    let address = endpoint.address;
    let mut stream = match timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(anyhow!(Unreachable { address, reason: error.to_string() }));
        }
        Err(_) => bail!(Unreachable { address, reason: "no answer in time".into() }),
    };
    stream.set_nodelay(true)?;
    let connect = packet::connect(client_id, endpoint.credentials.as_ref(), is_clean);
    stream.write_all(&connect).await?;
    let code = answer(&mut stream, |packet| match packet {
        Packet::ConnAck { code } => Some(code),
        _ => None,
    });
    match code.await.with_context(|| format!("no CONNACK for client {client_id}"))? {
        0 => Ok(stream),
        4 | 5 => bail!("client {client_id} is not authorised (CONNACK): give --user and --secret"),
        code => bail!("client {client_id} was refused with CONNACK code {code}"),
    }
}

/// Subscribes to one filter and waits for the SUBACK.
pub async fn subscribe(stream: &mut TcpStream, filter: &str, qos: u8) -> Result<()> {
    stream.write_all(&packet::subscribe(1, filter, qos)).await?;
    let code = answer(stream, |packet| match packet {
        Packet::SubAck { code } => Some(code),
        _ => None,
    });
    match code.await.with_context(|| format!("no SUBACK for {filter}"))? {
        granted if granted == qos => Ok(()),
        0x80 => bail!("subscription to {filter} was refused"),
        granted => bail!("subscription to {filter} was granted QoS {granted} instead of {qos}"),
    }
}

/// Reads one packet byte by byte, so that nothing of what follows is taken from the socket.
async fn answer(stream: &mut TcpStream, accept: fn(Packet<'_>) -> Option<u8>) -> Result<u8> {
    const ANSWER_BYTES_MAX: usize = 64;
    let read = async {
        let mut bytes = Vec::with_capacity(ANSWER_BYTES_MAX);
        loop {
            bytes.push(stream.read_u8().await?);
            if let Some((packet, _)) = packet::parse(&bytes, ANSWER_BYTES_MAX)? {
                return accept(packet).ok_or_else(|| anyhow!("unexpected {packet:?}"));
            }
        }
    };
    timeout(ANSWER_TIMEOUT, read).await.context("no answer in time")?
}

/// Bytes read from the target and not yet parsed.
#[derive(Debug)]
pub struct ReadBuffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    /// A buffer that can hold packets of `packet_bytes_max`.
    #[must_use]
    pub fn new(packet_bytes_max: usize) -> Self {
        let bytes = vec![0; READ_BYTES.max(2 * packet_bytes_max)].into_boxed_slice();
        Self { bytes, start: 0, end: 0 }
    }

    /// Reads once; `false` means that the target closed the connection.
    pub async fn fill(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let count = reader.read(&mut self.bytes[self.end..]).await?;
        self.end += count;
        Ok(count > 0)
    }

    /// The next complete packet and its length.
    pub fn peek(&self) -> Result<Option<(Packet<'_>, usize)>, Malformed> {
        // Half of the buffer: a packet that began behind others still fits after moving.
        packet::parse(&self.bytes[self.start..self.end], self.bytes.len() / 2)
    }

    /// Drops a packet that was peeked.
    pub fn consume(&mut self, packet_bytes: usize) {
        self.start += packet_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_survive_any_cut_of_the_stream() {
        let message = packet::publish("some/topic", 0, 1000).bytes;
        let stream = message.repeat(300);
        for piece in [1, 7, 999, 4096, 100_000] {
            let mut buffer = ReadBuffer::new(message.len());
            let mut packets = 0;
            for mut part in stream.chunks(piece) {
                while !part.is_empty() {
                    assert!(buffer.fill(&mut part).await.unwrap());
                    while let Some((packet, len)) = buffer.peek().unwrap() {
                        let Packet::Publish { payload, .. } = packet else { panic!("{packet:?}") };
                        assert_eq!(payload.len(), 1000);
                        buffer.consume(len);
                        packets += 1;
                    }
                }
            }
            assert_eq!(packets, 300);
        }
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_seen() {
        let mut buffer = ReadBuffer::new(10);
        assert!(!buffer.fill(&mut &[][..]).await.unwrap());
    }
}
