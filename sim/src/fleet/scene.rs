//! What each kind of load says and hears: topics and payloads, and how an answer is told from a refusal.

use serde_json::{Value, json};

use super::options::{Kind, Plan};

/// The action that commands are of.
const ACTION: &str = "run";

/// Where the answer to a request is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// On the connection that has asked.
    Here,
    /// On another one; for who asks the PUBACK is enough.
    Elsewhere,
}

/// One connection that asks.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) client_id: String,
    /// As which thing it comes in; none: as the operator.
    pub(super) thing: Option<String>,
    pub(super) filters: Vec<String>,
    /// The topics that it publishes on, one after the other.
    pub(super) topics: Vec<String>,
    /// Whether it is done when it has published on each of them once.
    pub(super) is_once: bool,
    pub(super) scene: Scene,
    pub(super) window: usize,
    pub(super) rate: u64,
    /// Its place among those that ask, and how many there are.
    pub(super) place: (usize, usize),
}

/// A kind of load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    kind: Kind,
}

impl Scene {
    pub(super) fn of(plan: &Plan) -> Self {
        Self { kind: plan.kind }
    }

    pub(super) fn answers(self) -> Answers {
        match self.kind {
            Kind::Telemetry => Answers::Elsewhere,
            Kind::Shadow | Kind::Commands | Kind::Wake => Answers::Here,
        }
    }

    /// The connections that ask.
    pub(super) fn askers(self, plan: &Plan) -> Vec<Part> {
        match self.kind {
            Kind::Shadow | Kind::Telemetry => {
                (0..plan.things).map(|index| self.device(plan, index)).collect()
            }
            Kind::Commands | Kind::Wake => vec![self.operator(plan)],
        }
    }

    /// A thing that asks for itself.
    fn device(self, plan: &Plan, index: usize) -> Part {
        let thing = plan.thing(index);
        let (filters, rest) = match self.kind {
            Kind::Shadow => (updates(&thing), "shadow/update"),
            _ => (Vec::new(), "telemetry"),
        };
        Part {
            client_id: format!("{thing}-asks"),
            filters,
            topics: vec![format!("things/{thing}/{rest}")],
            thing: Some(thing),
            is_once: false,
            scene: self,
            window: plan.window,
            rate: plan.rate,
            place: (index, plan.things),
        }
    }

    /// One that asks all the things, one after the other.
    fn operator(self, plan: &Plan) -> Part {
        let is_once = self.kind == Kind::Wake;
        let (filters, rest) = match is_once {
            true => (updates("+"), "shadow/update".to_owned()),
            false => {
                (vec!["things/+/commands/+/result".to_owned()], format!("commands/{ACTION}/invoke"))
            }
        };
        let topic = |index| format!("things/{}/{rest}", plan.thing(index));
        Part {
            client_id: "fleet-operator".to_owned(),
            thing: None,
            filters,
            topics: (0..plan.things).map(topic).collect(),
            is_once,
            scene: self,
            window: plan.window,
            rate: plan.rate,
            place: (0, 1),
        }
    }

    /// What is asked, with the stamp that its answer brings back.
    pub(super) fn request(self, stamp: u64) -> String {
        match self.kind {
            Kind::Shadow => format!(
                r#"{{"state":{{"reported":{{"level":{}.5,"mode":"auto"}}}},"clientToken":"{stamp}"}}"#,
                stamp % 1000
            ),
            Kind::Wake => {
                format!(r#"{{"state":{{"desired":{{"mode":"auto"}}}},"clientToken":"{stamp}"}}"#)
            }
            Kind::Telemetry => format!(r#"{{"stamp":{stamp}}}"#),
            Kind::Commands => format!(r#"{{"id":"{stamp}","timeout_ms":10000}}"#),
        }
    }

    /// The stamp that an answer brings back, and whether it is what was wished for.
    pub(super) fn answer(self, payload: &[u8]) -> Option<(u64, bool)> {
        let (mark, good) = match self.kind {
            Kind::Shadow | Kind::Wake => (r#""clientToken":""#, r#""version":"#),
            Kind::Telemetry => (r#""v":"#, r#""good""#),
            Kind::Commands => (r#""id":""#, r#""succeeded""#),
        };
        let stamp = digits_after(payload, mark.as_bytes())?;
        Some((stamp, find(payload, good.as_bytes()).is_some()))
    }
}

/// The model that things have, if they are to have one.
pub(super) fn model() -> Value {
    json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1",
        "@type": "tm:ThingModel",
        "title": "Fleet",
        "properties": {
            "stamp": { "type": "integer", "minimum": 0 },
            "level": { "type": "number", "unit": "m" },
            "mode": { "type": "string" },
        },
        "actions": { ACTION: {} },
    })
}

/// What is said of updates of a shadow.
fn updates(thing: &str) -> Vec<String> {
    ["accepted", "rejected"].map(|it| format!("things/{thing}/shadow/update/{it}")).to_vec()
}

/// What a thing subscribes to for its commands.
pub(super) fn requests(thing: &str) -> String {
    format!("things/{thing}/commands/+/request")
}

/// A thing's answer to a command: topic and payload; nothing if what came is no command.
pub(super) fn response(thing: &str, request: &[u8]) -> Option<(String, String)> {
    let id = digits_after(request, br#""id":""#)?;
    let topic = format!("things/{thing}/commands/{ACTION}/response");
    Some((topic, format!(r#"{{"id":"{id}","status":"ok"}}"#)))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|it| it == part)
}

fn digits_after(bytes: &[u8], mark: &[u8]) -> Option<u64> {
    let rest = &bytes[find(bytes, mark)? + mark.len()..];
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_matched_with_its_request_and_a_refusal_is_told() {
        for (kind, answer, expected) in [
            (Kind::Shadow, r#"{"version":3,"clientToken":"17"}"#, Some((17, true))),
            (Kind::Wake, r#"{"code":404,"clientToken":"17"}"#, Some((17, false))),
            (Kind::Telemetry, r#"{"v":17,"t":1,"q":"good"}"#, Some((17, true))),
            (Kind::Telemetry, r#"{"v":"on","t":1,"q":"good"}"#, None),
            (Kind::Commands, r#"{"id":"17","status":"succeeded","t":1}"#, Some((17, true))),
            (Kind::Commands, r#"{"id":"17","status":"expired","t":1}"#, Some((17, false))),
            (Kind::Commands, "no JSON", None),
        ] {
            assert_eq!(Scene { kind }.answer(answer.as_bytes()), expected, "{answer}");
        }
        let (topic, payload) = response("p", br#"{"id":"17","input":null}"#).unwrap();
        assert_eq!(topic, "things/p/commands/run/response");
        assert_eq!(payload, r#"{"id":"17","status":"ok"}"#);
    }
}
