//! One client on a socket: a future that reads, routes, writes and sleeps.
//!
//! [`handshake`] brings the socket from its first byte to CONNACK; then [`Connection`] runs, one task a client. All
//! that is protocol is in [`Machine`]; here are the buffers, the wake-ups and the clock. Each turn reads what has
//! come, routes all of it, submits one set of changes, wakes every subscriber once, and writes everything that has
//! come due in one call. A connection that rests holds no buffer, and lies in one box: futures around it would hold
//! a copy of it for each layer.

mod buffer;
mod end_timer;
mod exchange;
pub(crate) mod handshake;
mod inbound;
mod outbound;
mod pacing;
pub(crate) mod replay;
mod socket;
mod standing;

use crate::figures::Counters;
use crate::live::{Carriage, Live};
use crate::outbox::Outbox;
use crate::overload::pace::Pace;
use crate::publisher::Publisher;
use crate::reason::Reason;
use crate::session::Session;
use crate::session::machine::Machine;
use crate::session::queue::Delivery;
use crate::space::{Carried, Leaving, Space};
use buffer::Inbox;
use bytes::BytesMut;
pub(crate) use end_timer::EndTimer;
use proto::TimestampMs;
use replay::Replay;
pub(crate) use socket::Socket;
use standing::Standing;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Once so much waits to be written, no more is taken from the queue.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// Once a client has left so much unread, we read nothing from it.
const UNREAD_BYTES_MAX: usize = 4 * OUT_BYTES_MAX;

/// How long the last bytes of a connection may take to be written.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a client that has broken the protocol may still send: a socket that is closed with bytes unread is
/// reset, and the client may never see why.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// DISCONNECT by the client.
    Left { with_will: bool },
    /// The socket closed or broke.
    Lost,
    /// By us, with this reason.
    Closed(Reason),
}

/// See the module.
pub(crate) struct Connection<S> {
    socket: S,
    space: Arc<Space>,
    session: Arc<Session>,
    live: Arc<Live>,
    machine: Machine,
    publisher: Publisher,
    /// Of the permissions that it goes by.
    revision: u32,
    /// How the client can prove itself anew.
    standing: Option<Box<Standing>>,
    inbox: Inbox,
    out: BytesMut,
    outbox: Outbox,
    /// Retained messages still to be sent after a SUBSCRIBE.
    replay: Replay,
    /// Taken from the queue and not sent. A durable one is still in the store: it is read again if this ends.
    taken: VecDeque<Delivery>,
    /// The publisher waits for this subscriber, until then.
    stall: Option<(Arc<Session>, Instant)>,
    /// Only where publishers have a rate.
    pace: Option<Box<Pace>>,
    timer: Pin<Box<Sleep>>,
    keep_alive: Option<Duration>,
    last_heard: Instant,
    now: TimestampMs,
    /// Counts of one turn, added to those of the connection and the broker at its end.
    tally: Carriage,
}

impl<S: Socket> Connection<S> {
    /// Runs until the client is gone, then leaves the session in order.
    pub(crate) async fn run(mut self: Box<Self>) -> End {
        let end = poll_fn(|cx| self.poll_turns(cx)).await;
        // In a place of its own, which a connection that rests does not have.
        Box::pin(self.close(end)).await;
        end
    }

