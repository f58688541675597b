//! `[audit]` and `[backup]`: how long records are kept, and where backups go.

use super::Problems;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The section `audit`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuditConfig {
    /// Days that records are kept; 0: for ever.
    pub(crate) keep_days: u64,
    /// Records that are kept for each tenant.
    pub(crate) records_max: u64,
}

impl Default for AuditConfig {
    fn default() -> Self {
        let settings = actors::Settings::default();
        Self { keep_days: settings.audit_keep_days, records_max: settings.audit_records_max }
    }
}

impl AuditConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.within("audit.keep_days", self.keep_days, 0..=36_500);
        problems.within("audit.records_max", self.records_max, 1_000..=1_000_000_000);
    }
}

/// The section `backup`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BackupConfig {
    /// The directory; empty: `backups` in that of the store.
    pub(crate) dir: PathBuf,
    /// Backups that may be there.
    pub(crate) count_max: usize,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self { dir: PathBuf::new(), count_max: actors::Settings::default().backups_max }
    }
}

impl BackupConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.within("backup.count_max", self.count_max as u64, 1..=10_000);
    }

    /// Where backups go, for a store in `data`.
    pub(crate) fn directory(&self, data: &Path) -> PathBuf {
        match self.dir.as_os_str().is_empty() {
            true => data.join("backups"),
            false => self.dir.clone(),
        }
    }
}
