//! What there is in one namespace.

use serde::Serialize;

/// A reading of it. Subscriptions and sessions of the platform are among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct NamespaceFigures {
    /// Clients connected.
    pub connected: usize,
    /// Sessions, connected or away.
    pub sessions: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Shared subscriptions, each with all of its members.
    pub shared_subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Bytes of them.
    pub retained_bytes: usize,
    /// Bytes of the messages that wait on the disk for its sessions, as far as their queues have been read.
    pub queued_bytes: u64,
}
