//! The trust list as operators keep it. What drivers do with it is shown where there are servers.

use crate::world::{Peer, World, pass};
use proto::Namespace;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value as Json, json};

const ONE: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn certificate(is_authority: bool) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["plc".to_owned()]).unwrap();
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.self_signed(&key).unwrap().pem()
}

async fn states(app: &mut Peer, body: Json) -> Vec<(String, String)> {
    let found = app.done("server_certificates/list", body).await;
    let text = |it: &Json, field: &str| it[field].as_str().unwrap().to_owned();
    let items = found["items"].as_array().unwrap();
    items.iter().map(|it| (text(it, "fingerprint"), text(it, "state"))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_approved_rejected_and_forgotten() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let upper = json!({"fingerprint": ONE.to_uppercase(), "description": "press 4"});
    let approved = app.done("server_certificates/approve", upper).await;
    assert_eq!((&approved["fingerprint"], &approved["revision"]), (&json!(ONE), &json!(1)));
    assert_eq!(
        (&approved["state"], &approved["approved_until"]),
        (&json!("approved"), &Json::Null)
    );
    let brief = json!({"fingerprint": ONE, "expires_in_secs": 60, "revision": 1});
    let brief = app.done("server_certificates/approve", brief).await;
    let until = |it: &Json, field: &str| it[field].as_u64().unwrap();
    assert_eq!(until(&brief, "approved_until"), until(&brief, "updated") + 60_000);
    pass(60_000).await;
    assert_eq!(states(&mut app, json!({})).await, [(ONE.to_owned(), "expired".to_owned())]);

    let other = app.done("server_certificates/approve", json!({"certificate": certificate(false)}));
    let other = other.await;
    assert!(other["subject"].as_str().is_some_and(|it| it.contains("rcgen")), "{other}");
    assert!(other["expires_at"].is_u64() && other["issuer"].is_string(), "{other}");
    let rejected = app.done("server_certificates/reject", json!({"fingerprint": ONE})).await;
    assert_eq!((&rejected["state"], &rejected["revision"]), (&json!("rejected"), &json!(3)));
    let filtered = states(&mut app, json!({"filter": "rejected"})).await;
    assert_eq!(filtered, [(ONE.to_owned(), "rejected".to_owned())]);
    let mut all = states(&mut app, json!({})).await;
    assert_eq!(all.len(), 2);
    let page = app.done("server_certificates/list", json!({"limit": 1})).await;
    let next = json!({"limit": 1, "cursor": page["next_cursor"]});
    assert_eq!(states(&mut app, next).await, [all.remove(1)]);

    let gone = json!({"fingerprint": ONE, "revision": 3});
    app.done("server_certificates/delete", gone).await;
    let refused = app.refused("server_certificates/get", json!({"fingerprint": ONE})).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("fingerprint")));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_certificate_is_not_trusted() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let (authority, own) = (certificate(true), certificate(false));
    let list = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let seen = app.done("server_certificates/reject", json!({"fingerprint": ONE})).await;
    assert_eq!(seen["revision"], json!(1));
    for (verb, body, code, field) in [
        ("approve", json!({}), "bad_request", "fingerprint"),
        ("approve", json!({"fingerprint": "ab"}), "invalid", "fingerprint"),
        ("approve", json!({"fingerprint": "g".repeat(64)}), "invalid", "fingerprint"),
        ("approve", json!({"fingerprint": ONE, "certificate": own}), "invalid", "fingerprint"),
        ("approve", json!({"certificate": "x"}), "invalid", "certificate"),
        ("approve", json!({"certificate": "x".repeat(16_385)}), "too_large", "certificate"),
        ("approve", json!({"certificate": own, "authority": true}), "invalid", "authority"),
        ("approve", json!({"fingerprint": ONE, "authority": true}), "bad_request", "certificate"),
        ("approve", json!({"certificate": own, "revoked": list}), "invalid", "revoked"),
        (
            "approve",
            json!({"certificate": authority, "authority": true, "revoked": list}),
            "invalid",
            "revoked",
        ),
        (
            "approve",
            json!({"certificate": authority, "authority": true, "revoked": "x".repeat(65_537)}),
            "too_large",
            "revoked",
        ),
        (
            "approve",
            json!({"fingerprint": ONE, "expires_in_secs": 0}),
            "invalid",
            "expires_in_secs",
        ),
        (
            "approve",
            json!({"fingerprint": ONE, "description": "x".repeat(1025)}),
            "too_large",
            "description",
        ),
        ("approve", json!({"fingerprint": ONE, "revision": 0}), "version_conflict", "revision"),
        ("reject", json!({"fingerprint": ONE, "revision": 2}), "version_conflict", "revision"),
        ("delete", json!({"fingerprint": ONE, "revision": 2}), "version_conflict", "revision"),
        ("delete", json!({"fingerprint": "0".repeat(64)}), "not_found", "fingerprint"),
        ("list", json!({"cursor": "things:x"}), "invalid", "cursor"),
    ] {
        let refused = app.refused(&format!("server_certificates/{verb}"), body.clone()).await;
        let told = (&refused["code"], &refused["field"]);
        assert_eq!(told, (&json!(code), &json!(field)), "{verb} {body}: {refused}");
    }
    assert_eq!(states(&mut app, json!({})).await, [(ONE.to_owned(), "rejected".to_owned())]);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_project_has_a_trust_list_of_its_own_and_of_bounded_length() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    for number in 0..512 {
        let body = json!({"fingerprint": format!("{number:064x}")});
        app.done("server_certificates/reject", body).await;
    }
    let refused = app.refused("server_certificates/approve", json!({"fingerprint": ONE})).await;
    assert_eq!(refused["code"], json!("quota_exceeded"));
    // What is known already changes all the same.
    app.done("server_certificates/approve", json!({"fingerprint": "0".repeat(64)})).await;
    app.done("tenants/create", json!({"tenant": "acme"})).await;
    app.done("projects/create", json!({"tenant": "acme", "project": "rome"})).await;
    // It goes with its project.
    let rome = Namespace::parse("acme/rome").unwrap();
    for is_first in [true, false] {
        let mut other = node.peer_in(&rome, "other");
        assert_eq!(states(&mut other, json!({})).await, []);
        if is_first {
            other.done("server_certificates/reject", json!({"fingerprint": ONE})).await;
            assert_eq!(states(&mut other, json!({})).await.len(), 1);
            let project = json!({"tenant": "acme", "project": "rome"});
            app.done("projects/delete", project.clone()).await;
            app.done("projects/create", project).await;
        }
    }
    node.stop().await;
}
