//! What devices and apps ask of a shadow, parsed strictly: an unknown field is a mistake worth a
//! reply.

use super::{CLIENT_TOKEN_BYTES_MAX, Limits, Patch, Section};
use crate::refusal::{Refusal, RefusalCode};
use serde_json::Value as Json;

/// The payload of `update`.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateRequest {
    /// What to do to `desired`, if it is named.
    pub desired: Option<Patch>,
    /// What to do to `reported`, if it is named.
    pub reported: Option<Patch>,
    /// The version the caller believes the shadow to have.
    pub version: Option<u64>,
    /// Echoed in every answer.
    pub client_token: Option<String>,
}

/// The payload of `get` and `delete`, which may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainRequest {
    /// The version the caller believes the shadow to have.
    pub version: Option<u64>,
    /// Echoed in the answer.
    pub client_token: Option<String>,
}

/// A payload that is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Malformed {
    /// Why.
    pub refusal: Refusal,
    /// The token to echo, where it could be read.
    pub client_token: Option<String>,
}

impl UpdateRequest {
    /// Reads a payload.
    pub fn parse(payload: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        let mut object = read_object(payload, limits)?;
        let plain = PlainRequest::take(&mut object)?;
        let malformed = |refusal| Malformed { refusal, client_token: plain.client_token.clone() };
        let mut state = match object.remove("state") {
            Some(Json::Object(state)) => state,
            Some(_) => return Err(malformed(bad("state must be an object", "state"))),
            None => return Err(malformed(bad("state is missing", "state"))),
        };
        let desired = take_patch(&mut state, "desired", "state.desired").map_err(malformed)?;
        let reported = take_patch(&mut state, "reported", "state.reported").map_err(malformed)?;
        if let Some(key) = state.keys().next() {
            let field = format!("state.{key}");
            return Err(malformed(bad("state holds desired and reported only", field)));
        }
        refuse_rest(&object).map_err(malformed)?;
        let PlainRequest { version, client_token } = plain;
        Ok(Self { desired, reported, version, client_token })
    }
}

impl PlainRequest {
    /// Reads a payload; an empty one asks for nothing special.
    pub fn parse(payload: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        if payload.is_empty() {
            return Ok(Self::default());
        }
        let mut object = read_object(payload, limits)?;
        let plain = Self::take(&mut object)?;
        match refuse_rest(&object) {
            Ok(()) => Ok(plain),
            Err(refusal) => Err(Malformed { refusal, client_token: plain.client_token }),
        }
    }

    fn take(object: &mut Section) -> Result<Self, Malformed> {
        let client_token = match object.remove("clientToken") {
            None => None,
            Some(Json::String(token)) if token.len() <= CLIENT_TOKEN_BYTES_MAX => Some(token),
            Some(_) => {
                let message = "clientToken must be a text of at most 64 bytes";
                let refusal = bad(message, "clientToken");
                return Err(Malformed { refusal, client_token: None });
            }
        };
        let version = match object.remove("version") {
            None => None,
            Some(version) if version.is_u64() => version.as_u64(),
            Some(_) => {
                let refusal = bad("version must be a whole number", "version");
                return Err(Malformed { refusal, client_token });
            }
        };
        Ok(Self { version, client_token })
    }
}

fn bad(message: &str, field: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message).at(field)
}

fn take_patch(state: &mut Section, key: &str, field: &str) -> Result<Option<Patch>, Refusal> {
    match state.remove(key) {
        None => Ok(None),
        Some(Json::Null) => Ok(Some(Patch::Clear)),
        Some(Json::Object(section)) => Ok(Some(Patch::Merge(section))),
        Some(_) => Err(bad("a section must be an object or null", field)),
    }
}

fn refuse_rest(object: &Section) -> Result<(), Refusal> {
    match object.keys().next() {
        None => Ok(()),
        Some(key) => Err(bad("unknown field", key.as_str())),
    }
}

fn read_object(payload: &[u8], limits: &Limits) -> Result<Section, Malformed> {
    check_and_read(payload, limits).map_err(|refusal| Malformed { refusal, client_token: None })
}

