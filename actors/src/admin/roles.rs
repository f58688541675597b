//! `admin/roles/…`: custom roles of a project, each a base role with an access list that narrows it.
//!
//! A user with custom roles may do what any one of them allows. What changes counts at once for whoever is connected.

use super::list::list as list_rows;
use super::plan::{After, Plan, Request, unreadable};
use super::request::rank;
use super::revision::{self, AtRevision};
use super::scope::{InNamespace, read};
use super::table::{ADMIN, Operation, Resource};
use super::tenants::check_description;
use super::users::check_acl;
use broker::AclRule;
use broker::credential::{CUSTOM_ROLES_MAX, CredentialKey, CustomRole, RoleHolder};
use proto::admin::ListRequest;
use proto::{Namespace, Refusal, RefusalCode, Role, RoleId, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "roles",
    is: "custom roles: a base role and what of it they allow",
    operations: &[
        Operation::changes::<InNamespace<CreateRole>>(
            "create",
            ADMIN,
            "creates a custom role",
            create,
        ),
        Operation::changes::<InNamespace<AtRevision<OneRole>>>(
            "delete",
            ADMIN,
            "deletes a custom role that no user has",
            delete,
        ),
        Operation::reads::<InNamespace<OneRole>>("get", ADMIN, "shows a custom role", get),
        Operation::reads::<InNamespace<ListRequest>>("list", ADMIN, "lists custom roles", list),
        Operation::changes::<InNamespace<UpdateRole>>(
            "update",
            ADMIN,
            "changes what a custom role allows, at once",
            update,
        ),
    ],
};

/// Custom roles of a namespace.
const ROLES_MAX: usize = 256;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateRole {
    role: RoleId,
    /// The role that it narrows: `app`, `user`, `project_admin` or `tenant_admin`. It never changes.
    base: Role,
    /// What it allows of that.
    acl: Vec<AclRule>,
    /// At most 1024 bytes.
    #[serde(default)]
    description: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateRole {
    role: RoleId,
    /// What it allows.
    #[serde(default)]
    acl: Option<Vec<AclRule>>,
    /// At most 1024 bytes.
    #[serde(default)]
    description: Option<String>,
    /// Refuses the change if the role has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneRole {
    role: RoleId,
}

/// Creates a custom role.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, CreateRole { role, base, acl, description }) = read(request)?;
    check_name(&role)?;
    check_base(request.caller.role, base)?;
    check_acl(Some(&acl))?;
    check_description(&description)?;
    let key = (namespace, role);
    if request.get::<CustomRole>(&key)?.is_some() {
        return Err(Refusal::already_exists("role", &key.1).at("role"));
    }
    let some = request.snapshot.page::<CustomRole>(&store::prefix(&key.0), None, ROLES_MAX);
    if some.map_err(|error| unreadable(&error))?.len() >= ROLES_MAX {
        let message = format!("a project has at most {ROLES_MAX} custom roles");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("role"));
    }
    let now = request.now();
    let row = CustomRole { base, acl, description, created: now, updated: now, revision: 1 };
    let mut plan = Plan::answer(show(&key.1, &row));
    plan.changes.put::<CustomRole>(&key, &row);
    Ok(plan)
}

/// Shows a custom role with how many users have it.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, OneRole { role }) = read(request)?;
    let row = find(request, &namespace, &role, "role")?;
    let mut data = show(&role, &row);
    data["users"] = json!(holders(request, namespace, role)?);
    Ok(Plan::answer(data))
}

/// Lists custom roles.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, asked): (Namespace, ListRequest) = read(request)?;
    let key_of = |name: &str| match RoleId::parse(name) {
        Ok(role) => Ok((namespace.clone(), role)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &(Namespace, RoleId), row| Some((key.1.to_string(), show(&key.1, &row)));
    let prefix = store::prefix(&namespace);
    Ok(Plan::answer(list_rows::<CustomRole>(request, &asked, &prefix, key_of, item)?))
}

/// Changes what a custom role allows, at once for whoever has it.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, UpdateRole { role, acl, description, revision }) = read(request)?;
    let mut row = find(request, &namespace, &role, "role")?;
    check_base(request.caller.role, row.base)?;
    revision::check(row.revision, revision)?;
    if let Some(acl) = acl {
        check_acl(Some(&acl))?;
        row.acl = acl;
    }
    if let Some(description) = description {
        check_description(&description)?;
        row.description = description;
    }
    row.updated = request.now();
    row.revision += 1;
    let mut plan = Plan::answer(show(&role, &row));
    plan.changes.put::<CustomRole>(&(namespace.clone(), role.clone()), &row);
    let holders = holders(request, namespace.clone(), role)?;
    plan.after.push(After::Permissions(namespace, holders));
    Ok(plan)
}

