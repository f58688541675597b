//! `admin/users/…`: people and applications. Those of another namespace are the system admin's only.

use super::list::list as list_rows;
use super::plan::{After, Plan, Request};
use super::request::rank;
use crate::cluster::ProjectRow;
use crate::secret;
use broker::credential::{Credential, CredentialIdentity, CredentialKey, system_namespace};
use proto::admin::ListRequest;
use proto::{Identity, Namespace, Refusal, RefusalCode, Role, UserId};
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateUser {
    user: UserId,
    role: Role,
    /// Absent: one is made, and shown this once.
    #[serde(default)]
    secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateUser {
    user: UserId,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneUser {
    user: UserId,
}

/// Creates a user. Answers with its secret if that was made here.
pub(super) fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, CreateUser { user, role, secret }) = read(request)?;
    check_grant(request, &namespace, role)?;
    let key: CredentialKey = (namespace, user.clone());
    if request.get::<Credential>(&key)?.is_some() {
        return Err(Refusal::already_exists("user, thing or edge node", &user).at("user"));
    }
    let mut data = show(&user, role);
    let secret = match secret {
        Some(given) => checked(given)?,
        None => {
            let made = secret::generate(&*request.context.outside.entropy);
            data["secret"] = made.clone().into();
            made
        }
    };
    let mut plan = Plan::answer(data);
    request.set_secret(&mut plan, key, CredentialIdentity::User { role }, secret);
    Ok(plan)
}

/// Shows a user.
pub(super) fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, OneUser { user }) = read(request)?;
    let (role, _) = find(request, &(namespace, user.clone()))?;
    Ok(Plan::answer(show(&user, role)))
}

/// Lists users.
pub(super) fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, asked): (Namespace, ListRequest) = read(request)?;
    let key_of = |name: &str| match UserId::parse(name) {
        Ok(user) => Ok((namespace.clone(), user)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &CredentialKey, row: Credential| match row.identity {
        CredentialIdentity::User { role } => Some((key.1.to_string(), show(&key.1, role))),
        CredentialIdentity::Thing(_) | CredentialIdentity::Edge(_) => None,
    };
    let prefix = store::prefix(&namespace);
    Ok(Plan::answer(list_rows::<Credential>(request, &asked, &prefix, key_of, item)?))
}

/// Changes role or secret; the user's sessions end.
pub(super) fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, UpdateUser { user, role, secret }) = read(request)?;
    let key: CredentialKey = (namespace.clone(), user.clone());
    let (before, mut credential) = find(request, &key)?;
    check_grant(request, &namespace, before)?;
    let role = role.unwrap_or(before);
    check_grant(request, &namespace, role)?;
    if role != Role::SystemAdmin {
        keep_an_operator(request, &key, before)?;
    }
    let mut plan = Plan::answer(show(&user, role));
    let identity = CredentialIdentity::User { role };
    match secret {
        Some(secret) => request.set_secret(&mut plan, key, identity, checked(secret)?),
        None => {
            credential.identity = identity;
            plan.changes.put::<Credential>(&key, &credential);
        }
    }
    plan.after.push(After::EndSessions(namespace, Identity::User { name: user, role: before }));
    Ok(plan)
}

/// Deletes a user and ends its sessions.
pub(super) fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, OneUser { user }) = read(request)?;
    let key: CredentialKey = (namespace.clone(), user.clone());
    let (role, _) = find(request, &key)?;
    check_grant(request, &namespace, role)?;
    keep_an_operator(request, &key, role)?;
    let mut plan = Plan::answer(json!({ "user": user }));
    plan.changes.delete::<Credential>(&key);
    plan.after.push(After::EndSessions(namespace, Identity::User { name: user, role }));
    Ok(plan)
}

/// The rest of the body, and the namespace it is about.
fn read<T: serde::de::DeserializeOwned>(request: &Request<'_>) -> Result<(Namespace, T), Refusal> {
    let mut body = request.body.clone();
    let namespace = match body.take::<String>("namespace")? {
        None => request.namespace.clone(),
        Some(text) => Namespace::parse(&text).map_err(|error| {
            Refusal::new(RefusalCode::Invalid, error.to_string()).at("namespace")
        })?,
    };
    if namespace != *request.namespace {
        if request.caller.role != Role::SystemAdmin {
            let message = "users of another namespace are the system admin's";
            return Err(Refusal::new(RefusalCode::Forbidden, message).at("namespace"));
        }
        let project = request.get::<ProjectRow>(&namespace)?;
        project.ok_or_else(|| Refusal::not_found("project", &namespace).at("namespace"))?;
    }
    Ok((namespace, body.read()?))
}

/// Nobody grants, changes or takes away more than it has itself; operators live in the system namespace.
fn check_grant(request: &Request<'_>, namespace: &Namespace, role: Role) -> Result<(), Refusal> {
    let refuse = |code, message: &str| Err(Refusal::new(code, message).at("role"));
    if matches!(role, Role::Device | Role::Edge) {
        return refuse(RefusalCode::Invalid, "a user is no device and no edge node");
    }
    if rank(role) > rank(request.caller.role) {
        return refuse(RefusalCode::Forbidden, "the role is above the caller's own");
    }
    if role == Role::SystemAdmin && *namespace != system_namespace() {
        return refuse(RefusalCode::Invalid, "a system admin is a user of system/system");
    }
    // Its users enter every namespace.
    if *namespace == system_namespace() && request.caller.role != Role::SystemAdmin {
        return refuse(RefusalCode::Forbidden, "users of system/system are the system admin's");
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
        other != key && row.identity == operator
    };
    let all = request.scan::<Credential>(&store::prefix(&system_namespace()))?;
    if all.iter().any(is_other_operator) {
        return Ok(());
    }
    let message = "it is the last system admin";
    Err(Refusal::new(RefusalCode::Invalid, message).at("user"))
}

fn find(request: &Request<'_>, key: &CredentialKey) -> Result<(Role, Credential), Refusal> {
    match request.get::<Credential>(key)? {
        Some(row) => match row.identity {
            CredentialIdentity::User { role } => Ok((role, row)),
            _ => Err(Refusal::not_found("user", &key.1).at("user")),
        },
        None => Err(Refusal::not_found("user", &key.1).at("user")),
    }
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
