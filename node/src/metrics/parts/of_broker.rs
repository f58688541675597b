//! The public names of what the broker counts.

use super::{Figure, counter, gauge, seconds};

/// The MQTT broker.
pub(in crate::metrics) fn broker(is: &broker::Figures) -> Vec<Figure> {
    let mut all = listeners(is);
    all.extend(admission(is));
    all.extend(traffic(is));
    all.extend(overload(is));
    all.extend(holdings(is));
    all
}

/// Why connections have ended and CONNECTs been refused.
pub(in crate::metrics) fn endings(is: &broker::Endings) -> Vec<Figure> {
    let ended = |(reason, count): &(&'static str, u64)| {
        let help = "Connections that have ended.";
        counter("broker_connections_ended", help, *count).because(reason)
    };
    let refused = |(reason, count): &(&'static str, u64)| {
        let help = "CONNECTs refused, by the reason given.";
        counter("broker_connects_refused", help, *count).because(reason)
    };
    is.ended.iter().map(ended).chain(is.refused.iter().map(refused)).collect()
}

/// Sockets, up to their CONNECT.
fn listeners(is: &broker::Figures) -> Vec<Figure> {
    vec![
        gauge("broker_connections", "MQTT connections now.", is.connections),
        counter("broker_connections_accepted", "Sockets accepted.", is.connections_total),
        counter(
            "broker_connections_refused",
            "Sockets and CONNECTs refused.",
            is.connections_refused,
        ),
        gauge("broker_handshakes", "Sockets that wait for their CONNACK.", is.handshakes),
        counter("broker_accept_errors", "Times a socket could not be accepted.", is.accept_errors),
        counter(
            "broker_connections_over_rate",
            "Sockets closed because a listener had too many new ones a second.",
            is.connections_over_rate,
        ),
        counter(
            "broker_handshakes_refused",
            "Sockets closed because too many handshakes were unfinished.",
            is.handshakes_refused,
        ),
        counter(
            "broker_handshakes_timed_out",
            "Sockets closed because their handshake was not done in time.",
            is.handshakes_timed_out,
        ),
        counter(
            "broker_tls_handshake_errors",
            "TLS handshakes that failed.",
            is.tls_handshake_errors,
        ),
        counter("broker_tls_reloads", "Times changed TLS files came into force.", is.tls_reloads),
        counter(
            "broker_tls_reload_errors",
            "Times changed TLS files were refused.",
            is.tls_reload_errors,
        ),
        counter(
            "broker_proxy_header_errors",
            "Sockets closed for a PROXY header, or its sender.",
            is.proxy_header_errors,
        ),
        counter(
            "broker_websocket_handshake_errors",
            "WebSocket handshakes that failed.",
            is.websocket_handshake_errors,
        ),
    ]
}

/// Who was let in and who was not.
fn admission(is: &broker::Figures) -> Vec<Figure> {
    vec![
        counter(
            "broker_refused_credentials",
            "CONNECTs refused for a wrong or missing name or secret.",
            is.refused_credentials,
        ),
        counter(
            "broker_refused_tokens",
            "CONNECTs refused for a token that is not believed.",
            is.refused_tokens,
        ),
        counter(
            "broker_refused_locked_out",
            "CONNECTs refused after repeated failures.",
            is.refused_locked_out,
        ),
        counter(
            "broker_refused_busy",
            "CONNECTs refused because too many passwords were being checked.",
            is.refused_busy,
        ),
        counter(
            "broker_refused_unavailable",
            "CONNECTs refused because the store or a hook did not answer.",
            is.refused_unavailable,
        ),
        counter(
            "broker_refused_not_allowed",
            "CONNECTs refused though the client has proved who it is.",
            is.refused_not_allowed,
        ),
        counter("broker_lockouts", "Times a name or an address was locked out.", is.lockouts),
        counter(
            "broker_lockouts_without_room",
            "Failures that could not be watched because everything watched was locked.",
            is.lockouts_without_room,
        ),
        counter("broker_hook_requests", "Questions asked of the hook.", is.hook_requests),
        counter(
            "broker_hook_remembered",
            "Questions answered out of what the hook said before.",
            is.hook_remembered,
        ),
        counter(
            "broker_hook_failures",
            "Questions to which the hook gave no answer that can be used.",
            is.hook_failures,
        ),
    ]
}

