//! Whether the certificate of a server is trusted (OPC 10000-4, 6.1.3): because the driver names it, because an
//! operator has approved it, or because somebody has signed it whose word is taken. One that was rejected is never.
//!
//! [`Trust::check`] decides, and [`Trust::ends`] decides again whenever the trust list changes or an approval is over,
//! so that nobody talks on to a server that is no longer trusted.

use super::config::{OpcUaConfig, SecurityPolicy};
use super::endpoint::{fingerprint, policy_of};
use crate::trust::{Authority, Shown, TrustList, Verdict};
use opcua::crypto::X509;
use opcua::types::EndpointDescription;
use proto::TimestampMs;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;

/// How long a clock may be wrong before the end of an approval is noticed.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(60);

/// What a server has shown, and who is asked about it.
pub(crate) struct Trust {
    list: Option<Arc<dyn TrustList>>,
    /// Those of the driver's configuration.
    named: Vec<String>,
    host: String,
    url: String,
    ignores_validity: bool,
    /// When it was shown. What its signatures are worth is asked of that time: one that is over meanwhile ends no
    /// connection.
    shown: TimestampMs,
    /// The server's own certificate first, then those of who has signed it.
    chain: Vec<Vec<u8>>,
    pub(super) fingerprint: String,
    pub(super) certificate: X509,
}

/// Why a certificate is not trusted.
#[derive(Debug, PartialEq, Eq)]
struct Distrust {
    reason: String,
    /// Whether an operator can say something else.
    is_open: bool,
}

impl Trust {
    /// What there is to judge about an endpoint; `None` if it protects nothing.
    pub(crate) fn of(
        config: &OpcUaConfig,
        endpoint: &EndpointDescription,
        list: Option<Arc<dyn TrustList>>,
    ) -> Result<Option<Self>, String> {
        if policy_of(endpoint) == Some(SecurityPolicy::None) {
            return Ok(None);
        }
        let bytes = endpoint.server_certificate.value.as_deref().unwrap_or_default();
        let chain = certificates(bytes);
        let unreadable = || "the server shows no certificate that can be read".to_owned();
        let own = chain.first().ok_or_else(unreadable)?;
        let certificate = X509::from_der(own).map_err(|_| unreadable())?;
        Ok(Some(Self {
            list,
            named: config.trusted.clone(),
            host: host_of(&config.url).to_owned(),
            url: config.url.clone(),
            ignores_validity: config.ignore_validity,
            shown: now(),
            fingerprint: fingerprint(own),
            certificate,
            chain,
        }))
    }

    /// Whether the server is trusted now.
    pub(super) fn holds(&self) -> bool {
        self.judge(now()).is_ok() && self.check_validity().is_ok()
    }

