//! `things export`: things as a table that can be imported, page by page. Secrets are not in it: nobody has them.

use super::parse_cursor;
use super::query::ThingQuery;
use super::search::search;
use super::table::Writer;
use crate::admin::list::limited;
use crate::admin::plan::{Plan, Request};
use crate::admin::table::{Operation, READER};
use crate::admin::tabular::Format;
use proto::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub(super) const OPERATION: Operation = Operation::reads::<ExportThings>(
    "export",
    READER,
    "gives things as a table, CSV or JSON Lines",
    export,
);

/// The bytes after which a page ends: attributes can be long.
const TEXT_BYTES_MAX: usize = 512 * 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportThings {
    format: Format,
    /// Only things for which all of this holds.
    #[serde(default)]
    query: Option<ThingQuery>,
    /// At most so many, 1 to 1000; absent: 100.
    #[serde(default)]
    limit: Option<usize>,
    /// Where the page before ended; a page that has one has no header.
    #[serde(default)]
    cursor: Option<String>,
}

/// Gives things as a table; the pages put together are one.
fn export(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ExportThings { format, query, limit, cursor } = request.read()?;
    let after = parse_cursor(cursor)?;
    let mut writer = Writer::new(format, after.is_none());
    let found = search(request, &query.unwrap_or_default(), after, limited(limit))?;
    let (mut rows, mut next) = (0, found.next);
    for (thing, row) in &found.things {
        writer.row(thing, row);
        rows += 1;
        if writer.bytes() >= TEXT_BYTES_MAX && rows < found.things.len() {
            next = Some(thing.clone());
            break;
        }
    }
    Ok(Plan::answer(json!({ "text": writer.into_text(), "rows": rows, "next_cursor": next })))
}
