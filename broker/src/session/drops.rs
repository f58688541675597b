//! Deliveries that a session has not got, by reason.

use serde::Serialize;

/// Deliveries dropped since the session began or, if that was earlier, since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Drops {
    /// A bound of its queue was reached.
    pub full: u64,
    /// Its client was away, and they were not of the kind that waits for it.
    pub disconnected: u64,
    /// They were longer than its client takes (MQTT 5.0 3.1.2-25).
    pub too_large: u64,
    /// Its client may not receive them any more.
    pub forbidden: u64,
}

impl Drops {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.full + self.disconnected + self.too_large + self.forbidden
    }
}
