//! `admin/node/reload`: has the node read again what may change while it runs.

use super::plan::{Plan, Request};
use proto::Refusal;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reload {}

/// Reads the files of TLS and the keys of tokens again, and says what became of each.
pub(super) fn reload(request: &Request<'_>) -> Result<Plan, Refusal> {
    let Reload {} = request.read()?;
    Ok(Plan::answer(json!({ "items": request.context.outside.broker.reload() })))
}
