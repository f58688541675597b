//! YAML as JSON: the part of YAML 1.2 that has a JSON form (core schema), in one document, without tags and without
//! aliases, whose expansion has no bound.

use crate::refusal::{Refusal, RefusalCode};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value as Json};

/// The longest text, in bytes.
const YAML_BYTES_MAX: usize = 256 * 1024;
/// Lists and objects within one another.
const DEPTH_MAX: usize = 32;

/// A list or object that is being read.
enum Open {
    List(Vec<Json>),
    /// With the key that waits for its value.
    Object(Map<String, Json>, Option<String>),
}

/// Reads a text.
pub fn parse(text: &str) -> Result<Json, Refusal> {
    if text.len() > YAML_BYTES_MAX {
        let bytes = text.len();
        let message = format!("the profile has {bytes} bytes, at most {YAML_BYTES_MAX}");
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| invalid(format!("not YAML: {error}")))?;
        let read = reader.take(event);
        read.map_err(|reason| invalid(format!("{reason}, in line {}", span.start.line())))?;
    }
    reader.done.ok_or_else(|| invalid("it is empty".to_owned()))
}

fn invalid(message: String) -> Refusal {
    Refusal::new(RefusalCode::Invalid, message)
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    done: Option<Json>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) -> Result<(), &'static str> {
        match event {
            Event::Alias(_) => Err("an alias is not supported"),
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err("a tag is not supported"),
            Event::Scalar(text, style, _, None) => {
                let is_key = matches!(self.open.last(), Some(Open::Object(_, None)));
                self.put(if is_key { Json::String(text.into()) } else { scalar(&text, style) })
            }
            Event::SequenceStart(_, None) => self.begin(Open::List(Vec::new())),
            Event::MappingStart(_, None) => self.begin(Open::Object(Map::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(items)) => self.put(items.into()),
                Some(Open::Object(fields, _)) => self.put(fields.into()),
                None => Ok(()),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, open: Open) -> Result<(), &'static str> {
        if self.open.len() == DEPTH_MAX {
            return Err("it is nested too deep");
        }
        if matches!(self.open.last(), Some(Open::Object(_, None))) {
            return Err("a key must be a text");
        }
        self.open.push(open);
        Ok(())
    }

    fn put(&mut self, json: Json) -> Result<(), &'static str> {
        match self.open.last_mut() {
            None if self.done.is_some() => return Err("there is more than one document"),
            None => self.done = Some(json),
            Some(Open::List(items)) => items.push(json),
            Some(Open::Object(fields, waits)) => match waits.take() {
                None => *waits = json.as_str().map(str::to_owned),
                Some(key) if fields.contains_key(&key) => return Err("a key is there twice"),
                Some(key) => drop(fields.insert(key, json)),
            },
        }
        Ok(())
    }
}

/// A scalar by the core schema (YAML 1.2.2, 10.3); a quoted one is a text.
fn scalar(text: &str, style: ScalarStyle) -> Json {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    number(text).map_or_else(|| text.into(), Json::Number)
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    // `inf` and `nan` are words to Rust, and texts to YAML without their dot.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    if !is_number {
        return None;
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = plain.parse::<i64>() {
        return Some(number.into());
    }
    match plain.parse::<u64>() {
        Ok(number) => Some(number.into()),
        Err(_) => plain.parse().ok().and_then(Number::from_f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn yaml_reads_as_the_json_it_means() {
        let text = "a: 1\nb: [true, ~, 'x', \"1\", 1.5, 0x10, +3, 12345678901234567890]\n\
            c:\n  - d: e f\n    1: '2'\n---\n";
        let text = text.strip_suffix("---\n").unwrap();
        let expected = json!({"a":1,"b":[true,null,"x","1",1.5,16,3,12345678901234567890_u64],
            "c":[{"d":"e f","1":"2"}]});
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse(r#"{"a": [1, {"b": null}]}"#).unwrap(), json!({"a":[1,{"b":null}]}));
    }

    #[test]
    fn what_has_no_json_form_or_no_bound_is_refused() {
        let deep = "[".repeat(40);
        let cases = [
            ("", "empty"),
            ("a: [", "not YAML"),
            ("a: &x 1\nb: *x", "alias"),
            ("a: !!str 1", "tag"),
            ("a: 1\na: 2", "twice"),
            ("a: 1\n---\nb: 1", "more than one"),
            ("? [a]\n: 1", "key must be a text"),
            (deep.as_str(), "deep"),
        ];
        for (text, reason) in cases {
            let refusal = parse(text).unwrap_err();
            assert!(refusal.message.contains(reason), "{text}: {refusal}");
        }
        let large = "x".repeat(YAML_BYTES_MAX + 1);
        assert_eq!(parse(&large).unwrap_err().code, RefusalCode::TooLarge);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"([a-c]: |- |[\[\]{},&*!'"|>#\n ]|[0-9e.+-]|\?|%|---){0,30}"#) {
            let _ = parse(&text);
        }
    }
}
