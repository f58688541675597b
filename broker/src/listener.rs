//! Sockets: accepting them, welcoming clients on them, and seeing them off.
//!
//! The accept loop does nothing but accept: the handshake of each socket runs in the task of its own that later is
//! the connection's, under one time-out. Past the bound on connections a socket is closed at once.

use crate::broker::Inner;
use crate::config::{ListenerConfig, ListenerKind};
use crate::connection::handshake::{Turned, Welcome};
use crate::connection::{End, Socket};
use crate::figures::Counters;
use crate::reason::Reason;
use crate::space::Shared;
use crate::websocket;
use proto::PlatformTopic;
use proto::platform::EventTopic;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long accepting pauses after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds a listener and accepts on it in the background, until the broker drains.
pub(crate) async fn listen(
    inner: Arc<Inner>,
    config: ListenerConfig,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(config.address).await?;
    let address = listener.local_addr()?;
    tracing::info!(listener = config.kind.as_str(), %address, "listening");
    let stopped = inner.stopped();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stopped => {}
            () = accept(&inner, config.kind, listener) => {}
        }
    });
    Ok(address)
}

async fn accept(inner: &Arc<Inner>, kind: ListenerKind, listener: TcpListener) {
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let shared = inner.shared();
        let counters = &shared.counters;
        if counters.connections.load(Ordering::Relaxed) >= shared.limits.connections_max as u64 {
            Counters::add(&counters.connections_refused, 1);
            tracing::debug!(%address, "too many connections");
            continue;
        }
        let counted = Counted::new(shared);
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            serve(&inner, kind, stream, address).await;
            drop(counted);
        });
    }
}

/// A socket in the count of connections, until it is dropped, however its task ends.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        Counters::add(&shared.counters.connections, 1);
        Counters::add(&shared.counters.connections_total, 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One socket, from its first byte to its last.
async fn serve(inner: &Arc<Inner>, kind: ListenerKind, stream: TcpStream, address: SocketAddr) {
    // Small packets must not wait for each other (RFC 896); failing to say so is no reason to turn a client away.
    let _ = stream.set_nodelay(true);
    match kind {
        ListenerKind::Mqtt => welcome(inner, stream, address).await,
        ListenerKind::WebSocket => {
            let timeout = inner.shared().limits.connect_timeout();
            let packet_bytes_max = inner.shared().limits.packet_bytes_max;
            let upgraded =
                tokio::time::timeout(timeout, websocket::accept(stream, packet_bytes_max)).await;
            match upgraded {
                Ok(Ok(socket)) => welcome(inner, socket, address).await,
                Ok(Err(error)) => tracing::info!(%address, %error, "websocket refused"),
                Err(_) => tracing::info!(%address, "websocket handshake timed out"),
            }
        }
    }
}

/// A client on a stream, from its first byte to its last.
pub(crate) async fn welcome<S: Socket>(inner: &Arc<Inner>, socket: S, address: SocketAddr) {
    let timeout = inner.shared().limits.connect_timeout();
    let counters = &inner.shared().counters;
    match tokio::time::timeout(timeout, inner.door().welcome(socket, address)).await {
        Ok(Ok(welcome)) => run(welcome, address).await,
        Ok(Err(Turned::Lost)) => tracing::debug!(%address, "closed before CONNECT"),
        Ok(Err(error)) => {
            Counters::add(&counters.connections_refused, 1);
            tracing::info!(%address, %error, "connection refused");
        }
        Err(_) => {
            Counters::add(&counters.connections_refused, 1);
            tracing::info!(%address, reason = %Reason::MaximumConnectTime, "no CONNECT in time");
        }
    }
}

async fn run<S: Socket>(welcome: Welcome<S>, address: SocketAddr) {
    let Welcome { connection, space, sender, live, hold } = welcome;
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
    let end = connection.run().await;
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
    drop(hold);
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
