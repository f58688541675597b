//! No topic of the platform is written as text outside `proto`: a topic is a value of its enum.
//!
//! Looks at string literals of the product for the roots of contract section 2. Tests may write topics
//! as text, since that is how they check the enum.

use super::Violation;
use super::source::Source;

/// The roots that the platform owns.
const ROOTS: [&str; 6] = ["things/", "uns/", "admin/", "clients/", "edges/", "events/"];

/// Files that may write topics as text, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("node/src/demo.rs", "commands that people paste"),
    ("node/src/demo/text.rs", "commands that people paste"),
];

/// Crates that may: `proto` is where they are written, and `sim` is a stranger to the product, as its tests are.
const CRATES: [&str; 2] = ["proto", "sim"];

/// Topics written as text.
pub fn literals(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        let is_exception = EXCEPTIONS.iter().any(|(path, _)| *path == source.path);
        if CRATES.contains(&source.crate_name()) || is_exception {
            continue;
        }
        for literal in &source.scanned.literals {
            if source.is_production(literal.line) && names_a_topic(&literal.text) {
                let what = format!("the topic {:?} is written outside proto", literal.text);
                violations.push(Violation::new(&source.path, literal.line, what));
            }
        }
    }
    violations
}

/// A root counts at the start, after a level, or in a sentence; `functions/` is no root.
fn names_a_topic(text: &str) -> bool {
    ROOTS.iter().any(|root| {
        text.match_indices(root).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            before.is_none_or(|char| !char.is_alphanumeric() && !matches!(char, '_' | '-' | '.'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_known_by_their_roots() {
        for topic in ["uns/", "things/{thing}/status", "$aws/things/x", "to admin/users/list"] {
            assert!(names_a_topic(topic), "{topic}");
        }
        for other in ["runs/a", "uns", "/etc/my-things/x", "functions/"] {
            assert!(!names_a_topic(other), "{other}");
        }
    }

    #[test]
    fn only_the_product_outside_proto_is_looked_at() {
        let text = "//! `uns/a`.\n// uns/b\nconst A: &str = \"uns/c\";\n";
        let found = |path| literals(&[Source::new(path, text)]);
        let [violation] = &found("broker/src/a.rs")[..] else { panic!("one is found") };
        assert_eq!(violation.line, 3);
        for path in ["proto/src/a.rs", "sim/src/a.rs", "broker/tests/a.rs", "node/src/demo/text.rs"]
        {
            assert_eq!(found(path), [], "{path}");
        }
    }
}
