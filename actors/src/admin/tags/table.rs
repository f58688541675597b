//! `tags import` and `tags export`: the tags of a driver as a table.
//!
//! The rows of one request are one commit and one new start of the driver. A row that is refused changes nothing, and
//! the others count all the same. What a row does not name stays as it is, or is the default of a new tag.

use super::sheet::{self, Sheet};
use super::{Paths, changed, clear_value, has_moved, refused_one};
use crate::admin::drivers::{check, must_find, tags_of};
use crate::admin::list::limited;
use crate::admin::plan::{Owner, Plan, Request};
use crate::admin::room::{self, Counted};
use crate::admin::table::{ADMIN, Operation, READER};
use crate::admin::tabular::{Columns, Format, Record, Writer, value};
use crate::driver::row::{DriverKey, DriverRow, TagKey, TagRow};
use ::drivers::{ByteOrder, ConfigError, DriverConfig, TagConfig, TagKind};
use proto::uns::RAW_CONTRACT;
use proto::{DriverId, Expression, Refusal, RefusalCode, TagId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

pub(super) const EXPORT: Operation = Operation::reads::<ExportTags>(
    "export",
    READER,
    "gives the tags of a driver as a table, CSV or JSON Lines",
    export,
);

pub(super) const IMPORT: Operation = Operation::changes::<ImportTags>(
    "import",
    ADMIN,
    "creates and changes many tags of a driver, with a result for each row",
    import,
);

/// The columns, which are the fields of a tag.
const COLUMNS: [&str; 19] = [
    "tag",
    "kind",
    "address",
    "expression",
    "type",
    "path",
    "access",
    "unit",
    "poll_interval_ms",
    "scale",
    "offset",
    "precision",
    "byte_order",
    "deadband",
    "deadband_percent",
    "publish",
    "min_interval_ms",
    "max_interval_ms",
    "labels",
];

/// Those whose cells are numbers or JSON; all others are texts, also where they look like a number.
const VALUES: [&str; 9] = [
    "poll_interval_ms",
    "scale",
    "offset",
    "precision",
    "deadband",
    "deadband_percent",
    "min_interval_ms",
    "max_interval_ms",
    "labels",
];

const TABLE: Columns = Columns {
    name: "tag",
    is_known: |column| COLUMNS.contains(&column),
    known: "tag, kind, address, expression, type, path, access, unit, poll_interval_ms, scale, offset, precision, \
            byte_order, deadband, deadband_percent, publish, min_interval_ms, max_interval_ms, labels",
    object,
};

fn object(columns: &csv::StringRecord, cells: &csv::StringRecord) -> Json {
    let named = columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
    let read = |(column, cell): (&str, &str)| match VALUES.contains(&column) {
        true => (column.to_owned(), value(cell)),
        false => (column.to_owned(), cell.into()),
    };
    Json::Object(named.map(read).collect())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportTags {
    pub(super) driver: DriverId,
    pub(super) format: Sheet,
    /// The table, at most 1000 rows.
    pub(super) text: String,
    /// Where new tags without a `path` go: `<location>/_raw/<tag>`, or `<location>/_event/<tag>` if they are `events`;
    /// those of a group of Neuron go to `<location>/<group>/_raw/<name>`.
    #[serde(default)]
    pub(super) location: Option<String>,
    /// The order of the bytes of numbers of 32 and 64 bits whose row says none, in a tag sheet of Neuron.
    #[serde(default)]
    pub(super) byte_order: ByteOrder,
    /// Says what would become of each row, and changes nothing.
    #[serde(default)]
    pub(super) dry_run: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportTags {
    driver: DriverId,
    format: Format,
    /// At most so many, 1 to 1000; absent: 100.
    #[serde(default)]
    limit: Option<usize>,
    /// Where the page before ended; a page that has one has no header.
    #[serde(default)]
    cursor: Option<String>,
}

/// What has become of a row.
pub(super) enum Done {
    Created,
    Updated,
    Unchanged,
}

/// The rows of a table among the tags of a driver.
pub(super) struct Batch<'a> {
    request: &'a Request<'a>,
    driver: DriverId,
    row: DriverRow,
    location: Option<String>,
    is_foreign: bool,
    tags: BTreeMap<TagId, TagConfig>,
    /// Whose path is whose, with what was imported so far.
    paths: Paths,
    /// The tags of this import.
    seen: HashSet<TagId>,
    plan: Plan,
    room: u64,
}

/// Creates and changes many tags.
fn import(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ImportTags = request.read()?;
    let (driver, dry_run) = (asked.driver.clone(), asked.dry_run);
    let (batch, outcomes) = read_rows(request, asked)?;
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let changed_row = batch.row.clone().changed(request.now());
    let mut counts = [0_usize; 4];
    let mut rows = Vec::with_capacity(outcomes.len());
    for (row, name, outcome) in outcomes {
        let (count, result) = match &outcome {
            Ok(Done::Created) => (0, "created"),
            Ok(Done::Updated) => (1, "updated"),
            Ok(Done::Unchanged) => (2, "unchanged"),
            Err(_) => (3, "refused"),
        };
        counts[count] += 1;
        let mut shown = json!({ "row": row, "tag": name, "result": result });
        if let Err(refusal) = outcome {
            shown["error"] = json!(refusal);
        }
        rows.push(shown);
    }
    let [created, updated, unchanged, refused] = counts;
    let mut plan = match dry_run {
        true => Plan::default(),
        false => batch.plan,
    };
    plan.data = json!({
        "driver": driver, "dry_run": dry_run, "created": created, "updated": updated,
        "unchanged": unchanged, "refused": refused, "rows": Json::Array(rows),
    });
    // The driver is started anew only if there is a reason.
    if !dry_run && created + updated > 0 {
        plan.changes.put::<DriverRow>(&key, &changed_row);
        plan.owner = Owner::Driver(driver);
    }
    Ok(plan)
}

/// What becomes of the row with a number and a name.
type RowOutcome = (usize, Option<String>, Outcome);

/// Reads the rows of a table, and finds out what becomes of each.
pub(super) fn read_rows<'a>(
    request: &'a Request<'a>,
    asked: ImportTags,
) -> Result<(Batch<'a>, Vec<RowOutcome>), Refusal> {
    let ImportTags { driver, format, text, location, byte_order, .. } = asked;
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let row = must_find(request, &driver)?;
    let records = sheet::records((format, &text), &row.config, byte_order, &TABLE)?;
    let tags = tags_of(request, &key)?.into_iter().map(|tag| (tag.tag.clone(), tag)).collect();
    let room = room::take_some::<TagRow>(request, Counted::Tags, records.len() as u64)?;
    let plan = Plan::default();
    let (paths, seen) = (Paths::read(request)?, HashSet::new());
    let mut batch = Batch {
        request,
        driver,
        row,
        location,
        is_foreign: format.is_foreign(),
        tags,
        paths,
        seen,
        plan,
        room,
    };
    let rows = batch.apply_all(records);
    Ok((batch, rows))
}

type Outcome = Result<Done, Refusal>;

impl Batch<'_> {
    /// The machine.
    pub(super) fn config(&self) -> &DriverConfig {
        &self.row.config
    }

    /// A tag of the driver, as the rows so far make it.
    pub(super) fn tag(&self, name: &str) -> Option<&TagConfig> {
        self.tags.get(&TagId::parse(name).ok()?)
    }

    /// What has become of each row, in their order. A virtual tag may stand before those that it is computed from.
    fn apply_all(&mut self, records: Vec<Record<Map<String, Json>>>) -> Vec<RowOutcome> {
        let is_virtual = |record: &Record<Map<String, Json>>| {
            record.read.as_ref().is_ok_and(|fields| {
                fields.get("kind").is_some_and(|it| *it == TagKind::Virtual.name())
            })
        };
        let (mut waiting, first): (Vec<_>, Vec<_>) = records.into_iter().partition(is_virtual);
        let mut rows = Vec::with_capacity(waiting.len() + first.len());
        let mut apply = |record: Record<Map<String, Json>>| {
            let Record { row, name, read } = record;
            rows.push((row, name, read.and_then(|fields| self.apply(fields))));
        };
        first.into_iter().for_each(&mut apply);
        // Each is applied behind those of this import that it names, which are in front of it after some rounds.
        let mut rounds = 0..=::drivers::CHAIN_MAX;
        while rounds.next().is_some() && !waiting.is_empty() {
            let names: HashSet<String> = waiting.iter().filter_map(|it| it.name.clone()).collect();
            let is_next = |record: &Record<Map<String, Json>>| {
                !inputs(record).iter().any(|input| names.contains(input))
            };
            let (next, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_next);
            waiting = rest;
            next.into_iter().for_each(&mut apply);
        }
        // Those that need each other, and are refused.
        waiting.into_iter().for_each(&mut apply);
        rows.sort_by_key(|(row, ..)| *row);
        rows
    }

    fn apply(&mut self, mut fields: Map<String, Json>) -> Result<Done, Refusal> {
        let missing = || Refusal::new(RefusalCode::BadRequest, "the row names no tag").at("tag");
        let name = fields.remove("tag").ok_or_else(missing)?;
        let name: TagId = crate::admin::request::read(name).map_err(|refusal| refusal.at("tag"))?;
        if self.seen.contains(&name) {
            let message = format!("the tag `{name}` is in a row before");
            return Err(Refusal::new(RefusalCode::AlreadyExists, message).at("tag"));
        }
        let before = self.tags.get(&name).cloned();
        // Where a tag of another product goes, if it is new.
        let place = if self.is_foreign { fields.remove("place") } else { None };
        let after = match &before {
            Some(before) => changed(before, fields)?,
            None => self.created(&name, fields, place)?,
        };
        if before.as_ref() == Some(&after) {
            self.seen.insert(name);
            return Ok(Done::Unchanged);
        }
        self.check(&after)?;
        if before.as_ref().is_some_and(|before| before.kind != after.kind) {
            self.check_users(&after)?;
        }
        if before.is_none() {
            let left = self.room.checked_sub(1);
            self.room = left.ok_or_else(|| room::no_room(Counted::Tags))?;
        }
        if let Some(before) = before.as_ref().filter(|before| has_moved(before, &after)) {
            clear_value(&mut self.plan, before);
        }
        let key: TagKey = (self.request.namespace.clone(), self.driver.clone(), name.clone());
        self.plan.changes.put::<TagRow>(&key, &TagRow(after.clone()));
        self.paths.moved(&self.driver, before.as_ref(), &after);
        self.seen.insert(name.clone());
        self.tags.insert(name, after);
        Ok(if before.is_some() { Done::Updated } else { Done::Created })
    }

    fn created(
        &self,
        name: &TagId,
        mut fields: Map<String, Json>,
        place: Option<Json>,
    ) -> Result<TagConfig, Refusal> {
        if self.tags.len() >= ::drivers::config::TAGS_MAX {
            let message = format!("a driver has at most {} tags", ::drivers::config::TAGS_MAX);
            return Err(Refusal::new(RefusalCode::Invalid, message).at("tag"));
        }
        fields.insert("tag".to_owned(), name.as_str().into());
        if let Some(location) = self.location.as_ref().filter(|_| !fields.contains_key("path")) {
            let is_events = fields.get("kind").is_some_and(|it| *it == TagKind::Events.name());
            let contract = if is_events { "_event" } else { RAW_CONTRACT };
            let below = format!("{contract}/{name}");
            let below = place.as_ref().and_then(Json::as_str).unwrap_or(&below);
            fields.insert("path".to_owned(), format!("{location}/{below}").into());
        }
        crate::admin::request::read(Json::Object(fields))
    }

    /// What can be known of one tag without the machine, and that its path is nobody else's.
    fn check(&self, tag: &TagConfig) -> Result<(), Refusal> {
        let checked = match tag.kind {
            TagKind::Virtual => {
                let checked = tag.check().and_then(|()| {
                    ::drivers::check_virtual_tag(tag, &|name| {
                        let other = TagId::parse(name).ok().and_then(|name| self.tags.get(&name));
                        if name == tag.tag.as_str() { Some(tag) } else { other }
                    })
                });
                checked.map_err(|error| ConfigError { tag: Some(0), ..error })
            }
            _ => check(self.request, &self.row.config, std::slice::from_ref(tag)),
        };
        checked.map_err(refused_one)?;
        self.paths.check(&self.driver, tag)
    }
}

