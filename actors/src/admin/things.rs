//! `admin/things/…`: the registry of devices.

mod apply;
mod delete;
mod edit;
mod export;
mod import;
mod query;
mod search;
mod table;
mod view;

pub(crate) use query::ThingQuery;
pub(super) use search::{Found, Source, search, search_in, state_in};

use super::list::{limited, list as list_rows};
use super::plan::{After, Owner, Plan, Request, Terms};
use super::revision;
use super::room::{self, Counted};
use super::table::{ADMIN, Operation, READER, Resource};
use super::values::{ThingValues, values};
use crate::device::row::{DeviceRow, ThingKey, ThingRow};
use crate::edges::things::rows::{GivenKey, GivenRow};
use crate::secret;
use broker::credential::{
    CertificateInUse, CertificateRow, Credential, CredentialIdentity, CredentialKey,
};
pub(super) use edit::Edit;
use proto::admin::{ListRequest, Page};
use proto::id::Label;
use proto::{EdgeId, Identity, ModelRef, Namespace, Refusal, RefusalCode, ThingId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json, json};
use view::View;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "things",
    is: "devices",
    operations: &[
        apply::OPERATION,
        Operation::changes::<CreateThing>(
            "create",
            ADMIN,
            "registers a thing and answers with its secret",
            create,
        ),
        delete::OPERATION,
        export::OPERATION,
        Operation::reads::<OneThing>("get", READER, "shows a thing", get),
        import::OPERATION,
        Operation::reads::<ListThings>("list", READER, "lists things, or those of a query", list),
        Operation::changes::<ReplaceThing>(
            "replace",
            ADMIN,
            "gives a thing to another device, which gets a new secret",
            replace,
        ),
        Operation::changes::<UpdateThing>(
            "update",
            ADMIN,
            "changes what is said of a thing, its secret, or whether it may come in",
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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateThing {
    thing: ThingId,
    /// A published model: `pump@3`, or `pump` for its latest version now.
    #[serde(default)]
    model: Option<ModelRef>,
    #[serde(default)]
    location: Option<String>,
    /// The gateway that speaks for it.
    #[serde(default)]
    parent: Option<ThingId>,
    /// The edge node that it connects to; absent: this node.
    #[serde(default)]
    edge: Option<EdgeId>,
    /// The number that its maker gave it, at most 128 bytes; no two things have the same.
    #[serde(default)]
    serial: Option<String>,
    /// Words to find it by, at most 32.
    #[serde(default)]
    tags: Vec<Label>,
    #[serde(default)]
    attributes: Map<String, Json>,
    /// Whether it may come in; absent: yes.
    #[serde(default)]
    enabled: Option<bool>,
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
    /// The edge node that it connects to; null: this node.
    #[serde(default, deserialize_with = "present")]
    edge: Option<Option<EdgeId>>,
    /// The gateway that speaks for it; null: none.
    #[serde(default, deserialize_with = "present")]
    parent: Option<Option<ThingId>>,
    /// The number that its maker gave it, at most 128 bytes; null: none.
    #[serde(default, deserialize_with = "present")]
    serial: Option<Option<String>>,
    /// Words to find it by, at most 32, in place of those before.
    #[serde(default)]
    tags: Option<Vec<Label>>,
    /// Set key by key; null deletes one.
    #[serde(default)]
    attributes: Map<String, Json>,
    /// Whether it may come in; `false` ends its connections.
    #[serde(default)]
    enabled: Option<bool>,
    /// A new secret ends the device's sessions.
    #[serde(default)]
    secret: Option<String>,
    /// Refuses the change if the thing has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReplaceThing {
    thing: ThingId,
    /// The serial number of the new device; absent: as it is, null: none.
    #[serde(default, deserialize_with = "present")]
    serial: Option<Option<String>>,
    /// Absent: one is made.
    #[serde(default)]
    secret: Option<String>,
    /// Refuses the change if the thing has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneThing {
    thing: ThingId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListThings {
    /// Only things for which all of this holds.
    #[serde(default)]
    query: Option<ThingQuery>,
    /// Only things whose name contains this text.
    #[serde(default)]
    filter: Option<String>,
    /// At most so many, 1 to 1000; absent: 100.
    #[serde(default)]
    limit: Option<usize>,
    /// Where the page before ended.
    #[serde(default)]
    cursor: Option<String>,
}

/// Registers a thing. Answers with its secret, which is shown this once.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: CreateThing = request.read()?;
    let edit = Edit {
        model: asked.model.map(Some),
        location: asked.location.map(Some),
        parent: asked.parent.map(Some),
        edge: asked.edge.map(Some),
        serial: asked.serial.map(Some),
        tags: Some(asked.tags),
        attributes: asked.attributes,
        enabled: asked.enabled,
    };
    let secret = match asked.secret {
        Some(given) => checked(given)?,
        None => secret::generate(&*request.context.outside.entropy),
    };
    registered(request, asked.thing, edit, secret)
}

/// The plan of a new thing, whose answer shows its secret.
pub(super) fn registered(
    request: &Request<'_>,
    thing: ThingId,
    edit: Edit,
    secret: String,
) -> Result<Plan, Refusal> {
    let key: ThingKey = (request.namespace.clone(), thing.clone());
    if request.get::<ThingRow>(&key)?.is_some() {
        return Err(Refusal::already_exists("thing", &thing).at("thing"));
    }
    let (credential_key, identity) = free_name(request, &thing)?;
    room::take::<ThingRow>(request, Counted::Things, 1)?;
    let mut row = ThingRow::new(request.now());
    edit.apply(&View::new(request), &thing, &mut row)?;
    let mut data = show(request, &key, row.clone());
    data["secret"] = secret.clone().into();
    let mut plan = Plan::answer(data);
    plan.put_thing(&key, None, &row);
    plan.messages.push(request.thing_event(&thing, "created"));
    let terms = Terms { is_disabled: row.is_disabled, ..Terms::default() };
    request.set_secret(&mut plan, credential_key, identity, secret, terms);
    if row.parent.is_some() {
        plan.after.push(After::Registered(vec![(thing, row)]));
    }
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
    let ListThings { query, filter, limit, cursor } = request.read()?;
    let namespace = request.namespace.clone();
    let Some(query) = query else {
        let asked = ListRequest { filter, limit, cursor };
        let key_of = |name: &str| Ok((namespace.clone(), parse_thing(name)?));
        let item = |key: &ThingKey, row| Some((key.1.to_string(), show(request, key, row)));
        let prefix = store::prefix(&namespace);
        let page = list_rows::<ThingRow>(request, &asked, &prefix, key_of, item)?;
        return Ok(Plan::answer(page));
    };
    let query = with_filter(query, filter)?;
    let found = search(request, &query, parse_cursor(cursor)?, limited(limit))?;
    Ok(Plan::answer(show_found(request, found)))
}

/// A filter and a query that both ask for a part of the name would be one too many.
fn with_filter(mut query: ThingQuery, filter: Option<String>) -> Result<ThingQuery, Refusal> {
    if filter.is_some() && query.name_contains.is_some() {
        let message = "a query that has name_contains needs no filter";
        return Err(Refusal::new(RefusalCode::Invalid, message).at("filter"));
    }
    query.name_contains = query.name_contains.or(filter);
    Ok(query)
}

/// The cursor of a search: the name of a thing.
pub(super) fn parse_cursor(cursor: Option<String>) -> Result<Option<ThingId>, Refusal> {
    let parse = |text: String| parse_thing(&text).map_err(|refusal| refusal.at("cursor"));
    cursor.map(parse).transpose()
}

/// What was found, as a page.
pub(super) fn show_found(request: &Request<'_>, found: Found) -> Json {
    let namespace = request.namespace;
    let shown = |(thing, row)| show(request, &(namespace.clone(), thing), row);
    let items = found.things.into_iter().map(shown).collect::<Vec<Json>>();
    let next_cursor = found.next.map(|thing| thing.to_string());
    // Made of JSON values and a text: there is no way to fail.
    serde_json::to_value(Page { items, next_cursor }).unwrap_or_default()
}

/// Changes what is said of a thing, its secret, or whether it may come in.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: UpdateThing = request.read()?;
    let thing = asked.thing.clone();
    let key: ThingKey = (request.namespace.clone(), thing.clone());
    let before = request.must_get::<ThingRow>(&key, "thing", &thing)?;
    revision::check(before.revision, asked.revision)?;
    let (edit, secret) = asked.split();
    let mut row = before.clone();
    edit.apply(&View::new(request), &thing, &mut row)?;
    let secret = secret.map(checked).transpose()?;
    changed(request, (&key, &before), row, secret, "updated")
}

/// Gives a thing to another device: with a new secret the one before is out, and all else stays.
fn replace(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ReplaceThing { thing, serial, secret, revision } = request.read()?;
    let secret = match secret {
        Some(given) => checked(given)?,
        None => secret::generate(&*request.context.outside.entropy),
    };
    handed_over(request, thing, serial, secret, revision)
}

/// The plan of a thing that another device takes over, whose answer shows its new secret.
pub(super) fn handed_over(
    request: &Request<'_>,
    thing: ThingId,
    serial: Option<Option<String>>,
    secret: String,
    revision: Option<u64>,
) -> Result<Plan, Refusal> {
    let key: ThingKey = (request.namespace.clone(), thing.clone());
    let before = request.must_get::<ThingRow>(&key, "thing", &thing)?;
    revision::check(before.revision, revision)?;
    let mut row = before.clone();
    Edit { serial, ..Edit::default() }.apply(&View::new(request), &thing, &mut row)?;
    let mut plan = changed(request, (&key, &before), row, Some(secret.clone()), "replaced")?;
    forget_certificates(&mut plan, &credential_of(request.namespace, &key.1)?.0);
    plan.data["secret"] = secret.into();
    Ok(plan)
}

/// The plan of a change to a registered thing.
fn changed(
    request: &Request<'_>,
    (key, before): (&ThingKey, &ThingRow),
    mut row: ThingRow,
    secret: Option<String>,
    event: &str,
) -> Result<Plan, Refusal> {
    let thing = &key.1;
    row.updated = request.now();
    row.revision = before.revision + 1;
    let mut plan = Plan::answer(show(request, key, row.clone()));
    plan.put_thing(key, Some(before), &row);
    plan.messages.push(request.thing_event(thing, event));
    change_credential(request, &mut plan, thing, (before, &row), secret)?;
    plan.owner = Owner::ChangedDevice(thing.clone(), Box::new(row));
    Ok(plan)
}

/// Another secret, or another word on whether the device may come in; its sessions and connections follow.
fn change_credential(
    request: &Request<'_>,
    plan: &mut Plan,
    thing: &ThingId,
    (before, row): (&ThingRow, &ThingRow),
    secret: Option<String>,
) -> Result<(), Refusal> {
    if secret.is_none() && row.is_disabled == before.is_disabled {
        return Ok(());
    }
    let namespace = request.namespace.clone();
    let (key, identity) = credential_of(&namespace, thing)?;
    let credential = request.get::<Credential>(&key)?;
    let name = key.1.clone();
    if let Some(secret) = secret {
        let terms = Terms { is_disabled: row.is_disabled, ..Terms::of(credential) };
        request.set_secret(plan, key, identity, secret, terms);
        plan.after.push(After::EndSessions(namespace, Identity::Thing(thing.clone())));
    } else if let Some(mut credential) = credential {
        credential.is_disabled = row.is_disabled;
        plan.changes.put::<Credential>(&key, &credential);
        plan.after.push(After::Permissions(namespace, vec![name]));
    }
    Ok(())
}

impl UpdateThing {
    fn split(self) -> (Edit, Option<String>) {
        let Self { model, location, parent, edge, .. } = self;
        let Self { serial, tags, attributes, enabled, secret, .. } = self;
        (Edit { model, location, parent, edge, serial, tags, attributes, enabled }, secret)
    }
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
        "parent": row.parent,
        "edge": row.edge,
        "given": given(request, key, &row),
        "serial": row.serial,
        "tags": row.tags,
        "attributes": row.attributes,
        "state": state_in(request, thing, &row),
        "status": status,
        "revision": row.revision,
        "created": row.created,
        "updated": row.updated,
    })
}

