//! A small HTTP/1.1 client for the services that say who clients are: key sets and hooks.
//!
//! One URL for each [`Fetcher`]. An answer is bounded in bytes and in time; whatever is not a 200 is an error.
//! Connections that have answered are kept for the next request.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Connections kept for the next request.
const IDLE_MAX: usize = 32;

/// The longest answer that is taken unless [`Fetcher::taking`] says otherwise.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why a URL gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// It is no URL of this kind.
    #[error("`{0}` is not a URL such as https://host/path")]
    Url(String),
    /// The certificate authorities that are to be trusted cannot be had.
    #[error("the certificate authorities of {0} cannot be read: {1}")]
    Authorities(String, String),
    /// It could not be reached, or broke off.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It did not speak HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// It answered something else than 200.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The answer is too long or broke off.
    #[error("the answer is cut short or longer than {0} bytes")]
    Answer(usize),
    /// It took too long.
    #[error("it did not answer in time")]
    TimedOut,
}

/// See the module.
pub(crate) struct Fetcher {
    url: String,
    host: String,
    port: u16,
    /// Path and query.
    target: String,
    tls: Option<(tokio_rustls::TlsConnector, ServerName<'static>)>,
    bearer: Option<String>,
    timeout: Duration,
    bytes_max: usize,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Fetcher {
    /// For one URL. With `ca_file` only the authorities in it are trusted, else those of the system.
    pub(crate) fn new(
        url: &str,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, FetchError> {
        let no_url = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| no_url())?;
        let host = uri.host().ok_or_else(no_url)?.trim_matches(['[', ']']).to_owned();
        let (tls, default_port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| no_url())?;
                (Some((connector(url, ca_file)?, name)), 443)
            }
            _ => return Err(no_url()),
        };
        Ok(Self {
            url: url.to_owned(),
            port: uri.port_u16().unwrap_or(default_port),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            host,
            tls,
            bearer: None,
            timeout,
            bytes_max: ANSWER_BYTES_MAX,
            idle: Mutex::default(),
        })
    }

    /// Takes answers of up to so many bytes.
    pub(crate) fn taking(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// Sends `Authorization: Bearer …` with each request.
    pub(crate) fn bearing(self, bearer: Option<String>) -> Self {
        Self { bearer, ..self }
    }

    /// The URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// GET.
    pub(crate) async fn get(&self) -> Result<Bytes, FetchError> {
        self.ask(Method::GET, Bytes::new()).await
    }

    /// POST of a JSON body.
    pub(crate) async fn post(&self, body: Bytes) -> Result<Bytes, FetchError> {
        self.ask(Method::POST, body).await
    }

    async fn ask(&self, method: Method, body: Bytes) -> Result<Bytes, FetchError> {
        let asked = tokio::time::timeout(self.timeout, self.exchange(method, body)).await;
        asked.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn exchange(&self, method: Method, body: Bytes) -> Result<Bytes, FetchError> {
        let kept = self.idle.lock().pop();
        if let Some(mut connection) = kept
            && connection.ready().await.is_ok()
        {
            // It may have been closed at this very moment: then a new one is tried.
            match self.send(connection, method.clone(), body.clone()).await {
                Err(FetchError::Http(_)) => {}
                outcome => return outcome,
            }
        }
        let connection = self.connect().await?;
        self.send(connection, method, body).await
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, FetchError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whoever waits for the answer is told of its end.
            let _ = connection.await;
        });
        Ok(sender)
    }

    async fn send(
        &self,
        mut connection: SendRequest<Full<Bytes>>,
        method: Method,
        body: Bytes,
    ) -> Result<Bytes, FetchError> {
        let bracketed =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let mut request = Request::builder()
            .method(method)
            .uri(self.target.as_str())
            .header(header::HOST, format!("{bracketed}:{}", self.port))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let no_url = |_| FetchError::Url(self.url.clone());
        let request = request.body(Full::new(body)).map_err(no_url)?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.bytes_max).collect().await;
        let body = body.map_err(|_| FetchError::Answer(self.bytes_max))?.to_bytes();
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        drop(idle);
        match status {
            StatusCode::OK => Ok(body),
            other => Err(FetchError::Status(other)),
        }
    }
}

fn connector(url: &str, ca_file: Option<&Path>) -> Result<tokio_rustls::TlsConnector, FetchError> {
    let fail =
        |what: &dyn std::fmt::Display| FetchError::Authorities(url.to_owned(), what.to_string());
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| fail(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| fail(&error))?;
                roots.add(certificate).map_err(|error| fail(&error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(fail(&"there is none"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)))
}
