//! What the tree counts about itself, and the reading of it that is shown.

use crate::audit::log::AuditFigures;
use crate::bridge::account::{InAccount, OutAccount};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only rises, or a gauge.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn increase(&self) {
        self.add(1);
    }

    /// So many more.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// One less, for gauges.
    pub(crate) fn decrease(&self) {
        self.subtract(1);
    }

    /// So many less, for gauges.
    pub(crate) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// Makes it this.
    pub(crate) fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A reading of the tree's figures since the start of the process. Gauges say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Gauge: namespaces served.
    pub tenants: u64,
    /// Gauge: devices awake.
    pub devices_awake: u64,
    /// Devices woken by a message.
    pub devices_woken: u64,
    /// Devices put to sleep.
    pub devices_slept: u64,
    /// Restarts of any actor after a failure.
    pub restarts: u64,
    /// Devices and drivers put in quarantine because their restarts were used up.
    pub quarantined: u64,
    /// Messages for things that are not registered.
    pub unregistered: u64,
    /// Messages for devices that were refused because the device is in quarantine.
    pub refused_in_quarantine: u64,
    /// Messages that waited for a restart and were given back to their publishers at the bound.
    pub mail_overflows: u64,
    /// Changes of presence published.
    pub presence_changes: u64,
    /// Shadow requests done.
    pub shadow_accepted: u64,
    /// Shadow requests refused.
    pub shadow_rejected: u64,
    /// Telemetry messages taken in.
    pub telemetry_accepted: u64,
    /// Telemetry messages refused.
    pub telemetry_rejected: u64,
    /// Values that telemetry brought.
    pub telemetry_values: u64,
    /// Values that were older than the current one and did not replace it.
    pub telemetry_backfilled: u64,
    /// Events of devices taken in.
    pub events_accepted: u64,
    /// Events of devices refused.
    pub events_rejected: u64,
    /// Commands taken, to be handed to their devices.
    pub commands_taken: u64,
    /// Commands handed to their devices.
    pub commands_sent: u64,
    /// Commands that devices have done.
    pub commands_succeeded: u64,
    /// Commands that devices could not do.
    pub commands_failed: u64,
    /// Commands handed over and not answered in time.
    pub commands_timed_out: u64,
    /// Commands not taken, or taken back.
    pub commands_rejected: u64,
    /// Commands whose devices could not be reached in time.
    pub commands_expired: u64,
    /// Invocations whose id was that of a command already known.
    pub commands_repeated: u64,
    /// Invocations that could not be read, or were for nobody.
    pub commands_refused: u64,
    /// Responses to no command that waits for one.
    pub command_responses_ignored: u64,
    /// Messages not taken in because the store could not keep them; their publishers send again.
    pub commits_failed: u64,
    /// Gauge: drivers that are there.
    pub drivers: u64,
    /// Gauge: drivers that have a connection.
    pub drivers_connected: u64,
    /// Connections to machines that failed or were lost.
    pub driver_losses: u64,
    /// Reads of machines.
    pub driver_polls: u64,
    /// Poll ticks that passed while a machine was busy.
    pub driver_ticks_missed: u64,
    /// Events of machines published.
    pub driver_events: u64,
    /// Events of machines given up, since too many waited to be published.
    pub driver_events_lost: u64,
    /// Values published that machines had kept while they were away.
    pub values_recalled: u64,
    /// Times without values that machines are not asked for, or not for all of them.
    pub driver_gaps_lost: u64,
    /// Points read well.
    pub points_good: u64,
    /// Points that the machine refused.
    pub points_bad: u64,
    /// Values marked stale.
    pub points_stale: u64,
    /// Values of machines published.
    pub values_published: u64,
    /// Writes done.
    pub writes_done: u64,
    /// Writes refused or failed.
    pub writes_refused: u64,
    /// Gauge: bridges to other brokers that are there.
    pub bridges: u64,
    /// Gauge: bridges that have a connection.
    pub bridges_connected: u64,
    /// Connections of bridges made.
    pub bridge_connects: u64,
    /// Connections of bridges lost, and attempts that failed.
    pub bridge_losses: u64,
    /// Messages given to bridges to go out.
    pub bridge_out_received: u64,
    /// Messages of bridges that remote brokers have taken.
    pub bridge_out_sent: u64,
    /// Messages that bridges dropped on the way out.
    pub bridge_out_dropped: u64,
    /// Gauge: messages that wait in bridges to go out.
    pub bridge_out_queued: u64,
    /// Messages that remote brokers sent to bridges.
    pub bridge_in_received: u64,
    /// Messages of remote brokers published.
    pub bridge_in_published: u64,
    /// Messages of remote brokers dropped.
    pub bridge_in_dropped: u64,
    /// Gauge: edge nodes that are connected.
    pub edges_online: u64,
    /// Records of edge nodes taken in.
    pub edge_records: u64,
    /// Records of edge nodes that came more than once, and count once.
    pub edge_records_again: u64,
    /// Records that edge nodes had to drop.
    pub edge_records_lost: u64,
    /// Records of edge nodes on topics that they may not publish on.
    pub edge_records_refused: u64,
    /// Registrations of things that edge nodes were given.
    pub edge_things_given: u64,
    /// Things that edge nodes did not take.
    pub edge_things_refused: u64,
    /// Shadows that have changed at edge nodes, and so at the hub.
    pub edge_shadows_merged: u64,
    /// Drivers that edge nodes were told to have as the hub does.
    pub edge_drivers_applied: u64,
    /// Drivers of edge nodes that the hub took over from there.
    pub edge_drivers_adopted: u64,
    /// Drivers of edge nodes that one end did not take from the other.
    pub edge_drivers_refused: u64,
    /// Gauge: whether this edge node is connected to its hub.
    pub uplink_connected: u64,
    /// Connections to the hub lost, and attempts that failed.
    pub uplink_losses: u64,
    /// Records that the hub has acknowledged.
    pub uplink_sent: u64,
    /// Records that the hub will never get.
    pub uplink_dropped: u64,
    /// Gauge: records that wait for the hub.
    pub uplink_queued: u64,
    /// Gauge: their bytes on disk.
    pub uplink_queued_bytes: u64,
    /// Rules that act.
    pub rules: u64,
    /// Times that rules have acted.
    pub rules_acted: u64,
    /// Times that a rule had to wait before it acted.
    pub rules_deferred: u64,
    /// Actions of rules that were refused.
    pub rules_failed: u64,
    /// Admin requests done.
    pub admin_done: u64,
    /// Admin requests refused.
    pub admin_refused: u64,
    /// Admin mutations answered from memory, because they were repeated.
    pub admin_repeated: u64,
    /// Answers of devices to commands whose output is not what the model says.
    pub command_outputs_refused: u64,
    /// Devices that were registered by their certificates, or have shown a further one.
    pub newcomers_registered: u64,
    /// Devices that were not registered by their certificates.
    pub newcomers_refused: u64,
    /// Devices that were told to come again, since too many came at a time.
    pub newcomers_delayed: u64,
    /// Audit records made apart from mutations that were done: logins and refusals.
    pub audit_records: u64,
    /// Logins and refusals that were merged into a record that stands for several.
    pub audit_merged: u64,
    /// Logins and refusals that found no room to be recorded.
    pub audit_left_out: u64,
    /// Audit records that the store could not keep.
    pub audit_failed: u64,
    /// Audit records dropped by the retention.
    pub audit_dropped: u64,
}

