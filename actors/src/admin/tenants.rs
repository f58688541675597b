//! `admin/tenants/…`: organisations. A tenant admin sees its own; the others are the system admin's only.

use super::list::list as list_rows;
use super::plan::{After, Plan, Request};
use super::revision::{self, AtRevision};
use super::scope::{may_manage_tenant, no_such_tenant};
use super::table::{Operation, Resource, SYSTEM, TENANT};
use crate::backups::part_of_tenant;
use crate::cluster::{ProjectRow, Quota, QuotaChange, TenantRow, check_shares};
use broker::credential::system_namespace;
use proto::admin::ListRequest;
use proto::{Namespace, ProjectId, Refusal, RefusalCode, Role, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use store::UnfinishedPart;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "tenants",
    is: "organisations, whose projects are apart from those of others",
    operations: &[
        Operation::changes::<CreateTenant>("create", SYSTEM, "creates a tenant", create),
        Operation::changes::<AtRevision<OneTenant>>(
            "delete",
            SYSTEM,
            "deletes a tenant that has no projects any more",
            delete,
        ),
        Operation::reads::<OneTenant>("get", TENANT, "shows a tenant", get),
        Operation::reads::<ListRequest>(
            "list",
            TENANT,
            "lists the tenants that the caller may see",
            list,
        ),
        Operation::changes::<UpdateTenant>(
            "update",
            SYSTEM,
            "changes description or quota, or whether anybody may enter its projects",
            update,
        ),
    ],
};

/// The longest description of anything here, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateTenant {
    tenant: TenantId,
    /// At most 1024 bytes.
    #[serde(default)]
    description: String,
    /// What its projects have in all; a field that is absent sets no bound.
    #[serde(default)]
    quota: Quota,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateTenant {
    tenant: TenantId,
    /// At most 1024 bytes.
    #[serde(default)]
    description: Option<String>,
    /// Whether anybody but operators of the whole system may enter its projects.
    #[serde(default)]
    enabled: Option<bool>,
    /// The fields that change; null takes a bound away.
    #[serde(default)]
    quota: QuotaChange,
    /// Refuses the change if the tenant has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneTenant {
    tenant: TenantId,
}

/// Creates a tenant.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let CreateTenant { tenant, description, quota } = request.read()?;
    if request.get::<TenantRow>(&tenant)?.is_some() {
        return Err(Refusal::already_exists("tenant", &tenant).at("tenant"));
    }
    if request.context.backups.is_restoring(&tenant) {
        let message = format!("tenant {tenant} is being put back from a backup");
        return Err(Refusal::new(RefusalCode::Unavailable, message).at("tenant"));
    }
    let name = part_of_tenant(&tenant).name;
    if request.get::<UnfinishedPart>(&name)?.is_some() {
        let message = "a restore of a tenant of this name was cut short: make it again first";
        return Err(Refusal::new(RefusalCode::AlreadyExists, message).at("tenant"));
    }
    check_description(&description)?;
    quota.check()?;
    let row = TenantRow { description, quota, ..TenantRow::new(request.now()) };
    let mut plan = Plan::answer(show(&tenant, &row));
    plan.changes.put::<TenantRow>(&tenant, &row);
    Ok(plan)
}

/// Shows a tenant.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneTenant { tenant } = request.read()?;
    let row = find(request, &tenant)?;
    Ok(Plan::answer(show(&tenant, &row)))
}

/// Lists the tenants that the caller may see.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let key_of = |name: &str| {
        TenantId::parse(name).map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()))
    };
    let item = |tenant: &TenantId, row| {
        let may_see = may_manage_tenant(request.caller.role, request.namespace, tenant);
        may_see.then(|| (tenant.to_string(), show(tenant, &row)))
    };
    // Whoever sees one at most need not go through all.
    let prefix = match request.caller.role {
        Role::SystemAdmin => Vec::new(),
        _ => store::prefix(&request.namespace.tenant),
    };
    Ok(Plan::answer(list_rows::<TenantRow>(request, &asked, &prefix, key_of, item)?))
}

/// Changes description, quota, or whether anybody may enter: at once, for whoever is connected as well.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let UpdateTenant { tenant, description, enabled, quota, revision } = request.read()?;
    let mut row = find(request, &tenant)?;
    revision::check(row.revision, revision)?;
    if let Some(description) = description {
        check_description(&description)?;
        row.description = description;
    }
    if let Some(enabled) = enabled {
        if !enabled && tenant == system_namespace().tenant {
            return Err(always_there(&tenant));
        }
        row.is_disabled = !enabled;
    }
    row.quota = row.quota.changed(quota);
    row.quota.check()?;
    let projects = projects_of(request, &tenant)?;
    let shares: Vec<_> = projects.iter().map(|(it, row)| (it.clone(), row.quota)).collect();
    check_shares(&row.quota, &shares)?;
    row.revision += 1;
    let mut plan = Plan::answer(show(&tenant, &row));
    plan.changes.put::<TenantRow>(&tenant, &row);
    let namespace = |(project, _)| Namespace { tenant: tenant.clone(), project };
    plan.after.push(After::Tenancy(projects.into_iter().map(namespace).collect()));
    Ok(plan)
}

/// Deletes a tenant that has no projects any more.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let OneTenant { tenant } = request.read()?;
    revision::check(find(request, &tenant)?.revision, *revision)?;
    if tenant == system_namespace().tenant || tenant == Namespace::default().tenant {
        return Err(always_there(&tenant));
    }
    if !projects_of(request, &tenant)?.is_empty() {
        let message = format!("{tenant} still has projects");
        return Err(Refusal::new(RefusalCode::Invalid, message).at("tenant"));
    }
    let mut plan = Plan::answer(json!({ "tenant": tenant }));
    plan.changes.delete::<TenantRow>(&tenant);
    Ok(plan)
}

/// A tenant that the caller may see.
pub(super) fn find(request: &Request<'_>, tenant: &TenantId) -> Result<TenantRow, Refusal> {
    if !may_manage_tenant(request.caller.role, request.namespace, tenant) {
        return Err(no_such_tenant());
    }
    request.get::<TenantRow>(tenant)?.ok_or_else(no_such_tenant)
}

/// The projects of a tenant.
pub(super) fn projects_of(
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Vec<(ProjectId, ProjectRow)>, Refusal> {
    let found = request.scan::<ProjectRow>(&store::prefix(tenant))?;
    Ok(found.into_iter().map(|(namespace, row)| (namespace.project, row)).collect())
}

/// Refuses a description that is too long.
pub(super) fn check_description(description: &str) -> Result<(), Refusal> {
    let bytes = description.len();
    if bytes <= DESCRIPTION_BYTES_MAX {
        return Ok(());
    }
    let message = format!("it has {bytes} bytes, at most {DESCRIPTION_BYTES_MAX}");
    Err(Refusal::new(RefusalCode::TooLarge, message).at("description"))
}

fn always_there(tenant: &TenantId) -> Refusal {
    Refusal::new(RefusalCode::Invalid, format!("{tenant} is always there")).at("tenant")
}

fn show(tenant: &TenantId, row: &TenantRow) -> Json {
    json!({
        "tenant": tenant,
        "description": row.description,
        "enabled": !row.is_disabled,
        "quota": row.quota,
        "created": row.created,
        "revision": row.revision,
    })
}
