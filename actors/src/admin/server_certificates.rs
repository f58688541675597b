//! `admin/server_certificates/…`: the trust list of OPC UA servers (OPC 10000-12, 7.5). What drivers have been shown
//! waits here until an operator approves or rejects it.

use super::list::page_of_all;
use super::plan::{After, Plan, Request};
use super::revision::{self, AtRevision};
use super::table::{ADMIN, Operation, Resource};
use super::tenants::check_description;
use crate::authority::PEM_BYTES_MAX;
use crate::trust::row::{CertificateKey, MetRow, VerdictRow};
use broker::{CertificateInfo, check_revocations, read_authority, read_certificate};
use proto::admin::ListRequest;
use proto::{Refusal, RefusalCode, TimestampMs};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "server_certificates",
    is: "certificates of OPC UA servers, and whether drivers trust them",
    operations: &[
        Operation::changes::<ApproveCertificate>(
            "approve",
            ADMIN,
            "trusts a certificate, or what an authority has signed; drivers that wait for it connect",
            approve,
        ),
        Operation::changes::<AtRevision<OneCertificate>>(
            "delete",
            ADMIN,
            "forgets what was said of a certificate; it waits for an operator when it is shown again",
            delete,
        ),
        Operation::reads::<OneCertificate>("get", ADMIN, "shows a certificate", get),
        Operation::reads::<ListRequest>(
            "list",
            ADMIN,
            "lists those that wait for an operator, are approved, or rejected",
            list,
        ),
        Operation::changes::<RejectCertificate>(
            "reject",
            ADMIN,
            "never trusts a certificate, whoever vouches for it; connections to it end",
            reject,
        ),
    ],
};

/// The most certificates of a project that operators have said something of.
const VERDICTS_MAX: usize = 512;

/// The longest time that a certificate is trusted, in seconds: ten years.
const LIFE_SECS_MAX: u64 = 315_360_000;

/// The longest list of what an authority has taken back, in bytes.
const REVOKED_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApproveCertificate {
    /// SHA-256 of the certificate in hexadecimal, as `list` and the status of a driver show it; absent: that of
    /// `certificate`.
    #[serde(default)]
    fingerprint: Option<String>,
    /// The certificate as PEM, at most 16 KiB, for one that no driver has been shown yet.
    #[serde(default)]
    certificate: Option<String>,
    /// Whether it is that of an authority: servers are trusted that show a certificate which it has signed, which is
    /// valid, and for the host of the driver's `url`.
    #[serde(default)]
    authority: bool,
    /// Of an authority: what it has taken back (RFC 5280, 5), as PEM, at most 64 KiB.
    #[serde(default)]
    revoked: Option<String>,
    /// For how long it is trusted, in seconds: 1 to 315360000, which is ten years; absent: there is no end.
    #[serde(default)]
    #[schemars(range(min = 1, max = 315_360_000))]
    expires_in_secs: Option<u64>,
    /// At most 1024 bytes.
    #[serde(default)]
    description: String,
    /// Refuses the change if there is another revision by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RejectCertificate {
    /// SHA-256 of the certificate, in hexadecimal.
    fingerprint: String,
    /// At most 1024 bytes.
    #[serde(default)]
    description: String,
    /// Refuses the change if there is another revision by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneCertificate {
    /// SHA-256 of the certificate, in hexadecimal.
    fingerprint: String,
}

/// What is known of a certificate.
struct Known {
    key: CertificateKey,
    verdict: Option<VerdictRow>,
    met: Option<MetRow>,
}

/// Trusts a certificate, or what it has signed.
fn approve(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ApproveCertificate = request.read()?;
    let given = asked.certificate.as_deref().map(read_given).transpose()?;
    let fingerprint = match (&asked.fingerprint, &given) {
        (Some(text), _) => checked(text)?,
        (None, Some(info)) => info.fingerprint.clone(),
        (None, None) => {
            let message = "missing field `fingerprint`, or `certificate`";
            return Err(Refusal::new(RefusalCode::BadRequest, message).at("fingerprint"));
        }
    };
    if given.is_some_and(|info| info.fingerprint != fingerprint) {
        let message = "it is not that of the certificate";
        return Err(Refusal::new(RefusalCode::Invalid, message).at("fingerprint"));
    }
    let known = find(request, fingerprint)?;
    let row = VerdictRow {
        is_authority: asked.authority,
        certificate: asked.certificate.unwrap_or_else(|| known.certificate().to_owned()),
        revoked: asked.revoked,
        until: asked.expires_in_secs.map(|secs| end_of(request.now(), secs)).transpose()?,
        ..known.next(request, asked.description, asked.revision)?
    };
    check_authority(&row)?;
    Ok(kept(&known.key, &row))
}

