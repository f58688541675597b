//! Authorities and what they sign, as others read it.

use super::*;
use broker::{is_signed_by, read_certificate};

struct Fixed;
impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0xAB);
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates are checked against the real time")]
fn now() -> TimestampMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    TimestampMs(u64::try_from(since.as_millis()).unwrap())
}

fn authority() -> AuthorityRow {
    let made = make(&Namespace::default(), "plant", now(), &Fixed).unwrap();
    let expires = check(&made.certificate, now()).unwrap();
    AuthorityRow {
        description: String::new(),
        certificate: made.certificate,
        key: made.key,
        enrolment: None,
        lifetime_days: 365,
        is_disabled: false,
        created: now(),
        expires,
        revision: 1,
    }
}

fn request(key: &KeyPair) -> String {
    let mut params = CertificateParams::new(vec!["anything.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.serialize_request(key).unwrap().pem().unwrap()
}

#[test]
fn what_is_signed_has_the_name_that_the_platform_gives_and_is_no_authority() {
    let (authority, namespace) = (authority(), Namespace::default());
    let csr = request(&KeyPair::generate().unwrap());
    let pem = sign(&authority, (&namespace, "pump7"), &csr, (now(), 30), &Fixed).unwrap();
    let info = read_certificate(&pem).unwrap();
    assert_eq!(info.common_name.as_deref(), Some("pump7"));
    assert!(info.dns_names.is_empty(), "{info:?}");
    let days = (info.expires_at.unwrap().0 - now().0).div_ceil(DAY_MS);
    assert_eq!(days, 30);
    assert!(is_signed_by(&pem, &authority.certificate));
    assert!(read_authority(&pem).is_err());
    let other = make(&namespace, "plant", now(), &Fixed).unwrap();
    assert!(!is_signed_by(&pem, &other.certificate), "the same name is not the same key");
    assert!(check_key(&authority.certificate, &authority.key).is_ok());
    let refused = check_key(&authority.certificate, &other.key).unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("key"));
}

#[test]
fn nothing_outlives_its_authority() {
    let mut authority = authority();
    authority.expires = TimestampMs(now().0 + DAY_MS);
    let csr = request(&KeyPair::generate().unwrap());
    let of = Namespace::default();
    let pem = sign(&authority, (&of, "pump7"), &csr, (now(), 365), &Fixed).unwrap();
    assert!(read_certificate(&pem).unwrap().expires_at.unwrap().0 <= authority.expires.0);
}

#[test]
fn requests_that_are_none_are_refused() {
    let authority = authority();
    let of = Namespace::default();
    let good = request(&KeyPair::generate().unwrap());
    // The signature of a request shows that who asks has the key.
    let mut lines: Vec<&str> = good.lines().collect();
    let broken_line = lines[2].chars().rev().collect::<String>();
    lines[2] = &broken_line;
    let broken = lines.join("\n");
    let long = "x".repeat(PEM_BYTES_MAX + 1);
    for csr in ["", "nonsense", authority.certificate.as_str(), broken.as_str(), long.as_str()] {
        let refusal = sign(&authority, (&of, "pump7"), csr, (now(), 1), &Fixed).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("csr"), "{refusal}");
    }
}
