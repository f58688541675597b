//! Listeners: Unix sockets, the PROXY protocol, and what a listener of its own may be limited to.

use crate::wire::{Bench, Client, connect, namespace, other_namespace, until};
use broker::{ListenerConfig, ListenerKind, PeerAddress};
use rmqtt_codec::v5::ConnectAckReason;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// A listener with something special.
async fn listen(bench: &Bench, change: impl FnOnce(&mut ListenerConfig)) -> SocketAddr {
    let mut listener = ListenerConfig::tcp("special", ListenerKind::Mqtt, LOOPBACK.into());
    change(&mut listener);
    bench.broker.listen(listener).await.unwrap().address().unwrap()
}

fn is_closed(count: std::io::Result<usize>) -> bool {
    matches!(count, Ok(0) | Err(_))
}

#[tokio::test]
async fn an_ipv6_socket_takes_clients_of_both_families() {
    let bench = Bench::start().await;
    let any = "[::]:0".parse().unwrap();
    let listener = ListenerConfig::tcp("both", ListenerKind::Mqtt, any);
    let port = bench.broker.listen(listener).await.unwrap().address().unwrap().port();
    let (_four, _) = Client::connect(([127, 0, 0, 1], port).into(), connect("4", "admin")).await;
    let six: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    let (_six, _) = Client::connect(six, connect("6", "admin")).await;
    let found = bench.broker.connections(&namespace());
    let families: Vec<bool> =
        found.iter().map(|it| it.address.unwrap().ip().unwrap().is_ipv4()).collect();
    assert_eq!(families, [true, false]);
}

/// A PROXY header of version 2 for a client at 203.0.113.7:8080.
fn header(command: u8) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, 0x11, 0, 12, 203, 0, 113, 7, 10, 0, 0, 1, 0x1F, 0x90, 7, 0x5B]);
    bytes
}

async fn proxied(address: SocketAddr, header: &[u8], client_id: &str) -> Option<Client> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(header).await.unwrap();
    let entered = Client::try_on(Box::new(stream), connect(client_id, "admin")).await;
    entered.map(|(client, _)| client)
}

#[tokio::test]
async fn a_trusted_proxy_gives_the_address_of_its_client() {
    let bench = Bench::start().await;
    let trust = |networks: &'static [&str]| {
        move |it: &mut ListenerConfig| {
            it.proxies = networks.iter().map(|text| text.parse().unwrap()).collect();
        }
    };
    let address = listen(&bench, trust(&["192.0.2.0/24", "127.0.0.1"])).await;
    let version_1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 1883\r\n";
    let _first = proxied(address, version_1, "v1").await.unwrap();
    let _second = proxied(address, &header(1), "v2").await.unwrap();
    let _local = proxied(address, &header(0), "local").await.unwrap();
    for info in bench.broker.connections(&namespace()) {
        let is_local = info.client_id.as_str() == "local";
        let client = PeerAddress::Ip("203.0.113.7:8080".parse().unwrap());
        assert_eq!(info.address == Some(client), !is_local, "{info:?}");
        assert_eq!(info.proxy.is_some(), !is_local, "{info:?}");
    }
    let figures = || bench.broker.figures();
    assert!(proxied(address, b"", "none").await.is_none());
    assert!(proxied(address, b"PROXY TCP4 nonsense\r\n", "wrong").await.is_none());
    until(|| figures().proxy_header_errors == 2).await;
    let address = listen(&bench, trust(&["192.0.2.0/24"])).await;
    assert!(proxied(address, &header(1), "stranger").await.is_none());
    until(|| figures().proxy_header_errors == 3).await;
}

#[tokio::test]
async fn a_listener_has_limits_of_its_own() {
    let bench = Bench::start().await;
    let address = listen(&bench, |it| it.connections_max = 2).await;
    let first = Client::connect(address, connect("1", "admin")).await;
    let _second = Client::connect(address, connect("2", "admin")).await;
    assert!(Client::try_connect(address, connect("3", "admin")).await.is_none());
    assert!(Client::try_connect(bench.address, connect("3", "admin")).await.is_some());
    drop(first);
    until(|| bench.broker.figures().connections == 1).await;
    assert!(Client::try_connect(address, connect("3", "admin")).await.is_some());

    let address = listen(&bench, |it| it.connects_per_sec_max = 3).await;
    let mut welcomed = 0;
    for number in 0..20 {
        let hello = connect(&format!("rate-{number}"), "admin");
        welcomed += usize::from(Client::try_connect(address, hello).await.is_some());
    }
    let refused = bench.broker.figures().connections_over_rate;
    // However slow this machine is, a second gives three more at most, and the first three come in.
    assert!(welcomed >= 3 && welcomed as u64 + refused == 20, "{welcomed} {refused}");
}

#[tokio::test]
async fn a_listener_may_be_for_one_namespace() {
    let bench = Bench::start().await;
    let address = listen(&bench, |it| it.namespace = Some(other_namespace())).await;
    let cases = [
        ("admin", ConnectAckReason::Success),
        ("acme/berlin/admin", ConnectAckReason::Success),
        ("default/default/admin", ConnectAckReason::NotAuthorized),
    ];
    for (user, expected) in cases {
        let (_client, ack) = Client::connect(address, connect("c", user)).await;
        assert_eq!(ack.reason_code, expected, "{user}");
    }
    let (_client, _) = Client::connect(address, connect("here", "pump7")).await;
    assert_eq!(bench.broker.connections(&namespace()).len(), 0);
    until(|| bench.broker.connections(&other_namespace()).len() == 1).await;
}

#[cfg(unix)]
mod unix {
    use super::*;
    use broker::{Endpoint, ListenError};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use tokio::net::UnixStream;

    fn at(path: &Path) -> ListenerConfig {
        let endpoint = Endpoint::Unix { path: path.to_owned(), mode: 0o640 };
        ListenerConfig::new("unix", ListenerKind::Mqtt, endpoint)
    }

    #[tokio::test]
    async fn a_unix_socket_is_a_listener() {
        let bench = Bench::start().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // What a crash leaves behind: a socket on which nobody listens.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        bench.broker.listen(at(&path)).await.unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        let stream = UnixStream::connect(&path).await.unwrap();
        let entered = Client::try_on(Box::new(stream), connect("local", "admin")).await;
        let (mut client, _) = entered.unwrap();
        client.subscribe("a", rmqtt_codec::types::QoS::AtMostOnce).await;
        client.publish("a", "b").await;
        assert_eq!(client.expect_payload().await, "b");
        let own = i32::try_from(std::process::id()).unwrap();
        let found = bench.broker.connections(&namespace());
        assert_eq!(found[0].address, Some(PeerAddress::Local(Some(own))));

        let taken = bench.broker.listen(at(&path)).await;
        assert!(matches!(taken, Err(ListenError::SocketInUse(_))), "{taken:?}");
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        let wrong = bench.broker.listen(at(&file)).await;
        assert!(matches!(wrong, Err(ListenError::NotASocket(_))), "{wrong:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");

        bench.broker.stop_accepting();
        until(|| !path.exists()).await;
    }
}

#[tokio::test]
async fn a_proxy_that_stops_in_its_header_is_ended() {
    let limits = broker::Limits { connect_timeout_ms: 200, ..broker::Limits::default() };
    let bench = Bench::start_with(limits).await;
    let address = listen(&bench, |it| it.proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&header(1)[..20]).await.unwrap();
    assert!(is_closed(stream.read(&mut [0]).await));
    until(|| bench.broker.figures().handshakes_timed_out == 1).await;
}
