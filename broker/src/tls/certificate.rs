//! What a certificate says of its owner: names, fingerprint, validity (RFC 5280 4.1).
//!
//! For certificates that TLS has verified, our own, and those that wait for an operator: nothing is proved by reading
//! one. What somebody has signed or taken back is checked by the verifier of TLS.

use crate::credential::AuthorityKey;
use proto::TimestampMs;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

/// Alternative names kept of one kind.
const NAMES_MAX: usize = 16;

/// A certificate as operators and the rules for clients see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CertificateInfo {
    /// The distinguished name (RFC 4514).
    pub subject: String,
    /// The distinguished name of who has signed it.
    #[serde(skip)]
    pub issuer: String,
    /// The common name in it.
    #[serde(skip)]
    pub common_name: Option<String>,
    /// The DNS names among the subject alternative names, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// The URIs among them, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// SHA-256 of the certificate, in hexadecimal; empty if a proxy has not handed the certificate on.
    pub fingerprint: String,
    /// Until when it is valid; absent if a proxy has not handed the certificate on.
    pub expires_at: Option<TimestampMs>,
    /// The authority of a namespace that vouches for it; absent: one of the configuration.
    #[serde(skip)]
    pub authority: Option<AuthorityKey>,
}

/// A certificate that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not a readable certificate: {0}")]
pub(crate) struct Unreadable(#[from] x509_cert::der::Error);

impl CertificateInfo {
    /// Reads a certificate in DER form.
    pub(crate) fn read(der: &[u8]) -> Result<Self, Unreadable> {
        let certificate = Certificate::from_der(der)?;
        let body = certificate.tbs_certificate();
        let subject = body.subject();
        let common_name = subject.common_name()?.map(|name| name.value().into_owned());
        let mut info = Self {
            subject: subject.to_string(),
            issuer: body.issuer().to_string(),
            common_name,
            fingerprint: fingerprint(der),
            expires_at: Some(milliseconds(body.validity().not_after.to_unix_duration())),
            ..Self::default()
        };
        if let Some((_, SubjectAltName(names))) = body.get_extension::<SubjectAltName>()? {
            for name in &names {
                let (kept, text) = match name {
                    GeneralName::DnsName(text) => (&mut info.dns_names, text),
                    GeneralName::UniformResourceIdentifier(text) => (&mut info.uris, text),
                    _ => continue,
                };
                if kept.len() < NAMES_MAX {
                    kept.push(text.as_str().to_owned());
                }
            }
        }
        Ok(info)
    }

    /// Whether it is no longer valid.
    pub(crate) fn is_expired(&self, now: TimestampMs) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Reads a certificate in PEM form.
pub fn read_certificate(pem: &str) -> Result<CertificateInfo, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    CertificateInfo::read(&der).map_err(|error| error.to_string())
}

/// A certificate in PEM form as DER.
pub fn certificate_der(pem: &str) -> Result<Vec<u8>, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    Ok(der.to_vec())
}

/// A list of certificates that an authority has taken back, in PEM form, as DER (RFC 5280 5).
pub fn revocations_der(pem: &str) -> Result<Vec<u8>, String> {
    let der = CertificateRevocationListDer::from_pem_slice(pem.as_bytes());
    der.map(|it| it.to_vec()).map_err(|error| error.to_string())
}

/// Whether what an authority has taken back can be read; both in PEM form.
pub fn check_revocations(pem: &str, authority: &str) -> Result<(), String> {
    let list = CertificateRevocationListDer::from(revocations_der(pem)?);
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from(certificate_der(authority)?);
    roots.add(root).map_err(|error| error.to_string())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider());
    verifier.with_crls([list]).build().map(drop).map_err(|error| error.to_string())
}

/// Reads the certificate of an authority in PEM form, which has to be one (RFC 5280 4.2.1.9).
pub fn read_authority(pem: &str) -> Result<CertificateInfo, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    let info = CertificateInfo::read(&der).map_err(|error| error.to_string())?;
    let certificate = Certificate::from_der(&der).map_err(|error| error.to_string())?;
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    match constraints.map_err(|error| error.to_string())? {
        Some((_, BasicConstraints { ca: true, .. })) => Ok(info),
        _ => Err("it is not the certificate of an authority".to_owned()),
    }
}

/// Whether an authority has signed a certificate that is valid now, both in PEM form.
pub fn is_signed_by(pem: &str, authority: &str) -> bool {
    let check = || -> Result<(), Box<dyn std::error::Error>> {
        let leaf = CertificateDer::from_pem_slice(pem.as_bytes())?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider());
        verifier.build()?.verify_client_cert(&leaf, &[], UnixTime::now())?;
        Ok(())
    };
    check().is_ok()
}

fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a text does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn milliseconds(since_epoch: std::time::Duration) -> TimestampMs {
    TimestampMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    #[test]
    fn names_and_validity_are_read() {
        let mut params = CertificateParams::new(vec!["pump7.plant.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "pump7");
        params.distinguished_name.push(DnType::OrganizationName, "Acme");
        params.subject_alt_names.push(SanType::URI("manifold:a/b/pump7".try_into().unwrap()));
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let info = CertificateInfo::read(certificate.der()).unwrap();
        assert_eq!(info.common_name.as_deref(), Some("pump7"));
        assert!(info.subject.contains("CN=pump7") && info.subject.contains("O=Acme"));
        assert_eq!(info.dns_names, ["pump7.plant.example"]);
        assert_eq!(info.uris, ["manifold:a/b/pump7"]);
        assert_eq!(info.expires_at, Some(TimestampMs(1_893_456_000_000)));
        assert_eq!(info.fingerprint.len(), 64);
        assert!(info.is_expired(TimestampMs(1_893_456_000_000)));
        assert!(!info.is_expired(TimestampMs(1_893_455_999_999)));
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xFF\xFF", &[0x30; 300]] {
            assert!(CertificateInfo::read(bytes).is_err());
        }
    }
}
