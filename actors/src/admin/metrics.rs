//! `admin/metrics/get`: the figures of the node's parts, as they also stand in `/metrics`.

use super::plan::{Plan, Request};
use proto::Refusal;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetMetrics {}

/// Shows all figures.
pub(super) fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let GetMetrics {} = request.read()?;
    let context = request.context;
    let store = context.outside.store.figures();
    let backlog = context.outside.store.backlog();
    Ok(Plan::answer(json!({
        "actors": context.counters.read(),
        "broker": context.outside.broker.figures(),
        "store": {
            "batches": store.batches,
            "commits": store.commits,
            "rows": store.rows,
            "bytes": store.bytes,
            "errors": store.errors,
            "refused_full": store.refused_full,
            "refused_overload": store.refused_overload,
            "reopened": store.reopened,
            "unreadable": store.unreadable,
            "waiting_changes": backlog.changes,
            "waiting_bytes": backlog.bytes,
        },
    })))
}
