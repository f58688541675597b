//! One client on a socket: a future that reads, routes, writes and sleeps.
//!
//! [`handshake`] brings the socket from its first byte to CONNACK; then [`Connection`] runs, one task a client. All
//! that is protocol is in [`Machine`]; here are the buffers, the wake-ups and the clock. Each turn reads what has
//! come, routes all of it, submits one set of changes, wakes every subscriber once, and writes everything that has
//! come due in one call. What only work needs lies on the [`Desk`]; a connection that rests has none, and lies in one
//! box: futures around it would hold a copy of it for each layer.

mod bell;
mod buffer;
mod desk;
mod end_timer;
mod exchange;
mod farewell;
pub(crate) mod handshake;
mod inbound;
mod outbound;
mod pacing;
pub(crate) mod replay;
mod socket;
mod stall;
mod standing;
mod stay;

use crate::alarms::Alarm;
use crate::codec;
use crate::figures::Counters;
use crate::listener::Counted;
use crate::live::{Grip, Live};
use crate::overload::pace::Pace;
use crate::overload::quota::Seat;
use crate::packet::Reply;
use crate::publisher::Publisher;
use crate::reason::Reason;
use crate::session::Session;
use crate::session::machine::Machine;
use crate::space::{Carried, Leaving, Space};
use bell::Bell;
use buffer::Inbox;
use bytes::Buf;
use desk::{Desk, Work};
use end_timer::EndTimer;
use proto::TimestampMs;
pub(crate) use socket::Socket;
use standing::Standing;
pub(crate) use stay::Stay;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

/// Once so much waits to be written, no more is taken from the queue.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// Once a client has left so much unread, we read nothing from it.
const UNREAD_BYTES_MAX: usize = 4 * OUT_BYTES_MAX;

/// Reads of one turn. A client that never stops sending would keep its worker from everybody else.
const READS_AT_ONCE: usize = 2;

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
    /// Rung when there is something to read.
    bell: Option<Arc<Bell>>,
    space: Arc<Space>,
    session: Arc<Session>,
    live: Arc<Live>,
    /// Until it is dropped, nobody else opens the session.
    grip: Option<Grip>,
    /// Its place among the clients of the namespace.
    seat: Option<Seat>,
    counted: Option<Counted>,
    end_timer: Option<EndTimer>,
    machine: Machine,
    publisher: Publisher,
    /// Of the permissions that it goes by.
    revision: u32,
    /// How the client can prove itself anew.
    standing: Option<Box<Standing>>,
    inbox: Inbox,
    desk: Desk,
    /// Only where publishers have a rate.
    pace: Option<Box<Pace>>,
    /// So many milliseconds the client may be silent; `None` for ever.
    patience_ms: Option<NonZeroU32>,
    last_heard: Instant,
    /// When to see whether it has been heard.
    alarm: Option<Alarm>,
    /// When the turn began.
    now: TimestampMs,
}