/// The live counts behind [`Figures`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) tenants: Counter,
    pub(crate) devices_awake: Counter,
    pub(crate) devices_woken: Counter,
    pub(crate) devices_slept: Counter,
    pub(crate) restarts: Counter,
    pub(crate) quarantined: Counter,
    pub(crate) unregistered: Counter,
    pub(crate) refused_in_quarantine: Counter,
    pub(crate) mail_overflows: Counter,
    pub(crate) presence_changes: Counter,
    pub(crate) shadow_accepted: Counter,
    pub(crate) shadow_rejected: Counter,
    pub(crate) telemetry_accepted: Counter,
    pub(crate) telemetry_rejected: Counter,
    pub(crate) telemetry_values: Counter,
    pub(crate) telemetry_backfilled: Counter,
    pub(crate) events_accepted: Counter,
    pub(crate) events_rejected: Counter,
    pub(crate) commands_taken: Counter,
    pub(crate) commands_sent: Counter,
    pub(crate) commands_succeeded: Counter,
    pub(crate) commands_failed: Counter,
    pub(crate) commands_timed_out: Counter,
    pub(crate) commands_rejected: Counter,
    pub(crate) commands_expired: Counter,
    pub(crate) commands_repeated: Counter,
    pub(crate) commands_refused: Counter,
    pub(crate) command_responses_ignored: Counter,
    pub(crate) commits_failed: Counter,
    pub(crate) drivers: Counter,
    pub(crate) drivers_connected: Counter,
    pub(crate) driver_losses: Counter,
    pub(crate) driver_polls: Counter,
    pub(crate) driver_ticks_missed: Counter,
    pub(crate) driver_events: Counter,
    pub(crate) driver_events_lost: Counter,
    pub(crate) values_recalled: Counter,
    pub(crate) driver_gaps_lost: Counter,
    pub(crate) points_good: Counter,
    pub(crate) points_bad: Counter,
    pub(crate) points_stale: Counter,
    pub(crate) values_published: Counter,
    pub(crate) writes_done: Counter,
    pub(crate) writes_refused: Counter,
    pub(crate) bridges: Counter,
    pub(crate) bridges_connected: Counter,
    pub(crate) bridge_connects: Counter,
    pub(crate) bridge_losses: Counter,
    pub(crate) bridge_out_received: Counter,
    pub(crate) bridge_out_sent: Counter,
    pub(crate) bridge_out_dropped: Counter,
    pub(crate) bridge_out_queued: Counter,
    pub(crate) bridge_in_received: Counter,
    pub(crate) bridge_in_published: Counter,
    pub(crate) bridge_in_dropped: Counter,
    pub(crate) edges_online: Counter,
    pub(crate) edge_records: Counter,
    pub(crate) edge_records_again: Counter,
    pub(crate) edge_records_lost: Counter,
    pub(crate) edge_records_refused: Counter,
    pub(crate) edge_things_given: Counter,
    pub(crate) edge_things_refused: Counter,
    pub(crate) edge_shadows_merged: Counter,
    pub(crate) edge_drivers_applied: Counter,
    pub(crate) edge_drivers_adopted: Counter,
    pub(crate) edge_drivers_refused: Counter,
    pub(crate) uplink_connected: Counter,
    pub(crate) uplink_losses: Counter,
    pub(crate) uplink_sent: Counter,
    pub(crate) uplink_dropped: Counter,
    pub(crate) uplink_queued: Counter,
    pub(crate) uplink_queued_bytes: Counter,
    pub(crate) rules: Counter,
    pub(crate) rules_acted: Counter,
    pub(crate) rules_deferred: Counter,
    pub(crate) rules_failed: Counter,
    pub(crate) admin_done: Counter,
    pub(crate) admin_refused: Counter,
    pub(crate) admin_repeated: Counter,
    pub(crate) command_outputs_refused: Counter,
    pub(crate) newcomers_registered: Counter,
    pub(crate) newcomers_refused: Counter,
    pub(crate) newcomers_delayed: Counter,
}