impl Batch<'_> {
    /// Whether a tag is still one that others can be computed from.
    fn check_users(&self, after: &TagConfig) -> Result<(), Refusal> {
        let others = self.tags.values().filter(|other| other.tag != after.tag);
        let all: Vec<TagConfig> = others.chain([after]).cloned().collect();
        let checked = ::drivers::virtual_tags(&all).map(drop);
        checked.map_err(|error| Refusal::new(RefusalCode::Invalid, error.reason).at("kind"))
    }
}

/// What a row of a virtual tag names in its expression.
fn inputs(record: &Record<Map<String, Json>>) -> Vec<String> {
    let expression = record.read.as_ref().ok().and_then(|fields| fields.get("expression"));
    let read = expression.and_then(Json::as_str).map(Expression::parse);
    read.and_then(Result::ok).map(|it| it.names().to_vec()).unwrap_or_default()
}

/// Gives the tags of a driver as a table; the pages put together are one.
fn export(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ExportTags { driver, format, limit, cursor } = request.read()?;
    must_find(request, &driver)?;
    let after = match cursor.as_deref().map(TagId::parse).transpose() {
        Ok(after) => after,
        Err(error) => {
            return Err(Refusal::new(RefusalCode::Invalid, error.to_string()).at("cursor"));
        }
    };
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let tags: BTreeMap<TagId, TagConfig> =
        tags_of(request, &key)?.into_iter().map(|tag| (tag.tag.clone(), tag)).collect();
    let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut writer = Writer::new(format, after.is_none().then_some(&COLUMNS[..]));
    let limit = limited(limit);
    let mut last = None;
    let mut rows = 0;
    for (name, tag) in tags.range::<TagId, _>((from, Bound::Unbounded)).take(limit) {
        write(&mut writer, tag);
        rows += 1;
        last = Some(name);
    }
    let is_end = tags.last_key_value().map(|(name, _)| name) == last;
    let next = last.filter(|_| !is_end);
    let data = json!({ "text": writer.into_text(), "rows": rows, "next_cursor": next });
    Ok(Plan::answer(data))
}

