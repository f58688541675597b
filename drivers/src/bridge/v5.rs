//! The client for MQTT 5.0.

use super::RemoteConfig;
use super::link::{
    AnyPublish, Gone, LinkEvent, PACKET_BYTES_MAX, Pump, RemoteMessage, RemoteProperties,
    SendError, Sending, Subscribed, Welcome, io_loss,
};
use crate::config::ConfigError;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proto::{Qos, TopicName};
use rumqttc::mqttbytes::Error as MqttError;
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event, EventLoop, IncomingPacketSizeLimit, MqttOptions,
    NetworkOptions, Packet, PersistedAckMode, PersistedSession, PubAckReason, Publish,
    PublishNoticeError, PublishOptions, PublishProperties, PublishResult, QoS, RetainForwardRule,
    SessionStore, SessionStoreError, SessionStoreKey, StateError, SubscribeFilterInput,
    SubscribeReasonCode,
};

/// Requests that are written with one flush.
const BATCH_MAX: usize = 64;

pub(super) fn client(
    config: &RemoteConfig,
    capacity: usize,
) -> Result<(AsyncClient, EventLoop), ConfigError> {
    let address = config.address()?;
    let mut options =
        MqttOptions::new(config.client_id.clone(), (address.host.clone(), address.port));
    options
        .set_keep_alive(config.keep_alive_secs)
        .set_clean_start(config.clean_start)
        .set_session_expiry_interval(Some(config.session_expiry_secs))
        .set_receive_maximum(Some(config.inflight_max))
        .set_outgoing_inflight_upper_limit(config.inflight_max)
        .set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(PACKET_BYTES_MAX))
        .set_max_request_batch(BATCH_MAX)
        .set_ack_mode(AckMode::Manual);
    let mut network = NetworkOptions::new();
    // What follows an acknowledgement would else wait for that of TCP, 40 ms.
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    if let Some(dialer) = config.dialer()? {
        options.set_socket_connector(move |address, _| dialer.clone().connect(address));
    }
    if let Some(user_name) = &config.user_name {
        let secret = config.secret.clone().unwrap_or_default();
        options.set_credentials(user_name.clone(), secret);
    }
    if !config.clean_start {
        options.set_session_store(NothingInFlight::of(config));
    }
    Ok(AsyncClient::builder(options).capacity(capacity).build())
}

/// Drives the client until its owner is gone.
pub(super) async fn run(client: AsyncClient, mut event_loop: EventLoop, mut pump: Pump) {
    loop {
        let told = match event_loop.poll().await {
            Ok(Event::Incoming(packet)) => {
                if matches!(packet, Packet::ConnAck(_)) {
                    // From here on the client itself knows what is in flight.
                    event_loop.options.clear_session_store();
                }
                act_on(&client, packet, &mut pump).await
            }
            Ok(_) => Ok(()),
            Err(ConnectionError::RequestsDone) => return,
            Err(error) => pump.lost(loss(&error)).await,
        };
        if told.is_err() {
            return;
        }
    }
}

async fn act_on(client: &AsyncClient, packet: Packet, pump: &mut Pump) -> Result<(), Gone> {
    match packet {
        Packet::ConnAck(answer) => {
            pump.connected();
            let packet_bytes_max = answer.properties.and_then(|it| it.max_packet_size);
            let session_present = answer.session_present;
            pump.tell(LinkEvent::Connected(Welcome { session_present, packet_bytes_max })).await?;
            subscribe(client, pump);
        }
        Packet::SubAck(answer) => {
            let granted =
                |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
            let refused = pump.refused(answer.return_codes.iter().map(granted));
            pump.tell(LinkEvent::Subscribed(Subscribed { refused })).await?;
        }
        Packet::Publish(publish) => {
            let message = message(&publish);
            pump.received(message, AnyPublish::V5(publish)).await?;
        }
        _ => {}
    }
    Ok(())
}

fn subscribe(client: &AsyncClient, pump: &Pump) {
    if pump.filters.is_empty() {
        return;
    }
    let filters: Vec<_> = pump
        .filters
        .iter()
        .map(|filter| {
            SubscribeFilterInput::new(filter.as_str(), QoS::AtLeastOnce)
                // What the bridge has brought there does not come back, and a flag set there is set here.
                .no_local(true)
                .preserve_retain(pump.keeps_retain)
                .retain_forward_rule(RetainForwardRule::OnNewSubscribe)
        })
        .collect();
    if let Err(error) = client.try_subscribe_many(filters) {
        tracing::error!(%error, "cannot subscribe at the remote broker");
    }
}

