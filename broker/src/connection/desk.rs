//! What a connection needs only while it is at work. One that rests has none of it.
//!
//! A thread keeps what the connection before has left for the one that works next: its buffers are warm.

use super::OUT_BYTES_MAX;
use super::replay::Replay;
use super::stall::Stall;
use crate::live::Carriage;
use crate::outbox::Outbox;
use crate::session::queue::Delivery;
use crate::space::Space;
use bytes::BytesMut;
use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Context;
use store::Durability;
use tokio::time::{Instant, Sleep};

/// Bytes that a desk which is handed on has room for without asking for memory.
const OUT_BYTES_USUAL: usize = OUT_BYTES_MAX / 4;

thread_local! {
    static FREE: Cell<Option<Box<Work>>> = const { Cell::new(None) };
}

/// Where a connection works; empty while it rests.
#[derive(Default)]
pub(super) struct Desk(Option<Box<Work>>);

/// What is on it.
pub(super) struct Work {
    /// To be written.
    pub(super) out: BytesMut,
    /// Layers over the socket hold bytes that it has not taken yet.
    pub(super) is_unflushed: bool,
    pub(super) outbox: Outbox,
    /// Retained messages still to be sent after a SUBSCRIBE.
    pub(super) replay: Replay,
    /// Taken from the queue and not sent. A durable one is still in the store: it is read again if this ends.
    pub(super) taken: VecDeque<Delivery>,
    /// The publisher waits for a subscriber.
    pub(super) stall: Option<Stall>,
    /// Rings when a wait is over.
    timer: Option<Pin<Box<Sleep>>>,
    /// Counts of one turn, added to those of the connection and the broker at its end.
    pub(super) tally: Carriage,
}

impl Desk {
    /// With what the connection before has left to be sent.
    pub(super) fn with(replay: Replay) -> Self {
        if replay.is_done() {
            return Self::default();
        }
        Self(Some(Box::new(Work { out: BytesMut::new(), replay, ..Work::default() })))
    }

    /// Begins a turn in `space`.
    pub(super) fn sit_down(&mut self, space: &Space) {
        self.get().outbox.promise(space.durability());
    }

    /// The work; that which the thread has last left if there was none.
    pub(super) fn get(&mut self) -> &mut Work {
        self.0.get_or_insert_with(|| FREE.take().unwrap_or_default())
    }

    /// Ends a turn.
    pub(super) fn leave(&mut self) {
        let Some(mut work) = self.0.take() else { return };
        if work.is_done() {
            work.replay = Replay::default();
            if work.out.capacity() > OUT_BYTES_MAX {
                work.out = BytesMut::with_capacity(OUT_BYTES_USUAL);
            }
            FREE.set(Some(work));
            return;
        }
        if work.out.is_empty() {
            work.out = BytesMut::new();
        }
        self.0 = Some(work);
    }

    /// Deliveries taken from the queue and not sent.
    pub(super) fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |work| work.held())
    }
}

impl Default for Work {
    fn default() -> Self {
        Self {
            out: BytesMut::with_capacity(OUT_BYTES_USUAL),
            is_unflushed: false,
            outbox: Outbox::with(Durability::default()),
            replay: Replay::default(),
            taken: VecDeque::new(),
            stall: None,
            timer: None,
            tally: Carriage::default(),
        }
    }
}

impl Work {
    fn is_done(&self) -> bool {
        self.out.is_empty()
            && !self.is_unflushed
            && self.outbox.is_clear()
            && self.replay.is_done()
            && self.taken.is_empty()
            && self.stall.is_none()
            && self.timer.is_none()
    }

    /// Has the connection woken at the end of a wait, if there is one; says whether there is.
    pub(super) fn waits_until(&mut self, end: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(end) = end else {
            self.timer = None;
            return false;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        true
    }

    /// Deliveries taken from the queue and not sent.
    pub(super) fn held(&self) -> usize {
        self.taken.len() + self.replay.page_len()
    }
}
