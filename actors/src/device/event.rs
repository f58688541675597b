//! What a device reports on `events/<event>`: checked for its shape, passed on by the broker as it
//! is.

use crate::model::Loaded;
use proto::{EventName, Refusal, RefusalCode};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

/// `{"t":…,"level":"notify|warning|error","data":{…}}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceEvent {
    #[expect(dead_code, reason = "its type is what is checked")]
    #[serde(default)]
    t: Option<u64>,
    #[expect(dead_code, reason = "its type is what is checked")]
    level: Level,
    #[serde(default, deserialize_with = "present")]
    data: Option<Json>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Notify,
    Warning,
    Error,
}

/// Refuses a payload that is no event, or not one of the model's.
pub(crate) fn check(
    payload: &[u8],
    name: &EventName,
    model: Option<&Loaded>,
) -> Result<(), Refusal> {
    let bad = |reason: String| Refusal::new(RefusalCode::BadRequest, reason);
    let event: DeviceEvent =
        serde_json::from_slice(payload).map_err(|error| bad(format!("not an event: {error}")))?;
    let data = event.data.as_ref();
    let Some(Loaded { version, model, .. }) = model else {
        return match data {
            None | Some(Json::Object(_)) => Ok(()),
            Some(_) => Err(bad("not an event: data must be an object".to_owned()).at("data")),
        };
    };
    let Some(described) = model.event(name) else {
        let message = format!("the model {version} has no event `{name}`");
        return Err(Refusal::new(RefusalCode::Invalid, message));
    };
    described.check_data(data).map_err(|violation| violation.refusal("data"))
}

/// Tells data that is null from none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_a_level_and_data() {
        let name = EventName::parse("overheat").unwrap();
        for good in
            [r#"{"level":"notify"}"#, r#"{"t":1,"level":"error","data":{"code":7,"text":"hot"}}"#]
        {
            assert_eq!(check(good.as_bytes(), &name, None), Ok(()), "{good}");
        }
        for bad in [
            "",
            "5",
            "{}",
            r#"{"level":"loud"}"#,
            r#"{"level":"notify","x":1}"#,
            r#"{"level":"notify","data":5}"#,
        ] {
            let refusal = check(bad.as_bytes(), &name, None).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::BadRequest, "{bad}");
        }
    }
}
