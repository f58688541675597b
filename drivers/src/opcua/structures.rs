//! Structures (OPC 10000-3, 5.8.3): what they are made of, as the server tells it, and their values as JSON and back.
//!
//! A structure comes as bytes with the id of their encoding, which only the server can explain. It is asked when the
//! first value of a type comes ([`Requests::learn_types`](super::requests::Requests::learn_types)), once for each
//! connection, since another program in the controller may have other types. What is known of them is [`Layouts`]: a
//! value that does not change, so that whoever shows values needs no lock.

use super::arguments::{Kind, variant_by, variant_of};
use opcua::types::{
    Array, ByteStringBody, ContextOwned, DecodingOptions, ExtensionObject, NamespaceMap, NodeId,
    Variant, VariantScalarTypeId, XmlBody,
};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

mod decode;
mod encode;
mod learn;
mod standard;
#[cfg(test)]
mod tests;

/// The most values in one array or structure, and in all that is within it.
pub(crate) const ELEMENTS_MAX: usize = 10_000;

/// The most types of one connection.
const TYPES_MAX: usize = 1000;

/// What becomes of those beyond.
const TOO_MANY_TYPES: &str =
    "a structure, of a server that has values of more than 1000 types of them";

/// How deep structures may be within one another.
const DEPTH_MAX: usize = 16;

/// How the fields of a structure follow each other (OPC 10000-6, 5.2.6 to 5.2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of them.
    Whole,
    /// Behind a word that says which of the optional ones are there.
    Optional,
    /// One of them, behind its number.
    Union,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// A value of a built-in type, or one that says itself of which type it is.
    Plain(Kind),
    /// A structure of this type.
    Structure(NodeId),
    /// A structure that says itself of which type it is.
    Any,
}

/// A field of a structure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) part: Part,
    /// How many dimensions it has; 0 is one value.
    pub(crate) dimensions: usize,
    pub(crate) is_optional: bool,
}

/// What a structure is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    /// The encoding that its values name.
    pub(crate) encoding: NodeId,
    pub(crate) form: Form,
    pub(crate) fields: Vec<Field>,
}

/// Why a structure has no JSON, or JSON is no structure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The server was not asked yet what this encoding is.
    #[error("a structure of a type that is not known")]
    Unknown(NodeId),
    /// What is wrong with it.
    #[error("{0}")]
    Broken(&'static str),
}

impl Fault {
    /// There is no telling of which type it should be.
    const ANY: Self = Self::Broken("a structure of any type cannot be given");
}

/// What is known of the structures of a server.
#[derive(Clone)]
pub(crate) struct Layouts {
    /// The data type that an encoding is of, or why that is not known.
    by_encoding: HashMap<NodeId, Result<NodeId, &'static str>>,
    by_type: HashMap<NodeId, Result<Arc<Layout>, &'static str>>,
    /// What fields of a type hold.
    parts: HashMap<NodeId, Part>,
    context: Arc<ContextOwned>,
}

impl Default for Layouts {
    fn default() -> Self {
        let options =
            DecodingOptions { max_array_length: ELEMENTS_MAX, ..DecodingOptions::default() };
        let context = Arc::new(ContextOwned::new_default(NamespaceMap::new(), options));
        let (mut by_encoding, mut by_type) = (HashMap::new(), HashMap::new());
        for (data_type, layout) in standard::layouts() {
            by_encoding.insert(layout.encoding.clone(), Ok(data_type.clone()));
            by_type.insert(data_type, Ok(Arc::new(layout)));
        }
        Self { by_encoding, by_type, parts: HashMap::new(), context }
    }
}

impl fmt::Debug for Layouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layouts").field("by_type", &self.by_type).finish_non_exhaustive()
    }
}

impl Layouts {
    /// A structure as JSON; null for none.
    pub(crate) fn json(&self, value: &ExtensionObject) -> Result<Json, Fault> {
        decode::Decoder::new(self).object(value, 0)
    }

    /// Whether the server was asked for an encoding.
    pub(crate) fn knows(&self, encoding: &NodeId) -> bool {
        self.by_encoding.contains_key(encoding)
    }

