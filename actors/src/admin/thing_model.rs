//! Which version of a model a request means.

use super::plan::Request;
use crate::model::row::{ModelRow, model_key};
use proto::{ModelRef, ModelVersion, Refusal, RefusalCode};

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
