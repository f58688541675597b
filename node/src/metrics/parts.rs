//! The public names of what store, broker and actors count.
//!
//! One table a part. A figure that a part counts and no table names fails a test below.

mod of_broker;

pub(super) use of_broker::{broker, endings};

use super::{Figure, Number};
use crate::gateway::Counters;

fn counter(name: &'static str, help: &'static str, value: u64) -> Figure {
    Figure::counter(name, help, Number::Whole(value))
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Figure {
    Figure::gauge(name, help, Number::Whole(value))
}

fn seconds(micros: u64) -> Number {
    Number::Real(micros as f64 / 1e6)
}

/// The HTTP gateway.
pub(super) fn gateway(is: &Counters) -> Vec<Figure> {
    let [done, refused, failed] = is.answers();
    let help = "Answers of the HTTP gateway, by the class of their status.";
    let answers = |class, value| counter("http_gateway_answers", help, value).because(class);
    vec![
        answers("2xx", done),
        answers("4xx", refused),
        answers("5xx", failed),
        gauge("http_gateway_requests", "Requests at the HTTP gateway now.", is.in_flight()),
        counter(
            "http_gateway_crowded",
            "Requests that the HTTP gateway refused because too many were under way.",
            is.crowded(),
        ),
        counter(
            "http_gateway_timed_out",
            "Requests of the HTTP gateway that were not answered in time.",
            is.timed_out(),
        ),
    ]
}

/// The store.
pub(super) fn store(is: &store::Figures, waiting: store::Backlog) -> Vec<Figure> {
    vec![
        counter("store_batches", "Batches written to the log.", is.batches),
        counter("store_commits", "Sets of changes acknowledged by them.", is.commits),
        counter("store_changes", "Changes in those sets.", is.changes),
        counter("store_rows", "Rows written or removed.", is.rows),
        counter("store_written_bytes", "Bytes of the keys and rows written.", is.bytes),
        Figure::counter(
            "store_apply_seconds",
            "Time spent applying changes, in memory.",
            seconds(is.apply_micros_total),
        ),
        Figure::counter(
            "store_fsync_seconds",
            "Time spent bringing batches to the disk.",
            seconds(is.fsync_micros_total),
        ),
        Figure::gauge(
            "store_fsync_seconds_max",
            "The longest of them since the start.",
            seconds(is.fsync_micros_max),
        ),
        counter("store_errors", "Batches that failed.", is.errors),
        counter(
            "store_refused_full",
            "Sets of changes refused because the disk was full.",
            is.refused_full,
        ),
        counter(
            "store_refused_overload",
            "Sets of changes refused because too many waited.",
            is.refused_overload,
        ),
        counter(
            "store_reopened",
            "Times the storage was opened again after a failure.",
            is.reopened,
        ),
        counter("store_unreadable_rows", "Rows met that could not be understood.", is.unreadable),
        counter("store_log_bytes", "Bytes appended to the log of the store.", is.log_bytes),
        counter("store_log_syncs", "Synchronisations of the log.", is.syncs),
        counter("store_log_moved_bytes", "Bytes moved to empty segments.", is.moved_bytes),
        gauge("store_log_segments", "Segments of the log.", is.segments),
        gauge("store_log_living_bytes", "Bytes of queued bodies in the log.", is.living_bytes),
        gauge("store_log_segment_bytes", "Bytes of the segments of the log.", is.segment_bytes),
        counter("store_checkpoints", "Checkpoints made.", is.checkpoints),
        Figure::counter(
            "store_checkpoint_seconds",
            "Time that checkpoints took, beside the commits.",
            seconds(is.checkpoint_micros_total),
        ),
        gauge("store_backlog_changes", "Changes waiting for the disk.", waiting.changes as u64),
        gauge("store_backlog_bytes", "Bytes waiting for the disk.", waiting.bytes as u64),
    ]
}

/// The supervision tree.
pub(super) fn actors(is: &actors::Figures) -> Vec<Figure> {
    [tree(is), devices(is), commands(is), machines(is), edges(is), rules(is), bridges(is)].concat()
}

fn tree(is: &actors::Figures) -> Vec<Figure> {
    vec![
        gauge("actors_tenants", "Namespaces served.", is.tenants),
        counter("actors_restarts", "Restarts of any actor after a failure.", is.restarts),
        gauge(
            "actors_quarantined",
            "Devices and drivers down because their restarts are used up.",
            is.quarantined,
        ),
        counter(
            "actors_commits_failed",
            "Messages not taken in because the store could not keep them.",
            is.commits_failed,
        ),
        counter("actors_admin_requests_done", "Admin requests done.", is.admin_done),
        counter("actors_admin_requests_refused", "Admin requests refused.", is.admin_refused),
        counter(
            "actors_admin_requests_repeated",
            "Admin mutations answered from memory.",
            is.admin_repeated,
        ),
        counter(
            "actors_command_outputs_refused",
            "Answers to commands whose output is not what the model says.",
            is.command_outputs_refused,
        ),
        counter(
            "actors_newcomers_registered",
            "Devices registered by their certificates.",
            is.newcomers_registered,
        ),
        counter(
            "actors_newcomers_refused",
            "Devices not registered by their certificates.",
            is.newcomers_refused,
        ),
        counter(
            "actors_newcomers_delayed",
            "Devices told to come again, since many came at a time.",
            is.newcomers_delayed,
        ),
        counter("actors_audit_records", "Logins and refusals recorded.", is.audit_records),
        counter(
            "actors_audit_merged",
            "Logins and refusals merged into a record that stands for several.",
            is.audit_merged,
        ),
        counter(
            "actors_audit_left_out",
            "Logins and refusals that found no room to be recorded.",
            is.audit_left_out,
        ),
        counter("actors_audit_failed", "Audit records that could not be kept.", is.audit_failed),
        counter(
            "actors_audit_dropped",
            "Audit records that were over the bounds.",
            is.audit_dropped,
        ),
    ]
}

fn devices(is: &actors::Figures) -> Vec<Figure> {
    vec![
        gauge("actors_devices_awake", "Devices awake.", is.devices_awake),
        counter("actors_devices_woken", "Devices woken by a message.", is.devices_woken),
        counter("actors_devices_slept", "Devices put to sleep.", is.devices_slept),
        counter(
            "actors_unregistered_messages",
            "Messages for things that are not registered.",
            is.unregistered,
        ),
        counter(
            "actors_quarantine_refusals",
            "Messages refused because their device is in quarantine.",
            is.refused_in_quarantine,
        ),
        counter(
            "actors_mail_overflows",
            "Messages given back at the bound of a device that restarts.",
            is.mail_overflows,
        ),
        counter("actors_presence_changes", "Changes of presence published.", is.presence_changes),
        counter("actors_shadow_requests_accepted", "Shadow requests done.", is.shadow_accepted),
        counter("actors_shadow_requests_rejected", "Shadow requests refused.", is.shadow_rejected),
        counter(
            "actors_telemetry_messages_accepted",
            "Telemetry messages taken in.",
            is.telemetry_accepted,
        ),
        counter(
            "actors_telemetry_messages_rejected",
            "Telemetry messages refused.",
            is.telemetry_rejected,
        ),
        counter("actors_telemetry_values", "Values that telemetry brought.", is.telemetry_values),
        counter(
            "actors_telemetry_backfilled",
            "Values older than the current one, which they did not replace.",
            is.telemetry_backfilled,
        ),
        counter("actors_events_accepted", "Events of devices taken in.", is.events_accepted),
        counter("actors_events_rejected", "Events of devices refused.", is.events_rejected),
    ]
}

fn commands(is: &actors::Figures) -> Vec<Figure> {
    vec![
        counter(
            "actors_commands_taken",
            "Commands taken, to be handed to their devices.",
            is.commands_taken,
        ),
        counter("actors_commands_sent", "Commands handed to their devices.", is.commands_sent),
        counter(
            "actors_commands_succeeded",
            "Commands that devices have done.",
            is.commands_succeeded,
        ),
        counter(
            "actors_commands_failed",
            "Commands that devices could not do.",
            is.commands_failed,
        ),
        counter(
            "actors_commands_timed_out",
            "Commands handed over and not answered in time.",
            is.commands_timed_out,
        ),
        counter(
            "actors_commands_rejected",
            "Commands not taken, or taken back.",
            is.commands_rejected,
        ),
        counter(
            "actors_commands_expired",
            "Commands whose devices could not be reached in time.",
            is.commands_expired,
        ),
        counter(
            "actors_commands_repeated",
            "Invocations whose id was that of a command already known.",
            is.commands_repeated,
        ),
        counter(
            "actors_commands_refused",
            "Invocations that could not be read, or were for nobody.",
            is.commands_refused,
        ),
        counter(
            "actors_command_responses_ignored",
            "Responses to no command that waits for one.",
            is.command_responses_ignored,
        ),
    ]
}

fn edges(is: &actors::Figures) -> Vec<Figure> {
    vec![
        gauge("actors_edges_online", "Edge nodes that are connected.", is.edges_online),
        counter("actors_edge_records", "Records of edge nodes taken in.", is.edge_records),
        counter(
            "actors_edge_records_again",
            "Records of edge nodes that came more than once, and count once.",
            is.edge_records_again,
        ),
        counter(
            "actors_edge_records_lost",
            "Records that edge nodes had to drop.",
            is.edge_records_lost,
        ),
        counter(
            "actors_edge_records_refused",
            "Records of edge nodes on topics that they may not publish on.",
            is.edge_records_refused,
        ),
        counter(
            "actors_edge_things_given",
            "Registrations of things that edge nodes were given.",
            is.edge_things_given,
        ),
        counter(
            "actors_edge_things_refused",
            "Things that edge nodes did not take.",
            is.edge_things_refused,
        ),
        counter(
            "actors_edge_shadows_merged",
            "Shadows that have changed at edge nodes, and so at the hub.",
            is.edge_shadows_merged,
        ),
        counter(
            "actors_edge_drivers_applied",
            "Drivers that edge nodes were told to have as the hub does.",
            is.edge_drivers_applied,
        ),
        counter(
            "actors_edge_drivers_adopted",
            "Drivers that the hub took over from edge nodes.",
            is.edge_drivers_adopted,
        ),
        counter(
            "actors_edge_drivers_refused",
            "Drivers that one end did not take from the other.",
            is.edge_drivers_refused,
        ),
        gauge(
            "actors_uplink_connected",
            "Whether this edge node is connected to its hub.",
            is.uplink_connected,
        ),
        counter(
            "actors_uplink_losses",
            "Connections to the hub lost, and attempts that failed.",
            is.uplink_losses,
        ),
        counter("actors_uplink_sent", "Records that the hub has acknowledged.", is.uplink_sent),
        counter("actors_uplink_dropped", "Records that the hub will never get.", is.uplink_dropped),
        gauge("actors_uplink_queued", "Records that wait for the hub.", is.uplink_queued),
        gauge("actors_uplink_queued_bytes", "Their bytes on disk.", is.uplink_queued_bytes),
    ]
}

fn rules(is: &actors::Figures) -> Vec<Figure> {
    vec![
        gauge("actors_rules", "Rules that act.", is.rules),
        counter("actors_rules_acted", "Times that rules have acted.", is.rules_acted),
        counter(
            "actors_rules_deferred",
            "Times that a rule had to wait before it acted.",
            is.rules_deferred,
        ),
        counter("actors_rules_failed", "Actions of rules that were refused.", is.rules_failed),
    ]
}

fn bridges(is: &actors::Figures) -> Vec<Figure> {
    vec![
        gauge("actors_bridges", "Bridges to other brokers that are there.", is.bridges),
        gauge("actors_bridges_connected", "Bridges that have a connection.", is.bridges_connected),
        counter("actors_bridge_connects", "Connections of bridges made.", is.bridge_connects),
        counter(
            "actors_bridge_losses",
            "Connections of bridges lost, and attempts that failed.",
            is.bridge_losses,
        ),
        counter(
            "actors_bridge_out_received",
            "Messages given to bridges to go out.",
            is.bridge_out_received,
        ),
        counter(
            "actors_bridge_out_sent",
            "Messages of bridges that remote brokers have taken.",
            is.bridge_out_sent,
        ),
        counter(
            "actors_bridge_out_dropped",
            "Messages that bridges dropped on the way out.",
            is.bridge_out_dropped,
        ),
        gauge(
            "actors_bridge_out_queued",
            "Messages that wait in bridges to go out.",
            is.bridge_out_queued,
        ),
        counter(
            "actors_bridge_in_received",
            "Messages that remote brokers sent to bridges.",
            is.bridge_in_received,
        ),
        counter(
            "actors_bridge_in_published",
            "Messages of remote brokers published.",
            is.bridge_in_published,
        ),
        counter(
            "actors_bridge_in_dropped",
            "Messages of remote brokers dropped.",
            is.bridge_in_dropped,
        ),
    ]
}

fn machines(is: &actors::Figures) -> Vec<Figure> {
    vec![
        gauge("actors_drivers", "Drivers that are there.", is.drivers),
        gauge("actors_drivers_connected", "Drivers that have a connection.", is.drivers_connected),
        counter(
            "actors_driver_losses",
            "Connections to machines that failed or were lost.",
            is.driver_losses,
        ),
        counter("actors_driver_polls", "Reads of machines.", is.driver_polls),
        counter(
            "actors_driver_ticks_missed",
            "Poll ticks that passed while a machine was busy.",
            is.driver_ticks_missed,
        ),
        counter("actors_points_good", "Points read well.", is.points_good),
        counter("actors_points_bad", "Points that the machine refused.", is.points_bad),
        counter("actors_points_stale", "Values marked stale.", is.points_stale),
        counter("actors_values_published", "Values of machines published.", is.values_published),
        counter("actors_driver_events", "Events of machines published.", is.driver_events),
        counter(
            "actors_driver_events_lost",
            "Events of machines given up, since too many waited.",
            is.driver_events_lost,
        ),
        counter(
            "actors_values_recalled",
            "Values published that machines had kept while they were away.",
            is.values_recalled,
        ),
        counter(
            "actors_driver_gaps_lost",
            "Times without values of which not all is asked for.",
            is.driver_gaps_lost,
        ),
        counter("actors_writes_done", "Writes done.", is.writes_done),
        counter("actors_writes_refused", "Writes refused or failed.", is.writes_refused),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(figures: &impl serde::Serialize) -> usize {
        serde_json::to_value(figures).unwrap().as_object().unwrap().len()
    }

    #[test]
    fn every_figure_of_a_part_has_a_public_name() {
        let (of_broker, of_actors) = (broker::Figures::default(), actors::Figures::default());
        assert_eq!(broker(&of_broker).len(), fields(&of_broker));
        assert_eq!(actors(&of_actors).len(), fields(&of_actors));
    }

    #[test]
    fn names_are_unique_and_begin_with_their_part() {
        let mut names = std::collections::BTreeSet::new();
        let tables = [
            ("broker_", broker(&broker::Figures::default())),
            ("store_", store(&store::Figures::default(), store::Backlog::default())),
            ("actors_", actors(&actors::Figures::default())),
            ("http_gateway_", gateway(&Counters::default()).split_off(2)),
        ];
        for (part, table) in tables {
            for figure in table {
                assert!(figure.name.starts_with(part), "{}", figure.name);
                assert!(!figure.name.ends_with("_total"), "{}", figure.name);
                assert!(figure.help.ends_with('.'), "{}", figure.name);
                assert!(names.insert(figure.name), "{} twice", figure.name);
            }
        }
    }
}
