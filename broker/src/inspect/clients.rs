//! Clients as operators see them: those that are connected, and sessions that wait for theirs.

use super::rates::Rates;
use crate::listener::network::Network;
use crate::live::Live;
use crate::packet::Version;
use crate::peer::{Peer, PeerAddress, TlsInfo};
use crate::session::Session;
use crate::session::drops::Drops;
use proto::{ClientId, Identity, Role, TimestampMs};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A client that is connected, or the session that waits for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ClientInfo {
    /// It is connected.
    Connected(Box<ConnectionInfo>),
    /// Its session waits for it.
    Away(Box<SessionInfo>),
}

/// A connected client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectionInfo {
    /// Its client id.
    pub client_id: ClientId,
    /// Who it has proved to be.
    pub identity: Identity,
    /// The name in it; empty for a part of the platform.
    pub user_name: String,
    /// What it may do.
    pub role: Role,
    /// Where it comes from; absent for a part of the platform. Behind a proxy its own address.
    pub address: Option<PeerAddress>,
    /// The name of the listener it came through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Arc<str>>,
    /// Whether it asks for somebody who came by other means ([`crate::Broker::serve_visit`]).
    #[serde(skip)]
    pub is_visit: bool,
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
    /// When its proof of who it is ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_expires_at: Option<TimestampMs>,
    /// Seconds of silence after which, times one and a half, it is taken for dead; 0 if never.
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
    pub inflight: u32,
    /// Messages received from it whose PUBACK or PUBREC is owed.
    pub owed: u32,
    /// Messages of QoS 2 received from it and not released.
    pub unreleased: u32,
    /// Messages it has published, or, in process, received.
    pub received: u64,
    /// Bytes received from it, all packets.
    pub received_bytes: u64,
    /// Of the messages received those that were refused: not permitted, or over a bound.
    pub refused: u64,
    /// Messages sent to it.
    pub sent: u64,
    /// Bytes sent to it, all packets.
    pub sent_bytes: u64,
    /// The same in a second, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
    /// Messages for it that were dropped.
    pub dropped: u64,
    /// Why they were.
    pub drops: Drops,
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
        let identity = session.permissions().sender.identity.clone();
        let peer = live.peer.as_ref();
        let carried = live.traffic.read();
        let queue = session.queue();
        Self {
            client_id: session.sender().client_id.clone(),
            user_name: identity.name().to_owned(),
            role: identity.role(),
            identity,
            address: peer.map(|peer| peer.address),
            listener: peer.map(|peer| Arc::clone(&peer.listener)),
            is_visit: peer.is_some_and(|peer| peer.is_visit),
            proxy: peer.and_then(Peer::proxy),
            tls: peer.and_then(Peer::tls).cloned(),
            protocol: match live.version {
                Version::V3 => "mqtt 3",
                Version::V5 => "mqtt 5",
            },
            connection: live.number,
            connected_at: live.connected_at,
            proof_expires_at: live.expires_at(),
            keep_alive_secs: live.keep_alive_secs,
            clean_start: live.clean_start,
            session_expiry_secs,
            subscriptions,
            queued: queue.len(),
            queued_bytes: queue.len_bytes(),
            stored: queue.stored(),
            stored_bytes: queue.stored_bytes(),
            inflight: live.inflight.load(Ordering::Relaxed).into(),
            owed: live.owed.load(Ordering::Relaxed).into(),
            unreleased: live.unreleased.load(Ordering::Relaxed).into(),
            received: carried.received,
            received_bytes: carried.received_bytes,
            refused: carried.refused,
            sent: carried.sent,
            sent_bytes: carried.sent_bytes,
            rates: None,
            dropped: queue.drops.total(),
            drops: queue.drops,
            expired: queue.expired,
        }
    }
}

/// A session that waits for its client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionInfo {
    /// Its client id.
    pub client_id: ClientId,
    /// Whose it is.
    pub identity: Identity,
    /// The name in it.
    pub user_name: String,
    /// What its client may do.
    pub role: Role,
    /// Since when its client is away.
    pub away_since: TimestampMs,
    /// When it ends, unless its client returns; `None` if never.
    pub expires_at: Option<TimestampMs>,
    /// Seconds it outlives its connection.
    pub session_expiry_secs: u32,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// Messages the store holds for it, those in flight included.
    pub stored: u64,
    /// Bytes the store holds for it.
    pub stored_bytes: u64,
    /// Messages of QoS 2 received from its client and not released.
    pub unreleased: usize,
    /// Messages for it that were dropped since the node started.
    pub dropped: u64,
    /// Why they were.
    pub drops: Drops,
    /// Messages for it whose time was over before they were sent.
    pub expired: u64,
}

/// Whether a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// It is.
    Connected,
    /// Its session waits for it.
    Away,
}

/// Which clients are asked for; all that is given has to be so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientQuery {
    /// What the client id begins with.
    pub prefix: Option<String>,
    /// What the client id contains.
    pub contains: Option<String>,
    /// The name of the user or thing.
    pub user_name: Option<String>,
    /// Where it comes from; nobody who is away.
    pub network: Option<Network>,
    /// The name of the listener it came through; nobody who is away.
    pub listener: Option<String>,
    /// Whether it is connected.
    pub state: Option<ClientState>,
}

impl ClientQuery {
    /// Whether a client is asked for; one that is away has no `peer`.
    pub(crate) fn matches(&self, session: &Session, peer: Option<&Peer>) -> bool {
        let client_id = session.sender().client_id.as_str();
        let state = if peer.is_some() { ClientState::Connected } else { ClientState::Away };
        let comes_from = |network: &Network| {
            let ip = peer.and_then(|peer| peer.address.ip());
            ip.is_some_and(|ip| network.contains(ip))
        };
        self.prefix.as_deref().is_none_or(|it| client_id.starts_with(it))
            && self.contains.as_deref().is_none_or(|it| client_id.contains(it))
            && self.state.is_none_or(|it| it == state)
            && self.user_name.as_deref().is_none_or(|it| session.identity().name() == it)
            && self.network.as_ref().is_none_or(comes_from)
            && self.listener.as_deref().is_none_or(|it| peer.is_some_and(|p| &*p.listener == it))
    }
}
