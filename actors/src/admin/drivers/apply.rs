//! `drivers apply`, `drivers export` and `drivers revisions`: a driver with all its tags as one document, which is how
//! configurations travel between a hub and its edge nodes, and how operators keep them in files.

use super::{check, edge_of, parse_config, refused, shown_config, tags_of};
use crate::admin::plan::{Owner, Plan, Request, cleared};
use crate::admin::request::PLATFORM;
use crate::admin::revision;
use crate::admin::room::{self, Counted};
use crate::admin::table::{ADMIN, Operation, READER};
use crate::admin::tags::Paths;
use crate::driver::row::{DriverKey, DriverRow, EditsRow, TagRow};
use drivers::{TagConfig, TagKind};
use proto::{DriverId, EdgeId, PlatformTopic, Refusal, RefusalCode, TagId, UnsPath};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const APPLY: Operation = Operation::changes::<ApplyDriver>(
    "apply",
    ADMIN,
    "makes a driver and its tags what the request says, all or nothing; what is so already goes on undisturbed",
    apply,
);

pub(super) const EXPORT: Operation = Operation::reads::<ExportDriver>(
    "export",
    READER,
    "gives a driver with all its tags, as `apply` takes it but for secrets",
    export,
);

pub(super) const REVISIONS: Operation = Operation::reads::<Revisions>(
    "revisions",
    READER,
    "gives the revision of each driver, which rises with each change of it and of its tags",
    revisions,
);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApplyDriver {
    driver: DriverId,
    /// Absent: the edge node in this process.
    #[serde(default)]
    edge: Option<EdgeId>,
    config: Json,
    /// All tags that it is to have.
    tags: Tags,
    /// Refuses the change if the driver has another one by now; 0: if it is there.
    #[serde(default)]
    revision: Option<u64>,
}

