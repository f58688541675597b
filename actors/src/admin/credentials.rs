//! `admin/credentials/…`: API tokens, further ways in for a user, each with an end and a scope of its own.

use super::list::list as list_rows;
use super::plan::{After, Plan, Request};
use super::scope::{InNamespace, read};
use super::table::{ADMIN, Operation, Resource};
use super::tenants::check_description;
use super::users::{check_acl, check_role, find as find_user};
use broker::AclRule;
use broker::credential::{API_TOKENS_MAX, ApiToken, ApiTokenKey};
use proto::admin::ListRequest;
use proto::{Namespace, Refusal, RefusalCode, RoleId, TimestampMs, TokenId, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "credentials",
    is: "API tokens of users, with an end and a scope of their own",
    operations: &[
        Operation::changes::<InNamespace<CreateCredential>>(
            "create",
            ADMIN,
            "makes an API token and shows it this once",
            create,
        ),
        Operation::changes::<InNamespace<OneCredential>>(
            "delete",
            ADMIN,
            "revokes an API token and disconnects whoever came in by it",
            delete,
        ),
        Operation::reads::<InNamespace<OneCredential>>(
            "get",
            ADMIN,
            "shows what is known of an API token, not the token",
            get,
        ),
        Operation::reads::<InNamespace<ListCredentials>>(
            "list",
            ADMIN,
            "lists API tokens, of one user or of all",
            list,
        ),
        Operation::changes::<InNamespace<UpdateCredential>>(
            "update",
            ADMIN,
            "changes the description, or whether anybody comes in with it",
            update,
        ),
    ],
};

/// The longest life of a token, in seconds: ten years.
const LIFE_SECS_MAX: u64 = 10 * 365 * 24 * 3600;

/// The life of a token that is given none, in seconds: ninety days.
const LIFE_SECS_DEFAULT: u64 = 90 * 24 * 3600;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateCredential {
    user: UserId,
    /// Its name among the tokens of the user.
    credential: TokenId,
    /// Those of the custom roles of the user that it has; absent: all of them.
    #[serde(default)]
    roles: Option<Vec<RoleId>>,
    /// What it may do of what its user may; absent: all of it.
    #[serde(default)]
    acl: Option<Vec<AclRule>>,
    /// Its life in seconds: 1 to 315360000, which is ten years; absent: ninety days.
    #[serde(default)]
    #[schemars(range(min = 1, max = 315_360_000))]
    expires_in_secs: Option<u64>,
    /// At most 1024 bytes.
    #[serde(default)]
    description: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateCredential {
    user: UserId,
    credential: TokenId,
    /// Whether anybody comes in with it.
    #[serde(default)]
    enabled: Option<bool>,
    /// At most 1024 bytes.
    #[serde(default)]
    description: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneCredential {
    user: UserId,
    credential: TokenId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListCredentials {
    /// Only those of this user.
    #[serde(default)]
    user: Option<UserId>,
    /// Only those whose `<user>/<credential>` contains this text.
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Makes an API token. Answers with it, this once.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, asked): (_, CreateCredential) = read(request)?;
    let CreateCredential { user, credential, roles, acl, expires_in_secs, description } = asked;
    let of_user = (namespace.clone(), user.clone());
    let (role, row) = find_user(request, &of_user)?;
    check_role(request.caller.role, &namespace, role).map_err(|refusal| refusal.at("user"))?;
    if let Some(strange) = roles.iter().flatten().find(|role| !row.roles.contains(role)) {
        let message = format!("the user has no role {strange}");
        return Err(Refusal::new(RefusalCode::Invalid, message).at("roles"));
    }
    check_acl(acl.as_deref())?;
    check_description(&description)?;
    let expires = end_of(request.now(), expires_in_secs)?;
    let key: ApiTokenKey = (namespace, user, credential);
    if request.get::<ApiToken>(&key)?.is_some() {
        return Err(Refusal::already_exists("credential", &key.2).at("credential"));
    }
    if request.scan::<ApiToken>(&store::prefix(&of_user))?.len() >= API_TOKENS_MAX {
        let message = format!("a user has at most {API_TOKENS_MAX} credentials");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("credential"));
    }
    let row = ApiToken {
        serial: ApiToken::new_serial(&*request.context.outside.entropy),
        roles,
        acl,
        description,
        created: request.now(),
        expires,
        is_disabled: false,
    };
    let mut data = show(&key, &row);
    data["token"] = request.context.outside.broker.sign_api_token(&key, &row).into();
    let mut plan = Plan::answer(data);
    plan.changes.put::<ApiToken>(&key, &row);
    Ok(plan)
}

/// Shows what is known of an API token.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, OneCredential { user, credential }) = read(request)?;
    let key: ApiTokenKey = (namespace, user, credential);
    let row = find(request, &key)?;
    Ok(Plan::answer(show(&key, &row)))
}

