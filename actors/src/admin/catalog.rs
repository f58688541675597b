//! What the admin API can do, as data: every operation with its role and the JSON Schema of its request, read off the
//! tables that serve it. `admin/$catalog/get` shows it; the command line and the HTTP gateway are made of it.

use super::plan::{Plan, Request};
use super::table::{Operation, READER, RESOURCES, Resource};
use proto::{Refusal, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "$catalog",
    is: "what the admin API can do: every resource and verb with the schema of its request",
    operations: &[Operation::reads::<GetCatalog>("get", READER, "shows all operations", get)],
};

/// What the admin API manages, and what can be done to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CatalogResource {
    /// Such as `things`.
    pub resource: &'static str,
    /// What it is, in a few words.
    pub description: &'static str,
    /// In the order of their verbs.
    pub operations: Vec<CatalogOperation>,
}

/// One operation on a resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CatalogOperation {
    /// Such as `create`.
    pub verb: &'static str,
    /// What it does, in a few words.
    pub description: &'static str,
    /// The least role that may ask for it.
    pub role: Role,
    /// Whether it changes something: then it is audited, and done once for each request id.
    pub changes: bool,
    /// The JSON Schema (draft 2020-12) of its request, whole in itself.
    pub request: Json,
}

/// Every resource of the admin API, in the order of their names.
pub fn catalogue() -> Vec<CatalogResource> {
    RESOURCES.iter().map(|resource| show(resource)).collect()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetCatalog {
    /// Only this resource.
    #[serde(default)]
    resource: Option<String>,
}

/// Shows the catalogue, or one resource of it.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let GetCatalog { resource: wanted } = request.read()?;
    let is_wanted = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let shown: Vec<CatalogResource> =
        RESOURCES.iter().filter(|it| is_wanted(it.name)).map(|it| show(it)).collect();
    match wanted {
        Some(wanted) if shown.is_empty() => {
            Err(Refusal::not_found("resource", wanted).at("resource"))
        }
        _ => Ok(Plan::answer(json!({ "resources": shown }))),
    }
}

fn show(resource: &Resource) -> CatalogResource {
    CatalogResource {
        resource: resource.name,
        description: resource.is,
        operations: resource.operations.iter().map(show_operation).collect(),
    }
}

fn show_operation(it: &Operation) -> CatalogOperation {
    CatalogOperation {
        verb: it.verb,
        description: it.is,
        role: it.role,
        changes: it.is_mutation,
        request: (it.takes)().to_value(),
    }
}
