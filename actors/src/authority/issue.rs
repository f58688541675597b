//! Issuing a certificate to a name of a namespace: by which authority, and what is kept of it.

use super::sign;
use broker::credential::{
    AuthorityRow, CertificateInUse, CertificateKey, CertificateName, CertificateRow,
    CertificateState,
};
use broker::{CertificateInfo, read_certificate};
use proto::id::AuthorityId;
use proto::{Clock, Entropy, Namespace, Refusal, RefusalCode, TimestampMs, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use store::{Changes, ReadError, Snapshot};

/// The most certificates of one name that are valid at a time.
pub(crate) const CERTIFICATES_MAX: usize = 8;

/// What a certificate is asked for with.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    /// A signing request (PKCS #10) as PEM, at most 16 KiB; of what it says only its key counts.
    pub(crate) csr: String,
    /// Who signs; absent: the only authority of the project that can.
    #[serde(default)]
    pub(crate) authority: Option<AuthorityId>,
    /// How long the certificate is valid, in days; absent, and at most: as long as the authority says.
    #[serde(default)]
    pub(crate) days: Option<u32>,
}

/// Where it is issued.
pub(crate) struct Place<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) entropy: &'a dyn Entropy,
}

/// A certificate with what is to be kept of it.
#[derive(Debug)]
pub(crate) struct Issued {
    /// What is told of it.
    pub(crate) data: Json,
    pub(crate) changes: Changes,
}

/// Why nothing was issued.
type Outcome<T> = Result<Result<T, Refusal>, ReadError>;

/// Issues a certificate to a name, whose credential is the caller's to look for.
pub(crate) fn issue(
    place: &Place<'_>,
    (namespace, name): (&Namespace, &UserId),
    ask: &Ask,
) -> Outcome<Issued> {
    let (id, authority) = match find(place, namespace, ask.authority.as_ref())? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let days = match ask.days.unwrap_or(authority.lifetime_days) {
        days if (1..=authority.lifetime_days).contains(&days) => days,
        _ => {
            let message = format!("1 to {} days, by the authority", authority.lifetime_days);
            return Ok(Err(Refusal::new(RefusalCode::Invalid, message).at("days")));
        }
    };
    let now = place.clock.now();
    let pem =
        match sign(&authority, (namespace, name.as_str()), &ask.csr, (now, days), place.entropy) {
            Ok(pem) => pem,
            Err(refusal) => return Ok(Err(refusal)),
        };
    let info = match read_certificate(&pem) {
        Ok(info) => info,
        Err(error) => return Ok(Err(Refusal::internal(error))),
    };
    let kept = keep(place, (namespace, name), &id, &info)?;
    Ok(kept.map(|mut issued| {
        issued.data["certificate"] = pem.into();
        issued.data["chain"] = authority.certificate.into();
        issued
    }))
}

/// Keeps in mind that a certificate is for a name.
pub(crate) fn keep(
    place: &Place<'_>,
    (namespace, name): (&Namespace, &UserId),
    authority: &AuthorityId,
    certificate: &CertificateInfo,
) -> Outcome<Issued> {
    let now = place.clock.now();
    let of_name = (namespace.clone(), name.clone());
    let in_use = place.snapshot.get::<CertificateInUse>(&of_name)?.map(|it| it.0);
    let mut changes = Changes::new();
    let (mut newest, mut valid) = (in_use.unwrap_or(0), 0);
    for row in place.snapshot.scan::<CertificateRow>(&store::prefix(&of_name))? {
        let (key, row) = row?;
        newest = newest.max(row.generation);
        match row.state(in_use, now) {
            CertificateState::Issued | CertificateState::InUse => valid += 1,
            // What is over says nothing any more; what was taken back is remembered until its time is over.
            _ if row.expires <= now => forget(&mut changes, &key),
            CertificateState::Replaced if signs_here(place, namespace, &row.authority)? => {
                forget(&mut changes, &key);
            }
            // Its fingerprint is remembered, or its device would be a newcomer by it.
            CertificateState::Replaced => changes.delete::<CertificateRow>(&key),
            CertificateState::Expired | CertificateState::Revoked => {}
        }
    }
    if valid >= CERTIFICATES_MAX {
        let message = format!("{name} has {valid} certificates that are valid: use or revoke some");
        return Ok(Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("csr")));
    }
    let row = CertificateRow {
        authority: authority.clone(),
        generation: newest + 1,
        created: now,
        expires: certificate.expires_at.unwrap_or(TimestampMs(u64::MAX)),
        is_revoked: false,
    };
    let key = (namespace.clone(), name.clone(), certificate.fingerprint.clone());
    changes.put::<CertificateRow>(&key, &row);
    changes.put::<CertificateName>(&(key.0.clone(), key.2.clone()), &CertificateName(name.clone()));
    Ok(Ok(Issued { data: show(&key, &row, in_use, now), changes }))
}

/// A certificate as it is told of.
pub(crate) fn show(
    (namespace, name, fingerprint): &CertificateKey,
    row: &CertificateRow,
    in_use: Option<u64>,
    now: TimestampMs,
) -> Json {
    json!({
        "fingerprint": fingerprint,
        "name": name,
        "user": format!("{namespace}/{name}"),
        "authority": row.authority,
        "state": row.state(in_use, now),
        "created": row.created,
        "expires_at": row.expires,
    })
}

/// Whether what an authority has signed was signed here, so that nobody registers by it.
fn signs_here(
    place: &Place<'_>,
    namespace: &Namespace,
    authority: &AuthorityId,
) -> Result<bool, ReadError> {
    let row = place.snapshot.get::<AuthorityRow>(&(namespace.clone(), authority.clone()))?;
    Ok(row.is_some_and(|row| !row.key.is_empty()))
}

fn forget(changes: &mut Changes, key: &CertificateKey) {
    changes.delete::<CertificateRow>(key);
    changes.delete::<CertificateName>(&(key.0.clone(), key.2.clone()));
}

/// The authority that is asked for, or the only one that can sign.
fn find(
    place: &Place<'_>,
    namespace: &Namespace,
    asked: Option<&AuthorityId>,
) -> Outcome<(AuthorityId, AuthorityRow)> {
    let refuse = |code, message: String| Ok(Err(Refusal::new(code, message).at("authority")));
    if let Some(id) = asked {
        return match place.snapshot.get::<AuthorityRow>(&(namespace.clone(), id.clone()))? {
            Some(row) if row.is_disabled => {
                refuse(RefusalCode::Invalid, format!("the authority `{id}` is disabled"))
            }
            Some(row) if row.key.is_empty() => {
                let message = format!("the key of the authority `{id}` is elsewhere");
                refuse(RefusalCode::Invalid, message)
            }
            Some(row) => Ok(Ok((id.clone(), row))),
            None => Ok(Err(Refusal::not_found("authority", id).at("authority"))),
        };
    }
    let mut found = Vec::new();
    for row in place.snapshot.scan::<AuthorityRow>(&store::prefix(namespace))? {
        let ((_, id), row) = row?;
        if !row.is_disabled && !row.key.is_empty() {
            found.push((id, row));
        }
    }
    match found.len() {
        1 => Ok(found.pop().ok_or_else(|| Refusal::internal("an authority"))),
        0 => refuse(RefusalCode::NotFound, "there is no authority that signs".to_owned()),
        count => {
            let message = format!("there are {count} authorities that sign: name one");
            refuse(RefusalCode::BadRequest, message)
        }
    }
}
