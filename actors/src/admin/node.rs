//! `admin/node/reload`: has the node read again what may change while it runs.

use super::plan::{Plan, Request};
use super::table::{Operation, Resource, SYSTEM};
use proto::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "node",
    is: "the node itself",
    operations: &[Operation::changes::<Reload>(
        "reload",
        SYSTEM,
        "reads the files of TLS and the keys of tokens again",
        reload,
    )],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reload {}

/// Reads the files of TLS and the keys of tokens again, and says what became of each.
fn reload(request: &Request<'_>) -> Result<Plan, Refusal> {
    let Reload {} = request.read()?;
    Ok(Plan::answer(json!({ "items": request.context.outside.broker.reload() })))
}