pub(super) fn publish(client: &AsyncClient, message: &RemoteMessage) -> Sending {
    let qos = match message.qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce | Qos::ExactlyOnce => QoS::AtLeastOnce,
    };
    let mut options = PublishOptions::new(qos).retain(message.retain);
    if message.properties != RemoteProperties::default() {
        options = options.properties(properties_to(&message.properties));
    }
    let topic = message.topic.as_str().to_owned();
    match client.try_publish_tracked(topic, message.payload.clone(), options) {
        Ok(notice) => async move { outcome(notice.wait_async().await) }.boxed(),
        Err(error) => {
            let error = SendError::Again(error.to_string());
            async move { Err(error) }.boxed()
        }
    }
}

fn outcome(result: Result<PublishResult, PublishNoticeError>) -> Result<(), SendError> {
    let refused = |reason: &dyn std::fmt::Debug| {
        SendError::Refused(format!("the remote broker refuses the message: {reason:?}"))
    };
    match result {
        Ok(PublishResult::Qos1(ack)) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
            // A passing state of the broker, not a property of the message.
            PubAckReason::UnspecifiedError
            | PubAckReason::ImplementationSpecificError
            | PubAckReason::PacketIdentifierInUse
            | PubAckReason::QuotaExceeded => {
                Err(SendError::Again(format!("the remote broker cannot take it: {:?}", ack.reason)))
            }
            reason => Err(refused(&reason)),
        },
        Ok(_) => Ok(()),
        Err(error @ PublishNoticeError::RetainNotSupported) => Err(refused(&error)),
        Err(error) => Err(SendError::Again(error.to_string())),
    }
}

fn message(publish: &Publish) -> Option<RemoteMessage> {
    let topic = std::str::from_utf8(&publish.topic).ok()?;
    Some(RemoteMessage {
        topic: TopicName::parse(topic.to_owned()).ok()?,
        payload: Bytes::copy_from_slice(&publish.payload),
        qos: if publish.qos == QoS::AtMostOnce { Qos::AtMostOnce } else { Qos::AtLeastOnce },
        retain: publish.retain,
        properties: publish.properties.clone().map(properties_from).unwrap_or_default(),
    })
}

fn properties_to(it: &RemoteProperties) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: it.is_utf8_payload.then_some(1),
        message_expiry_interval: it.expiry_secs,
        topic_alias: None,
        response_topic: it.response_topic.clone(),
        correlation_data: it.correlation_data.clone(),
        user_properties: it.user_properties.clone(),
        subscription_identifiers: Vec::new(),
        content_type: it.content_type.clone(),
    }
}

fn properties_from(it: PublishProperties) -> RemoteProperties {
    RemoteProperties {
        is_utf8_payload: it.payload_format_indicator == Some(1),
        expiry_secs: it.message_expiry_interval,
        content_type: it.content_type,
        response_topic: it.response_topic,
        correlation_data: it.correlation_data.map(|data| Bytes::copy_from_slice(&data)),
        user_properties: it.user_properties,
    }
}

fn loss(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(MqttError::Io(error)),
        ) => io_loss(error),
        ConnectionError::Timeout(_) => "the remote broker does not answer".to_owned(),
        ConnectionError::ConnectionRefused(code) => {
            format!("the remote broker refuses the connection: {code:?}")
        }
        error => format!("the connection ended: {error}"),
    }
}

/// Tells the client at its start that it knows its session and that nothing is in flight. True, since the owner of
/// the link sends again what was; without it the client would not go on with a session that the broker remembers.
#[derive(Debug)]
struct NothingInFlight(PersistedSession);

impl NothingInFlight {
    fn of(config: &RemoteConfig) -> Self {
        Self(PersistedSession {
            format_version: 1,
            client_id: config.client_id.clone(),
            clean_start: config.clean_start,
            session_expiry_interval: Some(config.session_expiry_secs),
            outgoing_inflight_upper_limit: Some(config.inflight_max),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        })
    }
}

type Stored<'a, T> = BoxFuture<'a, Result<T, SessionStoreError>>;

impl SessionStore for NothingInFlight {
    fn load<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        Box::pin(async { Ok(Some(self.0.clone())) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
