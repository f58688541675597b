//! JSON to values of OPC UA and back, and what is refused on the way.

use super::*;
use VariantScalarTypeId as Of;

fn given(json: &Json, kind: Of, rank: i32) -> Result<Variant, String> {
    variant_of(json, Kind::Of(kind), rank)
}

fn said(value: &Variant) -> Json {
    json_of(value, &Layouts::default())
}

#[test]
fn what_is_given_comes_back() {
    for (json, kind) in [
        (json!(true), Of::Boolean),
        (json!(-5), Of::SByte),
        (json!(u64::MAX), Of::UInt64),
        (json!(0.1), Of::Float),
        (json!(-2.5), Of::Double),
        (json!("on"), Of::String),
        (json!("on"), Of::LocalizedText),
        (json!("AQID"), Of::ByteString),
        (json!("2:Name"), Of::QualifiedName),
        (json!("ns=2;s=Tank"), Of::NodeId),
        (json!("72962b91-fa75-4ae6-8d28-b404dc7daf63"), Of::Guid),
    ] {
        let variant = given(&json, kind, -1);
        assert_eq!(variant.as_ref().map(said), Ok(json.clone()), "{kind:?}");
        let row = json!([json, json]);
        for rank in [1, 0, -2, -3] {
            assert_eq!(given(&row, kind, rank).as_ref().map(said), Ok(row.clone()));
        }
    }
}

#[test]
fn what_does_not_fit_says_why() {
    for (json, kind, rank, reason) in [
        (json!("x"), Of::Double, -1, "\"x\" is no Double"),
        (json!(256), Of::Byte, -1, "256 is out of the range of Byte"),
        (json!([1]), Of::Byte, -1, "an array, where one value is asked for"),
        (json!(1), Of::Byte, 1, "1 is no array"),
        (json!([[1], [2]]), Of::Byte, 1, "an array of 2 dimensions, which are not asked for"),
        (json!([[1], [2, 3]]), Of::Byte, 2, "rows of different lengths"),
        (json!([[1], 2]), Of::Byte, 2, "rows beside values"),
        (json!([1, [2]]), Of::Byte, 2, "rows beside values"),
        (json!({"a": 1}), Of::String, -1, "{\"a\":1} is no value"),
        (json!("%"), Of::ByteString, -1, "\"%\" is no base64"),
        (json!("x:y"), Of::QualifiedName, -1, "\"x:y\" is no name with a namespace"),
    ] {
        assert_eq!(given(&json, kind, rank), Err(reason.to_owned()), "{json}");
    }
}

#[test]
fn rows_of_rows_keep_their_shape() {
    let json = json!([[1, 2, 3], [4, 5, 6]]);
    let variant = given(&json, Of::Int32, 2).unwrap();
    let Variant::Array(array) = &variant else { panic!("{variant:?}") };
    assert_eq!(array.dimensions.as_deref(), Some([2, 3].as_slice()));
    assert_eq!(said(&variant), json);
}

#[test]
fn where_anything_is_taken_it_is_what_json_says() {
    for (json, variant) in [
        (json!(true), Variant::Boolean(true)),
        (json!(5), Variant::Int64(5)),
        (json!(0.5), Variant::Double(0.5)),
        (json!("x"), Variant::from("x")),
    ] {
        assert_eq!(variant_of(&json, Kind::Any, -1), Ok(variant));
    }
    let mixed = json!([1, "x"]);
    let variant = variant_of(&mixed, Kind::Any, -2).unwrap();
    assert_eq!(said(&variant), mixed);
}

#[test]
fn types_of_the_standard_are_known_and_others_are_asked_for() {
    let of = |id: DataTypeId| Kind::of(&id.into());
    assert_eq!(of(DataTypeId::UtcTime), Some(Kind::Of(Of::DateTime)));
    assert_eq!(of(DataTypeId::BaseDataType), Some(Kind::Any));
    assert_eq!(of(DataTypeId::Structure), None);
    assert_eq!(Kind::of(&NodeId::new(2, 1)), None);
}
