//! `[data]`: where the node keeps its state, and what an acknowledgement promises.

use super::Problems;
use proto::Namespace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What `data.sync_interval_ms` may be.
const SYNC_INTERVAL_MS: std::ops::RangeInclusive<u64> = 1..=60_000;

/// The section `data`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DataConfig {
    /// Directory of the store; made if it is not there.
    pub(crate) dir: PathBuf,
    /// What must be on disk before an acknowledgement.
    pub(crate) durability: Durability,
    /// Milliseconds within which `interval` brings messages to the disk.
    pub(crate) sync_interval_ms: u64,
    /// Namespaces whose durability is another one.
    pub(crate) namespaces: BTreeMap<String, Durability>,
}

impl Default for DataConfig {
    /// Below the working directory: a service sets its own, a trial leaves nothing elsewhere.
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data"),
            durability: Durability::Sync,
            sync_interval_ms: 100,
            namespaces: BTreeMap::new(),
        }
    }
}

impl DataConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.dir.as_os_str().is_empty() {
            problems.add("data.dir", "a directory is needed");
        }
        problems.within("data.sync_interval_ms", self.sync_interval_ms, SYNC_INTERVAL_MS);
        for name in self.namespaces.keys() {
            if let Err(error) = Namespace::parse(name) {
                problems.add(&format!("data.namespaces.{name}"), error);
            }
        }
    }

    /// What acknowledgements promise in each namespace.
    pub(crate) fn promises(&self) -> broker::Promises {
        let named = self.namespaces.iter().filter_map(|(name, durability)| {
            Some((Namespace::parse(name).ok()?, store::Durability::from(*durability)))
        });
        broker::Promises { usual: self.durability.into(), namespaces: named.collect() }
    }

    /// What a power cut may lose of a namespace with `interval`.
    pub(crate) fn sync_interval(&self) -> Duration {
        Duration::from_millis(self.sync_interval_ms)
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
    /// The operating system has it; an fsync follows within `data.sync_interval_ms`.
    Interval,
    /// The operating system has it.
    Memory,
}

impl TryFrom<String> for Durability {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "sync" => Ok(Self::Sync),
            "interval" => Ok(Self::Interval),
            "memory" => Ok(Self::Memory),
            _ => Err(format!("`{text}` is none of `sync`, `interval`, `memory`")),
        }
    }
}

impl From<Durability> for &'static str {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Sync => "sync",
            Durability::Interval => "interval",
            Durability::Memory => "memory",
        }
    }
}

impl From<Durability> for store::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Sync => Self::Sync,
            Durability::Interval => Self::Interval,
            Durability::Memory => Self::Memory,
        }
    }
}