/// Tags, each with its fields, or as a table.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Tags {
    /// One object for each.
    Each(Vec<Json>),
    /// The names of the fields once, and a row of values for each tag; null for what a tag does not have.
    Table { columns: Vec<String>, rows: Vec<Vec<Json>> },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportDriver {
    driver: DriverId,
    /// The tags as a table, which is shorter.
    #[serde(default)]
    table: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Revisions {}

/// Makes a driver and its tags what the request says.
fn apply(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ApplyDriver { driver, edge, config, tags, revision } = request.read()?;
    let edge = edge_of(request, edge)?;
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let before = request.get::<DriverRow>(&key)?;
    if let Some(row) = before.as_ref().filter(|row| row.edge != edge) {
        let message = format!("the driver `{driver}` belongs to the edge node `{}`", row.edge);
        return Err(Refusal::new(RefusalCode::AlreadyExists, message).at("driver"));
    }
    revision::check(before.as_ref().map_or(0, |row| row.revision), revision)?;
    let config = parse_config(config)?;
    let tags = named(tags)?;
    let known = tags_of(request, &key)?;
    let known: BTreeMap<TagId, TagConfig> =
        known.into_iter().map(|tag| (tag.tag.clone(), tag)).collect();
    let is_same = before.as_ref().is_some_and(|row| row.config == config) && known == tags;
    let now = request.now();
    let row = match before {
        Some(row) if is_same => row,
        Some(row) => DriverRow { config, ..row }.changed(now),
        None => DriverRow { edge, config, created: now, updated: now, revision: 1 },
    };
    let mut plan = Plan::answer(json!({
        "driver": driver, "edge": row.edge, "changed": !is_same, "tags": tags.len(),
        "created": row.created, "revision": row.revision,
    }));
    if is_same {
        return Ok(plan);
    }
    check_paths(request, &driver, &tags)?;
    let more = tags.len().saturating_sub(known.len());
    room::take::<TagRow>(request, Counted::Tags, more as u64)?;
    let all: Vec<TagConfig> = tags.values().cloned().collect();
    check(request, &row.config, &all).map_err(|error| refused(&error, "config"))?;
    plan.changes.put::<DriverRow>(&key, &row);
    let tag_key = |tag: &TagId| (request.namespace.clone(), driver.clone(), tag.clone());
    for (name, tag) in &tags {
        if known.get(name) != Some(tag) {
            plan.changes.put::<TagRow>(&tag_key(name), &TagRow(tag.clone()));
        }
    }
    for name in known.keys().filter(|name| !tags.contains_key(*name)) {
        plan.changes.delete::<TagRow>(&tag_key(name));
    }
    let values = tags.values().filter(|tag| tag.kind == TagKind::Value);
    let paths: BTreeSet<&str> = values.map(|tag| tag.path.as_str()).collect();
    for old in known.values().filter(|old| !paths.contains(old.path.as_str())) {
        // A path that is none has no value.
        if let Ok(path) = UnsPath::parse(&old.path) {
            plan.messages.push(cleared(&PlatformTopic::Uns(path)));
        }
    }
    plan.owner = Owner::Driver(driver);
    Ok(plan)
}

/// No tag has the path of another one, of this driver or of any other.
fn check_paths(
    request: &Request<'_>,
    driver: &DriverId,
    tags: &BTreeMap<TagId, TagConfig>,
) -> Result<(), Refusal> {
    let mut paths = Paths::read(request)?;
    paths.forget(driver);
    for (name, tag) in tags {
        paths.check(driver, tag).map_err(|refusal| refusal.at(format!("tags.{name}.path")))?;
        paths.moved(driver, None, tag);
    }
    Ok(())
}

/// The tags by their names.
fn named(tags: Tags) -> Result<BTreeMap<TagId, TagConfig>, Refusal> {
    let mut named = BTreeMap::new();
    for (index, tag) in tags.into_objects()?.into_iter().enumerate() {
        let tag: TagConfig = crate::admin::request::read(tag)
            .map_err(|refusal| super::below(refusal, &format!("tags[{index}]")))?;
        let name = tag.tag.clone();
        if named.insert(name.clone(), tag).is_some() {
            let message = format!("the tag `{name}` is there twice");
            let refusal = Refusal::new(RefusalCode::AlreadyExists, message);
            return Err(refusal.at(format!("tags[{index}].tag")));
        }
    }
    Ok(named)
}

impl Tags {
    fn into_objects(self) -> Result<Vec<Json>, Refusal> {
        let (columns, rows) = match self {
            Self::Each(tags) => return Ok(tags),
            Self::Table { columns, rows } => (columns, rows),
        };
        let object = |(index, row): (usize, Vec<Json>)| {
            if row.len() != columns.len() {
                let message = format!("{} values for {} columns", row.len(), columns.len());
                let refusal = Refusal::new(RefusalCode::BadRequest, message);
                return Err(refusal.at(format!("tags.rows[{index}]")));
            }
            let fields = columns.iter().cloned().zip(row).filter(|(_, value)| !value.is_null());
            Ok(Json::Object(fields.collect()))
        };
        rows.into_iter().enumerate().map(object).collect()
    }

    /// The shorter form, as JSON.
    fn table(tags: &[Map<String, Json>]) -> Json {
        let columns: BTreeSet<&String> = tags.iter().flat_map(Map::keys).collect();
        let row = |tag: &Map<String, Json>| -> Vec<Json> {
            columns.iter().map(|column| tag.get(*column).cloned().unwrap_or_default()).collect()
        };
        let rows: Vec<Vec<Json>> = tags.iter().map(row).collect();
        json!({ "columns": columns, "rows": rows })
    }
}

/// Gives a driver with its tags. Secrets are for the hub alone, which has them from there or hands them on.
fn export(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ExportDriver { driver, table } = request.read()?;
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let row = request.must_get::<DriverRow>(&key, "driver", &driver)?;
    let has_secrets = request.caller.name == PLATFORM;
    Ok(Plan::answer(document(&row, tags_of(request, &key)?, (driver, table, has_secrets))))
}

fn document(
    row: &DriverRow,
    tags: Vec<TagConfig>,
    (driver, is_table, has_secrets): (DriverId, bool, bool),
) -> Json {
    let object = |tag: TagConfig| match json!(tag) {
        Json::Object(fields) => fields,
        _ => Map::new(),
    };
    let tags: Vec<Map<String, Json>> = tags.into_iter().map(object).collect();
    let config = if has_secrets { json!(row.config) } else { shown_config(row) };
    json!({
        "driver": driver,
        "edge": row.edge,
        "config": config,
        "tags": if is_table { Tags::table(&tags) } else { json!(tags) },
        "created": row.created,
        "revision": row.revision,
    })
}

/// Gives the revision of each driver.
fn revisions(request: &Request<'_>) -> Result<Plan, Refusal> {
    let Revisions {} = request.read()?;
    let rows = request.scan::<DriverRow>(&store::prefix(request.namespace))?;
    let drivers: BTreeMap<String, Json> = rows
        .into_iter()
        .map(|((_, driver), row)| (driver.to_string(), json!(row.version())))
        .collect();
    let edits = request.get::<EditsRow>(&(request.namespace.clone()))?.unwrap_or_default().edits;
    Ok(Plan::answer(json!({ "edits": edits, "drivers": drivers })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_the_same_as_objects_and_as_a_table() {
        let each = json!([
            { "tag": "a", "address": "40001", "type": "uint16", "path": "x/_raw/a", "unit": "%" },
            { "tag": "b", "address": "40002", "type": "int16", "path": "x/_raw/b", "scale": 0.1 },
        ]);
        let read = |json: Json| named(serde_json::from_value::<Tags>(json).unwrap());
        let objects: Vec<Map<String, Json>> = serde_json::from_value(each.clone()).unwrap();
        let table = Tags::table(&objects);
        assert_eq!(table["columns"].as_array().unwrap().len(), 6);
        assert_eq!(read(table).unwrap(), read(each.clone()).unwrap());
        let mut twice = each.clone();
        twice[1]["tag"] = json!("a");
        let refusal = read(twice).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("tags[1].tag"));
        let short = json!({ "columns": ["tag", "address"], "rows": [["a"]] });
        let refusal = read(short).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("tags.rows[0]"));
        let mut unknown = each;
        unknown[1]["colour"] = json!("red");
        assert!(read(unknown).unwrap_err().field.unwrap().starts_with("tags[1]"));
    }
}
