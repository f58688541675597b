//! `admin/models/…`: thing models. A draft is changed until it is published; a published version never changes, and
//! is there until it is deleted, which it cannot be while a thing uses it.

use super::list::list as list_rows;
use super::plan::{Plan, Request, unreadable};
use super::request::below;
use super::revision::{self, AtRevision};
use super::table::{ADMIN, Operation, READER, Resource};
use crate::model::row::{ModelRow, UseRow, VersionKey, VersionRow, draft_key, model_key};
use proto::admin::ListRequest;
use proto::model::Model;
use proto::model::edgex::{self, Import};
use proto::{ModelName, ModelVersion, Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "models",
    is: "thing models: what kinds of devices report, take and tell",
    operations: &[
        Operation::changes::<WriteModel>("create", ADMIN, "creates a model as a draft", create),
        Operation::changes::<AtRevision<DeleteModel>>(
            "delete",
            ADMIN,
            "deletes a model, or one version of it, that no thing uses",
            delete,
        ),
        Operation::reads::<GetModel>("get", READER, "shows a model and one of its documents", get),
        Operation::changes::<AtRevision<ImportModel>>(
            "import",
            ADMIN,
            "makes a draft of an EdgeX device profile, and says what was not taken over",
            import,
        ),
        Operation::reads::<ListRequest>("list", READER, "lists models", list),
        Operation::changes::<AtRevision<OneModel>>(
            "publish",
            ADMIN,
            "makes the draft the next version, for good",
            publish,
        ),
        Operation::changes::<AtRevision<WriteModel>>(
            "update",
            ADMIN,
            "replaces or begins the draft",
            update,
        ),
    ],
};

/// Models of one namespace.
const MODELS_MAX: usize = 1000;
/// Versions of one model that are kept.
const VERSIONS_MAX: usize = 100;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WriteModel {
    model: ModelName,
    /// A W3C WoT Thing Model 1.1, at most 64 KiB.
    document: Map<String, Json>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneModel {
    model: ModelName,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetModel {
    model: ModelName,
    /// Absent: the latest version, or the draft of a model that has none.
    #[serde(default)]
    version: Option<u32>,
    /// The draft, whatever is published.
    #[serde(default)]
    draft: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteModel {
    model: ModelName,
    /// Absent: all versions, and the draft.
    #[serde(default)]
    version: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ImportModel {
    model: ModelName,
    /// The device profile, as JSON or as a text of YAML.
    profile: Json,
}

/// Creates a model as a draft.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let WriteModel { model, document } = request.read()?;
    if request.get::<ModelRow>(&model_key(request.namespace, &model))?.is_some() {
        return Err(Refusal::already_exists("model", &model).at("model"));
    }
    let row = begin(request)?;
    write_draft(request, model, row, document.into(), "document")
}

/// Replaces the draft, or begins one beside what is published.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let WriteModel { model, document } = request.read()?;
    let row = must_get(request, &model)?;
    revision::check(row.revision, *revision)?;
    write_draft(request, model, row, document.into(), "document")
}

/// Makes a draft of a device profile, whether the model is there or not.
fn import(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let ImportModel { model, profile } = request.read()?;
    let profile = match profile {
        Json::String(text) => edgex::parse_yaml(&text).map_err(|it| below(it, "profile"))?,
        other => other,
    };
    let Import { document, notes } = edgex::import(&profile).map_err(|it| below(it, "profile"))?;
    let row = match request.get::<ModelRow>(&model_key(request.namespace, &model))? {
        Some(row) => row,
        None => begin(request)?,
    };
    revision::check(row.revision, *revision)?;
    let mut plan = write_draft(request, model, row, document.clone(), "profile")?;
    plan.data["document"] = document;
    plan.data["left_out"] = json!(notes);
    Ok(plan)
}

/// Publishes the draft.
fn publish(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let OneModel { model } = request.read()?;
    let mut row = must_get(request, &model)?;
    revision::check(row.revision, *revision)?;
    let draft_key = draft_key(request.namespace, &model);
    let Some(draft) = request.get::<VersionRow>(&draft_key)? else {
        let message = format!("{model} has no draft to publish");
        return Err(Refusal::new(RefusalCode::Invalid, message).at("model"));
    };
    // What was good when it was written may not be to a later build.
    Model::compile(&draft.document).map_err(|refusal| below(refusal, "document"))?;
    if row.versions.len() >= VERSIONS_MAX {
        let message = format!("{model} has {VERSIONS_MAX} versions, as many as are kept");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("model"));
    }
    row.last += 1;
    row.versions.push(row.last);
    row.has_draft = false;
    row.change(request.now());
    let version = ModelVersion { model, version: row.last };
    let mut plan = Plan::answer(show(&version.model, &row));
    plan.data["version"] = row.last.into();
    let published = VersionRow { t: request.now(), by: request.caller.name.clone(), ..draft };
    let key = model_key(request.namespace, &version.model);
    plan.changes.put::<VersionRow>(&numbered(&key, row.last), &published);
    plan.changes.delete::<VersionRow>(&draft_key);
    plan.changes.put::<ModelRow>(&key, &row);
    Ok(plan)
}

/// Shows a model with one of its documents.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let GetModel { model, version, draft } = request.read()?;
    let row = must_get(request, &model)?;
    if draft && version.is_some() {
        let message = "it takes either a version or the draft";
        return Err(Refusal::new(RefusalCode::BadRequest, message).at("draft"));
    }
    let wanted = version.or(row.versions.last().copied()).filter(|_| !draft).unwrap_or(0);
    let key = numbered(&model_key(request.namespace, &model), wanted);
    let Some(found) = request.get::<VersionRow>(&key)?.filter(|_| version != Some(0)) else {
        let name = version.map_or("draft".to_owned(), |it| it.to_string());
        let field = if version.is_some() { "version" } else { "draft" };
        return Err(Refusal::not_found("version", format!("{model}@{name}")).at(field));
    };
    let mut data = show(&model, &row);
    data["version"] = if wanted == 0 { Json::Null } else { wanted.into() };
    data["document"] = found.document;
    data["t"] = json!(found.t);
    data["by"] = found.by.into();
    Ok(Plan::answer(data))
}

