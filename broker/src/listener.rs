//! Sockets: accepting them, welcoming clients on them, and seeing them off.
//!
//! - [`config`]: what an operator says of a listener; [`network`]: whom it trusts
//! - `bind`: opening the socket; `accept`: the loop, which does nothing but accept
//! - `lobby`: how many may wait for their CONNACK
//! - `serve`: one socket from its first byte to its CONNACK, in a task of its own

mod accept;
mod bind;
pub(crate) mod config;
pub(crate) mod lobby;
pub(crate) mod network;
mod serve;

pub(crate) use accept::Counted;

use crate::broker::Inner;
use crate::connection::Socket;
use crate::figures::Counters;
use crate::overload::rate::Bucket;
use crate::peer::PeerAddress;
use crate::tls;
use config::{Endpoint, ListenError, ListenerConfig, ListenerKind};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

/// A listener that is open.
pub(crate) struct Listener {
    pub(crate) config: ListenerConfig,
    /// Its name, shared by its connections.
    pub(crate) name: Arc<str>,
    connections: AtomicUsize,
    connects: Mutex<Bucket>,
}

/// Opens a listener and accepts on it in the background, until the broker drains. Says where it has been bound.
pub(crate) async fn listen(
    inner: Arc<Inner>,
    config: ListenerConfig,
) -> Result<Endpoint, ListenError> {
    let (socket, endpoint) = bind::bind(&config.endpoint)?;
    tracing::info!(listener = config.name, address = %endpoint, "listening");
    if let Some(tls) = &config.tls {
        tls::watch(tls, inner.shared(), inner.stopped());
        tls.trust(&inner.shared().trust);
        inner.tls().enter(&config.name, tls);
    }
    let listener = Arc::new(Listener {
        name: config.name.as_str().into(),
        connections: AtomicUsize::new(0),
        connects: connects(&config),
        config,
    });
    let stopped = inner.stopped();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stopped => {}
            () = accept::accept(&inner, &listener, socket) => {}
        }
    });
    Ok(endpoint)
}

/// How many new connections a second it takes.
fn connects(config: &ListenerConfig) -> Mutex<Bucket> {
    Mutex::new(Bucket::new(config.connects_per_sec_max.into(), Instant::now()))
}

/// Serves a stream that nobody had to accept, to its end. The bounds of the node count, and those of its address; a
/// stream for which there is no room is closed.
pub(crate) async fn serve_visit(
    inner: &Arc<Inner>,
    name: &str,
    stream: Box<dyn Socket>,
    address: SocketAddr,
) {
    if inner.shared().is_draining.load(Ordering::Acquire) {
        return;
    }
    let config = ListenerConfig::tcp(name, ListenerKind::Mqtt, address);
    let listener = Arc::new(Listener {
        name: name.into(),
        connections: AtomicUsize::new(0),
        connects: connects(&config),
        config,
    });
    let address = PeerAddress::from(address);
    match accept::admit(inner, &listener, address) {
        Ok((counted, place)) => {
            let arrival = serve::Arrival::new(inner, &listener, address, place, counted);
            serve::serve_visit(inner, &listener, stream, arrival).await;
        }
        Err(reason) => {
            Counters::add(&inner.shared().counters.connections_refused, 1);
            tracing::debug!(listener = name, %address, reason, "no room for a visit");
        }
    }
}
