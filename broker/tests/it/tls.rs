//! TLS: versions, certificates of clients as a requirement and as a name, files that change.

use crate::authority::{Authority, Issued};
use crate::wire::{Bench, Client, connect, until};
use broker::{
    ClientAuth, ClientName, ConnectionInfo, Limits, ListenerConfig, ListenerKind, ReloadOutcome,
    Tls, Tls12, TlsConfig,
};
use proto::{Clock, Identity, ThingId, TimestampMs};
use rcgen::date_time_ymd;
use rmqtt_codec::v5::{self, ConnectAckReason, DisconnectReasonCode};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

fn files(authority: &Authority) -> TlsConfig {
    TlsConfig {
        reload_period: Duration::from_millis(20),
        ..TlsConfig::new(authority.path("server.crt"), authority.path("server.key"))
    }
}

fn mutual(authority: &Authority, client_auth: ClientAuth) -> TlsConfig {
    TlsConfig { client_ca: Some(authority.path("ca.crt")), client_auth, ..files(authority) }
}

/// A TLS listener of the broker.
async fn listen(bench: &Bench, config: TlsConfig, client_name: ClientName) -> SocketAddr {
    let mut listener = ListenerConfig::tcp("mqtts", ListenerKind::Mqtt, ([127, 0, 0, 1], 0).into());
    listener.tls = Some(Tls::load(config, TimestampMs(0)).unwrap());
    listener.client_name = client_name;
    bench.broker.listen(listener).await.unwrap().address().unwrap()
}

/// A client over TLS, welcomed or refused; `None` if TLS is.
async fn enter(
    authority: &Authority,
    address: SocketAddr,
    certificate: Option<&Issued>,
    connect: v5::Connect,
) -> Option<(Client, v5::ConnectAck)> {
    let stream = authority.dial(address, certificate).await.ok()?;
    Client::try_on(Box::new(stream), connect).await
}

fn nameless(client_id: &str) -> v5::Connect {
    v5::Connect { username: None, password: None, ..connect(client_id, "") }
}

fn shown(bench: &Bench, client_id: &str) -> ConnectionInfo {
    let all = bench.broker.connections(&crate::wire::namespace());
    all.into_iter().find(|it| it.client_id.as_str() == client_id).unwrap()
}

#[tokio::test]
async fn both_versions_are_spoken_and_shown() {
    let (bench, authority) = (Bench::start().await, Authority::new());
    let address = listen(&bench, files(&authority), ClientName::None).await;
    let versions = [("TLSv1.3", &rustls::version::TLS13), ("TLSv1.2", &rustls::version::TLS12)];
    for (name, version) in versions {
        let stream = authority.dial_as(address, None, &[version]).await.unwrap();
        let entered = Client::try_on(Box::new(stream), connect(name, "admin")).await;
        let (mut client, ack) = entered.unwrap();
        assert_eq!(ack.reason_code, ConnectAckReason::Success);
        client.subscribe("a/#", rmqtt_codec::types::QoS::AtLeastOnce).await;
        // Longer than a TLS record.
        let payload = "x".repeat(200_000);
        client.publish("a/b", payload.clone()).await;
        assert_eq!(client.expect_payload().await, payload);
        let info = shown(&bench, name);
        assert_eq!(info.listener.as_deref(), Some("mqtts"));
        let tls = info.tls.unwrap();
        assert_eq!((tls.version.as_deref(), tls.certificate), (Some(name), None));
        assert!(tls.cipher.unwrap().contains("AES"));
        client.leave().await;
    }
    let only_13 = TlsConfig { tls12: Tls12::Refused, ..files(&authority) };
    let address = listen(&bench, only_13, ClientName::None).await;
    assert!(authority.dial_as(address, None, &[&rustls::version::TLS12]).await.is_err());
    assert!(authority.dial(address, None).await.is_ok());
}

#[tokio::test]
async fn what_is_no_tls_ends_alone() {
    let (bench, authority) = (Bench::start().await, Authority::new());
    let address = listen(&bench, files(&authority), ClientName::None).await;
    let (mut good, _) = enter(&authority, address, None, connect("good", "admin")).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x0A\x00\x01a").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert_ne!(answer.first(), Some(&0x20), "it is closed without a CONNACK");
    until(|| bench.broker.figures().tls_handshake_errors == 1).await;
    good.subscribe("a", rmqtt_codec::types::QoS::AtMostOnce).await;
    good.publish("a", "still here").await;
    assert_eq!(good.expect_payload().await, "still here");
}

