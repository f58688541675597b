//! A Thing Model document (W3C WoT Thing Description 1.1, chapter 9) read and compiled.
//!
//! `properties` are what a thing reports and what its shadow holds, `actions` what it can be asked to do, `events` what
//! it tells. Terms that say nothing about data (forms, security, links to papers, other vocabularies) are kept in
//! the document and passed over here. Extension (`tm:extends`), parts of other models (`tm:ref`, `tm:submodel`) and
//! placeholders are refused: a model stands for itself.

use super::compile::{Compiler, texts_by_language};
use super::reader::{Fields, Mistakes, below};
use super::schema::{Schema, Violation};
use crate::id::{CommandName, EventName};
use crate::refusal::{Refusal, RefusalCode};
use crate::uns::{RAW_CONTRACT, UnsPath};
use serde_json::Value as Json;
use std::collections::HashMap;

/// The largest document, in bytes of JSON: what a device can still take as one message.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Properties, actions and events each.
const AFFORDANCES_MAX: usize = 256;
/// The context that a model has to name (9.3.1).
const CONTEXT: &str = "https://www.w3.org/2022/wot/td/v1.1";
/// Its type (9.3.1).
const TYPE: &str = "tm:ThingModel";
/// Says that properties which the model does not describe are welcome.
const ADDITIONAL: &str = "manifold:additionalProperties";

const TOP: &[&str] = &[
    "id",
    "title",
    "titles",
    "description",
    "descriptions",
    "version",
    "created",
    "modified",
    "support",
    "base",
    "properties",
    "actions",
    "events",
    "links",
    "forms",
    "security",
    "securityDefinitions",
    "schemaDefinitions",
    "profile",
    "uriVariables",
];
const PROPERTY: &[&str] = &["observable", "forms", "uriVariables"];
const ACTION: &[&str] = &[
    "title",
    "titles",
    "description",
    "descriptions",
    "forms",
    "uriVariables",
    "input",
    "output",
    "safe",
    "idempotent",
    "synchronous",
];
const EVENT: &[&str] = &[
    "title",
    "titles",
    "description",
    "descriptions",
    "forms",
    "uriVariables",
    "subscription",
    "data",
    "dataResponse",
    "cancellation",
];

/// A model, ready for checking.
#[derive(Debug, Default)]
pub struct Model {
    properties: HashMap<Box<str>, Property>,
    actions: HashMap<CommandName, Action>,
    events: HashMap<EventName, Event>,
    takes_additional: bool,
}

/// What a thing reports, and what is in its shadow.
#[derive(Debug, Default)]
pub struct Property {
    /// What its value is like.
    pub schema: Schema,
    /// Nobody but the device sets it.
    pub is_read_only: bool,
    /// It is set and never reported as telemetry.
    pub is_write_only: bool,
}

/// What a thing can be asked to do.
#[derive(Debug, Default)]
pub struct Action {
    /// What it takes; `None` is not described, and anything.
    pub input: Option<Schema>,
    /// What it answers.
    pub output: Option<Schema>,
}

/// What a thing tells.
#[derive(Debug, Default)]
pub struct Event {
    /// What it carries; `None` is not described, and anything.
    pub data: Option<Schema>,
}

