//! The house rules, run over the workspace: each test names every place that breaks its rule.

use manifold_tests::house::source::{CRATES, Source, sources};
use manifold_tests::house::{
    Violation, advisories, decisions, graph, manifests, sizes, topics, words, workspace,
};
use std::path::Path;
use std::sync::OnceLock;

/// Text files that people read, beside the Rust files.
const TEXT_FILES: [&str; 9] = [
    "Cargo.toml",
    "clippy.toml",
    "rustfmt.toml",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "config/manifold.toml",
    ".ci/run",
];

fn all() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| sources(&workspace()))
}

#[track_caller]
fn holds(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{} places:\n{}\n", lines.len(), lines.join("\n"));
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(workspace().join(path)).ok()
}

#[test]
fn crates_depend_only_in_the_allowed_directions() {
    holds(&graph::edges(&graph::metadata(&workspace())));
}

#[test]
fn what_needs_more_than_the_toolchain_is_optional() {
    holds(&graph::optional(&graph::metadata(&workspace())));
}

#[test]
fn no_locked_version_has_a_known_fault() {
    holds(&advisories::faulty(&read("Cargo.lock").expect("the lock file is there")));
}

#[test]
fn the_build_needs_the_rust_toolchain_only() {
    holds(&graph::impurities(&read("Cargo.lock").expect("the lock file is there")));
}

#[test]
fn every_crate_takes_lints_and_versions_from_the_workspace() {
    let manifests = CRATES.map(|name| format!("{name}/Cargo.toml"));
    let check = |path: &String| manifests::inherited(path, &read(path).expect("a crate has one"));
    holds(&manifests.iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn files_fit_in_one_thought() {
    println!("{}", sizes::aim(all()));
    holds(&sizes::files(all()));
}

#[test]
fn functions_fit_on_one_screen() {
    holds(&sizes::functions(all()));
}

#[test]
fn lines_fit_beside_each_other() {
    holds(&sizes::lines(all()));
}

#[test]
fn every_file_says_what_it_is() {
    holds(&words::module_docs(all()));
}

#[test]
fn no_module_is_called_mod() {
    holds(&words::module_files(all()));
}

#[test]
fn nothing_is_unfinished() {
    holds(&words::unfinished(all()));
}

#[test]
fn lints_are_silenced_with_a_reason() {
    holds(&words::silenced_lints(all()));
}

#[test]
fn topics_of_the_platform_are_written_in_proto_only() {
    holds(&topics::literals(all()));
}

#[test]
fn nothing_names_a_path_of_one_machine() {
    let rust = all().iter().map(|source| (source.path.clone(), source.text.clone()));
    let named = TEXT_FILES.map(str::to_owned).into_iter();
    let manifests = CRATES.iter().map(|name| format!("{name}/Cargo.toml"));
    let readmes = CRATES.iter().map(|name| format!("{name}/README.md"));
    let docs = markdown(Path::new("docs"));
    let others = named.chain(manifests).chain(readmes).chain(docs).chain(peers());
    let others = others.filter_map(|path| read(&path).map(|text| (path, text)));
    let check = |(path, text): (String, String)| words::machine_paths(&path, &text);
    holds(&rust.chain(others).flat_map(check).collect::<Vec<_>>());
}

#[test]
fn decision_records_are_numbered() {
    holds(&decisions::names(&entries(Path::new("docs/decisions"))));
}

fn markdown(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in entries(folder) {
        let path = folder.join(&name);
        if workspace().join(&path).is_dir() {
            found.extend(markdown(&path));
        } else if name.ends_with(".md") {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found
}

fn peers() -> Vec<String> {
    let folder = Path::new("tests/peers");
    entries(folder).iter().map(|name| folder.join(name).to_string_lossy().into_owned()).collect()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(workspace().join(folder)).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
