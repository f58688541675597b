//! One connection as others see it: facts for the operator, and the way to have it end.

use crate::packet::Version;
use crate::peer::Peer;
use crate::reason::Reason;
use crate::session::machine::Machine;
use proto::TimestampMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
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
    pub(crate) traffic: Traffic,
    /// Messages sent and not acknowledged.
    pub(crate) inflight: AtomicU16,
    /// Messages received whose PUBACK or PUBREC is owed.
    pub(crate) owed: AtomicU16,
    /// Messages of QoS 2 received and not released.
    pub(crate) unreleased: AtomicU16,
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

/// What a connection has carried. Only its own task counts.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) received: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// A reading of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carriage {
    pub(crate) received: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent: u64,
    pub(crate) sent_bytes: u64,
    /// Of the messages received.
    pub(crate) refused: u64,
}

impl Traffic {
    /// Adds what a turn has carried.
    pub(crate) fn add(&self, turn: Carriage) {
        let add = |counter: &AtomicU64, amount: u64| {
            if amount != 0 {
                // There is one writer, so nothing gets lost between the two.
                counter.store(counter.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
            }
        };
        add(&self.received, turn.received);
        add(&self.received_bytes, turn.received_bytes);
        add(&self.sent, turn.sent);
        add(&self.sent_bytes, turn.sent_bytes);
        add(&self.refused, turn.refused);
    }

    pub(crate) fn read(&self) -> Carriage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Carriage {
            received: read(&self.received),
            received_bytes: read(&self.received_bytes),
            sent: read(&self.sent),
            sent_bytes: read(&self.sent_bytes),
            refused: read(&self.refused),
        }
    }
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
            traffic: Traffic::default(),
            inflight: AtomicU16::new(0),
            owed: AtomicU16::new(0),
            unreleased: AtomicU16::new(0),
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

    /// Notes for whoever asks how many exchanges of QoS 1 and 2 are open.
    pub(crate) fn note_exchanges(&self, machine: &Machine) {
        // There are no more of either than packet identifiers.
        let note = |counter: &AtomicU16, count: usize| {
            counter.store(u16::try_from(count).unwrap_or(u16::MAX), Ordering::Relaxed);
        };
        note(&self.inflight, machine.inflight());
        note(&self.owed, machine.owed());
        note(&self.unreleased, machine.unreleased());
    }

    /// Why it has been asked to end.
    pub(crate) fn stop_reason(&self) -> Option<Reason> {
        const ASKED_FOR: [Reason; 7] = [
            Reason::SessionTakenOver,
            Reason::AdministrativeAction,
            Reason::ServerShuttingDown,
            Reason::NotAuthorized,
            Reason::MaximumConnectTime,
            Reason::ServerBusy,
            Reason::QuotaExceeded,
        ];
        let code = self.stop.load(Ordering::Acquire);
        ASKED_FOR.into_iter().find(|reason| reason.code() == code)
    }
}
