//! `admin/enrolments/…`: ways in for devices that are not registered yet. What is decided when one comes is in
//! [`crate::enrolment`].

mod just_in_time;
mod register;
mod serials;

pub(super) use just_in_time::JUST_IN_TIME;

use super::list::list as list_rows;
use super::plan::{After, Plan, Request, Terms};
use super::revision;
use super::table::{ADMIN, Operation, Resource};
use super::tenants::check_description;
use super::thing_model::resolve;
use super::things::forget_certificates;
use crate::device::row::ThingRow;
use crate::enrolment::row::{EnrolmentKey, EnrolmentRow, Registers, SerialRow};
use crate::enrolment::{check_name, fill};
use crate::secret;
use broker::credential::{Credential, CredentialIdentity, CredentialKey};
use proto::admin::ListRequest;
use proto::id::{EnrolmentId, Label};
use proto::uns::RAW_CONTRACT;
use proto::{
    Identity, ModelRef, Refusal, RefusalCode, Role, ThingId, TimestampMs, UnsPath, UserId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "enrolments",
    is: "ways in for devices that are not registered yet",
    operations: &[
        serials::ADD,
        Operation::changes::<CreateEnrolment>(
            "create",
            ADMIN,
            "makes a way in for devices and shows its secret this once",
            create,
        ),
        Operation::changes::<DeleteEnrolment>(
            "delete",
            ADMIN,
            "closes a way in; the things that came by it stay",
            delete,
        ),
        Operation::reads::<OneEnrolment>("get", ADMIN, "shows a way in, not its secret", get),
        Operation::reads::<ListRequest>("list", ADMIN, "lists the ways in", list),
        register::OPERATION,
        serials::REMOVE,
        serials::RESET,
        serials::SERIALS,
        Operation::changes::<UpdateEnrolment>(
            "update",
            ADMIN,
            "changes what a way in makes of devices, its secret, or whether it is open",
            update,
        ),
    ],
};

/// The most enrolments of a namespace.
const ENROLMENTS_MAX: usize = 1000;

/// The longest that an enrolment is open, in seconds: ten years.
const LIFE_SECS_MAX: u64 = 10 * 365 * 24 * 3600;

/// The most tags of its things.
const TAGS_MAX: usize = 32;

/// What stands in a request to create one.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used: [`terms_of`] reads it")]
struct CreateEnrolment {
    /// Its name, which is also the user name that devices come in by.
    enrolment: EnrolmentId,
    #[serde(flatten)]
    terms: EnrolmentTerms,
    /// Absent: one is made, and shown this once.
    secret: Option<String>,
}

/// What stands in a request to change one.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used: [`terms_of`] reads it")]
struct UpdateEnrolment {
    enrolment: EnrolmentId,
    #[serde(flatten)]
    terms: EnrolmentTerms,
    /// A new secret ends the sessions of whoever is about to register.
    secret: Option<String>,
    /// Refuses the change if the enrolment has another one by now.
    revision: Option<u64>,
}

/// What is said of an enrolment; what is absent stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EnrolmentTerms {
    /// At most 1024 bytes; null: none.
    #[serde(default, deserialize_with = "present")]
    description: Option<Option<String>>,
    /// What comes by it, `things` or `edges`, as long as nothing has; absent at first: things. Of edge nodes only
    /// `name` is said.
    #[serde(default)]
    registers: Option<Registers>,
    /// The model of its things: `pump@3`, or `pump` for its latest version when a device comes; null: none.
    #[serde(default, deserialize_with = "present")]
    model: Option<Option<ModelRef>>,
    /// The names of its things, with `{serial}` where the serial number stands; absent at first: `{serial}`.
    #[serde(default)]
    name: Option<String>,
    /// The places of its things, such as `acme/berlin/{serial}`; null: `<tenant>/<thing>`.
    #[serde(default, deserialize_with = "present")]
    location: Option<Option<String>>,
    /// The gateway that its things are behind; null: none.
    #[serde(default, deserialize_with = "present")]
    parent: Option<Option<ThingId>>,
    /// Words that its things are marked with, at most 32.
    #[serde(default)]
    tags: Option<Vec<Label>>,
    /// Whether only serial numbers are let in that were added; absent at first: yes.
    #[serde(default)]
    listed_only: Option<bool>,
    /// How many things it registers at most; null: as many as the quota allows.
    #[serde(default, deserialize_with = "present")]
    things_max: Option<Option<u64>>,
    /// How long it is open from now on, in seconds: 1 to 315360000, which is ten years; null: for good.
    #[serde(default, deserialize_with = "present")]
    #[schemars(range(min = 1, max = 315_360_000))]
    expires_in_secs: Option<Option<u64>>,
    /// Whether anybody comes in by it; absent at first: yes.
    #[serde(default)]
    enabled: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneEnrolment {
    enrolment: EnrolmentId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteEnrolment {
    enrolment: EnrolmentId,
    /// Refuses the deletion if the enrolment has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

/// Makes an enrolment. Answers with its secret, this once.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let mut body = request.body.clone();
    let key = (request.namespace.clone(), body.must_take("enrolment")?);
    let (secret, terms) = (body.take("secret")?, body.read::<EnrolmentTerms>()?);
    let (credential_key, identity) = credential_of(&key)?;
    if request.get::<Credential>(&credential_key)?.is_some() {
        let message = format!("the name `{}` is taken", key.1);
        return Err(Refusal::new(RefusalCode::AlreadyExists, message).at("enrolment"));
    }
    if request.scan::<EnrolmentRow>(&store::prefix(request.namespace))?.len() >= ENROLMENTS_MAX {
        let message = format!("there are {ENROLMENTS_MAX} enrolments already");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("enrolment"));
    }
    let now = request.now();
    let mut own = [0; 32];
    request.context.outside.entropy.fill(&mut own);
    let mut row = EnrolmentRow {
        description: None,
        registers: Registers::Things,
        model: None,
        name: "{serial}".to_owned(),
        location: None,
        parent: None,
        tags: BTreeSet::new(),
        listed_only: true,
        things_max: None,
        expires: None,
        registered: 0,
        serials: 0,
        key: own,
        created: now,
        updated: now,
        revision: 1,
    };
    let is_disabled = terms.enabled == Some(false);
    terms.apply(request, &mut row)?;
    let made = secret.is_none();
    let secret = match secret {
        Some(given) => checked(given)?,
        None => secret::generate(&*request.context.outside.entropy),
    };
    let mut plan = Plan::answer(show(&key, &row, is_disabled));
    if made {
        plan.data["secret"] = secret.clone().into();
    }
    plan.changes.put::<EnrolmentRow>(&key, &row);
    let terms = Terms { is_disabled, ..Terms::default() };
    request.set_secret(&mut plan, credential_key, identity, secret, terms);
    Ok(plan)
}

