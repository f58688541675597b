//! Which crate may depend on which (ARCHITECTURE.md, crates): the graph has these edges and no other.
//!
//! Dependencies of tests are looked at apart: they may point to whatever a crate may import anyway, and to the
//! simulated machines.
//! What needs more than the Rust toolchain is optional, behind a feature: rumqttd, the broker of comparison, behind
//! `baseline` of `sim`, and jemalloc behind `jemalloc` of `node`.

use super::Violation;
use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};
use std::path::Path;

/// Each crate, and the crates of the workspace that it may import.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("manifold-proto", &[]),
    ("manifold-store", &["manifold-proto"]),
    ("manifold-broker", &["manifold-proto", "manifold-store"]),
    ("manifold-drivers", &["manifold-proto"]),
    (
        "manifold-actors",
        &["manifold-proto", "manifold-store", "manifold-broker", "manifold-drivers"],
    ),
    ("manifold-sim", &HOUSE),
    ("manifold-node", &WITH_SIM),
    ("manifold-tests", &WITH_SIM),
];

/// What a simulation may use.
const HOUSE: [&str; 5] =
    ["manifold-proto", "manifold-store", "manifold-broker", "manifold-drivers", "manifold-actors"];

/// What the executable and the tests may use.
const WITH_SIM: [&str; 6] = [
    "manifold-proto",
    "manifold-store",
    "manifold-broker",
    "manifold-drivers",
    "manifold-actors",
    "manifold-sim",
];

/// Crates that stay behind a feature which is off by default: the crate, who may depend on it, the feature.
const OPTIONAL: [(&str, &str, &str); 2] =
    [("rumqttd", "manifold-sim", "baseline"), ("tikv-jemallocator", "manifold-node", "jemalloc")];

/// Crates that bring a C library or its build along. `ring`, whose C needs no more than the linker's driver that the
/// toolchain needs anyway, is the one exception (the decision on TLS).
const NOT_PURE_RUST: [&str; 7] =
    ["aws-lc-sys", "bindgen", "cmake", "libz-sys", "openssl-sys", "prost-build", "zstd-sys"];

/// The packages of the workspace, without their dependencies.
pub fn metadata(workspace: &Path) -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(workspace.join("Cargo.toml")).no_deps();
    command.exec().expect("cargo knows the workspace")
}

/// Edges that are not allowed.
pub fn edges(metadata: &Metadata) -> Vec<Violation> {
    metadata.workspace_packages().into_iter().flat_map(edges_of).collect()
}

fn edges_of(package: &Package) -> Vec<Violation> {
    let name = package.name.as_str();
    let manifest = manifest(package);
    let Some((_, allowed)) = ALLOWED.iter().find(|(it, _)| *it == name) else {
        return vec![Violation::new(&manifest, 0, "the crate is not in the graph")];
    };
    let inner = package.dependencies.iter().filter(|it| it.name.starts_with("manifold-"));
    // Machines to test against; the simulations import nothing of the house.
    let is_machine =
        |it: &Dependency| it.kind == DependencyKind::Development && it.name == "manifold-sim";
    inner
        .filter(|it| !allowed.contains(&it.name.as_str()) && !is_machine(it))
        .map(|it| {
            let kind =
                if it.kind == DependencyKind::Development { "its tests depend" } else { "depends" };
            Violation::new(
                &manifest,
                0,
                format!("{kind} on {}, an edge that is not allowed", it.name),
            )
        })
        .collect()
}

/// Uses of a crate that belongs behind a feature, other than there.
pub fn optional(metadata: &Metadata) -> Vec<Violation> {
    OPTIONAL.iter().flat_map(|it| outside_its_feature(metadata, *it)).collect()
}

fn outside_its_feature(
    metadata: &Metadata,
    (name, home, feature): (&str, &str, &str),
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in metadata.workspace_packages() {
        let is_home = package.name.as_str() == home;
        for dependency in package.dependencies.iter().filter(|it| it.name == name) {
            if !is_home || !dependency.optional {
                let what = format!("{name} is allowed in {home} only, and optional");
                violations.push(Violation::new(&manifest(package), 0, what));
            }
        }
        let default = package.features.get("default").map(Vec::as_slice).unwrap_or_default();
        if default.iter().any(|it| it == feature || it.contains(name)) {
            let what = format!("the default features bring {name}");
            violations.push(Violation::new(&manifest(package), 0, what));
        }
    }
    violations
}

/// Dependencies of the lock file that need more than the Rust toolchain.
pub fn impurities(lock: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, line) in lock.lines().enumerate() {
        let name = line.strip_prefix("name = \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(name) = name.filter(|name| NOT_PURE_RUST.contains(name)) {
            let what = format!("{name} needs more than the Rust toolchain");
            violations.push(Violation::new("Cargo.lock", index + 1, what));
        }
    }
    violations
}

fn manifest(package: &Package) -> String {
    let folder = package.manifest_path.parent().and_then(|it| it.file_name()).unwrap_or_default();
    format!("{folder}/Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The workspace with one more dependency.
    fn with(package: &str, dependency: &str, kind: Value, optional: bool) -> Metadata {
        let real = metadata(&super::super::workspace());
        let mut text = serde_json::to_value(&real).unwrap();
        for it in text["packages"].as_array_mut().unwrap() {
            if it["name"] == package {
                it["dependencies"].as_array_mut().unwrap().push(json!({
                    "name": dependency, "source": null, "req": "*", "kind": kind, "rename": null,
                    "optional": optional, "uses_default_features": true, "features": [],
                    "target": null, "registry": null,
                }));
            }
        }
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn an_edge_against_the_direction_is_found() {
        for kind in [Value::Null, json!("dev")] {
            let metadata = with("manifold-proto", "manifold-store", kind.clone(), false);
            assert_eq!(edges(&metadata).len(), 1, "{kind}");
            assert!(edges(&with("manifold-broker", "manifold-proto", kind, false)).is_empty());
        }
        assert_eq!(edges(&with("manifold-node", "manifold-tests", Value::Null, false)).len(), 1);
    }

    #[test]
    fn what_is_optional_stays_behind_its_feature() {
        assert_eq!(optional(&with("manifold-node", "rumqttd", Value::Null, true)).len(), 1);
        assert_eq!(optional(&with("manifold-sim", "rumqttd", Value::Null, false)).len(), 1);
        assert!(optional(&with("manifold-sim", "rumqttd", Value::Null, true)).is_empty());
        let jemalloc = "tikv-jemallocator";
        assert_eq!(optional(&with("manifold-broker", jemalloc, Value::Null, true)).len(), 1);
    }

    #[test]
    fn a_c_library_is_found_in_the_lock_file() {
        let lock = "[[package]]\nname = \"cmake\"\n\n[[package]]\nname = \"cmake-not\"\n";
        assert_eq!(impurities(lock).len(), 1);
        assert_eq!(impurities(lock)[0].line, 2);
    }
}
