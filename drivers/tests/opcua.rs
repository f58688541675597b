//! The OPC UA driver against a real server on loopback: what every driver must keep, every security policy, whom we
//! trust, subscriptions that come back, namespaces that move, and machines that fail.

use drivers::contract::{self, Fixture};
use drivers::opcua::{OpcUaConfig, OpcUaUser, SecurityMode, SecurityPolicy, ServerProfile};
use drivers::{
    ConnectError, Connectivity, Driver, DriverConfig, PointId, Pushed, Site, SubscribeError,
    Subscription, TagConfig, open,
};
use futures_util::StreamExt as _;
use proto::{Datum, Quality};
use serde_json::json;
use sim::tank::{Kind, OpcUaServer, SECRET, TANK, USER};
use std::collections::BTreeMap;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

#[path = "opcua/discovery.rs"]
mod discovery;
#[path = "opcua/methods.rs"]
mod methods;
#[path = "opcua/structures.rs"]
mod structures;
#[path = "opcua/trust.rs"]
mod trust;

/// A directory for each of both sides.
struct Dirs {
    server: TempDir,
    site: Site,
    _node: TempDir,
}

fn dirs() -> Dirs {
    let node = tempfile::tempdir().expect("a directory");
    let server = tempfile::tempdir().expect("a directory");
    Dirs { server, site: Site::new(node.path()), _node: node }
}

fn tag(name: &str, address: &str, more: &serde_json::Value) -> TagConfig {
    let mut tag = json!({"tag": name, "address": address, "path": format!("acme/_raw/{name}"),
        "poll_interval_ms": 20});
    for (key, value) in more.as_object().expect("an object") {
        tag[key] = value.clone();
    }
    serde_json::from_value(tag).expect("a tag")
}

fn of_tank(name: &str) -> String {
    format!("nsu={TANK};s={name}")
}

fn tags() -> Vec<TagConfig> {
    let writable = json!({"access": "read_write"});
    vec![
        tag("level", &of_tank("Level"), &json!({})),
        tag("count", &of_tank("Count"), &json!({"type": "uint32"})),
        tag("setpoint", &of_tank("Setpoint"), &json!({"access": "read_write", "scale": 0.1})),
        tag("pump", &of_tank("Pump"), &writable),
        tag("recipe", &of_tank("Recipe"), &writable),
        tag("clamped", &of_tank("Clamped"), &writable),
        tag("missing", &of_tank("Missing"), &json!({})),
        tag("element", &format!("{} [1]", of_tank("Table")), &writable),
        tag("path", "/Objects/Server/ServerStatus/State", &json!({})),
    ]
}

const LEVEL: PointId = PointId(0);
const SETPOINT: PointId = PointId(2);
const CLAMPED: PointId = PointId(5);
const MISSING: PointId = PointId(6);
const ELEMENT: PointId = PointId(7);
const PATH: PointId = PointId(8);

fn plain(server: &OpcUaServer) -> OpcUaConfig {
    OpcUaConfig {
        security_policy: SecurityPolicy::None,
        publishing_interval_ms: 20,
        timeout_ms: 2000,
        ..OpcUaConfig::new(&server.url())
    }
}

fn driver(config: &OpcUaConfig, tags: &[TagConfig], site: &Site) -> Box<dyn Driver> {
    match open(&DriverConfig::OpcUa(config.clone()), tags, site) {
        Ok(driver) => driver,
        Err(error) => panic!("{error}"),
    }
}

fn all(tags: &[TagConfig]) -> Vec<PointId> {
    (0..tags.len()).map(|it| PointId(u32::try_from(it).expect("few"))).collect()
}

/// What a subscription brings, by point, until `is_enough` says so.
async fn pushed(
    stream: &mut Subscription,
    is_enough: impl Fn(&BTreeMap<PointId, Result<Datum, &'static str>>) -> bool,
) -> BTreeMap<PointId, Result<Datum, &'static str>> {
    let mut seen = BTreeMap::new();
    let wait = async {
        while !is_enough(&seen) {
            let outcome = stream.next().await.expect("the stream goes on");
            assert_eq!(outcome.lost, None);
            for (point, result) in outcome.points {
                seen.insert(point, result.map(|it| it.value).map_err(|error| error.code()));
            }
        }
    };
    if timeout(Duration::from_secs(10), wait).await.is_err() {
        panic!("not enough came: {seen:?}");
    }
    seen
}

