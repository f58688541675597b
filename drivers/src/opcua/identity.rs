//! Who this node is to OPC UA servers: its application instance certificate (OPC 10000-4, 6.1), made at the first need
//! and kept beside the store, since servers are told to trust it.

use super::config::OpcUaConfig;
use crate::open::Site;
use opcua::client::{Client, ClientBuilder};
use opcua::crypto::{CertificateStore, X509, X509Data};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const OWN_CERTIFICATE: &str = "own/cert.der";
const OWN_KEY: &str = "private/private.pem";
const OWN_URI: &str = "own/application_uri";
/// What every RSA policy takes (OPC 10000-7: 2048 to 4096 bits).
const KEY_BITS: u32 = 2048;
/// Ten years: no machine hall replaces certificates while it runs.
const DAYS_VALID: u32 = 3650;
/// The longest message, in bytes: ten thousand values of a hundred bytes each.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The most chunks of a message.
const CHUNKS_MAX: usize = 4096;
/// How long a server keeps a session that is not heard of, in milliseconds.
const SESSION_TIMEOUT_MS: u32 = 60_000;

/// The directory of the certificate.
pub(crate) struct Identity {
    dir: PathBuf,
    uri: String,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub(crate) fingerprint: String,
}

impl Identity {
    /// Reads it, or makes it; takes seconds then. One caller at a time.
    pub(crate) fn read_or_make(site: &Site) -> Result<Self, String> {
        let dir = site.dir.join("opcua");
        let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
        let uri = match fs::read_to_string(dir.join(OWN_URI)) {
            Ok(uri) if dir.join(OWN_CERTIFICATE).exists() && dir.join(OWN_KEY).exists() => uri,
            _ => make(&dir).map_err(fail)?,
        };
        let der = fs::read(dir.join(OWN_CERTIFICATE)).map_err(fail)?;
        Ok(Self { dir, uri, fingerprint: super::endpoint::fingerprint(&der) })
    }

    /// A client that comes in as this node.
    pub(crate) fn client(&self, config: &OpcUaConfig) -> Result<Client, String> {
        let timeout = Duration::from_millis(config.timeout_ms.into());
        ClientBuilder::new()
            .application_name("Manifold")
            .application_uri(&self.uri)
            .product_uri("urn:manifold")
            .session_name("Manifold")
            .pki_dir(&self.dir)
            .certificate_path(OWN_CERTIFICATE)
            .private_key_path(OWN_KEY)
            // Which server is trusted is decided here, by the operator's list, before a channel is opened.
            .trust_server_certs(true)
            .verify_server_certs(false)
            // A lost connection is given up: the actor makes a new one and subscribes anew, by its own backoff.
            .session_retry_limit(0)
            .recreate_subscriptions(false)
            .ignore_clock_skew(true)
            .request_timeout(timeout)
            .publish_timeout(timeout.max(Duration::from_secs(60)))
            .keep_alive_interval(Duration::from_secs(10).max(timeout))
            .max_failed_keep_alive_count(1)
            .session_timeout(SESSION_TIMEOUT_MS)
            .max_message_size(MESSAGE_BYTES_MAX)
            .max_chunk_count(CHUNKS_MAX)
            .max_array_length(MESSAGE_BYTES_MAX)
            .client()
            .map_err(|errors| errors.join(", "))
    }
}

/// Makes certificate and key; returns the URI that the certificate names.
fn make(dir: &Path) -> std::io::Result<String> {
    let fail = |what: String| std::io::Error::other(what);
    let hosts = X509Data::computer_hostnames();
    let host = hosts.first().cloned().unwrap_or_else(|| "localhost".to_owned());
    // Hosts may have the same name; applications must not have the same URI.
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| fail(error.to_string()))?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let uri = format!("urn:{host}:manifold:{random}");
    let data = X509Data {
        key_size: KEY_BITS,
        common_name: format!("Manifold on {host}"),
        organization: "Manifold".to_owned(),
        organizational_unit: "Manifold".to_owned(),
        country: "EU".to_owned(),
        state: "-".to_owned(),
        alt_host_names: X509Data::alt_host_names(&uri, None, false, true, false),
        certificate_duration_days: DAYS_VALID,
    };
    let store = CertificateStore::new(dir);
    store.ensure_pki_path().map_err(fail)?;
    let (certificate, key) = X509::cert_and_pkey(&data).map_err(fail)?;
    fs::create_dir_all(dir.join("own"))?;
    fs::create_dir_all(dir.join("private"))?;
    let key = key.to_der().map_err(|error| fail(error.to_string()))?;
    let key = key.to_pem("PRIVATE KEY", Default::default());
    let key = key.map_err(|error| fail(error.to_string()))?;
    write_privately(&dir.join(OWN_KEY), key.as_bytes())?;
    fs::write(
        dir.join(OWN_CERTIFICATE),
        certificate.to_der().map_err(|error| fail(error.to_string()))?,
    )?;
    // Last: without it all three are made anew.
    fs::write(dir.join(OWN_URI), &uri)?;
    tracing::info!(uri, dir = %dir.display(), "OPC UA application certificate made");
    Ok(uri)
}

/// Writes a file that nobody else can read.
fn write_privately(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}
