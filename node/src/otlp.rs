//! Spans to an OpenTelemetry collector: OTLP over HTTP, protobuf, without TLS.
//!
//! The SDK batches spans on a thread of its own (at most 2,048 wait; further ones are dropped) and
//! hands each batch to [`Collector`], a minimal HTTP client that runs on the node's runtime. A
//! collector that is away costs a deadline and a log line, once; the node does not notice.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

/// One export, connection included; below the SDK's interval of 5 s.
const EXPORT_DEADLINE: Duration = Duration::from_secs(3);

/// What may be sent after the node has ended.
const FINISH_DEADLINE: Duration = Duration::from_millis(500);

/// A collector answers with a few bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The running export.
#[derive(Debug)]
pub(crate) struct Otlp {
    provider: SdkTracerProvider,
}

/// Starts to export the spans that the returned layer sees to `<endpoint>/v1/traces`.
pub(crate) fn start<S>(
    endpoint: &str,
) -> Result<(OpenTelemetryLayer<S, SdkTracer>, Otlp), ExporterBuildError>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector { runtime: Handle::current(), is_away: AtomicBool::new(false) })
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(EXPORT_DEADLINE)
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("manifold").build())
        .build();
    let layer = OpenTelemetryLayer::new(provider.tracer("manifold"));
    Ok((layer, Otlp { provider }))
}

impl Otlp {
    /// Sends what is still waiting and ends the export.
    pub(crate) async fn finish(self) {
        let shutdown = move || self.provider.shutdown_with_timeout(FINISH_DEADLINE);
        // What could not be sent has been told by the collector's own log line.
        let _ = tokio::task::spawn_blocking(shutdown).await;
    }
}

/// The HTTP client of the exporter: one connection an export.
#[derive(Debug)]
struct Collector {
    runtime: Handle,
    is_away: AtomicBool,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The SDK's thread has no reactor, so the exchange runs on the node's.
        let exchange = async { tokio::time::timeout(EXPORT_DEADLINE, exchange(request)).await };
        let sent = match self.runtime.spawn(exchange).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) => Err("no answer in time".into()),
            Err(error) => Err(error.into()),
        };
        self.tell(sent.as_ref().err());
        sent
    }
}

impl Collector {
    fn tell(&self, error: Option<&HttpError>) {
        let was_away = self.is_away.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !was_away => tracing::warn!(%error, "cannot export spans"),
            None if was_away => tracing::info!("exporting spans again"),
            _ => {}
        }
    }
}

async fn exchange(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let authority = request.uri().authority().ok_or("the endpoint names no host")?.clone();
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    parts.headers.insert(header::HOST, authority.as_str().parse()?);
    parts.uri = parts.uri.path_and_query().map_or("/", |it| it.as_str()).parse()?;
    let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
    driver.abort();
    Ok(Response::from_parts(parts, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tracing_subscriber::layer::SubscriberExt as _;

    /// Takes one request whole and answers it; gives what it was.
    async fn collect(listener: TcpListener) -> Vec<u8> {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        loop {
            stream.read_buf(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request).to_lowercase();
            let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if request.len() >= head.len() + 4 + length {
                break;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        request
    }

    fn record(layer: OpenTelemetryLayer<tracing_subscriber::Registry, SdkTracer>) {
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("a_span_of_the_test", tenant = "acme").in_scope(|| {});
        });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn spans_reach_a_collector() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collected = tokio::spawn(collect(listener));
        let (layer, otlp) = start(&endpoint).unwrap();
        record(layer);
        otlp.finish().await;
        let request = collected.await.unwrap();
        let text = String::from_utf8_lossy(&request);
        assert!(text.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{text}");
        for part in ["application/x-protobuf", "a_span_of_the_test", "acme", "manifold"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_never_answers_does_not_hold_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (layer, otlp) = start(&endpoint).unwrap();
        record(layer);
        // Without a bound this waits for ever, and the test with it.
        otlp.finish().await;
    }
}
