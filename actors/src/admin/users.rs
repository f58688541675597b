//! `admin/users/…`: people and applications. Those of another project of its tenant are a tenant admin's as well, all
//! others the system admin's only.

use super::list::list as list_rows;
use super::plan::{After, Plan, Request, Terms};
use super::request::rank;
use super::revision::{self, AtRevision};
use super::roles::{base_of, check_roles, note_holder};
use super::scope::{InNamespace, read};
use super::table::{ADMIN, Operation, Resource};
use crate::secret;
use broker::AclRule;
use broker::credential::{
    ApiToken, Credential, CredentialIdentity, CredentialKey, system_namespace,
};
use proto::admin::ListRequest;
use proto::{Identity, Namespace, Refusal, RefusalCode, Role, RoleId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "users",
    is: "people and applications",
    operations: &[
        Operation::changes::<InNamespace<CreateUser>>(
            "create",
            ADMIN,
            "creates a user and answers with its secret if it made one",
            create,
        ),
        Operation::changes::<InNamespace<AtRevision<OneUser>>>(
            "delete",
            ADMIN,
            "deletes a user and ends its sessions",
            delete,
        ),
        Operation::reads::<InNamespace<OneUser>>("get", ADMIN, "shows a user", get),
        Operation::reads::<InNamespace<ListRequest>>("list", ADMIN, "lists users", list),
        Operation::changes::<InNamespace<UpdateUser>>(
            "update",
            ADMIN,
            "changes role, custom roles, secret, access list, or whether it may come in",
            update,
        ),
    ],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateUser {
    user: UserId,
    /// Absent: that which its custom roles narrow.
    #[serde(default)]
    role: Option<Role>,
    /// Custom roles, at most 8, all of the same base role: it may do what any of them allows.
    #[serde(default)]
    roles: Vec<RoleId>,
    /// Absent: one is made, and shown this once.
    #[serde(default)]
    secret: Option<String>,
    /// Whether the user may come in; absent: yes.
    #[serde(default)]
    enabled: Option<bool>,
    /// What it may do within its role; absent: all of it.
    #[serde(default)]
    acl: Option<Vec<AclRule>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateUser {
    user: UserId,
    #[serde(default)]
    role: Option<Role>,
    /// All its custom roles; an empty list leaves it all that its base role allows.
    #[serde(default)]
    roles: Option<Vec<RoleId>>,
    #[serde(default)]
    secret: Option<String>,
    /// Whether the user may come in.
    #[serde(default)]
    enabled: Option<bool>,
    /// What it may do within its role; `null` takes the list away.
    #[serde(default, deserialize_with = "given")]
    acl: Option<Option<Vec<AclRule>>>,
    /// Refuses the change if the user has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

/// Tells a field that is `null` from one that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneUser {
    user: UserId,
}

/// Creates a user. Answers with its secret if that was made here.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, CreateUser { user, role, roles, secret, enabled, acl }) = read(request)?;
    let role = match (role, roles.first()) {
        (Some(role), _) => role,
        (None, Some(custom)) => base_of(request, &namespace, custom)?,
        (None, None) => {
            let refusal = Refusal::new(RefusalCode::BadRequest, "missing field `role`");
            return Err(refusal.at("role"));
        }
    };
    check_role(request.caller.role, &namespace, role)?;
    check_roles(request, &namespace, role, &roles)?;
    let key: CredentialKey = (namespace, user.clone());
    if request.get::<Credential>(&key)?.is_some() {
        return Err(Refusal::already_exists("user, thing or edge node", &user).at("user"));
    }
    check_acl(acl.as_deref())?;
    let terms = Terms { acl, roles, is_disabled: enabled == Some(false), revision: 1 };
    let mut data = show_all(&user, role, &terms);
    let secret = match secret {
        Some(given) => checked(given)?,
        None => {
            let made = secret::generate(&*request.context.outside.entropy);
            data["secret"] = made.clone().into();
            made
        }
    };
    let mut plan = Plan::answer(data);
    note_holder(&mut plan, &key, &[], &terms.roles);
    request.set_secret(&mut plan, key, CredentialIdentity::User { role }, secret, terms);
    Ok(plan)
}

/// Shows a user.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, OneUser { user }) = read(request)?;
    let (role, credential) = find(request, &(namespace, user.clone()))?;
    Ok(Plan::answer(show_all(&user, role, &Terms::of(Some(credential)))))
}

