//! `docs/conformance.md`, made of the tables of statements.

use crate::table::{STANDARDS, Standard, Statement};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What other suites have found, written by hand.
const OTHER_SUITES: &str = include_str!("other_suites.md");

const HEAD: &str = "# Conformance to MQTT 5.0 and MQTT 3.1.1

Both standards name each of their demands, as in MQTT-3.1.2-4. This page says of every one of them which tests show
that the node keeps to it. It is made of the tables in `tests/tests/conformance/`; a test keeps it equal to them, and
checks that every statement has one row and that every test named is there and runs.

```sh
cargo test -p manifold-tests --test conformance
MANIFOLD_WRITE_CONFORMANCE=1 cargo test -p manifold-tests --test conformance the_page   # writes this page
```
";

const HOW_TO_READ: &str = "
What a statement says is put in our words, at most a line; the standard's text is what counts. *Binds* is whom the
statement is for. A statement for clients is shown where a server can be seen to refuse those that do not keep to it.
`subject::test` is a test in `tests/tests/conformance/subject.rs`: bare packets over a socket to the built node, both
versions wherever both have the statement. Other tests are named with their file. An *exception* is a statement that no
test of a server can show, with the reason; a *gap* is one that the node does not keep to, or not always.
";

/// How many statements are of which kind.
#[derive(Default)]
struct Counts {
    all: usize,
    shown: usize,
    exceptions: usize,
    gaps: usize,
}

impl Counts {
    fn of(statements: &BTreeMap<String, Statement>) -> Self {
        let mut counts = Self { all: statements.len(), ..Self::default() };
        for statement in statements.values() {
            match (&statement.gap, &statement.otherwise) {
                (Some(_), _) => counts.gaps += 1,
                (None, Some(_)) => counts.exceptions += 1,
                (None, None) => counts.shown += 1,
            }
        }
        counts
    }
}

/// The whole page.
pub(crate) fn render() -> String {
    let standards = STANDARDS.each_ref().map(|it| (it, it.statements()));
    let mut page = HEAD.to_owned();
    page += "\n## Counts\n\n| | statements | shown by tests | exceptions | gaps |\n|---|---|---|---|---|\n";
    for (standard, statements) in &standards {
        let Counts { all, shown, exceptions, gaps } = Counts::of(statements);
        let version = standard.version;
        put(
            &mut page,
            format_args!("| MQTT {version} | {all} | {shown} | {exceptions} | {gaps} |"),
        );
    }
    page += "\n## How to read this page\n";
    page += HOW_TO_READ;
    page += "\n## Other suites\n\n";
    page += OTHER_SUITES;
    list(&mut page, "Gaps", &standards, |it| it.gap.as_deref());
    list(&mut page, "Exceptions", &standards, |it| it.otherwise.as_deref());
    for (standard, statements) in &standards {
        sections(&mut page, standard, statements);
    }
    page
}

fn list(
    page: &mut String,
    title: &str,
    standards: &[(&Standard, BTreeMap<String, Statement>)],
    reason: impl Fn(&Statement) -> Option<&str>,
) {
    put(page, format_args!("\n## {title}\n"));
    let mut is_empty = true;
    for (standard, statements) in standards {
        // Statements with the same reason stand together.
        let mut by_reason: Vec<(&str, Vec<String>)> = Vec::new();
        for name in standard.names() {
            let Some(reason) = statements.get(&name).and_then(&reason) else { continue };
            match by_reason.iter_mut().find(|(other, _)| *other == reason) {
                Some((_, names)) => names.push(name),
                None => by_reason.push((reason, vec![name])),
            }
        }
        for (reason, names) in by_reason {
            is_empty = false;
            let names = names.join(", ");
            put(page, format_args!("- MQTT {} {names}: {reason}", standard.version));
        }
    }
    if is_empty {
        *page += "None.\n";
    }
}

fn sections(page: &mut String, standard: &Standard, statements: &BTreeMap<String, Statement>) {
    put(page, format_args!("\n## MQTT {}", standard.version));
    for (section, numbers, title) in standard.sections {
        put(page, format_args!("\n### {section} {title}\n"));
        *page += "| statement | binds | says | shown by |\n|---|---|---|---|\n";
        for number in numbers.clone() {
            let name = format!("{section}-{number}");
            let Some(it) = statements.get(&name) else { continue };
            let mut shown: Vec<String> = it.shown.iter().map(|test| format!("`{test}`")).collect();
            if it.gap.is_some() {
                shown.push("**gap**".to_owned());
            } else if it.otherwise.is_some() {
                shown.push("exception".to_owned());
            }
            let (binds, says) = (&it.binds, &it.says);
            put(page, format_args!("| {name} | {binds} | {says} | {} |", shown.join(", ")));
        }
    }
}

fn put(page: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    let _ = writeln!(page, "{line}");
}
