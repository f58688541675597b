//! The documents of commands: what an app asks on `invoke`, what the device answers on `response`.

use proto::{CommandId, Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// The longest that a command may wait for its end: seven days, in milliseconds.
pub(crate) const TIMEOUT_MS_MAX: u64 = 7 * 24 * 3600 * 1000;

/// How long a command waits that names no time.
pub(crate) const TIMEOUT_MS_DEFAULT: u64 = 30_000;

/// Objects and arrays within one another in what is asked or answered.
const DEPTH_MAX: usize = 64;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invocation {
    /// What the command is called by whoever asks.
    pub(crate) id: CommandId,
    /// What the device gets.
    pub(crate) input: Json,
    /// How long it may take, from now to its answer.
    pub(crate) timeout_ms: u64,
    /// Whether it waits for a device that cannot hear it now.
    pub(crate) queue: bool,
    /// Whether the steps before the end are told, too.
    pub(crate) progress: bool,
}

/// An invocation that cannot be read, and the id that it seems to have.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed {
    /// A text, or null.
    pub(crate) id: Json,
    /// What is wrong.
    pub(crate) refusal: Refusal,
}

/// What a device answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    /// Which command.
    pub(crate) id: CommandId,
    /// What became of it.
    pub(crate) outcome: Result<Json, Json>,
}

/// How the device says that it went.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DeviceStatus {
    Ok,
    Failed,
}

impl Invocation {
    /// Reads a payload of at most `bytes_max` bytes.
    pub(crate) fn parse(payload: &[u8], bytes_max: usize) -> Result<Self, Malformed> {
        let unnamed = |refusal| Malformed { id: Json::Null, refusal };
        let mut fields = fields(payload, bytes_max).map_err(unnamed)?;
        let id = fields.remove("id").unwrap_or(Json::Null);
        Self::read(&id, fields).map_err(|refusal| {
            let id = if id.is_string() { id } else { Json::Null };
            Malformed { id, refusal }
        })
    }

    fn read(id: &Json, mut fields: Map<String, Json>) -> Result<Self, Refusal> {
        let id = read_id(id)?;
        let input = fields.remove("input").unwrap_or(Json::Null);
        let timeout_ms = match fields.remove("timeout_ms") {
            None => TIMEOUT_MS_DEFAULT,
            Some(given) => check_timeout(&given)?,
        };
        let queue = flag(&mut fields, "queue")?.unwrap_or(true);
        let progress = flag(&mut fields, "progress")?.unwrap_or(false);
        nothing_else(&fields)?;
        Ok(Self { id, input, timeout_ms, queue, progress })
    }
}

impl Response {
    /// Reads a payload of at most `bytes_max` bytes.
    pub(crate) fn parse(payload: &[u8], bytes_max: usize) -> Result<Self, Refusal> {
        let mut fields = fields(payload, bytes_max)?;
        let id = read_id(&fields.remove("id").unwrap_or(Json::Null))?;
        let status = fields.remove("status").unwrap_or(Json::Null);
        let status = DeviceStatus::deserialize(status)
            .map_err(|_| bad("status must be \"ok\" or \"failed\"", "status"))?;
        let outcome = match status {
            DeviceStatus::Ok => Ok(fields.remove("output").unwrap_or(Json::Null)),
            DeviceStatus::Failed => Err(fields.remove("error").unwrap_or(Json::Null)),
        };
        nothing_else(&fields)?;
        Ok(Self { id, outcome })
    }
}

/// A time that a command may take.
pub(crate) fn check_timeout(given: &Json) -> Result<u64, Refusal> {
    let Some(timeout_ms) = given.as_u64() else {
        return Err(bad("timeout_ms must be a whole number of milliseconds", "timeout_ms"));
    };
    if (1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
        return Ok(timeout_ms);
    }
    let message = format!("timeout_ms {timeout_ms} is not within 1 to {TIMEOUT_MS_MAX}");
    Err(Refusal::new(RefusalCode::Invalid, message).at("timeout_ms"))
}

/// What a device is to get, from whomever it comes.
pub(crate) fn check_input(input: &Json, bytes_max: usize) -> Result<(), Refusal> {
    let refuse = |message| Err(Refusal::new(RefusalCode::TooLarge, message).at("input"));
    // A JSON value has no way to fail.
    let bytes = serde_json::to_vec(input).map_or(0, |json| json.len());
    if bytes > bytes_max {
        return refuse(format!("{bytes} bytes, at most {bytes_max}"));
    }
    match depth(input) >= DEPTH_MAX {
        true => refuse(format!("nested deeper than {DEPTH_MAX} levels")),
        false => Ok(()),
    }
}

fn fields(payload: &[u8], bytes_max: usize) -> Result<Map<String, Json>, Refusal> {
    let refuse = |code, message: String| Err(Refusal::new(code, message));
    if payload.len() > bytes_max {
        let bytes = payload.len();
        return refuse(RefusalCode::TooLarge, format!("{bytes} bytes, at most {bytes_max}"));
    }
    match serde_json::from_slice(payload) {
        Ok(Json::Object(fields)) if fields.values().any(|it| depth(it) >= DEPTH_MAX) => {
            refuse(RefusalCode::TooLarge, format!("nested deeper than {DEPTH_MAX} levels"))
        }
        Ok(Json::Object(fields)) => Ok(fields),
        Ok(_) => refuse(RefusalCode::BadRequest, "not a JSON object".to_owned()),
        Err(error) => refuse(RefusalCode::BadRequest, format!("not JSON: {error}")),
    }
}

