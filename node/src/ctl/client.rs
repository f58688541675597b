//! One request to a node and its answer, over MQTT 5 with Response Topic and Correlation Data.
//!
//! The Response Topic is the client's own reply topic, so any user who may call the admin API may
//! also read the answer. Everything together has one deadline. A node that cannot be reached, or
//! does not answer in time, is told apart from one that refuses.

use super::tls::Tls;
use super::url::NodeUrl;
use crate::outcome::Failure;
use bytes::Bytes;
use proto::admin::Reply;
use proto::id::AdminWord;
use proto::id::RequestId;
use proto::{ClientId, PlatformTopic, Refusal, TopicName};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet, PubAck,
    PubAckReason, Publish, PublishOptions, PublishProperties, QoS, StateError, SubscribeReasonCode,
};
use serde_json::{Map, Value};
use std::time::Duration;

/// Connection, request and answer together.
const DEADLINE: Duration = Duration::from_secs(10);

/// For the node to close after a farewell.
const FAREWELL: Duration = Duration::from_millis(300);

/// The largest answer taken: a list of the most rows, each of some kilobytes.
const ANSWER_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Requests between the caller and the connection; there are two in all.
const CHANNEL_CAPACITY: usize = 4;

/// A request of the admin API.
#[derive(Debug)]
pub(crate) struct Request {
    topic: TopicName,
    body: Bytes,
}

impl Request {
    /// Makes a request; an error says which word cannot be one.
    pub(crate) fn new(
        resource: &str,
        verb: &str,
        body: Map<String, Value>,
    ) -> Result<Self, String> {
        let word = |text: &str| AdminWord::parse(text).map_err(|e| format!("`{text}`: {e}"));
        let topic =
            PlatformTopic::Admin { resource: word(resource)?, verb: word(verb)?, request_id: None };
        Ok(Self { topic: topic.topic(), body: Value::Object(body).to_string().into() })
    }
}

/// What a client says at CONNECT.
#[derive(Debug)]
pub(crate) struct Credentials {
    user: String,
    secret: String,
}

impl Credentials {
    /// Those of the command line: none at all, or a user (`admin` unless named) and its secret.
    pub(crate) fn from_args(user: Option<&str>, secret: Option<&str>) -> Option<Self> {
        if user.is_none() && secret.is_none() {
            return None;
        }
        Some(Self {
            user: user.unwrap_or("admin").to_owned(),
            secret: secret.unwrap_or_default().to_owned(),
        })
    }
}

/// The outcome of a call that reached the node.
pub(crate) type Answer = Result<Value, Refusal>;

/// Sends a request and waits for its answer.
pub(crate) async fn call(
    url: &NodeUrl,
    tls: Option<Tls>,
    credentials: Option<Credentials>,
    request: &Request,
) -> Result<Answer, Failure> {
    let mut call = Call::new(url, tls, credentials)?;
    in_time(url, call.run(request)).await?
}

/// A connection for several requests, one after the other.
pub(crate) struct Line<'a>(Call<'a>);

impl<'a> Line<'a> {
    /// Connects.
    pub(crate) async fn open(
        url: &'a NodeUrl,
        tls: Option<Tls>,
        credentials: Option<Credentials>,
    ) -> Result<Self, Failure> {
        let mut call = Call::new(url, tls, credentials)?;
        in_time(url, call.connect()).await??;
        Ok(Self(call))
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let url = self.0.url;
        in_time(url, self.0.ask(request)).await?
    }

    /// Says farewell.
    pub(crate) async fn close(mut self) {
        self.0.leave().await;
    }
}

async fn in_time<T>(url: &NodeUrl, work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(DEADLINE, work).await.map_err(|_| {
        Failure::Unreachable(format!("no answer from {url} within {} s", DEADLINE.as_secs()))
    })
}

struct Call<'a> {
    url: &'a NodeUrl,
    client: AsyncClient,
    connection: EventLoop,
    reply_topic: TopicName,
    correlation: Bytes,
}

impl<'a> Call<'a> {
    fn new(
        url: &'a NodeUrl,
        tls: Option<Tls>,
        credentials: Option<Credentials>,
    ) -> Result<Self, Failure> {
        let mut random = [0; 12];
        getrandom::fill(&mut random).map_err(Failure::failed)?;
        let name = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let client_id = format!("ctl-{name}");
        let reply_topic = ClientId::parse(&client_id)
            .and_then(|id| Ok((id, RequestId::parse(&name)?)))
            .map_err(Failure::failed)
            .and_then(|(id, request_id)| {
                PlatformTopic::reply(&id, &request_id)
                    .ok_or_else(|| Failure::failed("no reply topic"))
            })?
            .topic();
        let mut options = MqttOptions::new(client_id, (url.host.as_str(), url.port));
        options.set_clean_start(true);
        options.set_connect_timeout(DEADLINE);
        options.set_max_packet_size(Some(ANSWER_BYTES_MAX));
        if let Some(Credentials { user, secret }) = credentials {
            options.set_credentials(user, secret);
        }
        if let Some(Tls { connector, name }) = tls {
            options.set_socket_connector(move |host, network| {
                let (connector, name) = (connector.clone(), name.clone());
                async move {
                    let socket = rumqttc::default_socket_connect(host, network).await?;
                    connector.connect(name, socket).await
                }
            });
        }
        let (client, connection) = AsyncClient::builder(options)
            .capacity(CHANNEL_CAPACITY)
            .try_build()
            .map_err(Failure::failed)?;
        Ok(Self { url, client, connection, reply_topic, correlation: name.into() })
    }

