//! The acknowledgements a session owes its client, in the order of the PUBLISH packets (MQTT 5.0 4.6).
//!
//! A PUBACK or PUBREC is due once everything it promises has happened: the copies are in the store, the in-process
//! subscribers have done their work. Each of these holds the [`AckGate`] and releases it; [`Owed`] hands out
//! packet identifiers from the front as their gates open.

use crate::denial::Denial;
use crate::group::Loan;
use crate::packet::AckKind;
use crate::reason::Reason;
use futures_util::task::AtomicWaker;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// A subscriber in process has not done its work; no reason code has this value.
const NOT_DONE: u8 = 0xFF;

/// What one acknowledgement waits for.
#[derive(Debug)]
pub(crate) struct AckGate {
    holders: AtomicU32,
    /// The code of the failure of the commit, or [`NOT_DONE`]; 0 if all went well.
    failure: AtomicU8,
    /// Of a subscriber in process whose work was to refuse the message; the first counts.
    refusal: OnceLock<Box<Denial>>,
    /// Wakes the session that owes the acknowledgement.
    waker: Arc<AtomicWaker>,
}

impl AckGate {
    /// A gate held once, by its maker.
    pub(crate) fn new(waker: &Arc<AtomicWaker>) -> Arc<Self> {
        Arc::new(Self {
            holders: AtomicU32::new(1),
            failure: AtomicU8::new(0),
            refusal: OnceLock::new(),
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

    /// Lets go of it, having refused the message, which is work done as well.
    fn refuse(&self, denial: Denial) {
        let _ = self.refusal.set(Box::new(denial));
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

    /// The outcome, once nobody holds it. That a subscriber in process has refused the message is no failure.
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

impl AckGate {
    /// Whether a subscriber in process has refused the message.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.get().is_some()
    }

    /// What the acknowledgement says, once nobody holds the gate.
    fn verdict(&self) -> Option<Verdict> {
        let reason = match self.outcome()? {
            Ok(()) => {
                let Some(denial) = self.refusal.get() else {
                    return Some(Verdict::Taken(Reason::Success));
                };
                return Some(Verdict::TurnedDown(denial.clone()));
            }
            Err(reason) => reason,
        };
        let why = match self.failure.load(Ordering::Acquire) {
            NOT_DONE => "a part of the platform could not take the message, send it again",
            _ if reason == Reason::QuotaExceeded => "the disk is full, or too much waits for it",
            _ => "the message could not be stored",
        };
        Some(Verdict::Refused(Box::new(Denial::rule(reason, why))))
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

    /// What was promised has been done by refusing the message.
    pub(crate) fn refused(self, denial: Denial) {
        match self {
            Self::Publisher(mut hold) => {
                if let Some(gate) = hold.0.take() {
                    gate.refuse(denial);
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
    /// As soon as those before it are sent, to say no.
    Refused(Box<Denial>),
    /// When the gate opens.
    After(Arc<AckGate>),
}

/// What an acknowledgement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The message has been taken.
    Taken(Reason),
    /// It has not.
    Refused(Box<Denial>),
    /// It has, but a part of the platform that it was for has refused it, which it tells in other ways as well.
    TurnedDown(Box<Denial>),
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

    /// The next one that is due, and what it says.
    pub(crate) fn pop(&mut self) -> Option<(Promise, Verdict)> {
        if let (_, Due::After(gate)) = self.waiting.front()?
            && gate.outcome().is_none()
        {
            return None;
        }
        let (promise, due) = self.waiting.pop_front()?;
        let verdict = match due {
            Due::Now(reason) => Verdict::Taken(reason),
            Due::Refused(denial) => Verdict::Refused(denial),
            Due::After(gate) => gate.verdict()?,
        };
        Some((promise, verdict))
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
        assert_eq!(owed.pop(), Some((ack(1), Verdict::Taken(Reason::Success))));
        let nobody = Verdict::Taken(Reason::NoMatchingSubscribers);
        assert_eq!(owed.pop(), Some((ack(2), nobody)));
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
    fn a_refusal_in_process_is_work_done_and_a_failure_weighs_more() {
        let (first, second) = (
            Denial::rule(Reason::PayloadFormatInvalid, "first"),
            Denial::rule(Reason::NotAuthorized, "second"),
        );
        for commit in [Ok(()), Err(Reason::QuotaExceeded)] {
            let gate = AckGate::new(&Arc::default());
            let holds = [Hold::new(&gate), Hold::new(&gate)];
            for (hold, denial) in holds.into_iter().zip([&first, &second]) {
                assert_eq!(gate.verdict(), None);
                hold.refused(denial.clone());
            }
            gate.release(commit);
            assert_eq!(gate.outcome(), Some(commit));
            match (gate.verdict(), commit) {
                (Some(Verdict::TurnedDown(told)), Ok(())) => assert_eq!(*told, first),
                (Some(Verdict::Refused(told)), Err(reason)) => assert_eq!(told.reason, reason),
                other => panic!("{other:?}"),
            }
        }
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
