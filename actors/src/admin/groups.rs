//! `admin/groups/…`: groups of things. A static group has the things that were added to it, a dynamic one those that
//! fit its query when it is asked.

use super::list::{limited, list as list_rows};
use super::plan::{Plan, Request};
use super::revision;
use super::table::{ADMIN, Operation, READER, Resource};
use super::things::{Found, Source, ThingQuery, parse_cursor, search, search_in, show_found};
use crate::device::row::ThingRow;
use crate::registry::row::{GroupKey, GroupMemberRow, GroupRow};
use proto::admin::ListRequest;
use proto::id::GroupId;
use proto::{Refusal, RefusalCode, ThingId};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};
use store::Changes;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "groups",
    is: "groups of things, by hand or by a query",
    operations: &[
        Operation::changes::<Members>("add", ADMIN, "adds things to a static group", add),
        Operation::changes::<CreateGroup>(
            "create",
            ADMIN,
            "creates a group: dynamic with a query, else static",
            create,
        ),
        Operation::changes::<DeleteGroup>(
            "delete",
            ADMIN,
            "deletes a group; its things stay",
            delete,
        ),
        Operation::reads::<OneGroup>("get", READER, "shows a group", get),
        Operation::reads::<ListRequest>("list", READER, "lists groups", list),
        Operation::reads::<ListMembers>("members", READER, "lists the things of a group", members),
        Operation::changes::<Members>(
            "remove",
            ADMIN,
            "takes things out of a static group",
            remove,
        ),
        Operation::changes::<UpdateGroup>(
            "update",
            ADMIN,
            "changes the description of a group, or the query of a dynamic one",
            update,
        ),
    ],
};

/// The most groups of a namespace.
const GROUPS_MAX: usize = 1000;

/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 1024;

/// The most things that one request adds or takes out.
const AT_ONCE_MAX: usize = 1000;

/// How many pages of a query are looked at for the things of a group: a million things, if few of them fit.
const PAGES_MAX: usize = 60;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateGroup {
    group: GroupId,
    /// What it is for, at most 1024 bytes.
    #[serde(default)]
    description: Option<String>,
    /// Whom it has; absent: those that are added.
    #[serde(default)]
    query: Option<ThingQuery>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateGroup {
    group: GroupId,
    /// Absent: as it is. Null: none.
    #[serde(default, deserialize_with = "present")]
    description: Option<Option<String>>,
    /// Whom a dynamic group has.
    #[serde(default)]
    query: Option<ThingQuery>,
    /// Refuses the change if the group has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteGroup {
    group: GroupId,
    /// Refuses the deletion if the group has another one by now.
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneGroup {
    group: GroupId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Members {
    group: GroupId,
    /// At most 1000 at once.
    things: Vec<ThingId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListMembers {
    group: GroupId,
    /// At most so many, 1 to 1000; absent: 100.
    #[serde(default)]
    limit: Option<usize>,
    /// Where the page before ended.
    #[serde(default)]
    cursor: Option<String>,
}

/// Creates a group.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let CreateGroup { group, description, query } = request.read()?;
    let key = (request.namespace.clone(), group);
    if request.get::<GroupRow>(&key)?.is_some() {
        return Err(Refusal::already_exists("group", &key.1).at("group"));
    }
    if request.scan::<GroupRow>(&store::prefix(request.namespace))?.len() >= GROUPS_MAX {
        let message = format!("there are {GROUPS_MAX} groups already");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("group"));
    }
    let now = request.now();
    let row = GroupRow { description, query, created: now, updated: now, revision: 1 };
    check(&row)?;
    Ok(kept(&key, &row))
}

/// Changes the description of a group, or the query of a dynamic one.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let UpdateGroup { group, description, query, revision } = request.read()?;
    let (key, mut row) = find(request, group)?;
    revision::check(row.revision, revision)?;
    if let Some(description) = description {
        row.description = description;
    }
    if query.is_some() {
        must_be(&row, false)?;
        row.query = query;
    }
    row.updated = request.now();
    row.revision += 1;
    check(&row)?;
    Ok(kept(&key, &row))
}

/// Deletes a group; its things stay.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let DeleteGroup { group, revision } = request.read()?;
    let (key, row) = find(request, group)?;
    revision::check(row.revision, revision)?;
    let mut plan = Plan::answer(json!({ "group": key.1 }));
    plan.changes.delete::<GroupRow>(&key);
    plan.changes.delete_prefix::<GroupMemberRow>(&store::prefix(&key));
    Ok(plan)
}

/// Shows a group.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneGroup { group } = request.read()?;
    let (key, row) = find(request, group)?;
    Ok(Plan::answer(show(&key, &row)))
}

