//! `admin/drivers/…`: the machines that are connected to.

use super::bridges::hide;
use super::list::list as list_rows;
use super::live::Live;
use super::plan::{Owner, Plan, Request, cleared};
use super::request::{below, read};
use super::revision::{self, AtRevision};
use super::table::{ADMIN, Operation, READER, Resource};
use crate::driver::Ask;
use crate::driver::row::{DriverKey, DriverRow, TagRow};
use crate::edges::row::{EdgeKey, EdgeRow};
use crate::ports::Opening;
use drivers::{Call, ConfigError, DriverConfig, Input, TagConfig};
use proto::admin::ListRequest;
use proto::platform::EdgeTopic;
use proto::{DriverId, EdgeId, PlatformTopic, Refusal, RefusalCode, TopicFilter, UnsPath};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

mod apply;
mod elsewhere;

pub(super) use elsewhere::{ask_there, live};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "drivers",
    is: "connections to machines",
    operations: &[
        apply::APPLY,
        Operation::reads::<BrowseDriver>(
            "browse",
            ADMIN,
            "shows what a machine has, below an address or at its root",
            browse,
        ),
        Operation::changes::<CallMethod>("call", ADMIN, "calls a method of a machine", call),
        Operation::changes::<CreateDriver>(
            "create",
            ADMIN,
            "creates a driver, which connects at once",
            create,
        ),
        Operation::changes::<AtRevision<OneDriver>>(
            "delete",
            ADMIN,
            "deletes a driver with its tags",
            delete,
        ),
        Operation::reads::<DiscoverMachine>(
            "discover",
            ADMIN,
            "asks who is at the address of a `config`, and how it can be connected to; OPC UA has that",
            discover,
        ),
        apply::EXPORT,
        Operation::reads::<OneDriver>("get", READER, "shows a driver with its status", get),
        Operation::reads::<ListRequest>("list", READER, "lists drivers", list),
        apply::REVISIONS,
        Operation::reads::<TestDriver>(
            "test",
            ADMIN,
            "asks a machine who it is, with a connection of its own for a `config` that is not created yet",
            test,
        ),
        Operation::changes::<UpdateDriver>(
            "update",
            ADMIN,
            "replaces the configuration; the driver reconnects",
            update,
        ),
    ],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateDriver {
    driver: DriverId,
    /// The edge node that it runs on; absent: the one in this process.
    #[serde(default)]
    edge: Option<EdgeId>,
    config: Json,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateDriver {
    driver: DriverId,
    config: Json,
    /// Refuses the change if the driver has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneDriver {
    driver: DriverId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BrowseDriver {
    driver: DriverId,
    /// The address of something that the machine has; absent: its root.
    #[serde(default)]
    below: Option<String>,
    /// At most so much, 1 to 1000; 100 if absent.
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CallMethod {
    driver: DriverId,
    /// The address of the method, as `browse` shows it.
    method: String,
    /// The address of the object that it is called on; absent: the only one that has it.
    #[serde(default)]
    object: Option<String>,
    /// The arguments: an array in the order of the method, or an object by their names; absent: none.
    #[serde(default)]
    input: Json,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "test() tells the two forms apart by hand, for better refusals")]
enum TestDriver {
    /// One that is created.
    Created { driver: DriverId },
    /// One that is not.
    Proposed {
        config: Json,
        /// The edge node that asks it; absent: the one in this process.
        edge: Option<EdgeId>,
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DiscoverMachine {
    /// As of a driver; nothing but the address counts.
    config: Json,
    /// The edge node that asks; absent: the one in this process.
    #[serde(default)]
    edge: Option<EdgeId>,
}

/// The most that one `browse` shows.
const BROWSED_MAX: usize = 1000;

/// Shows what a machine has.
fn browse(request: &Request<'_>) -> Result<Plan, Refusal> {
    let BrowseDriver { driver, below, limit } = request.read()?;
    let limit = limit.unwrap_or(100);
    if !(1..=BROWSED_MAX).contains(&limit) {
        let message = format!("{limit} is not between 1 and {BROWSED_MAX}");
        return Err(Refusal::new(RefusalCode::Invalid, message).at("limit"));
    }
    live(request, driver, ("drivers", "browse"), |it| {
        Live::Running(it, Ask::Browse { below, limit })
    })
}

/// Calls a method of a machine.
fn call(request: &Request<'_>) -> Result<Plan, Refusal> {
    let CallMethod { driver, method, object, input } = request.read()?;
    let call = Call { method, object, input: Input::of(input) };
    live(request, driver, ("drivers", "call"), |it| Live::Running(it, Ask::Call(call)))
}

/// Asks who is at an address.
fn discover(request: &Request<'_>) -> Result<Plan, Refusal> {
    let DiscoverMachine { config, edge } = request.read()?;
    let edge = edge_of(request, edge)?;
    if edge != request.context.settings.edge {
        return Ok(elsewhere::ask(request, edge, ("drivers", "discover")));
    }
    let config = parse_config(config)?;
    check(request, &config, &[]).map_err(|error| refused(&error, "config"))?;
    Ok(Plan::ask(Live::Discovery(Box::new(config))))
}

/// Asks a machine who it is.
fn test(request: &Request<'_>) -> Result<Plan, Refusal> {
    let mut body = request.body.clone();
    let driver: Option<DriverId> = body.take("driver")?;
    let config: Option<Json> = body.take("config")?;
    let edge: Option<EdgeId> = body.take("edge")?;
    let _: Nothing = body.read()?;
    match (driver, config) {
        (Some(driver), None) => {
            live(request, driver, ("drivers", "test"), |it| Live::Running(it, Ask::Identify))
        }
        (None, Some(config)) => {
            let edge = edge_of(request, edge)?;
            if edge != request.context.settings.edge {
                return Ok(elsewhere::ask(request, edge, ("drivers", "test")));
            }
            let config = parse_config(config)?;
            check(request, &config, &[]).map_err(|error| refused(&error, "config"))?;
            Ok(Plan::ask(Live::Fresh(Box::new(config))))
        }
        _ => {
            let message = "either `driver`, of one that is there, or `config`, of one to be";
            Err(Refusal::new(RefusalCode::BadRequest, message).at("driver"))
        }
    }
}

/// Refuses a driver that is not there.
pub(super) fn must_find(request: &Request<'_>, driver: &DriverId) -> Result<DriverRow, Refusal> {
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let found = request.must_get::<DriverRow>(&key, "driver", driver);
    found.map_err(|refusal| refusal.at("driver"))
}

/// A body with nothing left in it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Creates a driver, which connects at once.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let CreateDriver { driver, edge, config } = request.read()?;
    let edge = edge_of(request, edge)?;
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    if request.get::<DriverRow>(&key)?.is_some() {
        return Err(Refusal::already_exists("driver", &driver).at("driver"));
    }
    let config = parse_config(config)?;
    check(request, &config, &[]).map_err(|error| refused(&error, "config"))?;
    let now = request.now();
    let row = DriverRow { edge, config, created: now, updated: now, revision: 1 };
    let mut plan = Plan::answer(show(request, &key, &row));
    plan.changes.put::<DriverRow>(&key, &row);
    plan.owner = Owner::Driver(driver);
    Ok(plan)
}

/// Shows a driver with its status.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneDriver { driver } = request.read()?;
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let row = request.must_get::<DriverRow>(&key, "driver", &driver)?;
    Ok(Plan::answer(show(request, &key, &row)))
}

/// Lists drivers.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let key_of = |name: &str| match DriverId::parse(name) {
        Ok(driver) => Ok((request.namespace.clone(), driver)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &DriverKey, row| Some((key.1.to_string(), show(request, key, &row)));
    let prefix = store::prefix(request.namespace);
    Ok(Plan::answer(list_rows::<DriverRow>(request, &asked, &prefix, key_of, item)?))
}

/// Replaces the configuration; the driver reconnects, its tags stay.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let UpdateDriver { driver, config, revision } = request.read()?;
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let mut row = request.must_get::<DriverRow>(&key, "driver", &driver)?;
    revision::check(row.revision, revision)?;
    row.config = parse_config(config)?;
    row = row.changed(request.now());
    let tags = tags_of(request, &key)?;
    check(request, &row.config, &tags).map_err(|error| refused(&error, "config"))?;
    let mut plan = Plan::answer(show(request, &key, &row));
    plan.changes.put::<DriverRow>(&key, &row);
    plan.owner = Owner::Driver(driver);
    Ok(plan)
}

/// Deletes a driver with its tags; their values are no longer retained.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let OneDriver { driver } = request.read()?;
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let row = request.must_get::<DriverRow>(&key, "driver", &driver)?;
    revision::check(row.revision, *revision)?;
    let mut plan = Plan::answer(json!({ "driver": driver }));
    plan.changes.delete::<DriverRow>(&key);
    plan.changes.delete_prefix::<TagRow>(&store::prefix(&key));
    for tag in tags_of(request, &key)? {
        // A path that is none has no value.
        if let Ok(path) = UnsPath::parse(&tag.path) {
            plan.messages.push(cleared(&PlatformTopic::Uns(path)));
        }
    }
    plan.messages.push(cleared(&status_topic(&row.edge, &driver)));
    plan.owner = Owner::Driver(driver);
    Ok(plan)
}

