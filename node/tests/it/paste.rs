//! The `mosquitto_*` commands that the demo prints, read back and carried out with an MQTT client
//! of our own, so that the test needs no other program.

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, PublishOptions, QoS};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Long enough for a loaded machine; only a broken demo reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// One printed command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Command {
    host: String,
    port: u16,
    user: String,
    secret: String,
    topic: String,
    message: Option<String>,
}

impl Command {
    /// Reads a line of the page; `None` if it is not such a command.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut words = words(line).into_iter();
        if !words.next()?.starts_with("mosquitto_") {
            return None;
        }
        let mut command = Self::default();
        while let Some(option) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{option} has no value"));
            match option.as_str() {
                "-h" => command.host = value(),
                "-p" => command.port = value().parse().unwrap(),
                "-u" => command.user = value(),
                "-P" => command.secret = value(),
                "-t" => command.topic = value(),
                "-m" => command.message = Some(value()),
                "-q" => assert_eq!(value(), "1"),
                "-v" => {}
                other => panic!("unknown option {other} in {line}"),
            }
        }
        Some(command)
    }

    fn connect(&self) -> (AsyncClient, EventLoop) {
        static CLIENTS: AtomicU32 = AtomicU32::new(0);
        let id = format!("paste-{}", CLIENTS.fetch_add(1, Ordering::Relaxed));
        let mut options = MqttOptions::new(id, (self.host.as_str(), self.port));
        options.set_clean_start(true).set_credentials(self.user.clone(), self.secret.clone());
        AsyncClient::builder(options).capacity(8).build()
    }

    /// `mosquitto_pub`: returns when the message is acknowledged.
    pub(crate) async fn publish(&self) {
        let (client, mut connection) = self.connect();
        let message = self.message.clone().expect("it publishes");
        client.publish(&*self.topic, message, PublishOptions::at_least_once()).await.unwrap();
        let acknowledged = async {
            loop {
                if let Event::Incoming(Packet::PubAck(ack)) = connection.poll().await.unwrap() {
                    return ack;
                }
            }
        };
        let ack = tokio::time::timeout(PATIENCE, acknowledged).await.expect("a PUBACK");
        assert_eq!(ack.reason, rumqttc::PubAckReason::Success, "{self:?}");
    }

    /// `mosquitto_sub`: returns when it is subscribed.
    pub(crate) async fn subscribe(&self) -> Watch {
        let (client, connection) = self.connect();
        client.subscribe(&*self.topic, QoS::AtLeastOnce).await.unwrap();
        let mut watch = Watch { _client: client, connection };
        loop {
            if let Packet::SubAck(_) = watch.packet().await {
                return watch;
            }
        }
    }
}

/// A running `mosquitto_sub`.
pub(crate) struct Watch {
    _client: AsyncClient,
    connection: EventLoop,
}

impl Watch {
    async fn packet(&mut self) -> Packet {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.connection.poll()).await;
            if let Event::Incoming(packet) = event.expect("something arrives").unwrap() {
                return packet;
            }
        }
    }

    /// Waits for a message that fits, whatever comes before it.
    pub(crate) async fn wait_for(
        &mut self,
        topic: &str,
        fits: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let wait = async {
            loop {
                let Packet::Publish(publish) = self.packet().await else { continue };
                let Ok(payload) = serde_json::from_slice(&publish.payload) else { continue };
                if publish.topic == topic.as_bytes() && fits(&payload) {
                    return payload;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("nothing on {topic}"))
    }
}

/// The words of a shell line with single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
