//! A payload in an answer: as JSON, as text, or in Base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proto::{Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

/// Longer payloads are not shown: an answer has to fit into a packet.
const SHOWN_BYTES_MAX: usize = 1024 * 1024;

/// How a payload is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    /// As the JSON value that it is. Numbers may be written in another way.
    Json,
    /// As UTF-8 text.
    Text,
    /// In Base64 (RFC 4648 4), byte for byte.
    Base64,
}

/// The payload and how it is shown: in the form asked for, or as it reads best. A long one is left out, unless a form
/// was asked for.
pub(super) fn show(payload: &[u8], form: Option<Form>) -> Result<(Json, &'static str), Refusal> {
    if payload.len() > SHOWN_BYTES_MAX {
        if form.is_none() {
            return Ok((Json::Null, "left_out"));
        }
        let (bytes, max) = (payload.len(), SHOWN_BYTES_MAX);
        let message = format!("the payload has {bytes} bytes, at most {max} are shown");
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("as"));
    }
    let json = || serde_json::from_slice::<Json>(payload).ok().map(|json| (json, "json"));
    let text = || std::str::from_utf8(payload).ok().map(|text| (Json::from(text), "text"));
    let code = || (Json::from(base64(payload)), "base64");
    let wrong = |what: &str| {
        let message = format!("the payload is no {what}");
        Refusal::new(RefusalCode::UnsupportedEncoding, message).at("as")
    };
    match form {
        None => Ok(json().or_else(text).unwrap_or_else(code)),
        Some(Form::Json) => json().ok_or_else(|| wrong("JSON")),
        Some(Form::Text) => text().ok_or_else(|| wrong("UTF-8 text")),
        Some(Form::Base64) => Ok(code()),
    }
}

/// Bytes in Base64 (RFC 4648 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_payload_is_shown_as_it_reads_best_or_as_asked() {
        let show = |payload: &[u8], form| show(payload, form).map_err(|it| it.code);
        assert_eq!(show(b"{\"v\":1}", None), Ok((json!({"v": 1}), "json")));
        assert_eq!(show(b"21.5", Some(Form::Text)), Ok((json!("21.5"), "text")));
        assert_eq!(show("21,5 °C".as_bytes(), None), Ok((json!("21,5 °C"), "text")));
        assert_eq!(show(&[0xFF, 0], None), Ok((json!("/wA="), "base64")));
        assert_eq!(show(b"1", Some(Form::Base64)), Ok((json!("MQ=="), "base64")));
        let unsupported = Err(RefusalCode::UnsupportedEncoding);
        assert_eq!(show(b"on", Some(Form::Json)), unsupported);
        assert_eq!(show(&[0xFF], Some(Form::Text)), unsupported);
        let deep = "[".repeat(100_000);
        assert_eq!(show(deep.as_bytes(), None), Ok((json!(deep), "text")));
        let long = vec![b'x'; SHOWN_BYTES_MAX + 1];
        assert_eq!(show(&long, None), Ok((Json::Null, "left_out")));
        assert_eq!(show(&long, Some(Form::Text)), Err(RefusalCode::TooLarge));
    }
}
