//! What a bridge says about itself on `events/bridges/<bridge>`, retained, and to the admin API.

use super::account::{InAccount, OutAccount};
use broker::Outgoing;
use proto::platform::EventTopic;
use proto::{BridgeId, Namespace, PlatformTopic, Qos, TimestampMs};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The state of a bridge in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BridgePhase {
    /// There is no connection; it is being made.
    Connecting,
    /// Connected, and everything flows.
    Connected,
    /// Connected, but the remote broker refuses a subscription or cannot take messages.
    Degraded,
    /// An operator has paused it.
    Paused,
    /// Stopped with the node.
    Stopped,
    /// It cannot run: its configuration is refused, or its restarts are used up.
    Faulted,
}

/// The payload of the status topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BridgeStatus {
    /// In one word.
    pub(crate) state: BridgePhase,
    /// When it was said.
    pub(crate) t: TimestampMs,
    /// Why it is not connected as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The name of this namespace on the path of messages over bridges.
    pub(crate) origin: String,
    /// Connections made.
    pub(crate) connects: u64,
    /// Connections lost, and attempts that failed.
    pub(crate) losses: u64,
    /// What goes out.
    pub(crate) out: OutAccount,
    /// What comes in.
    #[serde(rename = "in")]
    pub(crate) inward: InAccount,
}

impl BridgeStatus {
    /// A status without accounts, of a bridge that does not run.
    pub(crate) fn down(
        state: BridgePhase,
        reason: Option<String>,
        origin: &str,
        t: TimestampMs,
    ) -> Self {
        Self {
            state,
            t,
            reason,
            origin: origin.to_owned(),
            connects: 0,
            losses: 0,
            out: OutAccount::default(),
            inward: InAccount::default(),
        }
    }

    /// Whether somebody should hear at once that this is no longer `other`.
    pub(crate) fn is_turn_from(&self, other: &Self) -> bool {
        self.state != other.state || self.reason != other.reason
    }

    /// The retained message that says it.
    pub(crate) fn message(&self, bridge: &BridgeId) -> Outgoing {
        // Made of texts and numbers only: serialisation has no way to fail.
        let payload = serde_json::to_vec(self).unwrap_or_default();
        let message = Outgoing::new(topic(bridge).topic(), payload);
        message.qos(Qos::AtLeastOnce).retained()
    }
}

/// Where the status of a bridge is said.
pub(crate) fn topic(bridge: &BridgeId) -> PlatformTopic {
    PlatformTopic::Event(EventTopic::Bridge(bridge.clone()))
}

/// The statuses of all bridges at this moment, for the admin API: the topic is told less often.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<HashMap<(Namespace, BridgeId), BridgeStatus>>);

impl Board {
    /// Puts up the status of a bridge.
    pub(crate) fn show(&self, namespace: &Namespace, bridge: &BridgeId, status: BridgeStatus) {
        let key = (namespace.clone(), bridge.clone());
        self.lock().insert(key, status);
    }

    /// The status of a bridge, if it runs or has run.
    pub(crate) fn status(&self, namespace: &Namespace, bridge: &BridgeId) -> Option<BridgeStatus> {
        self.lock().get(&(namespace.clone(), bridge.clone())).cloned()
    }

    /// Forgets a bridge.
    pub(crate) fn forget(&self, namespace: &Namespace, bridge: &BridgeId) {
        self.lock().remove(&(namespace.clone(), bridge.clone()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Namespace, BridgeId), BridgeStatus>> {
        // Nobody panics while holding it, and a map of plain values is never half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