async fn lost(stream: &mut Subscription) -> &'static str {
    let wait = async {
        loop {
            match stream.next().await {
                Some(Pushed { lost: Some(lost), .. }) => return lost.code(),
                Some(_) => {}
                None => panic!("it ended without a reason"),
            }
        }
    };
    timeout(Duration::from_secs(15), wait).await.expect("a loss is noticed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_what_every_driver_must_keep() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let tags = tags();
    let mut driver = driver(&plain(&server), &tags, &dirs.site);
    let fixture = Fixture {
        point_count: u32::try_from(tags.len()).expect("few"),
        writable: SETPOINT,
        values: [Datum::Float(21.4), Datum::Float(-3.0)],
        read_only: LEVEL,
        missing: MISSING,
        refused: Vec::new(),
    };
    if let Err(violation) = contract::check(&mut *driver, &fixture).await {
        panic!("{violation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_every_kind_are_read_and_written() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let tags = tags();
    let mut driver = driver(&plain(&server), &tags, &dirs.site);
    driver.connect().await.expect("a connection");
    let outcome = driver.read(&all(&tags)).await;
    let shown: Vec<String> = outcome
        .points
        .iter()
        .map(|(_, result)| match result {
            Ok(sample) => sample.value.to_string(),
            Err(error) => error.code().to_owned(),
        })
        .collect();
    assert_eq!(
        shown,
        ["12.5", "7", "20", "false", "water", "0", "illegal_address", "20", "0"],
        "{outcome:?}"
    );
    let (_, Ok(level)) = &outcome.points[0] else { panic!("{outcome:?}") };
    assert!(level.at.is_some_and(|at| at.0 > 1_700_000_000_000), "{level:?}");

    let text = |it: &str| Datum::Text(it.to_owned());
    for (point, value) in [
        (SETPOINT, Datum::Float(45.5)),
        (PointId(3), Datum::Bool(true)),
        (PointId(4), text("milk")),
        (ELEMENT, Datum::Int(21)),
    ] {
        assert_eq!(driver.write(point, &value, true).await, Ok(value.clone()));
        let outcome = driver.read(&[point]).await;
        let (_, Ok(sample)) = &outcome.points[0] else { panic!("{outcome:?}") };
        assert_eq!(sample.value, value);
    }
    for (point, value, code) in [
        (SETPOINT, Datum::Float(1e9), "out_of_range"),
        (SETPOINT, text("x"), "wrong_type"),
        (LEVEL, Datum::Float(1.0), "read_only"),
        (CLAMPED, Datum::Int(5), "not_verified"),
    ] {
        let error = driver.write(point, &value, true).await.expect_err("a refusal");
        assert_eq!(error.code(), code, "{error}");
    }
    let health = driver.health();
    assert_eq!((health.counters.writes, health.counters.writes_failed), (4, 4));
    assert_eq!(health.connectivity, Connectivity::Connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_is_pushed_and_a_bad_node_fails_nobody_else() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let tags = tags();
    let mut driver = driver(&plain(&server), &tags, &dirs.site);
    assert!(driver.is_pushed());
    driver.connect().await.expect("a connection");
    let mut stream = driver.subscribe(&all(&tags)).await.expect("a subscription");
    let first = pushed(&mut stream, |seen| seen.len() == tags.len()).await;
    // The server of this test cuts an element out of what it has cut out already, and says so; see the peers.
    assert!(first.contains_key(&ELEMENT));
    assert_eq!(first[&LEVEL], Ok(Datum::Float(12.5)));
    assert_eq!(first[&MISSING], Err("illegal_address"));
    assert_eq!(first[&PATH], Ok(Datum::Int(0)));
    for level in [13.0, 14.0] {
        server.set("Level", level).expect("a variable");
        pushed(&mut stream, |seen| seen.get(&LEVEL) == Some(&Ok(Datum::Float(level)))).await;
    }
    server.set("Level", f64::NAN).expect("a variable");
    pushed(&mut stream, |seen| seen.get(&LEVEL) == Some(&Err("no_value"))).await;
    // Reads and writes go on beside.
    assert!(driver.write(SETPOINT, &Datum::Float(1.5), true).await.is_ok());
    pushed(&mut stream, |seen| seen.get(&SETPOINT) == Some(&Ok(Datum::Float(1.5)))).await;
    assert!(driver.health().counters.points_read >= 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_leaves_out_what_a_deadband_leaves_out() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let tags = [
        tag("coarse", &of_tank("Setpoint"), &json!({"scale": 0.1, "deadband": 0.5})),
        tag("fine", &of_tank("Setpoint"), &json!({"scale": 0.1})),
        // A text has no distance: no server filters it, and it is told all the same.
        tag("recipe", &of_tank("Recipe"), &json!({"deadband": 0.5})),
    ];
    let (coarse, fine, recipe) = (PointId(0), PointId(1), PointId(2));
    for at_server in [true, false] {
        let config = OpcUaConfig { server_deadband: at_server, ..plain(&server) };
        let mut driver = driver(&config, &tags, &dirs.site);
        driver.connect().await.expect("a connection");
        server.set("Setpoint", 0_i16).expect("a variable");
        let mut stream = driver.subscribe(&all(&tags)).await.expect("a subscription");
        let first = pushed(&mut stream, |seen| seen.len() == 3).await;
        assert_eq!(first[&recipe], Ok(Datum::Text("water".into())));
        let mut heard = vec![first[&coarse].clone()];
        for raw in [1_i16, 2, 4, 6, 7, 20] {
            server.set("Setpoint", raw).expect("a variable");
            let mark = Ok(Datum::Float(f64::from(raw) / 10.0));
            let seen = pushed(&mut stream, |seen| seen.get(&fine) == Some(&mark)).await;
            heard.extend(seen.get(&coarse).cloned());
        }
        let floats = heard.iter().filter_map(|it| it.as_ref().ok()?.as_f64());
        let floats: Vec<f64> = floats.collect();
        match at_server {
            true => assert_eq!(floats, [0.0, 0.6, 2.0]),
            false => assert!(floats.len() > 4, "{floats:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_points_are_asked_for_in_as_many_parts_as_the_server_takes() {
    let dirs = dirs();
    let kind = Kind { items_max: 100, values: 1234, ..Kind::default() };
    let server = OpcUaServer::start(dirs.server.path(), kind).await.expect("a server");
    let name = |it: usize| format!("V{it}");
    let tags: Vec<TagConfig> =
        (0..1234).map(|it| tag(&name(it), &of_tank(&name(it)), &json!({}))).collect();
    let mut driver = driver(&plain(&server), &tags, &dirs.site);
    driver.connect().await.expect("a connection");
    let outcome = driver.read(&all(&tags)).await;
    assert!(outcome.points.iter().all(|(_, result)| result.is_ok()));
    let mut stream = driver.subscribe(&all(&tags)).await.expect("a subscription");
    let seen = pushed(&mut stream, |seen| seen.len() == 1234).await;
    let wrong = seen.iter().find(|(point, value)| **value != Ok(Datum::Int(i64::from(point.0))));
    assert_eq!(wrong, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_is_asked_for_as_much_at_once_as_it_is_known_to_bear() {
    let dirs = dirs();
    let kind = Kind { values: 1234, made: ("Siemens AG", "S7-1200"), ..Kind::default() };
    let server = OpcUaServer::start(dirs.server.path(), kind).await.expect("a server");
    let name = |it: usize| format!("V{it}");
    let tags: Vec<TagConfig> =
        (0..1234).map(|it| tag(&name(it), &of_tank(&name(it)), &json!({}))).collect();
    let mut asked = Vec::new();
    for (profile, told) in [
        (ServerProfile::Auto, "siemens_s7_1200"),
        (ServerProfile::None, "none"),
        (ServerProfile::SiemensS71500, "siemens_s7_1500"),
    ] {
        let config = OpcUaConfig { profile, ..plain(&server) };
        let mut driver = driver(&config, &tags, &dirs.site);
        driver.connect().await.expect("a connection");
        let known = driver.identify().await.expect("it tells who it is");
        assert!(known.contains(&("profile".to_owned(), told.to_owned())), "{known:?}");
        let before = driver.health().counters.round_trips;
        let mut stream = driver.subscribe(&all(&tags)).await.expect("a subscription");
        let requests = driver.health().counters.round_trips - before;
        pushed(&mut stream, |seen| seen.len() == 1234).await;
        asked.push(requests);
    }
    // A thousand items fit into one subscription, which is asked for as well. Whoever does not know tries more, and
    // asks for the rest of them once more.
    assert_eq!(asked, [(1 + 10) + (1 + 3), (1 + 1 + 1) + (1 + 1), (1 + 2 + 1) + (1 + 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_policy_connects_once_an_operator_trusts_the_server() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let tags = &tags()[..1];
    let auto = OpcUaConfig { security_policy: SecurityPolicy::Auto, ..plain(&server) };
    let error = driver(&auto, tags, &dirs.site).connect().await.expect_err("nobody trusts it yet");
    let ConnectError::NotTrusted { reason, .. } = &error else { panic!("{error}") };
    let fingerprint = reason.split("SHA-256 ").nth(1).expect("it is told");
    let trusted = vec![fingerprint[..64].to_owned()];
    let named = Some(OpcUaUser::Name { name: USER.to_owned(), secret: SECRET.to_owned() });
    let (encrypt, sign) = (SecurityMode::SignAndEncrypt, SecurityMode::Sign);
    for (security_policy, security_mode, user) in [
        (SecurityPolicy::Auto, encrypt, None),
        (SecurityPolicy::Basic256Sha256, sign, None),
        (SecurityPolicy::Basic256Sha256, encrypt, named.clone()),
        (SecurityPolicy::Aes128Sha256RsaOaep, encrypt, named.clone()),
        (SecurityPolicy::Aes256Sha256RsaPss, encrypt, named.clone()),
    ] {
        let trusted = trusted.clone();
        let config = OpcUaConfig { security_policy, security_mode, user, trusted, ..auto.clone() };
        let mut driver = driver(&config, tags, &dirs.site);
        driver.connect().await.unwrap_or_else(|error| panic!("{security_policy:?}: {error}"));
        let outcome = driver.read(&[LEVEL]).await;
        assert!(outcome.points[0].1.is_ok(), "{security_policy:?}: {outcome:?}");
    }
    let wrong = Some(OpcUaUser::Name { name: USER.to_owned(), secret: "wrong".to_owned() });
    let config = OpcUaConfig { user: wrong, trusted: trusted.clone(), ..auto.clone() };
    let error = driver(&config, tags, &dirs.site).connect().await.expect_err("a wrong secret");
    assert!(error.to_string().contains("does not take this user"), "{error}");

    // The server comes back as another: that is for the operator to approve again.
    let address = server.kill().await;
    let other = tempfile::tempdir().expect("a directory");
    let _server =
        OpcUaServer::start_at(address, other.path(), Kind::default()).await.expect("a server");
    let config = OpcUaConfig { trusted, ..auto };
    let error = driver(&config, tags, &dirs.site).connect().await.expect_err("another server");
    assert_eq!(error.code(), "not_trusted", "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_with_its_namespaces_moved_is_found_again() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let tags = &tags()[..1];
    let mut driver = driver(&plain(&server), tags, &dirs.site);
    driver.connect().await.expect("a connection");
    let mut stream = driver.subscribe(&[LEVEL]).await.expect("a subscription");
    let mut server = server;
    for namespaces_before in [2, 0, 1] {
        let address = server.kill().await;
        assert_eq!(lost(&mut stream).await, "connection_lost");
        assert_eq!(driver.health().connectivity, Connectivity::Disconnected);
        let refused = driver.connect().await.expect_err("nobody is there");
        assert_eq!(refused.code(), "refused", "{refused}");
        let kind = Kind { namespaces_before, ..Kind::default() };
        server = OpcUaServer::start_at(address, dirs.server.path(), kind).await.expect("a server");
        driver.connect().await.expect("a connection");
        stream = driver.subscribe(&[LEVEL]).await.expect("a subscription");
        pushed(&mut stream, |seen| seen.contains_key(&LEVEL)).await;
        server.set("Level", 99.0).expect("a variable");
        pushed(&mut stream, |seen| seen.get(&LEVEL) == Some(&Ok(Datum::Float(99.0)))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_can_look_around() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind { values: 30, ..Kind::default() })
        .await
        .expect("a server");
    let mut driver = driver(&plain(&server), &[], &dirs.site);
    driver.connect().await.expect("a connection");
    let root = driver.browse(None, 100).await.expect("objects");
    let tank = root.iter().find(|it| it.name == "Tank").expect("the tank");
    assert_eq!((tank.address.as_str(), tank.is), (of_tank("Tank").as_str(), "object"));
    let found = driver.browse(Some(&tank.address), 100).await.expect("variables");
    assert_eq!(found.len(), 40);
    let setpoint = found.iter().find(|it| it.name == "Setpoint").expect("the setpoint");
    assert_eq!(setpoint.data_type.as_deref(), Some("Int16"));
    assert_eq!((setpoint.is, setpoint.is_writable), ("variable", Some(true)));
    assert_eq!(driver.browse(Some(&tank.address), 5).await.expect("some").len(), 5);
    let by_path = driver.browse(Some("/Objects"), 100).await.expect("objects");
    assert_eq!(by_path, root);
    for (below, code) in [("Tank", "invalid_address"), ("nsu=urn:none;i=1", "invalid_address")] {
        let error = driver.browse(Some(below), 10).await.expect_err("a refusal");
        assert_eq!(error.code(), code, "{error}");
    }
    let told = driver.identify().await.expect("an identity");
    assert!(
        told.iter().any(|(name, value)| name == "security_policy" && value == "None"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_subscriptions_is_polled() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let config = OpcUaConfig { subscribe: false, ..plain(&server) };
    let mut driver = driver(&config, &tags(), &dirs.site);
    assert!(!driver.is_pushed());
    driver.connect().await.expect("a connection");
    let refused = driver.subscribe(&[LEVEL]).await.err().expect("a refusal");
    assert_eq!(refused, SubscribeError::Unsupported);
    let outcome = driver.read(&[LEVEL]).await;
    let (_, Ok(sample)) = &outcome.points[0] else { panic!("{outcome:?}") };
    assert_eq!(sample.quality, Quality::Good);
}

/// A way to the server that can be stopped without being closed, as a switch that loses its power does it.
struct Cable {
    address: std::net::SocketAddr,
    is_cut: tokio::sync::watch::Sender<bool>,
}

impl Cable {
    async fn to(server: std::net::SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_cut, cut) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let cut = cut.clone();
                tokio::spawn(async move {
                    let Ok(server) = tokio::net::TcpStream::connect(server).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::join!(
                        carry(from_client, to_server, cut.clone()),
                        carry(from_server, to_client, cut)
                    );
                });
            }
        });
        Self { address, is_cut }
    }
}

/// Carries bytes one way, while the cable is whole.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut cut: tokio::sync::watch::Receiver<bool>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bytes = vec![0; 65_536];
    while let Ok(count) = from.read(&mut bytes).await {
        if count == 0 || cut.wait_for(|it| !it).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_falls_silent_is_lost_and_comes_back() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let cable = Cable::to(server.address).await;
    let url = format!("opc.tcp://{}", cable.address);
    let config = OpcUaConfig { url, timeout_ms: 1000, ..plain(&server) };
    let mut driver = driver(&config, &tags()[..1], &dirs.site);
    driver.connect().await.expect("a connection");
    let mut stream = driver.subscribe(&[LEVEL]).await.expect("a subscription");
    pushed(&mut stream, |seen| seen.contains_key(&LEVEL)).await;
    // Nothing changes for longer than two keep-alives: that is no silence.
    let quiet = timeout(Duration::from_secs(8), stream.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");

    cable.is_cut.send_replace(true);
    // Told by the silence of the subscription, or by the keep-alive of the session.
    let code = lost(&mut stream).await;
    assert!(["timeout", "connection_lost"].contains(&code), "{code}");
    let refused = driver.connect().await.expect_err("nobody answers");
    assert_eq!(refused.code(), "timeout", "{refused}");
    cable.is_cut.send_replace(false);
    driver.connect().await.expect("a connection");
    let mut stream = driver.subscribe(&[LEVEL]).await.expect("a subscription");
    server.set("Level", 77.0).expect("a variable");
    pushed(&mut stream, |seen| seen.get(&LEVEL) == Some(&Ok(Datum::Float(77.0)))).await;
}
