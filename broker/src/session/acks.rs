//! The acknowledgements a session owes its client, in the order of the PUBLISH packets (MQTT 5.0 4.6).
//!
//! An acknowledgement is due once everything it promises has happened: the copies are in the store, the in-process
//! subscribers have done their work. Each of these holds the [`AckGate`] and releases it; [`Owed`] hands out
//! packet identifiers from the front as their gates open.

use crate::reason::Reason;
use futures_util::task::AtomicWaker;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// What one acknowledgement waits for.
#[derive(Debug)]
pub(crate) struct AckGate {
    holders: AtomicU32,
    /// The code of the first failure; 0 if none.
    failure: AtomicU8,
    /// Wakes the session that owes the acknowledgement.
    waker: Arc<AtomicWaker>,
}

impl AckGate {
    /// A gate held once, by its maker.
    pub(crate) fn new(waker: &Arc<AtomicWaker>) -> Arc<Self> {
        Arc::new(Self {
            holders: AtomicU32::new(1),
            failure: AtomicU8::new(0),
            waker: Arc::clone(waker),
        })
    }

    /// Keeps it shut until one more release.
    pub(crate) fn hold(&self) {
        self.holders.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets go of it, having done or failed what was promised.
    pub(crate) fn release(&self, outcome: Result<(), Reason>) {
        if let Err(reason) = outcome {
            let _ = self.failure.compare_exchange(
                0,
                reason.code(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }

    /// The outcome, once nobody holds it.
    pub(crate) fn outcome(&self) -> Option<Result<(), Reason>> {
        if self.holders.load(Ordering::Acquire) != 0 {
            return None;
        }
        Some(match self.failure.load(Ordering::Acquire) {
            0 => Ok(()),
            code if code == Reason::QuotaExceeded.code() => Err(Reason::QuotaExceeded),
            _ => Err(Reason::UnspecifiedError),
        })
    }
}

/// A hold on a gate that lets go by itself: whoever drops it undone has failed.
#[derive(Debug)]
pub(crate) struct Hold(Option<Arc<AckGate>>);

impl Hold {
    /// Keeps `gate` shut until this is done or dropped.
    pub(crate) fn new(gate: &Arc<AckGate>) -> Self {
        gate.hold();
        Self(Some(Arc::clone(gate)))
    }

    /// What was promised has been done.
    pub(crate) fn done(mut self) {
        if let Some(gate) = self.0.take() {
            gate.release(Ok(()));
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.release(Err(Reason::UnspecifiedError));
        }
    }
}

/// The acknowledgements owed, first PUBLISH first.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    waiting: VecDeque<(NonZeroU16, Due)>,
}

/// When an acknowledgement is due.
#[derive(Debug)]
pub(crate) enum Due {
    /// As soon as those before it are sent.
    Now(Reason),
    /// When the gate opens.
    After(Arc<AckGate>),
}

impl Owed {
    /// How many are owed.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none is owed.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Owes one more.
    pub(crate) fn push(&mut self, packet_id: NonZeroU16, due: Due) {
        self.waiting.push_back((packet_id, due));
    }

    /// The next one that is due, with its reason code.
    pub(crate) fn pop(&mut self) -> Option<(NonZeroU16, Reason)> {
        let (packet_id, due) = self.waiting.front()?;
        let reason = match due {
            Due::Now(reason) => *reason,
            Due::After(gate) => match gate.outcome()? {
                Ok(()) => Reason::Success,
                Err(reason) => reason,
            },
        };
        let packet_id = *packet_id;
        self.waiting.pop_front();
        Some((packet_id, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    #[test]
    fn acknowledgements_keep_the_order_of_their_packets() {
        let gate = AckGate::new(&Arc::default());
        let mut owed = Owed::default();
        owed.push(id(1), Due::After(Arc::clone(&gate)));
        owed.push(id(2), Due::Now(Reason::NoMatchingSubscribers));
        assert_eq!(owed.pop(), None);
        gate.release(Ok(()));
        assert_eq!(owed.pop(), Some((id(1), Reason::Success)));
        assert_eq!(owed.pop(), Some((id(2), Reason::NoMatchingSubscribers)));
        assert!(owed.is_empty());
    }

    #[test]
    fn a_gate_opens_with_its_last_holder_and_keeps_the_failure() {
        let gate = AckGate::new(&Arc::default());
        gate.hold();
        gate.release(Err(Reason::QuotaExceeded));
        assert_eq!(gate.outcome(), None);
        gate.release(Ok(()));
        assert_eq!(gate.outcome(), Some(Err(Reason::QuotaExceeded)));
    }
}
