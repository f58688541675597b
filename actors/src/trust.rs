//! The trust list of a project: which certificates of OPC UA servers its drivers trust, beyond those that a driver
//! names itself.
//!
//! Two tables, each with one writer: what operators have said ([`VerdictRow`], the admin API), and what drivers have
//! been shown that nobody has said anything of ([`MetRow`], the drivers). What operators say counts at once: every
//! connection looks again when [`Context::trust_changed`](crate::context::Context) tells of it.

pub(crate) mod row;

use crate::context::Shared;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use broker::{certificate_der, revocations_der};
use drivers::trust::{Authority, Shown, TrustList, Verdict};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proto::Namespace;
use row::{MetRow, VerdictRow};
use store::{Changes, Row};
use tokio::sync::watch;

/// Certificates that wait for an operator, in one project: a new one takes the place of the one that has not been shown
/// for longest.
const MET_MAX: usize = 256;

/// How often it is written down that a certificate is still shown, in milliseconds.
const SEEN_EVERY_MS: u64 = 3_600_000;

/// The trust list of one project.
pub(crate) struct ProjectTrust {
    pub(crate) context: Shared,
    pub(crate) namespace: Namespace,
}

impl ProjectTrust {
    /// Rows of the project; what cannot be read is told of, and vouches for nobody.
    fn rows<R: Row<Key = row::CertificateKey>>(&self) -> Vec<(row::CertificateKey, R)> {
        let read = self.context.outside.store.read();
        let found = read.and_then(|it| it.scan::<R>(&store::prefix(&self.namespace)));
        let tell =
            |error| tracing::error!(%error, table = R::TABLE, "the trust list cannot be read");
        let rows = found.map_err(tell).unwrap_or_default();
        rows.into_iter().filter_map(|row| row.map_err(tell).ok()).collect()
    }

    async fn note(&self, shown: Shown) {
        let now = self.context.now();
        let key = (self.namespace.clone(), shown.fingerprint);
        let met = self.rows::<MetRow>();
        let known = met.iter().find(|(of, _)| *of == key).map(|(_, row)| row);
        if known.is_some_and(|row| row.last.0.saturating_add(SEEN_EVERY_MS) > now.0) {
            return;
        }
        let mut changes = Changes::new();
        if known.is_none() && met.len() >= MET_MAX {
            let oldest = met.iter().min_by_key(|(_, row)| row.last);
            oldest.into_iter().for_each(|(key, _)| changes.delete::<MetRow>(key));
        }
        let row = MetRow {
            certificate: pem(&shown.certificate),
            url: shown.url,
            first: known.map_or(now, |row| row.first),
            last: now,
        };
        changes.put::<MetRow>(&key, &row);
        if let Err(error) = self.context.outside.store.commit(changes).await {
            tracing::warn!(%error, fingerprint = key.1, "a certificate of a server is not kept");
        }
    }
}

impl TrustList for ProjectTrust {
    fn verdict(&self, fingerprint: &str) -> Option<Verdict> {
        let key = (self.namespace.clone(), fingerprint.to_owned());
        let snapshot = self.context.outside.store.read();
        match snapshot.and_then(|it| it.get::<VerdictRow>(&key)) {
            Ok(row) => row.map(|row| match row.is_rejected {
                true => Verdict::Rejected,
                false => Verdict::Approved(row.until),
            }),
            // It may have been rejected.
            Err(error) => {
                tracing::error!(%error, fingerprint, "the trust list cannot be read");
                Some(Verdict::Rejected)
            }
        }
    }

    fn authorities(&self) -> Vec<Authority> {
        let rows = self.rows::<VerdictRow>().into_iter();
        let rows = rows.filter(|(_, row)| row.is_authority && !row.is_rejected);
        rows.filter_map(|(key, row)| match authority(&row) {
            Ok(authority) => Some(authority),
            // Without the list of what it has taken back its word is worth nothing.
            Err(error) => {
                tracing::error!(error, fingerprint = key.1, "an authority cannot be read");
                None
            }
        })
        .collect()
    }

    fn keep(&self, shown: Shown) -> BoxFuture<'_, ()> {
        self.note(shown).boxed()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.context.trust_changed.subscribe()
    }
}

/// An authority as drivers take it.
fn authority(row: &VerdictRow) -> Result<Authority, String> {
    let revoked = row.revoked.as_deref().map(revocations_der).transpose()?;
    Ok(Authority { certificate: certificate_der(&row.certificate)?, revoked, until: row.until })
}

/// A certificate as PEM (RFC 7468).
fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|it| char::from(*it)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