/// Lists models.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let namespace = request.namespace;
    let key_of = |name: &str| parse(name).map(|model| model_key(namespace, &model));
    let item = |key: &(_, String), row| Some((key.1.clone(), show_row(&key.1, &row)));
    let page = list_rows::<ModelRow>(request, &asked, &store::prefix(namespace), key_of, item)?;
    Ok(Plan::answer(page))
}

/// Deletes a model, or one version of it.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = &revision::split(request)?;
    let DeleteModel { model, version } = request.read()?;
    let mut row = must_get(request, &model)?;
    revision::check(row.revision, *revision)?;
    let key = model_key(request.namespace, &model);
    let doomed = match version {
        Some(version) if !row.versions.contains(&version) => {
            let name = format!("{model}@{version}");
            return Err(Refusal::not_found("version", name).at("version"));
        }
        Some(version) => vec![version],
        None => row.versions.clone(),
    };
    for version in &doomed {
        refuse_if_used(request, &ModelVersion { model: model.clone(), version: *version })?;
    }
    let mut plan = Plan::answer(json!({ "model": model, "versions": doomed }));
    if version.is_some() {
        row.versions.retain(|it| !doomed.contains(it));
        row.change(request.now());
        for version in doomed {
            plan.changes.delete::<VersionRow>(&numbered(&key, version));
        }
        plan.changes.put::<ModelRow>(&key, &row);
    } else {
        plan.changes.delete_prefix::<VersionRow>(&store::prefix(&key));
        plan.changes.delete::<ModelRow>(&key);
    }
    // No device has it; should this not be committed after all, it is compiled again when it is needed.
    request.context.models.forget(request.namespace, &model);
    Ok(plan)
}

/// The row of a new model, if there is room for one.
fn begin(request: &Request<'_>) -> Result<ModelRow, Refusal> {
    let prefix = store::prefix(request.namespace);
    let found = request.snapshot.page::<ModelRow>(&prefix, None, MODELS_MAX);
    if found.map_err(|error| unreadable(&error))?.len() >= MODELS_MAX {
        let message = format!("the namespace has {MODELS_MAX} models, as many as there may be");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("model"));
    }
    Ok(ModelRow { created: request.now(), ..ModelRow::default() })
}

fn write_draft(
    request: &Request<'_>,
    model: ModelName,
    mut row: ModelRow,
    document: Json,
    field: &str,
) -> Result<Plan, Refusal> {
    let compiled = Model::compile(&document).map_err(|refusal| below(refusal, field))?;
    let (properties, actions, events) = compiled.counts();
    row.has_draft = true;
    row.change(request.now());
    let mut plan = Plan::answer(show(&model, &row));
    for (key, count) in [("properties", properties), ("actions", actions), ("events", events)] {
        plan.data[key] = count.into();
    }
    let draft = VersionRow { document, t: request.now(), by: request.caller.name.clone() };
    plan.changes.put::<VersionRow>(&draft_key(request.namespace, &model), &draft);
    plan.changes.put::<ModelRow>(&model_key(request.namespace, &model), &row);
    Ok(plan)
}

fn refuse_if_used(request: &Request<'_>, version: &ModelVersion) -> Result<(), Refusal> {
    let prefix = store::prefix(&(request.namespace.clone(), version.to_string()));
    let found = request.snapshot.page::<UseRow>(&prefix, None, 1);
    let Some(first) = found.map_err(|error| unreadable(&error))?.into_iter().next() else {
        return Ok(());
    };
    let ((_, _, thing), _) = first.map_err(|error| unreadable(&error))?;
    let message = format!("{version} is used by the thing `{thing}`, and perhaps by others");
    Err(Refusal::new(RefusalCode::Invalid, message).at("model"))
}

fn must_get(request: &Request<'_>, model: &ModelName) -> Result<ModelRow, Refusal> {
    let row = request.get::<ModelRow>(&model_key(request.namespace, model))?;
    row.ok_or_else(|| Refusal::not_found("model", model).at("model"))
}

fn numbered(key: &(proto::Namespace, String), version: u32) -> VersionKey {
    (key.0.clone(), key.1.clone(), version.into())
}

fn parse(name: &str) -> Result<ModelName, Refusal> {
    ModelName::parse(name).map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()))
}

fn show(model: &ModelName, row: &ModelRow) -> Json {
    show_row(model.as_str(), row)
}

fn show_row(model: &str, row: &ModelRow) -> Json {
    json!({
        "model": model,
        "versions": row.versions,
        "has_draft": row.has_draft,
        "created": row.created,
        "updated": row.updated,
        "revision": row.revision,
    })
}
