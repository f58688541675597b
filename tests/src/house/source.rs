//! The Rust files of the workspace, read once: where each is, and which of its lines are tests.

use super::scan::{Scanned, scan};
use std::ops::RangeInclusive;
use std::path::Path;

/// The crates, in the order of their directions.
pub const CRATES: [&str; 8] =
    ["proto", "store", "broker", "drivers", "actors", "sim", "node", "tests"];

/// The folders of a crate that hold Rust.
const FOLDERS: [&str; 4] = ["src", "tests", "benches", "examples"];

/// A Rust file.
#[derive(Debug, Clone)]
pub struct Source {
    /// From the root of the workspace, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Code, comments and literals apart.
    pub scanned: Scanned,
    /// The lines of `#[cfg(test)]` items, counted from 1.
    pub test_lines: Vec<RangeInclusive<usize>>,
}

impl Source {
    /// Reads text as the file at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        let scanned = scan(text);
        let test_lines = test_items(&scanned.code);
        Self { path: path.to_owned(), text: text.to_owned(), scanned, test_lines }
    }

    /// The folder of its crate.
    pub fn crate_name(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// Whether a line is part of the product: not in a test, a bench or an example.
    pub fn is_production(&self, line: usize) -> bool {
        let mut levels = self.path.split('/');
        let is_in_src = levels.nth(1) == Some("src");
        let is_test_file = levels.any(|level| level == "tests" || level == "tests.rs");
        let is_test = self.test_lines.iter().any(|lines| lines.contains(&line));
        is_in_src && !is_test_file && !is_test && self.crate_name() != "tests"
    }
}

/// Every Rust file of the workspace.
pub fn sources(workspace: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    for name in CRATES {
        for folder in FOLDERS {
            read_folder(workspace, &format!("{name}/{folder}"), &mut sources);
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn read_folder(workspace: &Path, folder: &str, sources: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(workspace.join(folder)) else { return };
    for entry in entries.flatten() {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read_folder(workspace, &path, sources);
        } else if path.ends_with(".rs") {
            let text = std::fs::read_to_string(entry.path()).expect("a source file is text");
            sources.push(Source::new(&path, &text));
        }
    }
}

/// The lines of each item under `#[cfg(test)]`.
fn test_items(code: &str) -> Vec<RangeInclusive<usize>> {
    let mark = "#[cfg(test)]";
    code.match_indices(mark)
        .map(|(at, _)| {
            let end = item_end(code, at + mark.len());
            line_of(code, at)..=line_of(code, end)
        })
        .collect()
}

/// The end of the item that starts at `at`: its closing brace, or its semicolon.
pub(super) fn item_end(code: &str, at: usize) -> usize {
    let mut braces = 0_usize;
    let mut others = 0_usize;
    for (offset, byte) in code.as_bytes()[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others = others.saturating_sub(1),
            b'{' => braces += 1,
            b'}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 && others == 0 {
                    return at + offset;
                }
            }
            b';' if braces == 0 && others == 0 => return at + offset,
            _ => {}
        }
    }
    code.len()
}

/// The line of a position, counted from 1.
pub(super) fn line_of(code: &str, at: usize) -> usize {
    1 + code.as_bytes()[..at.min(code.len())].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_the_product() {
        let text = "//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("proto/src/a.rs", text);
        assert_eq!(source.test_lines, [3..=6]);
        assert!(source.is_production(2) && source.is_production(7));
        assert!(!source.is_production(5));
        assert!(!Source::new("proto/src/a/tests.rs", text).is_production(2));
        assert!(!Source::new("proto/tests/a.rs", text).is_production(2));
        assert!(!Source::new("tests/src/a.rs", text).is_production(2));
    }

    #[test]
    fn the_workspace_is_found() {
        let sources = sources(&super::super::workspace());
        for name in CRATES {
            assert!(sources.iter().any(|source| source.crate_name() == name), "{name}");
        }
    }
}
