//! Lists: filter, limit and cursor over the rows of a table, page by page.

use super::cursor;
use super::plan::{Plan, Request, unreadable};
use proto::Refusal;
use proto::admin::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, ListRequest, Page};
use serde_json::Value as Json;
use store::Row;

/// Rows looked at for one page, so that a filter that matches little cannot hold the store's reader
/// for long.
const LOOKED_AT_MAX: usize = 20_000;

/// One row of a list: its name, which is what the filter and the cursor mean, and how it is shown.
pub(super) type Item = (String, Json);

/// One page of the rows below `prefix`. `key_of` makes the key of a cursor; `show` leaves a row out
/// with `None`.
pub(super) fn list<R: Row>(
    request: &Request<'_>,
    asked: &ListRequest,
    prefix: &[u8],
    key_of: impl Fn(&str) -> Result<R::Key, Refusal>,
    show: impl Fn(&R::Key, R) -> Option<Item>,
) -> Result<Json, Refusal> {
    let limit = asked.limit();
    let mut items = Vec::new();
    let mut cursor = asked.cursor.clone();
    let mut looked_at = 0;
    loop {
        let after = cursor.as_deref().map(&key_of).transpose();
        let after = after.map_err(|refusal| refusal.at("cursor"))?;
        let page = request.snapshot.page::<R>(prefix, after.as_ref(), limit);
        let page = page.map_err(|error| unreadable(&error))?;
        let is_last = page.len() < limit;
        looked_at += page.len();
        let before = cursor.clone();
        for row in page {
            match row {
                Ok((key, row)) => {
                    let Some((name, json)) = show(&key, row) else { continue };
                    let is_wanted = matches(asked, &name);
                    cursor = Some(name);
                    if is_wanted {
                        items.push(json);
                    }
                    if items.len() == limit {
                        return Ok(page_of(items, cursor));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "a row cannot be read and is not listed");
                    items.push(serde_json::json!({ "unreadable": error.to_string() }));
                }
            }
        }
        // Without a step forward the rest of the rows cannot be named, and not be gone through.
        if is_last || cursor == before {
            return Ok(page_of(items, None));
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok(page_of(items, cursor));
        }
    }
}

/// One page of a list that is short enough to be made as a whole. Its cursor is of `resource`.
pub(super) fn page_of_all(
    resource: &str,
    asked: &ListRequest,
    mut all: Vec<Item>,
) -> Result<Plan, Refusal> {
    let after =
        cursor::place(resource, asked.cursor.as_deref(), |text| Ok::<_, ()>(text.to_owned()))?;
    all.retain(|(name, _)| after.as_ref().is_none_or(|after| name > after) && matches(asked, name));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let limit = limited(asked.limit);
    let next_cursor = match all.get(limit) {
        Some(_) => all.get(limit - 1).map(|(name, _)| cursor::after(resource, name)),
        None => None,
    };
    let items = all.into_iter().take(limit).map(|(_, shown)| shown).collect();
    Ok(Plan::answer(page_of(items, next_cursor)))
}

/// The rows that a request gets at most.
pub(super) fn limited(limit: Option<usize>) -> usize {
    limit.unwrap_or(LIST_LIMIT_DEFAULT).clamp(1, LIST_LIMIT_MAX)
}

fn matches(asked: &ListRequest, name: &str) -> bool {
    asked.filter.as_deref().is_none_or(|filter| name.contains(filter))
}

fn page_of(items: Vec<Json>, next_cursor: Option<String>) -> Json {
    // Made of JSON values and a text: there is no way to fail.
    serde_json::to_value(Page { items, next_cursor }).unwrap_or_default()
}
