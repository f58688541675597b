//! Values of OPC UA and of tags: a variant to a datum and back.
//!
//! What the tag says of its type is asked of the value, not of the server: a value of another kind is no value. A write
//! takes the type that the server's own value has, since a server refuses any other.

use super::arguments::nested;
use super::structures::{ELEMENTS_MAX, Fault, Layouts};
use crate::config::DataType;
use crate::scaling::{Scaling, Unfit, shortest, truth};
use opcua::types::{DateTime, LocalizedText, UAString, Variant, VariantScalarTypeId};
use proto::Datum;
use serde_json::Value as Json;

/// What a variant shows as.
pub(crate) fn show(
    value: &Variant,
    data_type: DataType,
    scaling: &Scaling,
    layouts: &Layouts,
) -> Result<Datum, Fault> {
    let shown = match value {
        Variant::Array(array) => {
            if array.values.len() > ELEMENTS_MAX {
                return Err(Fault::Broken(
                    "an array of more than 10,000 values: name a part, as in ns=2;s=Table [0:999]",
                ));
            }
            let shown = array.values.iter().map(|value| match value {
                Variant::Empty => Ok(Json::Null),
                Variant::Float(it) if !it.is_finite() => Ok(Json::Null),
                Variant::Double(it) if !it.is_finite() => Ok(Json::Null),
                value => Ok(show(value, data_type, scaling, layouts)?.to_json()),
            });
            let shown = shown.collect::<Result<Vec<Json>, Fault>>()?;
            let shown = nested(shown, array.dimensions.as_deref().unwrap_or_default());
            return Datum::from_json(shown).ok_or(NULL);
        }
        Variant::Variant(it) => return show(it, data_type, scaling, layouts),
        Variant::ExtensionObject(it) => Datum::from_json(layouts.json(it)?).ok_or(NULL)?,
        plain => show_plain(plain, scaling).map_err(Fault::Broken)?,
    };
    if is_of(&shown, value, data_type) {
        Ok(shown)
    } else {
        Err(Fault::Broken("a value of another type"))
    }
}

const NULL: Fault = Fault::Broken("the machine says null");

fn show_plain(value: &Variant, scaling: &Scaling) -> Result<Datum, &'static str> {
    Ok(match value {
        Variant::Empty => return Err("the machine says null"),
        Variant::Boolean(it) => Datum::Bool(*it),
        Variant::SByte(it) => scaling.show_whole((*it).into())?,
        Variant::Byte(it) => scaling.show_whole((*it).into())?,
        Variant::Int16(it) => scaling.show_whole((*it).into())?,
        Variant::UInt16(it) => scaling.show_whole((*it).into())?,
        Variant::Int32(it) => scaling.show_whole((*it).into())?,
        Variant::UInt32(it) => scaling.show_whole((*it).into())?,
        Variant::Int64(it) => scaling.show_whole((*it).into())?,
        Variant::UInt64(it) => scaling.show_whole((*it).into())?,
        Variant::Float(it) => scaling.show_float(shortest(*it))?,
        Variant::Double(it) => scaling.show_float(*it)?,
        Variant::String(it) => Datum::Text(it.as_ref().to_owned()),
        Variant::LocalizedText(it) => Datum::Text(it.text.as_ref().to_owned()),
        Variant::QualifiedName(it) => Datum::Text(it.name.as_ref().to_owned()),
        Variant::DateTime(it) => Datum::Text(it.to_rfc3339()),
        Variant::Guid(it) => Datum::Text(it.to_string()),
        Variant::NodeId(it) => Datum::Text(it.to_string()),
        Variant::StatusCode(it) => Datum::Text(it.to_string()),
        Variant::XmlElement(it) => Datum::Text(it.to_string()),
        Variant::ByteString(it) if it.is_null() => return Err("the machine says null"),
        Variant::ByteString(it) => Datum::Text(it.as_base64()),
        _ => return Err("a value of a type that is not for tags"),
    })
}

/// Whether the machine's value is of the type that the tag was given.
fn is_of(shown: &Datum, raw: &Variant, data_type: DataType) -> bool {
    match data_type {
        DataType::Auto => true,
        DataType::Bool => matches!(shown, Datum::Bool(_)),
        DataType::Text { bytes } => {
            matches!(shown, Datum::Text(text) if text.len() <= usize::from(bytes))
        }
        DataType::Float32 | DataType::Float64 => raw_number(raw).is_some(),
        whole => raw_whole(raw).is_some_and(|it| whole.whole_range().contains(&it)),
    }
}

