//! `connections`: who is connected, whose session waits, and how an operator ends either.

use crate::{all_refused, texts};
use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Ending, Hello, Version, Wire, packet};
use serde_json::{Value, json};
use std::time::Duration;

const ADMINISTRATIVE_ACTION: u8 = 0x98;

fn hello(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id).user("admin", SECRET)
}

/// Asks for one client until it is as it should be: what a client has done, its connection tells a little later.
async fn until(admin: &mut Admin, client_id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let shown = admin.must("connections", "get", json!({ "client_id": client_id })).await;
        if is_so(&shown) {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A node with a client that is connected, and one that is away with three messages waiting for it.
async fn busy() -> (Site, Node, Admin, Wire) {
    let site = Site::new();
    let node = site.start().await;
    let admin = Admin::enter(&node).await;
    let mut away = node.client(&hello("press-away").persistent()).await;
    away.subscribe("plant/#", 1).await;
    away.leave().await;
    let mut here = node.client(&hello("press-here")).await;
    here.subscribe("lamp", 1).await;
    for number in 0..3 {
        assert_eq!(here.publish_acked("plant/x", format!("{number}").as_bytes()).await, 0);
    }
    (site, node, admin, here)
}

#[tokio::test]
async fn a_connection_is_shown_with_its_facts_counts_and_rates() {
    let (_site, _node, mut admin, _here) = busy().await;
    let shown = until(&mut admin, "press-here", |it| it["received"] == 3).await;
    for (field, value) in [
        ("state", json!("connected")),
        ("user_name", json!("admin")),
        ("role", json!("system_admin")),
        ("listener", json!("mqtt")),
        ("protocol", json!("mqtt 5")),
        ("keep_alive_secs", json!(60)),
        ("session_expiry_secs", json!(0)),
        ("subscriptions", json!(1)),
        ("inflight", json!(0)),
        ("owed", json!(0)),
        ("unreleased", json!(0)),
        ("drops", json!({ "full": 0, "disconnected": 0, "too_large": 0, "forbidden": 0 })),
    ] {
        assert_eq!(shown[field], value, "{field} in {shown}");
    }
    assert!(shown["address"].as_str().is_some_and(|it| it.starts_with("127.0.0.1:")), "{shown}");
    assert!(shown["connected_at"].as_u64() > Some(1_600_000_000_000), "{shown}");
    // Three PUBLISH packets and a SUBSCRIBE have so many bytes at least.
    assert!(shown["received_bytes"].as_u64() > Some(3 * 12 + 10), "{shown}");
    assert!(shown["rates"]["received"].as_f64() > Some(0.0), "{shown}");
    let later = until(&mut admin, "press-here", |it| {
        it["rates"]["over_ms"].as_u64() >= Some(1000) && it["rates"]["received"] == 0.0
    });
    assert_eq!(later.await["received"], 3, "nothing has come since the first sample");
}

#[tokio::test]
async fn what_a_client_has_not_acknowledged_or_released_is_shown() {
    let (_site, _node, mut admin, mut here) = busy().await;
    // A PUBLISH of QoS 2 that is never released, and one of QoS 1 for itself that it does not acknowledge.
    here.send(&packet::publish(Version::V5, b"q", b"abc", 0b0100, 7)).await;
    here.send(&packet::publish(Version::V5, b"lamp", b"on", 0b0010, 8)).await;
    let shown = until(&mut admin, "press-here", |it| it["unreleased"] == 1).await;
    let shown = if shown["inflight"] == 1 {
        shown
    } else {
        until(&mut admin, "press-here", |it| it["inflight"] == 1).await
    };
    assert_eq!(shown["sent"], 1, "{shown}");
}

#[tokio::test]
async fn what_is_refused_of_a_client_is_counted() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let secret = admin.create_user("app", "app").await;
    let mut app = node.client(&Hello::new(Version::V5, "app").user("app", &secret)).await;
    assert_eq!(app.publish_acked("events/made/up", b"x").await, 0x87);
    assert!(app.publish_acked("free", b"x").await < 0x80);
    let shown = until(&mut admin, "app", |it| it["received"] == 2).await;
    assert_eq!(shown["refused"], 1, "{shown}");
}

#[tokio::test]
async fn a_session_whose_client_is_away_is_listed_with_what_waits_for_it() {
    let (site, node, mut admin, _here) = busy().await;
    let check = |shown: &Value| {
        assert_eq!((&shown["state"], &shown["stored"]), (&json!("away"), &json!(3)), "{shown}");
        let since = shown["away_since"].as_u64().expect("a time");
        assert_eq!(shown["expires_at"].as_u64(), Some(since + 3_600_000), "{shown}");
        assert!(shown["stored_bytes"].as_u64() > Some(0), "{shown}");
        assert_eq!(shown["address"], Value::Null, "{shown}");
    };
    check(&admin.must("connections", "get", json!({ "client_id": "press-away" })).await);
    node.kill().await;
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let page = admin.must("connections", "list", json!({ "state": "away" })).await;
    let items = page["items"].as_array().expect("items");
    let away = items.iter().find(|it| it["client_id"] == "press-away").expect("it is listed");
    check(away);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let (_site, node, mut admin, _here) = busy().await;
    let mut others = Vec::new();
    for number in 0..5 {
        others.push(node.client(&hello(&format!("lathe-{number}"))).await);
    }
    for (asked, expected) in [
        (json!({ "prefix": "press-" }), vec!["press-away", "press-here"]),
        (json!({ "filter": "-here" }), vec!["press-here"]),
        (json!({ "prefix": "press-", "state": "connected" }), vec!["press-here"]),
        (json!({ "prefix": "press-", "state": "away" }), vec!["press-away"]),
        (json!({ "prefix": "press-", "address": "127.0.0.0/8" }), vec!["press-here"]),
        (json!({ "prefix": "press-", "listener": "mqtt" }), vec!["press-here"]),
        (json!({ "address": "10.0.0.0/8" }), vec![]),
        (json!({ "listener": "ws" }), vec![]),
        (json!({ "user_name": "nobody" }), vec![]),
        (
            json!({ "prefix": "lathe-", "user_name": "admin", "limit": 1000 }),
            vec!["lathe-0", "lathe-1", "lathe-2", "lathe-3", "lathe-4"],
        ),
    ] {
        let page = admin.must("connections", "list", asked.clone()).await;
        assert_eq!(texts(&page, "client_id"), expected, "{asked}");
        assert_eq!(page["next_cursor"], Value::Null, "{asked}");
    }
    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let asked = json!({ "prefix": "lathe-", "limit": 2, "cursor": cursor });
        let page = admin.must("connections", "list", asked).await;
        seen.extend(texts(&page, "client_id"));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, ["lathe-0", "lathe-1", "lathe-2", "lathe-3", "lathe-4"]);
}

