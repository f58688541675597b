//! Who is at the other end of a socket: its address, the listener it came through, what TLS and proxies tell of it.

use crate::tls::certificate::CertificateInfo;
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where a client comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAddress {
    /// An address; of a client behind a trusted proxy, its own.
    Ip(SocketAddr),
    /// A process of this machine, on a Unix socket; its id if the system tells it.
    Local(Option<i32>),
}

impl PeerAddress {
    /// The address without the port.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Local(_) => None,
        }
    }
}

impl From<SocketAddr> for PeerAddress {
    /// An IPv4 client of a socket for both families is an IPv4 client.
    fn from(address: SocketAddr) -> Self {
        Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Local(Some(process)) => write!(f, "local:{process}"),
            Self::Local(None) => f.write_str("local"),
        }
    }
}

impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What of a client's verified certificate is its user name, `<name>` or `<tenant>/<project>/<name>`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientName {
    /// Nothing: user name and password decide, whatever the certificate says.
    #[default]
    None,
    /// The common name of the subject.
    CommonName,
    /// The first DNS name of the subject alternative names.
    Dns,
    /// What follows `manifold:` in the first URI that begins so, of the subject alternative names.
    Uri,
}

/// The scheme of URIs that name a client.
const URI_SCHEME: &str = "manifold:";

impl ClientName {
    /// The user name that a certificate gives; `None` if it has no such name.
    pub(crate) fn of(self, certificate: &CertificateInfo) -> Option<&str> {
        match self {
            Self::None => None,
            Self::CommonName => certificate.common_name.as_deref(),
            Self::Dns => certificate.dns_names.first().map(String::as_str),
            Self::Uri => certificate.uris.iter().find_map(|uri| uri.strip_prefix(URI_SCHEME)),
        }
    }
}

/// What TLS has agreed on, with the client or with the proxy in front of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TlsInfo {
    /// Such as `TLSv1.3`; unknown if a proxy does not tell.
    pub version: Option<String>,
    /// The cipher suite, by its IANA name.
    pub cipher: Option<String>,
    /// The client's certificate, verified; absent if it has shown none.
    pub certificate: Option<CertificateInfo>,
}

/// The other end of a socket.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: PeerAddress,
    /// The name of the listener.
    pub(crate) listener: Arc<str>,
    /// Whether it only hands something in, for somebody who asks over HTTP: its device is not there to be spoken to.
    pub(crate) is_visit: bool,
    /// What only few have: a connection in the clear pays nothing for it.
    pub(crate) secured: Option<Box<Secured>>,
}

/// What TLS and a proxy tell of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secured {
    pub(crate) tls: Option<TlsInfo>,
    /// The proxy whose PROXY header gave the address.
    pub(crate) proxy: Option<SocketAddr>,
}

impl Peer {
    /// What TLS has agreed on.
    pub(crate) fn tls(&self) -> Option<&TlsInfo> {
        self.secured.as_ref()?.tls.as_ref()
    }

    /// The client's verified certificate.
    pub(crate) fn certificate(&self) -> Option<&CertificateInfo> {
        self.tls()?.certificate.as_ref()
    }

    /// The proxy it comes through.
    pub(crate) fn proxy(&self) -> Option<SocketAddr> {
        self.secured.as_ref()?.proxy
    }
}
