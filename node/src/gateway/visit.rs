//! The client that asks in the caller's name: MQTT over a stream within the process, through the broker's own door.

use crate::call::{Call, Login, Lost, Message, Request};
use crate::http::From;
use broker::Broker;
use bytes::Bytes;
use proto::{Refusal, RefusalCode};
use rumqttc::{ConnectReturnCode, DisconnectReasonCode, MqttOptions, PubAckReason};
use std::io;
use std::sync::Mutex;
use tokio::io::DuplexStream;

/// What is on its way between the two ends.
const STREAM_BYTES: usize = 16 * 1024;

/// The listener that the broker tells operators of.
const LISTENER: &str = "http";

/// One caller.
pub(super) struct Visit<'a> {
    pub(super) broker: &'a Broker,
    pub(super) from: From,
    pub(super) login: Login,
}

impl Visit<'_> {
    /// Asks the admin API, and gives the payload of its answer.
    pub(super) async fn ask(self, request: &Request) -> Result<Bytes, Refusal> {
        self.call()?.ask_once(request).await.map_err(|lost| refusal(&lost))
    }

    /// Hands a message in.
    pub(super) async fn hand_in(self, message: &Message) -> Result<(), Refusal> {
        self.call()?.hand_in(message).await.map_err(|lost| refusal(&lost))
    }

    fn call(self) -> Result<Call, Refusal> {
        let Self { broker, from: From(address), login } = self;
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        let broker = broker.clone();
        // It ends when our end of the stream is dropped.
        tokio::spawn(async move { broker.serve_visit(LISTENER, theirs, address).await });
        let adapt = |options: &mut MqttOptions| connect(options, ours);
        Call::new("http", (LISTENER, 0), login, adapt).map_err(|lost| refusal(&lost))
    }
}

/// Has the client speak on the stream instead of a socket; it connects once.
fn connect(options: &mut MqttOptions, stream: DuplexStream) {
    let stream = Mutex::new(Some(stream));
    options.set_socket_connector(move |_, _| {
        let stream = stream.lock().ok().and_then(|mut it| it.take());
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
}

/// What it means to the caller that the call came to nothing.
fn refusal(lost: &Lost) -> Refusal {
    use RefusalCode as Code;
    let (code, message) = match lost {
        Lost::Refused(code) => refused(*code),
        Lost::NoReply(_) => (Code::Forbidden, "the caller may not hear an answer"),
        Lost::NotTaken(reason, why) => {
            let (code, message) = not_taken(*reason);
            return Refusal::new(code, why.as_deref().unwrap_or(message));
        }
        Lost::Ended(reason) => ended(*reason),
        Lost::TooLarge => (Code::TooLarge, "the request is larger than limits.packet_bytes_max"),
        Lost::Unreachable(_) => (Code::Unavailable, "the node has no room for it now"),
        Lost::Fault(why) => return Refusal::internal(why),
    };
    Refusal::new(code, message)
}

fn refused(code: ConnectReturnCode) -> (RefusalCode, &'static str) {
    use ConnectReturnCode as Connack;
    match code {
        Connack::BadUserNamePassword | Connack::NotAuthorized => {
            (RefusalCode::Unauthorized, "the credentials are refused")
        }
        Connack::Banned => {
            (RefusalCode::TooManyRequests, "it has failed too often, and has to wait")
        }
        Connack::QuotaExceeded => {
            (RefusalCode::TooManyRequests, "there are too many clients of this namespace")
        }
        Connack::ConnectionRateExceeded => {
            (RefusalCode::TooManyRequests, "too many requests a second of this namespace")
        }
        _ => (RefusalCode::Unavailable, "the node takes nobody now"),
    }
}

fn not_taken(reason: PubAckReason) -> (RefusalCode, &'static str) {
    match reason {
        PubAckReason::NotAuthorized => {
            (RefusalCode::Forbidden, "the caller may not publish on this topic")
        }
        PubAckReason::TopicNameInvalid => (RefusalCode::Invalid, "the topic is refused"),
        PubAckReason::PayloadFormatInvalid => (RefusalCode::Invalid, "the payload is refused"),
        PubAckReason::QuotaExceeded => (RefusalCode::QuotaExceeded, "a quota or the disk is full"),
        _ => (RefusalCode::Unavailable, "it was not taken; nothing has changed"),
    }
}

fn ended(reason: DisconnectReasonCode) -> (RefusalCode, &'static str) {
    use DisconnectReasonCode as Disconnect;
    match reason {
        Disconnect::PacketTooLarge => {
            (RefusalCode::TooLarge, "the request is larger than limits.packet_bytes_max")
        }
        Disconnect::NotAuthorized => (RefusalCode::Forbidden, "the caller may not do this"),
        Disconnect::TopicNameInvalid => (RefusalCode::Invalid, "the topic is refused"),
        Disconnect::QuotaExceeded => (RefusalCode::QuotaExceeded, "a quota or the disk is full"),
        Disconnect::MessageRateTooHigh | Disconnect::ConnectionRateExceeded => {
            (RefusalCode::TooManyRequests, "too many messages a second")
        }
        _ => (RefusalCode::Unavailable, "the node ended the call"),
    }
}
