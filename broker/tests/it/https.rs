//! Key sets and hooks behind HTTPS: only a service whose certificate can be trusted is believed.

use crate::authority::Authority;
use crate::key_sets::{comes_in, enter, key, key_set, token};
use crate::wire::{Bench, Client, connect, until};
use broker::{AuthConfig, BrokerConfig, HookConfig, JwtConfig};
use rmqtt_codec::v5::ConnectAckReason;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A web server with the server's certificate of an authority, which gives every request the same answer.
struct Service {
    port: u16,
    dialled: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Service {
    async fn start(authority: &Authority, body: String) -> Self {
        let read = |name: &str| std::fs::read(authority.path(name)).unwrap();
        let chain = CertificateDer::from_pem_slice(&read("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        // Whatever the name of this machine stands for here is what the broker will try.
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = Self { port, dialled: Arc::default(), answered: Arc::default() };
        let (dialled, answered) = (Arc::clone(&service.dialled), Arc::clone(&service.answered));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                dialled.fetch_add(1, Ordering::SeqCst);
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                if !matches!(stream.read(&mut [0; 4096]).await, Ok(count) if count > 0) {
                    continue;
                }
                answered.fetch_add(1, Ordering::SeqCst);
                let head = format!("HTTP/1.1 200 x\r\nContent-Length: {}\r\n", body.len());
                let answer = format!("{head}Connection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        service
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/it", self.port)
    }

    fn dialled(&self) -> usize {
        self.dialled.load(Ordering::SeqCst)
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

async fn bench(auth: AuthConfig) -> Bench {
    Bench::start_as(BrokerConfig { auth, ..BrokerConfig::default() }).await
}

/// The address by which the service can be reached, for which its certificate is not.
async fn address_of_localhost() -> String {
    let found = tokio::net::lookup_host("localhost:1").await.unwrap().next().unwrap();
    match found {
        std::net::SocketAddr::V4(it) => it.ip().to_string(),
        std::net::SocketAddr::V6(it) => format!("[{}]", it.ip()),
    }
}

#[tokio::test]
async fn keys_are_taken_from_whom_the_right_authority_vouches_for() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let signer = key(1);
    let service = Service::start(&right, key_set("a", &signer)).await;
    let by_number = address_of_localhost().await;
    for (host, authority, is_trusted) in [
        ("localhost", &right, true),
        ("localhost", &wrong, false),
        (by_number.as_str(), &right, false),
    ] {
        let (dialled, answered) = (service.dialled(), service.answered());
        let ca_file: Option<PathBuf> = Some(authority.path("ca.crt"));
        let jwks_url = Some(service.url(host));
        let jwt = vec![JwtConfig { jwks_url, ca_file, ..JwtConfig::default() }];
        let bench = bench(AuthConfig { jwt, ..AuthConfig::default() }).await;
        if is_trusted {
            comes_in(&bench, &token("a", &signer)).await;
            continue;
        }
        until(|| service.dialled() > dialled).await;
        let reason = enter(&bench, &token("a", &signer)).await;
        assert_eq!(reason, ConnectAckReason::NotAuthorized, "{host}");
        assert_eq!(service.answered(), answered, "{host} is not even asked");
    }
}

#[tokio::test]
async fn a_hook_is_told_passwords_only_if_the_right_authority_vouches_for_it() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let allow = r#"{"result":"allow","role":"app"}"#.to_owned();
    let service = Service::start(&right, allow).await;
    let by_number = address_of_localhost().await;
    for (host, authority, expected) in [
        ("localhost", &right, ConnectAckReason::Success),
        ("localhost", &wrong, ConnectAckReason::ServerUnavailable),
        (by_number.as_str(), &right, ConnectAckReason::ServerUnavailable),
    ] {
        let answered = service.answered();
        let ca_file = Some(authority.path("ca.crt"));
        let hook = HookConfig { url: service.url(host), ca_file, ..HookConfig::default() };
        let bench = bench(AuthConfig { http: Some(hook), ..AuthConfig::default() }).await;
        let (_, ack) = Client::connect(bench.address, connect("c7", "robot")).await;
        assert_eq!(ack.reason_code, expected, "{host}");
        let is_asked = expected == ConnectAckReason::Success;
        assert_eq!(service.answered() - answered, usize::from(is_asked), "{host}");
        assert_eq!(bench.broker.figures().hook_failures, u64::from(!is_asked));
    }
}
