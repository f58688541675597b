//! Answers for people: lists as tables, objects as `key  value`, with nested values as compact
//! JSON.
//!
//! The columns of a list are the keys of its rows: first the name of the resource's objects, then
//! the others in the order of their names. Of resources with many keys the table shows those that
//! [`COLUMNS`] names, as far as a row has them. A cell holds at most [`CELL_CHARS_MAX`] characters; who
//! needs all of it asks for `--json` or for the one object.

use super::time;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::iter;

/// Wide enough for a path of the namespace, narrow enough for some columns beside it.
const CELL_CHARS_MAX: usize = 48;

/// The columns of lists that have more than a line has room for; a dotted one is nested.
const COLUMNS: &[(&str, &[&str])] = &[
    (
        "audit",
        &["number", "t", "namespace", "by.name", "action", "outcome", "target", "address", "count"],
    ),
    (
        "connections",
        &[
            "client_id",
            "state",
            "user_name",
            "address",
            "protocol",
            "subscriptions",
            "queued",
            "stored",
            "inflight",
            "dropped",
            "rates.received",
            "rates.sent",
        ],
    ),
    (
        "retained",
        &["topic", "bytes", "qos", "expires_in_secs", "publisher.client_id", "encoding", "payload"],
    ),
    (
        "subscriptions",
        &[
            "client_id",
            "topic_filter",
            "qos",
            "no_local",
            "retain_as_published",
            "retain_handling",
            "subscription_id",
        ],
    ),
];

/// Renders the answer of `<resource> …`.
pub(crate) fn render(resource: &str, data: &Value) -> String {
    match data {
        Value::Null => "done\n".to_owned(),
        Value::Object(page) if page.get("items").is_some_and(Value::is_array) => {
            render_page(resource, page)
        }
        Value::Array(rows) => render_rows(resource, rows),
        Value::Object(object) if object.is_empty() => "done\n".to_owned(),
        Value::Object(object) => render_object(object),
        other => format!("{}\n", text(other)),
    }
}

fn render_page(resource: &str, page: &Map<String, Value>) -> String {
    let rows = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut out = render_rows(resource, rows);
    if let Some(cursor) = page.get("next_cursor").and_then(Value::as_str) {
        let _ = writeln!(out, "there are more: cursor={cursor}");
    }
    out
}

fn render_rows(resource: &str, rows: &[Value]) -> String {
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let columns = columns(resource, rows);
    if columns.is_empty() {
        return rows.iter().map(|row| format!("{}\n", text(row))).collect();
    }
    let cell = |row: &Value, column: &str| {
        cut(&nested(row, column).map_or(String::new(), |value| field(column, value)))
    };
    let mut lines = vec![columns.iter().map(|column| column.to_uppercase()).collect::<Vec<_>>()];
    for row in rows {
        lines.push(columns.iter().map(|column| cell(row, column)).collect());
    }
    align(&lines)
}

/// The value at a dotted path.
fn nested<'a>(row: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(row, |at, key| at.get(key))
}

fn columns<'a>(resource: &str, rows: &'a [Value]) -> Vec<&'a str> {
    if let Some((_, chosen)) = COLUMNS.iter().find(|(name, _)| *name == resource) {
        let is_there = |column: &&str| rows.iter().any(|row| nested(row, column).is_some());
        return chosen.iter().copied().filter(is_there).collect();
    }
    let objects = rows.iter().filter_map(Value::as_object);
    let keys: BTreeSet<&str> = objects.flat_map(Map::keys).map(String::as_str).collect();
    let own_name = resource.strip_suffix('s').unwrap_or(resource);
    let is_name = |key: &&str| *key == own_name || *key == "name";
    let (mut names, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_name);
    names.extend(others);
    names
}

fn render_object(object: &Map<String, Value>) -> String {
    let mut lines = Vec::new();
    flatten("", object, &mut lines);
    align(&lines)
}

/// Objects become dotted keys, the form in which `ctl` takes them.
fn flatten(prefix: &str, object: &Map<String, Value>, lines: &mut Vec<Vec<String>>) {
    for (key, value) in object {
        let key = format!("{prefix}{key}");
        match value {
            Value::Object(inner) if !inner.is_empty() => flatten(&format!("{key}."), inner, lines),
            value => lines.push(vec![key.clone(), field(&key, value)]),
        }
    }
}

fn field(key: &str, value: &Value) -> String {
    time::text(key, value).unwrap_or_else(|| text(value))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // A control character must not reach the terminal of an operator.
        Value::String(text) => {
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
        }
        other => other.to_string(),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(i))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in lines {
        for (place, (cell, width)) in line.iter().zip(&widths).enumerate() {
            out.push_str(cell);
            // Not by a format, which takes no width beyond 65 535: a value may be a whole document.
            if place + 1 < line.len() {
                out.extend(iter::repeat_n(' ', width + 2 - cell.chars().count()));
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_a_table_with_the_name_first() {
        let data = json!({
            "items": [
                {"thing": "pump7", "location": "acme/berlin", "attributes": {"maker": "KSB"}},
                {"thing": "泵", "online": true, "location": null},
            ],
            "next_cursor": "泵",
        });
        let expected = "\
THING  ATTRIBUTES       LOCATION     ONLINE
pump7  {\"maker\":\"KSB\"}  acme/berlin
泵                       -            true
there are more: cursor=泵
";
        assert_eq!(render("things", &data), expected);
    }

    #[test]
    fn a_list_with_many_keys_shows_the_chosen_ones() {
        let data = json!({"items": [
            {"client_id": "a", "state": "connected", "tls": {"version": "TLSv1.3"}, "dropped": 0,
                "rates": {"received": 1.5, "over_ms": 5000}},
            {"client_id": "b", "state": "away", "stored": 7, "dropped": 1},
        ]});
        let expected = "\
CLIENT_ID  STATE      STORED  DROPPED  RATES.RECEIVED
a          connected          0        1.5
b          away       7       1
";
        assert_eq!(render("connections", &data), expected);
    }

    #[test]
    fn an_object_is_keys_and_values_in_the_form_ctl_takes() {
        let data = json!({"thing": "p", "attributes": {"maker": "KSB", "w": [1]}, "empty": {}});
        let expected = "\
attributes.maker  KSB
attributes.w      [1]
empty             {}
thing             p
";
        assert_eq!(render("things", &data), expected);
    }

    #[test]
    fn small_answers_read_well() {
        assert_eq!(render("things", &json!({"items": []})), "none\n");
        assert_eq!(render("things", &json!(["a", 1])), "a\n1\n");
        assert_eq!(render("things", &json!(null)), "done\n");
        assert_eq!(render("things", &json!({})), "done\n");
        assert_eq!(render("things", &json!(7)), "7\n");
    }

    #[test]
    fn long_cells_are_cut_and_control_characters_replaced() {
        let rows = render("x", &json!([{"a": "é".repeat(100)}]));
        assert_eq!(rows.lines().nth(1).unwrap().chars().count(), CELL_CHARS_MAX);
        assert!(rows.contains('…'));
        assert!(!render("x", &json!({"a": "\u{1b}[31m"})).contains('\u{1b}'));
    }

    #[test]
    fn a_value_may_be_a_whole_document() {
        let text = "x".repeat(70_000);
        let shown = render("x", &json!({"short": 1, &text: 2, "long": text}));
        assert!(shown.contains(&format!("long{}  {text}\n", " ".repeat(70_000 - 4))));
    }
}
