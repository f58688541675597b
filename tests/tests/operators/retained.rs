//! `retained`: what is kept for later subscribers, shown and deleted.

use crate::{all_refused, texts};
use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Hello, Property, Version, Wire, packet};
use serde_json::{Value, json};

/// A node with four retained messages.
async fn busy() -> (Site, Node, Admin, Wire) {
    let site = Site::new();
    let node = site.start().await;
    let admin = Admin::enter(&node).await;
    let hello = Hello::new(Version::V5, "press").user("admin", SECRET);
    let mut press = node.client(&hello).await;
    press.retain("plant/a", b"{\"v\":21.5}").await;
    press.retain("plant/b", "21,5 °C".as_bytes()).await;
    press.retain("plant/c/d", &[0xFF, 0x00]).await;
    let properties = [
        Property::MessageExpiryInterval(600),
        Property::ContentType("x/y".to_owned()),
        Property::UserProperty("line".to_owned(), "17".to_owned()),
    ];
    press.send(&packet::publish_with(b"other", b"soon", 0b0001, 0, &properties)).await;
    press.publish_acked("marker", b"").await;
    (site, node, admin, press)
}

/// The topics listed, without that of the edge node which every namespace has.
async fn topics(admin: &mut Admin, asked: Value) -> Vec<String> {
    let mut topics = texts(&admin.must("retained", "list", asked).await, "topic");
    topics.retain(|topic| topic != "edges/local/status");
    topics
}

#[tokio::test]
async fn retained_messages_are_listed_by_filter_page_by_page_without_their_payloads() {
    let (_site, _node, mut admin, _press) = busy().await;
    for (asked, expected) in [
        (json!({ "topic_filter": "plant/#" }), vec!["plant/a", "plant/b", "plant/c/d"]),
        (json!({ "topic_filter": "plant/+" }), vec!["plant/a", "plant/b"]),
        (json!({ "topic_filter": "plant/b" }), vec!["plant/b"]),
        (json!({ "topic_filter": "plant/#", "filter": "/d" }), vec!["plant/c/d"]),
        (json!({ "filter": "the" }), vec!["other"]),
        (json!({ "topic_filter": "nothing/#" }), vec![]),
    ] {
        assert_eq!(topics(&mut admin, asked.clone()).await, expected, "{asked}");
    }
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let asked = json!({ "topic_filter": "plant/#", "limit": 1, "cursor": cursor });
        let page = admin.must("retained", "list", asked).await;
        seen.extend(texts(&page, "topic"));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, ["plant/a", "plant/b", "plant/c/d"]);
    let page = admin.must("retained", "list", json!({ "topic_filter": "plant/a" })).await;
    let publisher = json!({ "client_id": "press", "user_name": "admin" });
    let bare = json!({
        "topic": "plant/a", "bytes": 10, "qos": 1, "expires_in_secs": null, "publisher": publisher,
    });
    assert_eq!(page["items"], json!([bare]));
    let asked = json!({ "topic_filter": "plant/a", "payload": true });
    let page = admin.must("retained", "list", asked).await;
    assert_eq!(page["items"][0]["payload"], json!({ "v": 21.5 }));
}

#[tokio::test]
async fn a_retained_message_is_shown_with_payload_properties_and_time_left() {
    let (_site, _node, mut admin, _press) = busy().await;
    for (topic, form, payload, encoding) in [
        ("plant/a", None, json!({ "v": 21.5 }), "json"),
        ("plant/a", Some("text"), json!("{\"v\":21.5}"), "text"),
        ("plant/a", Some("base64"), json!("eyJ2IjoyMS41fQ=="), "base64"),
        ("plant/b", None, json!("21,5 °C"), "text"),
        ("plant/c/d", None, json!("/wA="), "base64"),
    ] {
        let mut body = json!({ "topic": topic });
        if let Some(form) = form {
            body["as"] = json!(form);
        }
        let shown = admin.must("retained", "get", body).await;
        assert_eq!(
            (&shown["payload"], &shown["encoding"]),
            (&payload, &json!(encoding)),
            "{topic}"
        );
    }
    let shown = admin.must("retained", "get", json!({ "topic": "other" })).await;
    let left = shown["expires_in_secs"].as_u64().expect("it expires");
    assert!((1..=600).contains(&left), "{shown}");
    let properties = json!({ "content_type": "x/y", "user_properties": [["line", "17"]] });
    assert_eq!(shown["properties"], properties);
    assert_eq!((&shown["qos"], &shown["payload"]), (&json!(0), &json!("soon")));
}

