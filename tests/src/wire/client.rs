//! A connection: sends any bytes, reads packets within a time limit, acknowledges what it is given.

use super::hello::Hello;
use super::packet::{self, Message, Packet, Version};
use super::web_socket;
use crate::process::PATIENCE;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a connection runs on.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How the broker ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// CONNACK with a refusal, then closed.
    Refused(u8),
    /// DISCONNECT with a reason, then closed.
    Disconnected(u8),
    /// Closed without a word.
    Closed,
    /// Not ended in all the time there was.
    Open,
}

/// See the module.
pub struct Wire {
    stream: Box<dyn Stream>,
    version: Version,
    received: BytesMut,
    /// Packets read while another was looked for.
    passed: VecDeque<Packet>,
    last_id: u16,
    is_session_present: bool,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Wire {
    /// A TCP connection on which nothing has been said.
    pub async fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect(address).await.expect("the broker accepts");
        stream.set_nodelay(true).expect("the socket is open");
        Self::on(Box::new(stream), version)
    }

    /// A WebSocket connection on which nothing has been said.
    pub async fn open_web_socket(address: SocketAddr, version: Version) -> Self {
        let stream = web_socket::open(address).await.expect("the broker upgrades");
        Self::on(Box::new(stream), version)
    }

    /// A TCP connection of a client that was welcomed.
    pub async fn connect(address: SocketAddr, hello: &Hello) -> Self {
        let mut wire = Self::open(address, hello.version).await;
        wire.greet(hello).await;
        wire
    }

    fn on(stream: Box<dyn Stream>, version: Version) -> Self {
        Self {
            stream,
            version,
            received: BytesMut::new(),
            passed: VecDeque::new(),
            last_id: 0,
            is_session_present: false,
        }
    }

    /// Says hello, and is welcomed.
    pub async fn greet(&mut self, hello: &Hello) {
        self.send(&hello.encode()).await;
        match self.next().await {
            Some(Packet::ConnAck { is_session_present, code: 0, .. }) => {
                self.is_session_present = is_session_present;
            }
            other => panic!("{hello:?} is not welcomed: {other:?}"),
        }
    }

    /// Whether the session was there before.
    pub fn is_session_present(&self) -> bool {
        self.is_session_present
    }

    /// Sends bytes. A connection that the broker has closed already takes them, too.
    pub async fn send(&mut self, bytes: &[u8]) {
        let sent = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
        // What the broker thinks of it is read, not guessed from a broken pipe.
        let _ = sent.expect("the broker reads");
        let _ = self.stream.flush().await;
    }

    /// The next packet; `None` once the broker has closed.
    pub async fn next(&mut self) -> Option<Packet> {
        match self.next_within(PATIENCE).await {
            Ok(packet) => packet,
            Err(_) => panic!("the broker says nothing for {PATIENCE:?}"),
        }
    }

