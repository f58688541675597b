//! TLS to a remote broker: whom a bridge trusts and who it is there, as PEM text, checked before anything connects.
//!
//! The connection is made here, under rumqttc, so that its own TLS and what that depends on are not needed.

pub(super) mod reason;

use super::url::Address;
use crate::config::ConfigError;
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The longest PEM text of one field, in bytes: some thirty certificates. They are kept in the row of the bridge.
const PEM_BYTES_MAX: usize = 64 * 1024;

/// What a bridge says over TLS, and believes. Without any of it: the authorities of the system, and no certificate.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteTls {
    /// The authorities that the remote broker's certificate may be of, PEM; without, those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The certificate that the bridge shows, with those between it and its authority, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The private key of that certificate, PEM, not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The name that the remote broker's certificate has to be for; without, the host of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl std::fmt::Debug for RemoteTls {
    /// Without the texts, of which one is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl RemoteTls {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a connection to `address` is made with, or the field that is wrong; does no I/O.
    pub(super) fn dialer(&self, address: &Address) -> Result<Dialer, ConfigError> {
        let roots = self.ca.as_deref().map(authorities).transpose()?;
        let identity = match (self.certificate.as_deref(), self.key.as_deref()) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(identity(certificate, key)?),
            (Some(_), None) => return Err(refused("key", "a certificate needs its key")),
            (None, Some(_)) => return Err(refused("certificate", "a key needs its certificate")),
        };
        let name = match &self.server_name {
            Some(name) => ServerName::try_from(name.clone())
                .map_err(|_| refused("server_name", "it must be a host name or an address"))?,
            None => ServerName::try_from(address.host.clone()).map_err(|_| {
                ConfigError::new("url", "its host is no name for TLS: say tls.server_name")
            })?,
        };
        Ok(Dialer { roots: roots.map(Arc::new), identity: identity.map(Arc::new), name })
    }
}

/// Makes connections to one remote broker.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    /// `None`: those of the system, which are read for each connection, since they may change.
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<CertifiedKey>>,
    name: ServerName<'static>,
}

impl Dialer {
    /// Connects to `host:port` and shakes hands; an error says for a person what is wrong.
    pub(super) async fn connect(self, address: String) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let roots = match &self.roots {
            Some(roots) => Arc::clone(roots),
            None => Arc::new(tokio::task::spawn_blocking(of_system).await??),
        };
        let config = self.config(roots).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        let outcome = connector.connect(self.name, tcp).await;
        outcome.map_err(|error| reason::of_handshake(error, self.roots.is_some()))
    }

    /// Made anew for each connection, so that nothing of an earlier one goes on.
    fn config(&self, roots: Arc<RootCertStore>) -> Result<ClientConfig, rustls::Error> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        Ok(match &self.identity {
            Some(identity) => {
                let shown = SingleCertAndKey::from(Arc::clone(identity));
                let shown: Arc<dyn ResolvesClientCert> = Arc::new(shown);
                config.with_client_cert_resolver(shown)
            }
            None => config.with_no_client_auth(),
        })
    }
}

/// The one provider of cryptography (decision 0009).
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn of_system() -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(reason::say("the system has no authorities: name one in tls.ca"));
    }
    Ok(roots)
}

fn authorities(text: &str) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", text)? {
        let added = roots.add(certificate);
        added.map_err(|error| refused("ca", format!("it is not of an authority: {error}")))?;
    }
    Ok(roots)
}

fn identity(certificate: &str, key: &str) -> Result<CertifiedKey, ConfigError> {
    let chain = certificates("certificate", certificate)?;
    let key = private_key(key)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => refused("key", "it is not the certificate's key"),
        rustls::Error::InvalidCertificate(_) => {
            refused("certificate", format!("it cannot be read: {error}"))
        }
        error => refused("key", format!("it cannot be used: {error}")),
    })
}

/// Every certificate of a text, of which there must be one.
fn certificates(field: &str, text: &str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    check_length(field, text)?;
    let found: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| refused(field, format!("it is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(refused(field, "there is no certificate in PEM form in it"));
    }
    Ok(found)
}

fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, ConfigError> {
    check_length("key", text)?;
    let is_encrypted =
        ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"].map(|it| text.contains(it));
    if is_encrypted.contains(&true) {
        return Err(refused("key", "it is encrypted: give it without a passphrase"));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => refused("key", "there is no private key in PEM form in it"),
        error => refused("key", format!("it is not PEM: {error}")),
    })
}

fn check_length(field: &str, text: &str) -> Result<(), ConfigError> {
    if text.len() > PEM_BYTES_MAX {
        return Err(refused(field, "it must have at most 65536 bytes"));
    }
    Ok(())
}

fn refused(field: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::new(&format!("tls.{field}"), reason)
}

#[cfg(test)]
mod tests;
