//! `admin/authorities/…`: authorities of a project, whose certificates let its devices in.

use super::enrolments::present;
use super::list::list as list_rows;
use super::plan::{After, Plan, Request};
use super::revision;
use super::table::{ADMIN, Operation, Resource};
use super::tenants::check_description;
use crate::authority::{check, check_key, make};
use crate::enrolment::row::EnrolmentRow;
use broker::credential::{AuthorityKey, AuthorityRow};
use proto::admin::ListRequest;
use proto::id::{AuthorityId, EnrolmentId};
use proto::{Refusal, RefusalCode, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "authorities",
    is: "authorities that sign the certificates of devices",
    operations: &[
        Operation::changes::<CreateAuthority>(
            "create",
            ADMIN,
            "makes an authority, or takes one in with its key",
            create,
        ),
        Operation::changes::<DeleteAuthority>(
            "delete",
            ADMIN,
            "deletes an authority; nobody comes in by its certificates any more",
            delete,
        ),
        Operation::reads::<OneAuthority>("get", ADMIN, "shows an authority, not its key", get),
        Operation::reads::<ListRequest>("list", ADMIN, "lists the authorities", list),
        Operation::changes::<UpdateAuthority>(
            "update",
            ADMIN,
            "changes how long certificates are valid, or whether anybody comes in by them",
            update,
        ),
    ],
};

/// The most authorities of a namespace.
const AUTHORITIES_MAX: usize = 16;

/// How long certificates are valid unless somebody says so, in days.
const LIFETIME_DAYS: u32 = 365;

/// The longest that certificates are valid, in days: ten years.
const LIFETIME_DAYS_MAX: u32 = 3650;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateAuthority {
    authority: AuthorityId,
    /// The certificate of an authority that is there already, as PEM; absent: one is made.
    #[serde(default)]
    certificate: Option<String>,
    /// Its private key, as PEM without a pass phrase; absent: it is elsewhere, and `enrolment` has to be given.
    #[serde(default)]
    key: Option<String>,
    /// The enrolment by which devices that it has signed for register when they come for the first time: the common
    /// name of a certificate is the serial number. For an authority whose key is elsewhere only.
    #[serde(default)]
    enrolment: Option<EnrolmentId>,
    /// How long the certificates that it signs are valid, in days: 1 to 3650; absent: 365.
    #[serde(default)]
    #[schemars(range(min = 1, max = 3650))]
    lifetime_days: Option<u32>,
    /// At most 1024 bytes.
    #[serde(default)]
    description: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateAuthority {
    authority: AuthorityId,
    /// How long the certificates that it signs from now on are valid, in days.
    #[serde(default)]
    #[schemars(range(min = 1, max = 3650))]
    lifetime_days: Option<u32>,
    /// The enrolment by which devices register that come for the first time; null: none do.
    #[serde(default, deserialize_with = "present")]
    enrolment: Option<Option<EnrolmentId>>,
    /// Whether it signs, and anybody comes in by what it has signed.
    #[serde(default)]
    enabled: Option<bool>,
    /// At most 1024 bytes.
    #[serde(default)]
    description: Option<String>,
    /// Refuses the change if the authority has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneAuthority {
    authority: AuthorityId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteAuthority {
    authority: AuthorityId,
    /// Refuses the deletion if the authority has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

/// Makes an authority, or takes one in.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let CreateAuthority { authority, certificate, key, enrolment, lifetime_days, description } =
        request.read()?;
    let row_key = (request.namespace.clone(), authority);
    if request.get::<AuthorityRow>(&row_key)?.is_some() {
        return Err(Refusal::already_exists("authority", &row_key.1).at("authority"));
    }
    if request.scan::<AuthorityRow>(&store::prefix(request.namespace))?.len() >= AUTHORITIES_MAX {
        let message = format!("there are {AUTHORITIES_MAX} authorities already");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("authority"));
    }
    check_description(&description)?;
    let lifetime_days = checked(lifetime_days.unwrap_or(LIFETIME_DAYS))?;
    let enrolment = enrolment.map(|it| opened(request, it)).transpose()?;
    let missing =
        |field| Refusal::new(RefusalCode::BadRequest, format!("missing field `{field}`")).at(field);
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(certificate), None) if enrolment.is_some() => (certificate, String::new()),
        (Some(_), None) => {
            let message = "it signs nothing without its key: give that, or the `enrolment` by \
                           which devices register that it has signed for elsewhere";
            return Err(Refusal::new(RefusalCode::BadRequest, message).at("key"));
        }
        (None, Some(_)) => return Err(missing("certificate")),
        (None, None) => {
            let entropy = &*request.context.outside.entropy;
            let made = make(request.namespace, row_key.1.as_str(), request.now(), entropy)?;
            (made.certificate, made.key)
        }
    };
    let expires = check(&certificate, request.now())?;
    if !key.is_empty() {
        check_key(&certificate, &key)?;
        check_enrolment(enrolment.as_ref())?;
    }
    check_unknown(request, &certificate)?;
    let row = AuthorityRow {
        description,
        certificate,
        key,
        enrolment,
        lifetime_days,
        is_disabled: false,
        created: request.now(),
        expires,
        revision: 1,
    };
    Ok(kept(&row_key, &row))
}

