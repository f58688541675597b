//! The topics of an edge node, below `edges/<edge>/`.

use crate::id::{DriverId, ThingId};
use std::fmt;

/// What follows `edges/<edge>/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EdgeTopic {
    /// `status`: state of the edge node, retained.
    Status,
    /// `drivers/<driver>/status`: state of one driver, retained.
    DriverStatus(DriverId),
    /// `uplink`: a shipment of records, from the edge node to its hub ([`crate::uplink::Shipment`]).
    Uplink,
    /// `uplink/report`: how the uplink is, said by the edge node to its hub.
    UplinkReport,
    /// `uplink/status`: how the uplink is, retained; each end says it in its own namespace.
    UplinkStatus,
    /// `uplink/known`: the hub tells the edge node which records it has ([`crate::uplink::Known`]).
    UplinkKnown,
    /// `configuration`: how far the edge node has the drivers that the hub wants it to have, retained by the hub.
    Configuration,
    /// `question`: a request of an operator, from the hub to the edge node.
    Question,
    /// `answer`: the answer to one.
    Answer,
    /// `things/<thing>/…`: what has become of a thing that the hub has given to the edge node, said to the hub.
    Thing(ThingId, ThingNews),
}

/// What an edge node says of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThingNews {
    /// `shadow`: one of its shadows, as it is now.
    Shadow,
    /// `result`: how a command has ended.
    Result,
    /// `status`: whether its device is connected.
    Status,
}

impl EdgeTopic {
    /// Whether only the hub and the edge node may hear it: requests and answers may have secrets in them.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Question | Self::Answer)
    }
}

impl EdgeTopic {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "status" => return Some(Self::Status),
            "uplink" => return Some(Self::Uplink),
            "uplink/report" => return Some(Self::UplinkReport),
            "uplink/status" => return Some(Self::UplinkStatus),
            "uplink/known" => return Some(Self::UplinkKnown),
            "configuration" => return Some(Self::Configuration),
            "question" => return Some(Self::Question),
            "answer" => return Some(Self::Answer),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("things/") {
            let (thing, news) = rest.split_once('/')?;
            return Some(Self::Thing(ThingId::parse(thing).ok()?, ThingNews::parse(news)?));
        }
        let driver = text.strip_prefix("drivers/")?.strip_suffix("/status")?;
        Some(Self::DriverStatus(DriverId::parse(driver).ok()?))
    }
}

impl fmt::Display for EdgeTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Uplink => f.write_str("uplink"),
            Self::UplinkReport => f.write_str("uplink/report"),
            Self::UplinkStatus => f.write_str("uplink/status"),
            Self::UplinkKnown => f.write_str("uplink/known"),
            Self::Configuration => f.write_str("configuration"),
            Self::Question => f.write_str("question"),
            Self::Answer => f.write_str("answer"),
            Self::DriverStatus(driver) => write!(f, "drivers/{driver}/status"),
            Self::Thing(thing, news) => write!(f, "things/{thing}/{}", news.as_str()),
        }
    }
}

impl ThingNews {
    const ALL: [Self; 3] = [Self::Shadow, Self::Result, Self::Status];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Result => "result",
            Self::Status => "status",
        }
    }
}
