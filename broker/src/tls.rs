//! TLS 1.2 and 1.3 for listeners, by rustls on ring (decision 0009), with files that may change while it runs.
//!
//! [`Tls`] holds the configuration in force. New connections take it as it is at that moment, so a reload touches
//! nobody who is connected. Files that are broken are refused as a whole, and the configuration before stays.

pub(crate) mod certificate;
mod files;
pub(crate) mod trust;

use crate::figures::Counters;
use crate::peer::TlsInfo;
use crate::space::Shared;
use certificate::CertificateInfo;
use files::Stamp;
pub(crate) use files::provider;
use parking_lot::RwLock;
use proto::TimestampMs;
use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use trust::{ClientVerifier, Trust, TrustCell};

/// Of certificates that end sooner, the log warns when they are loaded.
const EXPIRY_WARNING_MS: u64 = 14 * 24 * 3600 * 1000;

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    None,
    /// One is asked for; a client without one goes on, one with a wrong one does not.
    Optional,
    /// No connection without one.
    Required,
}

/// What becomes of clients that know no TLS 1.3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tls12 {
    /// TLS 1.2 is spoken with them.
    #[default]
    Allowed,
    /// They are turned away.
    Refused,
}

/// How TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file of the certificate, then those of the intermediate authorities.
    pub certificate: PathBuf,
    /// PEM file of its private key: PKCS#8, PKCS#1 or SEC1, without a pass phrase.
    pub key: PathBuf,
    /// PEM file of the authorities that vouch for clients.
    pub client_ca: Option<PathBuf>,
    /// Whether clients have to show a certificate of theirs.
    pub client_auth: ClientAuth,
    /// PEM files of revocation lists. If there are any, each authority in a client's chain needs one, not out of date.
    pub revocation_lists: Vec<PathBuf>,
    /// What becomes of clients that know no TLS 1.3.
    pub tls12: Tls12,
    /// Whether a connection ends when the client's certificate does (MQTT 5.0 reason 0xA0).
    pub ends_with_certificate: bool,
    /// How often the files are looked at for changes.
    pub reload_period: Duration,
}

impl TlsConfig {
    /// A certificate and its key, everything else as usual.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: None,
            client_auth: ClientAuth::None,
            revocation_lists: Vec::new(),
            tls12: Tls12::Allowed,
            ends_with_certificate: false,
            reload_period: Duration::from_secs(5),
        }
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key]
            .into_iter()
            .chain(&self.client_ca)
            .chain(&self.revocation_lists)
    }
}

/// Files that TLS cannot be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It is not there, or may not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("there is no {what} in PEM form in {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The key has a pass phrase.
    #[error(
        "the private key in {} has a pass phrase; `openssl pkey -in KEY -out NEW` takes it off",
        .0.display()
    )]
    Encrypted(PathBuf),
    /// Its content is of no use.
    #[error("{}: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    Provider(String),
}

/// TLS as it is spoken now.
#[derive(Debug)]
pub struct Tls {
    config: TlsConfig,
    current: RwLock<InForce>,
    /// The authorities of the store.
    trust: TrustCell,
    stamps: RwLock<Vec<Stamp>>,
    is_watched: AtomicBool,
}

impl Tls {
    /// Reads the files.
    pub fn load(config: TlsConfig, now: TimestampMs) -> Result<Arc<Self>, TlsError> {
        let stamps = files::stamps(&config);
        let trust = TrustCell::default();
        let (in_force, own) = files::load(&config, &trust)?;
        warn(&config, &own, now);
        Ok(Arc::new(Self {
            config,
            current: RwLock::new(in_force),
            trust,
            stamps: RwLock::new(stamps),
            is_watched: AtomicBool::new(false),
        }))
    }

    /// Whether connections end when their client's certificate does.
    pub(crate) fn ends_with_certificate(&self) -> bool {
        self.config.ends_with_certificate
    }

    /// Reads the files again, changed or not. An error leaves what is in force as it is.
    pub(crate) fn reload(&self, now: TimestampMs) -> Result<(), TlsError> {
        let stamps = files::stamps(&self.config);
        let (in_force, own) = files::load(&self.config, &self.trust)?;
        warn(&self.config, &own, now);
        *self.current.write() = in_force;
        *self.stamps.write() = stamps;
        Ok(())
    }

