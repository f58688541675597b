//! The limits and policies of the supervision tree, as one value with documented defaults.

use crate::edge_node::local_edge;
use crate::restart::RestartPolicy;
use crate::uplink::UplinkSettings;
use proto::EdgeId;
use proto::shadow;
use std::path::PathBuf;

/// Limits and policies. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of the edge node in this process; on a hub `local`.
    pub edge: EdgeId,
    /// The hub of an edge node.
    pub uplink: Option<UplinkSettings>,
    /// The secret of the user `admin` of a new system; one is made if absent.
    pub admin_secret: Option<String>,
    /// The largest shadow, and the largest request about one: 64 KiB, what a microcontroller can
    /// still hold.
    pub shadow_bytes_max: usize,
    /// Objects and arrays within one another in a shadow; AWS allows 8.
    pub shadow_depth_max: usize,
    /// Shadows of one thing, deleted ones whose version is kept included.
    pub shadows_per_thing_max: usize,
    /// The last changes of one shadow that are kept with who made them; 0 keeps none.
    pub shadow_changes_max: u64,
    /// The largest invocation and the largest response of a command, in bytes of JSON.
    pub command_bytes_max: usize,
    /// Commands of one thing that have yet to end; a further one is rejected.
    pub commands_open_max: usize,
    /// Commands of one thing that are remembered after their end, so that asking again does nothing.
    pub commands_remembered_max: usize,
    /// How long they are.
    pub command_remembered_ms: u64,
    /// Values in one telemetry message.
    pub telemetry_values_max: usize,
    /// Objects within one another in telemetry: with the location they still make a readable path.
    pub telemetry_depth_max: usize,
    /// How far a device's clock may be ahead.
    pub telemetry_ahead_ms_max: u64,
    /// Different values that one thing may ever report: each is a retained message.
    pub keys_per_thing_max: u64,
    /// A device without messages for so long is put to sleep.
    pub device_idle_ms: u64,
    /// Messages that wait for one failed device; few, so that it does not use up the window of all.
    pub device_mail_max: usize,
    /// Messages from the broker that a tenant may hold unacknowledged; publishers wait behind it.
    pub tenant_window: usize,
    /// Requests that the admin API of a namespace may hold unacknowledged.
    pub admin_window: usize,
    /// Writes that one driver may hold unacknowledged.
    pub driver_window: usize,
    /// Writes that wait for one machine; further ones are refused.
    pub writes_max: usize,
    /// How often figures of a driver are published, if they have changed.
    pub driver_status_ms: u64,
    /// Messages that one bridge may hold unacknowledged on their way to its queue.
    pub bridge_window: usize,
    /// How often figures of a bridge are published, if they have changed.
    pub bridge_status_ms: u64,
    /// The longest that any single operation of a driver may take before it is given up as hung.
    pub driver_deadline_ms: u64,
    /// Answers of the admin API that are kept to make repeated requests harmless, per namespace.
    pub answers_max: usize,
    /// Days that audit records are kept; 0: for ever.
    pub audit_keep_days: u64,
    /// Audit records that are kept, for each tenant.
    pub audit_records_max: u64,
    /// Where backups are made; absent: nowhere.
    pub backup_dir: Option<PathBuf>,
    /// Backups that may be there; a further one is refused.
    pub backups_max: usize,
    /// How long one part waits for an answer of another.
    pub call_timeout_ms: u64,
    /// When failed children are started again.
    pub restart: RestartPolicy,
    /// How long a child whose restarts are used up stays down, unless it is configured anew.
    pub quarantine_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            edge: local_edge(),
            uplink: None,
            admin_secret: None,
            shadow_bytes_max: 64 * 1024,
            shadow_depth_max: 16,
            shadows_per_thing_max: 100,
            shadow_changes_max: 10,
            command_bytes_max: 64 * 1024,
            commands_open_max: 64,
            commands_remembered_max: 100,
            command_remembered_ms: 24 * 3600 * 1000,
            telemetry_values_max: 4096,
            telemetry_depth_max: 8,
            telemetry_ahead_ms_max: 24 * 3600 * 1000,
            keys_per_thing_max: 4096,
            device_idle_ms: 60_000,
            device_mail_max: 64,
            tenant_window: 1024,
            admin_window: 256,
            driver_window: 256,
            writes_max: 64,
            driver_status_ms: 10_000,
            bridge_window: 1024,
            bridge_status_ms: 5_000,
            // Longer than the longest time-out of a driver, so that it never hides a better reason.
            driver_deadline_ms: 90_000,
            answers_max: 1024,
            audit_keep_days: 365,
            audit_records_max: 1_000_000,
            backup_dir: None,
            backups_max: 10,
            call_timeout_ms: 10_000,
            restart: RestartPolicy::default(),
            quarantine_ms: 300_000,
        }
    }
}

impl Settings {
    /// The limits of shadow documents.
    pub(crate) fn shadow_limits(&self) -> shadow::Limits {
        shadow::Limits { bytes_max: self.shadow_bytes_max, depth_max: self.shadow_depth_max }
    }
}
