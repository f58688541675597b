//! What a value holds: a plain datum, or an array or structure of such.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::fmt;

/// What a register, a node or a sensor holds.
///
/// Four in five are numbers, of which a node keeps hundreds of thousands: what is larger than a text lies elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Datum {
    /// A truth value: a coil, a discrete input, a switch.
    Bool(bool),
    /// A whole number in the range of a signed 64-bit integer.
    Int(i64),
    /// A whole number above `i64::MAX`; smaller ones are always [`Datum::Int`].
    UInt(u64),
    /// A number with a fraction; never NaN or infinite, which JSON cannot say.
    Float(f64),
    /// A text.
    Text(String),
    /// Values in their order; null stands for one that JSON cannot say.
    Array(Box<[Json]>),
    /// Values by their names.
    Structure(Box<Map<String, Json>>),
}

impl Datum {
    /// A float as a datum; `None` for NaN and the infinities, which have no JSON form.
    pub fn float(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self::Float(value))
    }

    /// An unsigned number in its canonical variant.
    pub fn unsigned(value: u64) -> Self {
        i64::try_from(value).map_or(Self::UInt(value), Self::Int)
    }

    /// The number held, as a float; `None` for what is no number.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Int(it) => Some(it as f64),
            Self::UInt(it) => Some(it as f64),
            Self::Float(it) => Some(it),
            Self::Bool(_) | Self::Text(_) | Self::Array(_) | Self::Structure(_) => None,
        }
    }

    /// Whether it is one value, and no array or structure of them.
    pub fn is_plain(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Structure(_))
    }

    /// The JSON value as a datum; `None` for null.
    pub fn from_json(json: Json) -> Option<Self> {
        match json {
            Json::Array(values) => Some(Self::Array(values.into())),
            Json::Object(members) => Some(Self::Structure(Box::new(members))),
            Json::String(it) => Some(Self::Text(it)),
            plain => Self::plain(&plain),
        }
    }

    /// The JSON scalar as a datum; `None` for null, arrays and objects.
    pub fn plain(json: &Json) -> Option<Self> {
        match json {
            Json::Bool(it) => Some(Self::Bool(*it)),
            Json::String(it) => Some(Self::Text(it.clone())),
            Json::Number(it) => it
                .as_i64()
                .map(Self::Int)
                .or_else(|| it.as_u64().map(Self::UInt))
                .or_else(|| it.as_f64().and_then(Self::float)),
            _ => None,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Bool(it) => (*it).into(),
            Self::Int(it) => (*it).into(),
            Self::UInt(it) => (*it).into(),
            Self::Float(it) => (*it).into(),
            Self::Text(it) => it.as_str().into(),
            Self::Array(it) => Json::Array(it.to_vec()),
            Self::Structure(it) => Json::Object((**it).clone()),
        }
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(it) => it.fmt(f),
            Self::Int(it) => it.fmt(f),
            Self::UInt(it) => it.fmt(f),
            Self::Float(it) => it.fmt(f),
            Self::Text(it) => it.fmt(f),
            Self::Array(_) | Self::Structure(_) => self.to_json().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_float_without_a_json_form_is_no_datum() {
        assert_eq!(Datum::float(f64::NAN), None);
        assert_eq!(Datum::float(f64::INFINITY), None);
    }

    #[test]
    fn every_json_value_but_null_is_one_and_reads_back_as_it_was() {
        for json in [
            json!(true),
            json!(-3),
            json!(u64::MAX),
            json!(0.5),
            json!("on"),
            json!([]),
            json!([1, null, [0.5]]),
            json!({"a": {"b": [1]}}),
        ] {
            let datum = Datum::from_json(json.clone()).unwrap();
            assert_eq!(datum.to_json(), json);
            assert_eq!(serde_json::from_value::<Datum>(json.clone()).unwrap(), datum);
            assert_eq!(serde_json::to_value(&datum).unwrap(), json);
            assert_eq!(Datum::plain(&json).is_some(), datum.is_plain());
        }
        assert_eq!(Datum::from_json(Json::Null), None);
        assert_eq!(Datum::from_json(json!([1, 2])).unwrap().to_string(), "[1,2]");
    }

    /// A hundred thousand tags keep one each.
    #[test]
    fn arrays_and_structures_cost_nothing_where_there_are_none() {
        assert_eq!(size_of::<Datum>(), size_of::<String>());
    }
}
