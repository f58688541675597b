//! Models in use, compiled once and shared by all things that have them. Published versions never change, so that
//! nothing here is ever out of date; a model that is deleted is forgotten, since its name may come again.

use super::row::{VersionRow, version_key};
use crate::context::Context;
use proto::model::Model;
use proto::{ModelName, ModelVersion, Namespace, Refusal};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::ReadError;

/// The most models kept: at the bound those go that no device that is awake has, and if all are in use the new one
/// is not kept here, only by its device.
const MODELS_MAX: usize = 256;

/// A version of a model at hand.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Which.
    pub(crate) version: ModelVersion,
    /// The contract of its values.
    pub(crate) contract: String,
    /// Ready for checking.
    pub(crate) model: Model,
}

type Key = (Namespace, ModelVersion);

/// See the module.
#[derive(Default)]
pub(crate) struct ModelCache {
    kept: Mutex<HashMap<Key, Arc<Loaded>>>,
}

impl ModelCache {
    /// A version, from here or from the store. The inner error is for whoever needs it: it is not there, or is no model
    /// to this build.
    pub(crate) fn get(
        &self,
        context: &Context,
        namespace: &Namespace,
        version: &ModelVersion,
    ) -> Result<Result<Arc<Loaded>, Refusal>, ReadError> {
        let key = (namespace.clone(), version.clone());
        if let Some(loaded) = self.kept().get(&key) {
            return Ok(Ok(Arc::clone(loaded)));
        }
        let snapshot = context.outside.store.read()?;
        let Some(row) = snapshot.get::<VersionRow>(&version_key(namespace, version))? else {
            return Ok(Err(Refusal::not_found("model", version)));
        };
        let model = match Model::compile(&row.document) {
            Ok(model) => model,
            Err(refusal) => {
                tracing::error!(%version, %refusal, "a published model cannot be used");
                return Ok(Err(Refusal::internal(format!("{version}: {refusal}"))));
            }
        };
        let loaded = Loaded { version: version.clone(), contract: version.contract(), model };
        let loaded = Arc::new(loaded);
        self.keep(key, &loaded);
        Ok(Ok(loaded))
    }

    /// Forgets all versions of a model.
    pub(crate) fn forget(&self, namespace: &Namespace, model: &ModelName) {
        self.kept().retain(|(space, version), _| space != namespace || version.model != *model);
    }

    fn keep(&self, key: Key, loaded: &Arc<Loaded>) {
        let mut kept = self.kept();
        if kept.len() >= MODELS_MAX {
            kept.retain(|_, it| Arc::strong_count(it) > 1);
        }
        if kept.len() < MODELS_MAX {
            kept.insert(key, Arc::clone(loaded));
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Arc<Loaded>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_bound_models_that_nobody_uses_go_first() {
        let cache = ModelCache::default();
        let namespace = Namespace::default();
        let keep = |number: u32| {
            let version: ModelVersion = format!("m@{number}").parse().unwrap();
            let contract = version.contract();
            let loaded = Loaded { version: version.clone(), contract, model: Model::default() };
            let loaded = Arc::new(loaded);
            cache.keep((namespace.clone(), version), &loaded);
            loaded
        };
        let used: Vec<_> = (1..=10).map(keep).collect();
        for number in 11..=256 {
            keep(number);
        }
        assert_eq!(cache.kept().len(), MODELS_MAX);
        keep(257);
        assert_eq!(cache.kept().len(), used.len() + 1);
        let held: Vec<_> = (300..700).map(keep).collect();
        assert_eq!((cache.kept().len(), held.len()), (MODELS_MAX, 400));
        cache.forget(&namespace, &ModelName::parse("m").unwrap());
        assert_eq!(cache.kept().len(), 0);
    }
}
