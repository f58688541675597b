//! Bridges over TLS: both protocol versions, certificates of both sides, what is told when one does not fit, and
//! that a bridge recovers when it does.

use manifold_tests::admin::Admin;
use manifold_tests::authority::{Authority, Issued};
use manifold_tests::bridges::{
    assert_balanced, connected, count, free_port, hello, listener, site, status,
};
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::process::PATIENCE;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// A node with a listener for TLS, and the files of it.
struct Hub {
    site: Site,
    files: TempDir,
    port: u16,
}

impl Hub {
    /// With the certificate of a server.
    fn new(own: &Issued) -> Self {
        let files = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let file = |name: &str| files.path().join(name).display().to_string();
        let site = Site::new()
            .with(&format!("listen.mqtts=127.0.0.1:{port}"))
            .with(&format!("tls.certificate={}", file("server.crt")))
            .with(&format!("tls.key={}", file("server.key")));
        let hub = Self { site, files, port };
        hub.present(own);
        hub
    }

    /// The same, which lets clients in by certificates of an authority only.
    fn asks_for(mut self, authority: &Authority) -> Self {
        let path = self.write("clients.crt", &authority.pem());
        let settings = [
            format!("client_ca={}", path.display()),
            "client_auth=required".to_owned(),
            "client_name=cn".to_owned(),
        ];
        for setting in settings {
            self.site = self.site.with(&format!("tls.{setting}"));
        }
        self
    }

