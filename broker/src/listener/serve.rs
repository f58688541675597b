//! One socket, from its first byte to its CONNACK.
//!
//! What is in front of MQTT is taken off layer by layer: a PROXY header, TLS, WebSocket. All of that and the CONNECT
//! have one deadline. A TCP stream with nothing in front is served as it is; all else goes through one more pointer.

use super::Listener;
use super::accept::Counted;
use super::bind::Accepted;
use super::config::ListenerKind;
use super::lobby::Place;
use crate::broker::Inner;
use crate::connection::handshake::Turned;
use crate::connection::{Socket, Stay};
use crate::figures::Counters;
use crate::journal::Refusal;
use crate::peer::{Peer, PeerAddress, Secured, TlsInfo};
use crate::proxy_protocol::{self, ProxiedTls};
use crate::reason::Reason;
use crate::space::Shared;
use crate::tls::certificate::CertificateInfo;
use crate::websocket;
use proto::TimestampMs;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Why a socket came to nothing before MQTT began.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("PROXY header: {0}")]
    Proxy(io::Error),
    #[error("the PROXY header comes from {0}, which is not trusted")]
    NotTrusted(PeerAddress),
    #[error("TLS handshake: {0}")]
    Tls(io::Error),
    #[error("WebSocket handshake: {0}")]
    WebSocket(#[from] websocket::HandshakeError),
    #[error("too many unfinished handshakes of this address")]
    Crowded,
}

/// A socket that has come in.
pub(super) struct Arrival {
    pub(super) peer: Peer,
    /// Until it is a client, or gone.
    pub(super) place: Place,
    pub(super) counted: Counted,
    deadline: Instant,
}

impl Arrival {
    pub(super) fn new(
        inner: &Inner,
        listener: &Listener,
        address: PeerAddress,
        place: Place,
        counted: Counted,
    ) -> Self {
        let listener = Arc::clone(&listener.name);
        let peer = Peer { address, listener, is_visit: false, secured: None };
        let deadline = Instant::now() + inner.shared().limits.connect_timeout();
        Self { peer, place, counted, deadline }
    }
}

/// The task of a client; `None` if the socket did not become one.
type Served = Option<JoinHandle<()>>;

/// Brings a socket to its CONNACK. The client it then is has a task of its own: that of the handshake would be
/// larger for as long as it lasts.
pub(super) async fn serve(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    stream: Accepted,
    arrival: Arrival,
) -> Served {
    match stream {
        Accepted::Tcp(stream) => {
            // Small packets must not wait for each other (RFC 896); failing to say so is no reason to turn a client
            // away.
            let _ = stream.set_nodelay(true);
            let config = &listener.config;
            let is_bare = config.tls.is_none()
                && config.proxies.is_empty()
                && config.kind == ListenerKind::Mqtt;
            if is_bare {
                welcome(inner, listener, stream, arrival).await
            } else {
                Box::pin(unwrap_tcp(inner, listener, stream, arrival)).await
            }
        }
        #[cfg(unix)]
        Accepted::Unix(stream) => {
            let socket: Box<dyn Socket> = Box::new(stream);
            Box::pin(unwrap(inner, listener, socket, arrival)).await
        }
    }
}

/// Serves a visit, on a stream that is neither a socket nor wrapped in anything, to its end.
pub(super) async fn serve_visit(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    stream: Box<dyn Socket>,
    mut arrival: Arrival,
) {
    arrival.peer.is_visit = true;
    if let Some(client) = welcome(inner, listener, stream, arrival).await {
        let _ = client.await;
    }
}

/// Takes the PROXY header off, if the listener asks for one.
async fn unwrap_tcp(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    mut stream: TcpStream,
    mut arrival: Arrival,
) -> Served {
    if !listener.config.proxies.is_empty() {
        let deadline = arrival.deadline;
        let reading = introduce(listener, &mut stream, &mut arrival);
        match tokio::time::timeout_at(deadline, reading).await {
            Ok(Ok(())) => {}
            Ok(Err(stopped)) => return turn_away(inner, &arrival.peer, Some(&stopped)),
            Err(_) => return turn_away(inner, &arrival.peer, None),
        }
    }
    unwrap(inner, listener, Box::new(stream), arrival).await
}

/// Reads the PROXY header and puts the client's address in the place of the proxy's.
async fn introduce(
    listener: &Listener,
    stream: &mut TcpStream,
    arrival: &mut Arrival,
) -> Result<(), Stopped> {
    let Arrival { peer, place, .. } = arrival;
    let PeerAddress::Ip(proxy) = peer.address else { return Ok(()) };
    if !listener.config.proxies.iter().any(|it| it.contains(proxy.ip())) {
        return Err(Stopped::NotTrusted(peer.address));
    }
    let header = proxy_protocol::read(stream).await.map_err(Stopped::Proxy)?;
    let Some(source) = header.source else { return Ok(()) };
    peer.address = source.into();
    let tls = header.tls.map(proxied_tls);
    peer.secured = Some(Box::new(Secured { tls, proxy: Some(proxy) }));
    if place.claim(source.ip()) { Ok(()) } else { Err(Stopped::Crowded) }
}

