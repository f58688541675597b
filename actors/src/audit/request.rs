//! What of a request stands in its record: what it is about, and a digest. Never a secret.

use super::chain::{hex, sha256};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// Fields that say what a request is about.
const TARGETS: &[&str] = &[
    "authority",
    "backup",
    "bridge",
    "client_id",
    "command",
    "driver",
    "edge",
    "enrolment",
    "fingerprint",
    "gateway",
    "group",
    "id",
    "job",
    "model",
    "name",
    "namespace",
    "parent",
    "project",
    "resource",
    "role",
    "serial",
    "shadow",
    "tag",
    "template",
    "tenant",
    "thing",
    "topic",
    "topic_filter",
    "user",
    "verb",
    "version",
];

/// What a name contains whose value is nobody's business.
const SECRETS: &[&str] =
    &["secret", "password", "token", "private", "key", "pin", "psk", "passphrase"];

/// The longest value of a target, in characters: topics come long.
const VALUE_CHARS_MAX: usize = 256;

/// What a request is about: those of its fields that name something.
pub(crate) fn target(fields: &Map<String, Json>) -> BTreeMap<String, String> {
    let mut target = match fields.get("body") {
        // The request that an edge node is asked, in which another edge node means nothing here.
        Some(Json::Object(inner)) => target(inner),
        _ => BTreeMap::new(),
    };
    for name in TARGETS {
        let text = match fields.get(*name) {
            Some(Json::String(text)) => text.chars().take(VALUE_CHARS_MAX).collect(),
            Some(Json::Number(number)) => number.to_string(),
            _ => continue,
        };
        target.insert((*name).to_owned(), text);
    }
    target
}

/// SHA-256 over the request as JSON with sorted names, in which the value of each field that may be a secret is the
/// text `left out`: who has a request can show that it was this one, and nobody can guess a secret from it.
pub(crate) fn digest(fields: &Map<String, Json>) -> String {
    let mut text = String::new();
    write_object(fields, &mut text);
    hex(&sha256(text.as_bytes()))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|it| name.contains(it))
}

fn write_object(fields: &Map<String, Json>, out: &mut String) {
    let sorted: BTreeMap<&String, &Json> = fields.iter().collect();
    out.push('{');
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&Json::from(name.as_str()).to_string());
        out.push(':');
        match is_secret(name) {
            true => out.push_str("\"left out\""),
            false => write(value, out),
        }
    }
    out.push('}');
}

/// Recursion is as deep as the reader of JSON allows, which is 128.
fn write(value: &Json, out: &mut String) {
    match value {
        Json::Object(fields) => write_object(fields, out),
        Json::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(json: Json) -> Map<String, Json> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn a_digest_does_not_depend_on_order_nor_on_any_secret() {
        let one = fields(
            json!({"user":"a","secret":"s1","remote":{"password":"p","url":"u"},"n":[1,{"b":1,"a":2}]}),
        );
        let other = fields(
            json!({"n":[1,{"a":2,"b":1}],"remote":{"url":"u","password":"q"},"secret":"s2","user":"a"}),
        );
        assert_eq!(digest(&one), digest(&other));
        let changed = fields(
            json!({"user":"b","secret":"s1","remote":{"password":"p","url":"u"},"n":[1,{"b":1,"a":2}]}),
        );
        assert_ne!(digest(&one), digest(&changed));
        let without = fields(json!({"user":"a","remote":{"url":"u"},"n":[1,{"b":1,"a":2}]}));
        assert_ne!(digest(&one), digest(&without), "that a secret was set is told");
    }

    #[test]
    fn a_target_is_made_of_short_texts_that_name_something() {
        let request = fields(json!({
            "thing":"p1","secret":"s","attributes":{"thing":"x"},"id":7,"tag":["a"],"topic":"t".repeat(999),
        }));
        let target = target(&request);
        assert_eq!(target.keys().collect::<Vec<_>>(), ["id", "thing", "topic"]);
        assert_eq!((target["id"].as_str(), target["topic"].len()), ("7", VALUE_CHARS_MAX));
    }
}
