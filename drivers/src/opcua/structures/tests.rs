//! Structures to JSON and back, against those of the library where it has them.

use super::*;
use opcua::types::{
    Argument, Array, AxisInformation, BinaryEncodable as _, BuildInfo, ComplexNumberType,
    DataTypeId, DoubleComplexNumberType, EUInformation, EnumValueType, KeyValuePair, LocalizedText,
    Range, ServerStatusDataType, TimeZoneDataType, XVType,
};
use proptest::prelude::*;
use serde_json::json;

fn plain(kind: VariantScalarTypeId) -> Part {
    Part::Plain(Kind::Of(kind))
}

fn field(name: &str, part: Part, dimensions: usize) -> Field {
    Field { name: name.to_owned(), part, dimensions, is_optional: false }
}

fn id(number: u32) -> NodeId {
    NodeId::new(2, number)
}

/// A batch with a range within it, one of which parts are optional, and a union: types 1 to 4, encodings 11 to 14.
fn layouts() -> Layouts {
    use VariantScalarTypeId as Of;
    let mut layouts = Layouts::default();
    let optional = |field: Field| Field { is_optional: true, ..field };
    let types = [
        (
            Form::Whole,
            vec![
                field("number", plain(Of::UInt32), 0),
                field("product", plain(Of::String), 0),
                field("amounts", plain(Of::Double), 1),
                field("grid", plain(Of::Byte), 2),
                field("limits", Part::Structure(id(2)), 0),
                field("steps", Part::Structure(id(3)), 1),
                field("choice", Part::Structure(id(4)), 0),
                field("anything", Part::Plain(Kind::Any), 0),
                field("more", Part::Any, 0),
            ],
        ),
        (
            Form::Whole,
            vec![field("low", plain(Of::Double), 0), field("high", plain(Of::Double), 0)],
        ),
        (
            Form::Optional,
            vec![
                optional(field("a", plain(Of::Int16), 0)),
                field("b", plain(Of::Boolean), 0),
                optional(field("c", plain(Of::Int16), 0)),
            ],
        ),
        (Form::Union, vec![field("x", plain(Of::Int32), 0), field("y", plain(Of::String), 0)]),
    ];
    for (number, (form, fields)) in (1..).zip(types) {
        let layout = Layout { encoding: id(10 + number), form, fields };
        layouts.by_encoding.insert(id(10 + number), Ok(id(number)));
        layouts.by_type.insert(id(number), Ok(Arc::new(layout)));
    }
    layouts
}

fn batch() -> Json {
    json!({
        "number": 7, "product": null, "amounts": [1.5, -2.0], "grid": [[1, 2, 3], [4, 5, 6]],
        "limits": {"low": 0.0, "high": 9.5},
        "steps": [{"b": true}, {"a": -1, "b": false}, {"b": true, "c": 3}],
        "choice": {"y": "yes"}, "anything": [1, 2], "more": null,
    })
}

fn bytes(value: &Variant) -> Vec<u8> {
    let Variant::ExtensionObject(object) = value else { panic!("{value:?}") };
    object.inner_as::<ByteStringBody>().unwrap().raw_body().as_ref().to_vec()
}

fn of(bytes: &[u8], encoding: u32) -> ExtensionObject {
    ExtensionObject::new(ByteStringBody::new(bytes.to_vec().into(), id(encoding)))
}

#[test]
fn what_is_written_is_read_again() {
    let layouts = layouts();
    for (encoding, json) in [
        (11, batch()),
        (13, json!({"b": true})),
        (13, json!({"a": 1, "b": true, "c": -1})),
        (14, json!({})),
        (14, json!({"x": 5})),
    ] {
        let written = layouts.object(&json, &id(encoding)).unwrap();
        let Variant::ExtensionObject(object) = &written else { panic!("{written:?}") };
        assert_eq!(layouts.json(object), Ok(json));
    }
    assert_eq!(layouts.json(&ExtensionObject::null()), Ok(Json::Null));
}