    /// The file of its certificate.
    pub(crate) fn certificate_file(&self) -> &Path {
        &self.config.certificate
    }

    /// Reads the files again if one has changed since. Says whether they are in force.
    pub(crate) fn reload_if_changed(&self, now: TimestampMs) -> Result<bool, TlsError> {
        let stamps = files::stamps(&self.config);
        if *self.stamps.read() == stamps {
            return Ok(false);
        }
        // Broken files are looked at again when they change again, not at every look.
        *self.stamps.write() = stamps;
        let (in_force, own) = files::load(&self.config, &self.trust)?;
        warn(&self.config, &own, now);
        *self.current.write() = in_force;
        tracing::info!(
            certificate = %self.config.certificate.display(),
            fingerprint = own.fingerprint,
            "TLS files have changed and are in force"
        );
        Ok(true)
    }

    /// The server's side of the handshake.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        let config = Arc::clone(&self.current.read().server);
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Has the authorities of the store vouch for clients, beside those of the configuration.
    pub(crate) fn trust(&self, trust: &Arc<Trust>) {
        // One broker opens a listener: whoever comes first is it.
        let _ = self.trust.set(Arc::clone(trust));
    }

    /// What was agreed on. A certificate that cannot be read counts as none, which lets nobody in by it.
    pub(crate) fn info<S>(&self, stream: &TlsStream<S>) -> TlsInfo {
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(<[_]>::split_first);
        let certificate = shown.and_then(|(leaf, intermediates)| {
            let read = CertificateInfo::read(leaf);
            let read = read
                .inspect_err(|error| tracing::warn!(%error, "a client's certificate is ignored"));
            let verifier = self.current.read().clients.clone();
            let authority =
                verifier.and_then(|it| it.authority(leaf, intermediates, UnixTime::now()));
            Some(CertificateInfo { authority, ..read.ok()? })
        });
        TlsInfo {
            version: connection.protocol_version().and_then(|it| it.as_str()).map(version_name),
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(|it| it.suite().as_str())
                .map(str::to_owned),
            certificate,
        }
    }
}

/// A configuration in force.
#[derive(Debug)]
struct InForce {
    server: Arc<ServerConfig>,
    /// Absent where clients are not asked for certificates.
    clients: Option<Arc<ClientVerifier>>,
}

/// Looks at the files of `tls` for as long as the broker accepts clients. One watcher serves all its listeners.
pub(crate) fn watch(
    tls: &Arc<Tls>,
    shared: &Arc<Shared>,
    stopped: impl Future<Output = ()> + Send + 'static,
) {
    if tls.is_watched.swap(true, Ordering::AcqRel) {
        return;
    }
    let (tls, shared) = (Arc::clone(tls), Arc::clone(shared));
    let watching = async move {
        loop {
            tokio::time::sleep(tls.config.reload_period).await;
            let (read, now) = (Arc::clone(&tls), shared.clock.now());
            let outcome = tokio::task::spawn_blocking(move || read.reload_if_changed(now)).await;
            match outcome {
                Ok(Ok(true)) => Counters::add(&shared.counters.tls_reloads, 1),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => {
                    Counters::add(&shared.counters.tls_reload_errors, 1);
                    tracing::error!(%error, "changed TLS files are refused; those before stay");
                }
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stopped => {}
            () = watching => {}
        }
    });
}

/// `TLSv1_3` as everybody else writes it.
fn version_name(name: &str) -> String {
    name.replace('_', ".")
}

fn warn(config: &TlsConfig, own: &CertificateInfo, now: TimestampMs) {
    let certificate = config.certificate.display();
    if own.is_expired(now) {
        tracing::warn!(%certificate, "the certificate has expired; clients will refuse it");
    } else if own.is_expired(TimestampMs(now.0.saturating_add(EXPIRY_WARNING_MS))) {
        tracing::warn!(%certificate, "the certificate expires within two weeks");
    }
    if files::is_readable_by_all(&config.key) {
        let key = config.key.display();
        tracing::warn!(%key, "every user of this machine may read the private key");
    }
}
