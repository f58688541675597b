//! What a server's value is, as what is written to it has to be: type, dimensions, and of structures which.

use super::arguments::{Kind, one, variant_by};
use super::structures::{Layouts, encoding_of};
use super::value::encode;
use crate::scaling::{Scaling, Unfit};
use opcua::types::{Array, NodeId, Variant, VariantScalarTypeId};
use proto::Datum;

/// What a server's value is, and so one has to be that is written to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    kind: VariantScalarTypeId,
    /// Of structures; elsewhere, since each of a hundred thousand tags has one of these.
    pub(crate) encoding: Option<Box<NodeId>>,
    /// Of arrays; 0 is one value.
    dimensions: u8,
}

impl Held {
    /// What a value shows of it; nothing, if there is none, or none of structures of which the type is told.
    pub(crate) fn of(value: &Variant) -> Option<Self> {
        let (kind, dimensions) = match value {
            Variant::Array(array) => {
                let dimensions = array.dimensions.as_ref().map_or(1, Vec::len).max(1);
                (array.value_type, u8::try_from(dimensions).ok()?)
            }
            Variant::Variant(it) => return Self::of(it),
            it => (it.scalar_type_id()?, 0),
        };
        let encoding = encoding_of(value).map(Box::new);
        let is_told = kind != VariantScalarTypeId::ExtensionObject || encoding.is_some();
        is_told.then_some(Self { kind, encoding, dimensions })
    }

    /// One element of what it is, as a part of an array.
    pub(crate) fn element(self) -> Self {
        Self { dimensions: 0, ..self }
    }

    /// The variant that such a server takes.
    pub(crate) fn encode(
        &self,
        value: &Datum,
        scaling: &Scaling,
        layouts: &Layouts,
    ) -> Result<Variant, Misfit> {
        if self.dimensions == 0 {
            return self.one(value, scaling, layouts);
        }
        let made = variant_by(&value.to_json(), self.kind, self.dimensions.into(), |value| {
            let null = || "null is no value".to_owned();
            let value = Datum::from_json(value.clone()).ok_or_else(null)?;
            self.one(&value, scaling, layouts).map_err(|misfit| match misfit {
                Misfit::Reason(reason) => reason,
                Misfit::Plain(Unfit::WrongType) => format!("{value} is no {:?}", self.kind),
                Misfit::Plain(Unfit::OutOfRange) => {
                    format!("{value} is out of the range of {:?}", self.kind)
                }
            })
        });
        made.map_err(Misfit::Reason)
    }

    fn one(&self, value: &Datum, scaling: &Scaling, layouts: &Layouts) -> Result<Variant, Misfit> {
        use VariantScalarTypeId as Id;
        let made = match (self.kind, &self.encoding) {
            (Id::ExtensionObject, Some(encoding)) => layouts.object(&value.to_json(), encoding),
            (Id::ByteString | Id::Guid | Id::NodeId | Id::QualifiedName | Id::StatusCode, _) => {
                one(&value.to_json(), Kind::Of(self.kind))
            }
            (kind, _) => return encode(value, kind, scaling).map_err(Misfit::Plain),
        };
        made.map_err(Misfit::Reason)
    }

    /// A value as a part of an array: what a server takes for one element.
    pub(crate) fn as_element(&self, value: Variant, dimensions: usize) -> Variant {
        let array = match dimensions {
            0 | 1 => Array::new(self.kind, vec![value.clone()]),
            count => Array::new_multi(self.kind, vec![value.clone()], vec![1; count]),
        };
        array.map_or(value, |array| Variant::Array(Box::new(array)))
    }
}

/// Why a value cannot be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Misfit {
    /// It is one value, and does not fit the type.
    Plain(Unfit),
    /// What does not fit where.
    Reason(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn encoded(held: &Held, json: &Json) -> Result<Variant, Misfit> {
        let value = Datum::from_json(json.clone()).unwrap();
        held.encode(&value, &Scaling::default(), &Layouts::default())
    }

    #[test]
    fn what_is_written_has_the_type_and_the_shape_of_what_is_there() {
        let matrix =
            Array::new_multi(VariantScalarTypeId::Byte, [1_u8, 2].map(Variant::from), [1, 2]);
        for (there, json) in [
            (Variant::from(5_i16), json!(5)),
            (Variant::from(vec![5_i16, 6]), json!([5, 6])),
            (Variant::Array(Box::new(matrix.unwrap())), json!([[1, 2]])),
            (Variant::ByteString(vec![1_u8, 2, 3].into()), json!("AQID")),
        ] {
            let held = Held::of(&there).unwrap();
            assert_eq!(encoded(&held, &json), Ok(there));
        }
        // Also where there is nothing in it yet.
        let held = Held::of(&Variant::from(Vec::<f32>::new())).unwrap();
        assert_eq!(encoded(&held, &json!([0.5])), Ok(Variant::from(vec![0.5_f32])));
        assert_eq!(Held::of(&Variant::Empty), None);
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let reason = |text: &str| Err(Misfit::Reason(text.to_owned()));
        let one = Held::of(&Variant::from(1_u8)).unwrap();
        assert_eq!(encoded(&one, &json!(256)), Err(Misfit::Plain(Unfit::OutOfRange)));
        assert_eq!(encoded(&one, &json!([1])), Err(Misfit::Plain(Unfit::WrongType)));
        let row = Held::of(&Variant::from(vec![1_u8])).unwrap();
        assert_eq!(encoded(&row, &json!(1)), reason("1 is no array"));
        assert_eq!(encoded(&row, &json!([256])), reason("256 is out of the range of Byte"));
        assert_eq!(encoded(&row, &json!(["x"])), reason("x is no Byte"));
        assert_eq!(encoded(&row, &json!([null])), reason("null is no value"));
        let twice = "an array of 2 dimensions, which are not asked for";
        assert_eq!(encoded(&row, &json!([[1]])), reason(twice));
    }

    #[test]
    fn an_element_is_written_as_an_array_of_one() {
        let held = Held::of(&Variant::from(vec![7_i32])).unwrap().element();
        let one = encoded(&held, &json!(5)).unwrap();
        assert_eq!(held.as_element(one.clone(), 1), Variant::from(vec![5]));
        let Variant::Array(array) = held.as_element(one, 2) else { panic!("no array") };
        assert_eq!(array.dimensions.as_deref(), Some([1, 1].as_slice()));
    }
}