/// Never trusts a certificate.
fn reject(request: &Request<'_>) -> Result<Plan, Refusal> {
    let RejectCertificate { fingerprint, description, revision } = request.read()?;
    let known = find(request, checked(&fingerprint)?)?;
    let row = known.next(request, description, revision)?;
    Ok(kept(&known.key, &VerdictRow { is_rejected: true, ..row }))
}

/// Forgets what was said of a certificate.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = revision::split(request)?;
    let known = must_find(&request)?;
    revision::check(known.revision(), revision)?;
    let mut plan = Plan::answer(json!({ "fingerprint": known.key.1 }));
    plan.changes.delete::<VerdictRow>(&known.key);
    plan.changes.delete::<MetRow>(&known.key);
    plan.after.push(After::Trust);
    Ok(plan)
}

/// Shows a certificate.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let known = must_find(request)?;
    let mut shown = show(&known, request.now());
    if !known.certificate().is_empty() {
        shown["certificate"] = known.certificate().into();
    }
    Ok(Plan::answer(shown))
}

/// Lists certificates, by fingerprint. What a filter means is fingerprint, state, subject and address.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let prefix = store::prefix(request.namespace);
    let mut all: BTreeMap<String, Known> = BTreeMap::new();
    for (key, row) in request.scan::<MetRow>(&prefix)? {
        let known = Known { key: key.clone(), verdict: None, met: Some(row) };
        all.insert(key.1, known);
    }
    for (key, row) in request.scan::<VerdictRow>(&prefix)? {
        let name = key.1.clone();
        let known = all.entry(name).or_insert(Known { key, verdict: None, met: None });
        known.verdict = Some(row);
    }
    let mut items = Vec::with_capacity(all.len());
    for (fingerprint, known) in all {
        let shown = show(&known, request.now());
        let words = ["state", "subject", "url"].map(|it| shown[it].as_str().unwrap_or_default());
        let words = format!("{fingerprint} {}", words.join(" "));
        if asked.filter.as_ref().is_none_or(|filter| words.contains(filter)) {
            items.push((fingerprint, shown));
        }
    }
    page_of_all("server_certificates", &ListRequest { filter: None, ..asked }, items)
}

impl Known {
    fn certificate(&self) -> &str {
        let verdict = self.verdict.as_ref().map(|it| it.certificate.as_str());
        let met = self.met.as_ref().map(|it| it.certificate.as_str());
        verdict.filter(|it| !it.is_empty()).or(met).unwrap_or_default()
    }

    fn url(&self) -> &str {
        let met = self.met.as_ref().map(|it| it.url.as_str());
        met.or(self.verdict.as_ref().map(|it| it.url.as_str())).unwrap_or_default()
    }

    fn revision(&self) -> u64 {
        self.verdict.as_ref().map_or(0, |it| it.revision)
    }

    /// What is said of it from now on, before it is said what.
    fn next(
        &self,
        request: &Request<'_>,
        description: String,
        revision: Option<u64>,
    ) -> Result<VerdictRow, Refusal> {
        check_description(&description)?;
        revision::check(self.revision(), revision)?;
        let prefix = store::prefix(request.namespace);
        if self.verdict.is_none() && request.scan::<VerdictRow>(&prefix)?.len() >= VERDICTS_MAX {
            let message = format!("{VERDICTS_MAX} certificates are approved or rejected already");
            return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("fingerprint"));
        }
        Ok(VerdictRow {
            is_rejected: false,
            is_authority: false,
            certificate: self.certificate().to_owned(),
            revoked: None,
            until: None,
            url: self.url().to_owned(),
            description,
            updated: request.now(),
            revision: self.revision() + 1,
        })
    }
}

/// Keeps what is said of a certificate, which no longer waits for it.
fn kept(key: &CertificateKey, row: &VerdictRow) -> Plan {
    let mut plan = Plan::default();
    plan.changes.put::<VerdictRow>(key, row);
    plan.changes.delete::<MetRow>(key);
    plan.after.push(After::Trust);
    let known = Known { key: key.clone(), verdict: Some(row.clone()), met: None };
    plan.data = show(&known, row.updated);
    plan
}