#[tokio::test]
async fn an_operator_ends_a_connection_with_a_reason_and_the_session_stays() {
    let (_site, node, mut admin, _) = busy().await;
    for (reason, code) in [
        (Value::Null, ADMINISTRATIVE_ACTION),
        (json!("not_authorized"), 0x87),
        (json!("server_busy"), 0x89),
        (json!("server_shutting_down"), 0x8B),
        (json!("quota_exceeded"), 0x97),
    ] {
        let mut client = node.client(&hello("kept").persistent()).await;
        let mut body = json!({ "client_id": "kept" });
        if !reason.is_null() {
            body["reason"] = reason;
        }
        let told = admin.must("connections", "disconnect", body).await;
        assert_eq!((&told["was_connected"], &told["session_ended"]), (&json!(true), &json!(false)));
        assert_eq!(client.ending().await, Ending::Disconnected(code));
    }
    assert!(node.client(&hello("kept").persistent()).await.is_session_present());
}

#[tokio::test]
async fn an_operator_ends_a_session_connected_or_away_for_good() {
    let (site, node, mut admin, mut here) = busy().await;
    here.subscribe("wills", 1).await;
    let will = hello("doomed").persistent().will("wills", "gone");
    let mut doomed = node.client(&will).await;
    for client_id in ["doomed", "press-away"] {
        let body = json!({ "client_id": client_id, "end_session": true });
        let told = admin.must("connections", "disconnect", body.clone()).await;
        assert_eq!(told["session_ended"], true, "{told}");
        let error = admin.ask("connections", "disconnect", body).await.expect_err("it is gone");
        assert_eq!(error["code"], "not_found");
    }
    assert_eq!(doomed.ending().await, Ending::Disconnected(ADMINISTRATIVE_ACTION));
    assert_eq!(here.next_message().await.text(), "gone");
    node.kill().await;
    let node = site.start().await;
    for client_id in ["doomed", "press-away"] {
        let client = node.client(&hello(client_id).persistent()).await;
        assert!(!client.is_session_present(), "{client_id} has no session any more");
    }
}

