//! Fields of a request as people write them: on the command line, or in the query of a URL.
//!
//! A value is read as what the schema of the request says. Where it says text, the text is taken as it stands, so that
//! `serial=0042` and `thing=7` are names; elsewhere numbers, `true`, `false`, `null` and JSON are read as such, and
//! all else is text. JSON quotes force text anywhere (`serial='"0042"'`). A dotted key nests.

use actors::{CatalogOperation, CatalogResource};
use serde_json::{Map, Value as Json};
use std::sync::LazyLock;

/// The combinators under which a schema has several forms.
const FORMS: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// What the admin API of this executable can do.
pub(crate) fn catalogue() -> &'static [CatalogResource] {
    static CATALOGUE: LazyLock<Vec<CatalogResource>> = LazyLock::new(actors::catalogue);
    &CATALOGUE
}

/// An operation of the catalogue.
pub(crate) fn operation(resource: &str, verb: &str) -> Option<&'static CatalogOperation> {
    let found = catalogue().iter().find(|it| it.resource == resource)?;
    found.operations.iter().find(|it| it.verb == verb)
}

/// Reads the text of the field at a dotted key.
pub(crate) fn read(schema: &Json, key: &str, text: &str) -> Json {
    let read = serde_json::from_str::<Json>(text);
    let is_text = of(schema, key).is_some_and(is_text);
    match read {
        Ok(Json::String(quoted)) => quoted.into(),
        Ok(Json::Null) => Json::Null,
        Ok(value) if !is_text => value,
        _ => text.into(),
    }
}

/// Puts the value at a dotted key. An error says what is wrong with the key.
pub(crate) fn insert(body: &mut Map<String, Json>, key: &str, value: Json) -> Result<(), String> {
    if key.split('.').any(str::is_empty) {
        return Err(format!("`{key}` is an empty key, or has an empty part"));
    }
    let mut at = body;
    let mut path = String::new();
    let (parents, last) = key.rsplit_once('.').unwrap_or(("", key));
    for level in parents.split('.').filter(|level| !level.is_empty()) {
        path.push_str(level);
        let next = at.entry(level).or_insert_with(|| Json::Object(Map::new()));
        at = next.as_object_mut().ok_or_else(|| format!("`{path}` is given twice"))?;
        path.push('.');
    }
    match at.insert(last.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(format!("`{key}` is given twice")),
    }
}

/// The schema of the field at a dotted key, in the first form that has it.
fn of<'a>(schema: &'a Json, key: &str) -> Option<&'a Json> {
    let (first, rest) = match key.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (key, None),
    };
    let own = schema.get("properties").and_then(|it| it.get(first));
    let own = own.or_else(|| schema.get("additionalProperties").filter(|it| it.is_object()));
    let found = own.and_then(|own| rest.map_or(Some(own), |rest| of(own, rest)));
    found.or_else(|| forms(schema).find_map(|form| of(form, key)))
}

/// The forms that a schema may have; none if it has one only.
pub(crate) fn forms(schema: &Json) -> impl Iterator<Item = &Json> {
    FORMS.iter().filter_map(|it| schema.get(it).and_then(Json::as_array)).flatten()
}

/// Whether nothing but a text, or null, is taken.
fn is_text(schema: &Json) -> bool {
    let is_either = |name: &Json| name == "string" || name == "null";
    match schema.get("type") {
        Some(Json::Array(names)) => {
            names.iter().all(is_either) && names.iter().any(|name| name == "string")
        }
        Some(name) => name == "string",
        None => {
            let is_null = |form: &Json| form.get("type").is_some_and(|name| name == "null");
            let mut some = forms(schema).filter(|form| !is_null(form)).peekable();
            some.peek().is_some() && some.all(is_text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn without_a_schema_values_have_the_type_they_look_like() {
        for (text, value) in [
            ("1", json!(1)),
            ("-2.5", json!(-2.5)),
            ("true", json!(true)),
            ("null", json!(null)),
            ("text", json!("text")),
            ("", json!("")),
            ("\"7\"", json!("7")),
            ("[1,2]", json!([1, 2])),
            ("{\"k\":1}", json!({"k": 1})),
            ("a=b", json!("a=b")),
            ("2026-01-01", json!("2026-01-01")),
            ("127.0.0.1:5020", json!("127.0.0.1:5020")),
        ] {
            assert_eq!(read(&json!({}), "x", text), value, "{text}");
        }
    }

    #[test]
    fn where_the_schema_says_text_it_is_text() {
        let schema = json!({
            "properties": {
                "name": {"type": "string"},
                "maybe": {"type": ["string", "null"]},
                "one": {"oneOf": [{"type": "string", "const": "a"}, {"type": "null"}]},
                "count": {"type": "integer"},
                "either": {"type": ["string", "integer"]},
                "inner": {"properties": {"name": {"type": "string"}}},
                "map": {"additionalProperties": {"type": "string"}},
            },
            "anyOf": [{"properties": {"form": {"type": "string"}}}],
        });
        for key in ["name", "maybe", "one", "inner.name", "map.any", "form"] {
            assert_eq!(read(&schema, key, "7"), json!("7"), "{key}");
            assert_eq!(read(&schema, key, "\"7\""), json!("7"), "{key}");
            assert_eq!(read(&schema, key, "null"), json!(null), "{key}");
        }
        for key in ["count", "either", "inner.other", "unknown"] {
            assert_eq!(read(&schema, key, "7"), json!(7), "{key}");
        }
    }

    #[test]
    fn the_names_of_things_are_texts() {
        let create = operation("things", "create").unwrap();
        assert_eq!(read(&create.request, "thing", "42"), json!("42"));
        assert_eq!(read(&create.request, "attributes", "{}"), json!({}));
        assert!(operation("things", "destroy").is_none() && operation("pumps", "list").is_none());
    }

    #[test]
    fn a_key_that_cannot_be_is_named() {
        let mut body = Map::new();
        assert!(insert(&mut body, "a.b", json!(1)).is_ok());
        for (key, why) in [
            ("", "empty key"),
            ("a..b", "empty part"),
            ("a.b", "`a.b` is given twice"),
            ("a.b.c", "`a.b` is given twice"),
            ("a", "`a` is given twice"),
        ] {
            let error = insert(&mut body.clone(), key, json!(2)).unwrap_err();
            assert!(error.contains(why), "{key}: {error}");
        }
    }
}
