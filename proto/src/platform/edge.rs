//! The topics of an edge node, below `edges/<edge>/`.

use crate::id::DriverId;
use std::fmt;

/// What follows `edges/<edge>/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EdgeTopic {
    /// `status`: state of the edge node, retained.
    Status,
    /// `drivers/<driver>/status`: state of one driver, retained.
    DriverStatus(DriverId),
}

impl EdgeTopic {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "status" {
            return Some(Self::Status);
        }
        let driver = text.strip_prefix("drivers/")?.strip_suffix("/status")?;
        Some(Self::DriverStatus(DriverId::parse(driver).ok()?))
    }
}

impl fmt::Display for EdgeTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::DriverStatus(driver) => write!(f, "drivers/{driver}/status"),
        }
    }
}
