//! The trust list: what operators say of a certificate counts at once, for connections that are there as well.

use super::{dirs, driver, plain, tags};
use drivers::opcua::{OpcUaConfig, SecurityPolicy};
use drivers::trust::{Authority, Shown, TrustList, Verdict};
use drivers::{Connectivity, Driver, Site};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use proto::TimestampMs;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use sim::tank::{Kind, OpcUaServer};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Operators of a test.
#[derive(Default)]
struct Operators {
    verdicts: Mutex<HashMap<String, Verdict>>,
    authorities: Mutex<Vec<Authority>>,
    kept: Mutex<Vec<Shown>>,
    changed: watch::Sender<u64>,
}

impl Operators {
    fn say(&self, fingerprint: &str, verdict: Option<Verdict>) {
        let mut verdicts = self.verdicts.lock().expect("a lock");
        verdicts.remove(fingerprint);
        verdicts.extend(verdict.map(|it| (fingerprint.to_owned(), it)));
        self.changed.send_modify(|it| *it += 1);
    }

    fn take_the_word_of(&self, authority: Option<Authority>) {
        *self.authorities.lock().expect("a lock") = authority.into_iter().collect();
        self.changed.send_modify(|it| *it += 1);
    }

    fn last_kept(&self) -> Option<Shown> {
        self.kept.lock().expect("a lock").last().cloned()
    }
}

impl TrustList for Operators {
    fn verdict(&self, fingerprint: &str) -> Option<Verdict> {
        self.verdicts.lock().expect("a lock").get(fingerprint).copied()
    }

    fn authorities(&self) -> Vec<Authority> {
        self.authorities.lock().expect("a lock").clone()
    }

