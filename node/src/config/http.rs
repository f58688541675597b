//! `[http]`: the HTTP listener and its gateway to the admin API and to topics.

use super::Problems;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The largest body that may be allowed, in bytes.
const BODY_BYTES_CEILING: u64 = 64 * 1024 * 1024;

/// The section `http`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpConfig {
    /// Whether `/api` and `/ingest` are there.
    pub(crate) gateway: bool,
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// Requests of the gateway at a time.
    pub(crate) requests_max: usize,
    /// The largest body of a request, in bytes.
    pub(crate) body_bytes_max: usize,
    /// Milliseconds from the head of a request to its answer.
    pub(crate) request_timeout_ms: u64,
}

impl Default for HttpConfig {
    /// A body as large as the largest packet that the broker takes.
    fn default() -> Self {
        Self {
            gateway: true,
            connections_max: 128,
            requests_max: 64,
            body_bytes_max: 1024 * 1024,
            request_timeout_ms: 10_000,
        }
    }
}

impl HttpConfig {
    /// From the head of a request to its answer.
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let whole = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        problems.within("http.connections_max", whole(self.connections_max), 1..=100_000);
        problems.within("http.requests_max", whole(self.requests_max), 1..=10_000);
        let bytes = whole(self.body_bytes_max);
        problems.within("http.body_bytes_max", bytes, 1024..=BODY_BYTES_CEILING);
        problems.within("http.request_timeout_ms", self.request_timeout_ms, 100..=600_000);
    }
}
