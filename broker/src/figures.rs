//! What the broker counts. Connections count for themselves and add up here once for each batch.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters, shared by the whole broker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) connections_total: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) connections_over_rate: AtomicU64,
    pub(crate) handshakes_refused: AtomicU64,
    pub(crate) handshakes_timed_out: AtomicU64,
    pub(crate) tls_handshake_errors: AtomicU64,
    pub(crate) tls_reloads: AtomicU64,
    pub(crate) tls_reload_errors: AtomicU64,
    pub(crate) proxy_header_errors: AtomicU64,
    pub(crate) websocket_handshake_errors: AtomicU64,
    pub(crate) authentication_failures: AtomicU64,
    pub(crate) refused_credentials: AtomicU64,
    pub(crate) refused_tokens: AtomicU64,
    pub(crate) refused_locked_out: AtomicU64,
    pub(crate) refused_busy: AtomicU64,
    pub(crate) refused_unavailable: AtomicU64,
    pub(crate) refused_not_allowed: AtomicU64,
    pub(crate) refused_over_quota: AtomicU64,
    pub(crate) refused_over_rate: AtomicU64,
    pub(crate) refused_memory: AtomicU64,
    pub(crate) lockouts: AtomicU64,
    pub(crate) lockouts_without_room: AtomicU64,
    pub(crate) hook_requests: AtomicU64,
    pub(crate) hook_remembered: AtomicU64,
    pub(crate) hook_failures: AtomicU64,
    pub(crate) protocol_errors: AtomicU64,
    pub(crate) subscriptions_refused: AtomicU64,
    pub(crate) publishes_refused: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) forbidden: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) publisher_stalls: AtomicU64,
    pub(crate) publisher_pauses: AtomicU64,
    pub(crate) namespace_publisher_pauses: AtomicU64,
    pub(crate) publisher_pause_micros: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) store_errors: AtomicU64,
    pub(crate) loops: AtomicU64,
    pub(crate) memory_exceeded: AtomicU64,
}

/// A reading of the counters and gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Sockets connected now.
    pub connections: u64,
    /// Sockets accepted since start.
    pub connections_total: u64,
    /// Sockets and CONNECTs refused.
    pub connections_refused: u64,
    /// Sockets that wait for their CONNACK now.
    pub handshakes: u64,
    /// Times a socket could not be accepted.
    pub accept_errors: u64,
    /// Sockets closed because a listener had too many new ones a second.
    pub connections_over_rate: u64,
    /// Sockets closed because too many handshakes were unfinished.
    pub handshakes_refused: u64,
    /// Sockets closed because their handshake was not done in time.
    pub handshakes_timed_out: u64,
    /// TLS handshakes that failed.
    pub tls_handshake_errors: u64,
    /// Times changed TLS files came into force.
    pub tls_reloads: u64,
    /// Times changed TLS files were refused.
    pub tls_reload_errors: u64,
    /// Sockets closed for a PROXY header, or its sender.
    pub proxy_header_errors: u64,
    /// WebSocket handshakes that failed.
    pub websocket_handshake_errors: u64,
    /// CONNECTs with a wrong name or secret.
    pub authentication_failures: u64,
    /// CONNECTs refused for a wrong or missing name or secret.
    pub refused_credentials: u64,
    /// CONNECTs refused for a token that is not believed.
    pub refused_tokens: u64,
    /// CONNECTs refused after repeated failures.
    pub refused_locked_out: u64,
    /// CONNECTs refused because too many passwords were being checked.
    pub refused_busy: u64,
    /// CONNECTs refused because the store or a hook did not answer.
    pub refused_unavailable: u64,
    /// CONNECTs refused though the client has proved who it is.
    pub refused_not_allowed: u64,
    /// CONNECTs refused because their namespace had too many clients, or sessions.
    pub refused_over_quota: u64,
    /// CONNECTs refused because their namespace had too many new clients a second.
    pub refused_over_rate: u64,
    /// CONNECTs refused because memory was short.
    pub refused_memory: u64,
    /// Times a name or an address was locked out.
    pub lockouts: u64,
    /// Failures that could not be watched because everything watched was locked.
    pub lockouts_without_room: u64,
    /// Questions asked of the hook.
    pub hook_requests: u64,
    /// Questions answered out of what the hook said before.
    pub hook_remembered: u64,
    /// Questions to which the hook gave no answer that can be used.
    pub hook_failures: u64,
    /// Connections ended for breaking the protocol.
    pub protocol_errors: u64,
    /// Subscriptions refused: not permitted, not valid, or over a bound.
    pub subscriptions_refused: u64,
    /// Messages refused: not permitted, over a quota, or failed.
    pub publishes_refused: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes received, all packets.
    pub received_bytes: u64,
    /// Messages sent.
    pub sent: u64,
    /// Bytes sent, all packets.
    pub sent_bytes: u64,
    /// Deliveries dropped at the bound of a queue.
    pub dropped: u64,
    /// Deliveries dropped because a permission was taken away.
    pub forbidden: u64,
    /// Deliveries whose time was over before they were sent.
    pub expired: u64,
    /// Times a publisher waited for a subscriber.
    pub publisher_stalls: u64,
    /// Times a publisher was not read from because it was over its rate.
    pub publisher_pauses: u64,
    /// Times a publisher was not read from because its namespace was over its rate.
    pub namespace_publisher_pauses: u64,
    /// The length of both, in microseconds.
    pub publisher_pause_micros_total: u64,
    /// Deliveries written to the store.
    pub stored: u64,
    /// Commits that failed.
    pub store_errors: u64,
    /// Messages that came back over a bridge to where they had been, and went no further.
    pub loops: u64,
    /// Lines about ends and refusals that the log was spared.
    pub log_lines_left_out: u64,
    /// Times memory in use has passed the watermark.
    pub memory_exceeded: u64,
    /// Memory in use when it was last looked at.
    pub memory_in_use_bytes: u64,
    /// The watermark; 0 if there is none.
    pub memory_watermark_bytes: u64,
    /// 1 while new work is refused, else 0.
    pub memory_is_short: u64,
    /// Sessions, connected or not.
    pub sessions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Bytes of retained messages.
    pub retained_bytes: u64,
}

