//! Makes a request of the words on the command line.
//!
//! `key=value`: numbers, `true`, `false`, `null` and JSON are read as such, all else is text; JSON
//! quotes force text (`serial='"0042"'`). A dotted key nests. The words are added to `--json-body`;
//! saying one thing twice is refused, so that a typo does not win silently.

use serde_json::{Map, Value};

/// Makes the request; an error says which word is wrong.
pub(crate) fn make(
    json_body: Option<&str>,
    fields: &[String],
) -> Result<Map<String, Value>, String> {
    let mut body = match json_body {
        None => Map::new(),
        Some(text) => match serde_json::from_str(text) {
            Ok(Value::Object(body)) => body,
            Ok(_) => return Err("--json-body is not a JSON object".to_owned()),
            Err(error) => return Err(format!("--json-body is not JSON: {error}")),
        },
    };
    for field in fields {
        let (key, text) = field
            .split_once('=')
            .ok_or_else(|| format!("`{field}` is not of the form key=value"))?;
        if key.split('.').any(str::is_empty) {
            return Err(format!("`{field}` has an empty key"));
        }
        insert(&mut body, key, read(text)).map_err(|at| format!("`{at}` is given twice"))?;
    }
    Ok(body)
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Puts the value at a dotted key; the error is the part of the key that is taken.
fn insert(body: &mut Map<String, Value>, key: &str, value: Value) -> Result<(), String> {
    let mut at = body;
    let mut path = String::new();
    let (parents, last) = key.rsplit_once('.').unwrap_or(("", key));
    for level in parents.split('.').filter(|level| !level.is_empty()) {
        path.push_str(level);
        let next = at.entry(level).or_insert_with(|| Value::Object(Map::new()));
        at = next.as_object_mut().ok_or_else(|| path.clone())?;
        path.push('.');
    }
    match at.insert(last.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(json_body: Option<&str>, fields: &[&str]) -> Result<Value, String> {
        let fields: Vec<String> = fields.iter().map(|text| (*text).to_owned()).collect();
        make(json_body, &fields).map(Value::Object)
    }

    #[test]
    fn values_have_the_type_they_look_like() {
        let fields = [
            "n=1",
            "f=-2.5",
            "t=true",
            "z=null",
            "s=text",
            "e=",
            "q=\"7\"",
            "a=[1,2]",
            "o={\"k\":1}",
            "eq=a=b",
            "date=2026-01-01",
            "ip=127.0.0.1:5020",
        ];
        assert_eq!(
            words(None, &fields).unwrap(),
            json!({
                "n": 1, "f": -2.5, "t": true, "z": null, "s": "text", "e": "", "q": "7",
                "a": [1, 2], "o": {"k": 1}, "eq": "a=b", "date": "2026-01-01",
                "ip": "127.0.0.1:5020",
            })
        );
    }

    #[test]
    fn dotted_keys_nest_beside_a_json_body() {
        let body = words(Some(r#"{"thing":"a","x":{"p":1}}"#), &["x.q.r=2", "x.q.s=3"]).unwrap();
        assert_eq!(body, json!({"thing": "a", "x": {"p": 1, "q": {"r": 2, "s": 3}}}));
        assert_eq!(words(None, &[]).unwrap(), json!({}));
    }

    #[test]
    fn wrong_words_are_named() {
        for (json_body, field, reason) in [
            (None, "word", "`word` is not of the form"),
            (None, "=1", "empty key"),
            (None, "a..b=1", "empty key"),
            (Some("[1]"), "a=1", "not a JSON object"),
            (Some("{"), "a=1", "is not JSON"),
            (Some(r#"{"a":1}"#), "a=2", "`a` is given twice"),
            (Some(r#"{"a":1}"#), "a.b=2", "`a` is given twice"),
            (Some(r#"{"a":{"b":1}}"#), "a.b=2", "`a.b` is given twice"),
        ] {
            let error = words(json_body, &[field]).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
