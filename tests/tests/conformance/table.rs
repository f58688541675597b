//! The tables of statements: complete, and true about the tests that they name.
//!
//! The standards name each of their demands, as in MQTT-3.1.2-4. [`STANDARDS`] knows the names; the tables say of
//! each what it demands, whom it binds and which tests show it. Nobody can delete a test that a statement rests
//! on, or leave a statement out, without failing here.

use crate::page;
use manifold_tests::house::workspace;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

/// Set to write the page instead of comparing it.
const WRITE: &str = "MANIFOLD_WRITE_CONFORMANCE";

const PAGE: &str = "docs/conformance.md";

/// The longest paraphrase of a statement.
const SAYS_CHARS_MAX: usize = 100;

/// One version of MQTT.
pub(crate) struct Standard {
    pub(crate) version: &'static str,
    table: &'static str,
    /// A section, the numbers of its statements, and what it is about.
    pub(crate) sections: &'static [(&'static str, RangeInclusive<u32>, &'static str)],
}

/// What stands in a table about one statement.
pub(crate) struct Statement {
    pub(crate) says: String,
    pub(crate) binds: String,
    pub(crate) shown: Vec<String>,
    pub(crate) otherwise: Option<String>,
    pub(crate) gap: Option<String>,
}

pub(crate) const STANDARDS: [Standard; 2] = [
    Standard {
        version: "5.0",
        table: include_str!("v5_0.toml"),
        sections: &[
            ("1.5.4", 1..=3, "UTF-8 encoded strings"),
            ("1.5.5", 1..=1, "Variable byte integers"),
            ("1.5.7", 1..=1, "String pairs"),
            ("2.1.3", 1..=1, "Flags"),
            ("2.2.1", 2..=6, "Packet identifiers"),
            ("2.2.2", 1..=1, "Properties"),
            ("3.1.0", 1..=2, "CONNECT"),
            ("3.1.2", 1..=30, "CONNECT: variable header"),
            ("3.1.3", 1..=12, "CONNECT: payload"),
            ("3.1.4", 1..=6, "CONNECT: actions"),
            ("3.2.0", 1..=2, "CONNACK"),
            ("3.2.2", 1..=22, "CONNACK: variable header"),
            ("3.3.1", 1..=13, "PUBLISH: fixed header"),
            ("3.3.2", 1..=20, "PUBLISH: variable header"),
            ("3.3.4", 1..=10, "PUBLISH: actions"),
            ("3.4.2", 1..=3, "PUBACK"),
            ("3.5.2", 1..=3, "PUBREC"),
            ("3.6.1", 1..=1, "PUBREL: fixed header"),
            ("3.6.2", 1..=3, "PUBREL"),
            ("3.7.2", 1..=3, "PUBCOMP"),
            ("3.8.1", 1..=1, "SUBSCRIBE: fixed header"),
            ("3.8.3", 1..=5, "SUBSCRIBE: payload"),
            ("3.8.4", 1..=8, "SUBSCRIBE: actions"),
            ("3.9.2", 1..=2, "SUBACK: variable header"),
            ("3.9.3", 1..=2, "SUBACK: payload"),
            ("3.10.1", 1..=1, "UNSUBSCRIBE: fixed header"),
            ("3.10.3", 1..=2, "UNSUBSCRIBE: payload"),
            ("3.10.4", 1..=6, "UNSUBSCRIBE: actions"),
            ("3.11.2", 1..=2, "UNSUBACK: variable header"),
            ("3.11.3", 1..=2, "UNSUBACK: payload"),
            ("3.12.4", 1..=1, "PINGREQ"),
            ("3.14.0", 1..=1, "DISCONNECT"),
            ("3.14.1", 1..=1, "DISCONNECT: fixed header"),
            ("3.14.2", 1..=4, "DISCONNECT: variable header"),
            ("3.14.4", 1..=3, "DISCONNECT: actions"),
            ("3.15.1", 1..=1, "AUTH: fixed header"),
            ("3.15.2", 1..=3, "AUTH: variable header"),
            ("4.1.0", 1..=2, "Session state"),
            ("4.2", 1..=1, "Network connections"),
            ("4.3.1", 1..=1, "QoS 0"),
            ("4.3.2", 1..=5, "QoS 1"),
            ("4.3.3", 1..=13, "QoS 2"),
            ("4.4.0", 1..=2, "Sending again"),
            ("4.5.0", 1..=2, "Receiving"),
            ("4.6.0", 1..=6, "Order"),
            ("4.7.0", 1..=1, "Topics"),
            ("4.7.1", 1..=2, "Wildcards"),
            ("4.7.2", 1..=1, "Topics that begin with $"),
            ("4.7.3", 1..=4, "Names and filters"),
            ("4.8.2", 1..=6, "Shared subscriptions"),
            ("4.9.0", 1..=3, "Flow control"),
            ("4.12.0", 1..=7, "Enhanced authentication"),
            ("4.12.1", 1..=2, "Authenticating again"),
            ("4.13.1", 1..=1, "Malformed packets and protocol errors"),
            ("4.13.2", 1..=1, "Other errors"),
            ("6.0.0", 1..=4, "WebSocket"),
        ],
    },
    Standard {
        version: "3.1.1",
        table: include_str!("v3_1_1.toml"),
        sections: &[
            ("1.5.3", 1..=3, "UTF-8 encoded strings"),
            ("2.2.2", 1..=2, "Flags"),
            ("2.3.1", 1..=7, "Packet identifiers"),
            ("3.1.0", 1..=2, "CONNECT"),
            ("3.1.2", 1..=24, "CONNECT: variable header"),
            ("3.1.3", 1..=11, "CONNECT: payload"),
            ("3.1.4", 1..=5, "CONNECT: actions"),
            ("3.2.0", 1..=1, "CONNACK"),
            ("3.2.2", 1..=6, "CONNACK: variable header"),
            ("3.3.1", 1..=12, "PUBLISH: fixed header"),
            ("3.3.2", 1..=3, "PUBLISH: variable header"),
            ("3.3.4", 1..=1, "PUBLISH: actions"),
            ("3.3.5", 1..=2, "PUBLISH: actions"),
            ("3.6.1", 1..=1, "PUBREL: fixed header"),
            ("3.8.1", 1..=1, "SUBSCRIBE: fixed header"),
            ("3.8.3", 1..=4, "SUBSCRIBE: payload"),
            ("3.8.4", 1..=6, "SUBSCRIBE: actions"),
            ("3.9.3", 1..=2, "SUBACK: payload"),
            ("3.10.1", 1..=1, "UNSUBSCRIBE: fixed header"),
            ("3.10.3", 1..=2, "UNSUBSCRIBE: payload"),
            ("3.10.4", 1..=6, "UNSUBSCRIBE: actions"),
            ("3.12.4", 1..=1, "PINGREQ"),
            ("3.14.1", 1..=1, "DISCONNECT: fixed header"),
            ("3.14.4", 1..=3, "DISCONNECT: actions"),
            ("4.1.0", 1..=2, "Session state"),
            ("4.3.1", 1..=1, "QoS 0"),
            ("4.3.2", 1..=2, "QoS 1"),
            ("4.3.3", 1..=2, "QoS 2"),
            ("4.4.0", 1..=1, "Sending again"),
            ("4.5.0", 1..=2, "Receiving"),
            ("4.6.0", 1..=6, "Order"),
            ("4.7.1", 1..=3, "Wildcards"),
            ("4.7.2", 1..=1, "Topics that begin with $"),
            ("4.7.3", 1..=4, "Names and filters"),
            ("4.8.0", 1..=2, "Handling errors"),
            ("6.0.0", 1..=4, "WebSocket"),
            ("7.0.0", 1..=2, "Conformance"),
            ("7.1.1", 1..=1, "Conformance of a server"),
            ("7.1.2", 1..=1, "Conformance of a client"),
        ],
    },
];

