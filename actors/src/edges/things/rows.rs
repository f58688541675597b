//! What the hub keeps of things at edge nodes.

use super::documents::{ResultThere, ShadowThere};
use crate::device::presence::Status;
use crate::device::row::ShadowKey;
use crate::device::shadow::{Place, ShadowState};
use proto::{CommandId, EdgeId, Namespace, Refusal, ThingId, TimestampMs};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// Where it is kept what an edge node has been given of a thing.
pub(crate) type GivenKey = (Namespace, EdgeId, ThingId);

/// Where it is kept what an edge node has said of a thing, until that is taken in. The last part tells what it is
/// about, so that the newest word replaces those before.
pub(crate) type SaidKey = (Namespace, ThingId, String);

/// The registration that an edge node has of a thing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenRow {
    /// Which life of the edge node's data folder has it.
    pub(crate) life: u64,
    /// The revision at the hub; absent if the edge node has not taken any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u64>,
    /// What it has not taken; that is tried again when there is another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<NotTaken>,
}

/// A registration that an edge node does not take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotTaken {
    pub(crate) revision: u64,
    pub(crate) refusal: Refusal,
}

/// A shadow as an edge node last had it, as far as the hub has taken that in: what changes at both ends began with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BaseRow {
    /// Which life of the edge node's data folder it is of.
    pub(crate) life: u64,
    /// When the thing was registered there.
    pub(crate) since: TimestampMs,
    /// As the edge node had it, with its version.
    pub(crate) shadow: ShadowState,
    /// The shadow of the hub that the edge node has not taken: it is not tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<Place>,
}

/// A shadow on its way to an edge node. If that has taken it, changes there begin with it, also if nobody has heard so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfferRow {
    /// To which life of the edge node's data folder.
    pub(crate) life: u64,
    /// What it is to replace there.
    pub(crate) over: Place,
    /// As the hub had it, with its version.
    pub(crate) shadow: ShadowState,
}

/// What an edge node has said of a thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaidRow {
    pub(crate) edge: EdgeId,
    /// In which life of its data folder.
    pub(crate) life: u64,
    pub(crate) said: Said,
}

/// What it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// A shadow, as it is there.
    Shadow(Box<ShadowThere>),
    /// A shadow of the hub is not taken.
    ShadowRefused { name: String, place: Place },
    /// How a command has ended.
    Result(Box<ResultThere>),
    /// A command is taken, or is not for this reason.
    Command { id: CommandId, refusal: Option<Refusal> },
    /// Whether the device is connected.
    Status(Status),
}

impl Said {
    /// What it is about, as part of a key.
    pub(crate) fn about(&self) -> String {
        match self {
            Self::Shadow(it) => format!("shadow/{}", it.name),
            Self::ShadowRefused { name, .. } => format!("shadow refused/{name}"),
            Self::Result(it) => format!("result/{}", it.id),
            Self::Command { id, .. } => format!("command/{id}"),
            Self::Status(_) => "status".to_owned(),
        }
    }

    /// About what it takes in the store.
    pub(crate) fn bytes(&self) -> usize {
        const ENVELOPE: usize = 256;
        let payload = match self {
            Self::Shadow(it) => proto::shadow::to_json(it).len(),
            Self::Result(it) => proto::shadow::to_json(it).len(),
            Self::ShadowRefused { .. } | Self::Command { .. } | Self::Status(_) => 0,
        };
        ENVELOPE + payload
    }
}

impl BaseRow {
    /// The base that nothing has been said of yet.
    pub(crate) fn none() -> Self {
        let shadow = ShadowState::default();
        Self { life: 0, since: TimestampMs(0), shadow, refused: None }
    }

    /// The same, if it is of this life of the edge node; another one has nothing that is known of.
    pub(crate) fn of_life(self, life: u64) -> Self {
        if self.life == life { self } else { Self::none() }
    }

    /// Whether the hub has something else than the edge node, which could be given.
    pub(crate) fn is_behind(&self, hub: &ShadowState) -> bool {
        !self.shadow.has_same_state(hub) && self.refused != Some(hub.place())
    }
}

impl OfferRow {
    /// Whether a shadow of the edge node tells what has become of the offer; and if so, whether it was taken.
    pub(crate) fn is_settled_by(&self, there: &ShadowState) -> Option<bool> {
        if there.of_hub == Some(self.shadow.place()) {
            return Some(true);
        }
        (there.place() > self.over).then_some(false)
    }
}

macro_rules! json_row {
    ($name:ident, $key:ty, $table:literal) => {
        impl Row for $name {
            type Key = $key;
            const TABLE: &'static str = $table;
            const VERSION: u8 = 1;
            fn encode(&self, out: &mut Vec<u8>) {
                store::encode_json(self, out);
            }
            fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
                store::decode_json::<Self>(version, bytes)
            }
        }
    };
}

json_row!(GivenRow, GivenKey, "edge_things");
json_row!(BaseRow, ShadowKey, "edge_shadows");
json_row!(OfferRow, ShadowKey, "edge_offers");
json_row!(SaidRow, SaidKey, "edge_said");