impl Counters {
    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        if amount != 0 {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            connections: read(&self.connections),
            connections_total: read(&self.connections_total),
            connections_refused: read(&self.connections_refused),
            handshakes: 0,
            accept_errors: read(&self.accept_errors),
            connections_over_rate: read(&self.connections_over_rate),
            handshakes_refused: read(&self.handshakes_refused),
            handshakes_timed_out: read(&self.handshakes_timed_out),
            tls_handshake_errors: read(&self.tls_handshake_errors),
            tls_reloads: read(&self.tls_reloads),
            tls_reload_errors: read(&self.tls_reload_errors),
            proxy_header_errors: read(&self.proxy_header_errors),
            websocket_handshake_errors: read(&self.websocket_handshake_errors),
            authentication_failures: read(&self.authentication_failures),
            refused_credentials: read(&self.refused_credentials),
            refused_tokens: read(&self.refused_tokens),
            refused_locked_out: read(&self.refused_locked_out),
            refused_busy: read(&self.refused_busy),
            refused_unavailable: read(&self.refused_unavailable),
            refused_not_allowed: read(&self.refused_not_allowed),
            refused_over_quota: read(&self.refused_over_quota),
            refused_over_rate: read(&self.refused_over_rate),
            refused_memory: read(&self.refused_memory),
            lockouts: read(&self.lockouts),
            lockouts_without_room: read(&self.lockouts_without_room),
            hook_requests: read(&self.hook_requests),
            hook_remembered: read(&self.hook_remembered),
            hook_failures: read(&self.hook_failures),
            protocol_errors: read(&self.protocol_errors),
            subscriptions_refused: read(&self.subscriptions_refused),
            publishes_refused: read(&self.publishes_refused),
            received: read(&self.received),
            received_bytes: read(&self.received_bytes),
            sent: read(&self.sent),
            sent_bytes: read(&self.sent_bytes),
            dropped: read(&self.dropped),
            forbidden: read(&self.forbidden),
            expired: read(&self.expired),
            publisher_stalls: read(&self.publisher_stalls),
            publisher_pauses: read(&self.publisher_pauses),
            namespace_publisher_pauses: read(&self.namespace_publisher_pauses),
            publisher_pause_micros_total: read(&self.publisher_pause_micros),
            stored: read(&self.stored),
            store_errors: read(&self.store_errors),
            loops: read(&self.loops),
            log_lines_left_out: 0,
            memory_exceeded: read(&self.memory_exceeded),
            memory_in_use_bytes: 0,
            memory_watermark_bytes: 0,
            memory_is_short: 0,
            sessions: 0,
            retained: 0,
            retained_bytes: 0,
        }
    }
}