/// Lists users.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, asked): (Namespace, ListRequest) = read(request)?;
    let key_of = |name: &str| match UserId::parse(name) {
        Ok(user) => Ok((namespace.clone(), user)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &CredentialKey, row: Credential| match row.identity {
        CredentialIdentity::User { role } if role != Role::Enrolment => {
            Some((key.1.to_string(), show_all(&key.1, role, &Terms::of(Some(row)))))
        }
        _ => None,
    };
    let prefix = store::prefix(&namespace);
    Ok(Plan::answer(list_rows::<Credential>(request, &asked, &prefix, key_of, item)?))
}

/// Changes the user. With another secret its sessions end; all else counts for them at once.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, asked) = read(request)?;
    let UpdateUser { user, role, roles, secret, enabled, acl, revision } = asked;
    let key: CredentialKey = (namespace.clone(), user.clone());
    let (before, mut credential) = find(request, &key)?;
    check_role(request.caller.role, &namespace, before)?;
    revision::check(credential.revision, revision)?;
    credential.revision += 1;
    let role = role.unwrap_or(before);
    check_role(request.caller.role, &namespace, role)?;
    if role != Role::SystemAdmin {
        keep_an_operator(request, &key, before)?;
    }
    let identity = CredentialIdentity::User { role };
    credential.identity = identity.clone();
    let roles_before = credential.roles.clone();
    credential.roles = roles.unwrap_or(credential.roles);
    check_roles(request, &namespace, role, &credential.roles)?;
    if let Some(acl) = acl {
        credential.acl = acl;
        check_acl(credential.acl.as_deref())?;
    }
    if let Some(enabled) = enabled {
        credential.is_disabled = !enabled;
    }
    if credential.is_disabled {
        keep_an_operator(request, &key, before)?;
    }
    let terms = Terms::of(Some(credential.clone()));
    let mut plan = Plan::answer(show_all(&user, role, &terms));
    note_holder(&mut plan, &key, &roles_before, &terms.roles);
    match secret {
        Some(secret) => {
            request.set_secret(&mut plan, key, identity, checked(secret)?, terms);
            let identity = Identity::User { name: user, role: before };
            plan.after.push(After::EndSessions(namespace, identity));
        }
        None => {
            plan.changes.put::<Credential>(&key, &credential);
            plan.after.push(After::Permissions(namespace, vec![user]));
        }
    }
    Ok(plan)
}

/// Deletes a user and ends its sessions.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let (namespace, OneUser { user }) = read(request)?;
    let key: CredentialKey = (namespace.clone(), user.clone());
    let (role, row) = find(request, &key)?;
    check_role(request.caller.role, &namespace, role)?;
    revision::check(row.revision, *revision)?;
    keep_an_operator(request, &key, role)?;
    let mut plan = Plan::answer(json!({ "user": user }));
    plan.changes.delete::<Credential>(&key);
    plan.changes.delete_prefix::<ApiToken>(&store::prefix(&key));
    note_holder(&mut plan, &key, &row.roles, &[]);
    plan.after.push(After::EndSessions(namespace, Identity::User { name: user, role }));
    Ok(plan)
}

/// Nobody grants, changes or takes away more than it has itself; operators live in the system namespace.
pub(super) fn check_role(caller: Role, namespace: &Namespace, role: Role) -> Result<(), Refusal> {
    let refuse = |code, message: &str| Err(Refusal::new(code, message).at("role"));
    if matches!(role, Role::Device | Role::Edge | Role::Enrolment) {
        return refuse(RefusalCode::Invalid, "a user is no device and no edge node");
    }
    if rank(role) > rank(caller) {
        return refuse(RefusalCode::Forbidden, "the role is above the caller's own");
    }
    if role == Role::SystemAdmin && *namespace != system_namespace() {
        return refuse(RefusalCode::Invalid, "a system admin is a user of system/system");
    }
    Ok(())
}

