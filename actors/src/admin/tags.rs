//! `admin/tags/…`: the points of machines, and where they stand in the Unified Namespace.

use super::drivers::{Nothing, check, refused, tags_of};
use super::list::list as list_rows;
use super::plan::{Owner, Plan, Request, cleared};
use super::request::read;
use super::revision::{self, AtRevision};
use super::room::{self, Counted};
use super::table::{ADMIN, Operation, READER, Resource};
use crate::driver::row::{DriverKey, DriverRow, TagKey, TagRow};
use ::drivers::{ConfigError, TagConfig, virtual_tags};
use proto::admin::ListRequest;
use proto::{DriverId, PlatformTopic, Refusal, RefusalCode, TagId, TopicFilter, UnsPath};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;

mod sheet;
mod table;
mod touch;
mod trial;

use touch::{ReadTags, WriteTags};
pub(super) use trial::Trial;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "tags",
    is: "points of a machine, each a value of the Unified Namespace",
    operations: &[
        Operation::changes::<AtRevision<CreateTags>>(
            "create",
            ADMIN,
            "creates one tag, or several at once",
            create,
        ),
        Operation::changes::<AtRevision<OneTag>>(
            "delete",
            ADMIN,
            "deletes a tag; its value is no longer retained",
            delete,
        ),
        table::EXPORT,
        Operation::reads::<OneTag>("get", READER, "shows a tag with its value", get),
        table::IMPORT,
        Operation::reads::<ListTags>("list", READER, "lists tags, of one driver or of all", list),
        Operation::reads::<ReadTags>(
            "read",
            ADMIN,
            "reads tags from the machine, now",
            touch::read_tags,
        ),
        trial::OPERATION,
        Operation::changes::<AtRevision<UpdateTag>>(
            "update",
            ADMIN,
            "changes the fields given; null is back to the default",
            update,
        ),
        Operation::changes::<WriteTags>(
            "write",
            ADMIN,
            "writes one tag, or several with a result for each",
            touch::write_tags,
        ),
    ],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneTag {
    driver: DriverId,
    tag: TagId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListTags {
    #[serde(default)]
    driver: Option<DriverId>,
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "create() tells the two forms apart by hand, for better refusals")]
enum CreateTags {
    /// Several at once, all or none.
    Many { driver: DriverId, tags: Vec<TagConfig> },
    /// One.
    One {
        driver: DriverId,
        #[serde(flatten)]
        tag: Box<TagConfig>,
    },
}

#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "update() merges the fields into those of the tag and reads the whole"
)]
struct UpdateTag {
    driver: DriverId,
    tag: TagId,
    /// The fields of a tag that change; null puts one back to its default.
    #[serde(flatten)]
    changed: Map<String, Json>,
}

/// Creates one tag, or with `tags` several at once; the driver reconnects and reads them.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let mut body = request.body.clone();
    let driver: DriverId = body.must_take("driver")?;
    let many: Option<Vec<TagConfig>> = body.take("tags")?;
    let is_many = many.is_some();
    let created = match many {
        Some(tags) => {
            let _: Nothing = body.read()?;
            tags
        }
        None => vec![body.read::<TagConfig>()?],
    };
    let key: DriverKey = (request.namespace.clone(), driver.clone());
    let row = request.must_get::<DriverRow>(&key, "driver", &driver).map_err(at("driver"))?;
    revision::check(row.revision, *revision)?;
    let existing = tags_of(request, &key)?;
    if let Some(taken) = created.iter().find(|new| existing.iter().any(|old| old.tag == new.tag)) {
        return Err(Refusal::already_exists("tag", &taken.tag).at("tag"));
    }
    check_paths(request, &driver, &created)?;
    room::take::<TagRow>(request, Counted::Tags, created.len() as u64)?;
    // The new ones first, so that an index in a refusal is that of the request.
    let all: Vec<TagConfig> = created.iter().chain(&existing).cloned().collect();
    check(request, &row.config, &all).map_err(|error| match is_many {
        true => refused(&error, "config"),
        false => refused_one(error),
    })?;
    let mut plan = Plan::answer(match created.as_slice() {
        [tag] if !is_many => show(request, &driver, tag),
        tags => json!({ "driver": driver, "created": tags.len() }),
    });
    touch(&mut plan, request, &key, row);
    for tag in created {
        let key = (request.namespace.clone(), driver.clone(), tag.tag.clone());
        plan.changes.put::<TagRow>(&key, &TagRow(tag));
    }
    plan.owner = Owner::Driver(driver);
    Ok(plan)
}