/// Lists API tokens. The name that a filter and a cursor mean is `<user>/<credential>`.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, asked): (Namespace, ListCredentials) = read(request)?;
    let ListCredentials { user, filter, limit, cursor } = asked;
    let prefix = match &user {
        None => store::prefix(&namespace),
        Some(user) => store::prefix(&(namespace.clone(), user.clone())),
    };
    let key_of = |name: &str| -> Result<ApiTokenKey, Refusal> {
        let invalid =
            || Refusal::new(RefusalCode::Invalid, "not the cursor of a list of credentials");
        let (user, credential) = name.split_once('/').ok_or_else(invalid)?;
        let user = UserId::parse(user).map_err(|_| invalid())?;
        let credential = TokenId::parse(credential).map_err(|_| invalid())?;
        Ok((namespace.clone(), user, credential))
    };
    let item = |key: &ApiTokenKey, row| {
        let name = [key.1.as_str(), key.2.as_str()].join("/");
        Some((name, show(key, &row)))
    };
    let asked = ListRequest { filter, limit, cursor };
    Ok(Plan::answer(list_rows::<ApiToken>(request, &asked, &prefix, key_of, item)?))
}

/// Disables or enables an API token, at once for whoever came in by it.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, asked): (_, UpdateCredential) = read(request)?;
    let UpdateCredential { user, credential, enabled, description } = asked;
    let key: ApiTokenKey = (namespace, user, credential);
    let mut row = find(request, &key)?;
    check_owner(request, &key)?;
    if let Some(description) = description {
        check_description(&description)?;
        row.description = description;
    }
    if let Some(enabled) = enabled {
        row.is_disabled = !enabled;
    }
    let mut plan = Plan::answer(show(&key, &row));
    plan.changes.put::<ApiToken>(&key, &row);
    let (namespace, user, _) = key;
    plan.after.push(After::Permissions(namespace, vec![user]));
    Ok(plan)
}

/// Revokes an API token, and disconnects whoever came in by it.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (namespace, OneCredential { user, credential }) = read(request)?;
    let key: ApiTokenKey = (namespace, user, credential);
    find(request, &key)?;
    check_owner(request, &key)?;
    let mut plan = Plan::answer(json!({ "user": key.1, "credential": key.2 }));
    plan.changes.delete::<ApiToken>(&key);
    let (namespace, user, _) = key;
    plan.after.push(After::Permissions(namespace, vec![user]));
    Ok(plan)
}

fn find(request: &Request<'_>, key: &ApiTokenKey) -> Result<ApiToken, Refusal> {
    request.must_get::<ApiToken>(key, "credential", &key.2).map_err(|it| it.at("credential"))
}

/// Nobody touches the tokens of somebody above itself.
fn check_owner(request: &Request<'_>, key: &ApiTokenKey) -> Result<(), Refusal> {
    let (role, _) = find_user(request, &(key.0.clone(), key.1.clone()))?;
    let checked = check_role(request.caller.role, &key.0, role);
    checked.map_err(|refusal| refusal.at("user"))
}

fn end_of(now: TimestampMs, expires_in_secs: Option<u64>) -> Result<TimestampMs, Refusal> {
    match expires_in_secs.unwrap_or(LIFE_SECS_DEFAULT) {
        secs @ 1..=LIFE_SECS_MAX => Ok(TimestampMs(now.0.saturating_add(secs * 1000))),
        _ => {
            let message = format!("a token lives 1 to {LIFE_SECS_MAX} seconds");
            Err(Refusal::new(RefusalCode::Invalid, message).at("expires_in_secs"))
        }
    }
}

fn show((_, user, credential): &ApiTokenKey, row: &ApiToken) -> Json {
    let mut shown = json!({
        "user": user,
        "credential": credential,
        "description": row.description,
        "enabled": !row.is_disabled,
        "created": row.created,
        "expires_at": row.expires,
    });
    if let Some(roles) = &row.roles {
        shown["roles"] = json!(roles);
    }
    if let Some(acl) = &row.acl {
        shown["acl"] = json!(acl);
    }
    shown
}
