//! Why there is no TLS with a remote broker, in the words of the one who has to put it right.

use rustls::{AlertDescription as Alert, CertificateError};
use std::error::Error;
use std::io;

/// A failed handshake as an I/O error that says why; connections that are merely lost stay what they are.
pub(super) fn of_handshake(error: io::Error, has_own_authorities: bool) -> io::Error {
    let reason = match tls_error(&error) {
        Some(rustls::Error::InvalidCertificate(error)) => {
            of_certificate(error, has_own_authorities)
        }
        Some(error) => of_tls(error),
        None if is_end(&error) => {
            "the remote broker ended the TLS handshake: is this its port for TLS?".to_owned()
        }
        None => return error,
    };
    say(reason)
}

/// An error that has nothing to add to these words.
pub(super) fn say(reason: impl Into<String>) -> io::Error {
    io::Error::other(Told(reason.into()))
}

/// What an error of a connection means if it is one of TLS. With TLS 1.3 a certificate of ours is refused only
/// after the handshake.
pub(in crate::bridge) fn of_connection(error: &(dyn Error + 'static)) -> Option<String> {
    told(error).or_else(|| tls_error(error).map(of_tls))
}

/// Already in words for a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

fn told(error: &(dyn Error + 'static)) -> Option<String> {
    find::<Told>(error).map(|it| it.0.clone())
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    find::<rustls::Error>(error)
}

/// The first error of a type among the causes. An I/O error hides its own from `source`.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe)
}

fn of_certificate(error: &CertificateError, has_own_authorities: bool) -> String {
    let its = "the certificate of the remote broker";
    match error {
        // Signed by an authority that has the name of ours and another key: also one that we do not know.
        CertificateError::UnknownIssuer | CertificateError::BadSignature if has_own_authorities => {
            format!("{its} is of none of the authorities in tls.ca")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("{its} is of no authority that the system knows: name one in tls.ca")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("{its} has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("{its} is not valid yet: is the clock right?")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.join(", ");
            let names = if names.is_empty() { "no name".to_owned() } else { names };
            format!("{its} is not for {}, but for {names}", expected.to_str())
        }
        CertificateError::NotValidForName => format!("{its} is for another name"),
        error => format!("{its} is not accepted: {error}"),
    }
}

fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::InvalidMessage(_) => {
            "the remote broker does not speak TLS here: is this its port for TLS?".to_owned()
        }
        rustls::Error::PeerIncompatible(_) => {
            format!("the remote broker speaks no TLS that we do, which is 1.2 and 1.3: {error}")
        }
        error => format!("TLS with the remote broker failed: {error}"),
    }
}

fn of_alert(alert: Alert) -> String {
    match alert {
        Alert::CertificateRequired => {
            "the remote broker wants a certificate: tls.certificate and tls.key".to_owned()
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError => {
            format!("the remote broker does not accept the certificate of the bridge: {alert:?}")
        }
        alert => format!("the remote broker refuses TLS: {alert:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_below_other_errors() {
        let alert = rustls::Error::AlertReceived(Alert::CertificateRequired);
        let inner = io::Error::new(io::ErrorKind::InvalidData, alert);
        let wanted = "the remote broker wants a certificate: tls.certificate and tls.key";
        assert_eq!(of_connection(&inner).as_deref(), Some(wanted));
        let outer = io::Error::other(of_handshake(inner, true));
        assert_eq!(of_connection(&outer).as_deref(), Some(wanted));
        let plain = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(of_connection(&plain), None);
        let plain = of_handshake(plain, true);
        assert_eq!(plain.kind(), io::ErrorKind::ConnectionRefused);
    }
}
