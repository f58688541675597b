//! The rows beside those of things: indexes, groups, and reported values.

use crate::admin::ThingQuery;
use proto::id::{GroupId, Label};
use proto::{EdgeId, Namespace, ThingId, TimestampMs, TopicName};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// Where a group is kept.
pub(crate) type GroupKey = (Namespace, GroupId);

/// A group of things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupRow {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// Whom it has: whoever fits. Absent: those that were added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<ThingQuery>,
    /// When it was created.
    pub(crate) created: TimestampMs,
    /// When it was last changed, its members apart.
    pub(crate) updated: TimestampMs,
    /// Rises with each change, from 1.
    pub(crate) revision: u64,
}

/// The thing of a serial number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct BySerial(pub(crate) ThingId);

/// A row that says all by its key.
macro_rules! marks {
    ($($(#[$what:meta])* $name:ident: $key:ty, $table:literal;)*) => {$(
        $(#[$what])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name;

        impl Row for $name {
            type Key = $key;
            const TABLE: &'static str = $table;
            const VERSION: u8 = 1;
            fn encode(&self, _out: &mut Vec<u8>) {}
            fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
                match (version, bytes) {
                    (1, []) => Ok(Self),
                    (1, _) => Err(RowError::malformed("a mark holds nothing")),
                    (version, _) => Err(RowError::UnknownVersion { version, newest: 1 }),
                }
            }
        }
    )*};
}

marks! {
    /// A thing has a tag.
    ByTag: (Namespace, Label, ThingId), "things_by_tag";
    /// A thing is behind a gateway, which comes first.
    ByParent: (Namespace, ThingId, ThingId), "things_by_parent";
    /// A thing is at an edge node.
    AtEdge: (Namespace, EdgeId, ThingId), "things_at_edges";
    /// A thing was added to a group.
    GroupMemberRow: (Namespace, GroupId, ThingId), "thing_group_members";
    /// A thing has reported the value of a topic.
    ReportedRow: (Namespace, ThingId, TopicName), "things_reported";
    /// The value of a topic was reported by a thing.
    ReporterRow: (Namespace, TopicName, ThingId), "values_reported";
}

impl Row for GroupRow {
    type Key = GroupKey;
    const TABLE: &'static str = "thing_groups";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for BySerial {
    type Key = (Namespace, String);
    const TABLE: &'static str = "things_by_serial";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
