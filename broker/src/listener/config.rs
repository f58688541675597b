//! How a listener is set up: where it listens, what is spoken there, and for whom.

use crate::listener::network::Network;
use crate::peer::ClientName;
use crate::tls::Tls;
use proto::Namespace;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// How a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// MQTT as it is.
    Mqtt,
    /// MQTT over WebSocket, path `/mqtt`, sub-protocol `mqtt` (MQTT 5.0 6).
    WebSocket,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix {
        /// Its path. A socket that nobody listens on any more is replaced.
        path: PathBuf,
        /// Its permissions, such as `0o660`: who may write to it may connect.
        mode: u32,
    },
}

impl Endpoint {
    /// The address, if it has one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

/// A listener to open.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Its name in logs and in the list of connections.
    pub name: String,
    /// What is spoken there.
    pub kind: ListenerKind,
    /// Where.
    pub endpoint: Endpoint,
    /// TLS; `None` speaks in the clear.
    pub tls: Option<Arc<Tls>>,
    /// From whom a PROXY protocol header is required before anything else; others are closed. Empty: no header.
    pub proxies: Vec<Network>,
    /// What of a client's certificate is its user name.
    pub client_name: ClientName,
    /// The only namespace whose clients are let in, and the one of user names that give none.
    pub namespace: Option<Namespace>,
    /// Connections at a time; a further one is closed at once.
    pub connections_max: usize,
    /// New connections a second; further ones are closed at once. 0: any number.
    pub connects_per_sec_max: u32,
}

impl ListenerConfig {
    /// A listener with nothing special on an address.
    pub fn tcp(name: impl Into<String>, kind: ListenerKind, address: SocketAddr) -> Self {
        Self::new(name, kind, Endpoint::Tcp(address))
    }

    /// A listener with nothing special.
    pub fn new(name: impl Into<String>, kind: ListenerKind, endpoint: Endpoint) -> Self {
        Self {
            name: name.into(),
            kind,
            endpoint,
            tls: None,
            proxies: Vec::new(),
            client_name: ClientName::default(),
            namespace: None,
            connections_max: usize::MAX,
            connects_per_sec_max: 0,
        }
    }
}

/// A listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses.
    #[error(transparent)]
    Bind(#[from] std::io::Error),
    /// The path of a Unix socket is something else.
    #[error("{} is there and is no socket; remove it, or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// Somebody listens on that Unix socket.
    #[error("{} is in use by another process", .0.display())]
    SocketInUse(PathBuf),
    /// Unix sockets are not known to this system.
    #[error("there are no Unix sockets on this system")]
    NoUnixSockets,
}
