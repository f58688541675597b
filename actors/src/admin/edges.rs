//! `admin/edges/…`: the edge nodes that may send up to this hub, and how each is.

use super::list::list as list_rows;
use super::live::Live;
use super::plan::{After, Plan, Request, Terms, cleared, unreadable};
use super::request::rank;
use super::revision::{self, AtRevision};
use super::table::{self, ADMIN, Operation, READER, Resource};
use super::things::forget_certificates;
use crate::driver::row::{DriverRow, TagRow};
use crate::edges::ReceivedRow;
use crate::edges::desired::{KnownEditsRow, SyncRow};
use crate::edges::hotline::Question;
use crate::edges::row::{EdgeKey, EdgeRow};
use crate::edges::things::rows::GivenRow;
use crate::edges::topic;
use crate::registry::row::AtEdge;
use crate::secret;
use broker::credential::{Credential, CredentialIdentity, CredentialKey};
use proto::admin::ListRequest;
use proto::platform::filters;
use proto::{EdgeId, Identity, Namespace, PlatformTopic, Refusal, RefusalCode, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "edges",
    is: "edge nodes that send up to this hub",
    operations: &[
        Operation::reads::<TellEdge>(
            "ask",
            READER,
            "has an edge node answer a request that changes nothing",
            ask,
        ),
        Operation::changes::<CreateEdge>(
            "create",
            ADMIN,
            "registers an edge node and makes its secret",
            create,
        ),
        Operation::changes::<AtRevision<OneEdge>>(
            "delete",
            ADMIN,
            "deletes an edge node with what is wanted of it; its values stay, and it comes in no more",
            delete,
        ),
        Operation::reads::<OneEdge>("get", READER, "shows an edge node with its status", get),
        Operation::reads::<ListRequest>("list", READER, "lists edge nodes", list),
        Operation::changes::<TellEdge>(
            "tell",
            ADMIN,
            "has an edge node carry out a request of its own admin API",
            tell,
        ),
        Operation::changes::<UpdateEdge>(
            "update",
            ADMIN,
            "changes the label, or the secret, which ends its connection",
            update,
        ),
    ],
};

/// The longest label, in bytes.
const LABEL_BYTES_MAX: usize = 256;

/// Edge nodes of one namespace: each has a place in memory.
const EDGES_MAX: usize = 10_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateEdge {
    /// Its name: `edge.id` of its configuration.
    edge: EdgeId,
    /// What people call it, at most 256 bytes.
    label: Option<String>,
    /// Its secret; absent: one is made, and answered this once.
    secret: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateEdge {
    edge: EdgeId,
    /// What people call it; empty for nothing.
    label: Option<String>,
    /// Another secret; its connection ends.
    secret: Option<String>,
    /// Refuses the change if the edge node has another one by now.
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TellEdge {
    edge: EdgeId,
    /// Such as `drivers`.
    resource: String,
    /// Such as `create`.
    verb: String,
    /// The request, as the resource takes it.
    #[serde(default)]
    body: Map<String, Json>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneEdge {
    edge: EdgeId,
}

/// Registers an edge node. Answers with its secret if that was made here.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let CreateEdge { edge, label, secret } = request.read()?;
    let label = checked_label(label)?;
    let (secret, made) = match secret {
        Some(given) => (checked_secret(given)?, None),
        None => {
            let made = secret::generate(&*request.context.outside.entropy);
            (made.clone(), Some(made))
        }
    };
    let mut plan = registered(request, edge, label, secret)?;
    if let Some(made) = made {
        plan.data["secret"] = made.into();
    }
    Ok(plan)
}

/// The plan of a new edge node.
pub(super) fn registered(
    request: &Request<'_>,
    edge: EdgeId,
    label: Option<String>,
    secret: String,
) -> Result<Plan, Refusal> {
    let key: EdgeKey = (request.namespace.clone(), edge.clone());
    let (credential, identity) = credential_of(request.namespace, &edge)?;
    if edge == request.context.settings.edge || request.get::<EdgeRow>(&key)?.is_some() {
        return Err(Refusal::already_exists("edge node", &edge).at("edge"));
    }
    if request.get::<Credential>(&credential)?.is_some() {
        let message = format!("the name `{edge}` belongs to a user or a thing");
        return Err(Refusal::new(RefusalCode::AlreadyExists, message).at("edge"));
    }
    if request.scan::<EdgeRow>(&store::prefix(request.namespace))?.len() >= EDGES_MAX {
        let message = format!("there are {EDGES_MAX} edge nodes, which is the most");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message));
    }
    let now = request.now();
    let row = EdgeRow { label, created: now, updated: now, revision: 1, adopted: None };
    let mut plan = Plan::answer(show(request, &key, &row));
    plan.changes.put::<EdgeRow>(&key, &row);
    request.set_secret(&mut plan, credential, identity, secret, Terms::default());
    Ok(plan)
}