impl Standard {
    /// The names of all statements, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let sections = self.sections.iter();
        sections.flat_map(|(section, numbers, _)| {
            numbers.clone().map(move |number| format!("{section}-{number}"))
        })
    }

    /// The rows of the table; one that is not as it should be fails the test.
    pub(crate) fn statements(&self) -> BTreeMap<String, Statement> {
        // Two rows of one name are an error of the format.
        let table: toml::Table = self.table.parse().expect("the table is TOML");
        table.into_iter().map(|(name, row)| (name.clone(), statement(&name, row))).collect()
    }
}

fn statement(name: &str, row: toml::Value) -> Statement {
    let toml::Value::Table(mut row) = row else { panic!("{name} is a row") };
    let mut text = |key: &str| {
        row.remove(key).map(|value| match value {
            toml::Value::String(text) => text,
            other => panic!("{name}: {key} is a text, not {other}"),
        })
    };
    let says = text("says").unwrap_or_else(|| panic!("{name} says nothing"));
    assert!(says.chars().count() <= SAYS_CHARS_MAX, "{name} says too much");
    let binds = text("binds").unwrap_or_else(|| panic!("{name} binds nobody"));
    assert!(["server", "client", "both"].contains(&binds.as_str()), "{name} binds {binds}");
    let (otherwise, gap) = (text("otherwise"), text("gap"));
    let shown = match row.remove("shown") {
        None => Vec::new(),
        Some(toml::Value::Array(tests)) => {
            tests.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
        }
        Some(other) => panic!("{name}: shown is a list of tests, not {other}"),
    };
    let ways = usize::from(!shown.is_empty()) + usize::from(otherwise.is_some());
    let is_explained = ways == 1 || ways == 0 && gap.is_some();
    assert!(is_explained, "{name} is shown by tests, or says why not");
    assert!(row.is_empty(), "{name} has what no row has: {row}");
    Statement { says, binds, shown, otherwise, gap }
}