    /// The encodings that have to be asked for before these values can be told.
    pub(crate) fn missing<'a>(&self, values: impl IntoIterator<Item = &'a Variant>) -> Vec<NodeId> {
        let mut missing = Vec::new();
        for value in values {
            self.add_missing(value, &mut missing);
        }
        missing
    }

    fn add_missing(&self, value: &Variant, missing: &mut Vec<NodeId>) {
        match value {
            Variant::ExtensionObject(object) => match self.json(object) {
                Err(Fault::Unknown(encoding)) if !missing.contains(&encoding) => {
                    missing.push(encoding);
                }
                _ => {}
            },
            Variant::Array(array) if may_have_structures(array) => {
                array.values.iter().for_each(|value| self.add_missing(value, missing));
            }
            Variant::Variant(inner) => self.add_missing(inner, missing),
            _ => {}
        }
    }

    /// A structure of this encoding, or what does not fit.
    pub(crate) fn object(&self, value: &Json, encoding: &NodeId) -> Result<Variant, String> {
        let layout = self.of_encoding(encoding).map_err(|fault| fault.to_string())?;
        self.encoded(value, layout, encoding)
    }

    /// An argument of this rank, or what does not fit.
    pub(crate) fn variant(&self, value: &Json, part: &Part, rank: i32) -> Result<Variant, String> {
        match part {
            Part::Plain(kind) => variant_of(value, *kind, rank),
            Part::Structure(data_type) => {
                let layout = self.of_type(data_type).map_err(|fault| fault.to_string())?;
                variant_by(value, VariantScalarTypeId::ExtensionObject, rank, |value| {
                    self.encoded(value, layout, &layout.encoding)
                })
            }
            Part::Any => Err(Fault::ANY.to_string()),
        }
    }

    fn encoded(&self, value: &Json, layout: &Layout, of: &NodeId) -> Result<Variant, String> {
        let mut bytes = Vec::new();
        let encoder = encode::Encoder::new(self);
        encoder.structure(&mut bytes, value, layout, 0).map_err(|wrong| wrong.to_string())?;
        Ok(ExtensionObject::new(ByteStringBody::new(bytes.into(), of.clone())).into())
    }

    fn of_encoding(&self, encoding: &NodeId) -> Result<&Layout, Fault> {
        match self.by_encoding.get(encoding) {
            Some(Ok(data_type)) => self.of_type(data_type),
            Some(Err(reason)) => Err(Fault::Broken(reason)),
            None if self.by_encoding.len() >= TYPES_MAX => Err(Fault::Broken(TOO_MANY_TYPES)),
            None => Err(Fault::Unknown(encoding.clone())),
        }
    }

    fn of_type(&self, data_type: &NodeId) -> Result<&Layout, Fault> {
        match self.by_type.get(data_type) {
            Some(Ok(layout)) => Ok(layout),
            Some(Err(reason)) => Err(Fault::Broken(reason)),
            None => Err(Fault::Broken("it has a structure of a type that is not known")),
        }
    }
}

/// The encoding of a structure, and its bytes.
type Body<'a> = (NodeId, Cow<'a, [u8]>);

/// What a structure has in it; `None` if there is none.
fn body_of<'a>(
    value: &'a ExtensionObject,
    context: &ContextOwned,
) -> Result<Option<Body<'a>>, Fault> {
    let Some(body) = &value.body else { return Ok(None) };
    if value.inner_is::<XmlBody>() {
        return Err(Fault::Broken("a structure in XML"));
    }
    if let Some(raw) = value.inner_as::<ByteStringBody>() {
        let bytes = raw.raw_body().value.as_deref().unwrap_or_default();
        return Ok(Some((raw.encoding_id().clone(), bytes.into())));
    }
    // One of the standard, which the library has read already.
    let mut bytes = Vec::new();
    let broken = |_| Fault::Broken("a structure that cannot be read");
    body.encode_binary(&mut bytes, &context.context()).map_err(broken)?;
    Ok(Some((body.binary_type_id().node_id, bytes.into())))
}

/// The encoding of the structures that a value is, or has in its array.
pub(crate) fn encoding_of(value: &Variant) -> Option<NodeId> {
    match value {
        Variant::ExtensionObject(object) => {
            object.body.as_ref().map(|body| body.binary_type_id().node_id)
        }
        Variant::Array(array) if may_have_structures(array) => {
            array.values.iter().find_map(encoding_of)
        }
        Variant::Variant(inner) => encoding_of(inner),
        _ => None,
    }
}

fn may_have_structures(array: &Array) -> bool {
    use VariantScalarTypeId as Of;
    matches!(array.value_type, Of::ExtensionObject | Of::Variant)
}

/// What is known of the structures of a connection, for all who read values of it.
#[derive(Debug, Default)]
pub(crate) struct Types {
    known: RwLock<Arc<Layouts>>,
}

impl Types {
    /// What is known now.
    pub(crate) fn known(&self) -> Arc<Layouts> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what one of those who ask has learned to what others have meanwhile; all of it.
    fn add(&self, learned: Layouts) -> Arc<Layouts> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = (**known).clone();
        all.by_encoding.extend(learned.by_encoding);
        all.by_type.extend(learned.by_type);
        all.parts.extend(learned.parts);
        *known = Arc::new(all);
        Arc::clone(&known)
    }
}