/// Lists groups.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let namespace = request.namespace.clone();
    let key_of = |name: &str| match GroupId::parse(name) {
        Ok(group) => Ok((namespace.clone(), group)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &GroupKey, row: GroupRow| Some((key.1.to_string(), show(key, &row)));
    let prefix = store::prefix(request.namespace);
    Ok(Plan::answer(list_rows::<GroupRow>(request, &asked, &prefix, key_of, item)?))
}

/// Lists the things of a group: those of a dynamic one as they are now.
fn members(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ListMembers { group, limit, cursor } = request.read()?;
    let (key, row) = find(request, group)?;
    let found = page(request, (&key, &row), parse_cursor(cursor)?, limited(limit))?;
    Ok(Plan::answer(show_found(request, found)))
}

fn page(
    request: &Request<'_>,
    (key, row): (&GroupKey, &GroupRow),
    after: Option<ThingId>,
    limit: usize,
) -> Result<Found, Refusal> {
    match &row.query {
        Some(query) => search(request, query, after, limit),
        None => search_in(request, &Source::Group(&key.1), &ThingQuery::default(), after, limit),
    }
}

/// The things of a group as it is now, if they are no more than `max`.
pub(super) fn everybody(
    request: &Request<'_>,
    group: GroupId,
    max: usize,
) -> Result<Vec<ThingId>, Refusal> {
    let (key, row) = find(request, group)?;
    let (mut things, mut after) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let found = page(request, (&key, &row), after, AT_ONCE_MAX)?;
        things.extend(found.things.into_iter().map(|(thing, _)| thing));
        if things.len() > max {
            let message = format!("the group has more than {max} things");
            return Err(Refusal::new(RefusalCode::TooLarge, message).at("group"));
        }
        match found.next {
            Some(next) => after = Some(next),
            None => return Ok(things),
        }
    }
    let message =
        "its query looks at too many things: name a tag, a gateway or a beginning of names";
    Err(Refusal::new(RefusalCode::TooLarge, message).at("group"))
}

/// Adds things to a static group, all or none.
fn add(request: &Request<'_>) -> Result<Plan, Refusal> {
    change_members(request, |changes, key, is_there| {
        if !is_there {
            changes.put(key, &GroupMemberRow);
        }
        !is_there
    })
}

/// Takes things out of a static group.
fn remove(request: &Request<'_>) -> Result<Plan, Refusal> {
    change_members(request, |changes, key, is_there| {
        changes.delete::<GroupMemberRow>(key);
        is_there
    })
}

/// Goes through the things of a request; `change` says whether there was something to change.
fn change_members(
    request: &Request<'_>,
    change: impl Fn(&mut Changes, &(proto::Namespace, GroupId, ThingId), bool) -> bool,
) -> Result<Plan, Refusal> {
    let Members { group, things } = request.read()?;
    let ((namespace, group), row) = find(request, group)?;
    must_be(&row, true)?;
    if things.len() > AT_ONCE_MAX {
        let message = format!("{} things, at most {AT_ONCE_MAX} at once", things.len());
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("things"));
    }
    let mut plan = Plan::default();
    let mut changed = std::collections::BTreeSet::new();
    for (index, thing) in things.into_iter().enumerate() {
        let at = |refusal: Refusal| refusal.at(format!("things[{index}]"));
        request
            .must_get::<ThingRow>(&(namespace.clone(), thing.clone()), "thing", &thing)
            .map_err(at)?;
        let key = (namespace.clone(), group.clone(), thing.clone());
        let is_there = request.get::<GroupMemberRow>(&key)?.is_some();
        if change(&mut plan.changes, &key, is_there) {
            changed.insert(thing);
        }
    }
    plan.data = json!({ "group": group, "changed": changed.len() });
    Ok(plan)
}

fn kept(key: &GroupKey, row: &GroupRow) -> Plan {
    let mut plan = Plan::answer(show(key, row));
    plan.changes.put::<GroupRow>(key, row);
    plan
}

fn find(request: &Request<'_>, group: GroupId) -> Result<(GroupKey, GroupRow), Refusal> {
    let key = (request.namespace.clone(), group);
    let row = request.must_get::<GroupRow>(&key, "group", &key.1);
    row.map_err(|refusal| refusal.at("group")).map(|row| (key, row))
}

fn check(row: &GroupRow) -> Result<(), Refusal> {
    let bytes = row.description.as_ref().map_or(0, String::len);
    if bytes > DESCRIPTION_BYTES_MAX {
        let message = format!("{bytes} bytes, at most {DESCRIPTION_BYTES_MAX}");
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("description"));
    }
    row.query.as_ref().map_or(Ok(()), ThingQuery::check)
}

fn must_be(row: &GroupRow, is_static: bool) -> Result<(), Refusal> {
    let message = match (row.query.is_none(), is_static) {
        (false, true) => "the things of a dynamic group are those of its query",
        (true, false) => "a static group has no query",
        _ => return Ok(()),
    };
    Err(Refusal::new(RefusalCode::Invalid, message).at("group"))
}

fn show((_, group): &GroupKey, row: &GroupRow) -> Json {
    json!({
        "group": group,
        "kind": if row.query.is_some() { "dynamic" } else { "static" },
        "description": row.description,
        "query": row.query,
        "created": row.created,
        "updated": row.updated,
        "revision": row.revision,
    })
}

/// Tells a field that is null from one that is absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}
