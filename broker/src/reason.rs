//! Why a request was refused or a connection ended: the reason codes of MQTT 5.0 2.4 that this broker uses.

use std::fmt;

/// A reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 0x00.
    Success,
    /// 0x10, of PUBACK: nobody is subscribed.
    NoMatchingSubscribers,
    /// 0x80.
    UnspecifiedError,
    /// 0x81.
    MalformedPacket,
    /// 0x82.
    ProtocolError,
    /// 0x83.
    ImplementationSpecificError,
    /// 0x84.
    UnsupportedProtocolVersion,
    /// 0x85.
    ClientIdNotValid,
    /// 0x86.
    BadUserNameOrPassword,
    /// 0x87.
    NotAuthorized,
    /// 0x88.
    ServerUnavailable,
    /// 0x89.
    ServerBusy,
    /// 0x8A.
    Banned,
    /// 0x8B.
    ServerShuttingDown,
    /// 0x8C.
    BadAuthenticationMethod,
    /// 0x8D.
    KeepAliveTimeout,
    /// 0x8E.
    SessionTakenOver,
    /// 0x8F.
    TopicFilterInvalid,
    /// 0x90.
    TopicNameInvalid,
    /// 0x92, of PUBREL and PUBCOMP.
    PacketIdNotFound,
    /// 0x93.
    ReceiveMaximumExceeded,
    /// 0x94.
    TopicAliasInvalid,
    /// 0x95.
    PacketTooLarge,
    /// 0x97.
    QuotaExceeded,
    /// 0x98.
    AdministrativeAction,
    /// 0x99.
    PayloadFormatInvalid,
    /// 0x9B.
    QosNotSupported,
    /// 0x9F.
    ConnectionRateExceeded,
    /// 0xA0.
    MaximumConnectTime,
}

impl Reason {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 29] = [
        Self::Success,
        Self::NoMatchingSubscribers,
        Self::UnspecifiedError,
        Self::MalformedPacket,
        Self::ProtocolError,
        Self::ImplementationSpecificError,
        Self::UnsupportedProtocolVersion,
        Self::ClientIdNotValid,
        Self::BadUserNameOrPassword,
        Self::NotAuthorized,
        Self::ServerUnavailable,
        Self::ServerBusy,
        Self::Banned,
        Self::ServerShuttingDown,
        Self::BadAuthenticationMethod,
        Self::KeepAliveTimeout,
        Self::SessionTakenOver,
        Self::TopicFilterInvalid,
        Self::TopicNameInvalid,
        Self::PacketIdNotFound,
        Self::ReceiveMaximumExceeded,
        Self::TopicAliasInvalid,
        Self::PacketTooLarge,
        Self::QuotaExceeded,
        Self::AdministrativeAction,
        Self::PayloadFormatInvalid,
        Self::QosNotSupported,
        Self::ConnectionRateExceeded,
        Self::MaximumConnectTime,
    ];

    /// The code on the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0x00,
            Self::NoMatchingSubscribers => 0x10,
            Self::UnspecifiedError => 0x80,
            Self::MalformedPacket => 0x81,
            Self::ProtocolError => 0x82,
            Self::ImplementationSpecificError => 0x83,
            Self::UnsupportedProtocolVersion => 0x84,
            Self::ClientIdNotValid => 0x85,
            Self::BadUserNameOrPassword => 0x86,
            Self::NotAuthorized => 0x87,
            Self::ServerUnavailable => 0x88,
            Self::ServerBusy => 0x89,
            Self::Banned => 0x8A,
            Self::ServerShuttingDown => 0x8B,
            Self::BadAuthenticationMethod => 0x8C,
            Self::KeepAliveTimeout => 0x8D,
            Self::SessionTakenOver => 0x8E,
            Self::TopicFilterInvalid => 0x8F,
            Self::TopicNameInvalid => 0x90,
            Self::PacketIdNotFound => 0x92,
            Self::ReceiveMaximumExceeded => 0x93,
            Self::TopicAliasInvalid => 0x94,
            Self::PacketTooLarge => 0x95,
            Self::QuotaExceeded => 0x97,
            Self::AdministrativeAction => 0x98,
            Self::PayloadFormatInvalid => 0x99,
            Self::QosNotSupported => 0x9B,
            Self::ConnectionRateExceeded => 0x9F,
            Self::MaximumConnectTime => 0xA0,
        }
    }

    /// Whether it says that something was not done (MQTT 5.0 2.4).
    pub fn is_failure(self) -> bool {
        self.code() >= 0x80
    }

    /// Whether a connection that ends with it ends because its client has broken the protocol.
    pub(crate) fn is_fault_of_client(self) -> bool {
        matches!(
            self,
            Self::MalformedPacket
                | Self::ProtocolError
                | Self::TopicNameInvalid
                | Self::ReceiveMaximumExceeded
                | Self::TopicAliasInvalid
                | Self::PacketTooLarge
        )
    }

    /// Whether an operator may end a connection with it.
    pub fn is_for_operators(self) -> bool {
        matches!(
            self,
            Self::AdministrativeAction
                | Self::NotAuthorized
                | Self::ServerBusy
                | Self::QuotaExceeded
                | Self::ServerShuttingDown
        )
    }

    /// Whether PUBACK and PUBREC can refuse a message with it (MQTT 5.0 3.4.2.1).
    pub(crate) fn is_of_puback(self) -> bool {
        matches!(
            self,
            Self::UnspecifiedError
                | Self::ImplementationSpecificError
                | Self::NotAuthorized
                | Self::TopicNameInvalid
                | Self::QuotaExceeded
                | Self::PayloadFormatInvalid
        )
    }

    /// A stable text for logs and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NoMatchingSubscribers => "no_matching_subscribers",
            Self::UnspecifiedError => "unspecified_error",
            Self::MalformedPacket => "malformed_packet",
            Self::ProtocolError => "protocol_error",
            Self::ImplementationSpecificError => "implementation_specific_error",
            Self::UnsupportedProtocolVersion => "unsupported_protocol_version",
            Self::ClientIdNotValid => "client_id_not_valid",
            Self::BadUserNameOrPassword => "bad_user_name_or_password",
            Self::NotAuthorized => "not_authorized",
            Self::ServerUnavailable => "server_unavailable",
            Self::ServerBusy => "server_busy",
            Self::Banned => "banned",
            Self::ServerShuttingDown => "server_shutting_down",
            Self::BadAuthenticationMethod => "bad_authentication_method",
            Self::KeepAliveTimeout => "keep_alive_timeout",
            Self::SessionTakenOver => "session_taken_over",
            Self::TopicFilterInvalid => "topic_filter_invalid",
            Self::TopicNameInvalid => "topic_name_invalid",
            Self::PacketIdNotFound => "packet_id_not_found",
            Self::ReceiveMaximumExceeded => "receive_maximum_exceeded",
            Self::TopicAliasInvalid => "topic_alias_invalid",
            Self::PacketTooLarge => "packet_too_large",
            Self::QuotaExceeded => "quota_exceeded",
            Self::AdministrativeAction => "administrative_action",
            Self::PayloadFormatInvalid => "payload_format_invalid",
            Self::QosNotSupported => "qos_not_supported",
            Self::ConnectionRateExceeded => "connection_rate_exceeded",
            Self::MaximumConnectTime => "maximum_connect_time",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_in_the_order_of_their_codes() {
        assert!(Reason::ALL.map(Reason::code).is_sorted());
        // The one with the highest code is the last variant: none is left out.
        assert_eq!(Reason::MaximumConnectTime as usize + 1, Reason::ALL.len());
    }
}
