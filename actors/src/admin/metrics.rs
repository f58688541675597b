//! `admin/metrics/get`: the figures of the caller's namespace and, for operators of the whole system, those of the
//! node's parts as they also stand in `/metrics`.

use super::plan::{Plan, Request};
use super::table::{ADMIN, Operation, Resource};
use proto::{Refusal, Role};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "metrics",
    is: "figures of all parts of the node",
    operations: &[Operation::reads::<GetMetrics>(
        "get",
        ADMIN,
        "shows all figures that the caller may see",
        get,
    )],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetMetrics {}

/// Shows all figures that the caller may see.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let GetMetrics {} = request.read()?;
    let broker = &request.context.outside.broker;
    let mut shown = json!({ "namespace": broker.namespace_figures(request.namespace) });
    if request.caller.is_at_least(Role::SystemAdmin) {
        node(request, &mut shown);
    }
    Ok(Plan::answer(shown))
}

fn node(request: &Request<'_>, shown: &mut Json) {
    let context = request.context;
    let endings = context.outside.broker.endings();
    let store = context.outside.store.figures();
    let backlog = context.outside.store.backlog();
    shown["actors"] = json!(context.counters.read(&context.audit.figures));
    shown["broker"] = json!(context.outside.broker.figures());
    shown["endings"] =
        json!({ "ended": counted(endings.ended), "refused": counted(endings.refused) });
    shown["store"] = json!({
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
    });
    shown["uptime_ms"] = context.uptime_ms().into();
}

/// What has happened at all.
fn counted(all: Vec<(&'static str, u64)>) -> Map<String, Json> {
    let counted = all.into_iter().filter(|(_, count)| *count > 0);
    counted.map(|(reason, count)| (reason.to_owned(), count.into())).collect()
}
