//! `admin/bridges/…`: the bridges to other MQTT brokers. Secrets and keys go in and never come out.

use super::list::list as list_rows;
use super::plan::{Owner, Plan, Request, cleared};
use super::request::{Body, read};
use super::revision::{self, AtRevision};
use super::table::{ADMIN, Operation, READER, Resource};
use crate::bridge::config::{BridgeConfig, Rule};
use crate::bridge::row::{BridgeKey, BridgeRow, CarriedRow};
use crate::bridge::status::topic;
use drivers::ConfigError;
use proto::admin::ListRequest;
use proto::{BridgeId, Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "bridges",
    is: "connections to other MQTT brokers",
    operations: &[
        Operation::changes::<CreateBridge>(
            "create",
            ADMIN,
            "creates a bridge, which connects at once",
            create,
        ),
        Operation::changes::<AtRevision<OneBridge>>(
            "delete",
            ADMIN,
            "deletes a bridge with what waits in its queue",
            delete,
        ),
        Operation::reads::<OneBridge>(
            "get",
            READER,
            "shows a bridge with its status and accounts",
            get,
        ),
        Operation::reads::<ListRequest>("list", READER, "lists bridges, one line each", list),
        Operation::changes::<OneBridge>(
            "pause",
            ADMIN,
            "takes a bridge off its broker; what is to go out waits",
            pause,
        ),
        Operation::changes::<OneBridge>("resume", ADMIN, "brings a paused bridge back", resume),
        Operation::changes::<UpdateBridge>(
            "update",
            ADMIN,
            "changes what is given and leaves the rest",
            update,
        ),
    ],
};

/// Bridges of one namespace: each is a client, a task and a queue.
const BRIDGES_MAX: usize = 100;

/// The fields of a configuration that an update may replace.
const FIELDS: [&str; 4] = ["remote", "rules", "queue", "hops_max"];

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneBridge {
    bridge: BridgeId,
}

#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "create() gives the remote a client id before it reads the configuration"
)]
struct CreateBridge {
    bridge: BridgeId,
    #[serde(flatten)]
    config: BridgeConfig,
}

#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "update() merges what is given into the configuration and reads the whole"
)]
struct UpdateBridge {
    bridge: BridgeId,
    /// Fields of the remote broker that change; null takes one away.
    remote: Option<Map<String, Json>>,
    /// All rules, if any changes.
    rules: Option<Vec<Rule>>,
    /// Bounds of the queue that change.
    queue: Option<Map<String, Json>>,
    hops_max: Option<u8>,
    /// Refuses the change if the bridge has another one by now.
    revision: Option<u64>,
}

/// Creates a bridge, which connects at once.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let mut body = request.body.clone();
    let bridge: BridgeId = body.must_take("bridge")?;
    let key: BridgeKey = (request.namespace.clone(), bridge.clone());
    if request.get::<BridgeRow>(&key)?.is_some() {
        return Err(Refusal::already_exists("bridge", &bridge).at("bridge"));
    }
    let others = others(request, &bridge)?;
    if others.len() >= BRIDGES_MAX {
        let message = format!("there are {BRIDGES_MAX} bridges, which is the most");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message));
    }
    let queue = request.context.random();
    let mut fields = body.into_fields();
    // It names the session at the remote broker, so that two bridges must never have the same.
    let client_id = json!(format!("manifold-{bridge}-{queue:016x}"));
    if let Some(Json::Object(remote)) = fields.get_mut("remote") {
        remote.entry("client_id").or_insert(client_id);
    }
    let config = parse(fields)?;
    check(&config, &others)?;
    let now = request.now();
    let row =
        BridgeRow { config, is_paused: false, queue, created: now, updated: now, revision: 1 };
    Ok(kept(request, &key, &row))
}

/// Shows a bridge with its status and accounts.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (key, row) = find(request)?;
    Ok(Plan::answer(show(request, &key, &row)))
}

/// Lists bridges, one line each: state and figures.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let key_of = |name: &str| match BridgeId::parse(name) {
        Ok(bridge) => Ok((request.namespace.clone(), bridge)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &BridgeKey, row| Some((key.1.to_string(), summary(request, key, &row)));
    let prefix = store::prefix(request.namespace);
    Ok(Plan::answer(list_rows::<BridgeRow>(request, &asked, &prefix, key_of, item)?))
}