fn check_and_read(payload: &[u8], limits: &Limits) -> Result<Section, Refusal> {
    let too_large = |message| Refusal::new(RefusalCode::TooLarge, message);
    if payload.len() > limits.bytes_max {
        let (bytes, bytes_max) = (payload.len(), limits.bytes_max);
        return Err(too_large(format!("the document has {bytes} bytes, at most {bytes_max}")));
    }
    let text = std::str::from_utf8(payload)
        .map_err(|_| Refusal::new(RefusalCode::UnsupportedEncoding, "the payload is not UTF-8"))?;
    // The document itself, `state` and the section around the keys.
    const ENVELOPE_DEPTH: usize = 3;
    // Before parsing, whose own limit of recursion would call a deep document no JSON at all.
    if nesting(text) > limits.depth_max.saturating_add(ENVELOPE_DEPTH) {
        let depth_max = limits.depth_max;
        return Err(too_large(format!("the document is nested deeper than {depth_max} levels")));
    }
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(Refusal::new(RefusalCode::BadRequest, "the document is not a JSON object")),
        Err(error) => Err(Refusal::new(RefusalCode::BadRequest, format!("not JSON: {error}"))),
    }
}

/// The most brackets open at once, outside texts.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const LIMITS: Limits = Limits { bytes_max: 200, depth_max: 3 };

    fn parse(text: &str) -> Result<UpdateRequest, Malformed> {
        UpdateRequest::parse(text.as_bytes(), &LIMITS)
    }

    #[test]
    fn an_update_names_sections_version_and_token() {
        let update =
            parse(r#"{"state":{"desired":{"a":1},"reported":null},"version":4,"clientToken":"t"}"#)
                .unwrap();
        assert_eq!(update.desired.unwrap().into_json(), json!({"a":1}));
        assert_eq!(update.reported, Some(Patch::Clear));
        assert_eq!((update.version, update.client_token.as_deref()), (Some(4), Some("t")));
    }

    #[test]
    fn what_is_no_update_is_refused_with_its_code_and_field() {
        let deep = r#"{"state":{"desired":{"a":{"b":{"c":[{}]}}}}}"#;
        let large = format!(r#"{{"state":{{"desired":{{"a":"{}"}}}}}}"#, "x".repeat(200));
        let unclosed = "[".repeat(150);
        let cases: &[(&str, u16, Option<&str>)] = &[
            ("", 400, None),
            ("{", 400, None),
            ("[]", 400, None),
            ("{}", 400, Some("state")),
            (r#"{"state":1}"#, 400, Some("state")),
            (r#"{"state":{"desired":[]}}"#, 400, Some("state.desired")),
            (r#"{"state":{"reported":"x"}}"#, 400, Some("state.reported")),
            (r#"{"state":{"wanted":{}}}"#, 400, Some("state.wanted")),
            (r#"{"state":{},"x":1}"#, 400, Some("x")),
            (r#"{"state":{},"version":-1}"#, 400, Some("version")),
            (r#"{"state":{},"version":"1"}"#, 400, Some("version")),
            (r#"{"state":{},"clientToken":5}"#, 400, Some("clientToken")),
            (deep, 413, None),
            (&unclosed, 413, None),
            (&large, 413, None),
        ];
        for (text, code, field) in cases {
            let malformed = parse(text).unwrap_err();
            assert_eq!(malformed.refusal.code.number(), *code, "{text}");
            assert_eq!(malformed.refusal.field.as_deref(), *field, "{text}");
        }
        let malformed = UpdateRequest::parse(b"\"\xff\"", &LIMITS).unwrap_err();
        assert_eq!(malformed.refusal.code, RefusalCode::UnsupportedEncoding);
    }

    #[test]
    fn a_token_is_echoed_even_when_the_rest_is_refused() {
        let malformed = parse(r#"{"state":5,"clientToken":"t"}"#).unwrap_err();
        assert_eq!(malformed.client_token.as_deref(), Some("t"));
    }

    #[test]
    fn a_plain_request_may_be_empty() {
        assert_eq!(PlainRequest::parse(b"", &LIMITS), Ok(PlainRequest::default()));
        let token = PlainRequest::parse(br#"{"clientToken":"t","version":2}"#, &LIMITS).unwrap();
        assert_eq!((token.version, token.client_token.as_deref()), (Some(2), Some("t")));
        assert!(PlainRequest::parse(b"{\"x\":1}", &LIMITS).is_err());
        assert!(PlainRequest::parse(b"hello", &LIMITS).is_err());
    }

    #[test]
    fn brackets_in_texts_do_not_nest() {
        assert_eq!(nesting(r#"{"a":"[[[\"[[","b":[1]}"#), 2);
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = UpdateRequest::parse(&payload, &LIMITS);
            let _ = PlainRequest::parse(&payload, &LIMITS);
        }
    }
}
