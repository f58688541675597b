//! `[broker]`: what the broker does where several ways are right.

use broker::{Policies, SharedStrategy};
use serde::{Deserialize, Serialize};

/// The section `broker`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BrokerConfig {
    /// How a shared subscription spreads its messages over its members.
    pub(crate) shared_strategy: SharedStrategy,
}

impl BrokerConfig {
    /// What the broker is told.
    pub(crate) fn policies(&self) -> Policies {
        Policies { shared_strategy: self.shared_strategy }
    }
}
