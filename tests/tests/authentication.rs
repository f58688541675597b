//! Permissions and failures as an operator meets them: changed by the admin API, told by events and the log.

use manifold_tests::admin::Admin;
use manifold_tests::node::Site;
use manifold_tests::wire::{Ending, Hello, Version, Wire};
use serde_json::json;

const NOT_AUTHORIZED: u8 = 0x87;

#[tokio::test]
async fn what_is_taken_from_a_user_is_gone_at_once_and_after_a_restart() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let joe = json!({ "user": "joe", "role": "app", "secret": "chosen by Joe" });
    admin.must("users", "create", joe).await;
    let hello = || Hello::new(Version::V5, "joe").user("joe", "chosen by Joe");
    let mut joe = node.client(&hello()).await;
    assert_eq!(joe.subscribe("plant/secret", 1).await, 1);
    assert!(joe.publish_acked("plant/secret", b"1").await < 0x80);
    assert_eq!(joe.next_message().await.topic, "plant/secret");
    let acl = json!([
        { "permission": "deny", "action": "all", "topic": "plant/secret/#" },
        { "permission": "allow", "action": "all", "topic": "#" },
    ]);
    let shown = admin.must("users", "update", json!({ "user": "joe", "acl": acl })).await;
    assert_eq!(shown["acl"][0]["permission"], "deny");
    assert_eq!(joe.publish_acked("plant/secret", b"1").await, NOT_AUTHORIZED);
    assert_eq!(joe.subscribe("plant/secret", 1).await, NOT_AUTHORIZED);
    assert!(joe.publish_acked("plant/open", b"1").await < 0x80);
    node.kill().await;
    let node = site.start().await;
    let mut joe = node.client(&hello()).await;
    assert_eq!(joe.publish_acked("plant/secret", b"1").await, NOT_AUTHORIZED);
    let mut admin = Admin::enter(&node).await;
    admin.must("users", "update", json!({ "user": "joe", "enabled": false })).await;
    assert_eq!(joe.ending().await, Ending::Disconnected(NOT_AUTHORIZED));
    let mut again = Wire::open(node.mqtt(), Version::V5).await;
    again.send(&hello().encode()).await;
    assert_eq!(again.ending().await, Ending::Refused(NOT_AUTHORIZED));
}

#[tokio::test]
async fn a_list_that_no_client_could_use_is_refused_when_it_is_given() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let joe = json!({ "user": "joe", "role": "app", "secret": "chosen by Joe" });
    admin.must("users", "create", joe).await;
    let acl = json!([{ "permission": "allow", "action": "all", "topic": "a/#/b" }]);
    let update = json!({ "user": "joe", "acl": acl });
    let error = admin.ask("users", "update", update).await.expect_err("it is refused");
    assert_eq!((&error["code"], &error["field"]), (&json!("invalid"), &json!("acl")));
}

#[tokio::test]
async fn a_guess_is_logged_with_its_reason_and_guessing_is_locked_out() {
    let site = Site::new().with("security.lockout.failures_max=3");
    let mut node = site.start().await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        let mut guess = Wire::open(node.mqtt(), Version::V5).await;
        guess
            .send(&Hello::new(Version::V5, "guess").user("system/system/admin", "x").encode())
            .await;
        codes.push(guess.ending().await);
    }
    let wrong = Ending::Refused(0x86);
    assert_eq!(codes, [wrong, wrong, wrong, Ending::Refused(0x8A)]);
    let line = node.logs("client refused: wrong password").await;
    assert!(line.contains("user_name=\"system/system/admin\""), "{line}");
    node.logs("locked out after repeated failures").await;
    let metrics = node.get("/metrics").await;
    assert!(metrics.contains("broker_refused_locked_out_total 1"), "{metrics}");
}
