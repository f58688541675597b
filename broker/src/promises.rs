//! What an acknowledgement promises, by namespace.

use proto::Namespace;
use std::collections::BTreeMap;
use store::Durability;

/// What a message of a namespace has survived when it is acknowledged.
///
/// It holds for messages owed to persistent sessions, retained messages, and what a part of the platform commits with
/// messages. Sessions and their subscriptions are always [`Durability::Sync`].
#[derive(Debug, Clone, Default)]
pub struct Promises {
    /// For a namespace that is not named.
    pub usual: Durability,
    /// For those that are.
    pub namespaces: BTreeMap<Namespace, Durability>,
}

impl Promises {
    pub(crate) fn of(&self, namespace: &Namespace) -> Durability {
        self.namespaces.get(namespace).copied().unwrap_or(self.usual)
    }
}