/// Without a system admin nobody could ever create one again.
fn keep_an_operator(request: &Request<'_>, key: &CredentialKey, role: Role) -> Result<(), Refusal> {
    if role != Role::SystemAdmin {
        return Ok(());
    }
    let is_other_operator = |(other, row): &(CredentialKey, Credential)| {
        let operator = CredentialIdentity::User { role: Role::SystemAdmin };
        other != key && row.identity == operator && !row.is_disabled
    };
    let all = request.scan::<Credential>(&store::prefix(&system_namespace()))?;
    if all.iter().any(is_other_operator) {
        return Ok(());
    }
    let message = "it is the last system admin";
    Err(Refusal::new(RefusalCode::Invalid, message).at("user"))
}

/// A user, with its role.
pub(super) fn find(
    request: &Request<'_>,
    key: &CredentialKey,
) -> Result<(Role, Credential), Refusal> {
    match request.get::<Credential>(key)? {
        Some(row) => match row.identity {
            CredentialIdentity::User { role } if role != Role::Enrolment => Ok((role, row)),
            _ => Err(Refusal::not_found("user", &key.1).at("user")),
        },
        None => Err(Refusal::not_found("user", &key.1).at("user")),
    }
}

/// A list that no client could use is refused when it is given, not when the client connects.
pub(super) fn check_acl(acl: Option<&[AclRule]>) -> Result<(), Refusal> {
    let checked = acl.map_or(Ok(()), broker::check_acl);
    checked.map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at("acl"))
}

fn checked(secret: String) -> Result<String, Refusal> {
    match secret::check(&secret) {
        Ok(()) => Ok(secret),
        Err(reason) => Err(Refusal::new(RefusalCode::Invalid, reason).at("secret")),
    }
}

fn show(user: &UserId, role: Role) -> Json {
    json!({ "user": user, "role": role })
}

/// With what is there only if somebody has set it.
fn show_all(user: &UserId, role: Role, terms: &Terms) -> Json {
    let mut shown = show(user, role);
    shown["revision"] = terms.revision.into();
    if !terms.roles.is_empty() {
        shown["roles"] = json!(terms.roles);
    }
    if terms.is_disabled {
        shown["enabled"] = false.into();
    }
    if let Some(acl) = &terms.acl {
        shown["acl"] = json!(acl);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::scope::may_manage;
    use super::*;

    /// Whether a caller of `role` in `from` may give `granted` to a user of `to`.
    fn may_grant(role: Role, from: &str, to: &str, granted: Role) -> bool {
        let namespace = |text: &str| match text {
            "system" => system_namespace(),
            text if text.contains('/') => Namespace::parse(text).unwrap(),
            text => Namespace::parse(&format!("acme/{text}")).unwrap(),
        };
        may_manage(role, &namespace(from), &namespace(to)).is_ok()
            && check_role(role, &namespace(to), granted).is_ok()
    }

    #[test]
    fn nobody_grants_more_than_it_has_and_operators_live_in_the_system_namespace() {
        use Role::{App, Device, ProjectAdmin, SystemAdmin, TenantAdmin, User};
        let cases = [
            (ProjectAdmin, "a", "a", User, true),
            (ProjectAdmin, "a", "a", App, true),
            (ProjectAdmin, "a", "a", ProjectAdmin, true),
            (ProjectAdmin, "a", "a", TenantAdmin, false),
            (ProjectAdmin, "a", "a", SystemAdmin, false),
            (ProjectAdmin, "a", "a", Device, false),
            (ProjectAdmin, "a", "b", User, false),
            (TenantAdmin, "a", "a", TenantAdmin, true),
            (TenantAdmin, "a", "b", User, true),
            (TenantAdmin, "a", "b", TenantAdmin, true),
            (TenantAdmin, "a", "b", SystemAdmin, false),
            (TenantAdmin, "a", "other/b", User, false),
            (TenantAdmin, "a", "system", User, false),
            (TenantAdmin, "system/b", "system", User, false),
            (TenantAdmin, "system", "system/b", User, false),
            (ProjectAdmin, "system", "system", User, false),
            (SystemAdmin, "a", "a", TenantAdmin, true),
            (SystemAdmin, "a", "b", User, true),
            (SystemAdmin, "a", "b", SystemAdmin, false),
            (SystemAdmin, "a", "system", SystemAdmin, true),
            (SystemAdmin, "system", "system", User, true),
        ];
        for (role, from, to, granted, expected) in cases {
            let found = may_grant(role, from, to, granted);
            assert_eq!(found, expected, "{role} of {from} makes a {granted} of {to}");
        }
    }
}
