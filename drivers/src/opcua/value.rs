//! Values of OPC UA and of tags: a variant to a scalar and back.
//!
//! What the tag says of its type is asked of the value, not of the server: a value of another kind is no value. A write
//! takes the type that the server's own value has, since a server refuses any other.

use crate::config::DataType;
use crate::scaling::{Scaling, Unfit, shortest, truth};
use opcua::types::{Array, DateTime, LocalizedText, UAString, Variant, VariantScalarTypeId};
use proto::Scalar;

/// What a variant shows as.
pub(crate) fn show(
    value: &Variant,
    data_type: DataType,
    scaling: &Scaling,
) -> Result<Scalar, &'static str> {
    let shown = match value {
        Variant::Empty => return Err("the machine says null"),
        Variant::Boolean(it) => Scalar::Bool(*it),
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
        Variant::String(it) => Scalar::Text(it.as_ref().to_owned()),
        Variant::LocalizedText(it) => Scalar::Text(it.text.as_ref().to_owned()),
        Variant::QualifiedName(it) => Scalar::Text(it.name.as_ref().to_owned()),
        Variant::DateTime(it) => Scalar::Text(it.to_rfc3339()),
        Variant::Guid(it) => Scalar::Text(it.to_string()),
        Variant::NodeId(it) => Scalar::Text(it.to_string()),
        Variant::StatusCode(it) => Scalar::Text(it.to_string()),
        Variant::XmlElement(it) => Scalar::Text(it.to_string()),
        Variant::Variant(it) => return show(it, data_type, scaling),
        // One element of an array comes as an array of one.
        Variant::Array(array) => match array.values.as_slice() {
            [one] => return show(one, data_type, scaling),
            _ => return Err("an array: name an element, as in ns=2;s=Table [3]"),
        },
        Variant::ByteString(_) => return Err("a byte string"),
        Variant::ExtensionObject(_) => return Err("a structure"),
        Variant::ExpandedNodeId(_) | Variant::DataValue(_) | Variant::DiagnosticInfo(_) => {
            return Err("a value of a type that is not for tags");
        }
    };
    if is_of(&shown, value, data_type) { Ok(shown) } else { Err("a value of another type") }
}

