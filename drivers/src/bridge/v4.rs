//! The client for MQTT 3.1.1.

use super::RemoteConfig;
use super::link::{
    AnyPublish, Gone, LinkEvent, PACKET_BYTES_MAX, Pump, RemoteMessage, RemoteProperties,
    SendError, Sending, Subscribed, Welcome, io_loss,
};
use crate::config::ConfigError;
use bytes::Bytes;
use futures_util::FutureExt;
use proto::{Qos, TopicName};
use rumqttc_v4::mqttbytes::Error as MqttError;
use rumqttc_v4::{
    AckMode, AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Packet,
    Publish, PublishOptions, QoS, StateError, SubscribeFilter, SubscribeReasonCode,
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
    let bytes_max = PACKET_BYTES_MAX as usize;
    options
        .set_keep_alive(config.keep_alive_secs)
        .set_clean_session(config.clean_start)
        .set_inflight(config.inflight_max)
        .set_max_packet_size(bytes_max, bytes_max)
        .set_max_request_batch(BATCH_MAX)
        .set_ack_mode(AckMode::Manual);
    let mut network = NetworkOptions::new();
    // What follows an acknowledgement would else wait for that of TCP, 40 ms.
    network.set_tcp_nodelay(true);
    if let Some(dialer) = config.dialer()? {
        options.set_socket_connector(move |address, _| dialer.clone().connect(address));
    }
    if let Some(user_name) = &config.user_name {
        let secret = config.secret.clone().unwrap_or_default();
        options.set_credentials(user_name.clone(), secret);
    }
    let (client, mut event_loop) = AsyncClient::builder(options).capacity(capacity).build();
    event_loop.set_network_options(network);
    Ok((client, event_loop))
}

/// Drives the client until its owner is gone.
pub(super) async fn run(client: AsyncClient, mut event_loop: EventLoop, mut pump: Pump) {
    loop {
        let told = match event_loop.poll().await {
            Ok(Event::Incoming(packet)) => act_on(&client, packet, &mut pump).await,
            Ok(Event::Outgoing(_)) => Ok(()),
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
            let session_present = answer.session_present;
            let welcome = Welcome { session_present, packet_bytes_max: None };
            pump.tell(LinkEvent::Connected(welcome)).await?;
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
            pump.received(message, AnyPublish::V4(publish)).await?;
        }
        _ => {}
    }
    Ok(())
}

fn subscribe(client: &AsyncClient, pump: &Pump) {
    if pump.filters.is_empty() {
        return;
    }
    let filter =
        |it: &proto::TopicFilter| SubscribeFilter::new(it.as_str().to_owned(), QoS::AtLeastOnce);
    if let Err(error) = client.try_subscribe_many(pump.filters.iter().map(filter)) {
        tracing::error!(%error, "cannot subscribe at the remote broker");
    }
}

pub(super) fn publish(client: &AsyncClient, message: &RemoteMessage) -> Sending {
    let qos = match message.qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce | Qos::ExactlyOnce => QoS::AtLeastOnce,
    };
    let options = PublishOptions::new(qos).retain(message.retain);
    let topic = message.topic.as_str().to_owned();
    match client.try_publish_tracked(topic, message.payload.clone(), options) {
        Ok(notice) => async move {
            let outcome = notice.wait_async().await;
            outcome.map(drop).map_err(|error| SendError::Again(error.to_string()))
        }
        .boxed(),
        Err(error) => {
            let error = SendError::Again(error.to_string());
            async move { Err(error) }.boxed()
        }
    }
}

fn message(publish: &Publish) -> Option<RemoteMessage> {
    let topic = std::str::from_utf8(&publish.topic).ok()?;
    Some(RemoteMessage {
        topic: TopicName::parse(topic.to_owned()).ok()?,
        payload: Bytes::copy_from_slice(&publish.payload),
        qos: if publish.qos == QoS::AtMostOnce { Qos::AtMostOnce } else { Qos::AtLeastOnce },
        retain: publish.retain,
        properties: RemoteProperties::default(),
    })
}

fn loss(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(MqttError::Io(error)),
        ) => io_loss(error),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            "the remote broker does not answer".to_owned()
        }
        ConnectionError::ConnectionRefused(code) => {
            format!("the remote broker refuses the connection: {code:?}")
        }
        error => format!("the connection ended: {error}"),
    }
}