fn read_given(pem: &str) -> Result<CertificateInfo, Refusal> {
    if pem.len() > PEM_BYTES_MAX {
        let message = format!("longer than {PEM_BYTES_MAX} bytes");
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("certificate"));
    }
    let info = read_certificate(pem);
    info.map_err(|error| Refusal::new(RefusalCode::Invalid, error).at("certificate"))
}

/// An authority is one, and only an authority takes certificates back.
fn check_authority(row: &VerdictRow) -> Result<(), Refusal> {
    let invalid =
        |message: String, field| Err(Refusal::new(RefusalCode::Invalid, message).at(field));
    if row.is_authority && row.certificate.is_empty() {
        let message = "missing field `certificate`: no server has shown this authority";
        return Err(Refusal::new(RefusalCode::BadRequest, message).at("certificate"));
    }
    if row.is_authority
        && let Err(error) = read_authority(&row.certificate)
    {
        return invalid(error, "authority");
    }
    let Some(revoked) = &row.revoked else { return Ok(()) };
    if !row.is_authority {
        return invalid("only an authority takes certificates back".to_owned(), "revoked");
    }
    if revoked.len() > REVOKED_BYTES_MAX {
        let message = format!("longer than {REVOKED_BYTES_MAX} bytes");
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("revoked"));
    }
    match check_revocations(revoked, &row.certificate) {
        Ok(()) => Ok(()),
        Err(error) => invalid(error, "revoked"),
    }
}

fn end_of(now: TimestampMs, secs: u64) -> Result<TimestampMs, Refusal> {
    if (1..=LIFE_SECS_MAX).contains(&secs) {
        return Ok(TimestampMs(now.0.saturating_add(secs * 1000)));
    }
    let message = format!("a certificate is trusted for 1 to {LIFE_SECS_MAX} seconds");
    Err(Refusal::new(RefusalCode::Invalid, message).at("expires_in_secs"))
}

/// A fingerprint as it is kept.
fn checked(fingerprint: &str) -> Result<String, Refusal> {
    let fingerprint = fingerprint.to_ascii_lowercase();
    if fingerprint.len() == 64 && fingerprint.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Ok(fingerprint);
    }
    let message = "it is no SHA-256 of 64 hexadecimal digits";
    Err(Refusal::new(RefusalCode::Invalid, message).at("fingerprint"))
}

fn find(request: &Request<'_>, fingerprint: String) -> Result<Known, Refusal> {
    let key = (request.namespace.clone(), fingerprint);
    let verdict = request.get::<VerdictRow>(&key)?;
    let met = request.get::<MetRow>(&key)?;
    Ok(Known { key, verdict, met })
}

/// The certificate of a request, which has to be known.
fn must_find(request: &Request<'_>) -> Result<Known, Refusal> {
    let OneCertificate { fingerprint } = request.read()?;
    let known = find(request, checked(&fingerprint)?)?;
    if known.verdict.is_none() && known.met.is_none() {
        return Err(Refusal::not_found("certificate", &known.key.1).at("fingerprint"));
    }
    Ok(known)
}

fn show(known: &Known, now: TimestampMs) -> Json {
    let state = match &known.verdict {
        None => "pending",
        Some(row) if row.is_rejected => "rejected",
        Some(row) if row.until.is_some_and(|until| until <= now) => "expired",
        Some(_) => "approved",
    };
    let mut shown = json!({
        "fingerprint": known.key.1, "state": state, "url": known.url(), "revision": known.revision(),
    });
    if let Ok(info) = read_certificate(known.certificate()) {
        shown["subject"] = info.subject.into();
        shown["issuer"] = info.issuer.into();
        shown["expires_at"] = json!(info.expires_at);
    }
    if let Some(row) = &known.verdict {
        shown["authority"] = row.is_authority.into();
        shown["approved_until"] = json!(row.until);
        shown["description"] = row.description.as_str().into();
        shown["updated"] = json!(row.updated);
    }
    if let Some(row) = &known.met {
        shown["first_seen"] = json!(row.first);
        shown["last_seen"] = json!(row.last);
    }
    shown
}
