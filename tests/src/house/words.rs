//! What every Rust file begins with, and words that none contains.

use super::Violation;
use super::source::{Source, line_of};

/// Macros that stand for unfinished work; found in code.
const UNFINISHED_MACROS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Notes that stand for unfinished work; found in comments.
const UNFINISHED_NOTES: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];

/// Paths of one machine or another; found anywhere in text files.
const MACHINE_PATHS: [&str; 5] = ["/work/", "/root/", "/home/", "/Users/", "C:\\"];

/// Files that may name a path of a machine, as `path: word`, and why.
const PATHS_ALLOWED: &[(&str, &str)] = &[
    ("tests/src/house/words.rs", "the list itself"),
    (".ci/run", "the conventional place of the toolchain of the user"),
];

/// Files without a module doc.
pub fn module_docs(sources: &[Source]) -> Vec<Violation> {
    let missing = sources.iter().filter(|source| !source.text.starts_with("//! "));
    missing.map(|it| Violation::new(&it.path, 1, "does not start with a module doc")).collect()
}

/// Modules named `mod.rs`.
pub fn module_files(sources: &[Source]) -> Vec<Violation> {
    let named = sources.iter().filter(|source| source.path.ends_with("/mod.rs"));
    named.map(|it| Violation::new(&it.path, 0, "modules are `foo.rs` and `foo/`")).collect()
}

/// Work that is not finished.
pub fn unfinished(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        find(source, &source.scanned.code, &UNFINISHED_MACROS, &mut violations);
        find(source, &source.scanned.comments, &UNFINISHED_NOTES, &mut violations);
    }
    violations
}

fn find(source: &Source, text: &str, words: &[&str], violations: &mut Vec<Violation>) {
    for word in words {
        for (at, _) in text.match_indices(word) {
            let is_part =
                |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            if !is_part(before) && !is_part(after) {
                let what = format!("{word}: unfinished work");
                violations.push(Violation::new(&source.path, line_of(text, at), what));
            }
        }
    }
}

/// Lints that are switched off without a reason.
pub fn silenced_lints(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        let code = &source.scanned.code;
        for mark in ["[allow(", "[expect("] {
            for (at, _) in code.match_indices(mark) {
                let end = code[at..].find(")]").map_or(code.len(), |end| at + end);
                if !code[at..end].contains("reason = \"") {
                    let what = format!("a lint is silenced by `#{mark}…)]` without a reason");
                    violations.push(Violation::new(&source.path, line_of(code, at), what));
                }
            }
        }
    }
    violations
}

/// Paths of a machine in a text file.
pub fn machine_paths(path: &str, text: &str) -> Vec<Violation> {
    if PATHS_ALLOWED.iter().any(|(allowed, _)| *allowed == path) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(found) = MACHINE_PATHS.iter().find(|it| line.contains(**it)) {
            let what = format!("{found}… is the path of one machine");
            violations.push(Violation::new(path, index + 1, what));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> [Source; 1] {
        [Source::new("proto/src/mod.rs", text)]
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(module_docs(&source("//! A.\n")), []);
        assert_eq!(module_docs(&source("// A.\n")).len(), 1);
        assert_eq!(module_docs(&source("")).len(), 1);
        assert_eq!(module_files(&source("")).len(), 1);
    }

    #[test]
    fn unfinished_work_is_found_where_it_counts() {
        let text = "//! A.\n// TODO: b\nfn c() { todo!() }\n";
        let lines: Vec<usize> = unfinished(&source(text)).iter().map(|it| it.line).collect();
        assert_eq!(lines, [3, 2]);
        assert_eq!(unfinished(&source("//! METHOD.\nconst A: &str = \"TODO todo!\";\n")), []);
    }

    #[test]
    fn a_lint_is_silenced_with_a_reason_only() {
        let bad = "//! A.\n#[allow(dead_code)]\n#![expect(clippy::a, clippy::b)]\n";
        assert_eq!(silenced_lints(&source(bad)).len(), 2);
        let good = "//! A.\n#[expect(\n    clippy::a,\n    reason = \"b (c)]\"\n)]\n";
        assert_eq!(silenced_lints(&source(good)), []);
    }

    #[test]
    fn machine_paths_are_found() {
        let path = format!("a\nb {} c\n", ["", "home", "me"].join("/"));
        assert_eq!(machine_paths("README.md", &path)[0].line, 2);
        assert_eq!(machine_paths("README.md", "/var/lib/manifold\n"), []);
    }
}
