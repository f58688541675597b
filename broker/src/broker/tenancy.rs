//! What tenancy asks of the broker: namespaces that are closed for a while, shares that change, API tokens.

use super::Broker;
use crate::credential::{ApiToken, ApiTokenKey};
use crate::overload::quota::NamespaceQuota;
use proto::Namespace;
use tokio::time::Instant;

impl Broker {
    /// Closes a namespace, or opens it again. While it is closed its clients are disconnected (0x87) and new ones
    /// refused (CONNACK 0x87), but for operators of the whole system; sessions and retained messages stay. Returns how
    /// many clients had to go.
    pub fn set_closed(&self, namespace: &Namespace, is_closed: bool) -> usize {
        let space = self.inner.spaces.get(namespace);
        space.map_or(0, |space| space.set_closed(is_closed))
    }

    /// Whether a namespace is closed; one that is not mounted is not.
    pub fn is_closed(&self, namespace: &Namespace) -> bool {
        self.inner.spaces.get(namespace).is_some_and(|space| space.is_closed())
    }

    /// Has a namespace keep to its share of the pool of its tenant from now on.
    pub fn set_quota(&self, namespace: &Namespace, quota: NamespaceQuota) {
        if let Some(space) = self.inner.spaces.get(namespace) {
            space.quota().keep_to(quota, Instant::now());
        }
    }

    /// The JWT of an API token, to be shown this once; it opens once its row is committed.
    pub fn sign_api_token(&self, key: &ApiTokenKey, row: &ApiToken) -> String {
        self.inner.door.authenticator.sign_token(key, row)
    }
}
