//! Makes a request of the words on the command line.
//!
//! `key=value` is read as [`crate::fields`] says; `key=@file` is the text of a file, without the line break at its end,
//! and `key=@-` what comes on stdin. `-` is the whole request, as JSON on stdin. The words are added to
//! `--json-body`; saying one thing twice is refused, so that a typo does not win silently.

use crate::fields;
use serde_json::{Map, Value as Json};
use std::io::Read as _;

/// The most that is read of a file or of stdin: the node takes no longer request.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where a request comes from.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) json_body: Option<&'a str>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) fields: &'a [String],
}

/// Makes the request; an error says which word is wrong.
pub(crate) fn make(words: Words<'_>, schema: &Json) -> Result<Map<String, Json>, String> {
    let Words { json_body, request_id, fields } = words;
    let mut from_stdin = fields.iter().filter(|word| *word == "-" || word.ends_with("=@-"));
    if from_stdin.next().is_some() && from_stdin.next().is_some() {
        return Err("stdin is asked for twice".to_owned());
    }
    let is_all_on_stdin = fields.iter().any(|word| word == "-");
    let mut body = match (json_body, is_all_on_stdin) {
        (None, false) => Map::new(),
        (Some(text), false) => object("--json-body", text)?,
        (None, true) => object("stdin", &read_text("-")?)?,
        (Some(_), true) => return Err("--json-body and stdin are two requests".to_owned()),
    };
    for field in fields.iter().filter(|word| *word != "-") {
        let (key, text) = field
            .split_once('=')
            .ok_or_else(|| format!("`{field}` is not of the form key=value"))?;
        let value = match text.strip_prefix('@') {
            Some(path) => fields::read(schema, key, &read_text(path)?),
            None => fields::read(schema, key, text),
        };
        fields::insert(&mut body, key, value)?;
    }
    if let Some(request_id) = request_id {
        fields::insert(&mut body, "request_id", request_id.into())?;
    }
    Ok(body)
}

fn object(what: &str, text: &str) -> Result<Map<String, Json>, String> {
    match serde_json::from_str(text) {
        Ok(Json::Object(body)) => Ok(body),
        Ok(_) => Err(format!("{what} is not a JSON object")),
        Err(error) => Err(format!("{what} is not JSON: {error}")),
    }
}

/// The text of a file, or of stdin for `-`.
fn read_text(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let read = match path {
        "-" => std::io::stdin().lock().take(BYTES_MAX + 1).read_to_string(&mut text),
        path => std::fs::File::open(path)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text)),
    };
    let name = if path == "-" { "stdin" } else { path };
    read.map_err(|error| format!("cannot read {name}: {error}"))?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > BYTES_MAX) {
        return Err(format!("{name} is longer than {BYTES_MAX} bytes"));
    }
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.map_or(text.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(json_body: Option<&str>, fields: &[&str]) -> Result<Json, String> {
        let fields: Vec<String> = fields.iter().map(|text| (*text).to_owned()).collect();
        let words = Words { json_body, fields: &fields, ..Words::default() };
        make(words, &json!({})).map(Json::Object)
    }

    #[test]
    fn dotted_keys_nest_beside_a_json_body() {
        let body = words(Some(r#"{"thing":"a","x":{"p":1}}"#), &["x.q.r=2", "x.q.s=3"]).unwrap();
        assert_eq!(body, json!({"thing": "a", "x": {"p": 1, "q": {"r": 2, "s": 3}}}));
        assert_eq!(words(None, &[]).unwrap(), json!({}));
    }

    #[test]
    fn a_file_is_a_value_of_the_type_that_the_schema_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        std::fs::write(&path, "7\n").unwrap();
        let field = format!("key=@{}", path.display());
        assert_eq!(words(None, &[&field]).unwrap(), json!({ "key": 7 }));
        let schema = json!({"properties": {"key": {"type": "string"}}});
        let fields = [field];
        let given = Words { fields: &fields, request_id: Some("r1"), ..Words::default() };
        let body = make(given, &schema).unwrap();
        assert_eq!(Json::Object(body), json!({ "key": "7", "request_id": "r1" }));
        let missing = format!("key=@{}", folder.path().join("none").display());
        assert!(words(None, &[&missing]).unwrap_err().contains("cannot read"));
    }

    #[test]
    fn wrong_words_are_named() {
        for (json_body, fields, reason) in [
            (None, &["word"][..], "`word` is not of the form"),
            (None, &["=1"], "empty key"),
            (None, &["a..b=1"], "empty part"),
            (Some("[1]"), &["a=1"], "not a JSON object"),
            (Some("{"), &["a=1"], "is not JSON"),
            (Some(r#"{"a":1}"#), &["a=2"], "`a` is given twice"),
            (Some(r#"{"a":1}"#), &["a.b=2"], "`a` is given twice"),
            (Some(r#"{"a":{"b":1}}"#), &["a.b=2"], "`a.b` is given twice"),
            (Some("{}"), &["-"], "two requests"),
            (None, &["-", "a=@-"], "stdin is asked for twice"),
        ] {
            let error = words(json_body, fields).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
