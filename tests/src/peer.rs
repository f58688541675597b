//! A client as applications write it: rumqttc, MQTT 5.0, its own event loop in a task.
//!
//! The other client of the tests, [`crate::wire`], is ours; this one was written by others and would
//! notice if both of ours were wrong in the same way.

use crate::process::PATIENCE;
use bytes::Bytes;
use rumqttc::{
    AsyncClient, BrokerSessionResumePolicy, Event, EventLoop, MqttOptions, Packet, Publish,
    PublishOptions, PublishProperties, QoS,
};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages that wait for the test to read them; more are not read from the socket.
const MESSAGES_MAX: usize = 10_000;

/// Requests that wait for the event loop.
const REQUESTS_MAX: usize = 100;

/// A connected client.
#[derive(Debug)]
pub struct Peer {
    client: AsyncClient,
    messages: mpsc::Receiver<Publish>,
    task: JoinHandle<()>,
    is_session_present: bool,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// Connects with a clean session.
    pub async fn connect(address: SocketAddr, client_id: &str, user: (&str, &str)) -> Self {
        Self::start(options(address, client_id, user)).await
    }

    /// Connects with clean start false and a session expiry of an hour.
    pub async fn resume(address: SocketAddr, client_id: &str, user: (&str, &str)) -> Self {
        let mut options = options(address, client_id, user);
        options.set_clean_start(false).set_session_expiry_interval(Some(3600));
        options.set_broker_session_resume_policy(BrokerSessionResumePolicy::AllowBrokerOnly);
        Self::start(options).await
    }

    async fn start(options: MqttOptions) -> Self {
        let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        let welcome = tokio::time::timeout(PATIENCE, welcome(&mut events)).await;
        let is_session_present = welcome.expect("the broker answers in time");
        let (sender, messages) = mpsc::channel(MESSAGES_MAX);
        let task = tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                let Event::Incoming(Packet::Publish(message)) = event else { continue };
                if sender.send(message).await.is_err() {
                    break;
                }
            }
        });
        Self { client, messages, task, is_session_present }
    }

    /// Whether the session was there before.
    pub fn is_session_present(&self) -> bool {
        self.is_session_present
    }

    /// Subscribes with QoS 1, and waits for the SUBACK.
    pub async fn subscribe(&self, filter: &str) {
        let notice = self.client.subscribe_tracked(filter.to_owned(), QoS::AtLeastOnce).await;
        let notice = notice.expect("the event loop runs").wait_completion_async();
        let outcome = tokio::time::timeout(PATIENCE, notice).await.expect("SUBACK comes in time");
        outcome.unwrap_or_else(|error| panic!("subscribing to {filter} failed: {error}"));
    }

    /// Publishes with QoS 1, and waits for the PUBACK.
    pub async fn publish(&self, topic: &str, payload: &Value) {
        self.publish_with(topic, payload, PublishOptions::at_least_once()).await;
    }

    /// Publishes a request that is answered on `response_topic` with `correlation`.
    pub async fn request(
        &self,
        topic: &str,
        payload: &Value,
        response_topic: &str,
        correlation: &'static str,
    ) {
        let properties = PublishProperties {
            response_topic: Some(response_topic.to_owned()),
            correlation_data: Some(Bytes::from_static(correlation.as_bytes())),
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().properties(properties);
        self.publish_with(topic, payload, options).await;
    }

    async fn publish_with(&self, topic: &str, payload: &Value, options: PublishOptions) {
        let payload = payload.to_string();
        let notice = self.client.publish_tracked(topic.to_owned(), payload, options).await;
        let notice = notice.expect("the event loop runs").wait_completion_async();
        let outcome = tokio::time::timeout(PATIENCE, notice).await.expect("PUBACK comes in time");
        outcome.unwrap_or_else(|error| panic!("publishing to {topic} failed: {error}"));
    }

    /// The next message.
    pub async fn next(&mut self) -> (String, Value) {
        let message = self.next_publish().await;
        (text(&message.topic), json(&message.payload))
    }

    /// The next message, as rumqttc gives it.
    pub async fn next_publish(&mut self) -> Publish {
        let message = tokio::time::timeout(PATIENCE, self.messages.recv()).await;
        message.expect("a message comes in time").expect("the connection lasts")
    }

    /// The first message on `topic` that `is_it` accepts; others are passed over.
    pub async fn wait_for(&mut self, topic: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let wait = async {
            loop {
                let message = self.messages.recv().await.expect("the connection lasts");
                let value = json(&message.payload);
                if text(&message.topic) == topic {
                    if is_it(&value) {
                        return value;
                    }
                    last = value;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(value) => value,
            Err(_) => panic!("{topic} stays at {last}"),
        }
    }

    /// DISCONNECT; the session stays if it was to.
    pub async fn leave(mut self) {
        self.client.disconnect().await.expect("the event loop runs");
        let end = tokio::time::timeout(PATIENCE, &mut self.task).await;
        end.expect("the connection ends in time").expect("the event loop does not panic");
    }
}

fn options(address: SocketAddr, client_id: &str, (user, secret): (&str, &str)) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, (address.ip().to_string(), address.port()));
    options.set_credentials(user.to_owned(), secret.to_owned()).set_clean_start(true);
    options
}

async fn welcome(events: &mut EventLoop) -> bool {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) => return ack.session_present,
            Ok(_) => {}
            Err(error) => panic!("not welcomed: {error}"),
        }
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).expect("a topic is UTF-8")
}

/// The payload; what is no JSON is a string.
fn json(payload: &[u8]) -> Value {
    serde_json::from_slice(payload)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(payload).into_owned()))
}
