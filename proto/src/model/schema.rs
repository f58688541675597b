//! A data schema made ready for checking, and what a value that does not fit has broken.
//!
//! A value that fits costs one walk over it and no allocation; the path of a violation is put together on the way out.

use super::equal::equal;
use super::number::Num;
use super::text::{Format, MATCHED_BYTES_MAX, Pattern};
use crate::refusal::{Refusal, RefusalCode};
use serde_json::Value as Json;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

/// The most characters of a value that a violation shows.
const SHOWN_CHARS_MAX: usize = 40;

/// A data schema (W3C WoT Thing Description 1.1, 5.3.2), ready for checking. By default it takes anything.
#[derive(Debug, Default)]
pub struct Schema {
    pub(super) kind: Option<Kind>,
    pub(super) number: Option<Box<NumberRules>>,
    pub(super) text: Option<Box<TextRules>>,
    pub(super) array: Option<Box<ArrayRules>>,
    pub(super) object: Option<Box<ObjectRules>>,
    pub(super) allowed: Option<Box<[Json]>>,
    pub(super) constant: Option<Box<Json>>,
    pub(super) one_of: Option<Box<[Schema]>>,
    pub(super) unit: Option<Box<str>>,
}

/// What `type` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Integer,
    Boolean,
    Null,
}

#[derive(Debug, Default)]
pub(super) struct NumberRules {
    pub(super) minimum: Option<Num>,
    pub(super) maximum: Option<Num>,
    pub(super) exclusive_minimum: Option<Num>,
    pub(super) exclusive_maximum: Option<Num>,
    pub(super) multiple_of: Option<Num>,
}

#[derive(Debug, Default)]
pub(super) struct TextRules {
    pub(super) chars_min: Option<usize>,
    pub(super) chars_max: Option<usize>,
    pub(super) pattern: Option<Pattern>,
    pub(super) format: Option<Format>,
}

#[derive(Debug, Default)]
pub(super) struct ArrayRules {
    pub(super) items_min: Option<usize>,
    pub(super) items_max: Option<usize>,
    /// One for all, or one for each place.
    pub(super) items: Option<Items>,
}

#[derive(Debug)]
pub(super) enum Items {
    Each(Schema),
    /// What comes after the last of them is not described.
    Places(Box<[Schema]>),
}

#[derive(Debug, Default)]
pub(super) struct ObjectRules {
    pub(super) members: HashMap<Box<str>, Schema>,
    pub(super) required: Box<[Box<str>]>,
    pub(super) is_closed: bool,
}

/// Where a value breaks which rule of its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path below the value that was checked, such as `motor.current` or `[2]`; empty for the value itself.
    pub at: String,
    /// The rule, by its keyword, and what there is instead.
    pub message: String,
}

type Checked = Result<(), Violation>;

impl Violation {
    pub(super) fn new(message: String) -> Self {
        Self { at: String::new(), message }
    }

    /// The same violation, of something within `level`: a name, or `[index]`.
    fn below(mut self, level: &str) -> Self {
        self.at = join(level, &self.at);
        self
    }

    /// The refusal of a value that stands at `field`.
    pub fn refusal(self, field: &str) -> Refusal {
        let refusal = Refusal::new(RefusalCode::Invalid, self.message);
        match join(field, &self.at) {
            field if field.is_empty() => refusal,
            field => refusal.at(field),
        }
    }
}

/// A path and what is below it.
fn join(left: &str, right: &str) -> String {
    match (left, right) {
        ("", it) | (it, "") => it.to_owned(),
        (left, right) if right.starts_with('[') => [left, right].concat(),
        (left, right) => [left, right].join("."),
    }
}

impl Schema {
    /// The unit of the value, a UCUM code.
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// The schema of a member, if this one is of an object and describes it.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.object.as_ref()?.members.get(name)
    }

    /// Whether `value` fits; the violation names the first rule that it breaks.
    pub fn check(&self, value: &Json) -> Checked {
        if let Some(kind) = self.kind
            && !kind.fits(value)
        {
            return broken("type", kind.as_str(), &Shown(value));
        }
        if let Some(constant) = &self.constant
            && !equal(constant, value)
        {
            return broken("const", &Shown(constant), &Shown(value));
        }
        if let Some(allowed) = &self.allowed
            && !allowed.iter().any(|it| equal(it, value))
        {
            let message = format!("enum has {} values, none is {}", allowed.len(), Shown(value));
            return Err(Violation::new(message));
        }
        match value {
            Json::Number(number) => {
                if let Some(rules) = &self.number {
                    rules.check(Num::of(number))?;
                }
            }
            Json::String(text) => {
                if let Some(rules) = &self.text {
                    rules.check(text)?;
                }
            }
            Json::Array(items) => {
                if let Some(rules) = &self.array {
                    rules.check(items)?;
                }
            }
            Json::Object(members) => {
                if let Some(rules) = &self.object {
                    rules.check(members)?;
                }
            }
            Json::Bool(_) | Json::Null => {}
        }
        self.one_of.as_ref().map_or(Ok(()), |forms| check_one_of(forms, value))
    }
}

