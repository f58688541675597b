//! `admin/connections/…`: the clients that are connected. What the platform itself attaches is not
//! among them.

use super::list::list_at_hand;
use super::plan::{After, Plan, Request};
use broker::ConnectionInfo;
use proto::admin::ListRequest;
use proto::{ClientId, Refusal};
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneConnection {
    client_id: ClientId,
}

/// Shows a connection.
pub(super) fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneConnection { client_id } = request.read()?;
    let found = all(request).into_iter().find(|it| it.client_id == client_id);
    let found = found.ok_or_else(|| Refusal::not_found("connection", &client_id))?;
    Ok(Plan::answer(show(&found)))
}

/// Lists connections by client id.
pub(super) fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let items = all(request).into_iter().map(|it| (it.client_id.to_string(), show(&it)));
    Ok(Plan::answer(list_at_hand(&asked, items)))
}

/// Ends a connection; its session stays, and the client may come back.
pub(super) fn disconnect(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneConnection { client_id } = request.read()?;
    if !all(request).iter().any(|it| it.client_id == client_id) {
        return Err(Refusal::not_found("connection", &client_id));
    }
    let mut plan = Plan::answer(json!({ "client_id": client_id }));
    plan.after.push(After::Disconnect(client_id));
    Ok(plan)
}

fn all(request: &Request<'_>) -> Vec<ConnectionInfo> {
    let mut all = request.context.outside.broker.connections(request.namespace);
    all.retain(|connection| connection.address.is_some());
    all
}

fn show(connection: &ConnectionInfo) -> Json {
    // Made of texts and numbers: there is no way to fail.
    serde_json::to_value(connection).unwrap_or_default()
}
