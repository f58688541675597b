//! The rows of the trust list.

use proto::{Namespace, TimestampMs};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// Where a certificate is kept: its project, and its SHA-256 in hexadecimal digits.
pub(crate) type CertificateKey = (Namespace, String);

/// What operators have said of a certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerdictRow {
    /// Whether it is never trusted.
    pub(crate) is_rejected: bool,
    /// Whether what it has signed is trusted, rather than itself.
    pub(crate) is_authority: bool,
    /// As PEM; empty: only its fingerprint is known.
    pub(crate) certificate: String,
    /// What it has taken back, as PEM.
    pub(crate) revoked: Option<String>,
    /// Until when it is trusted; absent: there is no end.
    pub(crate) until: Option<TimestampMs>,
    /// Where it was shown; empty: nowhere yet.
    pub(crate) url: String,
    pub(crate) description: String,
    /// When it was last changed.
    pub(crate) updated: TimestampMs,
    /// Rises with each change, from 1.
    pub(crate) revision: u64,
}

/// A certificate that was shown, and of which operators have said nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetRow {
    /// As PEM.
    pub(crate) certificate: String,
    /// Where it was shown last.
    pub(crate) url: String,
    /// When it was shown first.
    pub(crate) first: TimestampMs,
    /// When it was shown last, to within an hour.
    pub(crate) last: TimestampMs,
}

impl Row for VerdictRow {
    type Key = CertificateKey;
    const TABLE: &'static str = "server_certificates";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for MetRow {
    type Key = CertificateKey;
    const TABLE: &'static str = "server_certificates_met";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