/// The tags of a driver, in the order of their names.
pub(super) fn tags_of(request: &Request<'_>, key: &DriverKey) -> Result<Vec<TagConfig>, Refusal> {
    let rows = request.scan::<TagRow>(&store::prefix(key))?;
    Ok(rows.into_iter().map(|(_, TagRow(tag))| tag).collect())
}

/// Opens the driver and drops it: whatever can be known without the machine is checked.
pub(super) fn check(
    request: &Request<'_>,
    config: &DriverConfig,
    tags: &[TagConfig],
) -> Result<(), ConfigError> {
    (request.context.outside.open_driver)(Opening { config, tags, project: None }).map(drop)
}

/// The refusal of a configuration, below the field that holds it.
pub(super) fn refused(error: &ConfigError, field: &str) -> Refusal {
    // The driver counts tags; what it says of one stands as it is.
    let field = match error.tag {
        Some(_) => error.path(),
        None => format!("{field}.{}", error.field),
    };
    Refusal::new(RefusalCode::Invalid, error.reason.clone()).at(field)
}

fn parse_config(config: Json) -> Result<DriverConfig, Refusal> {
    read(config).map_err(|refusal| below(refusal, "config"))
}

fn show(request: &Request<'_>, key: &DriverKey, row: &DriverRow) -> Json {
    let status = status_topic(&row.edge, &key.1).topic();
    let found = TopicFilter::parse(status.as_str().to_owned());
    let found = found.ok().and_then(|filter| request.client.retained(&filter).pop());
    let status = found.and_then(|(_, payload)| serde_json::from_slice::<Json>(&payload).ok());
    json!({
        "driver": key.1,
        "edge": row.edge,
        "config": shown_config(row),
        "status": status,
        "configuration": elsewhere::configuration(request, &row.edge, &key.1),
        "created": row.created,
        "updated": row.updated,
        "revision": row.revision,
    })
}

/// Without its secrets.
fn shown_config(row: &DriverRow) -> Json {
    let mut config = json!(row.config);
    if let Some(user) = config.get_mut("user").filter(|it| it.is_object()) {
        ["secret", "key"].iter().for_each(|field| hide(user, field));
    }
    if let Some(broker) = config.get_mut("broker").filter(|it| it.is_object()) {
        hide(broker, "secret");
        if let Some(tls) = broker.get_mut("tls") {
            hide(tls, "key");
        }
    }
    config
}

/// The edge node that is meant, which has to be this one or registered here.
fn edge_of(request: &Request<'_>, edge: Option<EdgeId>) -> Result<EdgeId, Refusal> {
    let own = &request.context.settings.edge;
    let edge = edge.unwrap_or_else(|| own.clone());
    let key: EdgeKey = (request.namespace.clone(), edge.clone());
    if edge != *own && request.get::<EdgeRow>(&key)?.is_none() {
        return Err(Refusal::not_found("edge node", &edge).at("edge"));
    }
    Ok(edge)
}

fn status_topic(edge: &EdgeId, driver: &DriverId) -> PlatformTopic {
    let topic = EdgeTopic::DriverStatus(driver.clone());
    PlatformTopic::Edge { edge: edge.clone(), topic }
}
