//! What `manifold ctl` can ask for, for an operator who does not know yet: the catalogue of the admin API as help.
//!
//! It is printed from the catalogue that the executable is built with, so it is there without a node and without a
//! secret. The node decides what there is: one of another version may know more, or less.

use crate::fields::{self, catalogue};
use crate::outcome::{Failure, Outcome, print};
use actors::{CatalogOperation, CatalogResource};
use serde_json::Value as Json;
use std::fmt::Write as _;

/// As wide as a terminal may be taken to be.
const LINE_CHARS_MAX: usize = 120;

/// How deep the fields of a request are told.
const DEPTH_MAX: usize = 4;

/// A field of a request.
#[derive(Debug, PartialEq)]
struct Field {
    /// Dotted, as `ctl` takes it.
    key: String,
    is_needed: bool,
    kind: String,
    about: String,
}

/// Lists the resources and their verbs, or those of one resource.
pub(crate) fn list(resource: Option<&str>) -> Outcome {
    match resource {
        None => print(&text(catalogue().iter())),
        Some(name) => print(&text([find(name)?].into_iter())),
    }
}

/// Tells everything of the verbs of a resource, or of one of them: fields, types, defaults.
pub(crate) fn help(resource: &str, verb: Option<&str>) -> Outcome {
    let found = find(resource)?;
    let is_meant = |it: &&CatalogOperation| verb.is_none_or(|verb| verb == it.verb);
    let meant: Vec<_> = found.operations.iter().filter(is_meant).collect();
    if meant.is_empty() {
        let verbs: Vec<_> = found.operations.iter().map(|it| it.verb).collect();
        let message = format!("{resource} has no such verb; it has {}", verbs.join(", "));
        return Err(Failure::Usage(message));
    }
    let texts = meant.into_iter().map(|it| describe(found, it));
    print(&texts.collect::<Vec<_>>().join("\n"))
}

/// The keys of an operation, those that are needed first, as far as `ctl` takes them at the top.
pub(crate) fn keys(operation: &CatalogOperation) -> Vec<String> {
    let mut fields = fields_of(&operation.request);
    fields.sort_by_key(|field| !field.is_needed);
    fields.into_iter().map(|field| field.key).collect()
}

fn find(resource: &str) -> Result<&'static CatalogResource, Failure> {
    catalogue().iter().find(|it| it.resource == resource).ok_or_else(|| {
        let names: Vec<_> = catalogue().iter().map(|it| it.resource).collect();
        let message = format!("which verb of {resource}? known resources: {}", names.join(", "));
        Failure::Usage(message)
    })
}

fn text<'a>(resources: impl Iterator<Item = &'a CatalogResource>) -> String {
    let mut text = String::new();
    for CatalogResource { resource, description, operations } in resources {
        let _ = writeln!(text, "{resource}: {description}");
        let longest = operations.iter().map(|it| it.verb.len()).max().unwrap_or_default();
        for operation in operations {
            let (verb, width) = (operation.verb, longest.max(11));
            let begin = format!("  manifold ctl {resource} {verb:<width$}");
            let _ = writeln!(text, "{}", line(begin, operation));
        }
    }
    text
}

/// A command to type, with the names of its fields as far as the line has room; `?` marks optional ones.
fn line(mut line: String, operation: &CatalogOperation) -> String {
    let mut fields = fields_of(&operation.request);
    fields.sort_by_key(|field| !field.is_needed);
    for Field { key, is_needed, .. } in fields {
        let mark = if is_needed { "" } else { "?" };
        if line.chars().count() + key.chars().count() + mark.len() + " ...".len() >= LINE_CHARS_MAX
        {
            line.push_str(" ...");
            break;
        }
        line.push_str(&format!(" {key}{mark}"));
    }
    line.trim_end().to_owned()
}