fn raw_whole(raw: &Variant) -> Option<i128> {
    Some(match raw {
        Variant::SByte(it) => (*it).into(),
        Variant::Byte(it) => (*it).into(),
        Variant::Int16(it) => (*it).into(),
        Variant::UInt16(it) => (*it).into(),
        Variant::Int32(it) => (*it).into(),
        Variant::UInt32(it) => (*it).into(),
        Variant::Int64(it) => (*it).into(),
        Variant::UInt64(it) => (*it).into(),
        _ => return None,
    })
}

fn raw_number(raw: &Variant) -> Option<f64> {
    match raw {
        Variant::Float(it) => Some((*it).into()),
        Variant::Double(it) => Some(*it),
        whole => raw_whole(whole).map(|it| it as f64),
    }
}

/// The variant that a server with values of type `kind` takes.
pub(crate) fn encode(
    value: &Datum,
    kind: VariantScalarTypeId,
    scaling: &Scaling,
) -> Result<Variant, Unfit> {
    use VariantScalarTypeId as Id;
    let whole = |min: i128, max: i128| scaling.raw_whole(value, &(min..=max));
    let text = || match value {
        Datum::Text(text) => Ok(text.as_str()),
        _ => Err(Unfit::WrongType),
    };
    // In range, so that none of these casts loses anything.
    Ok(match kind {
        Id::Boolean => Variant::Boolean(truth(value)?),
        Id::SByte => Variant::SByte(whole(i8::MIN.into(), i8::MAX.into())? as i8),
        Id::Byte => Variant::Byte(whole(0, u8::MAX.into())? as u8),
        Id::Int16 => Variant::Int16(whole(i16::MIN.into(), i16::MAX.into())? as i16),
        Id::UInt16 => Variant::UInt16(whole(0, u16::MAX.into())? as u16),
        Id::Int32 => Variant::Int32(whole(i32::MIN.into(), i32::MAX.into())? as i32),
        Id::UInt32 => Variant::UInt32(whole(0, u32::MAX.into())? as u32),
        Id::Int64 => Variant::Int64(whole(i64::MIN.into(), i64::MAX.into())? as i64),
        Id::UInt64 => Variant::UInt64(whole(0, u64::MAX.into())? as u64),
        Id::Float => match scaling.raw_float(value)? as f32 {
            it if it.is_finite() => Variant::Float(it),
            _ => return Err(Unfit::OutOfRange),
        },
        Id::Double => Variant::Double(scaling.raw_float(value)?),
        Id::String => Variant::String(UAString::from(text()?)),
        Id::LocalizedText => Variant::LocalizedText(Box::new(LocalizedText::from(text()?))),
        Id::DateTime => match DateTime::parse_from_rfc3339(text()?) {
            Ok(it) => Variant::DateTime(Box::new(it)),
            Err(_) => return Err(Unfit::WrongType),
        },
        _ => return Err(Unfit::WrongType),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use opcua::types::{Array, ByteString, ExtensionObject};
    use serde_json::json;

    fn plain(value: &Variant, data_type: &str) -> Result<Datum, Fault> {
        let data_type = data_type.parse().unwrap();
        show(value, data_type, &Scaling::default(), &Layouts::default())
    }

    #[test]
    fn every_scalar_shows_and_is_written_back() {
        let text = |it: &str| Datum::Text(it.to_owned());
        for (raw, shown) in [
            (Variant::Boolean(true), Datum::Bool(true)),
            (Variant::SByte(-7), Datum::Int(-7)),
            (Variant::Byte(200), Datum::Int(200)),
            (Variant::Int16(-300), Datum::Int(-300)),
            (Variant::UInt16(60_000), Datum::Int(60_000)),
            (Variant::Int32(i32::MIN), Datum::Int(i64::from(i32::MIN))),
            (Variant::UInt32(u32::MAX), Datum::Int(i64::from(u32::MAX))),
            (Variant::Int64(i64::MIN), Datum::Int(i64::MIN)),
            (Variant::UInt64(u64::MAX), Datum::UInt(u64::MAX)),
            (Variant::Float(0.1), Datum::Float(0.1)),
            (Variant::Double(-2.5), Datum::Float(-2.5)),
            (Variant::String("on".into()), text("on")),
            (Variant::from(LocalizedText::from("running")), text("running")),
        ] {
            assert_eq!(plain(&raw, "auto"), Ok(shown.clone()), "{raw:?}");
            let kind = raw.scalar_type_id().unwrap();
            assert_eq!(encode(&shown, kind, &Scaling::default()), Ok(raw));
        }
    }

    #[test]
    fn arrays_are_values_in_rows_and_each_of_their_type() {
        let datum = |json: Json| Ok(Datum::from_json(json).unwrap());
        let matrix = Array::new_multi(
            VariantScalarTypeId::Int16,
            [1_i16, 2, 3, 4, 5, 6].map(Variant::from),
            [2, 3],
        );
        let matrix = Variant::Array(Box::new(matrix.unwrap()));
        for (raw, data_type, shown) in [
            (Variant::from(vec![1_i16, 2]), "auto", datum(json!([1, 2]))),
            (Variant::from(vec![1_i16]), "int16", datum(json!([1]))),
            (Variant::from(Vec::<i16>::new()), "auto", datum(json!([]))),
            (Variant::from(vec![0.5, f64::NAN]), "float64", datum(json!([0.5, null]))),
            (matrix, "int32", datum(json!([[1, 2, 3], [4, 5, 6]]))),
        ] {
            assert_eq!(plain(&raw, data_type), shown, "{raw:?}");
        }
        let large = Variant::from(vec![70_000, 1]);
        assert_eq!(plain(&large, "uint16"), Err(Fault::Broken("a value of another type")));
        let long = Variant::from(vec![0_u8; ELEMENTS_MAX + 1]);
        assert!(matches!(plain(&long, "auto"), Err(Fault::Broken(_))));
        let scaling = Scaling { scale: 0.1, ..Scaling::default() };
        let scaled = Variant::from(vec![10_i16, 25]);
        let shown = show(&scaled, DataType::Auto, &scaling, &Layouts::default());
        assert_eq!(shown, datum(json!([1.0, 2.5])));
    }

    #[test]
    fn a_value_of_another_type_is_no_value() {
        for (raw, data_type) in [
            (Variant::Int32(70_000), "uint16"),
            (Variant::Double(1.0), "int32"),
            (Variant::String("1".into()), "float64"),
            (Variant::Boolean(true), "string(4)"),
            (Variant::String("too long".into()), "string(4)"),
            (Variant::Empty, "auto"),
            (Variant::Double(f64::NAN), "auto"),
            (Variant::ByteString(ByteString::null()), "auto"),
            (Variant::ByteString(vec![1_u8].into()), "int32"),
            (Variant::from(ExtensionObject::null()), "auto"),
        ] {
            assert!(plain(&raw, data_type).is_err(), "{raw:?} {data_type}");
        }
        let bytes = plain(&Variant::ByteString(vec![1_u8, 2, 3].into()), "auto");
        assert_eq!(bytes, Ok(Datum::Text("AQID".to_owned())));
        assert_eq!(plain(&Variant::Byte(5), "uint16"), Ok(Datum::Int(5)));
        assert_eq!(plain(&Variant::Int32(5), "float64"), Ok(Datum::Int(5)));
    }

    #[test]
    fn what_the_machine_cannot_hold_is_refused() {
        use VariantScalarTypeId as Id;
        let scaling = Scaling::default();
        for (value, kind, unfit) in [
            (Datum::Int(256), Id::Byte, Unfit::OutOfRange),
            (Datum::Int(-1), Id::UInt32, Unfit::OutOfRange),
            (Datum::Float(0.5), Id::Int32, Unfit::WrongType),
            (Datum::Float(1e300), Id::Float, Unfit::OutOfRange),
            (Datum::Int(2), Id::Boolean, Unfit::OutOfRange),
            (Datum::Int(1), Id::String, Unfit::WrongType),
            (Datum::Text("x".into()), Id::Double, Unfit::WrongType),
            (Datum::Text("today".into()), Id::DateTime, Unfit::WrongType),
            (Datum::Text("x".into()), Id::Guid, Unfit::WrongType),
        ] {
            assert_eq!(encode(&value, kind, &scaling), Err(unfit), "{value} {kind:?}");
        }
    }

    #[test]
    fn a_scaled_value_is_written_unscaled() {
        let scaling = Scaling { scale: 0.1, offset: -40.0, ..Scaling::default() };
        let shown = show(&Variant::Int16(614), DataType::Auto, &scaling, &Layouts::default());
        assert_eq!(shown, Ok(Datum::Float(21.4)));
        let written = encode(&Datum::Float(21.4), VariantScalarTypeId::Int16, &scaling);
        assert_eq!(written, Ok(Variant::Int16(614)));
    }
}