impl Model {
    /// Compiles a document. The refusal names the first mistake as its field, and tells of more.
    pub fn compile(document: &Json) -> Result<Self, Refusal> {
        let bytes = serde_json::to_vec(document).map_or(usize::MAX, |json| json.len());
        if bytes > DOCUMENT_BYTES_MAX {
            let message = format!("the model has {bytes} bytes, at most {DOCUMENT_BYTES_MAX}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let mut compiler = Compiler::default();
        let mut model = Self::default();
        if let Some(fields) = Fields::of(document, String::new(), &mut compiler.mistakes) {
            read_top(&fields, &mut compiler.mistakes);
            model.takes_additional = fields.flag(ADDITIONAL, &mut compiler.mistakes);
            each(&mut compiler, &fields, "properties", |compiler, name, json, at| {
                let property = read_property(compiler, name, json, at);
                model.properties.insert(name.into(), property);
            });
            each(&mut compiler, &fields, "actions", |compiler, name, json, at| {
                let action = read_action(compiler, json, at.clone());
                match CommandName::parse(name) {
                    Ok(name) => drop(model.actions.insert(name, action)),
                    Err(error) => compiler.mistakes.add(at, error.to_string()),
                }
            });
            each(&mut compiler, &fields, "events", |compiler, name, json, at| {
                let event = read_event(compiler, json, at.clone());
                match EventName::parse(name) {
                    Ok(name) => drop(model.events.insert(name, event)),
                    Err(error) => compiler.mistakes.add(at, error.to_string()),
                }
            });
            read_optional(&fields, &mut compiler.mistakes);
        }
        compiler.mistakes.into_result().map(|()| model)
    }

    /// A property that the model describes.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.get(name)
    }

    /// An action that the model describes.
    pub fn action(&self, name: &CommandName) -> Option<&Action> {
        self.actions.get(name)
    }

    /// An event that the model describes.
    pub fn event(&self, name: &EventName) -> Option<&Event> {
        self.events.get(name)
    }

    /// Whether properties which it does not describe are welcome.
    pub fn takes_additional(&self) -> bool {
        self.takes_additional
    }

    /// How many properties, actions and events it describes.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.properties.len(), self.actions.len(), self.events.len())
    }
}

/// Checks `value` against a schema that may not be there; one that is there wants a value.
pub(super) fn check(schema: Option<&Schema>, value: Option<&Json>) -> Result<(), Violation> {
    match (schema, value) {
        (None, _) => Ok(()),
        (Some(schema), Some(value)) => schema.check(value),
        (Some(schema), None) => match schema.check(&Json::Null) {
            Ok(()) => Ok(()),
            Err(_) => Err(Violation::new("required, it is missing".to_owned())),
        },
    }
}

impl Action {
    /// Whether `input` fits; absent is null.
    pub fn check_input(&self, input: Option<&Json>) -> Result<(), Violation> {
        check(self.input.as_ref(), input)
    }

    /// Whether `output` fits; absent is null.
    pub fn check_output(&self, output: Option<&Json>) -> Result<(), Violation> {
        check(self.output.as_ref(), output)
    }
}

impl Event {
    /// Whether `data` fits; absent is null.
    pub fn check_data(&self, data: Option<&Json>) -> Result<(), Violation> {
        check(self.data.as_ref(), data)
    }
}

fn read_top(fields: &Fields<'_>, mistakes: &mut Mistakes) {
    fields.refuse_unknown(&[TOP], mistakes);
    if !names(fields.get("@context"), CONTEXT) {
        mistakes.add("@context", format!("it must name {CONTEXT}"));
    }
    if !names(fields.get("@type"), TYPE) {
        mistakes.add("@type", format!("it must be {TYPE}"));
    }
    read_words(fields, mistakes);
    if fields.has("tm:extends") {
        mistakes.add("tm:extends", "extension of other models is not supported");
    }
    for (index, link) in fields.array("links", mistakes).into_iter().flatten().enumerate() {
        if let Some(rel @ ("tm:extends" | "tm:submodel")) = link.get("rel").and_then(Json::as_str) {
            let reason = format!("{rel} is not supported: a model stands for itself");
            mistakes.add(format!("links[{index}].rel"), reason);
        }
    }
}

fn read_words(fields: &Fields<'_>, mistakes: &mut Mistakes) {
    for key in ["title", "description"] {
        fields.text(key, mistakes);
    }
    for key in ["titles", "descriptions"] {
        texts_by_language(fields, key, mistakes);
    }
}

/// Whether a text, or one of a list, is `wanted`.
fn names(json: Option<&Json>, wanted: &str) -> bool {
    match json {
        Some(Json::String(text)) => text == wanted,
        Some(Json::Array(list)) => list.iter().any(|it| it == wanted),
        _ => false,
    }
}