/// The parser has bounded it already.
fn depth(json: &Json) -> usize {
    match json {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn read_id(id: &Json) -> Result<CommandId, Refusal> {
    match id {
        Json::Null => Err(bad("missing field `id`", "id")),
        Json::String(text) => CommandId::parse(text).map_err(|error| bad(&error.to_string(), "id")),
        _ => Err(bad("id must be a text", "id")),
    }
}

fn flag(fields: &mut Map<String, Json>, field: &str) -> Result<Option<bool>, Refusal> {
    match fields.remove(field) {
        None => Ok(None),
        Some(Json::Bool(is_set)) => Ok(Some(is_set)),
        Some(_) => Err(bad(&format!("{field} must be true or false"), field)),
    }
}

fn nothing_else(fields: &Map<String, Json>) -> Result<(), Refusal> {
    match fields.keys().next() {
        None => Ok(()),
        Some(field) => Err(bad(&format!("unknown field `{field}`"), field)),
    }
}

fn bad(message: &str, field: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message).at(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const BYTES_MAX: usize = 160;

    #[test]
    fn an_invocation_has_an_id_and_defaults_for_the_rest() {
        let read = |text: &str| Invocation::parse(text.as_bytes(), BYTES_MAX).unwrap();
        let plain = read(r#"{"id":"c1"}"#);
        assert_eq!((plain.id.as_str(), &plain.input), ("c1", &Json::Null));
        assert_eq!((plain.timeout_ms, plain.queue, plain.progress), (30_000, true, false));
        let full = read(r#"{"id":"c1","input":[1],"timeout_ms":1,"queue":false,"progress":true}"#);
        assert_eq!((full.input, full.timeout_ms), (json!([1]), 1));
        assert_eq!((full.queue, full.progress), (false, true));
    }

    #[test]
    fn bad_invocations_are_refused_with_code_field_and_the_id_they_seem_to_have() {
        let long = format!(r#"{{"id":"c1","input":"{}"}}"#, "x".repeat(BYTES_MAX));
        let nested =
            |levels| format!(r#"{{"input":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        let (deep, deeper) = (nested(64), nested(52));
        let cases = [
            ("", "bad_request", None, json!(null)),
            ("[]", "bad_request", None, json!(null)),
            (&long, "too_large", None, json!(null)),
            (&deep, "too_large", None, json!(null)),
            (&deeper, "bad_request", Some("id"), json!(null)),
            ("{}", "bad_request", Some("id"), json!(null)),
            (r#"{"id":5}"#, "bad_request", Some("id"), json!(null)),
            (r#"{"id":""}"#, "bad_request", Some("id"), json!("")),
            (r#"{"id":"a/b"}"#, "bad_request", Some("id"), json!("a/b")),
            (r#"{"id":"c","timeout_ms":"1"}"#, "bad_request", Some("timeout_ms"), json!("c")),
            (r#"{"id":"c","timeout_ms":1.5}"#, "bad_request", Some("timeout_ms"), json!("c")),
            (r#"{"id":"c","timeout_ms":-1}"#, "bad_request", Some("timeout_ms"), json!("c")),
            (r#"{"id":"c","timeout_ms":0}"#, "invalid", Some("timeout_ms"), json!("c")),
            (r#"{"id":"c","timeout_ms":604800001}"#, "invalid", Some("timeout_ms"), json!("c")),
            (r#"{"id":"c","queue":1}"#, "bad_request", Some("queue"), json!("c")),
            (r#"{"id":"c","progress":null}"#, "bad_request", Some("progress"), json!("c")),
            (r#"{"id":"c","inputs":1}"#, "bad_request", Some("inputs"), json!("c")),
        ];
        for (text, code, field, id) in cases {
            let malformed = Invocation::parse(text.as_bytes(), BYTES_MAX).unwrap_err();
            assert_eq!(malformed.refusal.code.as_str(), code, "{text}");
            assert_eq!(malformed.refusal.field.as_deref(), field, "{text}");
            assert_eq!(malformed.id, id, "{text}");
        }
    }

    #[test]
    fn a_response_is_ok_with_output_or_failed_with_error() {
        let read = |text: &str| Response::parse(text.as_bytes(), BYTES_MAX);
        let outcome = |text: &str| read(text).unwrap().outcome;
        assert_eq!(outcome(r#"{"id":"c","status":"ok"}"#), Ok(Json::Null));
        assert_eq!(outcome(r#"{"id":"c","status":"ok","output":7}"#), Ok(json!(7)));
        assert_eq!(outcome(r#"{"id":"c","status":"failed","error":"jam"}"#), Err(json!("jam")));
        for (text, field) in [
            ("", None),
            (r#"{"status":"ok"}"#, Some("id")),
            (r#"{"id":"c"}"#, Some("status")),
            (r#"{"id":"c","status":"done"}"#, Some("status")),
            (r#"{"id":"c","status":"ok","error":1}"#, Some("error")),
            (r#"{"id":"c","status":"failed","output":1}"#, Some("output")),
        ] {
            let refusal = read(text).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::BadRequest, "{text}");
            assert_eq!(refusal.field.as_deref(), field, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_payload_panics(text in r#"\{("(id|input|status|timeout_ms)":([0-9]|"[a-z/]*"|\{\}|null)[,}]?){0,4}"#) {
            let _ = Invocation::parse(text.as_bytes(), BYTES_MAX);
            let _ = Response::parse(text.as_bytes(), BYTES_MAX);
        }
    }
}
