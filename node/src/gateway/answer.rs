//! Answers of the gateway: the envelope of the admin API, with the status of its refusal code.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use proto::admin::Reply;
use proto::{Qos, Refusal, RefusalCode};

/// How a caller may prove who it is (RFC 9110 11.6.1).
const CHALLENGES: [&str; 2] =
    [r#"Basic realm="manifold", charset="UTF-8""#, r#"Bearer realm="manifold""#];

/// When to come again after 429 or 503, in seconds.
const RETRY_AFTER: &str = "1";

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    /// JSON, or nothing.
    body: Bytes,
    /// Whether it depends on who asks, and when.
    is_for_now: bool,
}

impl Answer {
    /// A refusal, in its envelope.
    pub(super) fn refused(refusal: Refusal) -> Self {
        let status = status(refusal.code);
        let body = Reply::from_outcome(Err(refusal)).to_json().into();
        Self { status, body, is_for_now: true }
    }

    /// What the admin API has answered.
    pub(super) fn of_admin(payload: Bytes) -> Self {
        let status = match serde_json::from_slice::<Reply>(&payload) {
            Ok(Reply::Done { .. }) => StatusCode::OK,
            Ok(Reply::Refused { error, .. }) => status(error.code),
            Err(error) => return Self::refused(Refusal::internal(error)),
        };
        Self { status, body: payload, is_for_now: true }
    }

    /// A message is acknowledged (204), or, with QoS 0, on its way (202).
    pub(super) fn taken(qos: Qos) -> Self {
        let status = match qos {
            Qos::AtMostOnce => StatusCode::ACCEPTED,
            Qos::AtLeastOnce | Qos::ExactlyOnce => StatusCode::NO_CONTENT,
        };
        Self { status, body: Bytes::new(), is_for_now: true }
    }

    /// A document that is the same for everybody.
    pub(super) fn document(body: Bytes) -> Self {
        Self { status: StatusCode::OK, body, is_for_now: false }
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// As axum sends it.
    pub(super) fn into_response(self) -> Response {
        let Self { status, body, is_for_now } = self;
        let is_empty = body.is_empty();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if !is_empty {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        if is_for_now {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                for challenge in CHALLENGES {
                    let challenge = HeaderValue::from_static(challenge);
                    headers.append(header::WWW_AUTHENTICATE, challenge);
                }
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            _ => {}
        }
        response
    }
}

/// The numbers of the table are those of HTTP.
fn status(code: RefusalCode) -> StatusCode {
    StatusCode::from_u16(code.number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status() {
        for code in RefusalCode::ALL {
            let answer = Answer::refused(Refusal::new(code, "why"));
            assert_eq!(answer.status().as_u16(), code.number());
            let response = answer.into_response();
            let is_told_how = response.headers().contains_key(header::WWW_AUTHENTICATE);
            assert_eq!(is_told_how, code == RefusalCode::Unauthorized);
        }
    }

    #[test]
    fn an_answer_that_is_none_is_a_fault_of_the_platform() {
        assert_eq!(Answer::of_admin("hello".into()).status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(Answer::of_admin(r#"{"ok":true,"data":1}"#.into()).status(), StatusCode::OK);
    }
}