/// The plan of an edge node that another machine takes over, with a new secret.
pub(super) fn handed_over(
    request: &Request<'_>,
    edge: &EdgeId,
    secret: String,
) -> Result<Plan, Refusal> {
    let key: EdgeKey = (request.namespace.clone(), edge.clone());
    let mut row = request.must_get::<EdgeRow>(&key, "edge node", edge)?;
    (row.updated, row.revision, row.adopted) = (request.now(), row.revision + 1, None);
    let mut plan = Plan::answer(show(request, &key, &row));
    plan.changes.put::<EdgeRow>(&key, &row);
    change_secret(request, &mut plan, edge, secret)?;
    Ok(plan)
}

/// Another secret; its connection ends.
fn change_secret(
    request: &Request<'_>,
    plan: &mut Plan,
    edge: &EdgeId,
    secret: String,
) -> Result<(), Refusal> {
    let (credential, identity) = credential_of(request.namespace, edge)?;
    let terms = Terms::of(request.get::<Credential>(&credential)?);
    request.set_secret(plan, credential, identity, secret, terms);
    let identity = Identity::Edge(edge.clone());
    plan.after.push(After::EndSessions(request.namespace.clone(), identity));
    Ok(())
}

/// Shows an edge node with its status.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (key, row) = find(request)?;
    Ok(Plan::answer(show(request, &key, &row)))
}

/// Lists edge nodes with their status.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let key_of = |name: &str| match EdgeId::parse(name) {
        Ok(edge) => Ok((request.namespace.clone(), edge)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &EdgeKey, row| Some((key.1.to_string(), show(request, key, &row)));
    let prefix = store::prefix(request.namespace);
    Ok(Plan::answer(list_rows::<EdgeRow>(request, &asked, &prefix, key_of, item)?))
}

/// Changes the label or the secret.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let UpdateEdge { edge, label, secret, revision } = request.read()?;
    let key: EdgeKey = (request.namespace.clone(), edge.clone());
    let mut row = request.must_get::<EdgeRow>(&key, "edge node", &edge)?;
    revision::check(row.revision, revision)?;
    if label.is_some() {
        row.label = checked_label(label)?;
    }
    row.updated = request.now();
    row.revision += 1;
    let mut plan = Plan::answer(show(request, &key, &row));
    plan.changes.put::<EdgeRow>(&key, &row);
    if let Some(secret) = secret {
        change_secret(request, &mut plan, &edge, checked_secret(secret)?)?;
    }
    Ok(plan)
}

/// Deletes an edge node; what it said of itself and its drivers goes, its values stay.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let (key, row) = find(request)?;
    revision::check(row.revision, *revision)?;
    let edge = key.1.clone();
    let things = store::prefix(&key);
    let first = request.snapshot.first::<AtEdge>(&things).map_err(|it| unreadable(&it))?;
    if let Some(first) = first {
        let (at, _) = first.map_err(|error| unreadable(&error))?;
        let message =
            format!("things are at it, such as `{}`: give them another `edge` first", at.2);
        return Err(Refusal::new(RefusalCode::Invalid, message).at("edge"));
    }
    let (credential, _) = credential_of(request.namespace, &edge)?;
    let mut plan = Plan::answer(json!({ "edge": edge }));
    plan.changes.delete_prefix::<GivenRow>(&things);
    plan.changes.delete::<EdgeRow>(&key);
    plan.changes.delete::<ReceivedRow>(&key);
    plan.changes.delete::<KnownEditsRow>(&key);
    plan.changes.delete_prefix::<SyncRow>(&store::prefix(&key));
    for (driver, row) in request.scan::<DriverRow>(&store::prefix(request.namespace))? {
        if row.edge == edge {
            plan.changes.delete_prefix::<TagRow>(&store::prefix(&driver));
            plan.changes.delete::<DriverRow>(&driver);
        }
    }
    plan.changes.delete::<Credential>(&credential);
    forget_certificates(&mut plan, &credential);
    let said = request.client.retained(&filters::edge(&edge));
    let said = said.iter().filter_map(|(topic, _)| PlatformTopic::parse(topic));
    plan.messages.extend(said.map(|topic| cleared(&topic)));
    plan.after.push(After::EndSessions(request.namespace.clone(), Identity::Edge(edge)));
    Ok(plan)
}

