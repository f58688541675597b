//! What of a store is a tenant's: the rows that are kept under its name.

use proto::TenantId;
use store::Part;

/// The tables of which a backup of a tenant has its rows.
const TABLES: &[&str] = &[
    "admin_answers",
    "api_token_keys",
    "api_tokens",
    "audit",
    "audit_checkpoints",
    "audit_heads",
    "authorities",
    "bridge_origins",
    "bridges",
    "broadcast_members",
    "broadcasts",
    "certificate_names",
    "certificates",
    "certificates_in_use",
    "command_results",
    "commands",
    "credentials",
    "devices",
    "driver_edits",
    "drivers",
    "edge_drivers",
    "edge_edits",
    "edge_offers",
    "edge_records",
    "edge_said",
    "edge_shadows",
    "edge_things",
    "edges",
    "enrolment_serials",
    "enrolments",
    "made_up_salts",
    "model_uses",
    "model_versions",
    "models",
    "retained",
    "role_holders",
    "roles",
    "rules",
    "rules_acted",
    "server_certificates",
    "server_certificates_met",
    "shadow_changes",
    "shadows",
    "tags",
    "thing_group_members",
    "thing_groups",
    "things",
    "things_at_edges",
    "things_by_parent",
    "things_by_serial",
    "things_by_tag",
    "things_reported",
    "values_reported",
];

/// Those by which it is found: a tenant without them is not there.
const LAST: &[&str] = &["tenants", "projects"];

/// Those that are not in it: what waits for clients, bridges and the hub, which hangs on numbers of the node, and the
/// node's own key.
#[cfg(test)]
const NOT_OF_TENANTS: &[&str] = &[
    "audit_key",
    "bridge_carried",
    "groups",
    "received",
    "sessions",
    "uplink_blocks",
    "uplink_enrolment",
    "uplink_gaps",
    "uplinks",
    "wills",
];

/// A tenant as a part of a store.
#[must_use]
pub fn part_of_tenant(tenant: &TenantId) -> Part {
    Part { name: tenant.to_string(), tables: TABLES, last: LAST, prefix: store::prefix(tenant) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// The names of tables in the sources below a folder: of `const TABLE`, and of the macros that make such.
    fn tables(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                tables(&path, found);
            }
            if path.is_dir() || path.ends_with("backups/part.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let has_macro = text.contains("const TABLE: &'static str = $table;");
            for line in text.lines() {
                let is_made = has_macro && !line.contains("//") && line.contains(", \"");
                if (is_made || line.contains("const TABLE: &'static str = \""))
                    && let Some(name) = line.split('"').nth(1)
                {
                    found.insert(name.to_owned());
                }
            }
        }
    }

    #[test]
    fn every_table_is_of_tenants_or_is_not() {
        let mut there = BTreeSet::new();
        for source in ["src", "../broker/src"] {
            tables(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source), &mut there);
        }
        let known = TABLES.iter().chain(LAST).chain(NOT_OF_TENANTS).map(|it| (*it).to_owned());
        let known: Vec<String> = known.collect();
        let once: BTreeSet<String> = known.iter().cloned().collect();
        assert_eq!(known.len(), once.len(), "a table is named twice");
        assert_eq!(there, once);
    }
}
