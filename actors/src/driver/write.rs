//! Writes: the payload of `uns/<path>/set`, its answer, and what a failed one is called.

use drivers::{Call, DeviceError, Input, Lost, PointWrite, WriteError};
use proto::{Refusal, RefusalCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// A write on its way to the machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Write {
    /// What to write, and to which of the driver's tags.
    pub(crate) what: PointWrite,
    /// Finds the one who asked.
    pub(crate) ticket: u64,
}

/// The payload of a request to write a value, or to call a method with whatever JSON it takes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetRequest<V> {
    /// What to write, or to call with.
    pub(crate) v: V,
    /// Echoed in the answer; any scalar.
    #[serde(default)]
    pub(crate) id: Option<Json>,
    /// Read it back and compare.
    #[serde(default)]
    pub(crate) verify: bool,
}

/// The payload of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SetAnswer {
    /// Of the request; null if it had none, or could not be read.
    pub(crate) id: Option<Json>,
    /// Whether it was written.
    pub(crate) ok: bool,
    /// What was written, as the tag sees it; of a method what it returned, in its order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) v: Option<Json>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Refusal>,
}

/// The longest id of a request, in bytes of JSON.
const ID_BYTES_MAX: usize = 130;

impl<V: DeserializeOwned> SetRequest<V> {
    /// Reads a payload; the id goes with a refusal where it could be read.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, (Refusal, Option<Json>)> {
        let bad = |error: serde_json::Error| {
            Refusal::new(RefusalCode::BadRequest, format!("not a request to write: {error}"))
        };
        let json: Json = serde_json::from_slice(payload).map_err(|error| (bad(error), None))?;
        let id = json.get("id").filter(|id| is_id(id)).cloned();
        if !json.is_object() {
            let message = "not a request to write: not an object";
            return Err((Refusal::new(RefusalCode::BadRequest, message), None));
        }
        let request: Self =
            serde_json::from_value(json).map_err(|error| (bad(error), id.clone()))?;
        match &request.id {
            Some(given) if !is_id(given) => {
                let message = "the id must be a text or a number of at most 128 bytes";
                Err((Refusal::new(RefusalCode::BadRequest, message).at("id"), None))
            }
            _ => Ok(request),
        }
    }
}

/// The call that a request to a method asks for, with its id.
pub(super) fn called(
    method: String,
    payload: &[u8],
) -> Result<(Option<Json>, Call), (Refusal, Option<Json>)> {
    let SetRequest { v, id, verify } = SetRequest::<Json>::parse(payload)?;
    if verify {
        let refusal = Refusal::new(RefusalCode::Invalid, "a method has nothing to read back");
        return Err((refusal.at("verify"), id));
    }
    Ok((id, Call { method, object: None, input: Input::of(v) }))
}

impl SetAnswer {
    /// The answer to the request `id`.
    pub(crate) fn new(id: Option<Json>, outcome: Result<Json, Refusal>) -> Self {
        match outcome {
            Ok(v) => Self { id, ok: true, v: Some(v), error: None },
            Err(error) => Self { id, ok: false, v: None, error: Some(error) },
        }
    }
}

fn is_id(id: &Json) -> bool {
    (id.is_string() || id.is_number()) && id.to_string().len() <= ID_BYTES_MAX
}

/// The refusal that says why a write failed.
pub(crate) fn refusal_of(error: &WriteError) -> Refusal {
    let code = match error {
        WriteError::UnknownPoint(_) => RefusalCode::NotFound,
        WriteError::ReadOnly { .. } => RefusalCode::Forbidden,
        WriteError::WrongType { .. }
        | WriteError::OutOfRange { .. }
        | WriteError::Misfit { .. } => RefusalCode::Invalid,
        WriteError::Device { error, .. } => refusal_of_device(*error),
        WriteError::NotVerified { .. } => RefusalCode::VersionConflict,
        WriteError::NotReadBack(_) | WriteError::NotWritten(_) => RefusalCode::Unavailable,
        WriteError::Lost(lost) => return refusal_of_lost(lost),
    };
    let refusal = Refusal::new(code, error.to_string());
    match code {
        RefusalCode::Invalid => refusal.at("v"),
        _ => refusal,
    }
}

/// What a refusal of the machine is called.
pub(crate) fn refusal_of_device(error: DeviceError) -> RefusalCode {
    match error.code() {
        "not_permitted" => RefusalCode::Forbidden,
        "illegal_function" | "illegal_address" | "illegal_value" => RefusalCode::Invalid,
        "timeout" => RefusalCode::TimedOut,
        _ => RefusalCode::Unavailable,
    }
}

/// The refusal of what a lost connection has ended.
pub(crate) fn refusal_of_lost(lost: &Lost) -> Refusal {
    let code = match lost {
        Lost::Timeout { .. } => RefusalCode::TimedOut,
        _ => RefusalCode::Unavailable,
    };
    Refusal::new(code, lost.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Datum;
    use serde_json::json;

    #[test]
    fn requests_are_parsed_strictly_and_keep_their_id() {
        let request = SetRequest::<Datum>::parse(br#"{"v":1.5,"id":"a","verify":true}"#).unwrap();
        assert_eq!((request.v, request.verify), (Datum::Float(1.5), true));
        assert_eq!(SetRequest::<Datum>::parse(br#"{"v":true}"#).unwrap().id, None);
        let array = SetRequest::<Datum>::parse(br#"{"v":[1,2]}"#).unwrap().v;
        assert_eq!(array.to_json(), json!([1, 2]));
        let cases: [(&[u8], Option<Json>); 6] = [
            (b"5", None),
            (b"{", None),
            (br#"{"id":7}"#, Some(json!(7))),
            (br#"{"v":1,"id":7,"x":1}"#, Some(json!(7))),
            (br#"{"v":null,"id":"a"}"#, Some(json!("a"))),
            (br#"{"v":1,"id":{}}"#, None),
        ];
        for (payload, id) in cases {
            let (refusal, found) = SetRequest::<Datum>::parse(payload).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::BadRequest);
            assert_eq!(found, id, "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn answers_read_as_the_contract_says() {
        let done = SetAnswer::new(Some(json!("a")), Ok(json!(3)));
        assert_eq!(serde_json::to_string(&done).unwrap(), r#"{"id":"a","ok":true,"v":3}"#);
        let refusal = Refusal::new(RefusalCode::Unavailable, "gone");
        let refused = SetAnswer::new(None, Err(refusal));
        assert_eq!(
            serde_json::to_string(&refused).unwrap(),
            r#"{"id":null,"ok":false,"error":{"code":"unavailable","message":"gone"}}"#
        );
    }
}