/// How far the edge node that a thing is at has it.
fn given(request: &Request<'_>, (namespace, thing): &ThingKey, row: &ThingRow) -> Option<Json> {
    let edge = row.edge.clone()?;
    let key: GivenKey = (namespace.clone(), edge, thing.clone());
    // What cannot be read is not known to be there.
    let given = request.snapshot.get::<GivenRow>(&key).ok().flatten().unwrap_or_default();
    let refused = given.refused.filter(|it| it.revision == row.revision);
    let state = match (&refused, given.revision) {
        (Some(_), _) => "refused",
        (None, Some(revision)) if revision == row.revision => "in_sync",
        (None, _) => "pending",
    };
    let reason = refused.map(|it| it.refusal);
    Some(json!({ "state": state, "revision": given.revision, "reason": reason }))
}

/// The credential of a thing that is to be; its name must be nobody's yet.
fn free_name(
    request: &Request<'_>,
    thing: &ThingId,
) -> Result<(CredentialKey, CredentialIdentity), Refusal> {
    let (key, identity) = credential_of(request.namespace, thing)?;
    if request.get::<Credential>(&key)?.is_some() {
        let message = format!("the name `{thing}` belongs to a user or an edge node");
        return Err(Refusal::new(RefusalCode::AlreadyExists, message).at("thing"));
    }
    Ok((key, identity))
}

/// The credential of a thing has its name.
fn credential_of(
    namespace: &Namespace,
    thing: &ThingId,
) -> Result<(CredentialKey, CredentialIdentity), Refusal> {
    let name = UserId::parse(thing.as_str()).map_err(Refusal::internal)?;
    Ok(((namespace.clone(), name), CredentialIdentity::Thing(thing.clone())))
}

/// Nobody comes in any more by the certificates of a name. What their fingerprints are for leads to nothing then.
pub(super) fn forget_certificates(plan: &mut Plan, key: &CredentialKey) {
    plan.changes.delete_prefix::<CertificateRow>(&store::prefix(key));
    plan.changes.delete::<CertificateInUse>(key);
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
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}
