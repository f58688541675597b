//! From a payload to the value of a point, and from a value to the payload that a device takes.

use super::address::Part;
use crate::config::DataType;
use crate::encoding::{Encoding, register_count};
use crate::scaling::{Unfit, shortest, truth};
use proto::Datum;
use serde_json::Value as Json;

/// A payload, read as JSON at most once however many points are in it.
pub(crate) struct Payload<'a> {
    bytes: &'a [u8],
    json: Option<Option<Json>>,
}

type Shown = Result<Option<Datum>, &'static str>;

impl<'a> Payload<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, json: None }
    }

    /// It as JSON, if it is that.
    pub(crate) fn json(&mut self) -> Option<&Json> {
        self.json.get_or_insert_with(|| serde_json::from_slice(self.bytes).ok()).as_ref()
    }

    /// The value of a part; `None` if the payload says nothing of it.
    pub(crate) fn value(&mut self, part: &Part, encoding: &Encoding) -> Shown {
        match part {
            Part::Whole => self.whole(encoding).map(Some),
            Part::Json(path) => {
                let json = self.json().ok_or("the payload is not JSON")?;
                path.find(json).map(|json| of_json(json, encoding)).transpose()
            }
            Part::Bytes { from, bit } => of_bytes(self.bytes, *from, *bit, encoding).map(Some),
        }
    }

    fn whole(&mut self, encoding: &Encoding) -> Result<Datum, &'static str> {
        let text = std::str::from_utf8(self.bytes).map_err(|_| "the payload is no text")?;
        // A text is taken as it stands, also if it looks like something else.
        if matches!(encoding.data_type, DataType::Text { .. }) {
            return of_text(text, encoding);
        }
        match self.json() {
            Some(Json::Object(_)) if encoding.data_type != DataType::Auto => {
                Err("the payload is a document: name a path")
            }
            Some(json) => of_json(json, encoding),
            None => of_text(text, encoding),
        }
    }
}

fn of_json(json: &Json, encoding: &Encoding) -> Result<Datum, &'static str> {
    let scaling = &encoding.scaling;
    match (json, encoding.data_type) {
        (Json::Null, _) => Err("it is null"),
        (Json::Array(values), _) => {
            let shown = values.iter().map(|value| match value {
                Json::Null => Ok(Json::Null),
                value => Ok(of_json(value, encoding)?.to_json()),
            });
            Ok(Datum::Array(shown.collect::<Result<_, &'static str>>()?))
        }
        (Json::Object(members), DataType::Auto) => Ok(Datum::Structure(members.clone().into())),
        (Json::Object(_), _) => Err("it is an object"),
        (Json::String(text), _) => of_text(text, encoding),
        (Json::Bool(truth), DataType::Bool | DataType::Auto) => Ok(Datum::Bool(*truth)),
        (Json::Bool(truth), data_type) if data_type.is_whole() => {
            scaling.show_whole(i128::from(*truth))
        }
        (Json::Number(number), DataType::Bool) => match number.as_f64() {
            Some(0.0) => Ok(Datum::Bool(false)),
            Some(1.0) => Ok(Datum::Bool(true)),
            _ => Err("it is neither 0 nor 1"),
        },
        (other, DataType::Text { .. }) => of_text(&other.to_string(), encoding),
        (Json::Number(number), data_type) => {
            let exact = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
            of_number(exact, number.as_f64().unwrap_or(f64::NAN), data_type, encoding)
        }
        (Json::Bool(_), _) => Err("it is true or false"),
    }
}

fn of_number(
    exact: Option<i128>,
    float: f64,
    data_type: DataType,
    encoding: &Encoding,
) -> Result<Datum, &'static str> {
    let scaling = &encoding.scaling;
    if data_type.is_whole() {
        // Some devices write whole numbers as 5.0.
        let is_whole = float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0;
        let whole = exact.or_else(|| is_whole.then_some(float as i128));
        return match whole {
            Some(whole) if data_type.whole_range().contains(&whole) => scaling.show_whole(whole),
            _ if data_type == DataType::Auto => scaling.show_float(float),
            _ => Err("the number does not fit the type"),
        };
    }
    match data_type {
        DataType::Float32 if float.is_finite() && !(float as f32).is_finite() => {
            Err("the number does not fit the type")
        }
        _ => scaling.show_float(float),
    }
}

