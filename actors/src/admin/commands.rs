//! `admin/commands/…`: commands to one thing or to many, where they stand, and their end.

use super::groups;
use super::list::list as list_rows;
use super::plan::{After, Owner, Plan, Request};
use super::table::{ADMIN, Operation, READER, Resource};
use crate::device::Order;
use crate::device::command::broadcast::{BroadcastKey, BroadcastRow, MemberRow};
use crate::device::command::document::{self, Invocation, TIMEOUT_MS_DEFAULT};
use crate::device::command::row::{CommandKey, Ended, Final, Open};
use crate::device::row::{ThingKey, ThingRow};
use proto::admin::ListRequest;
use proto::id::GroupId;
use proto::{CommandId, CommandName, Refusal, RefusalCode, ThingId, TimestampMs};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashSet};
use store::Row;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "commands",
    is: "what devices are asked to do, and how it ended",
    operations: &[
        Operation::changes::<OneCommand>(
            "cancel",
            ADMIN,
            "takes a command or a broadcast back, as far as it has not ended",
            cancel,
        ),
        Operation::changes::<CreateCommand>(
            "create",
            ADMIN,
            "asks one thing for a command, or many in a broadcast",
            create,
        ),
        Operation::reads::<GetCommand>(
            "get",
            READER,
            "shows a command, or a broadcast with its members",
            get,
        ),
        Operation::reads::<ListCommands>("list", READER, "lists commands, or broadcasts", list),
    ],
};

/// The most things of one broadcast.
const MEMBERS_MAX: usize = 10_000;