/// The file of a test, and its name.
fn place(test: &str) -> (String, &str) {
    let (file, name) = test.rsplit_once("::").expect("a test is named with its file");
    match file.ends_with(".rs") {
        true => (file.to_owned(), name),
        false => (format!("tests/tests/conformance/{file}.rs"), name),
    }
}

/// Whether `source` has a test function of this name, which is not ignored.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_head = |line: &&str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    let Some(head) = lines.iter().position(is_head) else { return false };
    let attributes = lines[..head].iter().rev().take_while(|line| line.starts_with("#["));
    let attributes: Vec<_> = attributes.collect();
    attributes.iter().any(|it| it.starts_with("#[test]") || it.starts_with("#[tokio::test"))
        && !attributes.iter().any(|it| it.starts_with("#[ignore"))
}

#[test]
fn every_statement_has_its_row() {
    for standard in &STANDARDS {
        let expected: BTreeSet<String> = standard.names().collect();
        let found: BTreeSet<String> = standard.statements().into_keys().collect();
        let missing: Vec<_> = expected.difference(&found).collect();
        let unknown: Vec<_> = found.difference(&expected).collect();
        assert!(missing.is_empty(), "MQTT {}: {missing:?} have no row", standard.version);
        assert!(unknown.is_empty(), "MQTT {}: {unknown:?} do not exist", standard.version);
    }
}

#[test]
fn every_test_that_is_named_is_there_and_runs() {
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for standard in &STANDARDS {
        for (name, statement) in standard.statements() {
            for test in &statement.shown {
                let (file, function) = place(test);
                let source = sources.entry(file.clone()).or_insert_with(|| read(&file));
                let version = standard.version;
                assert!(has_test(source, function), "MQTT {version} {name}: no test {test}");
            }
        }
    }
}

#[test]
fn only_tests_that_run_are_found() {
    let source = "#[test]\nfn one() {}\n#[tokio::test]\n#[ignore = \"slow\"]\nasync fn two() {}\nfn three() {}\n";
    assert!(has_test(source, "one"));
    for name in ["two", "three", "four", "on"] {
        assert!(!has_test(source, name), "{name}");
    }
}

#[test]
fn the_page_is_made_of_the_tables() {
    let path = workspace().join(PAGE);
    let page = page::render();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, page).expect("the page can be written");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "{PAGE} is not what the tables say: run with {WRITE}=1 to write it");
}

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(Path::new(path))).unwrap_or_default()
}
