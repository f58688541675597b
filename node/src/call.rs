//! One call of a node over MQTT 5, as the command line and the HTTP gateway make it: come in, ask or hand in, leave.
//!
//! A request is asked with Response Topic and Correlation Data. The Response Topic is the client's own reply topic, so
//! any user who may call the admin API may also read the answer. How long all of it may take is the caller's
//! business, and so is what a failure means to people.

use bytes::Bytes;
use proto::id::{AdminWord, RequestId};
use proto::{ClientId, PlatformTopic, Qos, TopicName};
use rumqttc::{
    AsyncClient, ConnAck, ConnectReturnCode, ConnectionError, DisconnectReasonCode, Event,
    EventLoop, MqttOptions, Outgoing, Packet, PubAck, PubAckReason, Publish, PublishOptions,
    PublishProperties, QoS, StateError, SubscribeReasonCode,
};
use std::time::Duration;

/// For the node to close after a farewell.
const FAREWELL: Duration = Duration::from_millis(300);

/// The largest answer taken: a list of the most rows, each of some kilobytes.
const ANSWER_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// What is in a packet at most besides topic, payload and content type: header, reply topic, correlation data.
const PACKET_BYTES: usize = 160;

/// Packets between the caller and the connection; there are two in all.
const CHANNEL_CAPACITY: usize = 4;

/// What a client says of itself at CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// Nothing.
    Nobody,
    /// A user name and its secret.
    User(String, Bytes),
    /// A token, which says whose it is.
    Token(Bytes),
}

/// A request of the admin API.
#[derive(Debug)]
pub(crate) struct Request {
    topic: TopicName,
    body: Bytes,
}

impl Request {
    /// Makes a request; an error says which word cannot be one.
    pub(crate) fn new(resource: &str, verb: &str, body: impl Into<Bytes>) -> Result<Self, String> {
        let word = |text: &str| AdminWord::parse(text).map_err(|e| format!("`{text}`: {e}"));
        let topic =
            PlatformTopic::Admin { resource: word(resource)?, verb: word(verb)?, request_id: None };
        Ok(Self { topic: topic.topic(), body: body.into() })
    }
}

/// A message to hand in.
#[derive(Debug)]
pub(crate) struct Message {
    /// Where to.
    pub(crate) topic: TopicName,
    /// What.
    pub(crate) payload: Bytes,
    /// With which guarantee.
    pub(crate) qos: Qos,
    /// Whether it is kept for later subscribers.
    pub(crate) retain: bool,
    /// What the payload is (MQTT 5.0 3.3.2.3.9).
    pub(crate) content_type: Option<String>,
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The node did not let the client in.
    Refused(ConnectReturnCode),
    /// It did not let it hear its reply topic.
    NoReply(SubscribeReasonCode),
    /// It did not take the message; why, if it says so.
    NotTaken(PubAckReason, Option<String>),
    /// It ended the connection.
    Ended(DisconnectReasonCode),
    /// The message is larger than the node takes.
    TooLarge,
    /// The node is not there, or is gone.
    Unreachable(String),
    /// The client itself is at fault.
    Fault(String),
}

/// A client that asks, or hands something in.
pub(crate) struct Call {
    client: AsyncClient,
    connection: EventLoop,
    reply_topic: TopicName,
    correlation: Bytes,
    /// The largest packet that the node takes; `None` until it has let the client in.
    packet_bytes_max: Option<u32>,
}

impl Call {
    /// A client whose id begins with `kind`; `adapt` says what is special about its connection.
    pub(crate) fn new(
        kind: &str,
        (host, port): (&str, u16),
        login: Login,
        adapt: impl FnOnce(&mut MqttOptions),
    ) -> Result<Self, Lost> {
        let mut random = [0; 12];
        getrandom::fill(&mut random).map_err(fault)?;
        let name = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let client_id = format!("{kind}-{name}");
        let reply_topic = ClientId::parse(&client_id)
            .and_then(|id| Ok((id, RequestId::parse(&name)?)))
            .map_err(fault)
            .and_then(|(id, request_id)| {
                PlatformTopic::reply(&id, &request_id).ok_or_else(|| fault("no reply topic"))
            })?
            .topic();
        let mut options = MqttOptions::new(client_id, (host, port));
        options.set_clean_start(true);
        options.set_max_packet_size(Some(ANSWER_BYTES_MAX));
        match login {
            Login::Nobody => {}
            Login::User(name, secret) => {
                options.set_credentials(name, secret);
            }
            Login::Token(token) => {
                options.set_password(token);
            }
        }
        adapt(&mut options);
        let (client, connection) =
            AsyncClient::builder(options).capacity(CHANNEL_CAPACITY).try_build().map_err(fault)?;
        let correlation = name.into();
        Ok(Self { client, connection, reply_topic, correlation, packet_bytes_max: None })
    }

    /// Asks once, and gives the payload of the answer.
    pub(crate) async fn ask_once(mut self, request: &Request) -> Result<Bytes, Lost> {
        let answer = self.ask(request).await?;
        self.leave().await;
        Ok(answer)
    }

