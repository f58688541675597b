//! Device profiles of EdgeX (Foundry 2 and 3) read as Thing Models: resources become properties, commands that write
//! become actions. What has no place in a model is left out and reported; nothing is left out in silence.

mod yaml;

use super::text::PATTERN_BYTES_MAX;
use crate::id::CommandName;
use crate::refusal::{Refusal, RefusalCode};
use crate::uns::{RAW_CONTRACT, UnsPath};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

pub use yaml::parse as parse_yaml;

/// The most notes of one report; the rest is counted by the last of them.
const NOTES_MAX: usize = 200;

/// What became of a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The Thing Model.
    pub document: Json,
    /// What was not taken over, and why.
    pub notes: Vec<Note>,
}

/// Something of a profile that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Where it stands in the profile.
    pub at: String,
    /// Why it is not in the model.
    pub reason: String,
}

/// Fields of a profile itself that say nothing about data, or are read here.
const PROFILE: &[&str] = &[
    "apiVersion",
    "name",
    "description",
    "manufacturer",
    "model",
    "deviceResources",
    "deviceCommands",
];
const RESOURCE: &[&str] = &["name", "description", "properties"];
const COMMAND: &[&str] = &["name", "readWrite", "resourceOperations"];
const OPERATION: &[&str] = &["deviceResource", "defaultValue"];
const VALUE: &[&str] =
    &["valueType", "type", "readWrite", "units", "minimum", "maximum", "defaultValue"];

/// Reads a profile.
pub fn import(profile: &Json) -> Result<Import, Refusal> {
    let Json::Object(fields) = profile else {
        return Err(Refusal::new(RefusalCode::Invalid, "a device profile is an object"));
    };
    let mut importer = Importer::default();
    importer.leave_out(fields, "", PROFILE, "it says nothing about data");
    for (at, resource) in list(fields, "deviceResources", "")? {
        importer.resource(resource, &at);
    }
    for (at, command) in list(fields, "deviceCommands", "")? {
        importer.command(command, &at)?;
    }
    let mut document = json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1",
        "@type": "tm:ThingModel",
    });
    for (key, from) in [("title", "name"), ("description", "description")] {
        if let Some(text) = text_of(fields, from) {
            document[key] = text.into();
        }
    }
    let made = ["manufacturer", "model"].map(|key| text_of(fields, key)).into_iter().flatten();
    let made = made.collect::<Vec<_>>().join(" ");
    if !made.is_empty() && document.get("description").is_none() {
        document["description"] = made.into();
    }
    document["properties"] = importer.properties.into();
    if !importer.actions.is_empty() {
        document["actions"] = importer.actions.into();
    }
    Ok(Import { document, notes: importer.notes })
}

#[derive(Default)]
struct Importer {
    properties: Map<String, Json>,
    actions: Map<String, Json>,
    notes: Vec<Note>,
}

impl Importer {
    fn note(&mut self, at: impl Into<String>, reason: impl Into<String>) {
        match self.notes.len() {
            len if len < NOTES_MAX => {
                self.notes.push(Note { at: at.into(), reason: reason.into() })
            }
            NOTES_MAX => self.notes.push(Note { at: String::new(), reason: "and more".into() }),
            _ => {}
        }
    }

