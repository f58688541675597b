//! The accept loop: it accepts, counts, and hands on. It waits for nobody's handshake.

use super::bind::Listening;
use super::serve::{Arrival, serve};
use super::{Listener, lobby::Place};
use crate::broker::Inner;
use crate::figures::Counters;
use crate::peer::PeerAddress;
use crate::space::Shared;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How long accepting pauses after an error that would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How often the log tells of what may happen thousands of times a second.
const LOG_PERIOD: Duration = Duration::from_secs(1);

/// Accepts for ever.
pub(super) async fn accept(inner: &Arc<Inner>, listener: &Arc<Listener>, socket: Listening) {
    let counters = &inner.shared().counters;
    let mut reserve = Reserve::new();
    let mut errors = Seldom::default();
    let mut refusals = Seldom::default();
    loop {
        let (stream, address) = match socket.accept().await {
            Ok(accepted) => accepted,
            // The client has given up before its turn came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                Counters::add(&counters.accept_errors, 1);
                if let Some(count) = errors.count() {
                    let listener = &listener.config.name;
                    tracing::warn!(listener, %error, count, "cannot accept connections");
                }
                if !(is_out_of_descriptors(&error) && reserve.turn_one_away(&socket).await) {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        match admit(inner, listener, address) {
            Ok((counted, place)) => {
                let (inner, listener) = (Arc::clone(inner), Arc::clone(listener));
                let arrival = Arrival::new(&inner, &listener, address, place, counted);
                tokio::spawn(async move { serve(&inner, &listener, stream, arrival).await });
            }
            Err(reason) => {
                Counters::add(&counters.connections_refused, 1);
                if let Some(count) = refusals.count() {
                    let listener = &listener.config.name;
                    tracing::warn!(listener, %address, reason, count, "connections refused");
                }
            }
        }
    }
}

/// Whether there is room for one more socket, or why not.
pub(super) fn admit(
    inner: &Arc<Inner>,
    listener: &Arc<Listener>,
    address: PeerAddress,
) -> Result<(Counted, Place), &'static str> {
    let shared = inner.shared();
    let counters = &shared.counters;
    if counters.connections.load(Ordering::Relaxed) >= shared.limits.connections_max as u64 {
        return Err("too_many_connections");
    }
    if listener.connections.load(Ordering::Relaxed) >= listener.config.connections_max {
        return Err("too_many_connections_of_listener");
    }
    if !listener.connects.lock().take(Instant::now()) {
        Counters::add(&counters.connections_over_rate, 1);
        return Err("too_many_new_connections");
    }
    // Behind a proxy all clients have its address, until its header has come.
    let address = if listener.config.proxies.is_empty() { address.ip() } else { None };
    let Some(place) = inner.lobby().enter(address) else {
        Counters::add(&counters.handshakes_refused, 1);
        return Err("too_many_handshakes");
    };
    Ok((Counted::new(shared, listener), place))
}

/// A socket in the counts of connections, until it is dropped, however its task ends.
pub(crate) struct Counted {
    shared: Arc<Shared>,
    listener: Arc<Listener>,
}

impl Counted {
    pub(super) fn new(shared: &Arc<Shared>, listener: &Arc<Listener>) -> Self {
        Counters::add(&shared.counters.connections, 1);
        Counters::add(&shared.counters.connections_total, 1);
        listener.connections.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), listener: Arc::clone(listener) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.counters.connections.fetch_sub(1, Ordering::Relaxed);
        self.listener.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file descriptor kept for the day when there are no more: with it a client is told by closing, and does not wait
/// in the system's queue for an answer that nobody can give.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open(std::env::current_dir().unwrap_or_default()).ok())
    }

    /// Accepts one client and closes its socket; `false` if even that cannot be done.
    async fn turn_one_away(&mut self, socket: &Listening) -> bool {
        if self.0.take().is_none() {
            *self = Self::new();
            return false;
        }
        // The socket is closed before the reserve is taken back, which would find no descriptor otherwise.
        let accepting = tokio::time::timeout(ACCEPT_PAUSE, socket.accept());
        let is_turned_away = accepting.await.is_ok_and(|accepted| accepted.map(drop).is_ok());
        *self = Self::new();
        is_turned_away
    }
}

/// EMFILE or ENFILE: this process, or the system, has no file descriptor left.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Lets one of many equal things through in a while, with how many there were.
#[derive(Debug, Default)]
struct Seldom {
    told_at: Option<Instant>,
    untold: u64,
}

impl Seldom {
    fn count(&mut self) -> Option<u64> {
        self.untold += 1;
        let now = Instant::now();
        if self.told_at.is_some_and(|then| now.duration_since(then) < LOG_PERIOD) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}
