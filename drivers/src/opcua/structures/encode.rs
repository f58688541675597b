//! From JSON to the bytes of a structure (OPC 10000-6, 5.2). All of its fields have to be given but the optional ones.

use super::{DEPTH_MAX, Fault, Field, Form, Layout, Layouts, Part};
use crate::opcua::arguments::{Kind, brief, flatten, variant_of};
use opcua::types::{BinaryEncodable as _, Context, ExtensionObject, Variant};
use serde_json::{Map, Value as Json};
use std::fmt;

/// What the library has been compiled for already.
type Bytes<'a> = &'a mut dyn std::io::Write;

/// What is wrong, and with which field.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The names that lead to the field, with dots.
    at: String,
    reason: String,
}

impl Wrong {
    fn within(self, field: &Field) -> Self {
        let at = match self.at.as_str() {
            "" => field.name.clone(),
            at => format!("{}.{at}", field.name),
        };
        Self { at, ..self }
    }
}

impl From<String> for Wrong {
    fn from(reason: String) -> Self {
        Self { at: String::new(), reason }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_str() {
            "" => f.write_str(&self.reason),
            at => write!(f, "{at}: {}", self.reason),
        }
    }
}

type Encoded = Result<(), Wrong>;

/// Writes one structure, with all that is within it.
pub(super) struct Encoder<'a> {
    layouts: &'a Layouts,
    context: Context<'a>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(layouts: &'a Layouts) -> Self {
        Self { layouts, context: layouts.context.context() }
    }

    pub(super) fn structure(
        &self,
        out: &mut Vec<u8>,
        json: &Json,
        layout: &Layout,
        depth: usize,
    ) -> Encoded {
        if depth == DEPTH_MAX {
            return Err("structures too deep within one another".to_owned().into());
        }
        let Json::Object(given) = json else {
            return Err(format!("{} is no structure", brief(json)).into());
        };
        let names = || layout.fields.iter().map(|field| field.name.as_str());
        if let Some(name) = given.keys().find(|it| !names().any(|name| name == *it)) {
            let names = names().collect::<Vec<_>>().join(", ");
            return Err(format!("there is no field {name}, only {names}").into());
        }
        match layout.form {
            Form::Whole => {}
            Form::Optional => {
                let optional = layout.fields.iter().filter(|field| field.is_optional);
                let there = optional.enumerate().filter(|(_, it)| given.contains_key(&it.name));
                let there: u32 = there.filter(|(bit, _)| *bit < 32).map(|(bit, _)| 1 << bit).sum();
                out.extend(there.to_le_bytes());
            }
            Form::Union => return self.union(out, given, layout, depth),
        }
        for field in &layout.fields {
            match given.get(&field.name) {
                Some(value) => self.field(out, value, field, depth)?,
                None if field.is_optional && layout.form == Form::Optional => {}
                None => return Err(Wrong::from("it is missing".to_owned()).within(field)),
            }
        }
        Ok(())
    }

    fn union(
        &self,
        out: &mut Vec<u8>,
        given: &Map<String, Json>,
        layout: &Layout,
        depth: usize,
    ) -> Encoded {
        let fields = layout.fields.iter().zip(1_u32..);
        let mut there = fields.filter(|(field, _)| given.contains_key(&field.name));
        let (first, second) = (there.next(), there.next());
        match (first, second) {
            (None, _) => {
                out.extend(0_u32.to_le_bytes());
                Ok(())
            }
            (Some((field, number)), None) => {
                out.extend(number.to_le_bytes());
                self.field(out, &given[&field.name], field, depth)
            }
            (Some(_), Some(_)) => Err("a union has one field at a time".to_owned().into()),
        }
    }

    fn field(&self, out: &mut Vec<u8>, json: &Json, field: &Field, depth: usize) -> Encoded {
        self.values(out, json, field, depth).map_err(|wrong| wrong.within(field))
    }

    fn values(&self, out: &mut Vec<u8>, json: &Json, field: &Field, depth: usize) -> Encoded {
        if field.dimensions == 0 {
            return self.value(out, json, &field.part, depth);
        }
        let Json::Array(rows) = json else {
            if json.is_null() {
                out.extend((-1_i32).to_le_bytes());
                return Ok(());
            }
            return Err(format!("{} is no array", brief(json)).into());
        };
        let (mut flat, mut dimensions) = (Vec::new(), Vec::new());
        match field.dimensions {
            1 => flat.extend(rows),
            _ => flatten(rows, 0, &mut dimensions, &mut flat)?,
        }
        match field.dimensions {
            1 => out.extend(length(flat.len())?.to_le_bytes()),
            count if count == dimensions.len() => {
                out.extend(length(count)?.to_le_bytes());
                dimensions.iter().for_each(|it| out.extend(it.to_le_bytes()));
            }
            count => return Err(format!("an array of {count} dimensions is asked for").into()),
        }
        flat.into_iter().try_for_each(|value| self.value(out, value, &field.part, depth))
    }

    fn value(&self, out: &mut Vec<u8>, json: &Json, part: &Part, depth: usize) -> Encoded {
        let failed = |error: opcua::types::Error| Wrong::from(error.to_string());
        match part {
            Part::Plain(kind @ Kind::Of(_)) => {
                let value = variant_of(json, *kind, -1)?;
                value.encode_value(out as Bytes<'_>, &self.context).map_err(failed)
            }
            Part::Plain(Kind::Any) => {
                let value = match json {
                    Json::Null => Variant::Empty,
                    json => variant_of(json, Kind::Any, -2)?,
                };
                value.encode(out as Bytes<'_>, &self.context).map_err(failed)
            }
            Part::Structure(data_type) => {
                let layout = self.layouts.of_type(data_type).map_err(|it| it.to_string())?;
                self.structure(out, json, layout, depth + 1)
            }
            Part::Any if json.is_null() => {
                ExtensionObject::null().encode(out as Bytes<'_>, &self.context).map_err(failed)
            }
            Part::Any => Err(Fault::ANY.to_string().into()),
        }
    }
}

fn length(count: usize) -> Result<i32, String> {
    i32::try_from(count).map_err(|_| "an array that is too long".to_owned())
}