#[tokio::test]
async fn a_required_certificate_must_be_good() {
    let (bench, authority, other) = (Bench::start().await, Authority::new(), Authority::new());
    authority.revoke("ca.crl", true);
    let lists = vec![authority.path("ca.crl")];
    for (client_auth, lets_nobody_in) in
        [(ClientAuth::Required, false), (ClientAuth::Optional, true)]
    {
        let config =
            TlsConfig { revocation_lists: lists.clone(), ..mutual(&authority, client_auth) };
        let address = listen(&bench, config, ClientName::None).await;
        let expired = authority.client_with("pump7", |it| it.not_after = date_time_ymd(2026, 1, 1));
        let early = authority.client_with("pump7", |it| it.not_before = date_time_ymd(2090, 1, 1));
        let cases = [
            ("good", Some(authority.client("pump7")), true),
            ("none", None, lets_nobody_in),
            ("of another authority", Some(other.client("pump7")), false),
            ("revoked", Some(authority.revoked("pump7")), false),
            ("expired", Some(expired), false),
            ("not yet valid", Some(early), false),
        ];
        for (case, certificate, expected) in cases {
            let hello = connect("client", "app");
            let entered = enter(&authority, address, certificate.as_ref(), hello).await;
            assert_eq!(entered.is_some(), expected, "{client_auth:?}: {case}");
        }
    }
}

#[tokio::test]
async fn an_outdated_revocation_list_lets_nobody_in() {
    let (bench, authority) = (Bench::start().await, Authority::new());
    authority.write_outdated_list("ca.crl");
    let config = TlsConfig {
        revocation_lists: vec![authority.path("ca.crl")],
        ..mutual(&authority, ClientAuth::Required)
    };
    let address = listen(&bench, config, ClientName::None).await;
    let certificate = authority.client("pump7");
    let hello = || connect("c", "pump7");
    assert!(enter(&authority, address, Some(&certificate), hello()).await.is_none());
    authority.revoke("ca.crl", false);
    until(|| bench.broker.figures().tls_reloads == 1).await;
    assert!(enter(&authority, address, Some(&certificate), hello()).await.is_some());
}

#[tokio::test]
async fn a_certificate_is_a_name() {
    let (bench, authority) = (Bench::start().await, Authority::new());
    let config = mutual(&authority, ClientAuth::Optional);
    let address = listen(&bench, config, ClientName::CommonName).await;
    let welcome = ConnectAckReason::Success;
    let refused = ConnectAckReason::BadUserNameOrPassword;
    let pump = Some(authority.client("pump7"));
    let without_secret = |user: &str| v5::Connect { password: None, ..connect("c", user) };
    let cases = [
        ("no name", pump.clone(), nameless("c"), welcome),
        ("its own name", pump.clone(), without_secret("pump7"), welcome),
        ("its name in full", pump.clone(), without_secret("default/default/pump7"), welcome),
        ("another's name", pump.clone(), without_secret("pump8"), refused),
        ("another's name and secret", pump, connect("c", "pump8"), refused),
        ("in full", Some(authority.client("acme/berlin/pump8")), nameless("c"), welcome),
        ("unknown", Some(authority.client("pump9")), nameless("c"), refused),
        ("no user name at all", Some(authority.client("a b")), nameless("c"), refused),
        ("an operator's", Some(authority.client("system/system/admin")), nameless("c"), refused),
        ("no certificate, no secret", None, without_secret("pump7"), refused),
        ("no certificate but a secret", None, connect("c", "pump7"), welcome),
    ];
    for (case, certificate, hello, expected) in cases {
        let (_, ack) = enter(&authority, address, certificate.as_ref(), hello).await.unwrap();
        assert_eq!(ack.reason_code, expected, "{case}");
    }
    let pump = authority.client("pump7");
    let (_client, _) = enter(&authority, address, Some(&pump), nameless("seen")).await.unwrap();
    let info = shown(&bench, "seen");
    assert_eq!(info.identity, Identity::Thing(ThingId::parse("pump7").unwrap()));
    let certificate = info.tls.unwrap().certificate.unwrap();
    assert!(certificate.subject.contains("CN=pump7"), "{certificate:?}");
    assert_eq!(certificate.fingerprint.len(), 64);
}

