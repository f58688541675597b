//! `POST /ingest/<topic>`: the body as a message on that topic, in the name of the caller.
//!
//! The topic stands in the path, percent-encoded where it has to be. `qos` is 1 unless the query says 0, `retain`
//! false unless it says true. With QoS 1 the answer 204 promises what PUBACK does; with QoS 0 the answer is 202, which
//! promises nothing, and what is not permitted is not told.

use super::Read;
use crate::call::Message;
use axum::http::{Method, header};
use proto::{Qos, Refusal, RefusalCode, TopicName};

/// Reads the message; `topic` is the rest of the path as it stands.
pub(super) fn message(topic: &str, read: &Read) -> Result<Message, Refusal> {
    if read.method != Method::POST {
        let message = format!("there is no {} here, only POST", read.method);
        return Err(Refusal::new(RefusalCode::UnknownOperation, message));
    }
    let topic = super::api::unescape(topic).ok_or_else(|| bad("it is not UTF-8", "topic"))?;
    let topic = TopicName::parse(topic);
    let topic =
        topic.map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at("topic"))?;
    let (mut qos, mut retain) = (Qos::AtLeastOnce, false);
    let query = read.uri.query().unwrap_or_default();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*key, &*value) {
            ("qos", "0") => qos = Qos::AtMostOnce,
            ("qos", "1") => qos = Qos::AtLeastOnce,
            ("qos", _) => return Err(bad("it must be 0 or 1", "qos")),
            ("retain", "true") => retain = true,
            ("retain", "false") => retain = false,
            ("retain", _) => return Err(bad("it must be true or false", "retain")),
            (key, _) => return Err(bad("there is no such parameter; there are qos, retain", key)),
        }
    }
    let content_type = read.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|it| it.to_str().ok()).map(str::to_owned);
    Ok(Message { topic, payload: read.body.clone(), qos, retain, content_type })
}

fn bad(message: &str, field: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message).at(field)
}