    /// The next packet if one comes in time.
    pub async fn next_within(
        &mut self,
        limit: Duration,
    ) -> Result<Option<Packet>, tokio::time::error::Elapsed> {
        if let Some(packet) = self.passed.pop_front() {
            return Ok(Some(packet));
        }
        tokio::time::timeout(limit, self.read()).await
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = packet::decode(self.version, &mut self.received) {
                return Some(packet);
            }
            if !self.receive().await {
                return None;
            }
        }
    }

    /// The next packet as bytes; `None` once the broker has closed.
    pub async fn next_bytes(&mut self) -> Option<Vec<u8>> {
        assert!(self.passed.is_empty(), "a packet has been read before");
        let bytes = async {
            loop {
                if let Some(packet) = packet::cut(&mut self.received) {
                    return Some(packet.to_vec());
                }
                if !self.receive().await {
                    return None;
                }
            }
        };
        tokio::time::timeout(PATIENCE, bytes).await.expect("the broker says something")
    }

    /// Reads more; `false` once the broker has closed.
    async fn receive(&mut self) -> bool {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) | Err(_) => false,
            Ok(_) => true,
        }
    }

    /// The first packet that `choose` takes; others wait.
    async fn find<T>(&mut self, what: &str, choose: impl Fn(&Packet) -> Option<T>) -> T {
        let mut others = VecDeque::new();
        loop {
            let Some(packet) = self.next().await else { panic!("closed before {what}") };
            if let Some(found) = choose(&packet) {
                others.append(&mut self.passed);
                self.passed = others;
                return found;
            }
            others.push_back(packet);
        }
    }

    /// A packet id of its own.
    pub fn new_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// Subscribes, and gives the code of the SUBACK.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let id = self.new_id();
        self.send(&packet::subscribe(self.version, id, filter.as_bytes(), qos)).await;
        self.find("SUBACK", |packet| match packet {
            Packet::SubAck { packet_id, codes } if *packet_id == id => codes.first().copied(),
            _ => None,
        })
        .await
    }

    /// Unsubscribes, and gives the codes of the UNSUBACK, which has none before version 5.
    pub async fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        let id = self.new_id();
        self.send(&packet::unsubscribe(self.version, id, &[filter.as_bytes()])).await;
        self.find("UNSUBACK", |packet| match packet {
            Packet::UnsubAck { packet_id, codes } if *packet_id == id => Some(codes.clone()),
            _ => None,
        })
        .await
    }

    /// Publishes with QoS 0.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.send(&packet::publish(self.version, topic.as_bytes(), payload, 0, 0)).await;
    }

    /// Publishes with QoS 1, and gives the code of the PUBACK.
    pub async fn publish_acked(&mut self, topic: &str, payload: &[u8]) -> u8 {
        self.publish_with(topic, payload, 0b0010).await
    }

    /// Publishes with QoS 2, to the end of the exchange.
    pub async fn publish_exactly(&mut self, topic: &str, payload: &[u8]) {
        let id = self.new_id();
        self.send(&packet::publish(self.version, topic.as_bytes(), payload, 0b0100, id)).await;
        let code = self
            .find("PUBREC", |packet| match packet {
                Packet::PubRec { packet_id, code } if *packet_id == id => Some(*code),
                _ => None,
            })
            .await;
        assert!(code <= 0x10, "a message of QoS 2 is refused: {code:#x}");
        self.send(&packet::pub_rel(id)).await;
        self.find("PUBCOMP", |packet| match packet {
            Packet::PubComp { packet_id, code: 0 } if *packet_id == id => Some(()),
            _ => None,
        })
        .await;
    }

    /// Publishes with QoS 1, retained, and gives the code of the PUBACK.
    pub async fn retain(&mut self, topic: &str, payload: &[u8]) -> u8 {
        self.publish_with(topic, payload, 0b0011).await
    }

    async fn publish_with(&mut self, topic: &str, payload: &[u8], flags: u8) -> u8 {
        let id = self.new_id();
        self.send(&packet::publish(self.version, topic.as_bytes(), payload, flags, id)).await;
        self.find("PUBACK", |packet| match packet {
            Packet::PubAck { packet_id, code } if *packet_id == id => Some(*code),
            _ => None,
        })
        .await
    }

    /// The next message, acknowledged.
    pub async fn next_message(&mut self) -> Message {
        let message = self
            .find("a message", |packet| match packet {
                Packet::Publish(message) => Some(message.clone()),
                _ => None,
            })
            .await;
        self.acknowledge(&message).await;
        message
    }

    /// Messages up to the first on `topic`, which is the last of them.
    pub async fn messages_until(&mut self, topic: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.next_message().await;
            let is_last = message.topic == topic;
            messages.push(message);
            if is_last {
                return messages;
            }
        }
    }

    /// Acknowledges a message to the end, if it asks for that.
    pub async fn acknowledge(&mut self, message: &Message) {
        let id = message.packet_id;
        match message.qos {
            0 => {}
            1 => self.send(&packet::pub_ack(id)).await,
            _ => {
                self.send(&packet::pub_rec(id)).await;
                self.find("PUBREL", |packet| match packet {
                    Packet::PubRel { packet_id, code: 0 } if *packet_id == id => Some(()),
                    _ => None,
                })
                .await;
                self.send(&packet::pub_comp(id)).await;
            }
        }
    }

    /// DISCONNECT, and waits until the broker has closed.
    pub async fn leave(mut self) {
        self.send(&packet::frame(0xE0, &[])).await;
        while self.next().await.is_some() {}
    }

    /// Reads until the broker closes, and says how it did.
    pub async fn ending(&mut self) -> Ending {
        let mut ending = Ending::Closed;
        loop {
            match self.next_within(PATIENCE).await {
                Ok(Some(Packet::ConnAck { code, .. })) if code != 0 => {
                    ending = Ending::Refused(code);
                }
                Ok(Some(Packet::Disconnect { code })) => ending = Ending::Disconnected(code),
                Ok(Some(_)) => {}
                Ok(None) => return ending,
                Err(_) => return Ending::Open,
            }
        }
    }
}