/// Has an edge node answer a request that changes nothing.
fn ask(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: TellEdge = request.read()?;
    if table::find(&asked.resource, &asked.verb)?.1.is_mutation {
        let message = format!("{} {} changes something: `edges tell`", asked.resource, asked.verb);
        return Err(Refusal::new(RefusalCode::Invalid, message).at("verb"));
    }
    question(request, asked)
}

/// Has an edge node carry out a request of its own admin API.
fn tell(request: &Request<'_>) -> Result<Plan, Refusal> {
    question(request, request.read()?)
}

fn question(request: &Request<'_>, asked: TellEdge) -> Result<Plan, Refusal> {
    let TellEdge { edge, resource, verb, mut body } = asked;
    let key: EdgeKey = (request.namespace.clone(), edge.clone());
    request.must_get::<EdgeRow>(&key, "edge node", &edge)?;
    let (_, operation) = table::find(&resource, &verb)?;
    if rank(operation.role) > rank(ADMIN) || !request.caller.is_at_least(operation.role) {
        let message = match rank(operation.role) > rank(ADMIN) {
            true => format!("{resource} {verb} is not for edge nodes"),
            false => format!("{resource} {verb} needs the role {}", operation.role),
        };
        return Err(Refusal::new(RefusalCode::Forbidden, message));
    }
    if let Some(id) = &request.body.request_id {
        body.insert("request_id".to_owned(), json!(id));
    }
    let (caller, role) = (request.caller.name.clone(), request.caller.role);
    let question = Question { id: 0, resource, verb, body, caller, role };
    Ok(Plan { live: Some(Live::Edge(edge, Box::new(question))), ..Plan::default() })
}

fn find(request: &Request<'_>) -> Result<(EdgeKey, EdgeRow), Refusal> {
    let OneEdge { edge } = request.read()?;
    let key: EdgeKey = (request.namespace.clone(), edge.clone());
    let row = request.must_get::<EdgeRow>(&key, "edge node", &edge)?;
    Ok((key, row))
}

/// The credential of an edge node has its name.
fn credential_of(
    namespace: &Namespace,
    edge: &EdgeId,
) -> Result<(CredentialKey, CredentialIdentity), Refusal> {
    let name = UserId::parse(edge.as_str()).map_err(Refusal::internal)?;
    Ok(((namespace.clone(), name), CredentialIdentity::Edge(edge.clone())))
}

fn checked_secret(secret: String) -> Result<String, Refusal> {
    match secret::check(&secret) {
        Ok(()) => Ok(secret),
        Err(reason) => Err(Refusal::new(RefusalCode::Invalid, reason).at("secret")),
    }
}

fn checked_label(label: Option<String>) -> Result<Option<String>, Refusal> {
    let label = label.filter(|label| !label.is_empty());
    match label.as_ref().map(String::len) {
        Some(bytes) if bytes > LABEL_BYTES_MAX => {
            let message = format!("it has {bytes} bytes, at most {LABEL_BYTES_MAX} are allowed");
            Err(Refusal::new(RefusalCode::Invalid, message).at("label"))
        }
        _ => Ok(label),
    }
}

fn show(request: &Request<'_>, (_, edge): &EdgeKey, row: &EdgeRow) -> Json {
    let status = request.client.retained(&topic(edge).into()).pop();
    let status = status.and_then(|(_, payload)| serde_json::from_slice::<Json>(&payload).ok());
    json!({
        "edge": edge,
        "label": row.label,
        "adopted": row.adopted,
        "status": status,
        "created": row.created,
        "updated": row.updated,
        "revision": row.revision,
    })
}
