//! `admin/shadows/…`: the shadows of a thing by name, and who changed them.
//!
//! The classic shadow has no name here, as on its topics. Devices and apps change shadows on their topics; `apply` is
//! how a hub gives an edge node a shadow.

use super::list::{limited, list as list_rows};
use super::plan::{Owner, Plan, Request, unreadable};
use super::request::PLATFORM;
use super::table::{ADMIN, Operation, READER, Resource};
use crate::device::row::{ShadowKey, ThingKey, ThingRow};
use crate::device::shadow::history::{self, ShadowChange};
use crate::device::shadow::{ShadowState, Stamped};
use crate::device::{Becoming, Order};
use crate::edges::things::documents::ShadowThere;
use proto::admin::ListRequest;
use proto::{Identity, Refusal, RefusalCode, ShadowName, ThingId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "shadows",
    is: "what apps want of a device and what it says",
    operations: &[
        Operation::changes::<ApplyShadow>(
            "apply",
            ADMIN,
            "makes a shadow what the request says, whole, if it is the one that it replaces",
            apply,
        ),
        Operation::reads::<OneShadow>("get", READER, "shows a shadow", get),
        Operation::reads::<ShadowHistory>(
            "history",
            READER,
            "shows the last changes of a shadow, newest first, with who made them",
            changes,
        ),
        Operation::reads::<ListShadows>("list", READER, "lists the shadows of a thing", list),
    ],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApplyShadow {
    thing: ThingId,
    /// Absent: the classic shadow.
    #[serde(default)]
    name: Option<ShadowName>,
    /// The shadow that it replaces.
    over: Over,
    /// Its version at the hub, which is told with what becomes of it.
    #[serde(default)]
    version: Option<u64>,
    /// Whether there is to be one.
    exists: bool,
    desired: Map<String, Json>,
    reported: Map<String, Json>,
}

/// The shadow that another one replaces.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Over {
    /// 0: there never was one.
    version: u64,
    /// Whether it is there; one that was deleted keeps its version.
    exists: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneShadow {
    thing: ThingId,
    /// Absent: the classic shadow.
    #[serde(default)]
    name: Option<ShadowName>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShadowHistory {
    thing: ThingId,
    /// Absent: the classic shadow.
    #[serde(default)]
    name: Option<ShadowName>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListShadows {
    thing: ThingId,
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Makes a shadow what the request says, each section with its metadata. Answers with what it is then, or is instead.
fn apply(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ApplyShadow { thing, name, over, version, exists, desired, reported } = request.read()?;
    let key = key_of(request, &thing, name.as_ref())?;
    let row = request.must_get::<ThingRow>(&(key.0.clone(), thing.clone()), "thing", &thing)?;
    let (desired, reported) = (stamped("desired", desired)?, stamped("reported", reported)?);
    let wanted = ShadowState {
        version: 0,
        exists,
        desired,
        reported,
        of_hub: version.map(|it| (it, !exists)),
    };
    let known = request.get::<ShadowState>(&key)?.unwrap_or_default();
    let over = (over.version, !over.exists);
    // What was taken already is not taken again: whoever asks has not heard of it.
    let is_taken = version.is_some() && known.of_hub == wanted.of_hub;
    if is_taken || known.place() != over {
        return Ok(Plan::answer(json!(ShadowThere::of(&key.2, row.created, &known))));
    }
    let next = ShadowState { version: known.version + u64::from(exists), ..wanted };
    let mut plan = Plan::answer(json!(ShadowThere::of(&key.2, row.created, &next)));
    let becoming = Box::new(Becoming { name: key.2, over, shadow: next });
    let by = match request.caller.name.as_str() {
        PLATFORM => Identity::Platform.to_string(),
        name => format!("{} {name}", request.caller.role),
    };
    plan.owner = Owner::Command(thing, Box::new(Order::Become { becoming, by }));
    Ok(plan)
}

/// A section with its metadata.
fn stamped(field: &str, section: Map<String, Json>) -> Result<Stamped, Refusal> {
    serde_json::from_value(Json::Object(section))
        .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at(field))
}

/// Shows a shadow with its metadata.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneShadow { thing, name } = request.read()?;
    let key = key_of(request, &thing, name.as_ref())?;
    let state = request.get::<ShadowState>(&key)?.filter(|state| state.exists);
    let state = state.ok_or_else(|| unknown(name.as_ref()))?;
    let mut shown = show(&key, &state);
    shown["state"] = json!({
        "desired": state.desired.state,
        "reported": state.reported.state,
        "delta": state.desired.difference(&state.reported.state).map(|it| it.state),
    });
    shown["metadata"] =
        json!({ "desired": state.desired.metadata, "reported": state.reported.metadata });
    Ok(Plan::answer(shown))
}

/// Lists the shadows of a thing that are there.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ListShadows { thing, filter, limit, cursor } = request.read()?;
    let (namespace, thing, _) = key_of(request, &thing, None)?;
    let prefix = store::prefix(&(namespace.clone(), thing.clone()));
    let after = |name: &str| Ok((namespace.clone(), thing.clone(), name.to_owned()));
    let item = |key: &ShadowKey, state: ShadowState| {
        state.exists.then(|| (key.2.clone(), show(key, &state)))
    };
    let asked = ListRequest { filter, limit, cursor };
    Ok(Plan::answer(list_rows::<ShadowState>(request, &asked, &prefix, after, item)?))
}

/// Shows who changed a shadow, when, and what.
fn changes(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ShadowHistory { thing, name, limit } = request.read()?;
    let key = key_of(request, &thing, name.as_ref())?;
    let state = request.get::<ShadowState>(&key)?.ok_or_else(|| unknown(name.as_ref()))?;
    let max = request.context.settings.shadow_changes_max;
    let prefix = store::prefix(&(key.0.clone(), key.1.clone()));
    // The slots of more than are kept now may be there from before.
    let page = usize::try_from(max).unwrap_or(usize::MAX).saturating_add(LEFT_FROM_BEFORE_MAX);
    let found =
        request.snapshot.page::<ShadowChange>(&prefix, Some(&history::before_all(&key)), page);
    let mut kept = Vec::new();
    for change in found.map_err(|error| unreadable(&error))? {
        let (slot, change) = change.map_err(|error| unreadable(&error))?;
        if !history::is_of(&key, &slot) {
            break;
        }
        if change.deleted || change.version.saturating_add(max) > state.version {
            kept.push(change);
        }
    }
    kept.sort_by_key(|change| std::cmp::Reverse((change.version, change.deleted)));
    kept.truncate(limited(limit));
    let items: Vec<Json> = kept.iter().map(show_change).collect();
    Ok(Plan::answer(json!({ "items": items })))
}

/// Slots beyond those in use that a smaller bound may have left behind.
const LEFT_FROM_BEFORE_MAX: usize = 1001;

fn key_of(
    request: &Request<'_>,
    thing: &ThingId,
    name: Option<&ShadowName>,
) -> Result<ShadowKey, Refusal> {
    let key: ThingKey = (request.namespace.clone(), thing.clone());
    request.must_get::<ThingRow>(&key, "thing", thing).map_err(|it| it.at("thing"))?;
    let name = name.map_or("", |name| name.as_str());
    Ok((key.0, key.1, name.to_owned()))
}

fn unknown(name: Option<&ShadowName>) -> Refusal {
    match name {
        Some(name) => Refusal::not_found("shadow", name).at("name"),
        None => Refusal::new(RefusalCode::NotFound, "the thing has no classic shadow"),
    }
}

fn show((_, thing, name): &ShadowKey, state: &ShadowState) -> Json {
    let name = (!name.is_empty()).then_some(name);
    json!({ "thing": thing, "name": name, "version": state.version })
}

fn show_change(change: &ShadowChange) -> Json {
    // Made of JSON values, texts and numbers: there is no way to fail.
    serde_json::to_value(change).unwrap_or_default()
}
