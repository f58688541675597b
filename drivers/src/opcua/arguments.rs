//! Values of OPC UA and JSON, whatever tag they are of or none: arguments of methods, fields of events, arrays.

use super::structures::Layouts;
use super::value::encode;
use crate::scaling::{Scaling, Unfit, shortest};
use opcua::types::{
    Array, ByteString, DataTypeId, DateTime, Guid, NodeId, QualifiedName, StatusCode, UAString,
    Variant, VariantScalarTypeId,
};
use proto::Datum;
use serde_json::{Value as Json, json};

/// The most dimensions of an array.
const DIMENSIONS_MAX: usize = 8;

/// What JSON says of a value; null for what JSON cannot say, such as structures of which nothing is known.
pub(crate) fn json_of(value: &Variant, layouts: &Layouts) -> Json {
    match value {
        Variant::Empty | Variant::DiagnosticInfo(_) => Json::Null,
        Variant::ExtensionObject(it) => layouts.json(it).unwrap_or_default(),
        Variant::Boolean(it) => json!(it),
        Variant::SByte(it) => json!(it),
        Variant::Byte(it) => json!(it),
        Variant::Int16(it) => json!(it),
        Variant::UInt16(it) => json!(it),
        Variant::Int32(it) => json!(it),
        Variant::UInt32(it) => json!(it),
        Variant::Int64(it) => json!(it),
        Variant::UInt64(it) => json!(it),
        Variant::Float(it) => json!(shortest(*it)),
        Variant::Double(it) => json!(it),
        Variant::String(it) if it.is_null() => Json::Null,
        Variant::String(it) => json!(it.as_ref()),
        Variant::DateTime(it) if it.is_null() => Json::Null,
        Variant::DateTime(it) => json!(it.to_rfc3339()),
        Variant::Guid(it) => json!(it.to_string()),
        Variant::StatusCode(it) => json!(it.to_string()),
        Variant::ByteString(it) if it.is_null() => Json::Null,
        Variant::ByteString(it) => json!(it.as_base64()),
        Variant::XmlElement(it) => json!(it.to_string()),
        Variant::QualifiedName(it) => json!(format!("{}:{}", it.namespace_index, it.name)),
        Variant::LocalizedText(it) => json!(it.text.as_ref()),
        Variant::NodeId(it) if it.is_null() => Json::Null,
        Variant::NodeId(it) => json!(it.to_string()),
        Variant::ExpandedNodeId(it) => json!(it.node_id.to_string()),
        Variant::Variant(it) => json_of(it, layouts),
        Variant::DataValue(it) => {
            it.value.as_ref().map(|it| json_of(it, layouts)).unwrap_or_default()
        }
        Variant::Array(array) => {
            let values = array.values.iter().map(|it| json_of(it, layouts)).collect();
            nested(values, array.dimensions.as_deref().unwrap_or_default())
        }
    }
}

/// Values in rows of rows, as the dimensions of their array say.
pub(crate) fn nested(values: Vec<Json>, dimensions: &[u32]) -> Json {
    let Some((_, inner)) = dimensions.split_first().filter(|(_, inner)| !inner.is_empty()) else {
        return Json::Array(values);
    };
    let row = inner.iter().map(|it| *it as usize).product::<usize>().max(1);
    let rows = values.chunks(row).map(|row| nested(row.to_vec(), inner));
    Json::Array(rows.collect())
}

/// What a method takes for an argument of this type and rank (OPC 10000-3, 5.6.2), or why it does not.
pub(crate) fn variant_of(json: &Json, kind: Kind, rank: i32) -> Result<Variant, String> {
    match kind {
        Kind::Of(of) => variant_by(json, of, rank, |json| one(json, kind)),
        // An array of anything at all is one of variants.
        Kind::Any if json.is_array() => {
            variant_by(json, VariantScalarTypeId::Variant, rank, |it| {
                guess(it).map(|it| Variant::Variant(Box::new(it)))
            })
        }
        Kind::Any => variant_by(json, VariantScalarTypeId::Variant, rank, guess),
    }
}

/// A value or an array of `of`, as the rank has it, each value made by `one`.
pub(crate) fn variant_by(
    json: &Json,
    of: VariantScalarTypeId,
    rank: i32,
    one: impl Fn(&Json) -> Result<Variant, String>,
) -> Result<Variant, String> {
    let Json::Array(values) = json else {
        // -1 is one value, -2 anything, -3 one value or a row of them.
        return match rank {
            -3..=-1 => one(json),
            _ => Err(format!("{} is no array", brief(json))),
        };
    };
    if rank == -1 {
        return Err("an array, where one value is asked for".to_owned());
    }
    let (mut flat, mut dimensions) = (Vec::new(), Vec::new());
    flatten(values, 0, &mut dimensions, &mut flat)?;
    if rank > 0 && dimensions.len() != rank as usize || rank == -3 && dimensions.len() != 1 {
        return Err(format!(
            "an array of {} dimensions, which are not asked for",
            dimensions.len()
        ));
    }
    let values: Vec<Variant> = flat.iter().map(|it| one(it)).collect::<Result<_, _>>()?;
    let array = match dimensions.len() {
        1 => Array::new(of, values),
        _ => Array::new_multi(of, values, dimensions),
    };
    array.map(|it| Variant::Array(Box::new(it))).map_err(|error| error.to_string())
}