/// Changes an authority.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let UpdateAuthority { authority, lifetime_days, enrolment, enabled, description, revision } =
        request.read()?;
    let (key, mut row) = find(request, authority)?;
    revision::check(row.revision, revision)?;
    if let Some(description) = description {
        check_description(&description)?;
        row.description = description;
    }
    if let Some(enrolment) = enrolment {
        row.enrolment = enrolment.map(|it| opened(request, it)).transpose()?;
        if !row.key.is_empty() {
            check_enrolment(row.enrolment.as_ref())?;
        }
    }
    if let Some(days) = lifetime_days {
        row.lifetime_days = checked(days)?;
    }
    if let Some(enabled) = enabled {
        row.is_disabled = !enabled;
    }
    row.revision += 1;
    Ok(kept(&key, &row))
}

/// Deletes an authority. What it has signed is remembered, and lets nobody in.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let DeleteAuthority { authority, revision } = request.read()?;
    let (key, row) = find(request, authority)?;
    revision::check(row.revision, revision)?;
    let mut plan = Plan::answer(json!({ "authority": key.1 }));
    plan.changes.delete::<AuthorityRow>(&key);
    plan.after.push(After::Certificates(key.0, None));
    Ok(plan)
}

/// Shows an authority.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneAuthority { authority } = request.read()?;
    let (key, row) = find(request, authority)?;
    Ok(Plan::answer(show(&key, &row)))
}

/// Lists authorities.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let namespace = request.namespace.clone();
    let key_of = |name: &str| match AuthorityId::parse(name) {
        Ok(authority) => Ok((namespace.clone(), authority)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &AuthorityKey, row: AuthorityRow| Some((key.1.to_string(), show(key, &row)));
    let prefix = store::prefix(request.namespace);
    Ok(Plan::answer(list_rows::<AuthorityRow>(request, &asked, &prefix, key_of, item)?))
}

fn kept(key: &AuthorityKey, row: &AuthorityRow) -> Plan {
    let mut plan = Plan::answer(show(key, row));
    plan.changes.put::<AuthorityRow>(key, row);
    plan.after.push(After::Certificates(key.0.clone(), None));
    plan
}

/// One certificate is of one authority, lest it be unclear into which project its devices come.
fn check_unknown(request: &Request<'_>, certificate: &str) -> Result<(), Refusal> {
    let fingerprint = |pem: &str| broker::read_certificate(pem).map(|info| info.fingerprint).ok();
    let own = fingerprint(certificate);
    let all = request.scan::<AuthorityRow>(&[])?;
    if !all.iter().any(|(_, row)| fingerprint(&row.certificate) == own) {
        return Ok(());
    }
    let message = "the authority is known already";
    Err(Refusal::new(RefusalCode::AlreadyExists, message).at("certificate"))
}

/// Devices that this platform signs for are registered already.
fn check_enrolment(enrolment: Option<&UserId>) -> Result<(), Refusal> {
    if enrolment.is_none() {
        return Ok(());
    }
    let message = "devices register by the certificates of an authority whose key is elsewhere";
    Err(Refusal::new(RefusalCode::Invalid, message).at("enrolment"))
}

/// The name of an enrolment, which has to be there.
fn opened(request: &Request<'_>, enrolment: EnrolmentId) -> Result<UserId, Refusal> {
    let key = (request.namespace.clone(), enrolment);
    let found = request.must_get::<EnrolmentRow>(&key, "enrolment", &key.1);
    found.map_err(|refusal| refusal.at("enrolment"))?;
    UserId::parse(key.1.as_str()).map_err(Refusal::internal)
}

fn checked(lifetime_days: u32) -> Result<u32, Refusal> {
    if (1..=LIFETIME_DAYS_MAX).contains(&lifetime_days) {
        return Ok(lifetime_days);
    }
    let message = format!("certificates are valid for 1 to {LIFETIME_DAYS_MAX} days");
    Err(Refusal::new(RefusalCode::Invalid, message).at("lifetime_days"))
}

fn find(
    request: &Request<'_>,
    authority: AuthorityId,
) -> Result<(AuthorityKey, AuthorityRow), Refusal> {
    let key = (request.namespace.clone(), authority);
    let row = request.must_get::<AuthorityRow>(&key, "authority", &key.1);
    row.map_err(|refusal| refusal.at("authority")).map(|row| (key, row))
}

fn show((_, authority): &AuthorityKey, row: &AuthorityRow) -> Json {
    json!({
        "authority": authority,
        "description": row.description,
        "certificate": row.certificate,
        "signs": !row.key.is_empty(),
        "enrolment": row.enrolment,
        "lifetime_days": row.lifetime_days,
        "enabled": !row.is_disabled,
        "created": row.created,
        "expires_at": row.expires,
        "revision": row.revision,
    })
}
