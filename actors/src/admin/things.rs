//! `admin/things/…`: the registry of devices.

use super::list::list as list_rows;
use super::plan::{After, Owner, Plan, Request, Terms, cleared};
use super::table::{ADMIN, Operation, READER, Resource};
use super::thing_model::{assign, resolve};
use super::values::{ThingValues, values};
use crate::device::row::{DeviceRow, ThingKey, ThingRow, default_location};
use crate::secret;
use broker::credential::{Credential, CredentialIdentity, CredentialKey};
use proto::admin::ListRequest;
use proto::platform::ThingTopic;
use proto::uns::RAW_CONTRACT;
use proto::{
    Identity, ModelRef, Namespace, PlatformTopic, Refusal, RefusalCode, ThingId, UnsPath, UserId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "things",
    is: "devices",
    operations: &[
        Operation::changes::<CreateThing>(
            "create",
            ADMIN,
            "registers a thing and answers with its secret",
            create,
        ),
        Operation::changes::<OneThing>(
            "delete",
            ADMIN,
            "deletes a thing with its shadows and its credential",
            delete,
        ),
        Operation::reads::<OneThing>("get", READER, "shows a thing", get),
        Operation::reads::<ListRequest>("list", READER, "lists things", list),
        Operation::changes::<UpdateThing>(
            "update",
            ADMIN,
            "changes model, location, attributes or secret",
            update,
        ),
        Operation::reads::<ThingValues>(
            "values",
            READER,
            "shows the last values of a thing",
            values,
        ),
    ],
};

/// The most bytes of a thing's attributes, as JSON.
const ATTRIBUTES_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateThing {
    thing: ThingId,
    /// A published model: `pump@3`, or `pump` for its latest version now.
    #[serde(default)]
    model: Option<ModelRef>,
    #[serde(default)]
    location: Option<String>,
    #[serde(default)]
    attributes: Map<String, Json>,
    #[serde(default)]
    secret: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateThing {
    thing: ThingId,
    /// As in create. Absent: as it is. Null: none.
    #[serde(default, deserialize_with = "present")]
    model: Option<Option<ModelRef>>,
    /// Absent: as it is. Null: back to the default.
    #[serde(default, deserialize_with = "present")]
    location: Option<Option<String>>,
    /// Set key by key; null deletes one.
    #[serde(default)]
    attributes: Map<String, Json>,
    /// A new secret ends the device's sessions.
    #[serde(default)]
    secret: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneThing {
    thing: ThingId,
}

/// Registers a thing. Answers with its secret, which is shown this once.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: CreateThing = request.read()?;
    let CreateThing { thing, model, location, attributes, secret } = asked;
    let namespace = request.namespace.clone();
    let key: ThingKey = (namespace.clone(), thing.clone());
    if request.get::<ThingRow>(&key)?.is_some() {
        return Err(Refusal::already_exists("thing", &thing).at("thing"));
    }
    let (credential_key, identity) = credential_of(&namespace, &thing)?;
    if request.get::<Credential>(&credential_key)?.is_some() {
        let message = format!("the name `{thing}` belongs to a user or an edge node");
        return Err(Refusal::new(RefusalCode::AlreadyExists, message).at("thing"));
    }
    let now = request.now();
    let model = model.map(|it| resolve(request, it)).transpose()?;
    let mut row =
        ThingRow { location, model, attributes: Default::default(), created: now, updated: now };
    set_attributes(&mut row, attributes)?;
    check_location(&row, &namespace, &thing)?;

    let secret = match secret {
        Some(given) => checked(given)?,
        None => secret::generate(&*request.context.outside.entropy),
    };
    let mut data = show(request, &key, row.clone());
    data["secret"] = secret.clone().into();
    let mut plan = Plan::answer(data);
    plan.changes.put::<ThingRow>(&key, &row);
    assign(&mut plan.changes, &key, None, row.model.as_ref());
    plan.messages.push(request.thing_event(&thing, "created"));
    request.set_secret(&mut plan, credential_key, identity, secret, Terms::default());
    Ok(plan)
}

/// Shows a thing.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneThing { thing } = request.read()?;
    let key: ThingKey = (request.namespace.clone(), thing.clone());
    let row = request.must_get::<ThingRow>(&key, "thing", &thing)?;
    Ok(Plan::answer(show(request, &key, row)))
}

/// Lists things.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let namespace = request.namespace.clone();
    let key_of = |name: &str| Ok((namespace.clone(), parse_thing(name)?));
    let item = |key: &ThingKey, row| Some((key.1.to_string(), show(request, key, row)));
    let page = list_rows::<ThingRow>(request, &asked, &store::prefix(&namespace), key_of, item)?;
    Ok(Plan::answer(page))
}

