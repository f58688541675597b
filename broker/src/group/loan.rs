//! A message that a group has lent to one of its members.
//!
//! A [`Loan`] travels with the delivery. Whoever drops it undone, and be it with the whole connection, gives the
//! message back; nothing on the way has to remember to.

use crate::message::Message;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use proto::Qos;
use std::sync::Arc;

/// One message of a group.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) message: Arc<Message>,
    /// The QoS it has in the group; a member may have been granted less.
    pub(super) qos: Qos,
    /// Its row in the queue of the group.
    pub(super) seq: Option<u64>,
}

/// How a loan has ended.
#[derive(Debug)]
pub(super) enum Returned {
    /// The member has had it: this row, of this weight, may go.
    Done(u64, usize),
    /// Somebody else has to have it.
    Back(Parcel),
}

/// Where loans come back to. As long as what members may hold at once.
#[derive(Debug)]
pub(super) struct Returns {
    list: Mutex<Vec<Returned>>,
    waker: Arc<AtomicWaker>,
}

impl Returns {
    pub(super) fn new(waker: Arc<AtomicWaker>) -> Self {
        Self { list: Mutex::default(), waker }
    }

    pub(super) fn take(&self) -> Vec<Returned> {
        std::mem::take(&mut self.list.lock())
    }

    fn push(&self, returned: Returned) {
        self.list.lock().push(returned);
        self.waker.wake();
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Loan {
    parcel: Option<Parcel>,
    returns: Arc<Returns>,
}

impl Loan {
    pub(super) fn new(parcel: Parcel, returns: &Arc<Returns>) -> Self {
        Self { parcel: Some(parcel), returns: Arc::clone(returns) }
    }

    /// The member has had the message.
    pub(crate) fn done(mut self) {
        if let Some(Parcel { seq: Some(seq), message, .. }) = self.parcel.take() {
            self.returns.push(Returned::Done(seq, message.weight()));
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(parcel) = self.parcel.take() {
            self.returns.push(Returned::Back(parcel));
        }
    }
}
