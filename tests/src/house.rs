//! The rules of the house, as functions from source text to what breaks them.
//!
//! Each rule is a file: it takes what it looks at and gives [`Violation`]s, so that it can be tried on a
//! bad example. `tests/house_rules.rs` runs all of them over the workspace. Exceptions stand in the rule,
//! by name, with a reason. What clippy and rustfmt can check is left to them.

pub mod advisories;
pub mod decisions;
pub mod graph;
pub mod manifests;
pub mod scan;
pub mod sizes;
pub mod source;
pub mod topics;
pub mod words;

use std::fmt;
use std::path::{Path, PathBuf};

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The file, from the root of the workspace.
    pub file: String,
    /// Counted from 1; 0 if the whole file is meant.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Violation {
    /// Something wrong at a line, or with the file if the line is 0.
    pub fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what } = self;
        match line {
            0 => write!(f, "{file}: {what}"),
            line => write!(f, "{file}:{line}: {what}"),
        }
    }
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate is in a workspace").to_owned()
}
