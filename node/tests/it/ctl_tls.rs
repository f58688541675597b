//! `manifold ctl` over TLS: the node's certificate is checked before a secret is shown.

use crate::running::{Node, SECRET, manifold, run, serve, stderr};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::path::{Path, PathBuf};
use std::process::Output;

/// A certificate that vouches for itself, and its key.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let CertifiedKey { cert, signing_key } = made;
    let (certificate, key) =
        (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

async fn ask(url: &str, ca: Option<&Path>) -> Output {
    let mut ctl = manifold();
    ctl.args(["ctl", "connections", "list", "--json", "--url", url]).env("MANIFOLD_SECRET", SECRET);
    if let Some(ca) = ca {
        ctl.arg("--tls-ca").arg(ca);
    }
    run(&mut ctl).await
}

#[tokio::test]
async fn a_node_is_asked_over_tls_if_its_certificate_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let (own, key) = certificate(folder.path(), "server");
    let (other, _) = certificate(folder.path(), "other");
    let mut command = serve(&folder.path().join("data"));
    command.env("MANIFOLD_ADMIN_SECRET", SECRET);
    command.args(["--set", "listen.mqtts=127.0.0.1:0"]);
    command.arg("--set").arg(format!("tls.certificate={}", own.display()));
    command.arg("--set").arg(format!("tls.key={}", key.display()));
    let node = Node::start_with(&mut command).await;
    let port = node.address("mqtts").port();
    let url = format!("mqtts://localhost:{port}");

    let output = ask(&url, Some(&own)).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let page: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let own_connection = &page["items"][0];
    assert_eq!(own_connection["listener"], "mqtts", "{page}");
    assert!(own_connection["tls"]["version"].is_string(), "{page}");

    for (case, url, ca, code) in [
        ("another authority", url.as_str(), Some(other.as_path()), 3),
        ("another name", &format!("mqtts://127.0.0.1:{port}"), Some(own.as_path()), 3),
        ("a file that is not there", &url, Some(Path::new("/nowhere/ca.crt")), 1),
        ("a file without a certificate", &url, Some(key.as_path()), 1),
        ("an authority without TLS", "mqtt://localhost:1", Some(own.as_path()), 2),
    ] {
        let output = ask(url, ca).await;
        assert_eq!(output.status.code(), Some(code), "{case}: {}", stderr(&output));
    }
    node.end("TERM").await;
}
