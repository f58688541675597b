//! `manifold ctl` without a verb: what can be asked for, for an operator who does not know yet.
//!
//! A printed help, so that it is there without a node and without a secret; a test asks a running
//! node for each resource's verbs and compares. The node decides what there is, not this table.

use crate::outcome::{Failure, Outcome, print};
use std::fmt::Write as _;

/// One resource: its name, what it is, and its verbs with their fields (`?` marks optional ones).
struct Resource {
    name: &'static str,
    is: &'static str,
    verbs: &'static [(&'static str, &'static str)],
}

/// The fields of every `list`.
const LIST: &str = "filter? limit? cursor?";

const RESOURCES: &[Resource] = &[
    Resource {
        name: "audit",
        is: "what was done and by whom, and who came in, as a chain of records",
        verbs: &[
            ("export", "tenant? limit? cursor?"),
            ("get", "number tenant?"),
            ("list", "from? to? by? action? resource? target? outcome? namespace? order? ..."),
            ("verify", "tenant? limit? cursor?"),
        ],
    },
    Resource {
        name: "backups",
        is: "copies of everything the node holds, made while it runs",
        verbs: &[("create", ""), ("delete", "backup"), ("get", "backup"), ("list", LIST)],
    },
    Resource {
        name: "bridges",
        is: "connections to other MQTT brokers",
        verbs: &[
            ("create", "bridge remote.url rules remote.user_name? remote.secret? queue? ..."),
            ("delete", "bridge"),
            ("get", "bridge"),
            ("list", LIST),
            ("pause", "bridge"),
            ("resume", "bridge"),
            ("update", "bridge, and what is to change"),
        ],
    },
    Resource {
        name: "connections",
        is: "clients that are connected, and sessions that wait for theirs",
        verbs: &[
            ("disconnect", "client_id reason? end_session?"),
            ("get", "client_id"),
            ("list", "prefix? user_name? address? listener? state? filter? limit? cursor?"),
        ],
    },
    Resource {
        name: "drivers",
        is: "connections to machines",
        verbs: &[
            ("create", "driver config.protocol config.address ..."),
            ("delete", "driver"),
            ("get", "driver"),
            ("list", LIST),
            ("update", "driver config.protocol config.address ..."),
        ],
    },
    Resource { name: "metrics", is: "figures of all parts of the node", verbs: &[("get", "")] },
    Resource {
        name: "node",
        is: "the node itself: reload reads the files of TLS and the keys of tokens again",
        verbs: &[("reload", "")],
    },
    Resource {
        name: "projects",
        is: "namespaces: each a space of topics, things and users of its own",
        verbs: &[
            ("create", "tenant project"),
            ("delete", "tenant project"),
            ("get", "tenant project"),
            ("list", LIST),
        ],
    },
    Resource {
        name: "retained",
        is: "the last message of each topic, kept for later subscribers",
        verbs: &[
            ("delete", "topic, or topic_filter confirm"),
            ("get", "topic as?"),
            ("list", "topic_filter? payload? filter? limit? cursor?"),
        ],
    },
    Resource {
        name: "subscriptions",
        is: "what clients have subscribed to, connected or away",
        verbs: &[
            ("delete", "client_id topic_filter"),
            ("get", "client_id topic_filter"),
            ("list", "client_id? topic_filter? topic? group? filter? limit? cursor?"),
        ],
    },
    Resource {
        name: "tags",
        is: "points of a machine, each a value of the Unified Namespace",
        verbs: &[
            ("create", "driver tag address type path access? unit? scale? poll_interval_ms? ..."),
            ("delete", "driver tag"),
            ("get", "driver tag"),
            ("list", "driver? filter? limit? cursor?"),
            ("update", "driver tag, and what is to change"),
        ],
    },
    Resource {
        name: "things",
        is: "devices",
        verbs: &[
            ("create", "thing location? attributes? secret?"),
            ("delete", "thing"),
            ("get", "thing"),
            ("list", LIST),
            ("update", "thing location? attributes? secret?"),
        ],
    },
    Resource {
        name: "users",
        is: "people and applications",
        verbs: &[
            ("create", "user role secret? enabled? acl? namespace?"),
            ("delete", "user namespace?"),
            ("get", "user namespace?"),
            ("list", "namespace? filter? limit? cursor?"),
            ("update", "user role? secret? enabled? acl? namespace?"),
        ],
    },
];

/// Lists the resources and their verbs, or those of one resource.
pub(crate) fn list(resource: Option<&str>) -> Outcome {
    match resource {
        None => print(&text(RESOURCES.iter())),
        Some(name) => {
            let found = RESOURCES.iter().filter(|resource| resource.name == name);
            let text = text(found);
            if text.is_empty() {
                let names: Vec<_> = RESOURCES.iter().map(|resource| resource.name).collect();
                let message =
                    format!("which verb of {name}? known resources: {}", names.join(", "));
                return Err(Failure::Usage(message));
            }
            print(&text)
        }
    }
}

fn text<'a>(resources: impl Iterator<Item = &'a Resource>) -> String {
    let mut text = String::new();
    for Resource { name, is, verbs } in resources {
        let _ = writeln!(text, "{name}: {is}");
        for (verb, fields) in *verbs {
            let line = format!("  manifold ctl {name} {verb:<11} {fields}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_begins_with_a_command_to_type() {
        let text = text(RESOURCES.iter());
        assert!(text.contains("\n  manifold ctl things create      thing location?"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 120 && line.trim_end() == line), "{text}");
    }

    #[test]
    fn an_unknown_resource_is_wrong_usage_that_names_the_known_ones() {
        let failure = list(Some("pumps")).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.reason().contains("audit, backups, bridges, connections, drivers"));
    }
}
