//! The topics of the broker's own figures, below `$SYS/broker/`, under the names that other brokers have made known.

use super::written;
use crate::topic::TopicName;

const ROOT: &str = "$SYS/";

/// A figure of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the topics say what they are")]
pub enum SysFigure {
    Version,
    Uptime,
    ClientsConnected,
    ClientsDisconnected,
    ClientsTotal,
    ConnectionsTotal,
    ConnectionsRefused,
    Subscriptions,
    SharedSubscriptions,
    RetainedMessages,
    RetainedBytes,
    MessagesReceived,
    MessagesSent,
    PublishReceived,
    PublishSent,
    PublishDropped,
    PublishExpired,
    PublishRefused,
    MemoryInUse,
    MemoryWatermark,
    MemoryShort,
    StoreWritten,
    BytesReceived,
    BytesSent,
}

impl SysFigure {
    /// Its topic.
    pub fn topic(self) -> TopicName {
        let name = match self {
            Self::Version => "version",
            Self::Uptime => "uptime",
            Self::ClientsConnected => "clients/connected",
            Self::ClientsDisconnected => "clients/disconnected",
            Self::ClientsTotal => "clients/total",
            Self::ConnectionsTotal => "connections/total",
            Self::ConnectionsRefused => "connections/refused",
            Self::Subscriptions => "subscriptions/count",
            Self::SharedSubscriptions => "shared_subscriptions/count",
            Self::RetainedMessages => "retained messages/count",
            Self::RetainedBytes => "retained messages/bytes",
            Self::MessagesReceived => "messages/received",
            Self::MessagesSent => "messages/sent",
            Self::PublishReceived => "publish/messages/received",
            Self::PublishSent => "publish/messages/sent",
            Self::PublishDropped => "publish/messages/dropped",
            Self::PublishExpired => "publish/messages/expired",
            Self::PublishRefused => "publish/messages/refused",
            Self::MemoryInUse => "memory/in use",
            Self::MemoryWatermark => "memory/watermark",
            Self::MemoryShort => "memory/short",
            Self::StoreWritten => "store/messages/written",
            Self::BytesReceived => "bytes/received",
            Self::BytesSent => "bytes/sent",
        };
        written(format!("{ROOT}broker/{name}"))
    }
}

/// Whether a topic is the broker's own.
pub fn is_sys(topic: &TopicName) -> bool {
    topic.as_str().starts_with(ROOT)
}