#[tokio::test]
async fn alternative_names_are_names_too() {
    let (bench, authority) = (Bench::start().await, Authority::new());
    let dns = authority.client_with("x", |it| {
        it.subject_alt_names = vec![rcgen::SanType::DnsName("pump7".try_into().unwrap())];
    });
    let uri = authority.client_with("x", |it| {
        let uris = ["urn:other", "manifold:acme/berlin/pump8"];
        it.subject_alt_names =
            uris.map(|uri| rcgen::SanType::URI(uri.try_into().unwrap())).to_vec();
    });
    for (name, certificate) in [(ClientName::Dns, dns), (ClientName::Uri, uri)] {
        let address = listen(&bench, mutual(&authority, ClientAuth::Required), name).await;
        let entered = enter(&authority, address, Some(&certificate), nameless("c")).await;
        assert_eq!(entered.unwrap().1.reason_code, ConnectAckReason::Success, "{name:?}");
        let without = authority.client("pump7");
        let entered = enter(&authority, address, Some(&without), nameless("c")).await;
        let refused = ConnectAckReason::BadUserNameOrPassword;
        assert_eq!(entered.unwrap().1.reason_code, refused, "{name:?}");
    }
}

#[tokio::test]
async fn changed_files_come_into_force_and_broken_ones_do_not() {
    let (bench, authority) = (Bench::start().await, Authority::new());
    authority.revoke("ca.crl", false);
    let config = TlsConfig {
        revocation_lists: vec![authority.path("ca.crl")],
        ..mutual(&authority, ClientAuth::Required)
    };
    let address = listen(&bench, config, ClientName::None).await;
    let certificate = authority.revoked("pump7");
    let hello = || connect("before", "admin");
    let entered = enter(&authority, address, Some(&certificate), hello()).await;
    let (mut before, _) = entered.expect("it is not revoked yet");
    let figures = || bench.broker.figures();

    authority.write("server.crt", "broken");
    until(|| figures().tls_reload_errors == 1).await;
    assert!(authority.dial(address, Some(&certificate)).await.is_ok(), "the old one is served");
    let renewed = authority.renew_server();
    until(|| figures().tls_reloads >= 1).await;
    let der = |issued: &Issued| {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
    };
    let stream = authority.dial(address, Some(&certificate)).await.unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], der(&renewed));

    let reloads = figures().tls_reloads;
    authority.revoke("ca.crl", true);
    until(|| figures().tls_reloads > reloads).await;
    assert!(
        enter(&authority, address, Some(&certificate), connect("late", "admin")).await.is_none()
    );
    before.subscribe("a", rmqtt_codec::types::QoS::AtMostOnce).await;
    before.publish("a", "still here").await;
    assert_eq!(before.expect_payload().await, "still here");
}

#[tokio::test]
async fn a_session_ends_with_its_certificate() {
    let (bench, authority) = (Bench::start().await, Authority::new());
    let config =
        TlsConfig { ends_with_certificate: true, ..mutual(&authority, ClientAuth::Required) };
    let address = listen(&bench, config, ClientName::None).await;
    // 2090-01-01, which the broker's clock of the test is about to reach.
    let end_ms = 3_786_912_000_000;
    let certificate = authority.client_with("pump7", |it| it.not_after = date_time_ymd(2090, 1, 1));
    let left = Duration::from_millis(end_ms - 300 - bench.outside.now().0);
    bench.outside.advance(left);
    let hello = connect("c", "pump7");
    let (mut client, _) = enter(&authority, address, Some(&certificate), hello).await.unwrap();
    assert_eq!(client.expect_end().await, DisconnectReasonCode::MaximumConnectTime);
}