/// Replaces what is given: of `remote`, `remote.tls` and `queue` field by field, `rules` as a whole. What waits in the
/// queue stays.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let mut body = request.body.clone();
    let bridge: BridgeId = body.must_take("bridge")?;
    let key: BridgeKey = (request.namespace.clone(), bridge.clone());
    let mut row = request.must_get::<BridgeRow>(&key, "bridge", &bridge)?;
    revision::check(row.revision, body.take("revision")?)?;
    let known = serde_json::to_value(&row.config).map_err(Refusal::internal)?;
    row.config = parse(merged(known, body)?)?;
    row.updated = request.now();
    row.revision += 1;
    check(&row.config, &others(request, &bridge)?)?;
    Ok(kept(request, &key, &row))
}

/// Deletes a bridge with what waits in its queue.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = revision::split(request)?;
    let (key, row) = find(&request)?;
    revision::check(row.revision, revision)?;
    let bridge = key.1.clone();
    let mut plan = Plan::answer(json!({ "bridge": bridge }));
    plan.changes.delete::<BridgeRow>(&key);
    plan.changes.delete::<CarriedRow>(&key);
    plan.changes.dequeue_all(row.queue_key());
    plan.messages.push(cleared(&topic(&bridge)));
    plan.owner = Owner::Bridge(bridge);
    Ok(plan)
}

/// Takes a bridge off the remote broker; what is to go out waits.
fn pause(request: &Request<'_>) -> Result<Plan, Refusal> {
    set_paused(request, true)
}

/// Brings it back.
fn resume(request: &Request<'_>) -> Result<Plan, Refusal> {
    set_paused(request, false)
}

fn set_paused(request: &Request<'_>, is_paused: bool) -> Result<Plan, Refusal> {
    let (key, mut row) = find(request)?;
    row.is_paused = is_paused;
    row.revision += 1;
    row.updated = request.now();
    Ok(kept(request, &key, &row))
}

fn find(request: &Request<'_>) -> Result<(BridgeKey, BridgeRow), Refusal> {
    let OneBridge { bridge } = request.read()?;
    let key: BridgeKey = (request.namespace.clone(), bridge.clone());
    let row = request.must_get::<BridgeRow>(&key, "bridge", &bridge)?;
    Ok((key, row))
}

fn kept(request: &Request<'_>, key: &BridgeKey, row: &BridgeRow) -> Plan {
    let mut plan = Plan::answer(show(request, key, row));
    plan.changes.put::<BridgeRow>(key, row);
    plan.owner = Owner::Bridge(key.1.clone());
    plan
}

fn others(request: &Request<'_>, bridge: &BridgeId) -> Result<Vec<BridgeRow>, Refusal> {
    let all = request.scan::<BridgeRow>(&store::prefix(request.namespace))?;
    Ok(all.into_iter().filter(|((_, id), _)| id != bridge).map(|(_, row)| row).collect())
}

fn parse(fields: Map<String, Json>) -> Result<BridgeConfig, Refusal> {
    read(Json::Object(fields))
}

/// The bridge on its own, and against those that lead to the same broker.
fn check(config: &BridgeConfig, others: &[BridgeRow]) -> Result<(), Refusal> {
    config.check().map_err(|error| refused(&error))?;
    for other in others.iter().map(|row| &row.config) {
        if config.remote.url == other.remote.url
            && config.remote.client_id == other.remote.client_id
        {
            let message = "another bridge is this client of that broker";
            return Err(Refusal::new(RefusalCode::Invalid, message).at("remote.client_id"));
        }
        if config.may_loop_with(other) {
            config.check_loop(other).map_err(|error| refused(&error))?;
            other.check_loop(config).map_err(|error| refused(&error))?;
        }
    }
    Ok(())
}

fn refused(error: &ConfigError) -> Refusal {
    Refusal::new(RefusalCode::Invalid, error.reason.clone()).at(error.field.clone())
}

