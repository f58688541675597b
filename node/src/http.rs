//! HTTP: `/healthz`, `/readyz` and `/metrics`, for those who watch over a node, and the [`gateway`].
//!
//! `/healthz` answers while the process runs; `/readyz` only between the end of the start and the
//! begin of the drain, while the parts of the node say that they serve. They ask for no credentials
//! and show nothing that would need them. There are `http.connections_max` connections at a time; a
//! further one is closed at once and counted. A connection carries one request and has one
//! deadline, so that a silent or slow client cannot keep its place.
//!
//! [`gateway`]: crate::gateway

use crate::config::HttpConfig;
use crate::gateway::{Counters, Gateway};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Time for the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// Time for the client to take the answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Wait after a failed accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The media type of the metrics (OpenMetrics 1.0, which Prometheus reads).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not everything is up yet.
    Starting,
    /// Everything is up.
    Ready,
    /// It ends.
    Draining,
}

/// What the handlers look at.
pub(crate) struct Vitals {
    phase: AtomicU8,
    connections_refused: AtomicU64,
    /// What the gateway has counted.
    pub(crate) gateway: Arc<Counters>,
    is_serving: Box<dyn Fn() -> bool + Send + Sync>,
    metrics: Box<dyn Fn(&Vitals) -> String + Send + Sync>,
}

impl Vitals {
    /// A node that is starting; `is_serving` asks its parts, `metrics` writes their figures.
    pub(crate) fn new(
        is_serving: impl Fn() -> bool + Send + Sync + 'static,
        metrics: impl Fn(&Self) -> String + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Starting as u8),
            connections_refused: AtomicU64::new(0),
            gateway: Arc::default(),
            is_serving: Box::new(is_serving),
            metrics: Box::new(metrics),
        })
    }

    /// Enters a phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The phase.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// HTTP connections closed at once since the start, because all places were taken.
    pub(crate) fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Ordering::Relaxed)
    }
}

/// Where a client is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From(pub(crate) SocketAddr);

/// What a listener serves.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) vitals: Arc<Vitals>,
    /// Absent where it is turned off.
    pub(crate) gateway: Option<Arc<Gateway>>,
    pub(crate) config: HttpConfig,
}

/// A running listener; dropping it closes the socket and ends its connections.
#[derive(Debug)]
pub(crate) struct HttpListener {
    task: JoinHandle<()>,
    address: SocketAddr,
}

impl HttpListener {
    /// Listens and answers until dropped.
    pub(crate) async fn bind(address: SocketAddr, pages: Pages) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        tracing::info!(listener = "http", %address, "listening");
        Ok(Self { task: tokio::spawn(serve(listener, pages)), address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, pages: Pages) {
    let router = router(&pages);
    let Pages { vitals, config, .. } = pages;
    let places = Arc::new(Semaphore::new(config.connections_max));
    let deadline = HEAD_DEADLINE + config.request_timeout() + ANSWER_DEADLINE;
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, listener = "http", "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            vitals.connections_refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let router = router.clone().layer(Extension(From(address)));
        connections.spawn(async move {
            // A client that is slow or gone is its own loss.
            let _ = tokio::time::timeout(deadline, answer(stream, router)).await;
            drop(place);
        });
    }
}

async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, listener = "http", "connection ended");
    }
}

fn router(pages: &Pages) -> Router {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(&pages.vitals));
    match &pages.gateway {
        Some(gateway) => router.merge(gateway.router()),
        None => router,
    }
}

async fn ready(State(vitals): State<Arc<Vitals>>) -> (StatusCode, &'static str) {
    match vitals.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Ready if (vitals.is_serving)() => (StatusCode::OK, "ready\n"),
        Phase::Ready => (StatusCode::SERVICE_UNAVAILABLE, "failed\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn metrics(State(vitals): State<Arc<Vitals>>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], (vitals.metrics)(&vitals)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const PLACES: usize = 16;

    async fn listener() -> (HttpListener, Arc<Vitals>) {
        let vitals = Vitals::new(|| true, |_| "metric 1\n".to_owned());
        let address = "127.0.0.1:0".parse().unwrap();
        let config = HttpConfig { connections_max: PLACES, ..HttpConfig::default() };
        let pages = Pages { vitals: Arc::clone(&vitals), gateway: None, config };
        (HttpListener::bind(address, pages).await.unwrap(), vitals)
    }

    async fn request(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_tell_the_phase() {
        let (listener, vitals) = listener().await;
        let address = listener.address();
        for (phase, status) in
            [(Phase::Starting, "503"), (Phase::Ready, "200"), (Phase::Draining, "503")]
        {
            vitals.enter(phase);
            assert_eq!(vitals.phase(), phase);
            let answer = request(address, "/readyz").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert!(request(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        }
        let answer = request(address, "/metrics").await;
        assert!(answer.contains("metric 1\n") && answer.contains("openmetrics-text"), "{answer}");
        assert!(request(address, "/nothing").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn a_node_whose_parts_have_failed_is_not_ready() {
        let vitals = Vitals::new(|| false, |_| String::new());
        vitals.enter(Phase::Ready);
        assert_eq!(ready(State(vitals)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn silent_clients_cannot_take_more_than_their_places() {
        let (listener, vitals) = listener().await;
        let mut silent = Vec::new();
        for _ in 0..PLACES {
            silent.push(TcpStream::connect(listener.address()).await.unwrap());
        }
        let mut further = TcpStream::connect(listener.address()).await.unwrap();
        assert_eq!(further.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert_eq!(vitals.connections_refused(), 1);
        drop(silent);
        while !request(listener.address(), "/healthz").await.starts_with("HTTP/1.1 200") {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn garbage_ends_its_own_connection_only() {
        let (listener, _vitals) = listener().await;
        let mut stream = TcpStream::connect(listener.address()).await.unwrap();
        stream.write_all(&[0xff; 100_000]).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(request(listener.address(), "/healthz").await.starts_with("HTTP/1.1 200"));
    }
}
