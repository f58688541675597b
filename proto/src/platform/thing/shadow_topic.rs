//! The topics of a shadow: `shadow/…` of the classic one, `shadow/name/<shadow>/…` of a named one.

use super::Stage;
use crate::id::ShadowName;
use std::fmt;

/// What follows `shadow/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShadowTopic {
    /// The named shadow; `None` is the classic one.
    pub shadow: Option<ShadowName>,
    /// What is asked, answered or told.
    pub verb: ShadowVerb,
}

/// The last levels of a shadow topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShadowVerb {
    /// `get`.
    Get(Stage),
    /// `update`.
    Update(Stage),
    /// `delete`.
    Delete(Stage),
    /// `update/delta`: what the device has yet to do.
    Delta,
    /// `update/documents`: the documents before and after an update.
    Documents,
}

impl ShadowTopic {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (shadow, verb) = match text.strip_prefix("name/") {
            None => (None, text),
            Some(named) => {
                let (name, verb) = named.split_once('/')?;
                (Some(ShadowName::parse(name).ok()?), verb)
            }
        };
        Some(Self { shadow, verb: ShadowVerb::parse(verb)? })
    }
}

impl fmt::Display for ShadowTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.shadow {
            write!(f, "name/{name}/")?;
        }
        self.verb.fmt(f)
    }
}

impl ShadowVerb {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "update/delta" => return Some(Self::Delta),
            "update/documents" => return Some(Self::Documents),
            _ => {}
        }
        let (request, stage) = Stage::split(text);
        match request {
            "get" => Some(Self::Get(stage)),
            "update" => Some(Self::Update(stage)),
            "delete" => Some(Self::Delete(stage)),
            _ => None,
        }
    }

    /// The topic that answers a request at `stage`; `None` if this is not a request.
    #[must_use]
    pub fn answer(self, stage: Stage) -> Option<Self> {
        match self {
            Self::Get(Stage::Request) => Some(Self::Get(stage)),
            Self::Update(Stage::Request) => Some(Self::Update(stage)),
            Self::Delete(Stage::Request) => Some(Self::Delete(stage)),
            _ => None,
        }
    }
}

impl fmt::Display for ShadowVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(stage) => write!(f, "get{}", stage.suffix()),
            Self::Update(stage) => write!(f, "update{}", stage.suffix()),
            Self::Delete(stage) => write!(f, "delete{}", stage.suffix()),
            Self::Delta => f.write_str("update/delta"),
            Self::Documents => f.write_str("update/documents"),
        }
    }
}
