//! `admin/connections/…`: the clients that are connected, and the sessions that wait for theirs. What the platform
//! itself attaches is not among them.

use super::act::Act;
use super::cursor;
use super::list::limited;
use super::plan::{After, Owner, Plan, Request};
use super::table::{ADMIN, Operation, Resource};
use broker::{ClientInfo, ClientQuery, ClientState, Network, Page, Reason};
use proto::admin::Page as Answer;
use proto::{ClientId, Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "connections",
    is: "clients that are connected, and sessions that wait for theirs",
    operations: &[
        Operation::changes::<Disconnect>(
            "disconnect",
            ADMIN,
            "ends a connection, and its session if asked",
            disconnect,
        ),
        Operation::reads::<OneConnection>("get", ADMIN, "shows one client with its figures", get),
        Operation::reads::<ListConnections>("list", ADMIN, "lists clients", list),
    ],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListConnections {
    /// What the client id contains.
    filter: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    /// What the client id begins with.
    prefix: Option<String>,
    user_name: Option<String>,
    /// An address, or a network such as `10.0.0.0/8`.
    address: Option<String>,
    listener: Option<String>,
    state: Option<ClientState>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneConnection {
    client_id: ClientId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    client_id: ClientId,
    #[serde(default)]
    reason: DisconnectReason,
    /// Whether the session ends as well.
    #[serde(default)]
    end_session: bool,
}

/// What a client is told (MQTT 5.0 3.14.2.1).
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DisconnectReason {
    #[default]
    AdministrativeAction,
    NotAuthorized,
    ServerBusy,
    QuotaExceeded,
    ServerShuttingDown,
}

impl DisconnectReason {
    fn reason(self) -> Reason {
        match self {
            Self::AdministrativeAction => Reason::AdministrativeAction,
            Self::NotAuthorized => Reason::NotAuthorized,
            Self::ServerBusy => Reason::ServerBusy,
            Self::QuotaExceeded => Reason::QuotaExceeded,
            Self::ServerShuttingDown => Reason::ServerShuttingDown,
        }
    }
}

/// Shows a connection, or the session that waits for one.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneConnection { client_id } = request.read()?;
    Ok(Plan::answer(shown(&find(request, &client_id)?)))
}

/// Lists connections, and sessions that wait for one, by client id.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListConnections = request.read()?;
    let network = asked.address.as_deref().map(str::parse::<Network>).transpose();
    let network = network
        .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at("address"))?;
    let after = cursor::place(RESOURCE.name, asked.cursor.as_deref(), ClientId::parse)?;
    let query = ClientQuery {
        prefix: asked.prefix,
        contains: asked.filter,
        user_name: asked.user_name,
        network,
        listener: asked.listener,
        state: asked.state,
    };
    let broker = &request.context.outside.broker;
    let limit = limited(asked.limit);
    let Page { items, next } = broker.clients(request.namespace, &query, after.as_ref(), limit);
    let next_cursor = next.map(|client_id| cursor::after(RESOURCE.name, client_id));
    let items = items.iter().map(shown).collect();
    Ok(Plan::answer(json!(Answer::<Json> { items, next_cursor })))
}

/// Ends a connection. Its session stays and the client may come back, unless the session is to end as well.
fn disconnect(request: &Request<'_>) -> Result<Plan, Refusal> {
    let Disconnect { client_id, reason, end_session } = request.read()?;
    let found = find(request, &client_id)?;
    let was_connected = matches!(found, ClientInfo::Connected(_));
    if !was_connected && !end_session {
        let message = format!("`{client_id}` is not connected; end_session=true ends its session");
        return Err(Refusal::new(RefusalCode::NotFound, message).at("client_id"));
    }
    let reason = reason.reason();
    let mut plan = Plan::answer(json!({
        "client_id": client_id,
        "was_connected": was_connected,
        "reason": reason.as_str(),
        "session_ended": end_session,
    }));
    if !end_session {
        plan.after.push(After::Disconnect(client_id, reason));
    } else if client_id == request.caller.client_id {
        // The caller would not hear the answer.
        plan.after.push(After::EndSession(client_id, reason));
    } else {
        plan.owner = Owner::Broker(Act::EndSession(client_id, reason));
    }
    Ok(plan)
}

fn find(request: &Request<'_>, client_id: &ClientId) -> Result<ClientInfo, Refusal> {
    let found = request.context.outside.broker.client(request.namespace, client_id);
    found.ok_or_else(|| Refusal::not_found("connection", client_id).at("client_id"))
}

fn shown(client: &ClientInfo) -> Json {
    // Made of texts and numbers: there is no way to fail.
    serde_json::to_value(client).unwrap_or_default()
}
