//! `admin/projects/…`: the namespaces that are served. A tenant admin manages those of its tenant; those of others
//! are the system admin's only.

use super::answers::AnswerRow;
use super::list::list as list_rows;
use super::plan::{After, Owner, Plan, Request, unreadable};
use super::revision::{self, AtRevision};
use super::scope::{may_manage_tenant, may_see, no_such_project};
use super::table::{Operation, READER, Resource, TENANT};
use super::tenants::{check_description, find as find_tenant, projects_of};
use crate::bridge::row::{BridgeRow, OriginRow};
use crate::cluster::{ProjectRow, Quota, QuotaChange, check_shares};
use crate::device::command::broadcast::{BroadcastRow, MemberRow};
use crate::device::row::ThingRow;
use crate::driver::row::DriverRow;
use crate::enrolment::row::{EnrolmentRow, SerialRow};
use crate::model::row::ModelRow;
use crate::registry::row::{GroupMemberRow, GroupRow};
use crate::rules::row::RuleRow;
use crate::trust::row::{MetRow, VerdictRow};
use broker::credential::{
    ApiToken, AuthorityRow, CertificateInUse, CertificateName, CertificateRow, Credential,
    CustomRole, RoleHolder, system_namespace,
};
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
        Operation::changes::<CreateProject>(
            "create",
            TENANT,
            "creates a project of a tenant and serves it",
            create,
        ),
        Operation::changes::<AtRevision<OneProject>>(
            "delete",
            TENANT,
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
        Operation::changes::<UpdateProject>(
            "update",
            TENANT,
            "changes description or quota, or whether anybody may enter it",
            update,
        ),
    ],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneProject {
    tenant: TenantId,
    project: ProjectId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateProject {
    tenant: TenantId,
    project: ProjectId,
    /// At most 1024 bytes.
    #[serde(default)]
    description: String,
    /// What it has of the pool of its tenant; a field that is absent sets no bound, which a tenant with one refuses.
    #[serde(default)]
    quota: Quota,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateProject {
    tenant: TenantId,
    project: ProjectId,
    /// At most 1024 bytes.
    #[serde(default)]
    description: Option<String>,
    /// Whether anybody but operators of the whole system may enter it.
    #[serde(default)]
    enabled: Option<bool>,
    /// The fields that change; null takes a bound away.
    #[serde(default)]
    quota: QuotaChange,
    /// Refuses the change if the project has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

/// Creates a project and serves it: its namespace is mounted before the answer.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let CreateProject { tenant, project, description, quota } = request.read()?;
    find_tenant(request, &tenant)?;
    let namespace = Namespace { tenant, project };
    if request.get::<ProjectRow>(&namespace)?.is_some() {
        return Err(Refusal::already_exists("project", &namespace).at("project"));
    }
    check_description(&description)?;
    check_quota(request, &namespace, quota)?;
    let row = ProjectRow { description, quota, ..ProjectRow::new(request.now()) };
    let mut plan = Plan::answer(show(&namespace, &row));
    plan.changes.put::<ProjectRow>(&namespace, &row);
    plan.owner = Owner::StartedProject(namespace);
    Ok(plan)
}

/// Shows a project.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneProject { tenant, project } = request.read()?;
    let namespace = Namespace { tenant, project };
    // Who may not see it is not told whether it is there.
    if !may_see(request, &namespace) {
        return Err(no_such_project().at("project"));
    }
    let row = request.get::<ProjectRow>(&namespace)?;
    let row = row.ok_or_else(|| no_such_project().at("project"))?;
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
    // Whoever sees one tenant at most need not go through all.
    let prefix = match request.caller.role {
        Role::SystemAdmin => Vec::new(),
        _ => store::prefix(&request.namespace.tenant),
    };
    Ok(Plan::answer(list_rows::<ProjectRow>(request, &asked, &prefix, key_of, item)?))
}

/// Changes description, quota, or whether anybody may enter: at once, for whoever is connected as well.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let UpdateProject { tenant, project, description, enabled, quota, revision } =
        request.read()?;
    let namespace = Namespace { tenant, project };
    let mut row = find(request, &namespace)?;
    revision::check(row.revision, revision)?;
    if let Some(description) = description {
        check_description(&description)?;
        row.description = description;
    }
    if let Some(enabled) = enabled {
        check_disabling(request, &namespace, enabled)?;
        row.is_disabled = !enabled;
    }
    row.quota = row.quota.changed(quota);
    check_quota(request, &namespace, row.quota)?;
    row.revision += 1;
    let mut plan = Plan::answer(show(&namespace, &row));
    plan.changes.put::<ProjectRow>(&namespace, &row);
    plan.after.push(After::Tenancy(vec![namespace]));
    Ok(plan)
}