#[tokio::test]
async fn whoever_ends_its_own_session_hears_the_answer_first() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let body = json!({ "client_id": "operator-admin", "end_session": true });
    assert_eq!(admin.must("connections", "disconnect", body).await["session_ended"], true);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let (_site, _node, mut admin, mut here) = busy().await;
    let one = |field: &str, value: Value| json!({ "client_id": "press-here", field: value });
    let cases = vec![
        ("connections", "get", json!({}), "bad_request", "client_id"),
        ("connections", "get", json!({ "client_id": 7 }), "bad_request", "client_id"),
        ("connections", "get", json!({ "client_id": "nobody" }), "not_found", "client_id"),
        ("connections", "get", one("more", json!(1)), "bad_request", "more"),
        ("connections", "list", json!({ "limit": -1 }), "bad_request", "limit"),
        ("connections", "list", json!({ "state": "asleep" }), "bad_request", "state"),
        ("connections", "list", json!({ "prefix": 5 }), "bad_request", "prefix"),
        ("connections", "list", json!({ "address": "10.0.0.0/99" }), "invalid", "address"),
        ("connections", "list", json!({ "cursor": "things:p1" }), "invalid", "cursor"),
        ("connections", "list", json!({ "cursor": "press-here" }), "invalid", "cursor"),
        ("connections", "list", json!({ "colour": "red" }), "bad_request", "colour"),
        ("connections", "disconnect", one("reason", json!("bored")), "bad_request", "reason"),
        ("connections", "disconnect", one("end_session", json!("x")), "bad_request", "end_session"),
        ("connections", "disconnect", json!({ "client_id": "nobody" }), "not_found", "client_id"),
        (
            "connections",
            "disconnect",
            json!({ "client_id": "press-away" }),
            "not_found",
            "client_id",
        ),
        ("connections", "kill", json!({}), "unknown_operation", "verb"),
    ];
    all_refused(&mut admin, cases).await;
    let left = admin.must("connections", "list", json!({ "prefix": "press-" })).await;
    assert_eq!(texts(&left, "client_id"), ["press-away", "press-here"]);
    assert!(here.publish_acked("still/there", b"x").await < 0x80);
}

#[tokio::test]
async fn only_administrators_ask_and_only_of_their_own_namespace() {
    let (_site, node, mut admin, _here) = busy().await;
    for role in ["user", "app"] {
        let secret = admin.create_user(role, role).await;
        let mut reader = Admin::enter_as(&node, role, &secret).await;
        for verb in ["list", "get", "disconnect"] {
            let error = reader.ask("connections", verb, json!({})).await.expect_err("not for them");
            assert_eq!(error["code"], "forbidden", "{verb} by {role}");
        }
    }
    admin.must("tenants", "create", json!({ "tenant": "acme" })).await;
    admin.must("projects", "create", json!({ "tenant": "acme", "project": "plant" })).await;
    let mut other = Admin::enter_as(&node, "acme/plant/admin", SECRET).await;
    let page = other.must("connections", "list", json!({})).await;
    assert_eq!(texts(&page, "client_id"), ["operator-acme-plant-admin"]);
    let body = json!({ "client_id": "press-here", "end_session": true });
    let error = other.ask("connections", "disconnect", body).await.expect_err("not its own");
    assert_eq!(error["code"], "not_found");
}