impl Counters {
    /// Takes up what a bridge has counted since `before`.
    pub(crate) fn count_bridge(
        &self,
        before: &(OutAccount, InAccount),
        now: &(OutAccount, InAccount),
    ) {
        let ((out_before, in_before), (out, inward)) = (before, now);
        self.bridge_out_received.add(out.received - out_before.received);
        self.bridge_out_sent.add(out.sent - out_before.sent);
        self.bridge_out_dropped.add(out.dropped.total() - out_before.dropped.total());
        self.bridge_out_queued.add(out.queued.saturating_sub(out_before.queued));
        self.bridge_out_queued.subtract(out_before.queued.saturating_sub(out.queued));
        self.bridge_in_received.add(inward.received - in_before.received);
        self.bridge_in_published.add(inward.published - in_before.published);
        self.bridge_in_dropped.add(inward.dropped.total() - in_before.dropped.total());
    }

    /// Reads every count.
    pub(crate) fn read(&self, audit: &AuditFigures) -> Figures {
        Figures {
            tenants: self.tenants.read(),
            devices_awake: self.devices_awake.read(),
            devices_woken: self.devices_woken.read(),
            devices_slept: self.devices_slept.read(),
            restarts: self.restarts.read(),
            quarantined: self.quarantined.read(),
            unregistered: self.unregistered.read(),
            refused_in_quarantine: self.refused_in_quarantine.read(),
            mail_overflows: self.mail_overflows.read(),
            presence_changes: self.presence_changes.read(),
            shadow_accepted: self.shadow_accepted.read(),
            shadow_rejected: self.shadow_rejected.read(),
            telemetry_accepted: self.telemetry_accepted.read(),
            telemetry_rejected: self.telemetry_rejected.read(),
            telemetry_values: self.telemetry_values.read(),
            telemetry_backfilled: self.telemetry_backfilled.read(),
            events_accepted: self.events_accepted.read(),
            events_rejected: self.events_rejected.read(),
            commands_taken: self.commands_taken.read(),
            commands_sent: self.commands_sent.read(),
            commands_succeeded: self.commands_succeeded.read(),
            commands_failed: self.commands_failed.read(),
            commands_timed_out: self.commands_timed_out.read(),
            commands_rejected: self.commands_rejected.read(),
            commands_expired: self.commands_expired.read(),
            commands_repeated: self.commands_repeated.read(),
            commands_refused: self.commands_refused.read(),
            command_responses_ignored: self.command_responses_ignored.read(),
            commits_failed: self.commits_failed.read(),
            bridges: self.bridges.read(),
            bridges_connected: self.bridges_connected.read(),
            bridge_connects: self.bridge_connects.read(),
            bridge_losses: self.bridge_losses.read(),
            bridge_out_received: self.bridge_out_received.read(),
            bridge_out_sent: self.bridge_out_sent.read(),
            bridge_out_dropped: self.bridge_out_dropped.read(),
            bridge_out_queued: self.bridge_out_queued.read(),
            bridge_in_received: self.bridge_in_received.read(),
            bridge_in_published: self.bridge_in_published.read(),
            bridge_in_dropped: self.bridge_in_dropped.read(),
            admin_done: self.admin_done.read(),
            admin_refused: self.admin_refused.read(),
            admin_repeated: self.admin_repeated.read(),
            command_outputs_refused: self.command_outputs_refused.read(),
            newcomers_registered: self.newcomers_registered.read(),
            newcomers_refused: self.newcomers_refused.read(),
            newcomers_delayed: self.newcomers_delayed.read(),
            audit_records: audit.records.read(),
            audit_merged: audit.merged.read(),
            audit_left_out: audit.left_out.read(),
            audit_failed: audit.failed.read(),
            audit_dropped: audit.dropped.read(),
            ..self.read_machines()
        }
    }

