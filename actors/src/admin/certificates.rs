//! `admin/certificates/…`: the certificates by which devices, and those that are about to become some, come in.

use super::list::list as list_rows;
use super::plan::{After, Plan, Request, unreadable};
use super::table::{ADMIN, Operation, Resource};
use crate::authority::issue::{Ask, Place, issue, show};
use broker::credential::{
    CertificateInUse, CertificateKey, CertificateName, CertificateRow, Credential,
    CredentialIdentity,
};
use proto::admin::ListRequest;
use proto::id::AuthorityId;
use proto::{Namespace, Refusal, RefusalCode, Role, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "certificates",
    is: "certificates by which devices come in",
    operations: &[
        Operation::changes::<CreateCertificate>(
            "create",
            ADMIN,
            "has an authority sign a certificate for a thing or an enrolment",
            create,
        ),
        Operation::reads::<OneCertificate>("get", ADMIN, "shows what is known of one", get),
        Operation::reads::<ListCertificates>(
            "list",
            ADMIN,
            "lists certificates, of one thing or of all",
            list,
        ),
        Operation::changes::<OneCertificate>(
            "revoke",
            ADMIN,
            "takes a certificate back and disconnects whoever came in by it",
            revoke,
        ),
    ],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateCertificate {
    /// The thing, or the enrolment, that it is for.
    name: UserId,
    /// A signing request (PKCS #10) as PEM, at most 16 KiB; of what it says only its key counts.
    csr: String,
    /// Who signs; absent: the only authority of the project.
    #[serde(default)]
    authority: Option<AuthorityId>,
    /// How long it is valid, in days; absent, and at most: as long as the authority says.
    #[serde(default)]
    days: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneCertificate {
    /// SHA-256 of the certificate, in hexadecimal.
    fingerprint: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListCertificates {
    /// Only those of this thing or enrolment.
    #[serde(default)]
    name: Option<UserId>,
    /// Only those whose `<name>/<fingerprint>` contains this text.
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Has a certificate signed.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let CreateCertificate { name, csr, authority, days } = request.read()?;
    let key = (request.namespace.clone(), name);
    let credential = request.get::<Credential>(&key)?;
    match credential.map(|it| it.identity) {
        Some(
            CredentialIdentity::Thing(_)
            | CredentialIdentity::Edge(_)
            | CredentialIdentity::User { role: Role::Enrolment },
        ) => {}
        Some(CredentialIdentity::User { .. }) => {
            let message = "people and applications come in by secret or token";
            return Err(Refusal::new(RefusalCode::Invalid, message).at("name"));
        }
        None => return Err(Refusal::not_found("thing or enrolment", &key.1).at("name")),
    }
    let place = Place {
        snapshot: &request.snapshot,
        clock: &*request.context.outside.clock,
        entropy: &*request.context.outside.entropy,
    };
    let issued = issue(&place, (&key.0, &key.1), &Ask { csr, authority, days });
    let issued = issued.map_err(|error| unreadable(&error))??;
    Ok(Plan { data: issued.data, changes: issued.changes, ..Plan::default() })
}

/// Shows what is known of a certificate.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneCertificate { fingerprint } = request.read()?;
    let (key, row) = find(request, fingerprint)?;
    Ok(Plan::answer(shown(request, &key, &row)?))
}

/// Lists certificates. The name that a filter and a cursor mean is `<name>/<fingerprint>`.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ListCertificates { name, filter, limit, cursor } = request.read()?;
    let namespace: &Namespace = request.namespace;
    let prefix = match &name {
        None => store::prefix(namespace),
        Some(name) => store::prefix(&(namespace.clone(), name.clone())),
    };
    let key_of = |text: &str| -> Result<CertificateKey, Refusal> {
        let invalid =
            || Refusal::new(RefusalCode::Invalid, "not the cursor of a list of certificates");
        let (name, fingerprint) = text.split_once('/').ok_or_else(invalid)?;
        let name = UserId::parse(name).map_err(|_| invalid())?;
        Ok((namespace.clone(), name, fingerprint.to_owned()))
    };
    let item = |key: &CertificateKey, row: CertificateRow| {
        Some((format!("{}/{}", key.1, key.2), shown(request, key, &row).ok()?))
    };
    let asked = ListRequest { filter, limit, cursor };
    Ok(Plan::answer(list_rows::<CertificateRow>(request, &asked, &prefix, key_of, item)?))
}

/// Takes a certificate back.
fn revoke(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneCertificate { fingerprint } = request.read()?;
    let (key, mut row) = find(request, fingerprint)?;
    row.is_revoked = true;
    let mut plan = Plan::answer(shown(request, &key, &row)?);
    plan.changes.put::<CertificateRow>(&key, &row);
    let (namespace, _, fingerprint) = key;
    plan.after.push(After::Certificates(namespace, Some(fingerprint)));
    Ok(plan)
}

fn find(
    request: &Request<'_>,
    fingerprint: String,
) -> Result<(CertificateKey, CertificateRow), Refusal> {
    let unknown = || Refusal::not_found("certificate", &fingerprint).at("fingerprint");
    let by_fingerprint = (request.namespace.clone(), fingerprint.clone());
    let name = request.get::<CertificateName>(&by_fingerprint)?.ok_or_else(unknown)?;
    let key = (by_fingerprint.0, name.0, by_fingerprint.1);
    let row = request.get::<CertificateRow>(&key)?.ok_or_else(unknown)?;
    Ok((key, row))
}

fn shown(
    request: &Request<'_>,
    key: &CertificateKey,
    row: &CertificateRow,
) -> Result<Json, Refusal> {
    let in_use = request.get::<CertificateInUse>(&(key.0.clone(), key.1.clone()))?;
    Ok(show(key, row, in_use.map(|it| it.0), request.now()))
}
