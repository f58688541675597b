//! What a client is told at the end of its connection, besides the reason code (MQTT 5.0 3.14.2.2.3).

use crate::config::Limits;
use crate::denial::{Denial, Limit};
use crate::reason::Reason;

/// Why the broker ends a connection: because somebody has asked for it, or because of what its client has done.
pub(super) fn words(reason: Reason, is_asked_for: bool, limits: &Limits) -> Denial {
    let rule = match reason {
        Reason::PacketTooLarge => {
            return Denial::full(reason, Limit::PacketBytes, limits.packet_bytes_max);
        }
        Reason::ReceiveMaximumExceeded => {
            return Denial::full(reason, Limit::Unreleased, limits.receive_max.into());
        }
        Reason::TopicAliasInvalid => {
            return Denial::full(reason, Limit::TopicAliases, limits.topic_aliases_max.into());
        }
        Reason::SessionTakenOver => "another connection has taken the session over",
        Reason::ServerShuttingDown => "the broker is shutting down, connect again later",
        Reason::MaximumConnectTime => "the proof of who the client is has run out, connect anew",
        Reason::NotAuthorized if is_asked_for => "the client may not be connected any more",
        _ if is_asked_for => "an operator has ended the connection, or changed permissions",
        Reason::KeepAliveTimeout => "nothing was heard for one and a half times the keep alive",
        Reason::MalformedPacket => "a packet is malformed",
        Reason::ProtocolError => "a packet is not allowed here, or says what it may not",
        Reason::TopicNameInvalid => "a topic name is empty or holds a wildcard",
        Reason::BadAuthenticationMethod => {
            "the method is another than before, or cannot be used anew"
        }
        Reason::BadUserNameOrPassword | Reason::NotAuthorized | Reason::Banned => {
            "the client has not proved anew who it is"
        }
        Reason::QuotaExceeded => "the disk is full, or too much waits for it",
        _ => "the broker cannot go on with this connection",
    };
    Denial::rule(reason, rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_asks_for_is_not_said_to_be_the_fault_of_the_client() {
        let limits = Limits::default();
        let said = |reason, is_asked_for| words(reason, is_asked_for, &limits).why.to_string();
        assert!(said(Reason::QuotaExceeded, true).contains("operator"));
        assert!(said(Reason::QuotaExceeded, false).contains("disk"));
        let expected = format!(
            "bytes of a packet: at most {} (limits.packet_bytes_max)",
            limits.packet_bytes_max
        );
        assert_eq!(said(Reason::PacketTooLarge, false), expected);
    }

    #[test]
    fn every_end_is_told_under_its_code() {
        for reason in Reason::ALL.into_iter().filter(|it| it.is_failure()) {
            for is_asked_for in [false, true] {
                let denial = words(reason, is_asked_for, &Limits::default());
                assert_eq!(denial.reason, reason);
                assert!(!denial.why.to_string().is_empty());
            }
        }
    }
}