/// Changes what an enrolment makes of devices. Things that are registered stay as they are.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let mut body = request.body.clone();
    let (key, mut row) = find(request, body.must_take("enrolment")?)?;
    revision::check(row.revision, body.take("revision")?)?;
    let (secret, terms) = (body.take("secret")?, body.read::<EnrolmentTerms>()?);
    let (credential_key, identity) = credential_of(&key)?;
    let credential = request.must_get::<Credential>(&credential_key, "enrolment", &key.1)?;
    let is_disabled = terms.enabled.map_or(credential.is_disabled, |enabled| !enabled);
    terms.apply(request, &mut row)?;
    (row.updated, row.revision) = (request.now(), row.revision + 1);
    let mut plan = Plan::answer(show(&key, &row, is_disabled));
    plan.changes.put::<EnrolmentRow>(&key, &row);
    let (namespace, user) = credential_key.clone();
    if let Some(secret) = secret {
        let terms = Terms { is_disabled, ..Terms::default() };
        request.set_secret(&mut plan, credential_key, identity, checked(secret)?, terms);
        plan.after.push(After::EndSessions(namespace, identity_of(user)));
    } else if is_disabled != credential.is_disabled {
        let credential = Credential { is_disabled, ..credential };
        plan.changes.put::<Credential>(&credential_key, &credential);
        plan.after.push(After::Permissions(namespace, vec![user]));
    }
    Ok(plan)
}

/// Closes an enrolment, and forgets the serial numbers that it knows.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let DeleteEnrolment { enrolment, revision } = request.read()?;
    let (key, row) = find(request, enrolment)?;
    revision::check(row.revision, revision)?;
    let (credential_key, _) = credential_of(&key)?;
    let mut plan = Plan::answer(json!({ "enrolment": key.1 }));
    plan.changes.delete::<EnrolmentRow>(&key);
    plan.changes.delete_prefix::<SerialRow>(&store::prefix(&key));
    plan.changes.delete::<Credential>(&credential_key);
    forget_certificates(&mut plan, &credential_key);
    let (namespace, user) = credential_key;
    plan.after.push(After::EndSessions(namespace, identity_of(user)));
    Ok(plan)
}

/// Shows an enrolment.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneEnrolment { enrolment } = request.read()?;
    let (key, row) = find(request, enrolment)?;
    let is_disabled = is_disabled(request, &key);
    Ok(Plan::answer(show(&key, &row, is_disabled)))
}