/// The library writes a structure of the standard, which is read by what a server says of it; and the other way round.
#[test]
fn bytes_are_those_of_the_standard() {
    use VariantScalarTypeId as Of;
    let mut layouts = layouts();
    let object = ExtensionObject::from_message(KeyValuePair {
        key: "level".into(),
        value: Variant::from(vec![1_i32, 2]),
    });
    let encoding = object.binary_type_id().node_id;
    assert_eq!(layouts.json(&object), Err(Fault::Unknown(encoding.clone())));
    assert_eq!(layouts.missing(&Some(Variant::from(object.clone()))).len(), 1);
    let data_type = NodeId::from(DataTypeId::KeyValuePair);
    let fields =
        vec![field("Key", plain(Of::QualifiedName), 0), field("Value", Part::Plain(Kind::Any), 0)];
    let layout = Layout { encoding: encoding.clone(), form: Form::Whole, fields };
    layouts.by_encoding.insert(encoding.clone(), Ok(data_type.clone()));
    layouts.by_type.insert(data_type, Ok(Arc::new(layout)));
    assert_eq!(layouts.json(&object), Ok(json!({"Key": "0:level", "Value": [1, 2]})));
    let range = Range { low: 0.0, high: 9.5 };
    let mut expected = Vec::new();
    range.encode(&mut expected, &layouts.context.context()).unwrap();
    let written = layouts.object(&json!({"low": 0.0, "high": 9.5}), &id(12)).unwrap();
    assert_eq!(bytes(&written), expected);
}

/// The library writes and reads each structure of the standard as it is told here.
#[test]
fn the_structures_of_the_standard_are_known() {
    let layouts = Layouts::default();
    let (unit, range) = (
        EUInformation {
            namespace_uri: "http://www.opcfoundation.org/UA/units/un/cefact".into(),
            unit_id: 4_408_652,
            display_name: LocalizedText::from("°C"),
            description: LocalizedText::from("degree Celsius"),
        },
        Range { low: 0.0, high: 9.5 },
    );
    let status = ServerStatusDataType { seconds_till_shutdown: 7, ..Default::default() };
    let axis = AxisInformation {
        engineering_units: unit.clone(),
        eu_range: range.clone(),
        axis_steps: Some(vec![0.5, 1.0]),
        ..Default::default()
    };
    let argument = Argument {
        name: "to".into(),
        data_type: DataTypeId::Double.into(),
        value_rank: 1,
        array_dimensions: Some(vec![3]),
        ..Default::default()
    };
    let real = ComplexNumberType { real: 1.5, imaginary: -2.0 };
    let double = DoubleComplexNumberType { real: 1.5, imaginary: -2.0 };
    let zone = TimeZoneDataType { offset: 60, daylight_saving_in_offset: true };
    let value = EnumValueType { value: -1, ..Default::default() };
    for (object, pointer, said) in [
        (ExtensionObject::from_message(unit), "/DisplayName", json!("°C")),
        (ExtensionObject::from_message(range), "/High", json!(9.5)),
        (ExtensionObject::from_message(status), "/SecondsTillShutdown", json!(7)),
        (ExtensionObject::from_message(axis), "/AxisSteps", json!([0.5, 1.0])),
        (ExtensionObject::from_message(argument), "/ArrayDimensions", json!([3])),
        (ExtensionObject::from_message(real), "/Imaginary", json!(-2.0)),
        (ExtensionObject::from_message(double), "/Imaginary", json!(-2.0)),
        (ExtensionObject::from_message(zone), "/DaylightSavingInOffset", json!(true)),
        (ExtensionObject::from_message(value), "/Value", json!(-1)),
        (ExtensionObject::from_message(XVType { x: 0.5, value: 2.0 }), "/Value", json!(2.0)),
        (ExtensionObject::from_message(BuildInfo::default()), "/BuildNumber", json!(null)),
    ] {
        let json = layouts.json(&object).unwrap();
        assert_eq!(json.pointer(pointer), Some(&said), "{json}");
        let written = layouts.object(&json, &object.binary_type_id().node_id).unwrap();
        let mut expected = Vec::new();
        let body = object.body.as_ref().unwrap();
        body.encode_binary(&mut expected, &layouts.context.context()).unwrap();
        assert_eq!(bytes(&written), expected, "{json}");
    }
}

#[test]
fn what_does_not_fit_names_the_field() {
    let layouts = layouts();
    let with = |pointer: &str, value: Json| {
        let mut json = batch();
        *json.pointer_mut(pointer).unwrap() = value;
        json
    };
    for (encoding, json, reason) in [
        (11, json!(1), "1 is no structure"),
        (11, with("/number", json!(-1)), "number: -1 is out of the range of UInt32"),
        (11, with("/amounts", json!(1)), "amounts: 1 is no array"),
        (11, with("/amounts/0", json!("x")), "amounts: \"x\" is no Double"),
        (11, with("/grid", json!([[1], [2, 3]])), "grid: rows of different lengths"),
        (11, with("/grid", json!([1])), "grid: an array of 2 dimensions is asked for"),
        (11, with("/limits/high", json!("x")), "limits.high: \"x\" is no Double"),
        (11, with("/limits", json!({"low": 1.0})), "limits.high: it is missing"),
        (11, with("/choice", json!({"x": 1, "y": ""})), "choice: a union has one field at a time"),
        (11, with("/more", json!({})), "more: a structure of any type cannot be given"),
        (12, json!({"low": 1.0, "high": 2.0, "x": 1}), "there is no field x, only low, high"),
        (13, json!({"a": 1}), "b: it is missing"),
        (99, json!({}), "a structure of a type that is not known"),
    ] {
        assert_eq!(layouts.object(&json, &id(encoding)), Err(reason.to_owned()), "{json}");
    }
}