/// Takes nested arrays apart; each row has to be as long as the first one of its level.
pub(crate) fn flatten<'a>(
    values: &'a [Json],
    level: usize,
    dimensions: &mut Vec<u32>,
    flat: &mut Vec<&'a Json>,
) -> Result<(), String> {
    let length = u32::try_from(values.len()).map_err(|_| "an array that is too long".to_owned())?;
    match dimensions.get(level) {
        Some(known) if *known != length => return Err("rows of different lengths".to_owned()),
        Some(_) => {}
        None if level == DIMENSIONS_MAX => {
            return Err(format!("more than {DIMENSIONS_MAX} dimensions"));
        }
        None => dimensions.push(length),
    }
    for (place, value) in values.iter().enumerate() {
        let has_rows = dimensions.len() > level + 1;
        match value {
            Json::Array(inner) if has_rows || place == 0 => {
                flatten(inner, level + 1, dimensions, flat)?;
            }
            Json::Array(_) => return Err("rows beside values".to_owned()),
            _ if has_rows => return Err("rows beside values".to_owned()),
            one => flat.push(one),
        }
    }
    Ok(())
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// A built-in type.
    Of(VariantScalarTypeId),
    /// Whatever is given.
    Any,
}

impl Kind {
    /// The kind of values that a data type of the standard has; `None` where its supertype has to be asked for, or
    /// where it is a structure.
    pub(crate) fn of(data_type: &NodeId) -> Option<Self> {
        use DataTypeId as Id;
        use VariantScalarTypeId as Of;
        let known = data_type.as_data_type_id().ok().filter(|_| data_type.namespace == 0)?;
        Some(Self::Of(match known {
            Id::BaseDataType | Id::Number | Id::Integer | Id::UInteger => return Some(Self::Any),
            Id::Boolean => Of::Boolean,
            Id::SByte => Of::SByte,
            Id::Byte => Of::Byte,
            Id::Int16 => Of::Int16,
            Id::UInt16 => Of::UInt16,
            Id::Int32 | Id::Enumeration => Of::Int32,
            Id::UInt32 => Of::UInt32,
            Id::Int64 => Of::Int64,
            Id::UInt64 => Of::UInt64,
            Id::Float => Of::Float,
            Id::Double | Id::Duration => Of::Double,
            Id::String | Id::LocaleId | Id::NumericRange => Of::String,
            Id::DateTime | Id::UtcTime => Of::DateTime,
            Id::Guid => Of::Guid,
            Id::ByteString => Of::ByteString,
            Id::NodeId => Of::NodeId,
            Id::StatusCode => Of::StatusCode,
            Id::QualifiedName => Of::QualifiedName,
            Id::LocalizedText => Of::LocalizedText,
            _ => return None,
        }))
    }
}

/// One value of a type.
pub(crate) fn one(json: &Json, kind: Kind) -> Result<Variant, String> {
    use VariantScalarTypeId as Of;
    let kind = match kind {
        Kind::Any => return guess(json),
        Kind::Of(kind) => kind,
    };
    let text = || json.as_str().ok_or_else(|| format!("{} is no text", brief(json)));
    let wrong = |what: &str| format!("{} is no {what}", brief(json));
    Ok(match kind {
        // What says nothing is told as null, and is given back as such.
        Of::String if json.is_null() => Variant::String(UAString::null()),
        Of::ByteString if json.is_null() => Variant::ByteString(ByteString::null()),
        Of::DateTime if json.is_null() => Variant::DateTime(Box::new(DateTime::null())),
        Of::NodeId if json.is_null() => Variant::NodeId(Box::new(NodeId::null())),
        Of::ByteString => {
            let found = ByteString::from_base64(text()?);
            Variant::ByteString(found.ok_or_else(|| wrong("base64"))?)
        }
        Of::Guid => {
            let found: Guid = text()?.parse().map_err(|_| wrong("GUID"))?;
            Variant::Guid(Box::new(found))
        }
        Of::NodeId => {
            let found: NodeId = text()?.parse().map_err(|_| wrong("NodeId"))?;
            Variant::NodeId(Box::new(found))
        }
        Of::QualifiedName => {
            let (index, name) = text()?.split_once(':').unwrap_or(("0", text()?));
            let index: u16 = index.parse().map_err(|_| wrong("name with a namespace"))?;
            Variant::QualifiedName(Box::new(QualifiedName::new(index, name)))
        }
        Of::StatusCode => {
            let code = json.as_u64().and_then(|it| u32::try_from(it).ok());
            Variant::StatusCode(StatusCode::from(code.ok_or_else(|| wrong("status code"))?))
        }
        kind => {
            let scalar = Datum::plain(json).ok_or_else(|| wrong("value"))?;
            let found = encode(&scalar, kind, &Scaling::default());
            found.map_err(|unfit| match unfit {
                Unfit::WrongType => wrong(&format!("{kind:?}")),
                Unfit::OutOfRange => format!("{} is out of the range of {kind:?}", brief(json)),
            })?
        }
    })
}

/// What a value is where the method takes any.
fn guess(json: &Json) -> Result<Variant, String> {
    Ok(match Datum::plain(json) {
        Some(Datum::Bool(it)) => Variant::Boolean(it),
        Some(Datum::Int(it)) => Variant::Int64(it),
        Some(Datum::UInt(it)) => Variant::UInt64(it),
        Some(Datum::Float(it)) => Variant::Double(it),
        Some(Datum::Text(it)) => Variant::String(UAString::from(it)),
        _ => return Err(format!("{} is no value", brief(json))),
    })
}

/// A value as an error shows it.
pub(crate) fn brief(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