    async fn run(&mut self, request: &Request) -> Result<Answer, Failure> {
        self.connect().await?;
        let answer = self.ask(request).await?;
        self.leave().await;
        Ok(answer)
    }

    /// Connects, and subscribes to the answers.
    async fn connect(&mut self) -> Result<(), Failure> {
        loop {
            match self.connection.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => self.subscribe().await?,
                Ok(Event::Incoming(Packet::SubAck(ack))) => match ack.return_codes.first() {
                    Some(SubscribeReasonCode::Success(_)) => return Ok(()),
                    code => {
                        return Err(Failure::failed(format_args!(
                            "forbidden: the node refused the reply topic ({code:?})"
                        )));
                    }
                },
                Ok(_) => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    /// Asks, one request after the other.
    async fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        self.publish(request).await?;
        loop {
            match self.connection.poll().await {
                Ok(Event::Incoming(Packet::PubAck(ack))) => check_ack(&ack)?,
                Ok(Event::Incoming(Packet::Publish(publish))) if self.is_answer(&publish) => {
                    return read_answer(&publish.payload);
                }
                Ok(_) => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    /// DISCONNECT, until the node has closed. The answer is here: whether the farewell arrives changes nothing.
    async fn leave(&mut self) {
        let _ = self.client.disconnect_now().await;
        while let Ok(Ok(_)) = tokio::time::timeout(FAREWELL, self.connection.poll()).await {}
    }

    async fn subscribe(&self) -> Result<(), Failure> {
        let topic = self.reply_topic.as_str();
        self.client.subscribe(topic, QoS::AtLeastOnce).await.map_err(Failure::failed)
    }

    async fn publish(&self, request: &Request) -> Result<(), Failure> {
        let properties = PublishProperties {
            response_topic: Some(self.reply_topic.as_str().to_owned()),
            correlation_data: Some(self.correlation.clone()),
            content_type: Some("application/json".to_owned()),
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().properties(properties);
        self.client
            .publish(request.topic.as_str(), request.body.clone(), options)
            .await
            .map_err(Failure::failed)
    }

    fn is_answer(&self, publish: &Publish) -> bool {
        let data = publish.properties.as_ref().and_then(|it| it.correlation_data.as_ref());
        data == Some(&self.correlation)
    }

    fn lost(&self, error: &ConnectionError) -> Failure {
        let url = self.url;
        match error {
            ConnectionError::ConnectionRefused(code)
            | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => match code {
                ConnectReturnCode::BadUserNamePassword
                | ConnectReturnCode::NotAuthorized
                | ConnectReturnCode::Banned => Failure::failed(format_args!(
                    "unauthorized: {url} refused the credentials; give --user and --secret, or \
                     MANIFOLD_USER and MANIFOLD_SECRET"
                )),
                code => Failure::failed(format_args!("{url} refused the connection: {code:?}")),
            },
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
                Failure::failed(format_args!("{url} ended the connection: {reason_code:?}"))
            }
            error => Failure::Unreachable(format!("cannot reach {url}: {error}")),
        }
    }
}

/// Refused publications get no answer, so their acknowledgement is one.
fn check_ack(ack: &PubAck) -> Result<(), Failure> {
    match ack.reason {
        PubAckReason::Success => Ok(()),
        PubAckReason::NotAuthorized => {
            Err(Failure::failed("forbidden: this user may not call the admin API"))
        }
        PubAckReason::NoMatchingSubscribers => {
            Err(Failure::failed("unavailable: the node does not serve the admin API here"))
        }
        reason => Err(Failure::failed(format_args!("the node refused the request: {reason:?}"))),
    }
}

fn read_answer(payload: &[u8]) -> Result<Answer, Failure> {
    serde_json::from_slice::<Reply>(payload)
        .map(Reply::into_outcome)
        .map_err(|error| Failure::failed(format_args!("the answer is not understood: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_to_the_topic_of_the_contract() {
        let request = Request::new("things", "list", Map::new()).unwrap();
        assert_eq!(request.topic.as_str(), "admin/things/list");
        assert_eq!(request.body, "{}");
        for (resource, verb) in [("things/x", "list"), ("things", "+"), ("", "list")] {
            assert!(Request::new(resource, verb, Map::new()).is_err());
        }
    }

    #[test]
    fn a_secret_alone_is_that_of_admin() {
        assert!(Credentials::from_args(None, None).is_none());
        assert_eq!(Credentials::from_args(None, Some("s")).unwrap().user, "admin");
        assert_eq!(Credentials::from_args(Some("u"), None).unwrap().secret, "");
    }

    #[test]
    fn answers_are_told_apart() {
        assert!(read_answer(br#"{"ok":true,"data":[1]}"#).unwrap().is_ok());
        let refused = br#"{"ok":false,"error":{"code":"not_found","message":"m"}}"#;
        assert!(read_answer(refused).unwrap().is_err());
        assert_eq!(read_answer(b"hello").unwrap_err().code(), 1);
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url = NodeUrl { host: "127.0.0.1".to_owned(), port, is_tls: false };
        let request = Request::new("things", "list", Map::new()).unwrap();
        let failure = call(&url, None, None, &request).await.unwrap_err();
        assert_eq!(failure.code(), 3, "{}", failure.reason());
    }
}
