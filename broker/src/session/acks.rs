//! The acknowledgements a session owes its client, in the order of the PUBLISH packets (MQTT 5.0 4.6).
//!
//! A PUBACK or PUBREC is due once everything it promises has happened: the copies are in the store, the in-process
//! subscribers have done their work. Each of these holds the [`AckGate`] and releases it; [`Owed`] hands out
//! packet identifiers from the front as their gates open.

use crate::group::Loan;
use crate::packet::AckKind;
use crate::reason::Reason;
use futures_util::task::AtomicWaker;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// A subscriber in process has not done its work; no reason code has this value.
const NOT_DONE: u8 = 0xFF;

/// What one acknowledgement waits for.
#[derive(Debug)]
pub(crate) struct AckGate {
    holders: AtomicU32,
    /// The code of the failure of the commit, or [`NOT_DONE`]; 0 if all went well.
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

    /// Lets go of it, having done or failed to commit what was promised.
    pub(crate) fn release(&self, outcome: Result<(), Reason>) {
        if let Err(reason) = outcome {
            self.failure.store(reason.code(), Ordering::Release);
        }
        self.let_go();
    }

    /// Lets go of it, not having done the work that was promised. A failed commit weighs more.
    fn give_up(&self) {
        let _ = self.failure.compare_exchange(0, NOT_DONE, Ordering::AcqRel, Ordering::Relaxed);
        self.let_go();
    }

    fn let_go(&self) {
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }

    /// Whether what was to be committed has been, even if a subscriber in process has failed.
    pub(crate) fn is_committed(&self) -> bool {
        self.holders.load(Ordering::Acquire) == 0
            && matches!(self.failure.load(Ordering::Acquire), 0 | NOT_DONE)
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

/// Somebody waits for what becomes of a delivery. Whoever drops it undone has failed.
#[derive(Debug)]
pub(crate) enum Hold {
    /// A publisher waits for a part of the platform.
    Publisher(GateHold),
    /// A group waits for the member it has lent a message to.
    Group(Box<Loan>),
}

/// A hold on a gate that lets go by itself.
#[derive(Debug)]
pub(crate) struct GateHold(Option<Arc<AckGate>>);

impl Hold {
    /// Keeps `gate` shut until this is done or dropped.
    pub(crate) fn new(gate: &Arc<AckGate>) -> Self {
        gate.hold();
        Self::Publisher(GateHold(Some(Arc::clone(gate))))
    }

    /// Gives the message back to its group unless it is done.
    pub(crate) fn lent(loan: Loan) -> Self {
        Self::Group(Box::new(loan))
    }

    /// Whether the message is lent by a group.
    pub(crate) fn is_lent(&self) -> bool {
        matches!(self, Self::Group(_))
    }

    /// What was promised has been done.
    pub(crate) fn done(self) {
        match self {
            Self::Publisher(mut hold) => {
                if let Some(gate) = hold.0.take() {
                    gate.release(Ok(()));
                }
            }
            Self::Group(loan) => loan.done(),
        }
    }
}

impl Drop for GateHold {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.give_up();
        }
    }
}

/// The acknowledgements owed, first PUBLISH first.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    waiting: VecDeque<(Promise, Due)>,
}

/// A PUBACK or a PUBREC that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) kind: AckKind,
    pub(crate) packet_id: NonZeroU16,
}

/// When an acknowledgement is due.
#[derive(Debug, Clone)]
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
    pub(crate) fn push(&mut self, promise: Promise, due: Due) {
        self.waiting.push_back((promise, due));
    }

    /// The next one that is due, with its reason code.
    pub(crate) fn pop(&mut self) -> Option<(Promise, Reason)> {
        let (promise, due) = self.waiting.front()?;
        let reason = match due {
            Due::Now(reason) => *reason,
            Due::After(gate) => match gate.outcome()? {
                Ok(()) => Reason::Success,
                Err(reason) => reason,
            },
        };
        let promise = *promise;
        self.waiting.pop_front();
        Some((promise, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(number: u16) -> Promise {
        Promise { kind: AckKind::PubAck, packet_id: NonZeroU16::new(number).unwrap() }
    }

    #[test]
    fn acknowledgements_keep_the_order_of_their_packets() {
        let gate = AckGate::new(&Arc::default());
        let mut owed = Owed::default();
        owed.push(ack(1), Due::After(Arc::clone(&gate)));
        owed.push(ack(2), Due::Now(Reason::NoMatchingSubscribers));
        assert_eq!(owed.pop(), None);
        gate.release(Ok(()));
        assert_eq!(owed.pop(), Some((ack(1), Reason::Success)));
        assert_eq!(owed.pop(), Some((ack(2), Reason::NoMatchingSubscribers)));
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
        assert!(!gate.is_committed());
    }

    #[test]
    fn a_failed_commit_weighs_more_than_work_not_done() {
        for commit in [Ok(()), Err(Reason::QuotaExceeded)] {
            let gate = AckGate::new(&Arc::default());
            drop(Hold::new(&gate));
            gate.release(commit);
            assert_eq!(gate.is_committed(), commit.is_ok());
            let expected = commit.err().unwrap_or(Reason::UnspecifiedError);
            assert_eq!(gate.outcome(), Some(Err(expected)));
        }
    }
}
