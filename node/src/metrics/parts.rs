//! The public names of what store, broker and actors count.
//!
//! One table a part. A figure that a part counts and no table names fails a test below.

use super::{Figure, Number};

fn counter(name: &'static str, help: &'static str, value: u64) -> Figure {
    Figure::counter(name, help, Number::Whole(value))
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Figure {
    Figure::gauge(name, help, Number::Whole(value))
}

fn seconds(micros: u64) -> Number {
    Number::Real(micros as f64 / 1e6)
}

/// The MQTT broker.
pub(super) fn broker(is: &broker::Figures) -> Vec<Figure> {
    let mut all = listeners(is);
    all.extend(admission(is));
    all.extend(traffic(is));
    all.extend(holdings(is));
    all
}

/// Why connections have ended and CONNECTs been refused.
pub(super) fn endings(is: &broker::Endings) -> Vec<Figure> {
    let ended = |(reason, count): &(&'static str, u64)| {
        let help = "Connections that have ended.";
        counter("broker_connections_ended", help, *count).because(reason)
    };
    let refused = |(reason, count): &(&'static str, u64)| {
        let help = "CONNECTs refused, by the reason given.";
        counter("broker_connects_refused", help, *count).because(reason)
    };
    is.ended.iter().map(ended).chain(is.refused.iter().map(refused)).collect()
}

/// Sockets, up to their CONNECT.
fn listeners(is: &broker::Figures) -> Vec<Figure> {
    vec![
        gauge("broker_connections", "MQTT connections now.", is.connections),
        counter("broker_connections_accepted", "Sockets accepted.", is.connections_total),
        counter(
            "broker_connections_refused",
            "Sockets and CONNECTs refused.",
            is.connections_refused,
        ),
        gauge("broker_handshakes", "Sockets that wait for their CONNACK.", is.handshakes),
        counter("broker_accept_errors", "Times a socket could not be accepted.", is.accept_errors),
        counter(
            "broker_connections_over_rate",
            "Sockets closed because a listener had too many new ones a second.",
            is.connections_over_rate,
        ),
        counter(
            "broker_handshakes_refused",
            "Sockets closed because too many handshakes were unfinished.",
            is.handshakes_refused,
        ),
        counter(
            "broker_handshakes_timed_out",
            "Sockets closed because their handshake was not done in time.",
            is.handshakes_timed_out,
        ),
        counter(
            "broker_tls_handshake_errors",
            "TLS handshakes that failed.",
            is.tls_handshake_errors,
        ),
        counter("broker_tls_reloads", "Times changed TLS files came into force.", is.tls_reloads),
        counter(
            "broker_tls_reload_errors",
            "Times changed TLS files were refused.",
            is.tls_reload_errors,
        ),
        counter(
            "broker_proxy_header_errors",
            "Sockets closed for a PROXY header, or its sender.",
            is.proxy_header_errors,
        ),
        counter(
            "broker_websocket_handshake_errors",
            "WebSocket handshakes that failed.",
            is.websocket_handshake_errors,
        ),
    ]
}

/// Who was let in and who was not.
fn admission(is: &broker::Figures) -> Vec<Figure> {
    vec![
        counter(
            "broker_refused_credentials",
            "CONNECTs refused for a wrong or missing name or secret.",
            is.refused_credentials,
        ),
        counter(
            "broker_refused_tokens",
            "CONNECTs refused for a token that is not believed.",
            is.refused_tokens,
        ),
        counter(
            "broker_refused_locked_out",
            "CONNECTs refused after repeated failures.",
            is.refused_locked_out,
        ),
        counter(
            "broker_refused_busy",
            "CONNECTs refused because too many passwords were being checked.",
            is.refused_busy,
        ),
        counter(
            "broker_refused_unavailable",
            "CONNECTs refused because the store or a hook did not answer.",
            is.refused_unavailable,
        ),
        counter(
            "broker_refused_not_allowed",
            "CONNECTs refused though the client has proved who it is.",
            is.refused_not_allowed,
        ),
        counter(
            "broker_refused_over_quota",
            "CONNECTs refused because their namespace had too many clients.",
            is.refused_over_quota,
        ),
        counter(
            "broker_refused_over_rate",
            "CONNECTs refused because their namespace had too many new clients a second.",
            is.refused_over_rate,
        ),
        counter(
            "broker_log_lines_left_out",
            "Lines about ends and refusals that the log was spared.",
            is.log_lines_left_out,
        ),
        counter(
            "broker_refused_memory",
            "CONNECTs refused because memory was short.",
            is.refused_memory,
        ),
        counter("broker_lockouts", "Times a name or an address was locked out.", is.lockouts),
        counter(
            "broker_lockouts_without_room",
            "Failures that could not be watched because everything watched was locked.",
            is.lockouts_without_room,
        ),
        counter("broker_hook_requests", "Questions asked of the hook.", is.hook_requests),
        counter(
            "broker_hook_remembered",
            "Questions answered out of what the hook said before.",
            is.hook_remembered,
        ),
        counter(
            "broker_hook_failures",
            "Questions to which the hook gave no answer that can be used.",
            is.hook_failures,
        ),
    ]
}

fn traffic(is: &broker::Figures) -> Vec<Figure> {
    vec![
        counter(
            "broker_authentication_failures",
            "CONNECTs with a wrong name or secret.",
            is.authentication_failures,
        ),
        counter(
            "broker_protocol_errors",
            "Connections ended for breaking the protocol.",
            is.protocol_errors,
        ),
        counter(
            "broker_subscriptions_refused",
            "Subscriptions not permitted, not valid, or over a bound.",
            is.subscriptions_refused,
        ),
        counter(
            "broker_publishes_refused",
            "Messages not permitted, over a quota, or failed.",
            is.publishes_refused,
        ),
        counter("broker_received_messages", "Messages received.", is.received),
        counter("broker_received_bytes", "Bytes received, all packets.", is.received_bytes),
        counter("broker_sent_messages", "Messages sent.", is.sent),
        counter("broker_sent_bytes", "Bytes sent, all packets.", is.sent_bytes),
        counter(
            "broker_dropped_messages",
            "Deliveries dropped at the bound of a queue.",
            is.dropped,
        ),
        counter(
            "broker_forbidden_messages",
            "Deliveries dropped because a permission was taken away.",
            is.forbidden,
        ),
        counter(
            "broker_expired_messages",
            "Deliveries whose time was over before they were sent.",
            is.expired,
        ),
        counter(
            "broker_publisher_stalls",
            "Times a publisher waited for a subscriber.",
            is.publisher_stalls,
        ),
        counter(
            "broker_publisher_pauses",
            "Times a publisher was not read from because it was over its rate.",
            is.publisher_pauses,
        ),
        counter(
            "broker_namespace_publisher_pauses",
            "Times a publisher was not read from because its namespace was over its rate.",
            is.namespace_publisher_pauses,
        ),
        Figure::counter(
            "broker_publisher_pause_seconds",
            "The length of all these pauses.",
            seconds(is.publisher_pause_micros_total),
        ),
        counter("broker_stored_messages", "Deliveries written to the store.", is.stored),
        counter("broker_store_errors", "Commits of the broker that failed.", is.store_errors),
        counter(
            "broker_loops",
            "Messages that came back over a bridge and went no further.",
            is.loops,
        ),
    ]
}

/// What is held, and the memory for it.
fn holdings(is: &broker::Figures) -> Vec<Figure> {
    vec![
        gauge("broker_sessions", "Sessions, connected or not.", is.sessions),
        gauge("broker_retained_messages", "Retained messages.", is.retained),
        gauge("broker_retained_bytes", "Bytes of retained messages.", is.retained_bytes),
        counter(
            "broker_memory_exceeded",
            "Times memory in use has passed the watermark.",
            is.memory_exceeded,
        ),
        gauge(
            "broker_memory_in_use_bytes",
            "Resident memory, less what sessions have freed of it.",
            is.memory_in_use_bytes,
        ),
        gauge(
            "broker_memory_watermark_bytes",
            "Where new work begins to be refused.",
            is.memory_watermark_bytes,
        ),
        gauge("broker_memory_short", "1 while new work is refused.", is.memory_is_short),
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
    [tree(is), devices(is), machines(is), bridges(is)].concat()
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
