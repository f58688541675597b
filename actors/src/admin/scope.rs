//! Which namespace a request is about, and whether its caller may manage that.
//!
//! Whoever may not see a namespace is told the same as if it were not there, in words that do not name it.

use super::plan::Request;
use crate::cluster::ProjectRow;
use broker::credential::system_namespace;
use proto::{Namespace, Refusal, RefusalCode, Role, TenantId};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// What a request takes besides: the namespace it is about.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read() takes the namespace out of the body before it reads the rest")]
pub(super) struct InNamespace<T> {
    /// `<tenant>/<project>`; absent: that of the caller. Others are for the admins of that tenant and of the system.
    namespace: Option<String>,
    #[serde(flatten)]
    rest: T,
}

/// The rest of the body, and the namespace it is about.
pub(super) fn read<T: DeserializeOwned>(request: &Request<'_>) -> Result<(Namespace, T), Refusal> {
    let mut body = request.body.clone();
    let namespace = match body.take::<String>("namespace")? {
        None => request.namespace.clone(),
        Some(text) => Namespace::parse(&text).map_err(|error| {
            Refusal::new(RefusalCode::Invalid, error.to_string()).at("namespace")
        })?,
    };
    may_manage(request.caller.role, request.namespace, &namespace)?;
    if namespace != *request.namespace && request.get::<ProjectRow>(&namespace)?.is_none() {
        return Err(no_such_project().at("namespace"));
    }
    Ok((namespace, body.read()?))
}

/// What is in another project is the business of the admins of its tenant, but for the system namespace, whose users
/// enter every other.
pub(super) fn may_manage(
    caller: Role,
    own: &Namespace,
    namespace: &Namespace,
) -> Result<(), Refusal> {
    if caller == Role::SystemAdmin {
        return Ok(());
    }
    match (namespace == own, *namespace == system_namespace()) {
        (true, false) => Ok(()),
        (true, true) => {
            let message = "what is in the system namespace is the system admin's";
            Err(Refusal::new(RefusalCode::Forbidden, message).at("namespace"))
        }
        (false, _) if may_manage_tenant(caller, own, &namespace.tenant) => Ok(()),
        (false, _) => Err(no_such_project().at("namespace")),
    }
}

/// Whether the projects of a tenant are the caller's to manage.
pub(super) fn may_manage_tenant(caller: Role, own: &Namespace, tenant: &TenantId) -> bool {
    let is_of_own = own.tenant == *tenant && *tenant != system_namespace().tenant;
    caller == Role::SystemAdmin || caller == Role::TenantAdmin && is_of_own
}

/// Whether the caller may know of a project.
pub(super) fn may_see(request: &Request<'_>, namespace: &Namespace) -> bool {
    let caller = request.caller.role;
    namespace == request.namespace
        || may_manage_tenant(caller, request.namespace, &namespace.tenant)
}

/// The same for one that is not there and one that the caller may not see.
pub(super) fn no_such_project() -> Refusal {
    Refusal::new(RefusalCode::NotFound, "there is no such project")
}

/// The same for one that is not there and one that the caller may not see.
pub(super) fn no_such_tenant() -> Refusal {
    Refusal::new(RefusalCode::NotFound, "there is no such tenant").at("tenant")
}
