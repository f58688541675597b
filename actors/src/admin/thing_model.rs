//! The model of a thing as its registration has it: which version a request means, and the row that tells a model
//! who uses it.

use super::plan::Request;
use crate::device::row::ThingKey;
use crate::model::row::{ModelRow, UseKey, UseRow, model_key};
use proto::{ModelRef, ModelVersion, Refusal, RefusalCode};
use store::Changes;

/// The published version that a request means: the one it names, or the latest there is now.
pub(super) fn resolve(request: &Request<'_>, wanted: ModelRef) -> Result<ModelVersion, Refusal> {
    let ModelRef { model, version } = wanted;
    let refuse = |refusal: Refusal| Err(refusal.at("model"));
    let Some(row) = request.get::<ModelRow>(&model_key(request.namespace, &model))? else {
        return refuse(Refusal::not_found("model", model));
    };
    let Some(latest) = row.versions.last().copied() else {
        let message = format!("{model} is a draft: a thing takes a version that is published");
        return refuse(Refusal::new(RefusalCode::Invalid, message));
    };
    let version = version.unwrap_or(latest);
    let found = ModelVersion { model, version };
    match row.versions.contains(&version) {
        true => Ok(found),
        false => refuse(Refusal::not_found("model", found)),
    }
}

/// Takes down that a thing has another model.
pub(super) fn assign(
    changes: &mut Changes,
    key: &ThingKey,
    before: Option<&ModelVersion>,
    after: Option<&ModelVersion>,
) {
    if before == after {
        return;
    }
    if let Some(before) = before {
        changes.delete::<UseRow>(&use_key(key, before));
    }
    if let Some(after) = after {
        changes.put::<UseRow>(&use_key(key, after), &UseRow {});
    }
}

fn use_key((namespace, thing): &ThingKey, version: &ModelVersion) -> UseKey {
    (namespace.clone(), version.to_string(), thing.clone())
}