fn check_one_of(forms: &[Schema], value: &Json) -> Checked {
    let count = forms.len();
    let message = match forms.iter().filter(|form| form.check(value).is_ok()).count() {
        1 => return Ok(()),
        0 => format!("oneOf has {count} forms, it fits none: {}", Shown(value)),
        fits => format!("oneOf has {count} forms, it fits {fits} and not one: {}", Shown(value)),
    };
    Err(Violation::new(message))
}

/// The violation of a rule: what it asks for, and what there is.
fn broken<A: fmt::Display + ?Sized, B: fmt::Display + ?Sized>(
    rule: &str,
    wanted: &A,
    found: &B,
) -> Checked {
    Err(Violation::new(format!("{rule} is {wanted}, it is {found}")))
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Object,
        Self::Array,
        Self::Text,
        Self::Number,
        Self::Integer,
        Self::Boolean,
        Self::Null,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::Text => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Null => "null",
        }
    }

    fn fits(self, value: &Json) -> bool {
        match (self, value) {
            (Self::Integer, Json::Number(number)) => Num::of(number).is_whole(),
            (Self::Object, Json::Object(_))
            | (Self::Array, Json::Array(_))
            | (Self::Text, Json::String(_))
            | (Self::Number, Json::Number(_))
            | (Self::Boolean, Json::Bool(_))
            | (Self::Null, Json::Null) => true,
            _ => false,
        }
    }
}

impl NumberRules {
    fn check(&self, number: Num) -> Checked {
        let is =
            |bound: Option<Num>, ordering| bound.filter(|bound| number.compare(*bound) == ordering);
        let or_equal = |bound, ordering| is(bound, ordering).or(is(bound, Ordering::Equal));
        if let Some(bound) = is(self.minimum, Ordering::Less) {
            return broken("minimum", &bound, &number);
        }
        if let Some(bound) = is(self.maximum, Ordering::Greater) {
            return broken("maximum", &bound, &number);
        }
        if let Some(bound) = or_equal(self.exclusive_minimum, Ordering::Less) {
            return broken("exclusiveMinimum", &bound, &number);
        }
        if let Some(bound) = or_equal(self.exclusive_maximum, Ordering::Greater) {
            return broken("exclusiveMaximum", &bound, &number);
        }
        match self.multiple_of {
            Some(divisor) if !number.is_multiple_of(divisor) => {
                broken("multipleOf", &divisor, &number)
            }
            _ => Ok(()),
        }
    }
}

impl TextRules {
    fn check(&self, text: &str) -> Checked {
        if self.chars_min.is_some() || self.chars_max.is_some() {
            let chars = text.chars().count();
            within(
                chars,
                ("minLength", self.chars_min),
                ("maxLength", self.chars_max),
                "characters",
            )?;
        }
        if let Some(format) = self.format
            && !format.fits(text)
        {
            return broken("format", format.as_str(), &Shown(&text.into()));
        }
        let Some(pattern) = &self.pattern else { return Ok(()) };
        match pattern.matches(text) {
            Some(true) => Ok(()),
            Some(false) => broken("pattern", &*pattern.source, &Shown(&text.into())),
            None => {
                let bytes = text.len();
                Err(Violation::new(format!(
                    "pattern is matched against {MATCHED_BYTES_MAX} bytes at most, it has {bytes}"
                )))
            }
        }
    }
}

impl ArrayRules {
    fn check(&self, items: &[Json]) -> Checked {
        within(items.len(), ("minItems", self.items_min), ("maxItems", self.items_max), "items")?;
        let check = |(index, (item, schema)): (usize, (&Json, &Schema))| {
            schema.check(item).map_err(|violation| violation.below(&format!("[{index}]")))
        };
        match &self.items {
            None => Ok(()),
            Some(Items::Each(schema)) => {
                items.iter().map(|item| (item, schema)).enumerate().try_for_each(check)
            }
            Some(Items::Places(places)) => items.iter().zip(places).enumerate().try_for_each(check),
        }
    }
}

impl ObjectRules {
    fn check(&self, members: &serde_json::Map<String, Json>) -> Checked {
        for name in &self.required {
            if !members.contains_key(&**name) {
                return Err(Violation::new("required, it is missing".to_owned()).below(name));
            }
        }
        for (name, value) in members {
            match self.members.get(name.as_str()) {
                Some(schema) => schema.check(value).map_err(|violation| violation.below(name))?,
                None if self.is_closed => {
                    let message = "additionalProperties is false, it is not described";
                    return Err(Violation::new(message.to_owned()).below(name));
                }
                None => {}
            }
        }
        Ok(())
    }
}

fn within(
    count: usize,
    (min_rule, min): (&str, Option<usize>),
    (max_rule, max): (&str, Option<usize>),
    what: &str,
) -> Checked {
    let (rule, bound) = match (min, max) {
        (Some(min), _) if count < min => (min_rule, min),
        (_, Some(max)) if count > max => (max_rule, max),
        _ => return Ok(()),
    };
    Err(Violation::new(format!("{rule} is {bound}, it has {count} {what}")))
}

/// A value as a violation shows it: short.
struct Shown<'a>(&'a Json);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Json::Array(items) => write!(f, "an array of {}", items.len()),
            Json::Object(_) => f.write_str("an object"),
            Json::String(text) if text.chars().count() > SHOWN_CHARS_MAX => {
                let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                write!(f, "\"{start}…\"")
            }
            scalar => scalar.fmt(f),
        }
    }
}