    fn keep(&self, shown: Shown) -> BoxFuture<'_, ()> {
        self.kept.lock().expect("a lock").push(shown);
        ready(()).boxed()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// A driver that is told nothing of certificates but by operators.
fn guarded(server: &OpcUaServer, site: &Site, operators: &Arc<Operators>) -> Box<dyn Driver> {
    let config = OpcUaConfig { security_policy: SecurityPolicy::Auto, ..plain(server) };
    let site = site.clone().with_trust(Arc::<Operators>::clone(operators));
    driver(&config, &tags()[..1], &site)
}

async fn refused(driver: &mut Box<dyn Driver>) -> String {
    let error = driver.connect().await.expect_err("not trusted");
    assert_eq!(error.code(), "not_trusted", "{error}");
    error.to_string()
}

/// Waits for the end of a connection that is there.
async fn ended(driver: &mut Box<dyn Driver>) -> String {
    let begun = Instant::now();
    while driver.health().connectivity == Connectivity::Connected {
        assert!(begun.elapsed() < Duration::from_secs(5), "it goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let outcome = driver.read(&[super::LEVEL]).await;
    outcome.lost.expect("it is lost").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_say_of_a_server_counts_at_once() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let operators = Arc::<Operators>::default();
    let mut driver = guarded(&server, &dirs.site, &operators);
    let reason = refused(&mut driver).await;
    assert!(reason.contains("server_certificates approve"), "{reason}");
    let shown = operators.last_kept().expect("operators are asked");
    assert_eq!(shown.url, server.url());
    let own = std::fs::read(dirs.server.path().join("own/cert.der")).expect("its certificate");
    assert_eq!(shown.certificate, own);

    operators.say(&shown.fingerprint, Some(Verdict::Approved(None)));
    driver.connect().await.expect("it is approved");
    // What is said of another does not disturb it.
    for number in 0..100 {
        operators.say(&format!("another {number}"), Some(Verdict::Rejected));
        let outcome = driver.read(&[super::LEVEL]).await;
        assert!(outcome.lost.is_none(), "{outcome:?}");
    }

    operators.say(&shown.fingerprint, Some(Verdict::Rejected));
    let reason = ended(&mut driver).await;
    assert!(reason.contains("has been rejected by an operator"), "{reason}");
    let asked = operators.kept.lock().expect("a lock").len();
    refused(&mut driver).await;
    assert_eq!(operators.kept.lock().expect("a lock").len(), asked, "nobody is asked again");

    // Not even a driver that names it talks to a server that was rejected.
    let config = OpcUaConfig {
        security_policy: SecurityPolicy::Auto,
        trusted: vec![shown.fingerprint.clone()],
        ..plain(&server)
    };
    let site = dirs.site.clone().with_trust(Arc::<Operators>::clone(&operators));
    let mut naming = super::driver(&config, &tags()[..1], &site);
    refused(&mut naming).await;
    operators.say(&shown.fingerprint, None);
    naming.connect().await.expect("it is named");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_ends_with_its_time() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let operators = Arc::<Operators>::default();
    let mut driver = guarded(&server, &dirs.site, &operators);
    refused(&mut driver).await;
    let shown = operators.last_kept().expect("operators are asked");
    operators.say(&shown.fingerprint, Some(Verdict::Approved(Some(in_ms(1500)))));
    driver.connect().await.expect("it is approved");
    let reason = ended(&mut driver).await;
    assert!(reason.contains("until a time that is over"), "{reason}");
    refused(&mut driver).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_vouches_for_servers_it_has_signed_for_where_they_are() {
    let dirs = dirs();
    let plant = Plant::new();
    let mut address = None;
    // Whom the certificate is for, whether it was taken back, and what is said of it.
    for (host, is_revoked, expected) in [
        ("127.0.0.1", false, None),
        ("elsewhere.example", false, Some("is not for the host 127.0.0.1")),
        ("127.0.0.1", true, Some("has been taken back")),
    ] {
        let server = match address {
            None => OpcUaServer::start(dirs.server.path(), Kind::default()).await,
            Some(address) => {
                OpcUaServer::start_at(address, dirs.server.path(), Kind::default()).await
            }
        };
        // The first one has made the key that is signed for.
        address = Some(server.expect("a server").kill().await);
        plant.sign(dirs.server.path(), host);
        let server = OpcUaServer::start_at(
            address.expect("known by now"),
            dirs.server.path(),
            Kind::default(),
        );
        let server = server.await.expect("a server");
        let operators = Arc::<Operators>::default();
        let mut driver = guarded(&server, &dirs.site, &operators);
        refused(&mut driver).await;
        operators.take_the_word_of(Some(Plant::new().authority(is_revoked)));
        let reason = refused(&mut driver).await;
        assert!(reason.contains("is not trusted"), "of another authority: {reason}");
        operators.take_the_word_of(Some(plant.authority(is_revoked)));
        match expected {
            Some(expected) => {
                let reason = refused(&mut driver).await;
                assert!(reason.contains(expected), "{reason}");
            }
            None => {
                driver.connect().await.expect("its authority vouches for it");
                operators.take_the_word_of(None);
                let reason = ended(&mut driver).await;
                assert!(reason.contains("is not trusted"), "{reason}");
            }
        }
        address = Some(server.kill().await);
    }
}

fn in_ms(ms: u64) -> TimestampMs {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_millis();
    TimestampMs(u64::try_from(now).expect("a time") + ms)
}

/// An authority of a plant.
struct Plant {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Plant {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Signs for the key of a server, which is replaced by what is signed.
    fn sign(&self, server: &Path, host: &str) {
        let key = std::fs::read_to_string(server.join("private/private.pem")).expect("its key");
        let key = KeyPair::from_pem(&key).expect("a key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        params.serial_number = Some(SerialNumber::from(7_u64));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(server.join("own/cert.der"), certificate.der()).expect("a file");
    }

    fn authority(&self, has_revoked: bool) -> Authority {
        let day = |day| rcgen::date_time_ymd(2026, 1, day);
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(7_u64),
            revocation_time: day(2),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: day(2),
            next_update: rcgen::date_time_ymd(2096, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: has_revoked.then_some(revoked).into_iter().collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a list");
        Authority {
            certificate: self.certificate.der().to_vec(),
            revoked: Some(list.der().to_vec()),
            until: None,
        }
    }
}