/// The driver has changed with its tags: that is the revision of them all.
fn touch(plan: &mut Plan, request: &Request<'_>, key: &DriverKey, row: DriverRow) {
    let row = row.changed(request.now());
    plan.data["revision"] = row.revision.into();
    plan.changes.put::<DriverRow>(key, &row);
}

/// Shows a tag with its value.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneTag { driver, tag } = request.read()?;
    let key: TagKey = (request.namespace.clone(), driver.clone(), tag.clone());
    let TagRow(config) = request.must_get::<TagRow>(&key, "tag", &tag)?;
    let row = request.must_get::<DriverRow>(&(key.0, key.1), "driver", &driver)?;
    let mut data = show(request, &driver, &config);
    data["revision"] = row.revision.into();
    Ok(Plan::answer(data))
}

/// Lists tags, of one driver or of all. The name that a filter and a cursor mean is
/// `<driver>/<tag>`.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ListTags { driver, filter, limit, cursor } = request.read()?;
    let asked = ListRequest { filter, limit, cursor };
    let prefix = match &driver {
        None => store::prefix(request.namespace),
        Some(driver) => store::prefix(&(request.namespace.clone(), driver.clone())),
    };
    let key_of = |name: &str| -> Result<TagKey, Refusal> {
        let invalid = || Refusal::new(RefusalCode::Invalid, "not the cursor of a list of tags");
        let (driver, tag) = name.split_once('/').ok_or_else(invalid)?;
        let driver = DriverId::parse(driver).map_err(|_| invalid())?;
        let tag = TagId::parse(tag).map_err(|_| invalid())?;
        Ok((request.namespace.clone(), driver, tag))
    };
    let item = |key: &TagKey, TagRow(config)| {
        let name = [key.1.as_str(), key.2.as_str()].join("/");
        Some((name, show(request, &key.1, &config)))
    };
    Ok(Plan::answer(list_rows::<TagRow>(request, &asked, &prefix, key_of, item)?))
}

/// Changes the fields given; null puts one back to its default.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let mut body = request.body.clone();
    let driver: DriverId = body.must_take("driver")?;
    let tag: TagId = body.must_take("tag")?;
    let driver_key: DriverKey = (request.namespace.clone(), driver.clone());
    let row =
        request.must_get::<DriverRow>(&driver_key, "driver", &driver).map_err(at("driver"))?;
    revision::check(row.revision, *revision)?;
    let key: TagKey = (request.namespace.clone(), driver.clone(), tag.clone());
    let TagRow(before) = request.must_get::<TagRow>(&key, "tag", &tag)?;
    let after = changed(&before, body.into_fields())?;
    if after.path != before.path {
        check_paths(request, &driver, std::slice::from_ref(&after))?;
    }
    let others = tags_of(request, &driver_key)?.into_iter().filter(|other| other.tag != tag);
    let all: Vec<TagConfig> = std::iter::once(after.clone()).chain(others).collect();
    check(request, &row.config, &all).map_err(refused_one)?;
    let mut plan = Plan::answer(show(request, &driver, &after));
    if has_moved(&before, &after) {
        clear_value(&mut plan, &before);
    }
    touch(&mut plan, request, &driver_key, row);
    plan.changes.put::<TagRow>(&key, &TagRow(after));
    plan.owner = Owner::Driver(driver);
    Ok(plan)
}

/// Deletes a tag; its value is no longer retained.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let OneTag { driver, tag } = request.read()?;
    let key: TagKey = (request.namespace.clone(), driver.clone(), tag.clone());
    let TagRow(config) = request.must_get::<TagRow>(&key, "tag", &tag)?;
    let driver_key: DriverKey = (request.namespace.clone(), driver.clone());
    let row = request.must_get::<DriverRow>(&driver_key, "driver", &driver)?;
    revision::check(row.revision, *revision)?;
    let left = tags_of(request, &driver_key)?.into_iter().filter(|other| other.tag != tag);
    virtual_tags(&left.collect::<Vec<_>>())
        .map_err(|error| Refusal::new(RefusalCode::Invalid, error.reason).at("tag"))?;
    let mut plan = Plan::answer(json!({ "driver": driver, "tag": tag }));
    touch(&mut plan, request, &driver_key, row);
    plan.changes.delete::<TagRow>(&key);
    clear_value(&mut plan, &config);
    plan.owner = Owner::Driver(driver);
    Ok(plan)
}

