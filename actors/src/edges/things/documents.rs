//! What a hub and an edge node tell each other of a thing.

use crate::device::command::row::{Ended, Final};
use crate::device::shadow::{Place, ShadowState, Stamped};
use proto::{CommandId, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// A shadow as the edge node has it, on `edges/<edge>/things/<thing>/shadow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShadowThere {
    /// Empty for the classic one.
    pub(crate) name: String,
    /// When the thing was registered there: versions of an earlier registration mean nothing.
    pub(crate) since: TimestampMs,
    /// 0 if there never was one.
    pub(crate) version: u64,
    /// Whether it is there; one that was deleted keeps its version.
    pub(crate) exists: bool,
    pub(crate) desired: Stamped,
    pub(crate) reported: Stamped,
    /// The shadow of the hub that it was last made to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) of_hub: Option<Place>,
}

/// How a command has ended at the edge node, on `edges/<edge>/things/<thing>/result`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResultThere {
    pub(crate) id: CommandId,
    pub(crate) status: Final,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Json>,
    pub(crate) t: TimestampMs,
}

impl ShadowThere {
    /// A shadow of a thing that was registered at `since`.
    pub(crate) fn of(name: &str, since: TimestampMs, state: &ShadowState) -> Self {
        Self {
            name: name.to_owned(),
            since,
            version: state.version,
            exists: state.exists,
            desired: state.desired.clone(),
            reported: state.reported.clone(),
            of_hub: state.of_hub,
        }
    }

    /// Its place among all that the shadow has been there.
    pub(crate) fn at(&self) -> (TimestampMs, Place) {
        (self.since, (self.version, !self.exists))
    }

    /// The shadow as the edge node keeps it.
    pub(crate) fn into_state(self) -> ShadowState {
        let Self { version, exists, desired, reported, of_hub, .. } = self;
        ShadowState { version, exists, desired, reported, of_hub }
    }
}

impl ResultThere {
    /// What is told of a command that has ended.
    pub(crate) fn of(id: &CommandId, ended: &Ended) -> Self {
        Self {
            id: id.clone(),
            status: ended.status,
            output: ended.output.clone(),
            error: ended.error.clone(),
            t: ended.ended,
        }
    }
}