    /// Says why the server is not trusted now, after keeping its certificate for operators to decide.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let judged = self.judge(now()).and_then(|_| self.check_validity());
        let Err(distrust) = judged else { return Ok(()) };
        if let Some(list) = self.list.as_ref().filter(|_| distrust.is_open) {
            list.keep(Shown {
                fingerprint: self.fingerprint.clone(),
                certificate: self.chain.first().cloned().unwrap_or_default(),
                url: self.url.clone(),
            })
            .await;
        }
        Err(distrust.reason)
    }

    /// Waits until the server is no longer trusted, and says why. A certificate whose time ends meanwhile does not end
    /// a connection.
    pub(crate) async fn ends(self) -> String {
        let Some(list) = &self.list else { return std::future::pending().await };
        let mut changes = list.changes();
        loop {
            let until = match self.judge(now()) {
                Ok(until) => until,
                Err(distrust) => return distrust.reason,
            };
            let left = until.map(|it| Duration::from_millis(it.0.saturating_sub(now().0)));
            let ended = async {
                match left {
                    Some(left) => tokio::time::sleep(left.min(LOOKED_AT_EVERY)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                }
                () = ended => {}
            }
        }
    }

    /// Until when the server is trusted, or why it is not.
    fn judge(&self, now: TimestampMs) -> Result<Option<TimestampMs>, Distrust> {
        let verdict_of = |it: &str| self.list.as_ref().and_then(|list| list.verdict(it));
        let verdict = verdict_of(&self.fingerprint);
        if verdict == Some(Verdict::Rejected) {
            let reason = self.words("has been rejected by an operator");
            return Err(Distrust { reason, is_open: false });
        }
        let signers = self.chain.iter().skip(1).map(|it| fingerprint(it));
        if signers.into_iter().any(|it| verdict_of(&it) == Some(Verdict::Rejected)) {
            let reason = self.words("is signed by one that has been rejected by an operator");
            return Err(Distrust { reason, is_open: false });
        }
        if self.named.iter().any(|it| it.eq_ignore_ascii_case(&self.fingerprint)) {
            return Ok(None);
        }
        let is_over = |until: Option<TimestampMs>| until.is_some_and(|until| until <= now);
        match verdict {
            Some(Verdict::Approved(until)) if !is_over(until) => return Ok(until),
            _ => {}
        }
        let mut authorities = self.list.as_ref().map(|it| it.authorities()).unwrap_or_default();
        authorities.retain(|it| !is_over(it.until));
        // Of those that know the server the first one has the last word: the others did not sign it.
        let mut refused = None;
        for authority in &authorities {
            match self.is_signed_by(authority) {
                Ok(()) => return Ok(authority.until),
                Err(None) => {}
                Err(Some(reason)) => refused = refused.or(Some(reason)),
            }
        }
        let reason = match (refused, verdict) {
            (Some(reason), _) => self.words(&reason),
            (None, Some(_)) => self.words("was trusted until a time that is over"),
            (None, None) => self.words("is not trusted"),
        };
        let reason = format!(
            "{reason}; if it is the right one, approve it (`server_certificates approve`), or put that into `trusted`"
        );
        Err(Distrust { reason, is_open: true })
    }

    fn words(&self, what: &str) -> String {
        let (subject, fingerprint) = (self.certificate.subject_name(), &self.fingerprint);
        format!("the certificate of the server {what}: {subject}, SHA-256 {fingerprint}")
    }

    /// Whether an authority vouches for the server; if it knows it and does not, why.
    fn is_signed_by(&self, authority: &Authority) -> Result<(), Option<String>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_slice(&authority.certificate)).map_err(|_| None)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        if let Some(revoked) = &authority.revoked {
            let revoked = CertificateRevocationListDer::from(revoked.clone());
            // Of who has signed the others nothing is known here.
            verifier = verifier.with_crls([revoked]).only_check_end_entity_revocation();
            verifier = verifier.allow_unknown_revocation_status();
        }
        let verifier = verifier.build().map_err(|error| Some(error.to_string()))?;
        let der = |it: &Vec<u8>| CertificateDer::from(it.clone());
        let mut chain = self.chain.iter().map(der);
        let own = chain.next().ok_or(None)?;
        let others: Vec<CertificateDer<'_>> = chain.collect();
        let host = ServerName::try_from(self.host.as_str()).map_err(|_| None)?;
        let at = UnixTime::since_unix_epoch(Duration::from_millis(self.looked_at().0));
        let verified = verifier.verify_server_cert(&own, &others, &host, &[], at);
        verified.map(drop).map_err(|error| why(&error, &self.host))
    }

    /// When the signatures are looked at: machines without a clock show certificates of other times.
    fn looked_at(&self) -> TimestampMs {
        let (from, until) = self.validity();
        match (from, until) {
            (Some(from), Some(until)) if self.ignores_validity => self.shown.max(from).min(until),
            _ => self.shown,
        }
    }

    fn validity(&self) -> (Option<TimestampMs>, Option<TimestampMs>) {
        let ms = |ms: i64| u64::try_from(ms).ok().map(TimestampMs);
        let from = self.certificate.not_before().ok().and_then(|it| ms(it.timestamp_millis()));
        let until = self.certificate.not_after().ok().and_then(|it| ms(it.timestamp_millis()));
        (from, until)
    }

    fn check_validity(&self) -> Result<(), Distrust> {
        let now = opcua::types::DateTime::now().as_chrono();
        if self.ignores_validity || self.certificate.is_time_valid(&now).is_ok() {
            return Ok(());
        }
        let time = |it: Option<String>| it.unwrap_or_else(|| "?".to_owned());
        let from = time(self.certificate.not_before().ok().map(|it| it.to_rfc3339()));
        let until = time(self.certificate.not_after().ok().map(|it| it.to_rfc3339()));
        let reason =
            format!("the certificate of the server is valid from {from} until {until} only");
        Err(Distrust { reason, is_open: false })
    }
}

/// What an authority has against a certificate; `None` if it does not know it.
fn why(error: &rustls::Error, host: &str) -> Option<String> {
    use rustls::CertificateError::{
        BadSignature, NotValidForName, NotValidForNameContext, Revoked, UnknownIssuer,
    };
    let rustls::Error::InvalidCertificate(error) = error else { return Some(error.to_string()) };
    Some(match error {
        // An authority of the same name has signed it, with another key.
        UnknownIssuer | BadSignature => return None,
        Revoked => "has been taken back by who has signed it".to_owned(),
        NotValidForName | NotValidForNameContext { .. } => format!("is not for the host {host}"),
        other => format!("is signed by a known authority, but not good ({other})"),
    })
}

/// The certificates in the bytes of a server, which may send its whole chain, one after the other.
fn certificates(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    /// More than any hierarchy has.
    const CHAIN_MAX: usize = 8;
    let mut found = Vec::new();
    while found.len() < CHAIN_MAX
        && let Some(length) = element(bytes)
    {
        let (one, rest) = bytes.split_at(length);
        found.push(one.to_vec());
        bytes = rest;
    }
    found
}