/// Deletes a project that holds nothing any more; its clients are disconnected.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let OneProject { tenant, project } = request.read()?;
    let namespace = Namespace { tenant, project };
    revision::check(find(request, &namespace)?.revision, *revision)?;
    if namespace == system_namespace() || namespace == Namespace::default() {
        return Err(refused(format!("{namespace} is always there")));
    }
    if namespace == *request.namespace {
        return Err(refused("a project is not deleted from within".to_owned()));
    }
    let held = [
        ("things", holds::<ThingRow>(request, &namespace)?),
        ("models", holds::<ModelRow>(request, &namespace)?),
        ("drivers", holds::<DriverRow>(request, &namespace)?),
        ("bridges", holds::<BridgeRow>(request, &namespace)?),
        ("rules", holds::<RuleRow>(request, &namespace)?),
        ("users", holds::<Credential>(request, &namespace)?),
    ];
    if let Some((what, _)) = held.iter().find(|(_, is_held)| *is_held) {
        return Err(refused(format!("{namespace} still has {what}")));
    }
    let mut plan =
        Plan::answer(json!({ "tenant": namespace.tenant, "project": namespace.project }));
    let prefix = store::prefix(&namespace);
    plan.changes.delete::<ProjectRow>(&namespace);
    plan.changes.delete::<OriginRow>(&namespace);
    plan.changes.delete_prefix::<BroadcastRow>(&prefix);
    plan.changes.delete_prefix::<MemberRow>(&prefix);
    plan.changes.delete_prefix::<GroupRow>(&prefix);
    plan.changes.delete_prefix::<GroupMemberRow>(&prefix);
    plan.changes.delete_prefix::<EnrolmentRow>(&prefix);
    plan.changes.delete_prefix::<SerialRow>(&prefix);
    plan.changes.delete_prefix::<AuthorityRow>(&prefix);
    plan.changes.delete_prefix::<CertificateRow>(&prefix);
    plan.changes.delete_prefix::<CertificateName>(&prefix);
    plan.changes.delete_prefix::<CertificateInUse>(&prefix);
    plan.changes.delete_prefix::<VerdictRow>(&prefix);
    plan.changes.delete_prefix::<MetRow>(&prefix);
    plan.changes.delete_prefix::<AnswerRow>(&prefix);
    plan.changes.delete_prefix::<CustomRole>(&prefix);
    plan.changes.delete_prefix::<RoleHolder>(&prefix);
    plan.changes.delete_prefix::<ApiToken>(&prefix);
    plan.owner = Owner::EndedProject(namespace);
    Ok(plan)
}

/// A project that the caller may manage.
fn find(request: &Request<'_>, namespace: &Namespace) -> Result<ProjectRow, Refusal> {
    let none = || no_such_project().at("project");
    if !may_manage_tenant(request.caller.role, request.namespace, &namespace.tenant) {
        return Err(none());
    }
    request.get::<ProjectRow>(namespace)?.ok_or_else(none)
}

/// The shares of all projects of the tenant have to come to no more than it has.
fn check_quota(request: &Request<'_>, namespace: &Namespace, quota: Quota) -> Result<(), Refusal> {
    quota.check()?;
    let pool = find_tenant(request, &namespace.tenant)?.quota;
    if pool.is_unbounded() {
        return Ok(());
    }
    let projects = projects_of(request, &namespace.tenant)?;
    let others = projects.into_iter().filter(|(project, _)| *project != namespace.project);
    let mut shares: Vec<_> = others.map(|(project, row)| (project, row.quota)).collect();
    shares.push((namespace.project.clone(), quota));
    check_shares(&pool, &shares)
}

/// Somebody has to be able to enable it again.
fn check_disabling(
    request: &Request<'_>,
    namespace: &Namespace,
    enabled: bool,
) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(refused(message.to_owned()).at("enabled"));
    match enabled {
        false if *namespace == system_namespace() => refuse("the operators are at home there"),
        false if namespace == request.namespace && request.caller.role != Role::SystemAdmin => {
            refuse("a project is not disabled from within")
        }
        _ => Ok(()),
    }
}

fn refused(message: String) -> Refusal {
    Refusal::new(RefusalCode::Invalid, message).at("project")
}

fn holds<R: Row>(request: &Request<'_>, namespace: &Namespace) -> Result<bool, Refusal> {
    let first = request.snapshot.first::<R>(&store::prefix(namespace));
    Ok(first.map_err(|error| unreadable(&error))?.is_some())
}

fn show(namespace: &Namespace, row: &ProjectRow) -> Json {
    json!({
        "tenant": namespace.tenant,
        "project": namespace.project,
        "description": row.description,
        "enabled": !row.is_disabled,
        "quota": row.quota,
        "created": row.created,
        "revision": row.revision,
    })
}
