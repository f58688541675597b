//! What an edge node is told of its hub.

use drivers::ConfigError;
use drivers::bridge::RemoteConfig;
use proto::{Namespace, TopicFilter};

/// The most filters: each is tried for every topic.
const FILTERS_MAX: usize = 64;

/// The hub, what goes up to it, and how much of that may wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkSettings {
    /// The hub, and the client of it that the edge node is.
    pub remote: RemoteConfig,
    /// The enrolment of the hub that the secret is of; absent: it is the edge node's own.
    pub enrolment: Option<String>,
    /// The namespace that goes up.
    pub namespace: Namespace,
    /// The topics that go up, besides what the edge node says of itself.
    pub filters: Vec<TopicFilter>,
    /// The most bytes that wait, on disk.
    pub bytes_max: u64,
    /// The longest that a record waits, in milliseconds.
    pub age_ms_max: u64,
}

impl UplinkSettings {
    /// Checks every value against its limits; does no I/O. The field is named as in the configuration.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.remote.check()?;
        if self.filters.len() > FILTERS_MAX {
            let reason = format!("there are {}, at most {FILTERS_MAX}", self.filters.len());
            return Err(refused(reason));
        }
        for filter in &self.filters {
            if proto::platform::crossing::is_private(filter.as_str()) {
                let reason = format!("`{filter}` has topics that never leave a node");
                return Err(refused(reason));
            }
        }
        Ok(())
    }
}

fn refused(reason: String) -> ConfigError {
    ConfigError::new("filters", reason)
}