fn of_text(text: &str, encoding: &Encoding) -> Result<Datum, &'static str> {
    match encoding.data_type {
        DataType::Auto => Ok(Datum::Text(text.to_owned())),
        DataType::Text { bytes } if text.len() <= usize::from(bytes) => {
            Ok(Datum::Text(text.to_owned()))
        }
        DataType::Text { .. } => Err("the text is longer than the type"),
        DataType::Bool => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => Ok(Datum::Bool(true)),
            "false" | "off" | "0" => Ok(Datum::Bool(false)),
            _ => Err("it is neither true nor false, on nor off, 1 nor 0"),
        },
        data_type => {
            let text = text.trim();
            let exact = text.parse::<i128>().ok();
            let float = text.parse::<f64>().map_err(|_| "it is no number")?;
            of_number(exact, float, data_type, encoding)
        }
    }
}

fn of_bytes(
    bytes: &[u8],
    from: usize,
    bit: Option<u8>,
    encoding: &Encoding,
) -> Result<Datum, &'static str> {
    let short = "the payload is too short";
    let rest = bytes.get(from..).filter(|rest| !rest.is_empty()).ok_or(short)?;
    match (encoding.data_type, bit) {
        (_, Some(bit)) => Ok(Datum::Bool(rest[0] >> bit & 1 == 1)),
        (DataType::Bool, None) => Ok(Datum::Bool(rest[0] != 0)),
        (DataType::Int8 | DataType::Uint8, None) => encoding.decode(&[rest[0].into()]),
        // The last one may be shorter than its field.
        (DataType::Text { bytes }, None) => {
            let mut field = rest[..rest.len().min(bytes.into())].to_vec();
            field.resize(2 * usize::from(register_count(encoding.data_type)), 0);
            encoding.decode(&registers(&field))
        }
        (data_type, None) => {
            let length = 2 * usize::from(register_count(data_type));
            encoding.decode(&registers(rest.get(..length).ok_or(short)?))
        }
    }
}

