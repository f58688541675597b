//! Searching things, page by page: by an index where the query names one, else by the names.
//!
//! A page looks at so many things at most; one that found less than it was asked for has a cursor all the same, and
//! the next page goes on from there. A cursor is the name of a thing, so it stays good whatever comes and goes.

use super::query::ThingQuery;
use crate::admin::plan::{Request, unreadable};
use crate::device::life::{ThingState, state_of};
use crate::device::row::{DeviceRow, ThingRow};
use crate::edges::hotline::is_online;
use crate::registry::row::{AtEdge, ByParent, BySerial, ByTag, GroupMemberRow};
use broker::GENERATIONS_MAX;
use proto::id::{GroupId, Label};
use proto::{EdgeId, Refusal, ThingId};
use store::{ReadError, Row};

/// Things looked at for one page, so that a query that fits few cannot hold the store's reader for long.
const LOOKED_AT_MAX: usize = 20_000;

/// Things read at once.
const BATCH: usize = 500;

/// Where to look.
pub(in crate::admin) enum Source<'a> {
    /// Under a serial number.
    Serial(&'a str),
    /// Under a tag.
    Tag(&'a Label),
    /// Behind a gateway.
    Parent(&'a ThingId),
    /// At an edge node.
    Edge(&'a EdgeId),
    /// Among the members of a group.
    Group(&'a GroupId),
    /// Among the names that begin so.
    Names(&'a str),
}

/// What was found.
pub(in crate::admin) struct Found {
    pub(in crate::admin) things: Vec<(ThingId, ThingRow)>,
    /// Where to go on, if there may be more.
    pub(in crate::admin) next: Option<ThingId>,
}

/// The things of a query after a name.
pub(in crate::admin) fn search(
    request: &Request<'_>,
    query: &ThingQuery,
    after: Option<ThingId>,
    limit: usize,
) -> Result<Found, Refusal> {
    query.check()?;
    let source = match query {
        ThingQuery { serial: Some(serial), .. } => Source::Serial(serial),
        ThingQuery { parent: Some(parent), .. } => Source::Parent(parent),
        query => match query.all_tags().next() {
            Some(tag) => Source::Tag(tag),
            None => match &query.edge {
                Some(edge) => Source::Edge(edge),
                None => Source::Names(query.name_prefix.as_deref().unwrap_or_default()),
            },
        },
    };
    search_in(request, &source, query, after, limit)
}

/// The same among the things of a source.
pub(in crate::admin) fn search_in(
    request: &Request<'_>,
    source: &Source<'_>,
    query: &ThingQuery,
    mut after: Option<ThingId>,
    limit: usize,
) -> Result<Found, Refusal> {
    let mut things = Vec::new();
    let mut looked_at = 0;
    loop {
        let (names, count) = names(request, source, after.as_ref())?;
        // Without a step forward the rest cannot be named, and not be gone through.
        let is_last = count < BATCH || names.is_empty();
        looked_at += count;
        for thing in names {
            after = Some(thing.clone());
            let key = (request.namespace.clone(), thing.clone());
            let Some(row) = request.get::<ThingRow>(&key)? else { continue };
            let has_state = |state| state_in(request, &thing, &row) == state;
            if query.fits(request.namespace, &thing, &row) && query.state.is_none_or(has_state) {
                things.push((thing, row));
                if things.len() == limit {
                    return Ok(Found { things, next: after });
                }
            }
        }
        if is_last {
            return Ok(Found { things, next: None });
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok(Found { things, next: after });
        }
    }
}

/// The next names of a source, and how many rows they were read from.
fn names(
    request: &Request<'_>,
    source: &Source<'_>,
    after: Option<&ThingId>,
) -> Result<(Vec<ThingId>, usize), Refusal> {
    let namespace = || request.namespace.clone();
    match source {
        Source::Serial(serial) => {
            let found = request.get::<BySerial>(&(namespace(), (*serial).to_owned()))?;
            let found = found.map(|row| row.0).filter(|it| after.is_none_or(|after| it > after));
            Ok((found.into_iter().collect(), 1))
        }
        Source::Tag(tag) => {
            let prefix = store::prefix(&(namespace(), (*tag).clone()));
            let after = after.map(|it| (namespace(), (*tag).clone(), it.clone()));
            page::<ByTag>(request, &prefix, after.as_ref(), |key| key.2)
        }
        Source::Parent(parent) => {
            let prefix = store::prefix(&(namespace(), (*parent).clone()));
            let after = after.map(|it| (namespace(), (*parent).clone(), it.clone()));
            page::<ByParent>(request, &prefix, after.as_ref(), |key| key.2)
        }
        Source::Edge(edge) => {
            let prefix = store::prefix(&(namespace(), (*edge).clone()));
            let after = after.map(|it| (namespace(), (*edge).clone(), it.clone()));
            page::<AtEdge>(request, &prefix, after.as_ref(), |key| key.2)
        }
        Source::Group(group) => {
            let prefix = store::prefix(&(namespace(), (*group).clone()));
            let after = after.map(|it| (namespace(), (*group).clone(), it.clone()));
            page::<GroupMemberRow>(request, &prefix, after.as_ref(), |key| key.2)
        }
        Source::Names(prefix) => {
            // Names are in the key as they are, so the beginning of one is a prefix of its key.
            let prefix = [store::prefix(request.namespace).as_slice(), prefix.as_bytes()].concat();
            let after = after.map(|it| (namespace(), it.clone()));
            page::<ThingRow>(request, &prefix, after.as_ref(), |key| key.1)
        }
    }
}

fn page<R: Row>(
    request: &Request<'_>,
    prefix: &[u8],
    after: Option<&R::Key>,
    name: impl Fn(R::Key) -> ThingId,
) -> Result<(Vec<ThingId>, usize), Refusal> {
    let rows = request.snapshot.page::<R>(prefix, after, BATCH);
    let rows = rows.map_err(|error| unreadable(&error))?;
    let count = rows.len();
    let named = |row: Result<(R::Key, R), ReadError>| match row {
        Ok((key, _)) => Some(name(key)),
        Err(error) => {
            tracing::error!(%error, "a row cannot be read and is not found");
            None
        }
    };
    Ok((rows.into_iter().filter_map(named).collect(), count))
}

/// The state of a thing.
pub(in crate::admin) fn state_in(
    request: &Request<'_>,
    thing: &ThingId,
    row: &ThingRow,
) -> ThingState {
    // What cannot be read is not known.
    let device = |thing: &ThingId| {
        let key = (request.namespace.clone(), thing.clone());
        request.snapshot.get::<DeviceRow>(&key).ok().flatten()
    };
    let registered = |thing: &ThingId| {
        let key = (request.namespace.clone(), thing.clone());
        request.snapshot.get::<ThingRow>(&key).ok().flatten()
    };
    let above = std::iter::successors(row.parent.clone(), |it| registered(it)?.parent);
    let gateways = above.take(GENERATIONS_MAX).filter_map(|it| device(&it));
    let is_edge_online = || row.edge.as_ref().is_some_and(|it| is_online(request.client, it));
    state_of(row, device(thing).as_ref(), gateways, is_edge_online)
}