/// The broadcasts of a namespace that are kept. The oldest that is over makes room for a new one.
const BROADCASTS_MAX: usize = 100;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateCommand {
    /// The one thing that it is for.
    #[serde(default)]
    thing: Option<ThingId>,
    /// Or the things of a broadcast, at most 10000.
    #[serde(default)]
    things: Option<Vec<ThingId>>,
    /// Or the things that are in this group now, at most 10000.
    #[serde(default)]
    group: Option<GroupId>,
    name: CommandName,
    /// Absent: one is made. The same id again does nothing.
    #[serde(default)]
    id: Option<CommandId>,
    /// What the device gets.
    #[serde(default)]
    input: Json,
    /// How long it may take, in milliseconds, up to seven days; absent: 30 seconds.
    #[serde(default)]
    timeout_ms: Option<u64>,
    /// Whether it waits for a device that does not listen now; absent: it does.
    #[serde(default)]
    queue: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneCommand {
    /// Absent: the broadcast of that id.
    #[serde(default)]
    thing: Option<ThingId>,
    id: CommandId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetCommand {
    /// Absent: the broadcast of that id.
    #[serde(default)]
    thing: Option<ThingId>,
    id: CommandId,
    /// Of the things of a broadcast, only those whose names contain this.
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListCommands {
    /// Only those of one thing.
    #[serde(default)]
    thing: Option<ThingId>,
    /// Only those that stand so.
    #[serde(default)]
    state: Option<State>,
    /// Broadcasts instead of commands.
    #[serde(default)]
    broadcasts: bool,
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The device has not listened yet.
    Queued,
    /// The device has it.
    Sent,
    #[serde(untagged)]
    Ended(Final),
}

/// Asks for a command. Answers when it is kept; how it ends is told on the result topic, or by `get`.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let mut asked: CreateCommand = request.read()?;
    let timeout_ms = asked.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
    document::check_timeout(&timeout_ms.into())?;
    document::check_input(&asked.input, request.context.settings.command_bytes_max)?;
    let id = match asked.id.take() {
        Some(id) => id,
        None => made_id(request)?,
    };
    let deadline = TimestampMs(request.now().0 + timeout_ms);
    match (asked.thing.take(), asked.things.take(), asked.group.take()) {
        (Some(thing), None, None) => create_one(request, thing, (id, deadline), asked),
        (None, Some(things), None) => {
            create_broadcast(request, Members::Listed(things), (id, deadline), asked)
        }
        (None, None, Some(group)) => {
            create_broadcast(request, Members::Of(group), (id, deadline), asked)
        }
        _ => {
            let message = "either `thing`, `things` or `group` has to be there";
            Err(Refusal::new(RefusalCode::BadRequest, message).at("thing"))
        }
    }
}

fn create_one(
    request: &Request<'_>,
    thing: ThingId,
    (id, deadline): (CommandId, TimestampMs),
    asked: CreateCommand,
) -> Result<Plan, Refusal> {
    let key: ThingKey = (request.namespace.clone(), thing.clone());
    request.must_get::<ThingRow>(&key, "thing", &thing).map_err(|it| it.at("thing"))?;
    let CreateCommand { name, input, queue, .. } = asked;
    let mut plan =
        Plan::answer(json!({ "thing": thing, "id": id, "name": name, "deadline": deadline }));
    let queue = queue.unwrap_or(true);
    let invocation = Invocation { id, input, timeout_ms: 0, queue, progress: false };
    let by = by(request);
    let order = Order::Invoke { name, invocation, deadline, by, is_broadcast: false };
    plan.owner = Owner::Command(thing, Box::new(order));
    Ok(plan)
}

/// Whom a broadcast is for.
enum Members {
    Listed(Vec<ThingId>),
    Of(GroupId),
}

fn create_broadcast(
    request: &Request<'_>,
    members: Members,
    (id, deadline): (CommandId, TimestampMs),
    asked: CreateCommand,
) -> Result<Plan, Refusal> {
    let CreateCommand { name, input, queue, .. } = asked;
    let key: BroadcastKey = (request.namespace.clone(), id.clone());
    if let Some(known) = request.get::<BroadcastRow>(&key)? {
        if known.name == name {
            return Ok(Plan::answer(show_broadcast(&id, &known)));
        }
        return Err(Refusal::already_exists("broadcast", &id).at("id"));
    }
    let things = match members {
        Members::Listed(things) => {
            check_members(request, &things)?;
            things
        }
        Members::Of(group) => match groups::everybody(request, group, MEMBERS_MAX)? {
            things if things.is_empty() => {
                let message = "nobody is in the group";
                return Err(Refusal::new(RefusalCode::Invalid, message).at("group"));
            }
            things => things,
        },
    };
    let row = BroadcastRow {
        name,
        input,
        queue: queue.unwrap_or(true),
        by: by(request),
        asked: request.now(),
        deadline,
        members: things.len() as u64,
        is_cancelled: false,
        is_over: false,
    };
    let mut plan = Plan::answer(show_broadcast(&id, &row));
    make_room(request, &mut plan)?;
    plan.changes.put::<BroadcastRow>(&key, &row);
    for thing in things {
        let member = (request.namespace.clone(), id.clone(), thing.clone());
        plan.changes.put::<MemberRow>(&member, &MemberRow::default());
    }
    plan.after.push(After::Broadcast(id));
    Ok(plan)
}

fn check_members(request: &Request<'_>, things: &[ThingId]) -> Result<(), Refusal> {
    if things.is_empty() || things.len() > MEMBERS_MAX {
        let message = format!("{} things, at least 1 and at most {MEMBERS_MAX}", things.len());
        return Err(Refusal::new(RefusalCode::Invalid, message).at("things"));
    }
    let mut seen = HashSet::new();
    for (place, thing) in things.iter().enumerate() {
        let at = |refusal: Refusal| refusal.at(format!("things[{place}]"));
        if !seen.insert(thing) {
            let message = format!("`{thing}` is there twice");
            return Err(at(Refusal::new(RefusalCode::Invalid, message)));
        }
        let key: ThingKey = (request.namespace.clone(), thing.clone());
        request.must_get::<ThingRow>(&key, "thing", thing).map_err(at)?;
    }
    Ok(())
}

/// Removes the oldest broadcast that is over, if there are too many.
fn make_room(request: &Request<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    let prefix = store::prefix(request.namespace);
    let kept = request.scan::<BroadcastRow>(&prefix)?;
    if kept.len() < BROADCASTS_MAX {
        return Ok(());
    }
    let over = kept.iter().filter(|(_, row)| row.deadline < request.now());
    let Some((key, _)) = over.min_by_key(|(_, row)| row.asked) else {
        let message = format!("{} broadcasts are not over yet", kept.len());
        return Err(Refusal::new(RefusalCode::TooManyRequests, message));
    };
    plan.changes.delete::<BroadcastRow>(key);
    plan.changes.delete_prefix::<MemberRow>(&store::prefix(key));
    Ok(())
}

/// Takes a command back. What a device has of it already, it may do all the same.
fn cancel(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneCommand { thing, id } = request.read()?;
    if let Some(thing) = thing {
        let key: ThingKey = (request.namespace.clone(), thing.clone());
        request.must_get::<ThingRow>(&key, "thing", &thing).map_err(|it| it.at("thing"))?;
        let mut plan = Plan::answer(json!({ "thing": thing, "id": id }));
        plan.owner = Owner::Command(thing, Box::new(Order::Cancel { id, is_broadcast: false }));
        return Ok(plan);
    }
    let key: BroadcastKey = (request.namespace.clone(), id.clone());
    let mut row =
        request.must_get::<BroadcastRow>(&key, "broadcast", &id).map_err(|it| it.at("id"))?;
    if row.deadline <= request.now() {
        let message = format!("the broadcast `{id}` has ended");
        return Err(Refusal::new(RefusalCode::Invalid, message).at("id"));
    }
    row.is_cancelled = true;
    let mut plan = Plan::answer(show_broadcast(&id, &row));
    plan.changes.put::<BroadcastRow>(&key, &row);
    plan.after.push(After::Broadcast(id));
    Ok(plan)
}

/// Shows a command, or a broadcast: how many members stand where, and a page of them.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let GetCommand { thing, id, filter, limit, cursor } = request.read()?;
    if let Some(thing) = thing {
        let shown = command(request, &(request.namespace.clone(), thing, id.clone()))?;
        let shown = shown.ok_or_else(|| Refusal::not_found("command", &id).at("id"))?;
        return Ok(Plan::answer(shown));
    }
    let key: BroadcastKey = (request.namespace.clone(), id.clone());
    let row = request.must_get::<BroadcastRow>(&key, "broadcast", &id).map_err(|it| it.at("id"))?;
    let prefix = store::prefix(&key);
    let mut progress: BTreeMap<String, u64> = BTreeMap::new();
    for ((_, _, thing), member) in request.scan::<MemberRow>(&prefix)? {
        let state = member_state(request, &id, &thing, &member)?;
        *progress.entry(state["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let key_of = |name: &str| {
        let thing = ThingId::parse(name).map_err(invalid)?;
        Ok((request.namespace.clone(), id.clone(), thing))
    };
    let item = |(_, _, thing): &(_, _, ThingId), member: MemberRow| {
        Some((thing.to_string(), member_state(request, &id, thing, &member).ok()?))
    };
    let asked = ListRequest { filter, limit, cursor };
    let members = list_rows::<MemberRow>(request, &asked, &prefix, key_of, item)?;
    let mut shown = show_broadcast(&id, &row);
    shown["progress"] = json!(progress);
    shown["results"] = members;
    Ok(Plan::answer(shown))
}

/// Lists commands, those that have yet to end first, or broadcasts.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ListCommands { thing, state, broadcasts, filter, limit, cursor } = request.read()?;
    let mut asked = ListRequest { filter, limit, cursor };
    if broadcasts {
        return list_broadcasts(request, &asked);
    }
    let is_over = match (&asked.cursor, state) {
        (Some(cursor), _) => cursor.starts_with(OVER),
        (None, state) => matches!(state, Some(State::Ended(_))),
    };
    let stripped = |cursor: String| cursor.strip_prefix(OVER).map(str::to_owned).unwrap_or(cursor);
    asked.cursor = asked.cursor.map(stripped).filter(|cursor| !cursor.is_empty());
    if is_over {
        let wanted = |row: &Ended| state.is_none_or(|state| state == State::Ended(row.status));
        let show =
            |key: &CommandKey, row: Ended| wanted(&row).then(|| show_ended(&key.1, &key.2, &row));
        let mut page = list_of::<Ended>(request, &asked, thing.as_ref(), show)?;
        if let Some(next) = page["next_cursor"].as_str() {
            page["next_cursor"] = format!("{OVER}{next}").into();
        }
        return Ok(Plan::answer(page));
    }
    let wanted = |row: &Open| state.is_none_or(|state| state == state_of(row));
    let show = |key: &CommandKey, row: Open| wanted(&row).then(|| show_open(&key.1, &key.2, &row));
    let mut page = list_of::<Open>(request, &asked, thing.as_ref(), show)?;
    if page["next_cursor"].is_null() && state.is_none() {
        page["next_cursor"] = OVER.into();
    }
    Ok(Plan::answer(page))
}

/// What the cursor begins with once the list has come to commands that have ended.
const OVER: &str = "ended/";

fn list_of<R: Row<Key = CommandKey>>(
    request: &Request<'_>,
    asked: &ListRequest,
    thing: Option<&ThingId>,
    show: impl Fn(&CommandKey, R) -> Option<Json>,
) -> Result<Json, Refusal> {
    let prefix = match thing {
        None => store::prefix(request.namespace),
        Some(thing) => store::prefix(&(request.namespace.clone(), thing.clone())),
    };
    let key_of = |name: &str| {
        let parts = name.split_once('/');
        let (thing, id) = parts.ok_or_else(|| invalid("not the cursor of a list of commands"))?;
        let thing = ThingId::parse(thing).map_err(invalid)?;
        Ok((request.namespace.clone(), thing, CommandId::parse(id).map_err(invalid)?))
    };
    let item = |key: &CommandKey, row: R| {
        show(key, row).map(|json| ([key.1.as_str(), key.2.as_str()].join("/"), json))
    };
    list_rows::<R>(request, asked, &prefix, key_of, item)
}

fn list_broadcasts(request: &Request<'_>, asked: &ListRequest) -> Result<Plan, Refusal> {
    let key_of = |name: &str| {
        let id = CommandId::parse(name).map_err(invalid)?;
        Ok((request.namespace.clone(), id))
    };
    let item = |(_, id): &BroadcastKey, row: BroadcastRow| {
        Some((id.to_string(), show_broadcast(id, &row)))
    };
    let prefix = store::prefix(request.namespace);
    Ok(Plan::answer(list_rows::<BroadcastRow>(request, asked, &prefix, key_of, item)?))
}

/// A command that is open, or has ended and is remembered.
fn command(request: &Request<'_>, key: &CommandKey) -> Result<Option<Json>, Refusal> {
    let (_, thing, id) = key;
    if let Some(open) = request.get::<Open>(key)? {
        return Ok(Some(show_open(thing, id, &open)));
    }
    Ok(request.get::<Ended>(key)?.map(|ended| show_ended(thing, id, &ended)))
}

fn member_state(
    request: &Request<'_>,
    id: &CommandId,
    thing: &ThingId,
    member: &MemberRow,
) -> Result<Json, Refusal> {
    if let Some(ended) = &member.ended {
        return Ok(show_ended(thing, id, ended));
    }
    let key: CommandKey = (request.namespace.clone(), thing.clone(), id.clone());
    let open = request.get::<Open>(&key)?;
    // Until its device has heard of it, the command of a member waits.
    let waiting = || json!({ "thing": thing, "id": id, "state": "queued" });
    Ok(open.map_or_else(waiting, |open| show_open(thing, id, &open)))
}

fn state_of(open: &Open) -> State {
    if open.sent.is_some() { State::Sent } else { State::Queued }
}

fn show_open(thing: &ThingId, id: &CommandId, open: &Open) -> Json {
    json!({
        "thing": thing,
        "id": id,
        "name": open.name,
        "state": if open.sent.is_some() { "sent" } else { "queued" },
        "by": open.by,
        "asked": open.asked,
        "sent": open.sent,
        "deadline": open.deadline,
    })
}

fn show_ended(thing: &ThingId, id: &CommandId, ended: &Ended) -> Json {
    json!({
        "thing": thing,
        "id": id,
        "name": ended.name,
        "state": ended.status,
        "output": ended.output,
        "error": ended.error,
        "by": ended.by,
        "asked": ended.asked,
        "sent": ended.sent,
        "ended": ended.ended,
    })
}

fn show_broadcast(id: &CommandId, row: &BroadcastRow) -> Json {
    json!({
        "id": id,
        "name": row.name,
        "by": row.by,
        "asked": row.asked,
        "deadline": row.deadline,
        "things": row.members,
        "cancelled": row.is_cancelled,
    })
}

fn by(request: &Request<'_>) -> String {
    format!("{} {}", request.caller.role, request.caller.name)
}

fn made_id(request: &Request<'_>) -> Result<CommandId, Refusal> {
    CommandId::parse(&format!("{:016x}", request.context.random())).map_err(Refusal::internal)
}

fn invalid(reason: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::Invalid, reason.to_string())
}