fn each(
    compiler: &mut Compiler,
    fields: &Fields<'_>,
    key: &str,
    mut read: impl FnMut(&mut Compiler, &str, &Json, String),
) {
    let Some(affordances) = fields.object(key, &mut compiler.mistakes) else { return };
    let count = affordances.keys().count();
    if count > AFFORDANCES_MAX {
        let reason = format!("there are {count}, at most {AFFORDANCES_MAX} are allowed");
        return compiler.mistakes.add(key, reason);
    }
    for name in affordances.keys() {
        if let Some(json) = affordances.get(name) {
            read(compiler, name, json, affordances.path(name));
        }
    }
}

fn read_property(compiler: &mut Compiler, name: &str, json: &Json, at: String) -> Property {
    if let Err(reason) = check_name(name) {
        compiler.mistakes.add(at.clone(), reason);
    }
    let schema = compiler.schema(json, at.clone(), 1, PROPERTY);
    let mut property = Property { schema, ..Property::default() };
    if let Some(fields) = Fields::of(json, at, &mut Mistakes::default()) {
        property.is_read_only = fields.get("readOnly") == Some(&Json::Bool(true));
        property.is_write_only = fields.get("writeOnly") == Some(&Json::Bool(true));
        fields.flag("observable", &mut compiler.mistakes);
        if property.is_read_only && property.is_write_only {
            compiler.mistakes.add(fields.at, "it is both readOnly and writeOnly");
        }
    }
    property
}

/// The name of a property is one level of a path of the Unified Namespace.
fn check_name(name: &str) -> Result<(), String> {
    const NAME_BYTES_MAX: usize = 128;
    if name.contains('/') || name.len() > NAME_BYTES_MAX {
        return Err(format!("a name must be one level of at most {NAME_BYTES_MAX} bytes"));
    }
    UnsPath::from_parts("a", RAW_CONTRACT, name).map(drop).map_err(|error| error.to_string())
}

fn read_action(compiler: &mut Compiler, json: &Json, at: String) -> Action {
    let Some(fields) = Fields::of(json, at, &mut compiler.mistakes) else {
        return Action::default();
    };
    fields.refuse_unknown(&[ACTION], &mut compiler.mistakes);
    read_words(&fields, &mut compiler.mistakes);
    for key in ["safe", "idempotent", "synchronous"] {
        fields.flag(key, &mut compiler.mistakes);
    }
    let mut part =
        |key: &str| fields.get(key).map(|json| compiler.schema(json, fields.path(key), 1, &[]));
    Action { input: part("input"), output: part("output") }
}

fn read_event(compiler: &mut Compiler, json: &Json, at: String) -> Event {
    let Some(fields) = Fields::of(json, at, &mut compiler.mistakes) else {
        return Event::default();
    };
    fields.refuse_unknown(&[EVENT], &mut compiler.mistakes);
    read_words(&fields, &mut compiler.mistakes);
    // The rest is about subscriptions, which are the broker's; their schemas have to be ones all the same.
    let mut part =
        |key: &str| fields.get(key).map(|json| compiler.schema(json, fields.path(key), 1, &[]));
    for key in ["subscription", "dataResponse", "cancellation"] {
        part(key);
    }
    Event { data: part("data") }
}

/// `tm:optional` names affordances that a thing need not have (9.3.5); each has to be there.
fn read_optional(fields: &Fields<'_>, mistakes: &mut Mistakes) {
    for (index, pointer) in fields.array("tm:optional", mistakes).into_iter().flatten().enumerate()
    {
        let found = pointer.as_str().and_then(|pointer| {
            let (kind, name) = pointer.strip_prefix('/')?.split_once('/')?;
            let is_kind = ["properties", "actions", "events"].contains(&kind);
            let name = name.replace("~1", "/").replace("~0", "~");
            fields.get(kind).filter(|_| is_kind)?.get(&name)
        });
        if found.is_none() {
            let reason = "it must point to a property, action or event of the model";
            mistakes.add(format!("{}[{index}]", below("", "tm:optional")), reason);
        }
    }
}