    /// Those of drivers and edge nodes, of the uplink and of rules; the others are 0.
    fn read_machines(&self) -> Figures {
        Figures {
            drivers: self.drivers.read(),
            drivers_connected: self.drivers_connected.read(),
            driver_losses: self.driver_losses.read(),
            driver_polls: self.driver_polls.read(),
            driver_ticks_missed: self.driver_ticks_missed.read(),
            driver_events: self.driver_events.read(),
            driver_events_lost: self.driver_events_lost.read(),
            values_recalled: self.values_recalled.read(),
            driver_gaps_lost: self.driver_gaps_lost.read(),
            points_good: self.points_good.read(),
            points_bad: self.points_bad.read(),
            points_stale: self.points_stale.read(),
            values_published: self.values_published.read(),
            writes_done: self.writes_done.read(),
            writes_refused: self.writes_refused.read(),
            ..self.read_edges()
        }
    }

    /// Those of edge nodes, of the uplink and of rules; the others are 0.
    fn read_edges(&self) -> Figures {
        Figures {
            edges_online: self.edges_online.read(),
            edge_records: self.edge_records.read(),
            edge_records_again: self.edge_records_again.read(),
            edge_records_lost: self.edge_records_lost.read(),
            edge_records_refused: self.edge_records_refused.read(),
            edge_things_given: self.edge_things_given.read(),
            edge_things_refused: self.edge_things_refused.read(),
            edge_shadows_merged: self.edge_shadows_merged.read(),
            edge_drivers_applied: self.edge_drivers_applied.read(),
            edge_drivers_adopted: self.edge_drivers_adopted.read(),
            edge_drivers_refused: self.edge_drivers_refused.read(),
            uplink_connected: self.uplink_connected.read(),
            uplink_losses: self.uplink_losses.read(),
            uplink_sent: self.uplink_sent.read(),
            uplink_dropped: self.uplink_dropped.read(),
            uplink_queued: self.uplink_queued.read(),
            uplink_queued_bytes: self.uplink_queued_bytes.read(),
            rules: self.rules.read(),
            rules_acted: self.rules_acted.read(),
            rules_deferred: self.rules_deferred.read(),
            rules_failed: self.rules_failed.read(),
            ..Figures::default()
        }
    }
}
