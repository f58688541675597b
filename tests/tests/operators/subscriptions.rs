//! `subscriptions`: who listens to what, and how an operator ends it.

use crate::{all_refused, texts};
use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Hello, Property, Version, Wire, packet};
use serde_json::{Value, json};

fn hello(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id).user("admin", SECRET)
}

/// A client with plain subscriptions, one that is away, and two members of a group.
async fn busy() -> (Site, Node, Admin, Vec<Wire>) {
    let site = Site::new();
    let node = site.start().await;
    let admin = Admin::enter(&node).await;
    let mut away = node.client(&hello("b-away").persistent()).await;
    away.subscribe("plant/+/level", 1).await;
    away.leave().await;
    let mut plain = node.client(&hello("a-plain")).await;
    plain.subscribe("plant/#", 0).await;
    // QoS 1, No Local, Retain As Published, Retain Handling 1, Subscription Identifier 77.
    let id = [Property::SubscriptionIdentifier(77)];
    plain.send(&packet::subscribe_with(Version::V5, 99, &id, &[(b"a/b", 0b01_1101)])).await;
    let mut wires = vec![plain];
    for name in ["g-one", "g-two"] {
        let mut member = node.client(&hello(name)).await;
        member.subscribe("$share/crew/plant/x/level", 2).await;
        wires.push(member);
    }
    // What is sent after a SUBSCRIBE is answered after it.
    wires[0].publish_acked("marker", b"").await;
    (site, node, admin, wires)
}

async fn pairs(admin: &mut Admin, asked: Value) -> Vec<String> {
    let page = admin.must("subscriptions", "list", asked).await;
    let (clients, filters) = (texts(&page, "client_id"), texts(&page, "topic_filter"));
    clients.iter().zip(filters).map(|(client, filter)| format!("{client} {filter}")).collect()
}

