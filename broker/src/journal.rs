//! What the log tells of connections that end and of sockets that come to nothing.
//!
//! Each is counted by its reason. Each is told in one line, with who it was, the reason as a stable word and the code
//! of MQTT 5.0 2.4; but only so many lines a second, lest a flood fills the disk. What is left out is counted, and the
//! next line says how much it was.

mod budget;

pub(crate) use budget::Budget;

use crate::connection::End;
use crate::live::Live;
use crate::message::Sender;
use crate::peer::PeerAddress;
use crate::reason::Reason;
use crate::space::Space;
use proto::{ClientId, Namespace, TimestampMs};
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines of each kind in a second.
const LINES_PER_SEC: u32 = 100;

/// The longest client id that is told, in characters: it comes from strangers.
const TOLD_CHARS_MAX: usize = 128;

/// How a connection ends that we do not end.
const BY_CLIENT: [&str; 3] = ["normal", "normal_with_will", "connection_lost"];

/// See the module.
#[derive(Debug)]
pub(crate) struct Journal {
    ends_by_client: [AtomicU64; BY_CLIENT.len()],
    ends_by_us: [AtomicU64; Reason::ALL.len()],
    refusals: [AtomicU64; Reason::ALL.len()],
    /// Lines for the level `info`.
    infos: Budget,
    /// Lines for the level `debug`.
    debugs: Budget,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            ends_by_client: Default::default(),
            ends_by_us: std::array::from_fn(|_| AtomicU64::new(0)),
            refusals: std::array::from_fn(|_| AtomicU64::new(0)),
            infos: Budget::new(LINES_PER_SEC),
            debugs: Budget::new(LINES_PER_SEC),
        }
    }
}

/// A connection, as it is told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) client: &'a ClientId,
    pub(crate) namespace: &'a Namespace,
    pub(crate) listener: &'a str,
    pub(crate) address: PeerAddress,
    /// The number of the connection.
    pub(crate) connection: u64,
}

impl<'a> Told<'a> {
    pub(crate) fn new(space: &'a Space, sender: &'a Sender, live: &'a Live) -> Self {
        let peer = live.peer.as_ref();
        Self {
            client: &sender.client_id,
            namespace: space.namespace(),
            listener: peer.map_or("", |peer| &peer.listener),
            address: peer.map_or(PeerAddress::Local(None), |peer| peer.address),
            connection: live.number,
        }
    }
}

/// How often connections have ended, and CONNECTs been refused, by reason; every reason there is, each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endings {
    /// Connections: `normal`, `normal_with_will`, `connection_lost`, and the names of [`Reason`].
    pub ended: Vec<(&'static str, u64)>,
    /// CONNECTs: the names of [`Reason`] that are failures.
    pub refused: Vec<(&'static str, u64)>,
}

/// The reason of an end as logs, events and figures give it.
pub(crate) fn word(end: End) -> &'static str {
    match end {
        End::Left { with_will: false } => BY_CLIENT[0],
        End::Left { with_will: true } => BY_CLIENT[1],
        End::Lost => BY_CLIENT[2],
        End::Closed(reason) => reason.as_str(),
    }
}

/// The code of an end (MQTT 5.0 3.14.2.1); a connection that is lost has none.
pub(crate) fn code(end: End) -> Option<u8> {
    match end {
        End::Left { with_will: false } => Some(0x00),
        End::Left { with_will: true } => Some(0x04),
        End::Lost => None,
        End::Closed(reason) => Some(reason.code()),
    }
}

/// A code as the specification writes it.
fn hex(code: Option<u8>) -> Option<String> {
    code.map(|code| format!("0x{code:02X}"))
}

impl Journal {
    /// A connection has begun.
    pub(crate) fn connected(&self, who: Told<'_>, identity: &proto::Identity, now: TimestampMs) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let Some(left_out) = self.debugs.take(now) else { return };
        let Told { client, namespace, listener, address, connection } = who;
        let client = short(client.as_str());
        tracing::debug!(
            client, %namespace, %identity, listener, %address, connection, left_out, "connected"
        );
    }

    /// A connection has ended.
    pub(crate) fn ended(&self, who: Told<'_>, end: End, now: TimestampMs) {
        match end {
            End::Left { with_will: false } => add(&self.ends_by_client, 0),
            End::Left { with_will: true } => add(&self.ends_by_client, 1),
            End::Lost => add(&self.ends_by_client, 2),
            End::Closed(reason) => add(&self.ends_by_us, place(reason)),
        }
        let is_usual = !matches!(end, End::Closed(reason) if !is_usual(reason));
        if is_usual && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let budget = if is_usual { &self.debugs } else { &self.infos };
        let Some(left_out) = budget.take(now) else { return };
        let Told { client, namespace, listener, address, connection } = who;
        let (client, reason, code) = (short(client.as_str()), word(end), hex(code(end)));
        if is_usual {
            tracing::debug!(
                client, %namespace, listener, %address, connection, reason, code, left_out,
                "connection ended"
            );
        } else {
            tracing::info!(
                client, %namespace, listener, %address, connection, reason, code, left_out,
                "connection ended"
            );
        }
    }

