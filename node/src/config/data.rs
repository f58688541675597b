//! `[data]`: where the node keeps its state, and what an acknowledgement promises.

use super::Problems;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The section `data`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DataConfig {
    /// Directory of the store; made if it is not there.
    pub(crate) dir: PathBuf,
    /// What must be on disk before an acknowledgement.
    pub(crate) durability: Durability,
}

impl Default for DataConfig {
    /// Below the working directory: a service sets its own, a trial leaves nothing elsewhere.
    fn default() -> Self {
        Self { dir: PathBuf::from("data"), durability: Durability::Sync }
    }
}

impl DataConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.dir.as_os_str().is_empty() {
            problems.add("data.dir", "a directory is needed");
        }
    }

    /// The one file of the store.
    pub(crate) fn store_path(&self) -> PathBuf {
        self.dir.join("manifold.redb")
    }
}

/// What must be on disk before an acknowledgement (contract section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "&'static str")]
pub(crate) enum Durability {
    /// Everything that is owed, after an fsync.
    Sync,
}

impl TryFrom<String> for Durability {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "sync" => Ok(Self::Sync),
            _ => Err(format!("`{text}` is not available in this version, only `sync` is")),
        }
    }
}

impl From<Durability> for &'static str {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Sync => "sync",
        }
    }
}