fn traffic(is: &broker::Figures) -> Vec<Figure> {
    vec![
        counter(
            "broker_authentication_failures",
            "CONNECTs with a wrong name or secret.",
            is.authentication_failures,
        ),
        counter(
            "broker_protocol_errors",
            "Connections ended for breaking the protocol.",
            is.protocol_errors,
        ),
        counter(
            "broker_subscriptions_refused",
            "Subscriptions not permitted, not valid, or over a bound.",
            is.subscriptions_refused,
        ),
        counter(
            "broker_publishes_refused",
            "Messages not permitted, over a quota, or failed.",
            is.publishes_refused,
        ),
        counter("broker_received_messages", "Messages received.", is.received),
        counter("broker_received_bytes", "Bytes received, all packets.", is.received_bytes),
        counter("broker_sent_messages", "Messages sent.", is.sent),
        counter("broker_sent_bytes", "Bytes sent, all packets.", is.sent_bytes),
        counter(
            "broker_dropped_messages",
            "Deliveries dropped at the bound of a queue.",
            is.dropped,
        ),
        counter(
            "broker_forbidden_messages",
            "Deliveries dropped because a permission was taken away.",
            is.forbidden,
        ),
        counter(
            "broker_expired_messages",
            "Deliveries whose time was over before they were sent.",
            is.expired,
        ),
        counter(
            "broker_publisher_stalls",
            "Times a publisher waited for a subscriber.",
            is.publisher_stalls,
        ),
        counter("broker_stored_messages", "Deliveries written to the store.", is.stored),
        counter("broker_store_errors", "Commits of the broker that failed.", is.store_errors),
        counter(
            "broker_loops",
            "Messages that came back over a bridge and went no further.",
            is.loops,
        ),
    ]
}

/// What is held.
fn holdings(is: &broker::Figures) -> Vec<Figure> {
    vec![
        gauge("broker_sessions", "Sessions, connected or not.", is.sessions),
        gauge("broker_retained_messages", "Retained messages.", is.retained),
        gauge("broker_retained_bytes", "Bytes of retained messages.", is.retained_bytes),
    ]
}

/// What was slowed or refused because it was too much.
fn overload(is: &broker::Figures) -> Vec<Figure> {
    vec![
        counter(
            "broker_refused_over_quota",
            "CONNECTs refused because their namespace had too many clients or sessions.",
            is.refused_over_quota,
        ),
        counter(
            "broker_refused_over_rate",
            "CONNECTs refused because their namespace had too many new clients a second.",
            is.refused_over_rate,
        ),
        counter(
            "broker_refused_memory",
            "CONNECTs refused because memory was short.",
            is.refused_memory,
        ),
        counter(
            "broker_publisher_pauses",
            "Times a publisher was not read from because it was over its rate.",
            is.publisher_pauses,
        ),
        counter(
            "broker_namespace_publisher_pauses",
            "Times a publisher was not read from because its namespace was over its rate.",
            is.namespace_publisher_pauses,
        ),
        Figure::counter(
            "broker_publisher_pause_seconds",
            "The length of all these pauses.",
            seconds(is.publisher_pause_micros_total),
        ),
        counter(
            "broker_memory_exceeded",
            "Times memory in use has passed the watermark.",
            is.memory_exceeded,
        ),
        gauge(
            "broker_memory_in_use_bytes",
            "Resident memory, less what sessions have freed of it.",
            is.memory_in_use_bytes,
        ),
        gauge(
            "broker_memory_watermark_bytes",
            "Where new work begins to be refused.",
            is.memory_watermark_bytes,
        ),
        gauge("broker_memory_short", "1 while new work is refused.", is.memory_is_short),
        counter(
            "broker_log_lines_left_out",
            "Lines about ends and refusals that the log was spared.",
            is.log_lines_left_out,
        ),
    ]
}