#[tokio::test]
async fn subscriptions_are_found_by_client_filter_topic_and_group() {
    let (_site, _node, mut admin, _wires) = busy().await;
    const A_B: &str = "a-plain a/b";
    const ALL: &str = "a-plain plant/#";
    const LEVEL: &str = "b-away plant/+/level";
    const ONE: &str = "g-one $share/crew/plant/x/level";
    const TWO: &str = "g-two $share/crew/plant/x/level";
    let own = "operator-admin clients/operator-admin/reply/+";
    for (asked, expected) in [
        (json!({}), vec![A_B, ALL, LEVEL, ONE, TWO, own]),
        (json!({ "client_id": "a-plain" }), vec![A_B, ALL]),
        (json!({ "client_id": "nobody" }), vec![]),
        (json!({ "topic_filter": "plant/#" }), vec![ALL]),
        (json!({ "topic_filter": "$share/crew/plant/x/level" }), vec![ONE, TWO]),
        (json!({ "topic_filter": "plant" }), vec![]),
        (json!({ "topic": "plant/x/level" }), vec![ALL, LEVEL, ONE, TWO]),
        (json!({ "topic": "plant/x/level", "client_id": "b-away" }), vec![LEVEL]),
        (json!({ "topic": "plant" }), vec![ALL]),
        (json!({ "topic": "a/b" }), vec![A_B]),
        (json!({ "topic": "elsewhere" }), vec![]),
        (json!({ "group": "crew" }), vec![ONE, TWO]),
        (json!({ "filter": "level" }), vec![LEVEL, ONE, TWO]),
    ] {
        assert_eq!(pairs(&mut admin, asked.clone()).await, expected, "{asked}");
        let (mut seen, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let mut asked = asked.clone();
            asked["limit"] = json!(1);
            asked["cursor"] = cursor;
            let page = admin.must("subscriptions", "list", asked).await;
            seen.extend(texts(&page, "topic_filter"));
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        let filters: Vec<_> = expected.iter().map(|it| it.split_once(' ').unwrap().1).collect();
        assert_eq!(seen, filters, "{asked}, page by page");
    }
}

#[tokio::test]
async fn options_and_groups_are_shown() {
    let (_site, _node, mut admin, wires) = busy().await;
    let body = json!({ "client_id": "a-plain", "topic_filter": "a/b" });
    assert_eq!(
        admin.must("subscriptions", "get", body).await,
        json!({
            "client_id": "a-plain", "topic_filter": "a/b", "qos": 1, "no_local": true,
            "retain_as_published": true, "retain_handling": 1, "subscription_id": 77,
        })
    );
    let body = json!({ "client_id": "g-one", "topic_filter": "$share/crew/plant/x/level" });
    let shown = admin.must("subscriptions", "get", body).await;
    assert_eq!((&shown["group"], &shown["qos"]), (&json!("crew"), &json!(2)));
    let shared = &shown["shared"];
    assert_eq!((&shared["strategy"], &shared["members"]), (&json!("round_robin"), &json!(2)));
    let member = |name| json!({ "client_id": name, "connected": true, "qos": 2 });
    assert_eq!(shared["member_list"], json!([member("g-one"), member("g-two")]));
    drop(wires);
}

#[tokio::test]
async fn an_operator_ends_a_subscription_of_a_client_connected_or_away() {
    let (site, node, mut admin, mut wires) = busy().await;
    for (client_id, topic_filter) in [
        ("a-plain", "plant/#"),
        ("b-away", "plant/+/level"),
        ("g-one", "$share/crew/plant/x/level"),
    ] {
        let body = json!({ "client_id": client_id, "topic_filter": topic_filter });
        admin.must("subscriptions", "delete", body.clone()).await;
        let error = admin.ask("subscriptions", "delete", body).await.expect_err("it is gone");
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("not_found"), &json!("topic_filter"))
        );
    }
    assert_eq!(pairs(&mut admin, json!({ "topic": "plant/x/level" })).await.len(), 1);
    // The group has one member left, which gets everything.
    for number in 0..3 {
        wires[0].publish_acked("plant/x/level", format!("{number}").as_bytes()).await;
        assert_eq!(wires[2].next_message().await.text(), number.to_string());
    }
    node.kill().await;
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    assert_eq!(pairs(&mut admin, json!({ "client_id": "b-away" })).await, [""; 0]);
    let shown = admin.must("connections", "get", json!({ "client_id": "b-away" })).await;
    assert_eq!((&shown["state"], &shown["stored"]), (&json!("away"), &json!(0)));
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let (_site, _node, mut admin, _wires) = busy().await;
    let one = |client: &str, filter: &str| json!({ "client_id": client, "topic_filter": filter });
    let cases = vec![
        ("subscriptions", "list", json!({ "topic_filter": "a/#/b" }), "invalid", "topic_filter"),
        ("subscriptions", "list", json!({ "topic_filter": "$share/x" }), "invalid", "topic_filter"),
        ("subscriptions", "list", json!({ "topic": "a/+" }), "invalid", "topic"),
        ("subscriptions", "list", json!({ "topic": 1 }), "bad_request", "topic"),
        ("subscriptions", "list", json!({ "client_id": "" }), "bad_request", "client_id"),
        ("subscriptions", "list", json!({ "cursor": "connections:a" }), "invalid", "cursor"),
        ("subscriptions", "list", json!({ "cursor": "subscriptions:x" }), "invalid", "cursor"),
        ("subscriptions", "list", json!({ "qos": 1 }), "bad_request", "qos"),
        ("subscriptions", "get", json!({ "client_id": "a-plain" }), "bad_request", "topic_filter"),
        ("subscriptions", "get", one("a-plain", "nothing"), "not_found", "topic_filter"),
        ("subscriptions", "delete", one("nobody", "a/b"), "not_found", "topic_filter"),
        ("subscriptions", "delete", one("a-plain", "a/#/b"), "invalid", "topic_filter"),
        ("subscriptions", "create", one("a-plain", "c"), "unknown_operation", "verb"),
    ];
    all_refused(&mut admin, cases).await;
    assert_eq!(pairs(&mut admin, json!({})).await.len(), 6);
}

#[tokio::test]
async fn only_administrators_ask_and_only_of_their_own_namespace() {
    let (_site, node, mut admin, _wires) = busy().await;
    let secret = admin.create_user("reader", "user").await;
    let mut reader = Admin::enter_as(&node, "reader", &secret).await;
    for verb in ["list", "get", "delete"] {
        let error = reader.ask("subscriptions", verb, json!({})).await.expect_err("not for it");
        assert_eq!(error["code"], "forbidden", "{verb}");
    }
    admin.must("tenants", "create", json!({ "tenant": "acme" })).await;
    admin.must("projects", "create", json!({ "tenant": "acme", "project": "plant" })).await;
    let mut other = Admin::enter_as(&node, "acme/plant/admin", SECRET).await;
    for asked in [json!({}), json!({ "topic": "plant/x/level" }), json!({ "group": "crew" })] {
        let found = pairs(&mut other, asked).await;
        assert!(found.iter().all(|it| it.starts_with("operator-acme-plant-admin ")), "{found:?}");
    }
    let body = json!({ "client_id": "a-plain", "topic_filter": "plant/#" });
    let error = other.ask("subscriptions", "delete", body).await.expect_err("not its own");
    assert_eq!(error["code"], "not_found");
}
