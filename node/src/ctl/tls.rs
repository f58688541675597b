//! TLS to the node: by the system's authorities, or by one that the operator names.

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// What a TLS connection is made with.
#[derive(Clone)]
pub(super) struct Tls {
    /// Checks the node's certificate.
    pub(super) connector: TlsConnector,
    /// The name that it has to be for.
    pub(super) name: ServerName<'static>,
}

impl Tls {
    /// For a host, with the authorities of a PEM file, or those of the system.
    pub(super) fn new(host: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).context("the host has no name for TLS")?;
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                let why = || format!("cannot use {} as --tls-ca", path.display());
                for found in CertificateDer::pem_file_iter(path).with_context(why)? {
                    roots.add(found.with_context(why)?).with_context(why)?;
                }
                anyhow::ensure!(!roots.is_empty(), "there is no certificate in {}", path.display());
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                anyhow::ensure!(
                    !roots.is_empty(),
                    "the system has no authorities; name one with --tls-ca"
                );
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS cannot be set up")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: Arc::new(config).into(), name })
    }
}
