//! `metrics` and `node reload`: the node's figures, and files that are read again at an operator's word.

use crate::all_refused;
use manifold_tests::admin::Admin;
use manifold_tests::node::{SECRET, Site};
use serde_json::json;

/// A site whose tokens are signed with a secret in a file of its own.
fn site(folder: &std::path::Path, secret: &str) -> Site {
    let file = folder.join("token.key");
    std::fs::write(&file, secret).expect("it can be written");
    let file = file.display();
    Site::new().with(&format!(
        "security.jwt=[{{secret_file=\"{file}\",algorithms=[\"HS256\"],issuer=\"id\"}}]"
    ))
}

const GOOD: &str = "a secret of the issuer that is long enough";

#[tokio::test]
async fn a_reload_says_what_is_in_force_and_what_was_refused() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut node = site(folder.path(), GOOD).start().await;
    let mut admin = Admin::enter_as(&node, "system/system/admin", SECRET).await;
    let file = folder.path().join("token.key").display().to_string();
    let told = admin.must("node", "reload", json!({})).await;
    let item =
        json!({ "what": "jwt_keys", "used_by": ["id"], "source": file, "outcome": "reloaded" });
    assert_eq!(told["items"], json!([item]));
    std::fs::remove_file(&file).expect("it is there");
    let told = admin.must("node", "reload", json!({})).await;
    let item = &told["items"][0];
    assert_eq!(item["outcome"], "refused", "{told}");
    assert!(item["why"].as_str().is_some_and(|it| it.contains("cannot read")), "{told}");
    node.logs("refused, as before").await;
    std::fs::write(&file, GOOD).expect("it can be written");
    node.hang_up();
    node.logs("reading files again").await;
    node.logs("read again").await;
    node.assert_alive();
}

#[tokio::test]
async fn a_project_sees_its_own_figures_and_the_system_all() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let shown = admin.must("metrics", "get", json!({})).await;
    for part in ["namespace", "actors", "broker", "endings", "store"] {
        assert!(shown[part].is_object(), "{part} in {shown}");
    }
    let secret = admin.create_user("boss", "project_admin").await;
    let mut boss = Admin::enter_as(&node, "boss", &secret).await;
    let shown = boss.must("metrics", "get", json!({})).await;
    let parts: Vec<&String> = shown.as_object().expect("an object").keys().collect();
    assert_eq!(parts, ["namespace"], "what is of the whole node is not its own");
    assert!(shown["namespace"]["connected"].as_u64() >= Some(2), "{shown}");
    assert!(shown["namespace"]["retained"].as_u64() >= Some(1), "{shown}");
    let cases = vec![
        ("metrics", "get", json!({ "part": "broker" }), "bad_request", "part"),
        ("node", "reload", json!({}), "forbidden", ""),
    ];
    all_refused(&mut boss, cases).await;
    all_refused(&mut admin, vec![("node", "reload", json!({ "x": 1 }), "bad_request", "x")]).await;
}