/// Deletes a custom role that no user has.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let (namespace, OneRole { role }) = read(request)?;
    let row = find(request, &namespace, &role, "role")?;
    revision::check(row.revision, *revision)?;
    check_base(request.caller.role, row.base)?;
    let prefix = store::prefix(&(namespace.clone(), role.clone()));
    let holder = request.snapshot.first::<RoleHolder>(&prefix);
    if let Some(holder) = holder.map_err(|error| unreadable(&error))? {
        let user = holder.map(|((_, _, user), _)| user).map_err(|error| unreadable(&error))?;
        let message = format!("user {user} still has it");
        return Err(Refusal::new(RefusalCode::Invalid, message).at("role"));
    }
    let mut plan = Plan::answer(json!({ "role": role }));
    plan.changes.delete::<CustomRole>(&(namespace, role));
    Ok(plan)
}

/// Refuses custom roles that a user of the role `base` cannot have.
pub(super) fn check_roles(
    request: &Request<'_>,
    namespace: &Namespace,
    base: Role,
    roles: &[RoleId],
) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(RefusalCode::Invalid, message).at("roles"));
    if roles.len() > CUSTOM_ROLES_MAX {
        return refuse(format!("a user has at most {CUSTOM_ROLES_MAX} custom roles"));
    }
    for (at, role) in roles.iter().enumerate() {
        let row = find(request, namespace, role, "roles")?;
        if row.base != base {
            let is = row.base;
            return refuse(format!("the role {role} narrows {is}, and the user is {base}"));
        }
        if roles[..at].contains(role) {
            return refuse(format!("the role {role} is named twice"));
        }
    }
    Ok(())
}

/// Remembers who has which role.
pub(super) fn note_holder(
    plan: &mut Plan,
    (namespace, user): &CredentialKey,
    before: &[RoleId],
    after: &[RoleId],
) {
    let key = |role: &RoleId| (namespace.clone(), role.clone(), user.clone());
    for role in before.iter().filter(|role| !after.contains(role)) {
        plan.changes.delete::<RoleHolder>(&key(role));
    }
    for role in after.iter().filter(|role| !before.contains(role)) {
        plan.changes.put::<RoleHolder>(&key(role), &RoleHolder);
    }
}

/// The base role of a custom role.
pub(super) fn base_of(
    request: &Request<'_>,
    namespace: &Namespace,
    role: &RoleId,
) -> Result<Role, Refusal> {
    find(request, namespace, role, "roles").map(|row| row.base)
}

fn find(
    request: &Request<'_>,
    namespace: &Namespace,
    role: &RoleId,
    field: &str,
) -> Result<CustomRole, Refusal> {
    let row = request.get::<CustomRole>(&(namespace.clone(), role.clone()))?;
    row.ok_or_else(|| Refusal::not_found("role", role).at(field))
}

fn holders(
    request: &Request<'_>,
    namespace: Namespace,
    role: RoleId,
) -> Result<Vec<UserId>, Refusal> {
    let found = request.scan::<RoleHolder>(&store::prefix(&(namespace, role)))?;
    Ok(found.into_iter().map(|((_, _, user), _)| user).collect())
}

/// The names of the base roles mean those.
fn check_name(role: &RoleId) -> Result<(), Refusal> {
    if serde_json::from_value::<Role>(Json::String(role.to_string())).is_err() {
        return Ok(());
    }
    let message = format!("{role} is a base role");
    Err(Refusal::new(RefusalCode::Invalid, message).at("role"))
}

fn check_base(caller: Role, base: Role) -> Result<(), Refusal> {
    let refuse = |code, message: &str| Err(Refusal::new(code, message).at("base"));
    match base {
        Role::Device | Role::Edge | Role::Enrolment => {
            refuse(RefusalCode::Invalid, "devices have no custom roles")
        }
        Role::SystemAdmin => refuse(RefusalCode::Invalid, "a system admin may do everything"),
        base if rank(base) > rank(caller) => {
            refuse(RefusalCode::Forbidden, "the base role is above the caller's own")
        }
        _ => Ok(()),
    }
}

fn show(role: &RoleId, row: &CustomRole) -> Json {
    json!({
        "role": role,
        "base": row.base,
        "acl": row.acl,
        "description": row.description,
        "created": row.created,
        "updated": row.updated,
        "revision": row.revision,
    })
}