/// The known configuration with what the request gives instead; null takes an optional field away.
fn merged(known: Json, body: Body) -> Result<Map<String, Json>, Refusal> {
    let Json::Object(mut known) = known else { return Ok(Map::new()) };
    for (field, value) in body.into_fields() {
        if !FIELDS.contains(&field.as_str()) {
            let message = format!("unknown field `{field}`");
            return Err(Refusal::new(RefusalCode::BadRequest, message).at(field));
        }
        patch(&mut known, field, value);
    }
    Ok(known)
}

/// A merge patch of one member (RFC 7396). No deeper than the request, of which the reader has seen to that.
fn patch(known: &mut Map<String, Json>, field: String, value: Json) {
    match value {
        Json::Null => drop(known.remove(&field)),
        Json::Object(given) => {
            let inner = known.entry(field).or_insert(Json::Null);
            if !inner.is_object() {
                *inner = Json::Object(Map::new());
            }
            if let Json::Object(inner) = inner {
                given.into_iter().for_each(|(name, value)| patch(inner, name, value));
            }
        }
        value => drop(known.insert(field, value)),
    }
}

fn show(request: &Request<'_>, key: &BridgeKey, row: &BridgeRow) -> Json {
    let status = request.context.bridges.status(&key.0, &key.1);
    let mut config = serde_json::to_value(&row.config).unwrap_or_default();
    let remote = &mut config["remote"];
    hide(remote, "secret");
    if let Some(tls) = remote.get_mut("tls") {
        hide(tls, "key");
    }
    json!({
        "bridge": key.1,
        "remote": config["remote"],
        "rules": config["rules"],
        "queue": config["queue"],
        "hops_max": config["hops_max"],
        "paused": row.is_paused,
        "status": status,
        "created": row.created,
        "updated": row.updated,
        "revision": row.revision,
    })
}

fn summary(request: &Request<'_>, key: &BridgeKey, row: &BridgeRow) -> Json {
    let status = request.context.bridges.status(&key.0, &key.1);
    let out = status.as_ref().map(|status| status.out).unwrap_or_default();
    let inward = status.as_ref().map(|status| status.inward).unwrap_or_default();
    json!({
        "bridge": key.1,
        "url": row.config.remote.url,
        "state": status.as_ref().map(|status| status.state),
        "reason": status.and_then(|status| status.reason),
        "sent": out.sent,
        "queued": out.queued,
        "published": inward.published,
        "dropped": out.dropped.total() + inward.dropped.total(),
    })
}

/// Says that there is a secret, and not which.
pub(super) fn hide(object: &mut Json, field: &str) {
    if let Some(object) = object.as_object_mut() {
        let is_set = object.remove(field).is_some();
        object.insert(format!("has_{field}"), Json::Bool(is_set));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_replaces_what_it_gives_and_null_takes_away() {
        let known = json!({
            "remote": { "url": "mqtt://a", "client_id": "c", "user_name": "u", "secret": "s" },
            "rules": [1], "hops_max": 3,
        });
        let body = br#"{"remote":{"url":"mqtt://b","secret":null},"rules":[2]}"#;
        let merged = merged(known.clone(), Body::parse(body).unwrap()).unwrap();
        let expected = json!({
            "remote": { "url": "mqtt://b", "client_id": "c", "user_name": "u" },
            "rules": [2], "hops_max": 3,
        });
        assert_eq!(Json::Object(merged), expected);
        let body = br#"{"remote":{"tls":{"ca":"1","key":null}},"queue":{"policy":null}}"#;
        let merged = super::merged(known.clone(), Body::parse(body).unwrap()).unwrap();
        let remote = json!({ "url": "mqtt://a", "client_id": "c", "user_name": "u", "secret": "s",
            "tls": { "ca": "1" } });
        let expected = json!({ "remote": remote, "rules": [1], "hops_max": 3, "queue": {} });
        assert_eq!(Json::Object(merged), expected);
        let refusal = super::merged(known, Body::parse(br#"{"x":1}"#).unwrap()).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("x"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut remote = json!({ "url": "mqtt://a", "secret": "s" });
        hide(&mut remote, "secret");
        assert_eq!(remote, json!({ "url": "mqtt://a", "has_secret": true }));
    }
}
