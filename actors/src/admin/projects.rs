//! `admin/projects/…`: the namespaces that are served. Those of others are the system admin's only.

use super::answers::AnswerRow;
use super::list::list as list_rows;
use super::plan::{Owner, Plan, Request, unreadable};
use super::table::{Operation, READER, Resource, SYSTEM};
use crate::bridge::row::{BridgeRow, OriginRow};
use crate::cluster::ProjectRow;
use crate::device::row::ThingRow;
use crate::driver::row::DriverRow;
use crate::model::row::ModelRow;
use broker::credential::{Credential, system_namespace};
use proto::admin::ListRequest;
use proto::{Namespace, ProjectId, Refusal, RefusalCode, Role, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use store::Row;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "projects",
    is: "namespaces: each a space of topics, things and users of its own",
    operations: &[
        Operation::changes::<OneProject>(
            "create",
            SYSTEM,
            "creates a project and serves it",
            create,
        ),
        Operation::changes::<OneProject>(
            "delete",
            SYSTEM,
            "deletes a project that holds nothing any more",
            delete,
        ),
        Operation::reads::<OneProject>("get", READER, "shows a project", get),
        Operation::reads::<ListRequest>(
            "list",
            READER,
            "lists the projects that the caller may see",
            list,
        ),
    ],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneProject {
    tenant: TenantId,
    project: ProjectId,
}

/// Creates a project and serves it: its namespace is mounted before the answer.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let namespace = read(request)?;
    if request.get::<ProjectRow>(&namespace)?.is_some() {
        return Err(Refusal::already_exists("project", &namespace).at("project"));
    }
    let row = ProjectRow { created: request.now() };
    let mut plan = Plan::answer(show(&namespace, &row));
    plan.changes.put::<ProjectRow>(&namespace, &row);
    plan.owner = Owner::StartedProject(namespace);
    Ok(plan)
}

/// Shows a project.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let namespace = read(request)?;
    // Who may not see it is not told whether it is there.
    if !may_see(request, &namespace) {
        return Err(Refusal::not_found("project", &namespace));
    }
    let row = request.must_get::<ProjectRow>(&namespace, "project", &namespace)?;
    Ok(Plan::answer(show(&namespace, &row)))
}

/// Lists the projects that the caller may see. The name that a filter and a cursor mean is
/// `<tenant>/<project>`.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let key_of = |name: &str| {
        Namespace::parse(name)
            .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()))
    };
    let item = |namespace: &Namespace, row| {
        may_see(request, namespace).then(|| (namespace.to_string(), show(namespace, &row)))
    };
    Ok(Plan::answer(list_rows::<ProjectRow>(request, &asked, &[], key_of, item)?))
}

/// Deletes a project that holds nothing any more; its clients are disconnected.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let namespace = read(request)?;
    request.must_get::<ProjectRow>(&namespace, "project", &namespace)?;
    let refuse = |message: String| Err(Refusal::new(RefusalCode::Invalid, message).at("project"));
    if namespace == system_namespace() || namespace == Namespace::default() {
        return refuse(format!("{namespace} is always there"));
    }
    if namespace == *request.namespace {
        return refuse("a project is not deleted from within".to_owned());
    }
    let held = [
        ("things", holds::<ThingRow>(request, &namespace)?),
        ("models", holds::<ModelRow>(request, &namespace)?),
        ("drivers", holds::<DriverRow>(request, &namespace)?),
        ("bridges", holds::<BridgeRow>(request, &namespace)?),
        ("users", holds::<Credential>(request, &namespace)?),
    ];
    if let Some((what, _)) = held.iter().find(|(_, is_held)| *is_held) {
        return refuse(format!("{namespace} still has {what}"));
    }
    let mut plan =
        Plan::answer(json!({ "tenant": namespace.tenant, "project": namespace.project }));
    plan.changes.delete::<ProjectRow>(&namespace);
    plan.changes.delete::<OriginRow>(&namespace);
    plan.changes.delete_prefix::<AnswerRow>(&store::prefix(&namespace));
    plan.owner = Owner::EndedProject(namespace);
    Ok(plan)
}

fn read(request: &Request<'_>) -> Result<Namespace, Refusal> {
    let OneProject { tenant, project } = request.read()?;
    Ok(Namespace { tenant, project })
}

fn may_see(request: &Request<'_>, namespace: &Namespace) -> bool {
    request.caller.role == Role::SystemAdmin || namespace == request.namespace
}

fn holds<R: Row>(request: &Request<'_>, namespace: &Namespace) -> Result<bool, Refusal> {
    let first = request.snapshot.first::<R>(&store::prefix(namespace));
    Ok(first.map_err(|error| unreadable(&error))?.is_some())
}

fn show(namespace: &Namespace, row: &ProjectRow) -> Json {
    json!({ "tenant": namespace.tenant, "project": namespace.project, "created": row.created })
}