    /// Counts a CONNECT that is refused with a reason.
    pub(crate) fn count_refused(&self, reason: Reason) {
        add(&self.refusals, place(reason));
    }

    /// A CONNECT is refused.
    pub(crate) fn refused(
        &self,
        listener: &str,
        address: PeerAddress,
        refusal: Refusal<'_>,
        now: TimestampMs,
    ) {
        self.count_refused(refusal.reason);
        let Some(left_out) = self.infos.take(now) else { return };
        let Refusal { reason, client, why } = refusal;
        let (client, code) = (client.map(short), hex(Some(reason.code())));
        let reason = reason.as_str();
        tracing::info!(
            client, listener, %address, reason, code, left_out, "connection refused: {why}"
        );
    }

    /// A socket has come to nothing before MQTT began.
    pub(crate) fn turned_away(
        &self,
        listener: &str,
        address: PeerAddress,
        (reason, why): (&'static str, &dyn std::fmt::Display),
        now: TimestampMs,
    ) {
        let Some(left_out) = self.infos.take(now) else { return };
        tracing::info!(listener, %address, reason, left_out, "socket refused: {why}");
    }

    /// A socket was closed before its client said anything; health checks and port scanners do so.
    pub(crate) fn closed_early(
        &self,
        listener: &str,
        address: PeerAddress,
        what: &'static str,
        now: TimestampMs,
    ) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let Some(left_out) = self.debugs.take(now) else { return };
        tracing::debug!(listener, %address, left_out, "{what}");
    }

    /// Lines left out since the start.
    pub(crate) fn left_out(&self) -> u64 {
        self.infos.left_out() + self.debugs.left_out()
    }

    /// What has been counted.
    pub(crate) fn read(&self) -> Endings {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let by_reason = |counters: &[AtomicU64]| {
            let failures = Reason::ALL.iter().zip(counters).filter(|(it, _)| it.is_failure());
            failures.map(|(it, count)| (it.as_str(), read(count))).collect::<Vec<_>>()
        };
        let by_client = BY_CLIENT.iter().zip(&self.ends_by_client);
        let mut ended: Vec<_> = by_client.map(|(it, count)| (*it, read(count))).collect();
        ended.extend(by_reason(&self.ends_by_us));
        Endings { ended, refused: by_reason(&self.refusals) }
    }
}

/// Why a CONNECT is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal<'a> {
    pub(crate) reason: Reason,
    /// Unknown if the CONNECT could not be read.
    pub(crate) client: Option<&'a str>,
    pub(crate) why: &'a str,
}

/// Where a reason stands among all.
fn place(reason: Reason) -> usize {
    Reason::ALL.iter().position(|it| *it == reason).unwrap_or_default()
}

fn add(counters: &[AtomicU64], place: usize) {
    if let Some(counter) = counters.get(place) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether nobody has done anything wrong.
fn is_usual(reason: Reason) -> bool {
    matches!(reason, Reason::SessionTakenOver | Reason::ServerShuttingDown)
}

fn short(text: &str) -> String {
    text.chars().take(TOLD_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(client: &ClientId, namespace: &Namespace, journal: &Journal, end: End) {
        let address = PeerAddress::Local(None);
        let who = Told { client, namespace, listener: "mqtt", address, connection: 1 };
        journal.ended(who, end, TimestampMs(0));
    }

    #[test]
    fn each_end_and_refusal_is_counted_under_its_reason() {
        let journal = Journal::default();
        let (client, namespace) = (ClientId::parse("c").unwrap(), Namespace::default());
        let mut ends: Vec<End> = Reason::ALL.into_iter().map(End::Closed).collect();
        ends.extend([End::Lost, End::Left { with_will: true }, End::Left { with_will: false }]);
        ends.into_iter().for_each(|end| told(&client, &namespace, &journal, end));
        journal.count_refused(Reason::Banned);
        let Endings { ended, refused } = journal.read();
        assert!(ended.iter().all(|(_, count)| *count == 1), "{ended:?}");
        assert_eq!(ended.iter().filter(|(it, _)| *it == "keep_alive_timeout").count(), 1);
        let refused: Vec<_> = refused.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(refused, [("banned", 1)]);
    }

    #[test]
    fn a_flood_of_ends_leaves_lines_out_and_counts_them() {
        let journal = Journal::default();
        let (client, namespace) = (ClientId::parse("c").unwrap(), Namespace::default());
        for _ in 0..1000 {
            told(&client, &namespace, &journal, End::Closed(Reason::ProtocolError));
        }
        assert_eq!(journal.left_out(), 1000 - u64::from(LINES_PER_SEC));
    }
}
