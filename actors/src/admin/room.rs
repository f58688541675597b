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
    let Some(row) = request.get::<ProjectRow>(request.namespace)? else { return Ok(()) };
    let Some(quota) = counted.of(&row.quota) else { return Ok(()) };
    let rooms = &request.context.rooms.0;
    let key = (request.namespace.clone(), counted);
    let remembered = rooms.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
    let is_enough = |room: &Room| room.quota == quota && room.left >= more;
    let room = match remembered.filter(is_enough) {
        Some(room) => room,
        None => Room { quota, left: quota.saturating_sub(count::<R>(request, quota)?) },
    };
    let left = room.left.checked_sub(more);
    let kept = Room { left: left.unwrap_or(room.left), ..room };
    rooms.lock().unwrap_or_else(PoisonError::into_inner).insert(key, kept);
    if left.is_some() {
        return Ok(());
    }
    let name = counted.name();
    let message = format!("the project has room for {} more of its {quota} {name}", room.left);
    Err(Refusal::new(RefusalCode::QuotaExceeded, message).at(format!("quota.{name}")))
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
