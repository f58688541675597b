//! The HTTP gateway: `/api/<resource>/<verb>` and `/ingest/<topic>`, for those who speak HTTP and not MQTT.
//!
//! It has no door of its own. Each request becomes a client of the broker, on a stream within the process, with the
//! credentials of the request and the address of who sent it; authentication, lock-out, permissions, quotas and audit
//! are those of any other client (decision 0017). So it can do nothing that its caller could not do over MQTT.
//!
//! - [`credentials`]: what a request shows of its caller; [`api`], [`ingest`]: the two ways in
//! - [`visit`]: the client that asks in the caller's name; [`answer`]: refusals and statuses
//! - [`openapi`]: the document; [`counters`]: figures

mod answer;
mod api;
mod counters;
mod credentials;
mod ingest;
mod openapi;
mod visit;

pub(crate) use counters::Counters;

use crate::config::HttpConfig;
use crate::http::From;
use answer::Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Extension, Router};
use broker::Broker;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use proto::{Refusal, RefusalCode};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;
use visit::Visit;

/// What all requests share.
pub(crate) struct Gateway {
    broker: Broker,
    config: HttpConfig,
    places: Semaphore,
    counters: Arc<Counters>,
    /// Made once: the catalogue is part of the executable.
    /// Made when it is first asked for: it is large, and most nodes are never asked.
    openapi: OnceLock<Bytes>,
}

/// A request, read to its end.
struct Read {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Gateway {
    /// A gateway to a broker.
    pub(crate) fn new(broker: &Broker, config: &HttpConfig, counters: &Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            broker: broker.clone(),
            config: config.clone(),
            places: Semaphore::new(config.requests_max),
            counters: Arc::clone(counters),
            openapi: OnceLock::new(),
        })
    }

    /// Its routes.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/api/openapi.json", get(document))
            .route("/api/{resource}/{verb}", any(serve))
            .route("/ingest/{*topic}", any(serve))
            .with_state(Arc::clone(self))
    }

    /// Answers a request within its time.
    async fn answer(&self, request: Request, from: From) -> Answer {
        if is_foreign(request.headers()) {
            let message = "a page of another origin may not ask";
            return Answer::refused(Refusal::new(RefusalCode::Forbidden, message));
        }
        let Ok(_place) = self.places.try_acquire() else {
            self.counters.crowd();
            let message = "too many requests are under way";
            return Answer::refused(Refusal::new(RefusalCode::Unavailable, message));
        };
        let _in_flight = self.counters.enter();
        let answering = Box::pin(self.carry_out(request, from));
        match tokio::time::timeout(self.config.request_timeout(), answering).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(refusal)) => Answer::refused(refusal),
            Err(_) => {
                self.counters.time_out();
                // It may be done all the same: with an idempotency key it is safe to ask again.
                Answer::refused(Refusal::new(RefusalCode::TimedOut, "no answer in time"))
            }
        }
    }

    async fn carry_out(&self, request: Request, from: From) -> Result<Answer, Refusal> {
        // Before the body, which may be long.
        let login = credentials::read(request.headers())?;
        let read = self.read(request).await?;
        let visit = Visit { broker: &self.broker, from, login };
        match read.uri.path().strip_prefix("/ingest/") {
            Some(topic) => {
                let message = ingest::message(topic, &read)?;
                visit.hand_in(&message).await?;
                Ok(Answer::taken(message.qos))
            }
            None => {
                let request = api::request(&read)?;
                visit.ask(&request).await.map(Answer::of_admin)
            }
        }
    }

    async fn read(&self, request: Request) -> Result<Read, Refusal> {
        let (head, body) = request.into_parts();
        let body = collect(body, self.config.body_bytes_max).await?;
        Ok(Read { method: head.method, uri: head.uri, headers: head.headers, body })
    }
}

async fn serve(
    State(gateway): State<Arc<Gateway>>,
    Extension(from): Extension<From>,
    request: Request,
) -> Response {
    let answer = gateway.answer(request, from).await;
    gateway.counters.answer(answer.status());
    answer.into_response()
}

/// The document needs no credentials: it says what every executable of this version can do.
async fn document(State(gateway): State<Arc<Gateway>>) -> Response {
    let document = gateway.openapi.get_or_init(|| openapi::document().into());
    Answer::document(document.clone()).into_response()
}

async fn collect(body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the body is longer than {bytes_max} bytes");
            Err(Refusal::new(RefusalCode::TooLarge, message))
        }
        Err(_) => Err(Refusal::new(RefusalCode::BadRequest, "the body is not whole")),
    }
}

/// Whether a browser sends it for a page that this node did not serve. Whoever is no browser names no origin.
fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let origin = origin.to_str().ok().and_then(|it| it.split_once("://")).map(|it| it.1);
    origin.is_none() || origin != host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_node_may_ask_from_a_browser() {
        let foreign = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap())
            });
            is_foreign(&headers.collect())
        };
        assert!(!foreign(&[("host", "hub:8080")]));
        assert!(!foreign(&[("host", "hub:8080"), ("origin", "http://hub:8080")]));
        assert!(!foreign(&[("host", "hub"), ("origin", "https://hub")]));
        assert!(foreign(&[("host", "hub:8080"), ("origin", "http://evil.example")]));
        assert!(foreign(&[("host", "hub:8080"), ("origin", "http://hub:9090")]));
        assert!(foreign(&[("host", "hub"), ("origin", "null")]));
        assert!(foreign(&[("origin", "http://hub")]));
    }
}
