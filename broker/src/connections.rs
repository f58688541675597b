//! What an operator is shown of a connected client.

use crate::live::Live;
use crate::packet::Version;
use crate::peer::{Peer, PeerAddress, TlsInfo};
use crate::session::Session;
use proto::{ClientId, Identity, TimestampMs};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A connected client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectionInfo {
    /// Its client id.
    pub client_id: ClientId,
    /// Who it has proved to be.
    pub identity: Identity,
    /// Where it comes from; absent for a part of the platform. Behind a proxy its own address.
    pub address: Option<PeerAddress>,
    /// The name of the listener it came through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Arc<str>>,
    /// The proxy that has introduced it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<SocketAddr>,
    /// What TLS has agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsInfo>,
    /// `mqtt 3` or `mqtt 5`.
    pub protocol: &'static str,
    /// Rises with each connection of the node.
    pub connection: u64,
    /// When it connected.
    pub connected_at: TimestampMs,
    /// Seconds of silence after which, times one and a half, it is taken for dead.
    pub keep_alive_secs: u16,
    /// Whether it asked for a new session.
    pub clean_start: bool,
    /// Seconds its session outlives its connection.
    pub session_expiry_secs: u32,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// Messages waiting for it in memory.
    pub queued: usize,
    /// Bytes waiting for it in memory.
    pub queued_bytes: usize,
    /// Messages the store holds for it, those in flight included.
    pub stored: u64,
    /// Bytes the store holds for it.
    pub stored_bytes: u64,
    /// Messages sent to it and not acknowledged.
    pub inflight: u64,
    /// Messages it has published, or, in process, received.
    pub received: u64,
    /// Messages sent to it.
    pub sent: u64,
    /// Messages for it that were dropped.
    pub dropped: u64,
    /// Messages for it whose time was over before they were sent.
    pub expired: u64,
}

impl ConnectionInfo {
    pub(crate) fn read(
        session: &Session,
        live: &Live,
        subscriptions: usize,
        session_expiry_secs: u32,
    ) -> Self {
        let queue = session.queue();
        Self {
            client_id: session.sender().client_id.clone(),
            identity: session.permissions().sender.identity.clone(),
            address: live.peer.as_ref().map(|peer| peer.address),
            listener: live.peer.as_ref().map(|peer| Arc::clone(&peer.listener)),
            proxy: live.peer.as_ref().and_then(Peer::proxy),
            tls: live.peer.as_ref().and_then(Peer::tls).cloned(),
            protocol: match live.version {
                Version::V3 => "mqtt 3",
                Version::V5 => "mqtt 5",
            },
            connection: live.number,
            connected_at: live.connected_at,
            keep_alive_secs: live.keep_alive_secs,
            clean_start: live.clean_start,
            session_expiry_secs,
            subscriptions,
            queued: queue.len(),
            queued_bytes: queue.len_bytes(),
            stored: queue.stored(),
            stored_bytes: queue.stored_bytes(),
            inflight: live.inflight.load(Ordering::Relaxed),
            received: live.received.load(Ordering::Relaxed),
            sent: live.sent.load(Ordering::Relaxed),
            dropped: queue.dropped,
            expired: queue.expired,
        }
    }
}

/// A session, connected or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionInfo {
    /// Its client id.
    pub client_id: ClientId,
    /// Whose it is.
    pub identity: Identity,
    /// Since when its client is away; absent while it is connected.
    pub away_since: Option<TimestampMs>,
    /// Seconds it outlives its connection.
    pub expiry_secs: u32,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// Messages waiting for it in memory.
    pub queued: usize,
    /// Messages the store holds for it, those in flight included.
    pub stored: u64,
    /// Bytes the store holds for it.
    pub stored_bytes: u64,
    /// Messages for it that were dropped since the node started.
    pub dropped: u64,
    /// Messages for it whose time was over before they were sent.
    pub expired: u64,
}