/// Whether the machine's value is of the type that the tag was given.
fn is_of(shown: &Scalar, raw: &Variant, data_type: DataType) -> bool {
    match data_type {
        DataType::Auto => true,
        DataType::Bool => matches!(shown, Scalar::Bool(_)),
        DataType::Text { bytes } => {
            matches!(shown, Scalar::Text(text) if text.len() <= usize::from(bytes))
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

/// The type of the machine's value, if a tag can be written to it.
pub(crate) fn kind_of(value: &Variant) -> Option<VariantScalarTypeId> {
    match value {
        Variant::Array(array) => match array.values.as_slice() {
            [one] => kind_of(one),
            _ => None,
        },
        Variant::Variant(it) => kind_of(it),
        it => it.scalar_type_id(),
    }
}

/// The variant that a server with values of type `kind` takes; as an array of one for an element of an array.
pub(crate) fn encode(
    value: &Scalar,
    kind: VariantScalarTypeId,
    scaling: &Scaling,
    is_element: bool,
) -> Result<Variant, Unfit> {
    use VariantScalarTypeId as Id;
    let whole = |min: i128, max: i128| scaling.raw_whole(value, &(min..=max));
    let text = || match value {
        Scalar::Text(text) => Ok(text.as_str()),
        _ => Err(Unfit::WrongType),
    };
    // In range, so that none of these casts loses anything.
    let variant = match kind {
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
    };
    if !is_element {
        return Ok(variant);
    }
    let array = Array::new(kind, vec![variant]).map_err(|_| Unfit::WrongType)?;
    Ok(Variant::Array(Box::new(array)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: &Variant, data_type: &str) -> Result<Scalar, &'static str> {
        show(value, data_type.parse().unwrap(), &Scaling::default())
    }

    #[test]
    fn every_scalar_shows_and_is_written_back() {
        let text = |it: &str| Scalar::Text(it.to_owned());
        for (raw, shown) in [
            (Variant::Boolean(true), Scalar::Bool(true)),
            (Variant::SByte(-7), Scalar::Int(-7)),
            (Variant::Byte(200), Scalar::Int(200)),
            (Variant::Int16(-300), Scalar::Int(-300)),
            (Variant::UInt16(60_000), Scalar::Int(60_000)),
            (Variant::Int32(i32::MIN), Scalar::Int(i64::from(i32::MIN))),
            (Variant::UInt32(u32::MAX), Scalar::Int(i64::from(u32::MAX))),
            (Variant::Int64(i64::MIN), Scalar::Int(i64::MIN)),
            (Variant::UInt64(u64::MAX), Scalar::UInt(u64::MAX)),
            (Variant::Float(0.1), Scalar::Float(0.1)),
            (Variant::Double(-2.5), Scalar::Float(-2.5)),
            (Variant::String("on".into()), text("on")),
            (Variant::from(LocalizedText::from("running")), text("running")),
        ] {
            assert_eq!(plain(&raw, "auto"), Ok(shown.clone()), "{raw:?}");
            let kind = kind_of(&raw).unwrap();
            assert_eq!(encode(&shown, kind, &Scaling::default(), false), Ok(raw));
        }
    }

    #[test]
    fn one_element_of_an_array_is_a_value_and_a_whole_one_is_not() {
        let one = encode(&Scalar::Int(5), VariantScalarTypeId::Int16, &Scaling::default(), true);
        let one = one.unwrap();
        assert!(matches!(one, Variant::Array(_)));
        assert_eq!(plain(&one, "int16"), Ok(Scalar::Int(5)));
        assert_eq!(kind_of(&one), Some(VariantScalarTypeId::Int16));
        let two = Variant::from(vec![1_i16, 2]);
        assert!(plain(&two, "auto").is_err());
        assert_eq!(kind_of(&two), None);
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
            (Variant::ByteString(vec![1_u8].into()), "auto"),
        ] {
            assert!(plain(&raw, data_type).is_err(), "{raw:?} {data_type}");
        }
        assert_eq!(plain(&Variant::Byte(5), "uint16"), Ok(Scalar::Int(5)));
        assert_eq!(plain(&Variant::Int32(5), "float64"), Ok(Scalar::Int(5)));
    }

    #[test]
    fn what_the_machine_cannot_hold_is_refused() {
        use VariantScalarTypeId as Id;
        let scaling = Scaling::default();
        for (value, kind, unfit) in [
            (Scalar::Int(256), Id::Byte, Unfit::OutOfRange),
            (Scalar::Int(-1), Id::UInt32, Unfit::OutOfRange),
            (Scalar::Float(0.5), Id::Int32, Unfit::WrongType),
            (Scalar::Float(1e300), Id::Float, Unfit::OutOfRange),
            (Scalar::Int(2), Id::Boolean, Unfit::OutOfRange),
            (Scalar::Int(1), Id::String, Unfit::WrongType),
            (Scalar::Text("x".into()), Id::Double, Unfit::WrongType),
            (Scalar::Text("today".into()), Id::DateTime, Unfit::WrongType),
            (Scalar::Text("x".into()), Id::Guid, Unfit::WrongType),
        ] {
            assert_eq!(encode(&value, kind, &scaling, false), Err(unfit), "{value} {kind:?}");
        }
    }

    #[test]
    fn a_scaled_value_is_written_unscaled() {
        let scaling = Scaling { scale: 0.1, offset: -40.0, ..Scaling::default() };
        assert_eq!(show(&Variant::Int16(614), DataType::Auto, &scaling), Ok(Scalar::Float(21.4)));
        let written = encode(&Scalar::Float(21.4), VariantScalarTypeId::Int16, &scaling, false);
        assert_eq!(written, Ok(Variant::Int16(614)));
    }
}