#[tokio::test]
async fn one_is_deleted_by_its_topic_and_many_only_if_that_is_confirmed() {
    let (site, node, mut admin, mut press) = busy().await;
    let body = json!({ "topic": "plant/b" });
    let told = admin.must("retained", "delete", body.clone()).await;
    assert_eq!(told, json!({ "deleted": 1, "has_more": false }));
    let error = admin.ask("retained", "delete", body).await.expect_err("it is gone");
    assert_eq!((&error["code"], &error["field"]), (&json!("not_found"), &json!("topic")));
    let error = admin.ask("retained", "delete", json!({ "topic_filter": "plant/#" })).await;
    let error = error.expect_err("it is not confirmed");
    assert_eq!((&error["code"], &error["field"]), (&json!("invalid"), &json!("confirm")));
    assert!(error["message"].as_str().is_some_and(|it| it.starts_with("2 retained")), "{error}");
    assert_eq!(topics(&mut admin, json!({ "topic_filter": "plant/#" })).await.len(), 2);
    let body = json!({ "topic_filter": "plant/#", "confirm": true, "request_id": "r-1" });
    let told = admin.must("retained", "delete", body.clone()).await;
    assert_eq!(told, json!({ "deleted": 2, "has_more": false }));
    press.retain("plant/new", b"1").await;
    assert_eq!(admin.must("retained", "delete", body).await, told, "done once");
    assert_eq!(topics(&mut admin, json!({})).await, ["other", "plant/new"]);
    node.kill().await;
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    assert_eq!(topics(&mut admin, json!({})).await, ["other", "plant/new"]);
    let hello = Hello::new(Version::V5, "late").user("admin", SECRET);
    let mut late = node.client(&hello).await;
    late.subscribe("plant/#", 1).await;
    assert_eq!(late.next_message().await.topic, "plant/new");
}

#[tokio::test]
async fn a_scan_of_many_is_bounded_and_its_pages_are_whole() {
    let (_site, _node, mut admin, mut press) = busy().await;
    const COUNT: usize = 3_000;
    for number in 0..COUNT {
        let topic = format!("many/{number:05}");
        press.send(&packet::publish(Version::V5, topic.as_bytes(), b"x", 0b0001, 0)).await;
    }
    press.publish_acked("marker", b"").await;
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let asked =
            json!({ "topic_filter": "+/+", "filter": "many/", "limit": 700, "cursor": cursor });
        let page = admin.must("retained", "list", asked).await;
        assert!(page["items"].as_array().is_some_and(|it| it.len() <= 700));
        seen.extend(texts(&page, "topic"));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let expected: Vec<String> = (0..COUNT).map(|number| format!("many/{number:05}")).collect();
    assert_eq!(seen, expected);
    let body = json!({ "topic_filter": "many/#", "confirm": true });
    let mut deleted = 0;
    loop {
        let told = admin.must("retained", "delete", body.clone()).await;
        deleted += told["deleted"].as_u64().unwrap_or_default();
        if told["has_more"] == false {
            break;
        }
    }
    assert_eq!(deleted, COUNT as u64);
    assert_eq!(topics(&mut admin, json!({ "topic_filter": "many/#" })).await, [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let (_site, _node, mut admin, _press) = busy().await;
    let both = json!({ "topic": "plant/a", "topic_filter": "#", "confirm": true });
    let cases = vec![
        ("retained", "list", json!({ "topic_filter": "a/#/b" }), "invalid", "topic_filter"),
        ("retained", "list", json!({ "payload": "yes" }), "bad_request", "payload"),
        ("retained", "list", json!({ "limit": "all" }), "bad_request", "limit"),
        ("retained", "list", json!({ "cursor": "connections:a" }), "invalid", "cursor"),
        ("retained", "list", json!({ "cursor": "retained:a/#" }), "invalid", "cursor"),
        ("retained", "list", json!({ "client_id": "press" }), "bad_request", "client_id"),
        ("retained", "get", json!({}), "bad_request", "topic"),
        ("retained", "get", json!({ "topic": "plant/+" }), "invalid", "topic"),
        ("retained", "get", json!({ "topic": "plant/z" }), "not_found", "topic"),
        (
            "retained",
            "get",
            json!({ "topic": "plant/b", "as": "json" }),
            "unsupported_encoding",
            "as",
        ),
        ("retained", "get", json!({ "topic": "plant/b", "as": "xml" }), "bad_request", "as"),
        ("retained", "delete", json!({}), "bad_request", "topic"),
        ("retained", "delete", both, "bad_request", "topic"),
        ("retained", "delete", json!({ "topic": "plant/#" }), "invalid", "topic"),
        (
            "retained",
            "delete",
            json!({ "topic_filter": "#", "confirm": 1 }),
            "bad_request",
            "confirm",
        ),
        ("retained", "delete", json!({ "topic_filter": "#" }), "invalid", "confirm"),
    ];
    all_refused(&mut admin, cases).await;
    assert_eq!(topics(&mut admin, json!({})).await.len(), 4);
}

#[tokio::test]
async fn only_administrators_ask_and_only_of_their_own_namespace() {
    let (_site, node, mut admin, _press) = busy().await;
    let secret = admin.create_user("reader", "user").await;
    let mut reader = Admin::enter_as(&node, "reader", &secret).await;
    for verb in ["list", "get", "delete"] {
        let error = reader.ask("retained", verb, json!({})).await.expect_err("not for it");
        assert_eq!(error["code"], "forbidden", "{verb}");
    }
    admin.must("tenants", "create", json!({ "tenant": "acme" })).await;
    admin.must("projects", "create", json!({ "tenant": "acme", "project": "plant" })).await;
    let mut other = Admin::enter_as(&node, "acme/plant/admin", SECRET).await;
    assert_eq!(topics(&mut other, json!({})).await, [""; 0]);
    let body = json!({ "topic": "plant/a" });
    let error = other.ask("retained", "get", body).await.expect_err("not its own");
    assert_eq!(error["code"], "not_found");
    let body = json!({ "topic_filter": "#", "confirm": true });
    assert_eq!(other.must("retained", "delete", body).await["deleted"], 1, "its own edge node's");
    assert_eq!(topics(&mut admin, json!({})).await.len(), 4);
}