/// How long the SEQUENCE is that the bytes begin with (X.690, 8.1.3); `None` if they do not, or it is cut off.
fn element(bytes: &[u8]) -> Option<usize> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (head, length) = match first {
        0..=0x7F => (2, usize::from(first)),
        // Longer ones are no certificates, nor are those of 0x80, which do not say how long they are.
        0x81..=0x83 => {
            let octets = rest.get(..usize::from(first & 0x7F))?;
            let length = octets.iter().fold(0, |sum, it| (sum << 8) | usize::from(*it));
            (2 + octets.len(), length)
        }
        _ => return None,
    };
    let whole = head + length;
    (tag == 0x30 && whole <= bytes.len()).then_some(whole)
}

/// The host of `opc.tcp://host:port/path`, without the brackets of IPv6.
fn host_of(url: &str) -> &str {
    let rest = url.strip_prefix("opc.tcp://").unwrap_or(url);
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn now() -> TimestampMs {
    let ms = opcua::types::DateTime::now().as_chrono().timestamp_millis();
    TimestampMs(u64::try_from(ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use opcua::crypto::SecurityPolicy as Policy;
    use proptest::prelude::*;

    fn config() -> OpcUaConfig {
        OpcUaConfig::new("opc.tcp://plc:4840")
    }

    #[test]
    fn what_protects_nothing_is_not_judged_and_what_shows_nothing_is_refused() {
        let of = |policy: Policy, certificate: &[u8]| EndpointDescription {
            security_policy_uri: policy.to_uri().into(),
            server_certificate: certificate.to_vec().into(),
            ..EndpointDescription::default()
        };
        assert!(Trust::of(&config(), &of(Policy::None, b""), None).is_ok_and(|it| it.is_none()));
        for certificate in [&b""[..], b"no certificate", &[0x30, 3, 1, 2, 3]] {
            let judged = Trust::of(&config(), &of(Policy::Basic256Sha256, certificate), None);
            assert!(judged.is_err_and(|it| it.contains("no certificate that can be read")));
        }
    }

    #[test]
    fn a_chain_is_taken_apart() {
        let long = [&[0x30, 0x82, 0x01, 0x00][..], &[7; 256]].concat();
        let chain = [&[0x30, 1, 9][..], &long, &[0x30, 0]].concat();
        assert_eq!(certificates(&chain), [vec![0x30, 1, 9], long.clone(), vec![0x30, 0]]);
        // What is cut off, or is something else, ends it.
        for end in [&long[..200], &[0x31, 0], &[0x30, 0x80, 0, 0], &[0x30, 0x84, 0, 0, 0, 0], b"x"]
        {
            assert_eq!(certificates(&[&[0x30, 0], end].concat()), [vec![0x30, 0]], "{end:?}");
        }
        assert_eq!(certificates(&[0x30, 0].repeat(100)).len(), 8);
    }

    #[test]
    fn a_host_is_what_certificates_are_for() {
        for (url, host) in [
            ("opc.tcp://plc:4840", "plc"),
            ("opc.tcp://10.0.0.7:4840/server", "10.0.0.7"),
            ("opc.tcp://[fe80::1]:4840/a/b", "fe80::1"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    /// Operators who have rejected one certificate.
    struct Rejecting(String);

    impl TrustList for Rejecting {
        fn verdict(&self, fingerprint: &str) -> Option<Verdict> {
            (fingerprint == self.0).then_some(Verdict::Rejected)
        }
        fn authorities(&self) -> Vec<Authority> {
            Vec::new()
        }
        fn keep(&self, _: Shown) -> futures_util::future::BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
        fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
            tokio::sync::watch::Sender::default().subscribe()
        }
    }

    #[test]
    fn what_a_rejected_one_has_signed_is_not_trusted_whoever_names_it() {
        let made = || {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::default().self_signed(&key).unwrap().der().to_vec()
        };
        let (own, signer) = (made(), made());
        let endpoint = EndpointDescription {
            security_policy_uri: Policy::Basic256Sha256.to_uri().into(),
            server_certificate: [own.as_slice(), &signer].concat().into(),
            ..EndpointDescription::default()
        };
        let config = OpcUaConfig { trusted: vec![fingerprint(&own)], ..config() };
        for (rejected, expected) in [
            (fingerprint(&own), Some("has been rejected")),
            (fingerprint(&signer), Some("is signed by one that has been rejected")),
            (fingerprint(b"another"), None),
        ] {
            let list: Arc<dyn TrustList> = Arc::new(Rejecting(rejected));
            let trust = Trust::of(&config, &endpoint, Some(list)).unwrap().unwrap();
            match (trust.judge(now()), expected) {
                (Ok(None), None) => {}
                (Err(it), Some(why)) => assert!(it.reason.contains(why) && !it.is_open, "{it:?}"),
                (other, _) => panic!("{expected:?}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_is_taken_apart_into_what_it_sent(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let chain = certificates(&bytes).concat();
            prop_assert!(bytes.starts_with(&chain));
        }
    }
}