    /// Takes turns until there is nothing to do.
    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.session.waker().register(cx.waker());
        self.now = self.space.shared().clock.now();
        let turned = self.turns(cx);
        self.settle();
        match turned {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn turns(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        self.keep_to_permissions();
        if let Some(reason) = self.live.stop_reason() {
            // An operator who ends its own connection has an answer waiting.
            if reason == Reason::AdministrativeAction {
                self.write(cx)?;
            }
            return Err(End::Closed(reason));
        }
        loop {
            let has_read = self.read(cx)?;
            self.outbox.flush(self.space.shared());
            let is_blocked = self.write(cx)?;
            // A client that does not read is read from still, lest both sides wait for the other, but not for ever.
            if !has_read || is_blocked && self.out.len() > UNREAD_BYTES_MAX {
                break;
            }
        }
        self.watch_the_clock(cx)
    }

    /// Reads once and acts on it; `false` if there was nothing to read, or no wish to.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let is_paused = self.is_paused();
        if self.is_stalled(cx) || is_paused || self.machine.is_owing_enough() {
            return Ok(false);
        }
        // What a pause has left over comes before what the socket has.
        if self.inbox.has_frame() {
            self.act_on_leftover()?;
            self.keep_pace();
            return Ok(true);
        }
        buffer::with_scratch(|scratch| {
            let mut into = ReadBuf::new(scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut into) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(_)) => return Err(End::Lost),
                Poll::Ready(Ok(())) if into.filled().is_empty() => return Err(End::Lost),
                Poll::Ready(Ok(())) => {}
            }
            let bytes = into.filled();
            self.tally.received_bytes += bytes.len() as u64;
            self.last_heard = Instant::now();
            self.act_on(bytes)?;
            self.keep_pace();
            Ok(true)
        })
    }

    /// Writes all that is due; `true` if the socket takes no more for now.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        loop {
            self.machine.write_due(&mut self.out).map_err(End::Closed)?;
            self.forget_refused();
            let has_more = self.fill();
            while !self.out.is_empty() {
                match Pin::new(&mut self.socket).poll_write(cx, &self.out) {
                    Poll::Pending => return Ok(true),
                    Poll::Ready(Err(_) | Ok(0)) => return Err(End::Lost),
                    Poll::Ready(Ok(count)) => {
                        self.tally.sent_bytes += count as u64;
                        bytes::Buf::advance(&mut self.out, count);
                    }
                }
            }
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Err(_)) => return Err(End::Lost),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if !has_more {
                self.out = BytesMut::new();
                return Ok(false);
            }
        }
    }

    /// Whether the publisher has to wait for a subscriber that has fallen behind.
    fn is_stalled(&mut self, cx: &Context<'_>) -> bool {
        let Some((session, until)) = &self.stall else { return false };
        let mut queue = session.queue();
        if queue.wait_for_room(cx.waker()) {
            drop(queue);
            self.stall = None;
            return false;
        }
        if Instant::now() < *until {
            return true;
        }
        queue.give_up();
        drop(queue);
        tracing::debug!(subscriber = %session.sender().client_id, "a subscriber has fallen behind");
        self.stall = None;
        false
    }

    /// Waits for a subscriber from now on, if publishing has run into one that has fallen behind.
    fn stall_if_pressed(&mut self) {
        let Some(session) = self.outbox.pressure.take() else { return };
        if self.stall.is_some() || Arc::ptr_eq(&session, &self.session) {
            return;
        }
        let limits = &self.space.shared().limits;
        let wait_ms = match session.is_in_process() {
            true => limits.platform_wait_ms,
            false => limits.slow_subscriber_wait_ms,
        };
        Counters::add(&self.space.shared().counters.publisher_stalls, 1);
        self.stall = Some((session, Instant::now() + Duration::from_millis(wait_ms)));
    }

    /// Ends a silent client, and sets the timer for whatever comes first.
    fn watch_the_clock(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let silence_ends = self.keep_alive.map(|patience| self.last_heard + patience);
        let stall_ends = self.stall.as_ref().map(|(_, until)| *until);
        let pause_ends = self.pause_ends();
        let now = Instant::now();
        // Whoever we do not read from cannot be heard.
        let is_listening = stall_ends.is_none() && pause_ends.is_none();
        if is_listening && silence_ends.is_some_and(|end| end <= now) {
            if !self.machine.is_owing_enough() {
                return Err(End::Closed(Reason::KeepAliveTimeout));
            }
            self.last_heard = now;
        }
        let waits_end = match (stall_ends, pause_ends) {
            (Some(stall), Some(pause)) => Some(stall.min(pause)),
            (stall, pause) => stall.or(pause),
        };
        let Some(next) = waits_end.or(silence_ends) else { return Ok(()) };
        let next = next.max(now + Duration::from_millis(1));
        // The timer is moved only if it would ring too late, or has rung: moving it costs more than a wake-up.
        let is_armed = !self.timer.is_elapsed() && self.timer.deadline() <= next;
        if !is_armed {
            self.timer.as_mut().reset(next);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(next);
            let _ = self.timer.as_mut().poll(cx);
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.outbox.flush(self.space.shared());
        let tally = std::mem::take(&mut self.tally);
        let counters = &self.space.shared().counters;
        Counters::add(&counters.received, tally.received);
        Counters::add(&counters.received_bytes, tally.received_bytes);
        Counters::add(&counters.sent, tally.sent);
        Counters::add(&counters.sent_bytes, tally.sent_bytes);
        self.live.traffic.add(tally);
        self.session.hold(self.held());
        self.live.note_exchanges(&self.machine);
    }

    /// Tells the client why, publishes its will, lets go of its session.
    async fn close(self: Box<Self>, end: End) {
        let mut this = *self;
        if let End::Closed(reason) = end {
            let reply = crate::packet::Reply::Disconnect(reason);
            crate::codec::encode(this.machine.version, &reply, &mut this.out);
        }
        let with_will = !matches!(end, End::Left { with_will: false });
        let expiry_secs = match this.live.is_session_ended() {
            true => 0,
            false => this.machine.expiry_secs,
        };
        let carried = Carried { kept: this.machine.into_kept(), replay: this.replay };
        this.space.leave_session(&this.session, Leaving { carried, expiry_secs, with_will });
        if let End::Closed(reason) = end {
            // It may be gone, or not read: the session has been left in any case.
            let last_words = say_and_shut(&mut this.socket, &this.out);
            let said = tokio::time::timeout(CLOSE_TIMEOUT, last_words).await;
            if matches!(said, Ok(Ok(()))) && reason.is_fault_of_client() {
                let _ = tokio::time::timeout(LINGER_TIMEOUT, read_off(&mut this.socket)).await;
            }
        }
    }
}

async fn say_and_shut<S: Socket>(socket: &mut S, bytes: &[u8]) -> std::io::Result<()> {
    socket.write_all(bytes).await?;
    socket.shutdown().await
}

/// Reads until the client has closed.
async fn read_off<S: Socket>(socket: &mut S) {
    // Not in the task: that every connection would have to hold.
    let mut bytes = vec![0; 4096];
    while matches!(socket.read(&mut bytes).await, Ok(count) if count > 0) {}
}
