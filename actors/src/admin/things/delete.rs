//! `things delete`: the end of a thing and of everything that it has.

use super::view::View;
use super::{credential_of, forget_certificates};
use crate::admin::plan::{After, Owner, Plan, Request, cleared};
use crate::admin::revision;
use crate::admin::table::{ADMIN, Operation};
use crate::device::row::{ThingKey, ThingRow};
use crate::registry::index;
use crate::registry::row::{GroupMemberRow, GroupRow};
use broker::credential::Credential;
use proto::platform::ThingTopic;
use proto::{Identity, PlatformTopic, Refusal, RefusalCode, ThingId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub(super) const OPERATION: Operation = Operation::changes::<DeleteThing>(
    "delete",
    ADMIN,
    "deletes a thing with its shadows, its values and its credential",
    delete,
);

/// Things that a gateway is taken from in one request.
const DETACHED_MAX: usize = 5000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteThing {
    thing: ThingId,
    /// What becomes of the things behind it; absent: with any, the request is refused.
    #[serde(default)]
    children: Option<Children>,
    /// Refuses the deletion if the thing has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Children {
    /// They stay, and are behind no gateway.
    Detach,
}

/// Deletes a thing with all that it has, and ends its sessions.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let DeleteThing { thing, children, revision } = request.read()?;
    let namespace = request.namespace.clone();
    let key: ThingKey = (namespace.clone(), thing.clone());
    let row = request.must_get::<ThingRow>(&key, "thing", &thing)?;
    revision::check(row.revision, revision)?;
    let mut plan = Plan::answer(json!({ "thing": thing }));
    detach(request, &mut plan, &thing, children)?;
    index::reindex(&mut plan.changes, &key, Some(&row), None);
    plan.is_due(&thing, [Some(&row), None]);
    for (group, _) in request.scan::<GroupRow>(&store::prefix(&namespace))? {
        plan.changes.delete::<GroupMemberRow>(&(namespace.clone(), group.1, thing.clone()));
    }
    let (credential_key, _) = credential_of(&namespace, &thing)?;
    plan.changes.delete::<Credential>(&credential_key);
    forget_certificates(&mut plan, &credential_key);
    plan.messages.push(cleared(&PlatformTopic::thing(&thing, ThingTopic::Status)));
    plan.messages.push(request.thing_event(&thing, "deleted"));
    plan.after.push(After::EndSessions(namespace, Identity::Thing(thing.clone())));
    plan.owner = Owner::RetiredDevice(thing);
    Ok(plan)
}

/// Takes a gateway away from the things behind it, if that is asked for.
fn detach(
    request: &Request<'_>,
    plan: &mut Plan,
    gateway: &ThingId,
    children: Option<Children>,
) -> Result<(), Refusal> {
    let view = View::new(request);
    let behind = view.behind(gateway, DETACHED_MAX + 1)?;
    if behind.is_empty() {
        return Ok(());
    }
    if children.is_none() {
        let message = format!("things are behind it, such as `{}`: children=detach", behind[0]);
        return Err(Refusal::new(RefusalCode::Invalid, message).at("children"));
    }
    if behind.len() > DETACHED_MAX {
        let message = format!("more than {DETACHED_MAX} things are behind it: move some first");
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("children"));
    }
    let mut detached = Vec::new();
    for thing in behind {
        let Some(before) = view.thing(&thing)? else { continue };
        let mut row = ThingRow { parent: None, ..before.clone() };
        row.updated = request.now();
        row.revision += 1;
        plan.put_thing(&view.key(&thing), Some(&before), &row);
        plan.messages.push(request.thing_event(&thing, "updated"));
        detached.push((thing, row));
    }
    plan.after.push(After::Registered(detached));
    Ok(())
}
