//! Authorities that namespaces trust beside those of the configuration, and who of all of them vouches for a client.
//!
//! The authorities of the configuration come first, and vouch for any name. One of a namespace vouches for what is
//! kept of its certificates there, so that a tenant can trust whom it wants to without a word in other namespaces.

use crate::credential::{AuthorityKey, AuthorityRow};
use parking_lot::RwLock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use std::sync::{Arc, OnceLock};
use store::{ReadError, Store};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

/// The authorities of all namespaces, as they are now.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    authorities: RwLock<Arc<Vec<Trusted>>>,
}

#[derive(Debug)]
struct Trusted {
    key: AuthorityKey,
    /// Its name as an issuer, in DER.
    subject: Vec<u8>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    /// Reads the authorities from the store. One that is of no use is left out.
    pub(crate) fn load(
        &self,
        store: &Store,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), ReadError> {
        let mut found = Vec::new();
        for row in store.read()?.scan::<AuthorityRow>(&[])? {
            let (key, row) = match row {
                Ok((_, row)) if row.is_disabled => continue,
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(%error, "an authority cannot be read and vouches for nobody");
                    continue;
                }
            };
            match Trusted::new(key, &row.certificate, provider) {
                Ok(trusted) => found.push(trusted),
                Err((key, why)) => {
                    let (namespace, authority) = key;
                    tracing::error!(%namespace, %authority, why, "an authority is of no use");
                }
            }
        }
        *self.authorities.write() = Arc::new(found);
        Ok(())
    }

    /// Whether an authority counts.
    pub(crate) fn has(&self, key: &AuthorityKey) -> bool {
        self.authorities.read().iter().any(|it| it.key == *key)
    }

    /// Who vouches for a client.
    pub(crate) fn find(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<AuthorityKey> {
        let authorities = Arc::clone(&self.authorities.read());
        if authorities.is_empty() {
            return None;
        }
        let issuers: Vec<Vec<u8>> =
            std::iter::once(leaf).chain(intermediates).filter_map(issuer).collect();
        let mut named = authorities.iter().filter(|it| issuers.contains(&it.subject));
        let vouches =
            |it: &&Trusted| it.verifier.verify_client_cert(leaf, intermediates, now).is_ok();
        named.find(vouches).map(|it| it.key.clone())
    }
}

impl Trusted {
    fn new(
        key: AuthorityKey,
        certificate: &str,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, (AuthorityKey, String)> {
        let read = || -> Result<(Vec<u8>, Arc<dyn ClientCertVerifier>), String> {
            let der = CertificateDer::from_pem_slice(certificate.as_bytes());
            let der = der.map_err(|error| error.to_string())?;
            let parsed = Certificate::from_der(&der).map_err(|error| error.to_string())?;
            let subject = parsed.tbs_certificate().subject().to_der();
            let mut roots = RootCertStore::empty();
            roots.add(der).map_err(|error| error.to_string())?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            Ok((subject.map_err(|error| error.to_string())?, verifier))
        };
        match read() {
            Ok((subject, verifier)) => Ok(Self { key, subject, verifier }),
            Err(why) => Err((key, why)),
        }
    }
}

fn issuer(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    parsed.tbs_certificate().issuer().to_der().ok()
}

/// Where a listener finds the authorities of the store, once the broker has opened it.
pub(crate) type TrustCell = Arc<OnceLock<Arc<Trust>>>;

/// Who checks the certificates of clients.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    /// That of the configuration.
    pub(crate) configured: Option<Arc<dyn ClientCertVerifier>>,
    pub(crate) trust: TrustCell,
    pub(crate) is_mandatory: bool,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ClientVerifier {
    /// The authority of a namespace that vouches for a client; `None` if that of the configuration does, or nobody.
    pub(crate) fn authority(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<AuthorityKey> {
        let by_configuration = self
            .configured
            .as_ref()
            .is_some_and(|it| it.verify_client_cert(leaf, intermediates, now).is_ok());
        if by_configuration {
            return None;
        }
        self.trust.get()?.find(leaf, intermediates, now)
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Authorities come and go: clients show what they have (RFC 8446 4.2.4).
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let refused = match &self.configured {
            None => Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Some(configured) => match configured.verify_client_cert(leaf, intermediates, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => error,
            },
        };
        match self.trust.get().and_then(|trust| trust.find(leaf, intermediates, now)) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(refused),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
