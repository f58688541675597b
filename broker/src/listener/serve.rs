//! One socket, from its first byte to its last.
//!
//! What is in front of MQTT is taken off layer by layer: a PROXY header, TLS, WebSocket. All of that and the CONNECT
//! have one deadline. A TCP stream with nothing in front is served as it is; all else goes through one more pointer.

use super::Listener;
use super::bind::Accepted;
use super::config::ListenerKind;
use super::lobby::Place;
use crate::broker::Inner;
use crate::connection::handshake::{Turned, Welcome};
use crate::connection::{End, EndTimer, Socket};
use crate::figures::Counters;
use crate::peer::{Peer, PeerAddress, Secured, TlsInfo};
use crate::proxy_protocol::{self, ProxiedTls};
use crate::reason::Reason;
use crate::tls::{self, certificate::CertificateInfo};
use crate::websocket;
use proto::platform::EventTopic;
use proto::{PlatformTopic, TimestampMs};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
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

/// Serves a socket to its end.
pub(super) async fn serve(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    stream: Accepted,
    address: PeerAddress,
    place: Place,
) {
    let deadline = Instant::now() + inner.shared().limits.connect_timeout();
    let peer = Peer { address, listener: Arc::clone(&listener.name), secured: None };
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
                welcome(inner, listener, stream, peer, place, deadline).await;
            } else {
                Box::pin(unwrap_tcp(inner, listener, stream, peer, place, deadline)).await;
            }
        }
        #[cfg(unix)]
        Accepted::Unix(stream) => {
            let socket: Box<dyn Socket> = Box::new(stream);
            Box::pin(unwrap(inner, listener, socket, peer, place, deadline)).await;
        }
    }
}

/// Serves a stream that is neither a socket nor wrapped in anything.
#[cfg(feature = "fuzzing")]
pub(super) async fn serve_stream<S: Socket>(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    stream: S,
    address: std::net::SocketAddr,
) {
    let Some(place) = inner.lobby().enter(None) else { return };
    let deadline = Instant::now() + inner.shared().limits.connect_timeout();
    let address = PeerAddress::Ip(address);
    let peer = Peer { address, listener: Arc::clone(&listener.name), secured: None };
    welcome(inner, listener, stream, peer, place, deadline).await;
}

/// Takes the PROXY header off, if the listener asks for one.
async fn unwrap_tcp(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    mut stream: TcpStream,
    mut peer: Peer,
    mut place: Place,
    deadline: Instant,
) {
    if !listener.config.proxies.is_empty() {
        let reading = introduce(listener, &mut stream, &mut peer, &mut place);
        match tokio::time::timeout_at(deadline, reading).await {
            Ok(Ok(())) => {}
            Ok(Err(stopped)) => return turn_away(inner, &peer, Some(&stopped)),
            Err(_) => return turn_away(inner, &peer, None),
        }
    }
    unwrap(inner, listener, Box::new(stream), peer, place, deadline).await;
}