fn describe(resource: &CatalogResource, operation: &CatalogOperation) -> String {
    let CatalogOperation { verb, description, role, request, .. } = operation;
    let name = resource.resource;
    let mut text = format!("manifold ctl {name} {verb}: {description}\n  needs the role {role}\n");
    let fields = fields_of(request);
    let width = |of: fn(&Field) -> &str| {
        fields.iter().map(|field| of(field).chars().count()).max().unwrap_or_default()
    };
    let (keys, kinds) = (width(|it| &it.key), width(|it| &it.kind).min(40));
    for Field { key, is_needed, kind, about } in &fields {
        let need = if *is_needed { "needed" } else { "" };
        let line = format!("  {key:keys$}  {need:6}  {kind:kinds$}  {about}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if let Some(note) = super::files::note(name, verb) {
        let _ = writeln!(text, "  {note}");
    }
    text
}

fn fields_of(schema: &Json) -> Vec<Field> {
    let mut fields = Vec::new();
    gather(schema, "", true, DEPTH_MAX, &mut fields);
    fields
}

/// Gathers the fields of an object, in all its forms, with those of the objects in it. What not every form needs is
/// not needed.
fn gather(schema: &Json, prefix: &str, is_needed: bool, depth: usize, into: &mut Vec<Field>) {
    let required = schema.get("required").and_then(Json::as_array);
    let properties = schema.get("properties").and_then(Json::as_object);
    for (name, field) in properties.into_iter().flatten() {
        let key = format!("{prefix}{name}");
        let is_needed =
            is_needed && required.is_some_and(|names| names.iter().any(|it| it == name));
        let before = into.len();
        if depth > 1 {
            gather(field, &format!("{key}."), is_needed, depth - 1, into);
        }
        if into.len() == before && !into.iter().any(|it| it.key == key) {
            into.push(Field { key, is_needed, kind: kind(field), about: about(field) });
        }
    }
    let has_one_form = fields::forms(schema).nth(1).is_none();
    for form in fields::forms(schema) {
        gather(form, prefix, is_needed && has_one_form, depth, into);
    }
}

/// What a field takes, in a few words.
fn kind(schema: &Json) -> String {
    if let Some(value) = schema.get("const") {
        return word(value);
    }
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        return values.iter().map(word).collect::<Vec<_>>().join("|");
    }
    let name = match schema.get("type") {
        Some(Json::String(name)) => name.as_str(),
        Some(Json::Array(names)) => {
            let mut some = names.iter().filter_map(Json::as_str).filter(|name| *name != "null");
            match (some.next(), some.next()) {
                (Some(only), None) => only,
                _ => "any",
            }
        }
        _ => {
            let mut kinds: Vec<String> = fields::forms(schema).map(kind).collect();
            kinds.retain(|it| it != "null");
            kinds.dedup();
            return if kinds.is_empty() { "any".to_owned() } else { kinds.join("|") };
        }
    };
    let range = range(schema);
    match name {
        "string" => "text".to_owned(),
        "boolean" => "true|false".to_owned(),
        "array" => format!("list of {}", schema.get("items").map_or("any".to_owned(), kind)),
        other => format!("{other}{range}"),
    }
}

fn range(schema: &Json) -> String {
    let bound = |key: &str| schema.get(key).map(Json::to_string).unwrap_or_default();
    match (bound("minimum"), bound("maximum")) {
        (low, high) if low.is_empty() && high.is_empty() => String::new(),
        (low, high) => format!(" {low}..{high}"),
    }
}

/// What a field is, on one line, and what it is if it is left out.
fn about(schema: &Json) -> String {
    let text = schema.get("description").and_then(Json::as_str).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match schema.get("default").filter(|it| !it.is_null()) {
        Some(default) => format!("{text} Default: {}.", word(default)).trim().to_owned(),
        None => text,
    }
}

fn word(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_line_begins_with_a_command_to_type() {
        let text = text(catalogue().iter());
        assert!(text.contains("\n  manifold ctl things create      thing "), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120 && line.trim_end() == line));
        for resource in catalogue() {
            for operation in &resource.operations {
                let line = format!("  manifold ctl {} {}", resource.resource, operation.verb);
                assert!(text.lines().any(|it| it.starts_with(&line)), "{line}");
                assert!(describe(resource, operation).contains(operation.description));
            }
        }
    }

    #[test]
    fn an_unknown_resource_is_wrong_usage_that_names_the_known_ones() {
        let failure = list(Some("pumps")).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(
            failure.reason().contains("certificates, commands, connections, credentials, drivers")
        );
        let failure = help("things", Some("destroy")).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.reason().contains("create, delete, export, get, import, list"));
    }

    #[test]
    fn fields_are_told_with_type_range_default_and_text() {
        let schema = json!({
            "properties": {
                "name": {"type": "string", "description": "Its\nname."},
                "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 9, "default": 5},
                "mode": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]},
                "inner": {
                    "properties": {"flag": {"type": "boolean"}}, "required": ["flag"],
                },
                "some": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["name", "inner"],
            "anyOf": [
                {"properties": {"one": {"type": "number"}}, "required": ["one"]},
                {"properties": {"two": {}}, "required": ["two"]},
            ],
        });
        let mut fields = fields_of(&schema);
        fields.sort_by(|a, b| a.key.cmp(&b.key));
        let told: Vec<_> = fields
            .iter()
            .map(|it| (it.key.as_str(), it.is_needed, it.kind.as_str(), it.about.as_str()))
            .collect();
        let expected = [
            ("inner.flag", true, "true|false", ""),
            ("limit", false, "integer 1..9", "Default: 5."),
            ("mode", false, "a|b", ""),
            ("name", true, "text", "Its name."),
            ("one", false, "number", ""),
            ("some", false, "list of text", ""),
            ("two", false, "any", ""),
        ];
        assert_eq!(told, expected);
    }
}