fn registers(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

/// The payload that tells a device a value, and the value as it then says it itself.
pub(crate) fn written(
    part: &Part,
    encoding: &Encoding,
    value: &Datum,
) -> Result<(Vec<u8>, Datum), Unfit> {
    if let Part::Bytes { .. } = part {
        return bytes_of(encoding, value);
    }
    let raw = raw_of(encoding, value)?;
    let seen = of_json(&raw, encoding).map_err(|_| Unfit::OutOfRange)?;
    let payload = match (part, &raw) {
        (Part::Json(path), _) => path.document(raw).to_string(),
        (_, Json::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    };
    Ok((payload.into_bytes(), seen))
}

/// What a device is told, before it is put into a payload.
fn raw_of(encoding: &Encoding, value: &Datum) -> Result<Json, Unfit> {
    let Encoding { data_type, scaling, .. } = encoding;
    match (data_type, value) {
        (_, Datum::Array(values)) => {
            let raw = values.iter().map(|value| {
                let value = Datum::from_json(value.clone()).ok_or(Unfit::WrongType)?;
                raw_of(encoding, &value)
            });
            Ok(Json::Array(raw.collect::<Result<_, _>>()?))
        }
        (DataType::Auto, Datum::Structure(members)) => Ok(Json::Object((**members).clone())),
        (DataType::Text { bytes }, Datum::Text(text)) => match text.len() {
            length if length <= usize::from(*bytes) => Ok(text.clone().into()),
            _ => Err(Unfit::OutOfRange),
        },
        (DataType::Text { .. }, _) => Err(Unfit::WrongType),
        (DataType::Bool, _) => truth(value).map(Json::from),
        (DataType::Auto, Datum::Bool(truth)) => Ok((*truth).into()),
        (DataType::Auto, Datum::Text(text)) if scaling.labels.is_empty() => Ok(text.clone().into()),
        (DataType::Auto, Datum::Float(_)) => float(scaling.raw_float(value)?),
        (DataType::Float32, _) => {
            let raw = scaling.raw_float(value)? as f32;
            if raw.is_finite() { float(shortest(raw)) } else { Err(Unfit::OutOfRange) }
        }
        (DataType::Float64, _) => float(scaling.raw_float(value)?),
        (whole, _) => {
            let raw = scaling.raw_whole(value, &whole.whole_range())?;
            let signed = i64::try_from(raw).map(Json::from);
            signed.or_else(|_| u64::try_from(raw).map(Json::from)).map_err(|_| Unfit::OutOfRange)
        }
    }
}

fn float(value: f64) -> Result<Json, Unfit> {
    serde_json::Number::from_f64(value).map(Json::Number).ok_or(Unfit::OutOfRange)
}

fn bytes_of(encoding: &Encoding, value: &Datum) -> Result<(Vec<u8>, Datum), Unfit> {
    let bytes = match encoding.data_type {
        DataType::Bool => vec![u8::from(truth(value)?)],
        DataType::Int8 | DataType::Uint8 => vec![encoding.encode(value)?[0] as u8],
        DataType::Text { bytes } => {
            let mut field = flat(&encoding.encode(value)?);
            field.truncate(bytes.into());
            field
        }
        _ => flat(&encoding.encode(value)?),
    };
    let seen = of_bytes(&bytes, 0, None, encoding).map_err(|_| Unfit::OutOfRange)?;
    Ok((bytes, seen))
}

fn flat(registers: &[u16]) -> Vec<u8> {
    registers.iter().flat_map(|register| register.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ByteOrder, TagConfig};
    use crate::mqtt::address::Address;
    use crate::scaling::Scaling;
    use serde_json::json;

    fn encoding(more: &Json) -> Encoding {
        let mut tag = json!({"tag": "t", "address": "a", "path": "x/_raw/t"});
        tag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let tag: TagConfig = serde_json::from_value(tag).unwrap();
        let (data_type, byte_order) = (tag.data_type, tag.byte_order);
        Encoding { data_type, byte_order, scaling: Scaling::of(&tag) }
    }

    fn part(text: &str) -> Part {
        Address::parse(&format!("a{text}")).unwrap().read.part
    }

    fn read(payload: &[u8], text: &str, more: &Json) -> Shown {
        Payload::new(payload).value(&part(text), &encoding(more))
    }

    #[test]
    fn payloads_of_text_and_json_become_values() {
        let float = |value| Ok(Some(Datum::Float(value)));
        let int = |value| Ok(Some(Datum::Int(value)));
        let text = |value: &str| Ok(Some(Datum::Text(value.to_owned())));
        let json =
            br#"{"t":21.5,"n":"12","on":"ON","big":18446744073709551615,"l":[1,null],"o":{}}"#;
        let auto = json!({});
        for (payload, place, more, expected) in [
            (&b"21.5"[..], "", auto.clone(), float(21.5)),
            (b"21", "", auto.clone(), int(21)),
            (b" 21 ", "", json!({"type": "float64", "scale": 0.1}), float(2.1)),
            (b"ON", "", auto.clone(), text("ON")),
            (b"ON", "", json!({"type": "bool"}), Ok(Some(Datum::Bool(true)))),
            (b"0", "", json!({"type": "bool"}), Ok(Some(Datum::Bool(false)))),
            (b"12", "", json!({"type": "string(4)"}), text("12")),
            (b"\"x\"", "", auto.clone(), text("x")),
            (b"5.0", "", json!({"type": "uint16"}), int(5)),
            (b"1", "", json!({"labels": {"1": "running"}}), text("running")),
            (json, "#$.t", auto.clone(), float(21.5)),
            (json, "#$.n", json!({"type": "int32"}), int(12)),
            (json, "#$.n", auto.clone(), text("12")),
            (json, "#$.on", json!({"type": "bool"}), Ok(Some(Datum::Bool(true)))),
            (json, "#$.big", auto.clone(), Ok(Some(Datum::UInt(u64::MAX)))),
            (json, "#$.t", json!({"type": "string(8)"}), text("21.5")),
            (json, "#$.l[0]", auto.clone(), int(1)),
            (json, "#$.gone", auto.clone(), Ok(None)),
            (json, "#$.l[1]", auto.clone(), Err("it is null")),
            (json, "#$.l", auto.clone(), Ok(Datum::from_json(json!([1, null])))),
            (json, "#$.l", json!({"scale": 0.5}), Ok(Datum::from_json(json!([0.5, null])))),
            (json, "#$.l", json!({"type": "bool"}), Ok(Datum::from_json(json!([true, null])))),
            (json, "#$.o", auto.clone(), Ok(Datum::from_json(json!({})))),
            (json, "#$.o", json!({"type": "int32"}), Err("it is an object")),
            (b"[[1,2],[3,4]]", "", auto.clone(), Ok(Datum::from_json(json!([[1, 2], [3, 4]])))),
            (b"{\"a\":1}", "", auto.clone(), Ok(Datum::from_json(json!({"a": 1})))),
            (json, "", json!({"type": "int32"}), Err("the payload is a document: name a path")),
            (b"x", "#$.t", auto.clone(), Err("the payload is not JSON")),
            (b"\xff", "", auto.clone(), Err("the payload is no text")),
            (b"70000", "", json!({"type": "uint16"}), Err("the number does not fit the type")),
            (b"1.5", "", json!({"type": "uint16"}), Err("the number does not fit the type")),
            (b"1e39", "", json!({"type": "float32"}), Err("the number does not fit the type")),
            (b"NaN", "", json!({"type": "float64"}), Err("the machine says NaN")),
            (b"x", "", json!({"type": "float64"}), Err("it is no number")),
            (b"12345", "", json!({"type": "string(4)"}), Err("the text is longer than the type")),
            (b"2", "", json!({"type": "bool"}), Err("it is neither 0 nor 1")),
        ] {
            let shown = String::from_utf8_lossy(payload);
            assert_eq!(read(payload, place, &more), expected, "{shown} {place} {more}");
        }
    }

    #[test]
    fn binary_payloads_become_values() {
        let frame = [0x01, 0xff, 0x12, 0x34, 0x00, 0x00, 0xac, 0x41, b'O', b'K', 0];
        for (place, more, expected) in [
            ("#bytes:0.0", json!({"type": "bool"}), Ok(Datum::Bool(true))),
            ("#bytes:0.1", json!({"type": "bool"}), Ok(Datum::Bool(false))),
            ("#bytes:1", json!({"type": "int8"}), Ok(Datum::Int(-1))),
            ("#bytes:1", json!({"type": "uint8", "scale": 0.1}), Ok(Datum::Float(25.5))),
            ("#bytes:2", json!({"type": "uint16"}), Ok(Datum::Int(0x1234))),
            ("#bytes:2", json!({"type": "uint16", "byte_order": "DCBA"}), Ok(Datum::Int(0x3412))),
            ("#bytes:2", json!({"type": "bcd16"}), Ok(Datum::Int(1234))),
            ("#bytes:4", json!({"type": "float32", "byte_order": "DCBA"}), Ok(Datum::Float(21.5))),
            ("#bytes:8", json!({"type": "string(8)"}), Ok(Datum::Text("OK".to_owned()))),
            ("#bytes:10", json!({"type": "uint16"}), Err("the payload is too short")),
            ("#bytes:11", json!({"type": "uint8"}), Err("the payload is too short")),
        ] {
            assert_eq!(read(&frame, place, &more), expected.map(Some), "{place} {more}");
        }
    }

    #[test]
    fn what_is_written_is_what_the_device_takes() {
        let scaled = json!({"type": "int16", "scale": 0.1});
        let array = |json: Json| Datum::from_json(json).unwrap();
        for (place, more, value, payload, seen) in [
            ("", json!({"type": "float64"}), Datum::Int(3), "3.0", Datum::Float(3.0)),
            ("", scaled.clone(), Datum::Float(2.16), "22", Datum::Float(2.2)),
            ("", json!({"type": "bool"}), Datum::Int(1), "true", Datum::Bool(true)),
            ("", json!({}), Datum::Text("ON".into()), "ON", Datum::Text("ON".into())),
            ("", json!({}), Datum::Float(1.5), "1.5", Datum::Float(1.5)),
            ("#$.a.b", json!({}), Datum::Int(7), r#"{"a":{"b":7}}"#, Datum::Int(7)),
            (
                "",
                scaled.clone(),
                array(json!([2.16, [3]])),
                "[22,[30]]",
                array(json!([2.2, [3.0]])),
            ),
            ("", json!({}), array(json!({"a": [1]})), r#"{"a":[1]}"#, array(json!({"a": [1]}))),
            (
                "",
                json!({"labels": {"1": "run"}}),
                Datum::Text("run".into()),
                "1",
                Datum::Text("run".into()),
            ),
        ] {
            let (bytes, told) = written(&part(place), &encoding(&more), &value).unwrap();
            assert_eq!((String::from_utf8(bytes).unwrap().as_str(), told), (payload, seen));
        }
        let little = json!({"type": "uint32", "byte_order": "DCBA"});
        let (bytes, _) = written(&part("#bytes:0"), &encoding(&little), &Datum::Int(1)).unwrap();
        assert_eq!(bytes, [1, 0, 0, 0]);
        let (bytes, _) =
            written(&part("#bytes:0"), &encoding(&json!({"type": "int8"})), &Datum::Int(-2))
                .unwrap();
        assert_eq!(bytes, [0xfe]);
        for (more, value, unfit) in [
            (json!({"type": "uint8"}), Datum::Int(256), Unfit::OutOfRange),
            (json!({"type": "uint8"}), Datum::Text("1".into()), Unfit::WrongType),
            (json!({"type": "bool"}), Datum::Int(2), Unfit::OutOfRange),
            (json!({"type": "string(2)"}), Datum::Text("abc".into()), Unfit::OutOfRange),
            (json!({"type": "float32"}), Datum::Float(1e39), Unfit::OutOfRange),
        ] {
            for place in ["", "#bytes:0"] {
                let refused = written(&part(place), &encoding(&more), &value);
                assert_eq!(refused.unwrap_err(), unfit, "{place} {more} {value}");
            }
        }
        assert_eq!(ByteOrder::default(), ByteOrder::Abcd);
    }
}