#[test]
fn what_cannot_be_told_says_why() {
    let layouts = layouts();
    let broken = |reason| Err(Fault::Broken(reason));
    for (bytes, encoding, told) in [
        (&[1_u8, 0, 0][..], 12, broken("a structure that is shorter than its type")),
        (&[3, 0, 0, 0, 0, 0, 0, 0], 14, broken("a union of a field that it has not")),
        (&[], 99, Err(Fault::Unknown(id(99)))),
    ] {
        assert_eq!(layouts.json(&of(bytes, encoding)), told);
    }
    let written = bytes(&layouts.object(&batch(), &id(11)).unwrap());
    for end in 0..written.len() {
        assert!(layouts.json(&of(&written[..end], 11)).is_err(), "cut at {end}");
    }
    // A later version of the type has more fields.
    let longer = [written.as_slice(), &[1, 2, 3]].concat();
    assert_eq!(layouts.json(&of(&longer, 11)), Ok(batch()));
}

#[test]
fn an_array_that_lies_about_its_length_costs_nothing() {
    let layouts = layouts();
    let mut lie = vec![7, 0, 0, 0, 255, 255, 255, 255];
    lie.extend(i32::MAX.to_le_bytes());
    assert_eq!(layouts.json(&of(&lie, 11)), Err(Fault::Broken("too many values")));
    // Dimensions, too.
    let mut lie = vec![7, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0];
    [2, 1 << 30, 1 << 30].iter().for_each(|it: &u32| lie.extend(it.to_le_bytes()));
    assert_eq!(layouts.json(&of(&lie, 11)), Err(Fault::Broken("too many values")));
}

#[test]
fn a_type_that_has_itself_within_it_ends() {
    let mut layouts = layouts();
    let fields = vec![field("inner", Part::Structure(id(5)), 0)];
    let layout = Layout { encoding: id(15), form: Form::Whole, fields };
    layouts.by_encoding.insert(id(15), Ok(id(5)));
    layouts.by_type.insert(id(5), Ok(Arc::new(layout)));
    let deep = Err(Fault::Broken("structures too deep within one another"));
    assert_eq!(layouts.json(&of(&[0; 64], 15)), deep);
}

#[test]
fn what_two_learn_at_a_time_is_known_to_both() {
    let types = Types::default();
    let with = |number: u32| {
        let mut learned = (*types.known()).clone();
        learned.by_encoding.insert(id(number), Err("untold"));
        learned
    };
    let (first, second) = (with(1), with(2));
    types.add(first);
    let all = types.add(second);
    assert!(all.knows(&id(1)) && all.knows(&id(2)) && types.known().knows(&id(1)));
}

#[test]
fn arrays_of_structures_are_arguments_as_well() {
    let layouts = layouts();
    let range = json!({"low": 1.0, "high": 2.0});
    let part = Part::Structure(id(2));
    let one = layouts.variant(&range, &part, -1).unwrap();
    assert_eq!(encoding_of(&one), Some(id(12)));
    let row = layouts.variant(&json!([range, range]), &part, 1).unwrap();
    let Variant::Array(array) = &row else { panic!("{row:?}") };
    let Array { value_type, values, .. } = &**array;
    assert_eq!((*value_type, values.len()), (VariantScalarTypeId::ExtensionObject, 2));
    assert_eq!(encoding_of(&row), Some(id(12)));
    assert!(layouts.variant(&range, &Part::Any, -1).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        encoding in 11_u32..15,
    ) {
        let _ = layouts().json(&of(&bytes, encoding));
    }

    #[test]
    fn whatever_is_read_is_written_as_it_was(
        number: u32, amounts in proptest::collection::vec(-1e9..1e9_f64, 0..5), choice: i32,
    ) {
        let layouts = layouts();
        let mut json = batch();
        json["number"] = number.into();
        json["amounts"] = amounts.into();
        json["choice"] = json!({"x": choice});
        let written = layouts.object(&json, &id(11)).unwrap();
        let Variant::ExtensionObject(object) = &written else { panic!("{written:?}") };
        prop_assert_eq!(layouts.json(object), Ok(json));
    }
}
