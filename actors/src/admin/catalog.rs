//! `admin/$catalog/get`: every operation of the admin API with its role and the JSON Schema of its request, read off
//! the tables that serve it.

use super::plan::{Plan, Request};
use super::table::{Operation, READER, RESOURCES, Resource};
use proto::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "$catalog",
    is: "what the admin API can do: every resource and verb with the schema of its request",
    operations: &[Operation::reads::<GetCatalog>("get", READER, "shows all operations", get)],
};

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
    let shown: Vec<Json> =
        RESOURCES.iter().filter(|it| is_wanted(it.name)).map(|it| show(it)).collect();
    match wanted {
        Some(wanted) if shown.is_empty() => {
            Err(Refusal::not_found("resource", wanted).at("resource"))
        }
        _ => Ok(Plan::answer(json!({ "resources": shown }))),
    }
}

fn show(resource: &Resource) -> Json {
    let operations: Vec<Json> = resource.operations.iter().map(show_operation).collect();
    json!({ "resource": resource.name, "description": resource.is, "operations": operations })
}

fn show_operation(it: &Operation) -> Json {
    json!({
        "verb": it.verb,
        "description": it.is,
        "role": it.role,
        "changes": it.is_mutation,
        "request": (it.takes)(),
    })
}
