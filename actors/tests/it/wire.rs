//! A client of MQTT 5.0 on a socket, no larger than these tests need: roles come in over sockets only.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A packet as it comes: its first byte and its body.
pub(crate) struct Packet {
    first: u8,
    body: Vec<u8>,
}

/// A connected client.
pub(crate) struct Wire {
    stream: TcpStream,
    next_id: u16,
    client_id: String,
    /// All that it has been given so far, topic and payload.
    pub(crate) heard: Vec<(String, Vec<u8>)>,
}

impl Wire {
    /// Connects; the reason code of CONNACK if it is refused (MQTT 5.0 3.2.2.2).
    pub(crate) async fn connect(
        address: SocketAddr,
        client_id: &str,
        user: &str,
        password: &str,
    ) -> Result<Self, u8> {
        let stream = TcpStream::connect(address).await.unwrap();
        let client_id_kept = client_id.to_owned();
        let mut wire = Self { stream, next_id: 0, client_id: client_id_kept, heard: Vec::new() };
        // MQTT 5, user name and password and clean start, keep alive 60 s, no properties.
        let mut body = b"\x00\x04MQTT\x05\xC2\x00\x3C\x00".to_vec();
        for field in [client_id, user, password] {
            put(&mut body, field.as_bytes());
        }
        wire.send(0x10, &body).await;
        let ack = wire.receive().await.expect("a CONNACK");
        assert_eq!(ack.first, 0x20);
        match ack.body[1] {
            0 => Ok(wire),
            code => Err(code),
        }
    }

    /// Subscribes at QoS 1; the reason code of SUBACK.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> u8 {
        let mut body = self.next_id().to_be_bytes().to_vec();
        body.push(0);
        put(&mut body, filter.as_bytes());
        body.push(1);
        self.send(0x82, &body).await;
        *self.wait_for(0x90).await.body.last().unwrap()
    }

    /// Publishes at QoS 1; the reason code of PUBACK.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) -> u8 {
        self.publish_as(0x32, topic, payload).await
    }

    /// The same, to be retained.
    pub(crate) async fn retain(&mut self, topic: &str, payload: &str) -> u8 {
        self.publish_as(0x33, topic, payload).await
    }

    async fn publish_as(&mut self, first: u8, topic: &str, payload: &str) -> u8 {
        let mut body = Vec::new();
        put(&mut body, topic.as_bytes());
        body.extend(self.next_id().to_be_bytes());
        body.push(0);
        body.extend(payload.as_bytes());
        self.send(first, &body).await;
        self.wait_for(0x40).await.body.get(2).copied().unwrap_or(0)
    }

    /// An admin request at QoS 0 and its answer; the reply topic has to be subscribed to.
    pub(crate) async fn admin(
        &mut self,
        operation: &str,
        body: &serde_json::Value,
    ) -> serde_json::Value {
        let id = self.next_id();
        let mut packet = Vec::new();
        put(&mut packet, format!("admin/{operation}/{id}").as_bytes());
        packet.push(0);
        packet.extend(body.to_string().as_bytes());
        self.send(0x30, &packet).await;
        let reply = format!("clients/{}/reply/{id}", self.client_id);
        loop {
            let (topic, payload) = self.message().await;
            if topic == reply {
                return serde_json::from_slice(&payload).unwrap();
            }
        }
    }

    /// Subscribes to what answers its admin requests.
    pub(crate) async fn hear_answers(&mut self) {
        let filter = format!("clients/{}/reply/+", self.client_id);
        assert_eq!(self.subscribe(&filter).await, 1, "everybody hears its answers");
    }

    /// The next message, which is acknowledged.
    pub(crate) async fn message(&mut self) -> (String, Vec<u8>) {
        loop {
            let packet = self.receive().await.expect("a message, and not the end");
            if packet.first >> 4 == 3 {
                return self.take_message(&packet).await;
            }
        }
    }

    /// Reads a PUBLISH, and acknowledges it if it asks for that.
    async fn take_message(&mut self, packet: &Packet) -> (String, Vec<u8>) {
        let (topic, rest) = take(&packet.body);
        let topic = String::from_utf8(topic.to_vec()).unwrap();
        let rest = match packet.first & 0b110 {
            0 => rest,
            _ => {
                self.send(0x40, &rest[..2]).await;
                &rest[2..]
            }
        };
        let properties = usize::from(rest[0]);
        assert!(properties < 128, "few properties");
        let message = (topic, rest[1 + properties..].to_vec());
        self.heard.push(message.clone());
        message
    }

    /// The reason code of the DISCONNECT that has to come (MQTT 5.0 3.14.2.1).
    pub(crate) async fn end(&mut self) -> u8 {
        self.wait_for(0xE0).await.body.first().copied().unwrap_or(0)
    }

    async fn wait_for(&mut self, first: u8) -> Packet {
        loop {
            let packet = self.receive().await.expect("an answer, and not the end");
            if packet.first == first {
                return packet;
            }
            assert!(packet.first != 0xE0, "disconnected: {:02x?}", packet.body);
            if packet.first >> 4 == 3 {
                self.take_message(&packet).await;
            }
        }
    }

    fn next_id(&mut self) -> u16 {
        self.next_id += 1;
        self.next_id
    }

    async fn send(&mut self, first: u8, body: &[u8]) {
        let mut packet = vec![first];
        let mut length = body.len();
        while length >= 128 {
            packet.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        packet.push(length as u8);
        packet.extend(body);
        self.stream.write_all(&packet).await.unwrap();
    }

    async fn receive(&mut self) -> Option<Packet> {
        let read = async {
            let first = self.stream.read_u8().await.ok()?;
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let byte = self.stream.read_u8().await.ok()?;
                length |= usize::from(byte & 0x7F) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Packet { first, body })
        };
        timeout(PATIENCE, read).await.expect("something within patience")
    }
}

fn put(out: &mut Vec<u8>, field: &[u8]) {
    out.extend(u16::try_from(field.len()).unwrap().to_be_bytes());
    out.extend(field);
}

fn take(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    bytes[2..].split_at(length)
}
