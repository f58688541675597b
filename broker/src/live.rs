//! One connection as others see it: facts for the operator, and the way to have it end.

use crate::packet::Version;
use crate::peer::Peer;
use crate::reason::Reason;
use proto::TimestampMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use tokio::sync::Notify;

/// A connection.
#[derive(Debug)]
pub(crate) struct Live {
    /// Rises with each connection of this node.
    pub(crate) number: u64,
    /// Absent for a client in process.
    pub(crate) peer: Option<Peer>,
    pub(crate) version: Version,
    pub(crate) connected_at: TimestampMs,
    pub(crate) keep_alive_secs: u16,
    pub(crate) clean_start: bool,
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) inflight: AtomicU64,
    /// The code of the reason it has been asked to end for; 0 if not.
    stop: AtomicU8,
    /// When its proof of who it is ends, in milliseconds since the epoch; 0 if never.
    expires_at_ms: AtomicU64,
    /// Its session ends with it.
    is_session_ended: AtomicBool,
    /// Whether it has let go of its session.
    is_gone: AtomicBool,
    gone: Notify,
}

/// The grip of a connection on its session: until it is dropped, nobody else opens the session.
#[derive(Debug)]
pub(crate) struct Grip(Arc<Live>);

impl Drop for Grip {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Release);
        self.0.gone.notify_waiters();
    }
}

impl Live {
    pub(crate) fn new(
        number: u64,
        peer: Option<Peer>,
        version: Version,
        connected_at: TimestampMs,
        keep_alive_secs: u16,
        clean_start: bool,
    ) -> Self {
        Self {
            number,
            peer,
            version,
            connected_at,
            keep_alive_secs,
            clean_start,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            inflight: AtomicU64::new(0),
            stop: AtomicU8::new(0),
            expires_at_ms: AtomicU64::new(0),
            is_session_ended: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            gone: Notify::new(),
        }
    }

    /// Its grip on its session; there is one for each connection.
    pub(crate) fn grip(self: &Arc<Self>) -> Grip {
        Grip(Arc::clone(self))
    }

    /// Whether it has let go of its session.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Waits until it has let go of its session.
    pub(crate) async fn gone(&self) {
        let gone = self.gone.notified();
        if !self.is_gone() {
            gone.await;
        }
    }

    /// Sets when its proof of who it is ends.
    pub(crate) fn set_expires_at(&self, at: Option<TimestampMs>) {
        self.expires_at_ms.store(at.map_or(0, |at| at.0), Ordering::Release);
    }

    /// When its proof of who it is ends.
    pub(crate) fn expires_at(&self) -> Option<TimestampMs> {
        let at = self.expires_at_ms.load(Ordering::Acquire);
        (at != 0).then_some(TimestampMs(at))
    }

    /// Asks it to end; the first reason counts. Its session has to be woken.
    pub(crate) fn stop(&self, reason: Reason) {
        let _ = self.stop.compare_exchange(0, reason.code(), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Asks it to end, and its session with it.
    pub(crate) fn end_session(&self, reason: Reason) {
        self.is_session_ended.store(true, Ordering::Release);
        self.stop(reason);
    }

    /// Whether its session is to end with it.
    pub(crate) fn is_session_ended(&self) -> bool {
        self.is_session_ended.load(Ordering::Acquire)
    }

    /// Why it has been asked to end.
    pub(crate) fn stop_reason(&self) -> Option<Reason> {
        const ASKED_FOR: [Reason; 5] = [
            Reason::SessionTakenOver,
            Reason::AdministrativeAction,
            Reason::ServerShuttingDown,
            Reason::NotAuthorized,
            Reason::MaximumConnectTime,
        ];
        let code = self.stop.load(Ordering::Acquire);
        ASKED_FOR.into_iter().find(|reason| reason.code() == code)
    }
}
