//! Authorities: they are made, or brought along, and sign the certificates of devices (RFC 5280, RFC 2986).
//!
//! What a request asks for besides its key is left aside: the subject, the use and the time of a certificate are the
//! platform's to say, and its owner has proved by the request's signature that it has the key.

pub(crate) mod issue;

use broker::credential::AuthorityRow;
use broker::read_authority;
use proto::{Entropy, Namespace, Refusal, RefusalCode, TimestampMs};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use std::fmt::Display;
use time::OffsetDateTime;

/// The longest certificate or request that is looked at, in bytes.
pub(crate) const PEM_BYTES_MAX: usize = 16 * 1024;

/// How long an authority that is made here is valid: longer than what it signs.
const AUTHORITY_DAYS: u32 = 20 * 365;

/// Clocks of devices are behind by so much, in seconds.
const CLOCK_LAG_SECS: i64 = 3600;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// An authority with its key, as PEM.
pub(crate) struct Made {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Makes an authority.
pub(crate) fn make(
    namespace: &Namespace,
    name: &str,
    now: TimestampMs,
    entropy: &dyn Entropy,
) -> Result<Made, Refusal> {
    let key = KeyPair::generate().map_err(Refusal::internal)?;
    let mut params = params(namespace, name, (now, AUTHORITY_DAYS), entropy)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(Refusal::internal)?;
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Whether a key is that of the certificate of an authority.
pub(crate) fn check_key(certificate: &str, key: &str) -> Result<(), Refusal> {
    let invalid = |error: &dyn Display| Refusal::new(RefusalCode::Invalid, error.to_string());
    let pair = KeyPair::from_pem(key).map_err(|error| invalid(&error).at("key"))?;
    let probe = CertificateParams::default();
    let issuer = Issuer::from_ca_cert_pem(certificate, &pair);
    let issuer = issuer.map_err(|error| invalid(&error).at("certificate"))?;
    let own = KeyPair::generate().map_err(Refusal::internal)?;
    let signed = probe.signed_by(&own, &issuer).map_err(|error| invalid(&error).at("key"))?;
    match broker::is_signed_by(&signed.pem(), certificate) {
        true => Ok(()),
        false => Err(invalid(&"it is not the key of the certificate").at("key")),
    }
}

/// Signs what a request asks for, for a name of the namespace. The certificate as PEM.
pub(crate) fn sign(
    authority: &AuthorityRow,
    (namespace, name): (&Namespace, &str),
    csr: &str,
    (now, days): (TimestampMs, u32),
    entropy: &dyn Entropy,
) -> Result<String, Refusal> {
    let invalid = |message: String| Refusal::new(RefusalCode::Invalid, message).at("csr");
    if csr.len() > PEM_BYTES_MAX {
        let message = format!("longer than {PEM_BYTES_MAX} bytes");
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("csr"));
    }
    let request = CertificateSigningRequestParams::from_pem(csr)
        .map_err(|error| invalid(format!("not a signing request (PKCS #10, PEM): {error}")))?;
    let key = KeyPair::from_pem(&authority.key).map_err(Refusal::internal)?;
    let issuer =
        Issuer::from_ca_cert_pem(&authority.certificate, key).map_err(Refusal::internal)?;
    let mut params = params(namespace, name, (now, days), entropy)?;
    // Nothing outlives who has signed it.
    params.not_after = params.not_after.min(moment(authority.expires)?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let signed = params.signed_by(&request.public_key, &issuer);
    signed.map(|certificate| certificate.pem()).map_err(|error| invalid(error.to_string()))
}

/// Until when the certificate of an authority is valid, if it is one.
pub(crate) fn check(certificate: &str, now: TimestampMs) -> Result<TimestampMs, Refusal> {
    let invalid = |message| Refusal::new(RefusalCode::Invalid, message).at("certificate");
    if certificate.len() > PEM_BYTES_MAX {
        return Err(invalid(format!("longer than {PEM_BYTES_MAX} bytes")));
    }
    let info = read_authority(certificate).map_err(invalid)?;
    match info.expires_at {
        Some(expires) if expires > now => Ok(expires),
        _ => Err(invalid("it is over".to_owned())),
    }
}

fn params(
    namespace: &Namespace,
    name: &str,
    (now, days): (TimestampMs, u32),
    entropy: &dyn Entropy,
) -> Result<CertificateParams, Refusal> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, namespace.to_string());
    let mut serial = [0; 16];
    entropy.fill(&mut serial);
    // Positive, and of at most 20 octets (RFC 5280 4.1.2.2).
    serial[0] &= 0x7F;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = moment(now)?.saturating_sub(time::Duration::seconds(CLOCK_LAG_SECS));
    params.not_after = moment(TimestampMs(now.0.saturating_add(u64::from(days) * DAY_MS)))?;
    Ok(params)
}

fn moment(t: TimestampMs) -> Result<OffsetDateTime, Refusal> {
    let secs = i64::try_from(t.0 / 1000).map_err(Refusal::internal)?;
    OffsetDateTime::from_unix_timestamp(secs).map_err(Refusal::internal)
}

#[cfg(test)]
mod tests;
