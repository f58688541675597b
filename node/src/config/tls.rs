//! `[tls]`, and the key `tls` of a listener: the files of TLS, and what clients have to show.

use super::Problems;
use broker::{ClientAuth, ClientName, Tls12, TlsConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The table `tls`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsTable {
    /// The certificate and its intermediate authorities.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// The authorities that vouch for clients.
    pub(crate) client_ca: PathBuf,
    /// Whether clients show certificates.
    pub(crate) client_auth: ClientAuthKey,
    /// What of them is the user name.
    pub(crate) client_name: ClientNameKey,
    /// Revocation lists.
    pub(crate) crl: Vec<PathBuf>,
    /// The oldest version of TLS.
    pub(crate) version_min: VersionKey,
    /// Whether a connection ends with its client's certificate.
    pub(crate) end_with_certificate: bool,
    /// How often the files are looked at, in seconds.
    pub(crate) reload_secs: u64,
}

impl Default for TlsTable {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: PathBuf::new(),
            client_auth: ClientAuthKey::None,
            client_name: ClientNameKey::None,
            crl: Vec::new(),
            version_min: VersionKey::Tls12,
            end_with_certificate: false,
            reload_secs: 5,
        }
    }
}

impl TlsTable {
    /// Finds what is missing in the table at `key`. One that nobody uses may be empty.
    pub(super) fn check(&self, key: &str, is_used: bool, problems: &mut Problems) {
        problems.within(&format!("{key}.reload_secs"), self.reload_secs, 1..=86_400);
        let is_empty = |path: &PathBuf| path.as_os_str().is_empty();
        let asks = self.client_auth != ClientAuthKey::None;
        if !asks && (self.client_name != ClientNameKey::None || self.end_with_certificate) {
            let why = "clients that show no certificate have no name or end by it: ask for one";
            problems.add(&format!("{key}.client_auth"), why);
        }
        if (!asks || is_empty(&self.client_ca)) && !self.crl.is_empty() {
            problems.add(&format!("{key}.crl"), "it needs client_auth and client_ca");
        }
        if !is_used {
            return;
        }
        for (name, path) in [("certificate", &self.certificate), ("key", &self.key)] {
            if is_empty(path) {
                problems.add(&format!("{key}.{name}"), "a listener with TLS needs it");
            }
        }
    }

    /// As the broker takes it.
    pub(crate) fn broker(&self) -> TlsConfig {
        TlsConfig {
            client_ca: Some(self.client_ca.clone()).filter(|path| !path.as_os_str().is_empty()),
            client_auth: match self.client_auth {
                ClientAuthKey::None => ClientAuth::None,
                ClientAuthKey::Optional => ClientAuth::Optional,
                ClientAuthKey::Required => ClientAuth::Required,
            },
            revocation_lists: self.crl.clone(),
            tls12: match self.version_min {
                VersionKey::Tls12 => Tls12::Allowed,
                VersionKey::Tls13 => Tls12::Refused,
            },
            ends_with_certificate: self.end_with_certificate,
            reload_period: Duration::from_secs(self.reload_secs),
            ..TlsConfig::new(&self.certificate, &self.key)
        }
    }
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientAuthKey {
    /// They are not asked to.
    None,
    /// They may.
    Optional,
    /// They must.
    Required,
}

/// What of a client's certificate is its user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientNameKey {
    /// Nothing.
    None,
    /// The common name.
    Cn,
    /// The first DNS name.
    Dns,
    /// The first URI that begins with `manifold:`.
    Uri,
}

impl ClientNameKey {
    /// As the broker takes it.
    pub(crate) fn broker(self) -> ClientName {
        match self {
            Self::None => ClientName::None,
            Self::Cn => ClientName::CommonName,
            Self::Dns => ClientName::Dns,
            Self::Uri => ClientName::Uri,
        }
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum VersionKey {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}
