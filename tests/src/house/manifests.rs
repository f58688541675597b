//! What the `Cargo.toml` of each crate says: lints and versions are those of the workspace.

use super::Violation;
use toml::{Table, Value};

/// The keys of `[package]` that every crate takes from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Dependencies with a version of their own, as `path: name`, and why.
const OWN_VERSIONS: &[(&str, &str)] =
    &[("sim/Cargo.toml: rumqttd", "the broker of comparison is used nowhere else")];

/// What a manifest does not take from the workspace.
pub fn inherited(path: &str, text: &str) -> Vec<Violation> {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return vec![Violation::new(path, 0, format!("is not read: {error}"))],
    };
    let mut violations = Vec::new();
    let mut wrong = |what: String| violations.push(Violation::new(path, 0, what));
    if !is_from_workspace(table.get("lints")) {
        wrong("does not use the lints of the workspace".to_owned());
    }
    let package = table.get("package");
    for key in INHERITED {
        if !is_from_workspace(package.and_then(|it| it.get(key))) {
            wrong(format!("package.{key} is not that of the workspace"));
        }
    }
    if package.and_then(|it| it.get("description")).is_none() {
        wrong("has no description".to_owned());
    }
    for (name, dependency) in dependencies(&table) {
        let is_exception =
            OWN_VERSIONS.iter().any(|(exception, _)| *exception == format!("{path}: {name}"));
        if !is_exception && !is_from_workspace(Some(dependency)) {
            wrong(format!("the version of {name} is not that of the workspace"));
        }
    }
    violations
}

fn is_from_workspace(value: Option<&Value>) -> bool {
    value.and_then(|it| it.get("workspace")).and_then(Value::as_bool) == Some(true)
}

/// The dependencies of each kind, also of single targets.
fn dependencies(table: &Table) -> Vec<(&String, &Value)> {
    let targets = table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let parts = std::iter::once(table).chain(targets.filter_map(Value::as_table));
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    parts
        .flat_map(|part| kinds.iter().filter_map(|kind| part.get(*kind)))
        .filter_map(Value::as_table)
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
[package]
name = \"a\"
description = \"b\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[lints]
workspace = true

[dependencies]
tokio = { workspace = true, features = [\"process\"] }
";

    #[test]
    fn what_is_not_inherited_is_found() {
        assert_eq!(inherited("a/Cargo.toml", GOOD), []);
        for (from, to) in [
            ("version.workspace = true", "version = \"1\""),
            ("[lints]\nworkspace = true", ""),
            ("description = \"b\"\n", ""),
            ("tokio = { workspace = true,", "tokio = { version = \"1\","),
            ("[dependencies]", "[target.'cfg(unix)'.dev-dependencies]\nb = \"1\"\n[dependencies]"),
            ("[package]", "[package"),
        ] {
            assert!(!inherited("a/Cargo.toml", &GOOD.replacen(from, to, 1)).is_empty(), "{from}");
        }
    }
}