#[tokio::test]
async fn many_who_say_nothing_do_not_keep_others_out() {
    let limits = Limits { handshakes_max: 60, handshakes_per_address_max: 20, ..Limits::default() };
    let (bench, authority) = (Bench::start_with(limits).await, Authority::new());
    let address = listen(&bench, files(&authority), ClientName::None).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    until(|| bench.broker.figures().handshakes_refused == 20).await;
    assert_eq!(bench.broker.figures().handshakes, 20);
    // From elsewhere everything is as ever.
    for number in 0..30 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let stream = authority.secure(stream, None, rustls::ALL_VERSIONS).await.unwrap();
        let name = format!("good-{number}");
        let entered = Client::try_on(Box::new(stream), connect(&name, "admin")).await;
        assert_eq!(entered.unwrap().1.reason_code, ConnectAckReason::Success);
    }
    // The places are free again when their holders leave.
    drop(silent);
    until(|| bench.broker.figures().handshakes == 0).await;
    assert!(enter(&authority, address, None, connect("again", "admin")).await.is_some());
}

#[tokio::test]
async fn a_handshake_that_is_never_done_is_ended() {
    let limits = Limits { connect_timeout_ms: 200, ..Limits::default() };
    let (bench, authority) = (Bench::start_with(limits).await, Authority::new());
    let address = listen(&bench, files(&authority), ClientName::None).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    // TLS is done, CONNECT never comes.
    let mut dumb = authority.dial(address, None).await.unwrap();
    let mut byte = [0];
    assert_eq!(silent.read(&mut byte).await.unwrap(), 0);
    assert!(matches!(dumb.read(&mut byte).await, Ok(0) | Err(_)));
    until(|| bench.broker.figures().handshakes_timed_out == 2).await;
}

#[tokio::test]
async fn files_that_are_of_no_use_are_told_by_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.write("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    authority.write("nothing", "");
    let base = || files(&authority);
    let with_ca = || mutual(&authority, ClientAuth::Required);
    let at = |name: &str| authority.path(name);
    let cases = [
        (TlsConfig { certificate: at("absent"), ..base() }, "cannot read", "absent"),
        (TlsConfig { key: at("absent"), ..base() }, "cannot read", "absent"),
        (TlsConfig { certificate: at("nothing"), ..base() }, "there is no certificate", "nothing"),
        (TlsConfig { key: at("server.crt"), ..base() }, "there is no private key", "server.crt"),
        (TlsConfig { key: at("encrypted.key"), ..base() }, "a pass phrase", "encrypted.key"),
        (
            TlsConfig { key: other.path("server.key"), ..base() },
            "it is not the key of the certificate",
            "server.key",
        ),
        (TlsConfig { client_ca: Some(at("nothing")), ..with_ca() }, "no certificate", "nothing"),
        (
            TlsConfig { revocation_lists: vec![at("ca.crt")], ..with_ca() },
            "there is no certificate revocation list",
            "ca.crt",
        ),
    ];
    for (config, expected, file) in cases {
        let error = Tls::load(config, TimestampMs(0)).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(file), "{error}");
    }
}

#[tokio::test]
async fn a_reload_by_hand_puts_good_files_into_force_and_refuses_broken_ones() {
    let (bench, authority) = (Bench::start().await, Authority::new());
    let config = TlsConfig {
        // Nobody looks by itself.
        reload_period: Duration::from_secs(3600),
        ..mutual(&authority, ClientAuth::Optional)
    };
    let address = listen(&bench, config, ClientName::None).await;
    let renewed = authority.renew_server();
    let told = bench.broker.reload();
    assert_eq!((told.len(), told[0].outcome), (1, ReloadOutcome::Reloaded), "{told:?}");
    assert_eq!((told[0].what, told[0].why.as_deref()), ("tls", None));
    let der = |issued: &Issued| {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
    };
    let shown = async || {
        let stream = authority.dial(address, None).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(shown().await, der(&renewed));
    authority.write("server.crt", "broken");
    let told = bench.broker.reload();
    assert_eq!(told[0].outcome, ReloadOutcome::Refused, "{told:?}");
    assert!(told[0].why.as_deref().is_some_and(|it| it.contains("server.crt")), "{told:?}");
    assert_eq!(shown().await, der(&renewed), "what was before stays");
    let figures = bench.broker.figures();
    assert_eq!((figures.tls_reloads, figures.tls_reload_errors), (1, 1));
}