    /// Notes for the fields that are not `known`.
    fn leave_out(&mut self, fields: &Map<String, Json>, at: &str, known: &[&str], reason: &str) {
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            self.note(join(at, key), reason);
        }
    }

    fn resource(&mut self, resource: &Map<String, Json>, at: &str) {
        let Some(name) = text_of(resource, "name") else {
            return self.note(at, "it has no name");
        };
        let is_level = !name.contains('/')
            && name.len() <= 128
            && UnsPath::from_parts("a", RAW_CONTRACT, name).is_ok();
        if !is_level {
            return self.note(at, format!("`{name}` cannot be a level of a topic"));
        }
        if self.properties.contains_key(name) {
            return self.note(at, format!("there is a resource `{name}` before it"));
        }
        let empty = Map::new();
        let value = resource.get("properties").and_then(Json::as_object).unwrap_or(&empty);
        let value_at = join(at, "properties");
        let Some(mut schema) = self.schema(value, &value_at) else { return };
        if let Some(text) = text_of(resource, "description") {
            schema.insert("description".into(), text.into());
        }
        match text_of(value, "readWrite") {
            Some("R") => drop(schema.insert("readOnly".into(), true.into())),
            Some("W") => drop(schema.insert("writeOnly".into(), true.into())),
            _ => {}
        }
        self.leave_out(resource, at, RESOURCE, "it is for the driver or its operators");
        self.leave_out(value, &value_at, VALUE, "it is how a driver reads or makes the value");
        self.properties.insert(name.to_owned(), schema.into());
    }

    fn schema(&mut self, value: &Map<String, Json>, at: &str) -> Option<Map<String, Json>> {
        // `type` is the name of the field in version 1.
        let name = text_of(value, "valueType").or(text_of(value, "type")).unwrap_or_default();
        let Some(mut schema) = schema_of(name) else {
            self.note(at, format!("there is no value of type `{name}` in a model"));
            return None;
        };
        if let Some(unit) = text_of(value, "units").filter(|it| !it.is_empty()) {
            match unit.len() <= crate::value::UNIT_BYTES_MAX {
                true => drop(schema.insert("unit".into(), unit.into())),
                false => self.note(join(at, "units"), "it is too long for a unit"),
            }
        }
        let is_number = matches!(type_of(&schema), Some("integer" | "number"));
        for key in ["minimum", "maximum"] {
            let Some(given) = value.get(key).filter(|it| !is_blank(it)) else { continue };
            match number_of(given) {
                Some(number) if is_number => drop(schema.insert(key.into(), number)),
                _ => self.note(join(at, key), "it is no bound of a number"),
            }
        }
        if let Some(given) = value.get("defaultValue").filter(|it| !is_blank(it)) {
            match scalar_of(given, &schema) {
                Some(default) => drop(schema.insert("default".into(), default)),
                None => self.note(join(at, "defaultValue"), format!("it is no {name}")),
            }
        }
        self.drop_misfits(&mut schema, at);
        Some(schema)
    }

    /// Bounds that contradict each other, and a default outside of them, would make the model a mistake.
    fn drop_misfits(&mut self, schema: &mut Map<String, Json>, at: &str) {
        let number = |key: &str| schema.get(key).and_then(Json::as_f64);
        if number("minimum").zip(number("maximum")).is_some_and(|(min, max)| min > max) {
            self.note(join(at, "minimum"), "it is above the maximum");
            schema.remove("minimum");
        }
        let Some(default) = schema.get("default").cloned() else { return };
        let checked = super::compile::Compiler::default().schema(
            &Json::Object(schema.clone()),
            String::new(),
            1,
            &[],
        );
        if checked.check(&default).is_err() {
            self.note(join(at, "defaultValue"), "it is out of bounds");
            schema.remove("default");
        }
    }

    fn command(&mut self, command: &Map<String, Json>, at: &str) -> Result<(), Refusal> {
        let name = text_of(command, "name").unwrap_or_default();
        let access = text_of(command, "readWrite").unwrap_or_default();
        if access.contains('R') || !access.contains('W') {
            let reason =
                "reading several resources at once is not an action: telemetry carries them";
            self.note(at, reason);
        }
        if !access.contains('W') {
            return Ok(());
        }
        if CommandName::parse(name).is_err() {
            self.note(at, format!("`{name}` cannot be the name of a command"));
            return Ok(());
        }
        if self.actions.contains_key(name) {
            self.note(at, format!("there is a command `{name}` before it"));
            return Ok(());
        }
        self.leave_out(command, at, COMMAND, "it is for the driver or its operators");
        let mut members = Map::new();
        let mut required = Vec::new();
        for (at, operation) in list(command, "resourceOperations", at)? {
            let resource = text_of(operation, "deviceResource").unwrap_or_default();
            let Some(Json::Object(schema)) = self.properties.get(resource) else {
                self.note(at, format!("there is no resource `{resource}` in the model"));
                continue;
            };
            let mut schema = schema.clone();
            for key in ["readOnly", "writeOnly"] {
                schema.remove(key);
            }
            let default = operation.get("defaultValue").filter(|it| !is_blank(it));
            match default.map(|it| scalar_of(it, &schema)) {
                None => required.push(resource.to_owned()),
                Some(Some(default)) => drop(schema.insert("default".into(), default)),
                Some(None) => {
                    self.note(join(&at, "defaultValue"), "it is no value of its resource");
                    required.push(resource.to_owned());
                }
            }
            self.drop_misfits(&mut schema, &at);
            self.leave_out(operation, &at, OPERATION, "it is how a driver makes the value");
            members.insert(resource.to_owned(), schema.into());
        }
        let mut input = json!({
            "type": "object", "properties": members, "additionalProperties": false,
        });
        if !required.is_empty() {
            input["required"] = required.into();
        }
        self.actions.insert(name.to_owned(), json!({ "input": input }));
        Ok(())
    }
}

