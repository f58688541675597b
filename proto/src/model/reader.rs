//! Strict reading of the parts of a document: each mistake is kept with its path, and reading goes on, so that an
//! author hears of all of them at once.

use crate::refusal::{Refusal, RefusalCode};
use serde_json::{Map, Value as Json};

/// The most mistakes that one refusal tells of.
const MISTAKES_MAX: usize = 8;

/// What is wrong with a document.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    told: Vec<(String, String)>,
    count: usize,
}

/// An object of a document, and where it stands.
pub(super) struct Fields<'a> {
    pub(super) at: String,
    fields: &'a Map<String, Json>,
}

impl Mistakes {
    /// One more.
    pub(super) fn add(&mut self, at: impl Into<String>, reason: impl Into<String>) {
        self.count += 1;
        if self.told.len() < MISTAKES_MAX {
            self.told.push((at.into(), reason.into()));
        }
    }

    /// The refusal that names the first as its field and tells of the others; `Ok` if there is none.
    pub(super) fn into_result(self) -> Result<(), Refusal> {
        let mut told = self.told.into_iter();
        let Some((at, mut message)) = told.next() else { return Ok(()) };
        let count = self.count;
        for (at, reason) in told {
            message.push_str(&format!("; {at}: {reason}"));
        }
        if count > MISTAKES_MAX {
            message.push_str(&format!("; and {} more", count - MISTAKES_MAX));
        }
        let refusal = Refusal::new(RefusalCode::Invalid, message);
        Err(if at.is_empty() { refusal } else { refusal.at(at) })
    }
}

/// The path of what is called `key` below `at`.
pub(super) fn below(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { [at, key].join(".") }
}

/// What a JSON value is, in a word.
pub(super) fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

impl<'a> Fields<'a> {
    /// Reads an object.
    pub(super) fn of(json: &'a Json, at: String, mistakes: &mut Mistakes) -> Option<Self> {
        let Json::Object(fields) = json else {
            mistakes.add(at, format!("it must be an object, it is {}", kind_of(json)));
            return None;
        };
        Some(Self { at, fields })
    }

    /// The names that are there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a String> {
        self.fields.keys()
    }

    /// The path of a field.
    pub(super) fn path(&self, key: &str) -> String {
        below(&self.at, key)
    }

    /// A field as it is.
    pub(super) fn get(&self, key: &str) -> Option<&'a Json> {
        self.fields.get(key)
    }

    /// Whether it is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// A field of one kind, which `read` takes.
    pub(super) fn read<T>(
        &self,
        key: &str,
        what: &str,
        mistakes: &mut Mistakes,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Option<T> {
        let json = self.get(key)?;
        let found = read(json);
        if found.is_none() {
            mistakes.add(self.path(key), format!("it must be {what}, it is {}", shown(json)));
        }
        found
    }

    /// A text.
    pub(super) fn text(&self, key: &str, mistakes: &mut Mistakes) -> Option<&'a str> {
        self.read(key, "a text", mistakes, Json::as_str)
    }

    /// A truth value; absent is false.
    pub(super) fn flag(&self, key: &str, mistakes: &mut Mistakes) -> bool {
        self.read(key, "true or false", mistakes, Json::as_bool).unwrap_or_default()
    }

    /// A whole number from 0 on.
    pub(super) fn count(&self, key: &str, mistakes: &mut Mistakes) -> Option<usize> {
        let read = |json: &Json| json.as_u64().and_then(|it| usize::try_from(it).ok());
        self.read(key, "a whole number from 0 on", mistakes, read)
    }

    /// An array.
    pub(super) fn array(&self, key: &str, mistakes: &mut Mistakes) -> Option<&'a Vec<Json>> {
        self.read(key, "an array", mistakes, Json::as_array)
    }

    /// An object.
    pub(super) fn object(&self, key: &str, mistakes: &mut Mistakes) -> Option<Fields<'a>> {
        Fields::of(self.get(key)?, self.path(key), mistakes)
    }

    /// Mistakes for fields that are neither `known` nor annotations of another vocabulary, which have a `:` or `@`.
    pub(super) fn refuse_unknown(&self, known: &[&[&str]], mistakes: &mut Mistakes) {
        for key in self.keys() {
            let is_known = known.iter().any(|list| list.contains(&key.as_str()));
            let is_foreign = key.contains(':') || key.starts_with('@');
            match key.as_str() {
                "tm:ref" => mistakes.add(self.path(key), "parts of other models are not supported"),
                _ if is_known || is_foreign => {}
                _ => mistakes.add(self.path(key), "it is no term of a Thing Model here"),
            }
        }
    }
}

/// A value in a mistake: a number as it is, anything else by its kind.
fn shown(json: &Json) -> String {
    match json {
        Json::Number(number) => number.to_string(),
        other => kind_of(other).to_owned(),
    }
}
