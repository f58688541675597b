//! `[broker]`: what the broker does where several ways are right.

use super::Problems;
use broker::{Policies, QueueFull, SharedStrategy};
use serde::{Deserialize, Serialize};

/// The section `broker`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BrokerConfig {
    /// How a shared subscription spreads its messages over its members.
    pub(crate) shared_strategy: SharedStrategy,
    /// What happens to a message for a session whose queue is full.
    pub(crate) queue_full: QueueFull,
    /// Seconds between two publications of the figures under `$SYS`; 0 for none.
    pub(crate) sys_interval_secs: u32,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        let Policies { shared_strategy, queue_full, sys_interval_secs } = Policies::default();
        Self { shared_strategy, queue_full, sys_interval_secs }
    }
}

impl BrokerConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.within("broker.sys_interval_secs", self.sys_interval_secs.into(), 0..=3600);
    }

    /// What the broker is told.
    pub(crate) fn policies(&self) -> Policies {
        let Self { shared_strategy, queue_full, sys_interval_secs } = *self;
        Policies { shared_strategy, queue_full, sys_interval_secs }
    }
}
