//! A way to one value of a JSON payload: a singular query of JSONPath (RFC 9535, 2.3.5.1), `$.state['last value'][0]`.

use serde_json::{Map, Value as Json};
use std::fmt;

/// The most steps of a path.
const STEPS_MAX: usize = 16;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

impl JsonPath {
    /// Reads a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix('$').ok_or("a path begins with $, as in $.temperature")?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest)?;
            steps.push(step);
            rest = after;
        }
        match steps.len() {
            0..=STEPS_MAX => Ok(Self(steps)),
            count => Err(format!("{count} steps, at most {STEPS_MAX}")),
        }
    }

    pub(super) fn of(steps: &[Step]) -> Self {
        Self(steps.to_vec())
    }

    /// The value there; `None` if there is none.
    pub(crate) fn find<'a>(&self, json: &'a Json) -> Option<&'a Json> {
        self.0.iter().try_fold(json, |json, step| match step {
            Step::Name(name) => json.get(name),
            Step::Index(index) => json.get(index),
        })
    }

    /// Whether a document can be made that has nothing but a value there.
    pub(crate) fn is_of_names(&self) -> bool {
        self.0.iter().all(|step| matches!(step, Step::Name(_)))
    }

    /// The document that has nothing but a value there, of a path of names.
    pub(crate) fn document(&self, value: Json) -> Json {
        self.0.iter().rev().fold(value, |inner, step| match step {
            Step::Name(name) => Json::Object(Map::from_iter([(name.clone(), inner)])),
            Step::Index(_) => inner,
        })
    }
}

fn step(rest: &str) -> Result<(Step, &str), String> {
    if let Some(rest) = rest.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return match &rest[..end] {
            "" => Err("a name is missing after a point".to_owned()),
            "*" => Err("a path leads to one value: * would lead to many".to_owned()),
            name => Ok((Step::Name(name.to_owned()), &rest[end..])),
        };
    }
    let Some(inner) = rest.strip_prefix('[') else {
        return Err(format!("a point or [ is missing before {rest:?}"));
    };
    for quote in ['\'', '"'] {
        if let Some(name) = inner.strip_prefix(quote) {
            let end = name.find([quote]).filter(|end| name[end + 1..].starts_with(']'));
            let end = end.ok_or("a name in quotes has no end")?;
            return Ok((Step::Name(name[..end].to_owned()), &name[end + 2..]));
        }
    }
    let (index, after) = inner.split_once(']').ok_or("] is missing")?;
    let index = index.parse().map_err(|_| format!("{index:?} is no index"))?;
    Ok((Step::Index(index), after))
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().try_for_each(|step| match step {
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Name(name) if !name.is_empty() && !name.contains(['.', '[', '*']) => {
                write!(f, ".{name}")
            }
            Step::Name(name) if name.contains('\'') => write!(f, "[\"{name}\"]"),
            Step::Name(name) => write!(f, "['{name}']"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let json = json!({"a": {"b c": [1, {"d": 2}]}, "x.y": 3, "it's": 4});
        for (path, expected) in [
            ("$", Some(&json)),
            ("$.a['b c'][0]", Some(&json!(1))),
            ("$.a[\"b c\"][1].d", Some(&json!(2))),
            ("$['x.y']", Some(&json!(3))),
            ("$[\"it's\"]", Some(&json!(4))),
            ("$.a.gone", None),
            ("$.a[0]", None),
            ("$.a['b c'][2]", None),
        ] {
            let parsed = JsonPath::parse(path).unwrap();
            assert_eq!(parsed.find(&json), expected, "{path}");
            assert_eq!(JsonPath::parse(&parsed.to_string()).unwrap(), parsed, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a", "$a", "$.", "$..a", "$.*", "$[", "$[x]", "$['a", "$['a'x]", "$[-1]"] {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
        assert!(JsonPath::parse(&format!("${}", ".a".repeat(16))).is_ok());
        assert!(JsonPath::parse(&format!("${}", ".a".repeat(17))).is_err());
    }

    #[test]
    fn a_document_has_nothing_else() {
        let path = JsonPath::parse("$.a['b c']").unwrap();
        assert_eq!(path.document(json!(1)), json!({"a": {"b c": 1}}));
        assert!(path.is_of_names() && !JsonPath::parse("$.a[0]").unwrap().is_of_names());
        assert_eq!(JsonPath::parse("$").unwrap().document(json!(1)), json!(1));
    }
}