/// Lists enrolments.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let namespace = request.namespace.clone();
    let key_of = |name: &str| match EnrolmentId::parse(name) {
        Ok(enrolment) => Ok((namespace.clone(), enrolment)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &EnrolmentKey, row: EnrolmentRow| {
        Some((key.1.to_string(), show(key, &row, is_disabled(request, key))))
    };
    let prefix = store::prefix(request.namespace);
    Ok(Plan::answer(list_rows::<EnrolmentRow>(request, &asked, &prefix, key_of, item)?))
}

impl EnrolmentTerms {
    /// Changes the row; a refusal names the field.
    fn apply(self, request: &Request<'_>, row: &mut EnrolmentRow) -> Result<(), Refusal> {
        let invalid =
            |field, message: String| Err(Refusal::new(RefusalCode::Invalid, message).at(field));
        if let Some(description) = self.description {
            check_description(description.as_deref().unwrap_or_default())?;
            row.description = description;
        }
        if let Some(registers) = self.registers.filter(|it| *it != row.registers) {
            if row.registered > 0 {
                let message = format!("it has registered {} already", row.registered);
                return invalid("registers", message);
            }
            row.registers = registers;
        }
        if let Some(model) = self.model {
            model.clone().map(|it| resolve(request, it)).transpose()?;
            row.model = model;
        }
        if let Some(name) = self.name {
            check_name(&name)?;
            row.name = name;
        }
        if let Some(location) = self.location {
            if let Some(template) = &location
                && let Err(error) = UnsPath::from_parts(&fill(template, "0"), RAW_CONTRACT, "value")
            {
                return invalid("location", format!("no location: {error}"));
            }
            row.location = location;
        }
        if let Some(parent) = self.parent {
            if let Some(parent) = &parent {
                let key = (request.namespace.clone(), parent.clone());
                let found = request.must_get::<ThingRow>(&key, "thing", parent);
                found.map_err(|refusal| refusal.at("parent"))?;
            }
            row.parent = parent;
        }
        if let Some(tags) = self.tags {
            row.tags = tags.into_iter().collect();
            if row.tags.len() > TAGS_MAX {
                let message = format!("{} tags, at most {TAGS_MAX}", row.tags.len());
                return Err(Refusal::new(RefusalCode::TooLarge, message).at("tags"));
            }
        }
        if let Some(field) = row.of_things_only().filter(|_| row.registers == Registers::Edges) {
            return invalid(field, "an edge node has none".to_owned());
        }
        row.listed_only = self.listed_only.unwrap_or(row.listed_only);
        row.things_max = self.things_max.unwrap_or(row.things_max);
        match self.expires_in_secs {
            None => {}
            Some(None) => row.expires = None,
            Some(Some(secs @ 1..=LIFE_SECS_MAX)) => {
                row.expires = Some(TimestampMs(request.now().0.saturating_add(secs * 1000)));
            }
            Some(Some(_)) => {
                let message = format!("an enrolment is open for 1 to {LIFE_SECS_MAX} seconds");
                return invalid("expires_in_secs", message);
            }
        }
        Ok(())
    }
}

impl EnrolmentRow {
    /// A field that says something of things, and nothing of edge nodes.
    fn of_things_only(&self) -> Option<&'static str> {
        let fields = [
            ("model", self.model.is_some()),
            ("location", self.location.is_some()),
            ("parent", self.parent.is_some()),
            ("tags", !self.tags.is_empty()),
        ];
        fields.into_iter().find(|(_, is_said)| *is_said).map(|(field, _)| field)
    }
}

fn find(
    request: &Request<'_>,
    enrolment: EnrolmentId,
) -> Result<(EnrolmentKey, EnrolmentRow), Refusal> {
    let key = (request.namespace.clone(), enrolment);
    let row = request.must_get::<EnrolmentRow>(&key, "enrolment", &key.1);
    row.map_err(|refusal| refusal.at("enrolment")).map(|row| (key, row))
}

/// The credential of an enrolment has its name.
fn credential_of(
    (namespace, enrolment): &EnrolmentKey,
) -> Result<(CredentialKey, CredentialIdentity), Refusal> {
    let name = UserId::parse(enrolment.as_str()).map_err(Refusal::internal)?;
    Ok(((namespace.clone(), name), CredentialIdentity::User { role: Role::Enrolment }))
}

fn identity_of(name: UserId) -> Identity {
    Identity::User { name, role: Role::Enrolment }
}

fn is_disabled(request: &Request<'_>, key: &EnrolmentKey) -> bool {
    let credential = credential_of(key).and_then(|(key, _)| request.get::<Credential>(&key));
    // One whose credential cannot be read lets nobody in.
    credential.ok().flatten().is_none_or(|it| it.is_disabled)
}

fn checked(secret: String) -> Result<String, Refusal> {
    match secret::check(&secret) {
        Ok(()) => Ok(secret),
        Err(reason) => Err(Refusal::new(RefusalCode::Invalid, reason).at("secret")),
    }
}

fn show((namespace, enrolment): &EnrolmentKey, row: &EnrolmentRow, is_disabled: bool) -> Json {
    json!({
        "enrolment": enrolment,
        "user": format!("{namespace}/{enrolment}"),
        "description": row.description,
        "registers": row.registers,
        "model": row.model,
        "name": row.name,
        "location": row.location,
        "parent": row.parent,
        "tags": row.tags,
        "listed_only": row.listed_only,
        "things_max": row.things_max,
        "expires_at": row.expires,
        "enabled": !is_disabled,
        "registered": row.registered,
        "serials": row.serials,
        "created": row.created,
        "updated": row.updated,
        "revision": row.revision,
    })
}

/// Tells a field that is null from one that is absent.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}