fn changed(before: &TagConfig, fields: Map<String, Json>) -> Result<TagConfig, Refusal> {
    let mut json = serde_json::to_value(before).map_err(Refusal::internal)?;
    if let Json::Object(all) = &mut json {
        for (field, value) in fields {
            match value {
                Json::Null => drop(all.remove(&field)),
                value => drop(all.insert(field, value)),
            }
        }
    }
    read(json)
}

/// Who has which path, in the whole project.
pub(super) struct Paths(HashMap<String, (DriverId, TagId)>);

impl Paths {
    /// Looks at all tags of the project, once.
    pub(super) fn read(request: &Request<'_>) -> Result<Self, Refusal> {
        let rows = request.scan::<TagRow>(&store::prefix(request.namespace))?;
        let of = |((_, driver, name), TagRow(tag)): (TagKey, TagRow)| (tag.path, (driver, name));
        Ok(Self(rows.into_iter().map(of).collect()))
    }

    /// Refuses a path that is none of the Unified Namespace, or belongs to another tag.
    pub(super) fn check(&self, own: &DriverId, tag: &TagConfig) -> Result<(), Refusal> {
        if let Err(error) = UnsPath::parse(&tag.path) {
            let message = format!("not a path `{}`: {error}", tag.path);
            return Err(Refusal::new(RefusalCode::Invalid, message).at("path"));
        }
        match self.0.get(&tag.path) {
            Some((driver, name)) if (driver, name) != (own, &tag.tag) => {
                let message = format!("the path belongs to tag {name} of driver {driver}");
                Err(Refusal::new(RefusalCode::AlreadyExists, message).at("path"))
            }
            _ => Ok(()),
        }
    }

    /// Lets go of all paths of a driver.
    pub(super) fn forget(&mut self, driver: &DriverId) {
        self.0.retain(|_, (of, _)| of != driver);
    }

    /// Takes over what has become of a tag.
    pub(super) fn moved(&mut self, own: &DriverId, before: Option<&TagConfig>, after: &TagConfig) {
        if let Some(before) = before {
            self.0.remove(&before.path);
        }
        self.0.insert(after.path.clone(), (own.clone(), after.tag.clone()));
    }
}

/// A path is one of the Unified Namespace and belongs to one tag, whatever the driver.
fn check_paths(request: &Request<'_>, own: &DriverId, tags: &[TagConfig]) -> Result<(), Refusal> {
    let paths = Paths::read(request)?;
    tags.iter().try_for_each(|tag| paths.check(own, tag))
}

/// Whether what is retained of a tag is no value of it any more.
pub(super) fn has_moved(before: &TagConfig, after: &TagConfig) -> bool {
    before.path != after.path || before.kind != after.kind
}

fn clear_value(plan: &mut Plan, tag: &TagConfig) {
    // A path that is none has no value.
    if let Ok(path) = UnsPath::parse(&tag.path) {
        plan.messages.push(cleared(&PlatformTopic::Uns(path)));
    }
}

fn show(request: &Request<'_>, driver: &DriverId, config: &TagConfig) -> Json {
    let topic = UnsPath::parse(&config.path).ok().map(|path| PlatformTopic::Uns(path).topic());
    let filter = topic.and_then(|topic| TopicFilter::parse(topic.as_str().to_owned()).ok());
    let found = filter.and_then(|filter| request.client.retained(&filter).pop());
    let value = found.and_then(|(_, payload)| serde_json::from_slice::<Json>(&payload).ok());
    // A configuration is made of texts and numbers: there is no way to fail.
    let mut json = serde_json::to_value(config).unwrap_or_default();
    json["driver"] = driver.as_str().into();
    json["value"] = value.unwrap_or_default();
    json
}

/// The refusal of the only tag of a request, which is the first: its field needs no index.
fn refused_one(error: ConfigError) -> Refusal {
    match error.tag {
        Some(0) => Refusal::new(RefusalCode::Invalid, error.reason).at(error.field),
        _ => refused(&error, "config"),
    }
}

fn at(field: &'static str) -> impl Fn(Refusal) -> Refusal {
    move |refusal| refusal.at(field)
}
