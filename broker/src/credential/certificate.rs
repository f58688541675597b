//! Certificates of devices as the platform knows them: authorities that a namespace trusts, and what each certificate
//! is for.
//!
//! What an authority of a namespace has signed opens that namespace only, and only if the certificate stands here: the
//! authority alone vouches for nobody. Of the certificates of one name the newest that was ever used counts; those
//! before it are over.

use proto::id::AuthorityId;
use proto::{Namespace, TimestampMs, UserId};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// Where an authority is kept.
pub type AuthorityKey = (Namespace, AuthorityId);

/// Where a certificate is kept: the namespace, the name that it is for, and its fingerprint.
pub type CertificateKey = (Namespace, UserId, String);

/// An authority that vouches for devices of its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityRow {
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its certificate, as PEM.
    pub certificate: String,
    /// Its private key, as PEM, never shown; empty if it is elsewhere, and signs nothing here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The enrolment by which devices that it has signed for register when they come for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<UserId>,
    /// How long the certificates that it signs are valid.
    pub lifetime_days: u32,
    /// Nobody comes in by it for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_disabled: bool,
    /// When it was created.
    pub created: TimestampMs,
    /// Until when its certificate is valid.
    pub expires: TimestampMs,
    /// Rises with each change, from 1.
    pub revision: u64,
}

/// A certificate of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRow {
    /// Who has signed it.
    pub authority: AuthorityId,
    /// Rises with each certificate of its name.
    pub generation: u64,
    /// When it was issued, or first shown.
    pub created: TimestampMs,
    /// Until when it is valid.
    pub expires: TimestampMs,
    /// An operator has taken it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_revoked: bool,
}

/// The name that a certificate is for, by namespace and fingerprint. It may outlive what is known of the certificate:
/// so one that others have signed is not taken for a newcomer's when it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CertificateName(pub UserId);

/// The generation in use of the certificates of a name: what is older is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CertificateInUse(pub u64);

/// How a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// Nobody has come in by it yet.
    Issued,
    /// It is the one in use.
    InUse,
    /// A newer one is in use.
    Replaced,
    /// An operator has taken it back.
    Revoked,
    /// Its time is over.
    Expired,
}

impl CertificateRow {
    /// How it stands, where `in_use` is the generation in use of its name.
    pub fn state(&self, in_use: Option<u64>, now: TimestampMs) -> CertificateState {
        let in_use = in_use.unwrap_or(0);
        match () {
            () if self.is_revoked => CertificateState::Revoked,
            () if self.expires <= now => CertificateState::Expired,
            () if self.generation < in_use => CertificateState::Replaced,
            () if self.generation == in_use => CertificateState::InUse,
            () => CertificateState::Issued,
        }
    }
}

macro_rules! rows {
    ($($row:ty: $key:ty, $table:literal;)*) => {$(
        impl Row for $row {
            type Key = $key;
            const TABLE: &'static str = $table;
            const VERSION: u8 = 1;

            fn encode(&self, out: &mut Vec<u8>) {
                store::encode_json(self, out);
            }

            fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
                store::decode_json(version, bytes)
            }
        }
    )*};
}

rows! {
    AuthorityRow: AuthorityKey, "authorities";
    CertificateRow: CertificateKey, "certificates";
    CertificateName: (Namespace, String), "certificate_names";
    CertificateInUse: (Namespace, UserId), "certificates_in_use";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_that_was_used_counts() {
        let row = CertificateRow {
            authority: AuthorityId::parse("plant").unwrap(),
            generation: 2,
            created: TimestampMs(0),
            expires: TimestampMs(100),
            is_revoked: false,
        };
        let now = TimestampMs(99);
        assert_eq!(row.state(None, now), CertificateState::Issued);
        assert_eq!(row.state(Some(1), now), CertificateState::Issued);
        assert_eq!(row.state(Some(2), now), CertificateState::InUse);
        assert_eq!(row.state(Some(3), now), CertificateState::Replaced);
        assert_eq!(row.state(Some(2), TimestampMs(100)), CertificateState::Expired);
        let revoked = CertificateRow { is_revoked: true, ..row };
        assert_eq!(revoked.state(None, now), CertificateState::Revoked);
    }
}
