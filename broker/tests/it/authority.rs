//! A certificate authority of the tests, and clients that speak TLS.

use crate::wire::PATIENCE;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The serial number of every certificate that is revoked.
const REVOKED: u64 = 666;

/// The name that the servers' certificates are for.
const SERVER: &str = "localhost";

/// An authority, and a folder with what it has issued.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A certificate and its key, in PEM form.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// One with its certificate in `ca.crt`, and that of a server in `server.crt` and `server.key`.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "An authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let authority = Self { issuer, folder: tempfile::tempdir().unwrap() };
        authority.write("ca.crt", &authority.issuer.pem());
        authority.renew_server();
        authority
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A new certificate for the server, in place of the one before.
    pub(crate) fn renew_server(&self) -> Issued {
        let issued = self.issue(CertificateParams::new([SERVER.to_owned()]).unwrap());
        self.write("server.crt", &issued.certificate);
        self.write("server.key", &issued.key);
        issued
    }

    /// A certificate for a client.
    pub(crate) fn client(&self, common_name: &str) -> Issued {
        self.client_with(common_name, |_| {})
    }

    /// A certificate for a client that has something special.
    pub(crate) fn client_with(
        &self,
        common_name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        change(&mut params);
        self.issue(params)
    }

    /// A certificate for a client that the list of [`Authority::revoke`] names.
    pub(crate) fn revoked(&self, common_name: &str) -> Issued {
        self.client_with(common_name, |it| it.serial_number = Some(REVOKED.into()))
    }

    fn issue(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &*self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes a revocation list: one that names the revoked certificates, or one that names none.
    pub(crate) fn revoke(&self, file: &str, is_revoked: bool) {
        self.write_list(file, is_revoked, 2100);
    }

    /// Writes a revocation list that names none and should have been followed by another.
    pub(crate) fn write_outdated_list(&self, file: &str) {
        self.write_list(file, false, 2026);
    }

    fn write_list(&self, file: &str, is_revoked: bool, end: i32) {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(end, 2, 1),
            crl_number: SerialNumber::from(u64::from(is_revoked)),
            issuing_distribution_point: None,
            revoked_certs: if is_revoked { vec![revoked] } else { Vec::new() },
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write(file, &list.signed_by(&self.issuer).unwrap().pem().unwrap());
    }

    /// A TLS connection, of any version, with a certificate or without.
    pub(crate) async fn dial(
        &self,
        address: SocketAddr,
        client: Option<&Issued>,
    ) -> io::Result<TlsStream<TcpStream>> {
        self.dial_as(address, client, rustls::ALL_VERSIONS).await
    }

    /// A TLS connection of given versions.
    pub(crate) async fn dial_as(
        &self,
        address: SocketAddr,
        client: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await.unwrap();
        self.secure(stream, client, versions).await
    }

    /// TLS over a stream.
    pub(crate) async fn secure(
        &self,
        stream: TcpStream,
        client: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        let name = ServerName::try_from(SERVER).unwrap();
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        tokio::time::timeout(PATIENCE, handshake).await.expect("the handshake takes too long")
    }
}
