//! How a data schema of a document becomes a [`Schema`]: exactly the vocabulary of WoT, with bounds.

use super::number::Num;
use super::reader::{Fields, Mistakes, kind_of};
use super::schema::{ArrayRules, Items, Kind, NumberRules, ObjectRules, Schema, TextRules};
use super::text::{Format, Pattern};
use crate::value::UNIT_BYTES_MAX;
use serde_json::Value as Json;
use std::cmp::Ordering;

/// Schemas within one another.
pub(super) const DEPTH_MAX: usize = 16;
/// Patterns of one document: each holds memory while the model is in use.
pub(super) const PATTERNS_MAX: usize = 64;
const ENUM_MAX: usize = 256;
const ONE_OF_MAX: usize = 16;

/// What any schema may say (WoT TD 1.1, 5.3.2.1), the terms of people included.
const ANY: &[&str] = &[
    "title",
    "titles",
    "description",
    "descriptions",
    "const",
    "default",
    "unit",
    "oneOf",
    "enum",
    "readOnly",
    "writeOnly",
    "format",
    "type",
    "contentEncoding",
    "contentMediaType",
];
const NUMBERS: &[&str] =
    &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const TEXTS: &[&str] = &["minLength", "maxLength", "pattern"];
const ARRAYS: &[&str] = &["items", "minItems", "maxItems"];
const OBJECTS: &[&str] = &["properties", "required", "additionalProperties"];

/// Reads schemas, and keeps what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    pub(super) mistakes: Mistakes,
    patterns: usize,
}

impl Compiler {
    /// Reads a schema. `beside` are fields that belong to what the schema is part of.
    pub(super) fn schema(
        &mut self,
        json: &Json,
        at: String,
        depth: usize,
        beside: &[&str],
    ) -> Schema {
        let Some(fields) = Fields::of(json, at, &mut self.mistakes) else {
            return Schema::default();
        };
        if depth > DEPTH_MAX {
            self.mistakes.add(fields.at, format!("nested deeper than {DEPTH_MAX} schemas"));
            return Schema::default();
        }
        let vocabulary = [ANY, NUMBERS, TEXTS, ARRAYS, OBJECTS, beside];
        fields.refuse_unknown(&vocabulary, &mut self.mistakes);
        let kind = self.kind(&fields);
        let of = |kinds: &[Kind], list: &[&str]| {
            let is_named = list.iter().any(|key| fields.has(key));
            is_named && kind.is_none_or(|kind| kinds.contains(&kind))
        };
        let numbers = of(&[Kind::Number, Kind::Integer], NUMBERS);
        let texts = of(&[Kind::Text], TEXTS) || of(&[Kind::Text], &["format"]);
        let arrays = of(&[Kind::Array], ARRAYS);
        let objects = of(&[Kind::Object], OBJECTS);
        let schema = Schema {
            kind,
            number: numbers.then(|| Box::new(self.numbers(&fields))),
            text: texts.then(|| Box::new(self.texts(&fields))),
            array: arrays.then(|| Box::new(self.arrays(&fields, depth))),
            object: objects.then(|| Box::new(self.objects(&fields, depth))),
            allowed: self.allowed(&fields),
            constant: fields.get("const").map(|it| Box::new(it.clone())),
            one_of: self.one_of(&fields, depth),
            unit: self.unit(&fields),
        };
        self.annotations(&fields, &schema);
        schema
    }