/// Changes location, attributes or secret.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: UpdateThing = request.read()?;
    let UpdateThing { thing, model, location, attributes, secret } = asked;
    let namespace = request.namespace.clone();
    let key: ThingKey = (namespace.clone(), thing.clone());
    let mut row = request.must_get::<ThingRow>(&key, "thing", &thing)?;
    if let Some(location) = location {
        row.location = location;
        check_location(&row, &namespace, &thing)?;
    }
    let before = row.model.clone();
    if let Some(model) = model {
        row.model = model.map(|it| resolve(request, it)).transpose()?;
    }
    set_attributes(&mut row, attributes)?;
    row.updated = request.now();

    let mut plan = Plan::answer(show(request, &key, row.clone()));
    plan.changes.put::<ThingRow>(&key, &row);
    assign(&mut plan.changes, &key, before.as_ref(), row.model.as_ref());
    plan.messages.push(request.thing_event(&thing, "updated"));
    if let Some(secret) = secret {
        let (key, identity) = credential_of(&namespace, &thing)?;
        let before = request.get::<Credential>(&key)?;
        request.set_secret(&mut plan, key, identity, checked(secret)?, Terms::of(before));
        plan.after.push(After::EndSessions(namespace, Identity::Thing(thing.clone())));
    }
    plan.owner = Owner::ChangedDevice(thing, Box::new(row));
    Ok(plan)
}

/// Deletes a thing with its shadows, its status and its credential, and ends its sessions.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneThing { thing } = request.read()?;
    let namespace = request.namespace.clone();
    let key: ThingKey = (namespace.clone(), thing.clone());
    let row = request.must_get::<ThingRow>(&key, "thing", &thing)?;
    let mut plan = Plan::answer(json!({ "thing": thing }));
    assign(&mut plan.changes, &key, row.model.as_ref(), None);
    let (credential_key, _) = credential_of(&namespace, &thing)?;
    plan.changes.delete::<Credential>(&credential_key);
    plan.messages.push(cleared(&PlatformTopic::thing(&thing, ThingTopic::Status)));
    plan.messages.push(request.thing_event(&thing, "deleted"));
    plan.after.push(After::EndSessions(namespace, Identity::Thing(thing.clone())));
    plan.owner = Owner::RetiredDevice(thing);
    Ok(plan)
}

fn show(request: &Request<'_>, key: &ThingKey, row: ThingRow) -> Json {
    let (namespace, thing) = key;
    // A presence that cannot be read is not known.
    let device = request.snapshot.get::<DeviceRow>(key).ok().flatten();
    let status = device.and_then(|row| row.presence.status);
    json!({
        "thing": thing,
        "model": row.model,
        "location": row.location(namespace, thing),
        "attributes": row.attributes,
        "status": status,
        "created": row.created,
        "updated": row.updated,
    })
}

fn set_attributes(row: &mut ThingRow, attributes: Map<String, Json>) -> Result<(), Refusal> {
    for (key, value) in attributes {
        match value {
            Json::Null => drop(row.attributes.remove(&key)),
            value => drop(row.attributes.insert(key, value)),
        }
    }
    let bytes = serde_json::to_vec(&row.attributes).map_or(usize::MAX, |json| json.len());
    if bytes <= ATTRIBUTES_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the attributes have {bytes} bytes, at most {ATTRIBUTES_BYTES_MAX}");
    Err(Refusal::new(RefusalCode::TooLarge, message).at("attributes"))
}

/// A location is good if a value can stand at it.
fn check_location(row: &ThingRow, namespace: &Namespace, thing: &ThingId) -> Result<(), Refusal> {
    let location = match &row.location {
        Some(location) => location.clone(),
        None => default_location(namespace, thing),
    };
    match UnsPath::from_parts(&location, RAW_CONTRACT, "value") {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("no location: `{location}`: {error}");
            Err(Refusal::new(RefusalCode::Invalid, message).at("location"))
        }
    }
}

/// The credential of a thing has its name.
fn credential_of(
    namespace: &Namespace,
    thing: &ThingId,
) -> Result<(CredentialKey, CredentialIdentity), Refusal> {
    let name = UserId::parse(thing.as_str()).map_err(Refusal::internal)?;
    Ok(((namespace.clone(), name), CredentialIdentity::Thing(thing.clone())))
}

fn checked(secret: String) -> Result<String, Refusal> {
    match secret::check(&secret) {
        Ok(()) => Ok(secret),
        Err(reason) => Err(Refusal::new(RefusalCode::Invalid, reason).at("secret")),
    }
}

fn parse_thing(name: &str) -> Result<ThingId, Refusal> {
    ThingId::parse(name).map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()))
}

/// Tells a field that is null from one that is absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}
