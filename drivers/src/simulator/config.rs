//! What an operator says about a simulated machine.

use crate::config::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A simulated machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulatorConfig {
    /// Chance begins here: the same seed gives the same noise.
    #[serde(default)]
    pub seed: u64,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Faults::is_none")]
    pub faults: Faults,
}

/// What goes wrong with a simulated machine; nothing unless it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Seconds from one outage to the next, 1 to 86400; 0: there are none.
    pub down_every_secs: u32,
    /// How long an outage lasts, in seconds; less than the time between two.
    pub down_for_secs: u32,
    /// Milliseconds before each answer, at most 10000.
    pub delay_ms: u32,
    /// Every so many reads of a point one is refused; 0: none.
    pub refuse_every: u32,
}

/// The longest time between two outages.
const DOWN_EVERY_SECS_MAX: u32 = 86_400;

/// The longest delay of an answer.
const DELAY_MS_MAX: u32 = 10_000;

impl Faults {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the machine is down so many milliseconds after it was opened: at the end of each period.
    pub(super) fn is_down(&self, elapsed_ms: u64) -> bool {
        let every_ms = u64::from(self.down_every_secs) * 1000;
        let up_ms = every_ms - u64::from(self.down_for_secs) * 1000;
        every_ms > 0 && elapsed_ms % every_ms >= up_ms
    }
}

impl SimulatorConfig {
    /// Checks every value against its limits.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Faults { down_every_secs, down_for_secs, delay_ms, .. } = self.faults;
        if down_every_secs > DOWN_EVERY_SECS_MAX {
            let reason = format!("{down_every_secs} is more than {DOWN_EVERY_SECS_MAX}");
            return Err(ConfigError::new("faults.down_every_secs", reason));
        }
        if down_for_secs > 0 && down_for_secs >= down_every_secs {
            let reason = "an outage must be shorter than the time from one to the next";
            return Err(ConfigError::new("faults.down_for_secs", reason));
        }
        if delay_ms > DELAY_MS_MAX {
            let reason = format!("{delay_ms} is more than {DELAY_MS_MAX}");
            return Err(ConfigError::new("faults.delay_ms", reason));
        }
        Ok(())
    }
}