impl<S: Socket> Connection<S> {
    /// Takes turns until there is nothing to do. When the client is gone, comes [`Connection::close`].
    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if Bell::of(&mut self.bell, cx).is_out_of_turn() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.session.waker().register(cx.waker());
        self.now = self.space.shared().clock.now();
        self.desk.sit_down(&self.space);
        let turned = self.turns(cx);
        self.settle();
        match turned {
            Ok(()) => {
                self.desk.leave();
                Poll::Pending
            }
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
        for reads in 1..=READS_AT_ONCE {
            let has_read = self.read(cx)?;
            if !has_read && reads > 1 {
                break;
            }
            self.desk.get().outbox.flush(self.space.shared());
            let is_blocked = self.write(cx)?;
            // A client that does not read is read from still, lest both sides wait for the other, but not for ever.
            if !has_read || is_blocked && self.desk.get().out.len() > UNREAD_BYTES_MAX {
                break;
            }
            if reads == READS_AT_ONCE {
                // There may be more: it waits behind whatever else this worker has to do.
                cx.waker().wake_by_ref();
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
            let bell = Bell::of(&mut self.bell, cx).waker();
            let rings = &mut Context::from_waker(&bell);
            match Pin::new(&mut self.socket).poll_read(rings, &mut into) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(_)) => return Err(End::Lost),
                Poll::Ready(Ok(())) if into.filled().is_empty() => return Err(End::Lost),
                Poll::Ready(Ok(())) => {}
            }
            let bytes = into.filled();
            self.desk.get().tally.received_bytes += bytes.len() as u64;
            let begins = self.inbox.is_empty();
            let now = Instant::now();
            // What a client is heard by are packets (3.1.2-22): bytes that go on with one may drip in without end.
            if self.act_on(bytes)? || begins {
                self.last_heard = now;
            }
            self.keep_pace();
            Ok(true)
        })
    }

    /// Writes all that is due; `true` if the socket takes no more for now.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        loop {
            self.machine.write_due(&mut self.desk.get().out).map_err(End::Closed)?;
            self.forget_refused();
            let has_more = self.fill();
            let Work { out, tally, is_unflushed, .. } = self.desk.get();
            if out.is_empty() && !has_more && !*is_unflushed {
                return Ok(false);
            }
            while !out.is_empty() {
                match Pin::new(&mut self.socket).poll_write(cx, out) {
                    Poll::Pending => return Ok(true),
                    Poll::Ready(Err(_) | Ok(0)) => return Err(End::Lost),
                    Poll::Ready(Ok(count)) => {
                        tally.sent_bytes += count as u64;
                        if count == out.len() { out.clear() } else { out.advance(count) }
                    }
                }
            }
            // TLS and WebSocket take bytes before the socket below does: what they still hold is passed on when it
            // is writable again, also when nothing is added to it.
            *is_unflushed = match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Err(_)) => return Err(End::Lost),
                Poll::Ready(Ok(())) => false,
                Poll::Pending => true,
            };
            if !has_more {
                return Ok(false);
            }
        }
    }

    /// Ends a silent client, and has this one woken for whatever comes first.
    fn watch_the_clock(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        // Whoever we do not read from cannot be heard.
        let stall_ends = self.desk.get().stall.as_ref().map(|stall| stall.until);
        let waits_end = match (stall_ends, self.pause_ends()) {
            (Some(stall), Some(pause)) => Some(stall.min(pause)),
            (stall, pause) => stall.or(pause),
        };
        if self.desk.get().waits_until(waits_end, cx) {
            return Ok(());
        }
        let Some(patience_ms) = self.patience_ms else { return Ok(()) };
        let patience = Duration::from_millis(patience_ms.get().into());
        let alarms = &self.space.shared().alarms;
        let now = Instant::now();
        // The alarm stays as it is until it has rung: most clients have been heard by then.
        if self.alarm.is_some_and(|alarm| !alarms.is_due(alarm, now)) {
            return Ok(());
        }
        if self.last_heard + patience <= now {
            if !self.machine.is_owing_enough() {
                return Err(End::Closed(Reason::KeepAliveTimeout));
            }
            self.last_heard = now;
        }
        let end = self.last_heard + patience;
        self.alarm = Some(alarms.set(end, self.live.number, self.session.waker()));
        Ok(())
    }

    fn settle(&mut self) {
        let Work { outbox, tally, .. } = self.desk.get();
        outbox.flush(self.space.shared());
        let tally = std::mem::take(tally);
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
        if let Some(alarm) = this.alarm {
            this.space.shared().alarms.cancel(alarm, this.live.number);
        }
        let work = this.desk.get();
        if let End::Closed(reason) = end {
            let limits = &this.space.shared().limits;
            let is_asked_for = this.live.stop_reason() == Some(reason);
            let reply = Reply::Disconnect(farewell::words(reason, is_asked_for, limits));
            codec::encode(this.machine.manner, &reply, &mut work.out);
        }
        let (out, replay) = (std::mem::take(&mut work.out), std::mem::take(&mut work.replay));
        let with_will = !matches!(end, End::Left { with_will: false });
        let expiry_secs = match this.live.is_session_ended() {
            true => 0,
            false => this.machine.expiry_secs,
        };
        let carried = Carried { kept: this.machine.into_kept(), replay };
        this.space.leave_session(&this.session, Leaving { carried, expiry_secs, with_will });
        if let End::Closed(reason) = end {
            // It may be gone, or not read: the session has been left in any case.
            let last_words = say_and_shut(&mut this.socket, &out);
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
