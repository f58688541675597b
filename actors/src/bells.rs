//! Tells a task of a namespace that rows it looks at have changed.

use parking_lot::Mutex;
use proto::Namespace;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// One bell for each namespace in which somebody listens. A bell that is rung while nobody waits is heard later.
#[derive(Default)]
pub(crate) struct Bells(Mutex<HashMap<Namespace, Arc<Notify>>>);

impl Bells {
    /// The bell of a namespace.
    pub(crate) fn listen(&self, namespace: &Namespace) -> Arc<Notify> {
        Arc::clone(self.0.lock().entry(namespace.clone()).or_default())
    }

    /// Something has changed, and is kept.
    pub(crate) fn ring(&self, namespace: &Namespace) {
        if let Some(bell) = self.0.lock().get(namespace) {
            bell.notify_one();
        }
    }

    /// Nobody listens any more.
    pub(crate) fn forget(&self, namespace: &Namespace) {
        self.0.lock().remove(namespace);
    }
}