    /// Puts a certificate in place; a node that runs takes it with SIGHUP.
    fn present(&self, own: &Issued) {
        self.write("server.crt", &own.certificate);
        self.write("server.key", &own.key);
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    fn url(&self, host: &str) -> String {
        format!("mqtts://{host}:{}", self.port)
    }

    /// The remote broker of a bridge: this one, by `localhost` and with a secret.
    fn remote(&self, tls: &Value) -> Value {
        json!({ "url": self.url("localhost"), "user_name": "admin", "secret": SECRET, "tls": tls })
    }
}

/// A bridge of which both ways are apart, so that it works with MQTT 3.1.1, too.
fn bridge(remote: &Value) -> Value {
    let rules = json!([
        { "direction": "out", "filter": "up/#" },
        { "direction": "in", "filter": "down/#" },
    ]);
    json!({ "bridge": "hub", "remote": remote, "rules": rules })
}

/// Waits until a bridge that is not connected says why.
async fn told(admin: &mut Admin, reason: &str) -> Value {
    let is_it = |it: &Value| it["reason"].as_str().is_some_and(|it| it.contains(reason));
    let status = status(admin, "hub", reason, is_it).await;
    assert_eq!(status["state"], "connecting", "{status}");
    status
}

#[tokio::test]
async fn both_versions_carry_both_ways_over_tls() {
    let authority = Authority::new("of the hub");
    let hub = Hub::new(&authority.server("localhost"));
    let edge_site = Site::new();
    let (hub_node, edge) = (hub.site.start().await, edge_site.start().await);
    let mut admin = Admin::enter(&edge).await;
    let mut at_hub = listener(&hub_node, "at-hub", "up/#").await;
    let mut at_edge = listener(&edge, "at-edge", "down/#").await;
    let mut says = edge.client(&hello("says")).await;
    let mut hub_says = hub_node.client(&hello("says")).await;
    for version in ["5", "3.1.1"] {
        let mut remote = hub.remote(&json!({ "ca": authority.pem() }));
        remote["version"] = json!(version);
        admin.must("bridges", "create", bridge(&remote)).await;
        connected(&mut admin, "hub").await;
        // Larger than a record of TLS.
        let large = vec![b'x'; 200_000];
        assert_eq!(says.publish_acked(&format!("up/{version}"), &large).await, 0);
        assert_eq!(hub_says.publish_acked(&format!("down/{version}"), &large).await, 0);
        let (up, down) = (at_hub.next_message().await, at_edge.next_message().await);
        assert_eq!((up.topic, up.payload.len()), (format!("up/{version}"), large.len()));
        assert_eq!((down.topic, down.payload.len()), (format!("down/{version}"), large.len()));
        let query = json!({ "client_id": client_id(&mut admin).await });
        let seen = Admin::enter(&hub_node).await.must("connections", "get", query).await;
        assert_eq!(seen["listener"], "mqtts", "{seen}");
        admin.must("bridges", "delete", json!({ "bridge": "hub" })).await;
    }
}

async fn client_id(admin: &mut Admin) -> String {
    let shown = admin.must("bridges", "get", json!({ "bridge": "hub" })).await;
    shown["remote"]["client_id"].as_str().expect("it has one").to_owned()
}

#[tokio::test]
async fn a_handshake_that_fails_is_told_and_comes_right_by_itself() {
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let good = right.server("localhost");
    let hub = Hub::new(&good);
    let edge_site = Site::new();
    let (hub_node, edge) = (hub.site.start().await, edge_site.start().await);
    let mut admin = Admin::enter(&edge).await;
    let mut at_hub = listener(&hub_node, "at-hub", "up/#").await;
    let mut says = edge.client(&hello("says")).await;
    let remote = hub.remote(&json!({ "ca": right.pem() }));
    admin.must("bridges", "create", bridge(&remote)).await;
    let of_none = "is of none of the authorities in tls.ca";
    let cases = [
        (wrong.server("localhost"), of_none),
        (right.server("elsewhere"), "is not for localhost, but for"),
        (right.expired_server("localhost"), "has expired"),
        // Of the same name, and with another key.
        (Authority::new("right").server("localhost"), of_none),
    ];
    let cases_count = cases.len() as u64;
    for (index, (own, reason)) in cases.into_iter().enumerate() {
        connected(&mut admin, "hub").await;
        hub.present(&own);
        hub_node.hang_up();
        meets(&hub_node, &mut admin, reason).await;
        // What is published waits meanwhile.
        assert_eq!(says.publish_acked(&format!("up/{index}"), b"x").await, 0);
        hub.present(&good);
        hub_node.hang_up();
        assert_eq!(at_hub.next_message().await.topic, format!("up/{index}"));
    }
    let end = status(&mut admin, "hub", "empty", |it| count(it, "/out/queued") == 0).await;
    assert_balanced(&end);
    assert_eq!(count(&end, "/out/sent"), cases_count, "{end}");
}

/// Ends the connection of the bridge until it is not made again for a reason: only a new one meets a certificate, and
/// only when that is in force.
async fn meets(hub: &Node, admin: &mut Admin, reason: &str) {
    let query = json!({ "client_id": client_id(admin).await });
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Refused if there is none.
        let _ = Admin::enter(hub).await.ask("connections", "disconnect", query.clone()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let shown = admin.must("bridges", "get", json!({ "bridge": "hub" })).await;
        let status = &shown["status"];
        if status["reason"].as_str().is_some_and(|it| it.contains(reason)) {
            return assert_eq!(status["state"], "connecting", "{status}");
        }
        assert!(Instant::now() < deadline, "{reason:?} is not told: {status}");
    }
}

#[tokio::test]
async fn a_certificate_may_be_for_another_name_if_the_operator_says_so() {
    let authority = Authority::new("of the hub");
    let hub = Hub::new(&authority.server("hub.example"));
    let edge_site = Site::new();
    let (_hub_node, edge) = (hub.site.start().await, edge_site.start().await);
    let mut admin = Admin::enter(&edge).await;
    let mut remote = hub.remote(&json!({ "ca": authority.pem() }));
    remote["url"] = json!(hub.url("127.0.0.1"));
    admin.must("bridges", "create", bridge(&remote)).await;
    told(&mut admin, "is not for 127.0.0.1, but for").await;
    let name = json!({ "bridge": "hub", "remote": { "tls": { "server_name": "hub.example" } } });
    admin.must("bridges", "update", name).await;
    connected(&mut admin, "hub").await;
}

#[tokio::test]
async fn by_certificates_of_both_sides_no_secret_is_needed() {
    let (servers, clients) = (Authority::new("of servers"), Authority::new("of clients"));
    let hub = Hub::new(&servers.server("localhost")).asks_for(&clients);
    let edge_site = Site::new();
    let (hub_node, edge) = (hub.site.start().await, edge_site.start().await);
    Admin::enter(&hub_node).await.create_user("edge7", "project_admin").await;
    let mut admin = Admin::enter(&edge).await;
    let mut at_hub = listener(&hub_node, "at-hub", "up/#").await;

    for version in ["5", "3.1.1"] {
        let tls = json!({ "ca": servers.pem() });
        let remote = json!({ "url": hub.url("localhost"), "version": version, "tls": tls });
        admin.must("bridges", "create", bridge(&remote)).await;
        told(&mut admin, "wants a certificate: tls.certificate and tls.key").await;
        let update = |own: &Issued| {
            let tls = json!({ "certificate": own.certificate, "key": own.key });
            json!({ "bridge": "hub", "remote": { "tls": tls } })
        };
        admin.must("bridges", "update", update(&servers.client("edge7"))).await;
        told(&mut admin, "does not accept the certificate of the bridge").await;
        let own = clients.client("edge7");
        let shown = admin.must("bridges", "update", update(&own)).await;
        assert_eq!(shown["remote"]["tls"]["has_key"], true, "{shown}");
        connected(&mut admin, "hub").await;
        let shown = admin.must("bridges", "get", json!({ "bridge": "hub" })).await;
        assert_eq!(shown["remote"]["tls"]["certificate"], own.certificate, "{shown}");
        let body = own.key.lines().nth(1).expect("a key has more lines than one");
        assert!(!shown.to_string().contains(body), "{shown}");
        let mut says = edge.client(&hello("says")).await;
        assert_eq!(says.publish_acked("up/x", b"x").await, 0);
        assert_eq!(at_hub.next_message().await.topic, "up/x");
        admin.must("bridges", "delete", json!({ "bridge": "hub" })).await;
    }
}

#[tokio::test]
async fn without_authorities_of_its_own_a_bridge_believes_those_of_the_system() {
    let authority = Authority::new("of the system");
    let hub = Hub::new(&authority.server("localhost"));
    let system = hub.write("system.crt", &Authority::new("of nobody").pem());
    let _hub_node = hub.site.start().await;
    let edge_site = Site::new().with_variable("SSL_CERT_FILE", &system.display().to_string());
    let edge = edge_site.start().await;
    let mut admin = Admin::enter(&edge).await;
    let mut remote = hub.remote(&json!({}));
    admin.must("bridges", "create", bridge(&remote)).await;
    told(&mut admin, "is of no authority that the system knows").await;
    empty(&system);
    told(&mut admin, "the system has no authorities").await;
    hub.write("system.crt", &authority.pem());
    connected(&mut admin, "hub").await;

    // A port at which no TLS is spoken.
    let (plain_site, port) = site();
    let _plain = plain_site.start().await;
    remote["url"] = json!(format!("mqtts://localhost:{port}"));
    let update = json!({ "bridge": "hub", "remote": remote });
    admin.must("bridges", "update", update).await;
    told(&mut admin, "is this its port for TLS?").await;
}

fn empty(path: &Path) {
    std::fs::write(path, "").expect("a file can be written");
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused_by_field_and_changes_nothing() {
    let authority = Authority::new("of nobody");
    let (own, other) = (authority.client("edge7"), authority.client("edge7"));
    let node_site = Site::new();
    let node = node_site.start().await;
    let mut admin = Admin::enter(&node).await;
    let remote = |url: &str, tls: Value| json!({ "url": url, "tls": tls });
    let (tls_url, ca) = ("mqtts://localhost:1", authority.pem());
    let cases = [
        (remote("mqtt://localhost:1", json!({ "ca": ca })), "remote.tls"),
        (remote(tls_url, json!({ "ca": "nothing" })), "remote.tls.ca"),
        (remote(tls_url, json!({ "ca": 1 })), "remote.tls.ca"),
        (remote(tls_url, json!({ "ca": format!("{}{ca}", "#".repeat(65_536)) })), "remote.tls.ca"),
        (remote(tls_url, json!({ "key": own.key })), "remote.tls.certificate"),
        (remote(tls_url, json!({ "certificate": own.certificate })), "remote.tls.key"),
        (
            remote(tls_url, json!({ "certificate": own.certificate, "key": other.key })),
            "remote.tls.key",
        ),
        (remote(tls_url, json!({ "server_name": "a b" })), "remote.tls.server_name"),
        (remote(tls_url, json!({ "pin": "x" })), "remote.tls.pin"),
    ];
    for (remote, field) in cases {
        let refusal = admin.ask("bridges", "create", bridge(&remote)).await.unwrap_err();
        assert_eq!(refusal["field"], field, "{refusal}");
    }
    let listed = admin.must("bridges", "list", json!({})).await;
    assert_eq!(listed["items"], json!([]), "{listed}");

    let tls = json!({ "certificate": own.certificate, "key": own.key });
    admin.must("bridges", "create", bridge(&remote(tls_url, tls))).await;
    let update = |tls: Value| json!({ "bridge": "hub", "remote": { "tls": tls } });
    let refusal = admin.ask("bridges", "update", update(json!({ "key": null }))).await.unwrap_err();
    assert_eq!(refusal["field"], "remote.tls.key", "{refusal}");
    // One field of `tls` is changed, the others stay.
    let shown = admin.must("bridges", "update", update(json!({ "ca": ca }))).await;
    assert_eq!(shown["remote"]["tls"]["has_key"], true, "{shown}");
    let plain = json!({ "bridge": "hub", "remote": { "url": "mqtt://localhost:1" } });
    let refusal = admin.ask("bridges", "update", plain).await.unwrap_err();
    assert_eq!(refusal["field"], "remote.tls", "{refusal}");
    let plain = json!({ "bridge": "hub", "remote": { "url": "mqtt://localhost:1", "tls": null } });
    let shown = admin.must("bridges", "update", plain).await;
    assert!(shown["remote"]["tls"].is_null(), "{shown}");
}