/// Reads the PROXY header and puts the client's address in the place of the proxy's.
async fn introduce(
    listener: &Listener,
    stream: &mut TcpStream,
    peer: &mut Peer,
    place: &mut Place,
) -> Result<(), Stopped> {
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
    mut peer: Peer,
    place: Place,
    deadline: Instant,
) {
    let peeling = peel(inner, listener, socket, &mut peer);
    match tokio::time::timeout_at(deadline, peeling).await {
        Ok(Ok(socket)) => welcome(inner, listener, socket, peer, place, deadline).await,
        Ok(Err(stopped)) => turn_away(inner, &peer, Some(&stopped)),
        Err(_) => turn_away(inner, &peer, None),
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
        peer.secured.get_or_insert_default().tls = Some(tls::info(&stream));
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
fn turn_away(inner: &Inner, peer: &Peer, stopped: Option<&Stopped>) {
    let (listener, address) = (&peer.listener, peer.address);
    let counters = &inner.shared().counters;
    Counters::add(&counters.connections_refused, 1);
    match stopped {
        // Health checks and port scanners come and go without a word.
        Some(Stopped::Tls(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            tracing::debug!(%listener, %address, "closed before TLS");
        }
        Some(error) => {
            let counter = match error {
                Stopped::Tls(_) => &counters.tls_handshake_errors,
                Stopped::Crowded => &counters.handshakes_refused,
                Stopped::Proxy(_) | Stopped::NotTrusted(_) => &counters.proxy_header_errors,
                Stopped::WebSocket(_) => &counters.websocket_handshake_errors,
            };
            Counters::add(counter, 1);
            tracing::info!(%listener, %address, %error, "connection refused");
        }
        None => {
            Counters::add(&counters.handshakes_timed_out, 1);
            tracing::info!(%listener, %address, "no handshake in time");
        }
    }
}

async fn welcome<S: Socket>(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    socket: S,
    peer: Peer,
    place: Place,
    deadline: Instant,
) {
    let (address, name) = (peer.address, Arc::clone(&peer.listener));
    let ends_at = end_of_certificate(listener, &peer);
    let counters = &inner.shared().counters;
    let welcoming = inner.door().welcome(socket, peer, &listener.config);
    // Boxed, so that the task of a connection is no larger for the handshake that it began with.
    let welcomed = Box::pin(tokio::time::timeout_at(deadline, welcoming)).await;
    drop(place);
    match welcomed {
        Ok(Ok(welcome)) => run(welcome, address, ends_at).await,
        Ok(Err(Turned::Lost)) => {
            tracing::debug!(listener = %name, %address, "closed before CONNECT")
        }
        // Logged where it was decided, at a bounded rate.
        Ok(Err(Turned::Unproved { .. })) => Counters::add(&counters.connections_refused, 1),
        Ok(Err(error)) => {
            Counters::add(&counters.connections_refused, 1);
            tracing::info!(listener = %name, %address, %error, "connection refused");
        }
        Err(_) => {
            Counters::add(&counters.connections_refused, 1);
            Counters::add(&counters.handshakes_timed_out, 1);
            let reason = Reason::MaximumConnectTime;
            tracing::info!(listener = %name, %address, %reason, "no CONNECT in time");
        }
    }
}

/// When the connection has to end with the client's certificate.
fn end_of_certificate(listener: &Listener, peer: &Peer) -> Option<TimestampMs> {
    let is_bound = listener.config.tls.as_ref().is_some_and(|it| it.ends_with_certificate());
    if is_bound { peer.certificate()?.expires_at } else { None }
}

async fn run<S: Socket>(welcome: Welcome<S>, address: PeerAddress, ends_at: Option<TimestampMs>) {
    let Welcome { connection, space, sender, live, seat, hold } = welcome;
    let client = sender.client_id.clone();
    let event = |reason: Option<&'static str>| {
        let mut event = serde_json::json!({
            "client_id": client,
            "identity": sender.identity,
            "connection": live.number,
            "address": address,
            "t": space.shared().clock.now(),
        });
        if let Some(reason) = reason {
            event["reason"] = reason.into();
        }
        event
    };
    tracing::debug!(%client, identity = %sender.identity, %address, "connected");
    let topic = PlatformTopic::Event(EventTopic::ClientConnected).topic();
    space.publish_event(topic, space.shared().voice(), || event(None));
    let timer = ends_at.map(|time| {
        let left_ms = time.0.saturating_sub(space.shared().clock.now().0);
        EndTimer::start(&connection, Duration::from_millis(left_ms))
    });
    let end = connection.run().await;
    drop(timer);
    let reason = reason_text(end);
    match end {
        End::Closed(Reason::SessionTakenOver | Reason::ServerShuttingDown)
        | End::Left { .. }
        | End::Lost => {
            tracing::debug!(%client, reason, "disconnected");
        }
        End::Closed(_) => {
            Counters::add(&space.shared().counters.protocol_errors, 1);
            tracing::info!(%client, %address, reason, "connection ended");
        }
    }
    drop((seat, hold));
    let topic = PlatformTopic::Event(EventTopic::ClientDisconnected).topic();
    space.publish_event(topic, space.shared().voice(), || event(Some(reason)));
}

/// The reason as `events/clients/disconnected` gives it.
fn reason_text(end: End) -> &'static str {
    match end {
        End::Left { with_will: false } => "normal",
        End::Left { with_will: true } => "normal_with_will",
        End::Lost => "connection_lost",
        End::Closed(reason) => reason.as_str(),
    }
}
