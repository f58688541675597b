//! What a device reports on `events/<event>`: checked for its shape, passed on by the broker as it
//! is.

use proto::{Refusal, RefusalCode};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// `{"t":…,"level":"notify|warning|error","data":{…}}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceEvent {
    #[expect(dead_code, reason = "its type is what is checked")]
    #[serde(default)]
    t: Option<u64>,
    #[expect(dead_code, reason = "its type is what is checked")]
    level: Level,
    #[expect(dead_code, reason = "its type is what is checked")]
    #[serde(default)]
    data: Map<String, Json>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Notify,
    Warning,
    Error,
}

/// Refuses a payload that is no event.
pub(crate) fn check(payload: &[u8]) -> Result<(), Refusal> {
    match serde_json::from_slice::<DeviceEvent>(payload) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refusal::new(RefusalCode::BadRequest, format!("not an event: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_a_level_and_data() {
        for good in
            [r#"{"level":"notify"}"#, r#"{"t":1,"level":"error","data":{"code":7,"text":"hot"}}"#]
        {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "5",
            "{}",
            r#"{"level":"loud"}"#,
            r#"{"level":"notify","x":1}"#,
            r#"{"level":"notify","data":5}"#,
        ] {
            assert_eq!(check(bad.as_bytes()).unwrap_err().code, RefusalCode::BadRequest, "{bad}");
        }
    }
}
