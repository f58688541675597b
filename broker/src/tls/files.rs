//! The files of a TLS listener: certificate, key, certificate authorities and revocation lists, all in PEM form.

use super::trust::{ClientVerifier, TrustCell};
use super::{ClientAuth, InForce, Tls12, TlsConfig, TlsError};
use crate::tls::certificate::CertificateInfo;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// No file is longer: a list of the largest authority has some megabytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What tells whether a file has changed.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// The stamps of all files of a configuration. Links are followed, so that one to another file is a change.
pub(super) fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    config.files().map(stamp).collect()
}

/// A configuration for rustls, and what our own certificate says.
pub(super) fn load(
    config: &TlsConfig,
    trust: &TrustCell,
) -> Result<(InForce, CertificateInfo), TlsError> {
    let chain = certificates(&config.certificate)?;
    let key = key(&config.key)?;
    let refused = |path: &Path, why: String| TlsError::Refused { path: path.to_owned(), why };
    let own = chain.first().map(|it| CertificateInfo::read(it)).transpose();
    let own = own.map_err(|error| refused(&config.certificate, error.to_string()))?;
    let own = own.unwrap_or_default();
    let versions: &[&rustls::SupportedProtocolVersion] = match config.tls12 {
        Tls12::Allowed => &[&rustls::version::TLS13, &rustls::version::TLS12],
        Tls12::Refused => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| TlsError::Provider(error.to_string()))?;
    let clients = verifier(config, trust)?;
    let builder = match clients.clone() {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => refused(
            &config.key,
            format!("it is not the key of the certificate in {}", config.certificate.display()),
        ),
        other => refused(&config.key, other.to_string()),
    })?;
    // Sessions are resumed by tickets with keys of this configuration: a reload ends what a revoked certificate has.
    server.ticketer = ring::Ticketer::new().map_err(|e| TlsError::Provider(e.to_string()))?;
    Ok((InForce { server: Arc::new(server), clients }, own))
}

/// The one provider of cryptography, named here and nowhere installed for the whole process.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Who checks the certificates of clients; `None` if none are asked for.
fn verifier(
    config: &TlsConfig,
    trust: &TrustCell,
) -> Result<Option<Arc<ClientVerifier>>, TlsError> {
    if config.client_auth == ClientAuth::None {
        return Ok(None);
    }
    let configured = config.client_ca.as_ref().map(|path| configured(config, path)).transpose()?;
    Ok(Some(Arc::new(ClientVerifier {
        configured,
        trust: Arc::clone(trust),
        is_mandatory: config.client_auth == ClientAuth::Required,
        provider: provider(),
    })))
}

/// Who checks certificates by the authorities of the configuration.
fn configured(config: &TlsConfig, path: &PathBuf) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Refused { path: path.clone(), why: error.to_string() })?;
    }
    // A list whose time is over says nothing of today (RFC 5280 6.3.3): nobody comes in by it.
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .enforce_revocation_expiration();
    for path in &config.revocation_lists {
        builder = builder.with_crls(revocation_lists(path)?);
    }
    builder.build().map_err(|error| TlsError::Refused {
        path: config.revocation_lists.first().unwrap_or(path).clone(),
        why: error.to_string(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    all(path, "certificate")
}

fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    all(path, "certificate revocation list")
}

/// Every object of one kind in a file, of which there must be one.
fn all<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<T>, pem::Error> = T::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| not_pem(path, &error))?;
    if found.is_empty() {
        return Err(TlsError::Missing { path: path.to_owned(), what });
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted(&text) => Err(TlsError::Encrypted(path.to_owned())),
        Err(pem::Error::NoItemsFound) => {
            Err(TlsError::Missing { path: path.to_owned(), what: "private key" })
        }
        Err(error) => Err(not_pem(path, &error)),
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn not_pem(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::Refused { path: path.to_owned(), why: format!("it is not PEM: {error}") }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let cannot = |source| TlsError::Read { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if metadata.len() > FILE_BYTES_MAX {
        let why = format!("it is longer than {FILE_BYTES_MAX} bytes");
        return Err(TlsError::Refused { path: path.to_owned(), why });
    }
    std::fs::read(path).map_err(cannot)
}

/// Whether others than owner and group may read a file.
#[cfg(unix)]
pub(super) fn is_readable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o004 != 0)
}

/// Unknown here.
#[cfg(not(unix))]
pub(super) fn is_readable_by_all(_path: &Path) -> bool {
    false
}