fn write(writer: &mut Writer, tag: &TagConfig) {
    // A configuration is made of texts and numbers: there is no way to fail.
    let json = serde_json::to_value(tag).unwrap_or_default();
    match writer.format {
        Format::Jsonl => writer.line(&json),
        Format::Csv => {
            let cell = |column: &&str| match &json[*column] {
                Json::Null => String::new(),
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            let cells: Vec<String> = COLUMNS.iter().map(cell).collect();
            writer.cells(&cells);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tabular;

    #[test]
    fn the_columns_are_the_fields_of_a_tag() {
        let mut tag: TagConfig = serde_json::from_value(json!({
            "tag": "t", "kind": "method", "address": "40001", "type": "uint16", "path": "a/_raw/t", "unit": "%",
            "precision": 1, "deadband": 0.5, "deadband_percent": 1.0, "publish": "always", "expression": "a",
            "min_interval_ms": 1, "max_interval_ms": 2, "labels": {"1": "on"},
        }))
        .unwrap();
        let json = serde_json::to_value(&tag).unwrap();
        let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut columns = COLUMNS.to_vec();
        fields.sort_unstable();
        columns.sort_unstable();
        assert_eq!(fields, columns);
        assert_eq!(TABLE.known, COLUMNS.join(", "));

        for format in [Format::Csv, Format::Jsonl] {
            tag.unit = Some("a,\"b\"".to_owned());
            let mut writer = Writer::new(format, Some(&COLUMNS));
            write(&mut writer, &tag);
            let records = tabular::read::<TagConfig>(format, &writer.into_text(), &TABLE).unwrap();
            assert_eq!(records.into_iter().next().unwrap().read.unwrap(), tag, "{format:?}");
        }
    }
}
