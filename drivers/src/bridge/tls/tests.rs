//! What an operator can get wrong with certificates, and by which field it is told.

use super::*;
use rcgen::{CertificateParams, CertifiedKey as Made, KeyPair, generate_simple_self_signed};

fn made(name: &str) -> (String, String) {
    let Made { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

fn address() -> Address {
    Address::parse("mqtts://hub").unwrap()
}

fn field(tls: &RemoteTls) -> Option<String> {
    tls.dialer(&address()).err().map(|error| error.field)
}

#[test]
fn what_does_not_fit_is_refused_by_field() {
    let ((certificate, key), (_, other_key)) = (made("edge"), made("edge"));
    let some = |text: &str| Some(text.to_owned());
    let good = RemoteTls {
        ca: some(&format!("a remark\n{certificate}{certificate}")),
        certificate: Some(certificate.clone()),
        key: Some(key.clone()),
        server_name: some("10.0.0.1"),
    };
    assert_eq!(field(&good), None);
    let damaged = certificate.replacen("MII", "AAA", 1);
    assert_ne!(damaged, certificate);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    let long = format!("{}{certificate}", "#".repeat(PEM_BYTES_MAX));
    let good = || good.clone();
    let cases = [
        (RemoteTls { ca: some("nothing"), ..good() }, "tls.ca"),
        (RemoteTls { ca: some(""), ..good() }, "tls.ca"),
        (RemoteTls { ca: some(&key), ..good() }, "tls.ca"),
        (RemoteTls { ca: some(&damaged), ..good() }, "tls.ca"),
        (RemoteTls { ca: some(&long), ..good() }, "tls.ca"),
        (RemoteTls { ca: some("-----BEGIN CERTIFICATE-----\nAA"), ..good() }, "tls.ca"),
        (RemoteTls { certificate: None, ..good() }, "tls.certificate"),
        (RemoteTls { certificate: some(&key), ..good() }, "tls.certificate"),
        (RemoteTls { certificate: some(&damaged), ..good() }, "tls.certificate"),
        (RemoteTls { key: None, ..good() }, "tls.key"),
        (RemoteTls { key: some(&other_key), ..good() }, "tls.key"),
        (RemoteTls { key: some(&certificate), ..good() }, "tls.key"),
        (RemoteTls { key: some(encrypted), ..good() }, "tls.key"),
        (RemoteTls { server_name: some("a b"), ..good() }, "tls.server_name"),
    ];
    for (index, (tls, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(field(&tls).as_deref(), Some(wanted), "case {index}");
    }
}

#[test]
fn a_host_that_no_certificate_can_be_for_needs_a_name() {
    let address = Address::parse("mqtts://[fe80::1%25eth0]").unwrap();
    let tls = RemoteTls::default();
    assert_eq!(tls.dialer(&address).unwrap_err().field, "url");
    let tls = RemoteTls { server_name: Some("hub".to_owned()), ..tls };
    assert!(tls.dialer(&address).is_ok());
}

#[test]
fn a_key_is_not_in_what_is_printed() {
    let (certificate, key) = made("edge");
    let tls = RemoteTls { certificate: Some(certificate), key: Some(key), ..Default::default() };
    assert!(!format!("{tls:?}").contains("PRIVATE"));
}

#[test]
fn an_authority_may_be_of_any_usual_key() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::new(["hub".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let tls = RemoteTls {
            certificate: Some(certificate.pem()),
            key: Some(key.serialize_pem()),
            ..Default::default()
        };
        assert_eq!(field(&tls), None, "{algorithm:?}");
    }
}
