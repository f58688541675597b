//! The accounts of a bridge: every message it was given is somewhere, or dropped for a reason that has a name.
//!
//! Since the bridge was started: out, `restored + received = sent + queued + dropped`; in,
//! `received = published + pending + returned + dropped`. A returned message was not acknowledged to the remote
//! broker, which sends it again.

use serde::Serialize;

/// What went out, and what became of the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct OutAccount {
    /// Found in the queue at the start.
    pub(crate) restored: u64,
    /// Given by this namespace.
    pub(crate) received: u64,
    /// Acknowledged by the remote broker, or written to the socket for QoS 0.
    pub(crate) sent: u64,
    /// In the queue or in flight now.
    pub(crate) queued: u64,
    /// Their bytes on disk.
    pub(crate) queued_bytes: u64,
    /// Dropped, by reason.
    pub(crate) dropped: OutDrops,
}

/// Why messages did not go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct OutDrops {
    /// The queue was at its bound.
    pub(crate) queue_full: u64,
    /// QoS 0, and there was no connection.
    pub(crate) offline: u64,
    /// Their time was over.
    pub(crate) expired: u64,
    /// They had crossed as many bridges as they may.
    pub(crate) hops: u64,
    /// They have no topic on the other side.
    pub(crate) topic: u64,
    /// Larger than the remote broker takes.
    pub(crate) too_large: u64,
    /// The remote broker will not take them.
    pub(crate) refused: u64,
    /// They could not be written to disk, or not be read again; publishers were told of the former.
    pub(crate) store: u64,
}

/// What came in, and what became of the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct InAccount {
    /// Sent by the remote broker.
    pub(crate) received: u64,
    /// Published here.
    pub(crate) published: u64,
    /// On their way to disk now.
    pub(crate) pending: u64,
    /// Not taken because the store failed; the remote broker sends them again.
    pub(crate) returned: u64,
    /// Dropped, by reason.
    pub(crate) dropped: InDrops,
}

/// Why messages did not come in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct InDrops {
    /// They had been in this namespace before.
    #[serde(rename = "loop")]
    pub(crate) looped: u64,
    /// They had crossed as many bridges as they may.
    pub(crate) hops: u64,
    /// They have no topic here.
    pub(crate) topic: u64,
    /// The platform keeps their topic to itself.
    pub(crate) forbidden: u64,
}

impl OutDrops {
    pub(crate) fn total(&self) -> u64 {
        let Self { queue_full, offline, expired, hops, topic, too_large, refused, store } = self;
        queue_full + offline + expired + hops + topic + too_large + refused + store
    }
}

impl InDrops {
    pub(crate) fn total(&self) -> u64 {
        self.looped + self.hops + self.topic + self.forbidden
    }
}

impl OutAccount {
    /// Whether every message is accounted for.
    pub(crate) fn is_balanced(&self) -> bool {
        self.restored + self.received == self.sent + self.queued + self.dropped.total()
    }
}

impl InAccount {
    /// Whether every message is accounted for.
    pub(crate) fn is_balanced(&self) -> bool {
        self.received == self.published + self.pending + self.returned + self.dropped.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_nowhere_is_noticed() {
        let dropped = OutDrops { expired: 1, ..OutDrops::default() };
        let out =
            OutAccount { restored: 2, received: 3, sent: 3, queued: 1, dropped, queued_bytes: 9 };
        assert!(out.is_balanced());
        assert!(!OutAccount { received: 4, ..out }.is_balanced());
        let dropped = InDrops { looped: 1, ..InDrops::default() };
        let inward = InAccount { received: 3, published: 1, pending: 1, returned: 0, dropped };
        assert!(inward.is_balanced());
        assert!(!InAccount { published: 2, ..inward }.is_balanced());
    }
}
