//! From the bytes of a structure to JSON (OPC 10000-6, 5.2).

use super::{DEPTH_MAX, ELEMENTS_MAX, Fault, Field, Form, Layout, Layouts, Part, body_of};
use crate::opcua::arguments::{Kind, nested};
use opcua::types::{BinaryDecodable as _, Context, ExtensionObject, Variant, VariantScalarTypeId};
use serde_json::{Map, Value as Json};
use std::io::Read as _;

/// What the library has been compiled for already: a kind of bytes of our own would be half a megabyte of code.
type Bytes<'a> = &'a mut dyn std::io::Read;

/// The bytes end before the structure does.
const SHORT: Fault = Fault::Broken("a structure that is shorter than its type");

/// Reads one structure, with all that is within it.
pub(super) struct Decoder<'a> {
    layouts: &'a Layouts,
    context: Context<'a>,
    /// How many values there may still be.
    left: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(layouts: &'a Layouts) -> Self {
        Self { layouts, context: layouts.context.context(), left: ELEMENTS_MAX }
    }

    /// A structure that says itself of which type it is.
    pub(super) fn object(&mut self, value: &ExtensionObject, depth: usize) -> Result<Json, Fault> {
        let Some((encoding, bytes)) = body_of(value, &self.layouts.context)? else {
            return Ok(Json::Null);
        };
        let layout = self.layouts.of_encoding(&encoding)?;
        // What comes behind belongs to a later version of the type.
        self.structure(&mut &*bytes, layout, depth)
    }

    fn structure(
        &mut self,
        stream: &mut &[u8],
        layout: &Layout,
        depth: usize,
    ) -> Result<Json, Fault> {
        if depth == DEPTH_MAX {
            return Err(Fault::Broken("structures too deep within one another"));
        }
        let mut members = Map::new();
        match layout.form {
            Form::Whole => {
                for field in &layout.fields {
                    members.insert(field.name.clone(), self.field(stream, field, depth)?);
                }
            }
            Form::Optional => {
                let mut there = word(stream)?;
                for field in &layout.fields {
                    if field.is_optional {
                        let is_there = there & 1 == 1;
                        there >>= 1;
                        if !is_there {
                            continue;
                        }
                    }
                    members.insert(field.name.clone(), self.field(stream, field, depth)?);
                }
            }
            Form::Union => match word(stream)? {
                0 => {}
                number => {
                    let field = layout.fields.get(number as usize - 1);
                    let field = field.ok_or(Fault::Broken("a union of a field that it has not"))?;
                    members.insert(field.name.clone(), self.field(stream, field, depth)?);
                }
            },
        }
        Ok(Json::Object(members))
    }

    fn field(&mut self, stream: &mut &[u8], field: &Field, depth: usize) -> Result<Json, Fault> {
        match field.dimensions {
            0 => self.value(stream, &field.part, depth),
            1 => {
                let Ok(length) = u32::try_from(word(stream)?.cast_signed()) else {
                    return Ok(Json::Null);
                };
                Ok(Json::Array(self.values(stream, &field.part, length as usize, depth)?))
            }
            count => {
                let told = word(stream)?.cast_signed();
                if told <= 0 {
                    return Ok(Json::Null);
                }
                if told as usize != count {
                    return Err(Fault::Broken("an array of other dimensions than its type has"));
                }
                let dimensions: Vec<u32> =
                    (0..count).map(|_| word(stream)).collect::<Result<_, _>>()?;
                let length = dimensions.iter().try_fold(1_usize, |all, it| {
                    all.checked_mul(*it as usize).filter(|all| *all <= ELEMENTS_MAX)
                });
                let length = length.ok_or(Fault::Broken("too many values"))?;
                let values = self.values(stream, &field.part, length, depth)?;
                Ok(nested(values, &dimensions))
            }
        }
    }

    fn values(
        &mut self,
        stream: &mut &[u8],
        part: &Part,
        length: usize,
        depth: usize,
    ) -> Result<Vec<Json>, Fault> {
        if length > self.left {
            return Err(Fault::Broken("too many values"));
        }
        (0..length).map(|_| self.value(stream, part, depth)).collect()
    }

    fn value(&mut self, stream: &mut &[u8], part: &Part, depth: usize) -> Result<Json, Fault> {
        self.left = self.left.checked_sub(1).ok_or(Fault::Broken("too many values"))?;
        match part {
            Part::Plain(Kind::Of(kind)) => {
                let value = self.plain(stream, *kind)?;
                self.json(&value, depth)
            }
            Part::Plain(Kind::Any) => {
                let value = Variant::decode(stream as Bytes<'_>, &self.context);
                self.json(&value.map_err(|_| SHORT)?, depth)
            }
            Part::Structure(data_type) => {
                let layout = self.layouts.of_type(data_type)?;
                self.structure(stream, layout, depth + 1)
            }
            Part::Any => {
                let object = ExtensionObject::decode(stream as Bytes<'_>, &self.context);
                self.object(&object.map_err(|_| SHORT)?, depth + 1)
            }
        }
    }

    /// A value of a built-in type: as a variant is read, which begins with the number of its type.
    fn plain(&self, stream: &mut &[u8], kind: VariantScalarTypeId) -> Result<Variant, Fault> {
        let number = [kind.encoding_mask()];
        let mut bytes = (&number[..]).chain(stream);
        Variant::decode(&mut bytes as Bytes<'_>, &self.context).map_err(|_| SHORT)
    }

    fn json(&mut self, value: &Variant, depth: usize) -> Result<Json, Fault> {
        match value {
            Variant::ExtensionObject(object) => self.object(object, depth + 1),
            Variant::Variant(inner) => self.json(inner, depth),
            Variant::Array(array) => {
                if array.values.len() > self.left {
                    return Err(Fault::Broken("too many values"));
                }
                self.left -= array.values.len();
                let values = array.values.iter().map(|value| self.json(value, depth));
                let values = values.collect::<Result<_, _>>()?;
                Ok(nested(values, array.dimensions.as_deref().unwrap_or_default()))
            }
            plain => Ok(crate::opcua::arguments::json_of(plain, self.layouts)),
        }
    }
}

/// The next four bytes.
fn word(stream: &mut &[u8]) -> Result<u32, Fault> {
    let (word, rest) = stream.split_first_chunk().ok_or(SHORT)?;
    *stream = rest;
    Ok(u32::from_le_bytes(*word))
}