    /// Asks, and gives the payload of the answer. The first time it comes in before.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Bytes, Lost> {
        if self.packet_bytes_max.is_none() {
            self.come_in().await?;
        }
        self.has_room(request.body.len() + request.topic.as_str().len())?;
        self.send(request).await?;
        loop {
            match self.next().await? {
                Event::Incoming(Packet::PubAck(ack)) => check(ack)?,
                Event::Incoming(Packet::Publish(publish)) if self.is_answer(&publish) => {
                    return Ok(publish.payload);
                }
                _ => {}
            }
        }
    }

    /// Connects, and subscribes to the answers.
    async fn come_in(&mut self) -> Result<(), Lost> {
        loop {
            match self.next().await? {
                Event::Incoming(Packet::ConnAck(ack)) => {
                    self.let_in(&ack);
                    self.subscribe().await?;
                }
                Event::Incoming(Packet::SubAck(ack)) => {
                    return match ack.return_codes.first() {
                        Some(SubscribeReasonCode::Success(_)) => Ok(()),
                        Some(code) => Err(Lost::NoReply(*code)),
                        None => Err(fault("an empty SUBACK")),
                    };
                }
                _ => {}
            }
        }
    }

    fn let_in(&mut self, ack: &ConnAck) {
        let max = ack.properties.as_ref().and_then(|it| it.max_packet_size);
        self.packet_bytes_max = Some(max.unwrap_or(u32::MAX));
    }

    /// Whether the node takes a packet with so many bytes of the caller. One that it does not take would end the
    /// connection before its reason is heard.
    fn has_room(&self, bytes: usize) -> Result<(), Lost> {
        let max = self.packet_bytes_max.unwrap_or(u32::MAX);
        let is_taken = u32::try_from(bytes + PACKET_BYTES).is_ok_and(|bytes| bytes <= max);
        if is_taken { Ok(()) } else { Err(Lost::TooLarge) }
    }

    /// Hands a message in. With QoS 1 it has been acknowledged then, with QoS 0 only sent.
    pub(crate) async fn hand_in(&mut self, message: &Message) -> Result<(), Lost> {
        loop {
            match self.next().await? {
                Event::Incoming(Packet::ConnAck(ack)) => {
                    let content_type = message.content_type.as_ref().map_or(0, String::len);
                    let topic = message.topic.as_str().len();
                    self.let_in(&ack);
                    self.has_room(message.payload.len() + topic + content_type)?;
                    self.publish(message).await?;
                }
                Event::Outgoing(Outgoing::Publish(_)) if message.qos == Qos::AtMostOnce => break,
                Event::Incoming(Packet::PubAck(ack)) => {
                    if ack.reason != PubAckReason::NoMatchingSubscribers {
                        check(ack)?;
                    }
                    break;
                }
                _ => {}
            }
        }
        self.leave().await;
        Ok(())
    }

    async fn next(&mut self) -> Result<Event, Lost> {
        self.connection.poll().await.map_err(|error| lost(&error))
    }

    /// DISCONNECT, until the node has closed. What was asked for is done: whether the farewell arrives changes nothing.
    pub(crate) async fn leave(&mut self) {
        let _ = self.client.disconnect_now().await;
        while let Ok(Ok(_)) = tokio::time::timeout(FAREWELL, self.connection.poll()).await {}
    }

    async fn subscribe(&self) -> Result<(), Lost> {
        self.client.subscribe(self.reply_topic.as_str(), QoS::AtLeastOnce).await.map_err(fault)
    }

    async fn send(&self, request: &Request) -> Result<(), Lost> {
        let properties = PublishProperties {
            response_topic: Some(self.reply_topic.as_str().to_owned()),
            correlation_data: Some(self.correlation.clone()),
            content_type: Some("application/json".to_owned()),
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().properties(properties);
        let (topic, body) = (request.topic.as_str(), request.body.clone());
        self.client.publish(topic, body, options).await.map_err(fault)
    }

    async fn publish(&self, message: &Message) -> Result<(), Lost> {
        let properties = PublishProperties {
            content_type: message.content_type.clone(),
            ..PublishProperties::default()
        };
        let options = match message.qos {
            Qos::AtMostOnce => PublishOptions::at_most_once(),
            Qos::AtLeastOnce | Qos::ExactlyOnce => PublishOptions::at_least_once(),
        };
        let options = options.retain(message.retain).properties(properties);
        let (topic, payload) = (message.topic.as_str(), message.payload.clone());
        self.client.publish(topic, payload, options).await.map_err(fault)
    }

    fn is_answer(&self, publish: &Publish) -> bool {
        let data = publish.properties.as_ref().and_then(|it| it.correlation_data.as_ref());
        data == Some(&self.correlation)
    }
}

/// Refused messages get no answer, so their acknowledgement is one.
fn check(ack: PubAck) -> Result<(), Lost> {
    match ack.reason {
        PubAckReason::Success => Ok(()),
        reason => Err(Lost::NotTaken(reason, ack.properties.and_then(|it| it.reason_string))),
    }
}

fn lost(error: &ConnectionError) -> Lost {
    match error {
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => Lost::Refused(*code),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            Lost::Ended(*reason_code)
        }
        ConnectionError::MqttState(StateError::OutgoingPacketTooLarge { .. }) => Lost::TooLarge,
        error => Lost::Unreachable(error.to_string()),
    }
}

fn fault(error: impl std::fmt::Display) -> Lost {
    Lost::Fault(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_to_the_topic_of_the_contract() {
        let request = Request::new("things", "list", "{}").unwrap();
        assert_eq!(request.topic.as_str(), "admin/things/list");
        assert_eq!(request.body, "{}");
        for (resource, verb) in [("things/x", "list"), ("things", "+"), ("", "list")] {
            assert!(Request::new(resource, verb, "{}").is_err());
        }
    }
}