/// What a proxy tells of TLS, in the form of what we see ourselves.
fn proxied_tls(told: ProxiedTls) -> TlsInfo {
    let certificate = told.common_name.map(|name| CertificateInfo {
        subject: format!("CN={name}"),
        common_name: Some(name),
        ..CertificateInfo::default()
    });
    TlsInfo { version: told.version, cipher: told.cipher, certificate }
}

/// Takes TLS and WebSocket off, and welcomes the client.
async fn unwrap(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    socket: Box<dyn Socket>,
    mut arrival: Arrival,
) -> Served {
    let peeling = peel(inner, listener, socket, &mut arrival.peer);
    match tokio::time::timeout_at(arrival.deadline, peeling).await {
        Ok(Ok(socket)) => welcome(inner, listener, socket, arrival).await,
        Ok(Err(stopped)) => turn_away(inner, &arrival.peer, Some(&stopped)),
        Err(_) => turn_away(inner, &arrival.peer, None),
    }
}

async fn peel(
    inner: &Arc<Inner>,
    listener: &Listener,
    mut socket: Box<dyn Socket>,
    peer: &mut Peer,
) -> Result<Box<dyn Socket>, Stopped> {
    if let Some(tls) = &listener.config.tls {
        let stream = tls.accept(socket).await.map_err(Stopped::Tls)?;
        peer.secured.get_or_insert_default().tls = Some(tls.info(&stream));
        socket = Box::new(stream);
    }
    if listener.config.kind == ListenerKind::WebSocket {
        let limits = &inner.shared().limits;
        let bounds = websocket::Bounds {
            packet_bytes_max: limits.packet_bytes_max,
            connect_bytes_max: limits.connect_bytes_max,
        };
        socket = Box::new(websocket::accept(socket, bounds).await?);
    }
    Ok(socket)
}

/// Counts and logs a socket on which MQTT never began; without a reason it was too slow.
fn turn_away(inner: &Inner, peer: &Peer, stopped: Option<&Stopped>) -> Served {
    let (listener, address) = (&*peer.listener, peer.address);
    let Shared { counters, journal, clock, .. } = &**inner.shared();
    Counters::add(&counters.connections_refused, 1);
    let Some(error) = stopped else {
        Counters::add(&counters.handshakes_timed_out, 1);
        let why = ("handshake_timed_out", &"no handshake in time" as &dyn std::fmt::Display);
        journal.turned_away(listener, address, why, clock.now());
        return None;
    };
    let (reason, counter) = match error {
        // Health checks and port scanners come and go without a word.
        Stopped::Tls(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            journal.closed_early(listener, address, "closed before TLS", clock.now());
            return None;
        }
        Stopped::Tls(_) => ("tls_handshake", &counters.tls_handshake_errors),
        Stopped::Crowded => ("handshakes_of_address", &counters.handshakes_refused),
        Stopped::Proxy(_) => ("proxy_header", &counters.proxy_header_errors),
        Stopped::NotTrusted(_) => ("proxy_not_trusted", &counters.proxy_header_errors),
        Stopped::WebSocket(_) => ("websocket_handshake", &counters.websocket_handshake_errors),
    };
    Counters::add(counter, 1);
    journal.turned_away(listener, address, (reason, error), clock.now());
    None
}

async fn welcome<S: Socket>(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    socket: S,
    arrival: Arrival,
) -> Served {
    let Arrival { peer, place, counted, deadline } = arrival;
    let address = peer.address;
    let ends_at = end_of_certificate(listener, &peer);
    let counters = &inner.shared().counters;
    let welcoming = inner.door().welcome(socket, peer, &listener.config);
    let welcomed = Box::pin(tokio::time::timeout_at(deadline, welcoming)).await;
    drop(place);
    let (journal, now) = (&inner.shared().journal, inner.shared().clock.now());
    let turned = match welcomed {
        Ok(Ok(connection)) => {
            return Some(tokio::spawn(Stay::begin(connection, counted, ends_at)));
        }
        Ok(Err(Turned::Lost)) => {
            journal.closed_early(&listener.name, address, "closed before CONNECT", now);
            return None;
        }
        Ok(Err(turned)) => turned,
        Err(_) => {
            Counters::add(&counters.handshakes_timed_out, 1);
            Turned::new(Reason::MaximumConnectTime, "no CONNECT in time")
        }
    };
    Counters::add(&counters.connections_refused, 1);
    match turned {
        Turned::Refused { reason, why, client_id } => {
            let why = why.to_string();
            let refusal = Refusal { reason, client: client_id.as_deref(), why: &why };
            journal.refused(&listener.name, address, refusal, now);
        }
        // Logged where it was decided.
        Turned::Unproved { reason, .. } => journal.count_refused(reason),
        Turned::Lost => {}
    }
    None
}

/// When the connection has to end with the client's certificate.
fn end_of_certificate(listener: &Listener, peer: &Peer) -> Option<TimestampMs> {
    let is_bound = listener.config.tls.as_ref().is_some_and(|it| it.ends_with_certificate());
    if is_bound { peer.certificate()?.expires_at } else { None }
}