/// The schema of a value type (EdgeX, device profile, `valueType`); its name is read without regard to case.
fn schema_of(value_type: &str) -> Option<Map<String, Json>> {
    let lower = value_type.to_lowercase();
    if let Some(element) = lower.strip_suffix("array") {
        let items = schema_of(element).filter(|_| !matches!(element, "" | "object" | "binary"))?;
        return json!({ "type": "array", "items": items }).as_object().cloned();
    }
    let whole = |minimum: Json, maximum: Json| {
        let kind = "integer";
        json!({ "type": kind, "minimum": minimum, "maximum": maximum })
    };
    let schema = match lower.as_str() {
        "bool" => json!({ "type": "boolean" }),
        "string" => json!({ "type": "string" }),
        "int8" => whole(i8::MIN.into(), i8::MAX.into()),
        "int16" => whole(i16::MIN.into(), i16::MAX.into()),
        "int32" => whole(i32::MIN.into(), i32::MAX.into()),
        "int64" => whole(i64::MIN.into(), i64::MAX.into()),
        "uint8" => whole(0.into(), u8::MAX.into()),
        "uint16" => whole(0.into(), u16::MAX.into()),
        "uint32" => whole(0.into(), u32::MAX.into()),
        "uint64" => whole(0.into(), u64::MAX.into()),
        "float32" | "float64" => json!({ "type": "number" }),
        "object" => json!({ "type": "object" }),
        _ => return None,
    };
    schema.as_object().cloned()
}

fn type_of(schema: &Map<String, Json>) -> Option<&str> {
    schema.get("type").and_then(Json::as_str)
}

/// A number, also one that stands there as a text, as version 2 has them.
fn number_of(json: &Json) -> Option<Json> {
    match json {
        Json::Number(_) => Some(json.clone()),
        Json::String(text) if text.len() <= PATTERN_BYTES_MAX => {
            serde_json::from_str::<Json>(text.trim()).ok().filter(Json::is_number)
        }
        _ => None,
    }
}

fn scalar_of(json: &Json, schema: &Map<String, Json>) -> Option<Json> {
    match (type_of(schema)?, json) {
        ("integer" | "number", json) => number_of(json),
        ("boolean", Json::Bool(_)) | ("string", Json::String(_)) => Some(json.clone()),
        ("boolean", Json::String(text)) => text.trim().parse().ok().map(Json::Bool),
        ("string", Json::Number(number)) => Some(number.to_string().into()),
        _ => None,
    }
}

fn is_blank(json: &Json) -> bool {
    json.is_null() || json.as_str().is_some_and(|text| text.trim().is_empty())
}

fn text_of<'a>(fields: &'a Map<String, Json>, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(Json::as_str)
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { [at, key].join(".") }
}

/// An object of a profile, with its path.
type Placed<'a> = (String, &'a Map<String, Json>);

/// The objects of a list that may be absent, each with its path.
fn list<'a>(
    fields: &'a Map<String, Json>,
    key: &str,
    at: &str,
) -> Result<Vec<Placed<'a>>, Refusal> {
    let at = join(at, key);
    let invalid = |message: &str, at: String| Refusal::new(RefusalCode::Invalid, message).at(at);
    let items = match fields.get(key) {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(items)) => items,
        Some(_) => return Err(invalid("it must be a list", at)),
    };
    let item = |(index, item): (usize, &'a Json)| {
        let at = format!("{at}[{index}]");
        match item {
            Json::Object(fields) => Ok((at, fields)),
            _ => Err(invalid("it must be an object", at)),
        }
    };
    items.iter().enumerate().map(item).collect()
}

#[cfg(test)]
mod tests;