    /// The type, with mistakes for rules that are for another one.
    fn kind(&mut self, fields: &Fields<'_>) -> Option<Kind> {
        let name = fields.text("type", &mut self.mistakes)?;
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == name) else {
            let names = Kind::ALL.map(Kind::as_str).join(", ");
            self.mistakes.add(fields.path("type"), format!("there is no type `{name}`: {names}"));
            return None;
        };
        let rules = [
            (NUMBERS, [Kind::Number, Kind::Integer]),
            (TEXTS, [Kind::Text; 2]),
            (ARRAYS, [Kind::Array; 2]),
            (OBJECTS, [Kind::Object; 2]),
        ];
        for (keys, kinds) in rules.into_iter().filter(|(_, kinds)| !kinds.contains(&kind)) {
            for key in keys.iter().filter(|key| fields.has(key)) {
                let reason = format!("it is for the type {}, this is {name}", kinds[0].as_str());
                self.mistakes.add(fields.path(key), reason);
            }
        }
        Some(kind)
    }

    fn numbers(&mut self, fields: &Fields<'_>) -> NumberRules {
        let mistakes = &mut self.mistakes;
        let mut number =
            |key: &str| fields.read(key, "a number", mistakes, |it| it.as_number().map(Num::of));
        let rules = NumberRules {
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: number("exclusiveMinimum"),
            exclusive_maximum: number("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
        };
        if let Some(divisor) = rules.multiple_of
            && divisor.compare(Num::Int(0)) != Ordering::Greater
        {
            self.mistakes
                .add(fields.path("multipleOf"), format!("it must be above 0, it is {divisor}"));
        }
        let is_empty = |low: Option<Num>, high: Option<Num>, orderings: &[Ordering]| {
            low.zip(high).is_some_and(|(low, high)| orderings.contains(&low.compare(high)))
        };
        let (equal, greater) = (Ordering::Equal, Ordering::Greater);
        if is_empty(rules.minimum, rules.maximum, &[greater])
            || is_empty(rules.exclusive_minimum, rules.exclusive_maximum, &[equal, greater])
            || is_empty(rules.minimum, rules.exclusive_maximum, &[equal, greater])
            || is_empty(rules.exclusive_minimum, rules.maximum, &[equal, greater])
        {
            self.mistakes.add(&fields.at, "no number is between its minimum and its maximum");
        }
        rules
    }

    fn texts(&mut self, fields: &Fields<'_>) -> TextRules {
        let chars_min = fields.count("minLength", &mut self.mistakes);
        let chars_max = fields.count("maxLength", &mut self.mistakes);
        self.in_order(fields, ("minLength", chars_min), ("maxLength", chars_max));
        let format = fields.text("format", &mut self.mistakes).and_then(Format::named);
        TextRules { chars_min, chars_max, pattern: self.pattern(fields), format }
    }

    fn pattern(&mut self, fields: &Fields<'_>) -> Option<Pattern> {
        let source = fields.text("pattern", &mut self.mistakes)?;
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            let reason = format!("the model has more than {PATTERNS_MAX} patterns");
            self.mistakes.add(fields.path("pattern"), reason);
            return None;
        }
        match Pattern::compile(source) {
            Ok(pattern) => Some(pattern),
            Err(reason) => {
                self.mistakes.add(fields.path("pattern"), reason);
                None
            }
        }
    }

    fn arrays(&mut self, fields: &Fields<'_>, depth: usize) -> ArrayRules {
        let items_min = fields.count("minItems", &mut self.mistakes);
        let items_max = fields.count("maxItems", &mut self.mistakes);
        self.in_order(fields, ("minItems", items_min), ("maxItems", items_max));
        let at = fields.path("items");
        let items = fields.get("items").map(|items| match items {
            Json::Array(places) => Items::Places(self.schemas(places, &at, depth)),
            each => Items::Each(self.schema(each, at, depth + 1, &[])),
        });
        ArrayRules { items_min, items_max, items }
    }

    fn objects(&mut self, fields: &Fields<'_>, depth: usize) -> ObjectRules {
        let mut rules = ObjectRules::default();
        if let Some(members) = fields.object("properties", &mut self.mistakes) {
            for name in members.keys() {
                let Some(json) = members.get(name) else { continue };
                let schema = self.schema(json, members.path(name), depth + 1, &[]);
                rules.members.insert(name.as_str().into(), schema);
            }
        }
        let required = fields.array("required", &mut self.mistakes).into_iter().flatten();
        let mut names = Vec::new();
        for (index, name) in required.enumerate() {
            let at = format!("{}[{index}]", fields.path("required"));
            match name.as_str() {
                None => self.mistakes.add(at, "it must be a text"),
                // A member that nothing is known of can be required, but is a slip of the pen far more often.
                Some(name) if !rules.members.contains_key(name) => {
                    self.mistakes.add(at, format!("`{name}` is not among the properties"));
                }
                Some(name) => names.push(name.into()),
            }
        }
        rules.required = names.into();
        let flag =
            fields.read("additionalProperties", "true or false", &mut self.mistakes, Json::as_bool);
        rules.is_closed = flag == Some(false);
        rules
    }

    fn one_of(&mut self, fields: &Fields<'_>, depth: usize) -> Option<Box<[Schema]>> {
        let forms = fields.array("oneOf", &mut self.mistakes)?;
        let at = fields.path("oneOf");
        if !(1..=ONE_OF_MAX).contains(&forms.len()) {
            let reason = format!("it must have 1 to {ONE_OF_MAX} forms, it has {}", forms.len());
            self.mistakes.add(at, reason);
            return None;
        }
        Some(self.schemas(forms, &at, depth))
    }

    fn schemas(&mut self, list: &[Json], at: &str, depth: usize) -> Box<[Schema]> {
        let one = |(index, json)| self.schema(json, format!("{at}[{index}]"), depth + 1, &[]);
        list.iter().enumerate().map(one).collect()
    }

    fn allowed(&mut self, fields: &Fields<'_>) -> Option<Box<[Json]>> {
        let values = fields.array("enum", &mut self.mistakes)?;
        if !(1..=ENUM_MAX).contains(&values.len()) {
            let reason = format!("it must have 1 to {ENUM_MAX} values, it has {}", values.len());
            self.mistakes.add(fields.path("enum"), reason);
        }
        Some(values.clone().into())
    }

    fn unit(&mut self, fields: &Fields<'_>) -> Option<Box<str>> {
        let unit = fields.text("unit", &mut self.mistakes)?;
        if unit.is_empty() || unit.len() > UNIT_BYTES_MAX {
            let reason = format!("it must have 1 to {UNIT_BYTES_MAX} bytes, it has {}", unit.len());
            self.mistakes.add(fields.path("unit"), reason);
        }
        Some(unit.into())
    }

    /// What is for people, or for another vocabulary, and a default that fits its own schema.
    fn annotations(&mut self, fields: &Fields<'_>, schema: &Schema) {
        for key in ["title", "description", "format", "contentEncoding", "contentMediaType"] {
            fields.text(key, &mut self.mistakes);
        }
        for key in ["titles", "descriptions"] {
            texts_by_language(fields, key, &mut self.mistakes);
        }
        fields.flag("readOnly", &mut self.mistakes);
        fields.flag("writeOnly", &mut self.mistakes);
        if let Some(Err(violation)) = fields.get("default").map(|it| schema.check(it)) {
            let reason = format!("it does not fit its own schema: {}", violation.message);
            self.mistakes.add(fields.path("default"), reason);
        }
    }

    fn in_order(
        &mut self,
        fields: &Fields<'_>,
        (_, min): (&str, Option<usize>),
        (key, max): (&str, Option<usize>),
    ) {
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            self.mistakes.add(fields.path(key), format!("it is {max}, below the least of {min}"));
        }
    }
}

/// `titles` and `descriptions`: a text for each language.
pub(super) fn texts_by_language(fields: &Fields<'_>, key: &str, mistakes: &mut Mistakes) {
    let Some(texts) = fields.object(key, mistakes) else { return };
    for language in texts.keys() {
        match texts.get(language) {
            Some(Json::String(_)) | None => {}
            Some(other) => {
                let reason = format!("it must be a text, it is {}", kind_of(other));
                mistakes.add(texts.path(language), reason);
            }
        }
    }
}
