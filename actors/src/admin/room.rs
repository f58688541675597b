//! Whether there is room for more rows of a kind in a project, by its quota.
//!
//! Counting is a walk over the rows. So that not each new row costs one, what was left at the last count is remembered
//! and used up first: rows that have been deleted since only make it too careful, and are found by the next count.

use super::plan::{Request, unreadable};
use crate::cluster::{ProjectRow, Quota};
use proto::{Namespace, Refusal, RefusalCode};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use store::Row;

/// Rows looked at in one step of a count.
const PAGE_ROWS: usize = 1000;

/// Rows that a quota bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    Things,
    Tags,
}

/// What was left at the last counts; one entry for each project with such a quota.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<HashMap<(Namespace, Counted), Room>>);

#[derive(Debug, Clone, Copy)]
struct Room {
    /// Of which quota it is what was left.
    quota: u64,
    left: u64,
}

impl Counted {
    fn name(self) -> &'static str {
        match self {
            Self::Things => "things",
            Self::Tags => "tags",
        }
    }

    fn of(self, quota: &Quota) -> Option<u64> {
        match self {
            Self::Things => quota.things,
            Self::Tags => quota.tags,
        }
    }
}

/// Takes room for `more` rows, or refuses with the field of the quota that is full. Rows that are not kept after all
/// are found again by the next count.
pub(super) fn take<R: Row>(
    request: &Request<'_>,
    counted: Counted,
    more: u64,
) -> Result<(), Refusal> {
    let Some(mut room) = find::<R>(request, counted, more)? else { return Ok(()) };
    let left = room.left.checked_sub(more);
    room.left = left.unwrap_or(room.left);
    request.context.rooms.remember(request.namespace, counted, room);
    match left {
        Some(_) => Ok(()),
        None => Err(full(counted, room)),
    }
}

/// Takes room for as many of `wanted` rows as there is room for, and says how many.
pub(super) fn take_some<R: Row>(
    request: &Request<'_>,
    counted: Counted,
    wanted: u64,
) -> Result<u64, Refusal> {
    let Some(mut room) = find::<R>(request, counted, wanted)? else { return Ok(wanted) };
    let taken = wanted.min(room.left);
    room.left -= taken;
    request.context.rooms.remember(request.namespace, counted, room);
    Ok(taken)
}

/// The refusal of a row for which [`take_some`] found no room.
pub(super) fn no_room(counted: Counted) -> Refusal {
    let name = counted.name();
    let message = format!("the project has no room for more {name}");
    Refusal::new(RefusalCode::QuotaExceeded, message).at(format!("quota.{name}"))
}

fn full(counted: Counted, Room { quota, left }: Room) -> Refusal {
    let name = counted.name();
    let message = format!("the project has room for {left} more of its {quota} {name}");
    Refusal::new(RefusalCode::QuotaExceeded, message).at(format!("quota.{name}"))
}

/// What is left, as it is remembered if that is enough, else by a count; `None` if there is no quota.
fn find<R: Row>(
    request: &Request<'_>,
    counted: Counted,
    more: u64,
) -> Result<Option<Room>, Refusal> {
    let Some(row) = request.get::<ProjectRow>(request.namespace)? else { return Ok(None) };
    let Some(quota) = counted.of(&row.quota) else { return Ok(None) };
    let is_enough = |room: &Room| room.quota == quota && room.left >= more;
    match request.context.rooms.recall(request.namespace, counted).filter(is_enough) {
        Some(room) => Ok(Some(room)),
        None => {
            let left = quota.saturating_sub(count::<R>(request, quota)?);
            Ok(Some(Room { quota, left }))
        }
    }
}

impl Rooms {
    fn recall(&self, namespace: &Namespace, counted: Counted) -> Option<Room> {
        let rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.get(&(namespace.clone(), counted)).copied()
    }

    fn remember(&self, namespace: &Namespace, counted: Counted, room: Room) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.insert((namespace.clone(), counted), room);
    }
}

/// How many rows the namespace has, counted up to `max`.
fn count<R: Row>(request: &Request<'_>, max: u64) -> Result<u64, Refusal> {
    let prefix = store::prefix(request.namespace);
    let (mut after, mut count) = (None::<R::Key>, 0_u64);
    while count < max {
        let page = request.snapshot.page::<R>(&prefix, after.as_ref(), PAGE_ROWS);
        let page = page.map_err(|error| unreadable(&error))?;
        let is_last = page.len() < PAGE_ROWS;
        count += page.len() as u64;
        after = page.into_iter().rev().find_map(Result::ok).map(|(key, _)| key);
        // A page in which nothing can be read gives no place to go on from.
        if is_last || after.is_none() {
            break;
        }
    }
    Ok(count)
}
