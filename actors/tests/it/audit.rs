//! The audit over the bus: what is recorded, who sees it, and what is found when somebody has had the store.

use crate::world::{Node, Peer, START_MS, World, pass};
use proto::{Namespace, TenantId};
use serde_json::{Value as Json, json};
use store::{Changes, Row, RowError, Store};

/// A record as it lies in the store: the hash, then the bytes.
#[derive(Clone)]
struct Raw(Vec<u8>);

impl Row for Raw {
    type Key = (TenantId, u64);
    const TABLE: &'static str = "audit";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(_: u8, bytes: &[u8]) -> Result<Self, RowError> {
        Ok(Self(bytes.to_vec()))
    }
}

/// A checkpoint as it lies in the store.
struct RawCheckpoint(Json);

impl Row for RawCheckpoint {
    type Key = TenantId;
    const TABLE: &'static str = "audit_checkpoints";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_string().bytes());
    }
    fn decode(_: u8, bytes: &[u8]) -> Result<Self, RowError> {
        serde_json::from_slice(bytes).map(Self).map_err(RowError::malformed)
    }
}

fn tenant() -> TenantId {
    Namespace::default().tenant
}

async fn put(store: &Store, number: u64, row: &Raw) {
    let mut changes = Changes::new();
    changes.put::<Raw>(&(tenant(), number), row);
    store.commit(changes).await.unwrap();
}

fn raw(store: &Store, number: u64) -> Raw {
    store.read().unwrap().get::<Raw>(&(tenant(), number)).unwrap().unwrap()
}

async fn records(app: &mut Peer, query: Json) -> Vec<Json> {
    app.done("audit/list", query).await["items"].as_array().unwrap().clone()
}

async fn with_things(count: usize) -> (World, Node, Peer) {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    for number in 0..count {
        app.done("things/create", json!({ "thing": format!("p{number}") })).await;
    }
    (world, node, app)
}

#[tokio::test(start_paused = true)]
async fn what_is_done_and_refused_is_a_record_without_secrets() {
    let (world, node, mut app) = with_things(0).await;
    let secret = "a-secret-of-more-than-20-bytes";
    let create = json!({"thing":"p1","secret":secret,"request_id":"r1"});
    app.done("things/create", create.clone()).await;
    app.done("things/create", create).await;
    app.refused("things/create", json!({"thing":"p1"})).await;
    app.refused("things/update", json!({"thing":"p1","x":1})).await;
    app.refused("things/get", json!({"thing":"none"})).await;
    app.done("things/delete", json!({"thing":"p1"})).await;
    let found = records(&mut app, json!({"order":"oldest"})).await;
    let told = |it: &Json| (it["action"].clone(), it["outcome"].clone(), it["target"].clone());
    let p1 = json!({"thing":"p1"});
    assert_eq!(
        found.iter().map(told).collect::<Vec<_>>(),
        [
            (json!("things create"), json!("ok"), p1.clone()),
            (json!("things create"), json!("already_exists"), p1.clone()),
            (json!("things update"), json!("bad_request"), p1.clone()),
            (json!("things delete"), json!("ok"), p1),
        ],
        "repeated requests are one, and who only reads is none"
    );
    let first = &found[0];
    assert_eq!(
        first["by"],
        json!({"identity":"platform","name":"$platform","role":"system_admin"})
    );
    assert_eq!((&first["request_id"], &first["number"]), (&json!("r1"), &json!(1)));
    assert_eq!((first["t"].as_u64(), first["count"].as_u64()), (Some(START_MS), Some(1)));
    assert_eq!(first["digest"].as_str().map(str::len), Some(64));
    for number in 1..=4 {
        let bytes = raw(&world.store, number).0;
        assert!(!String::from_utf8_lossy(&bytes).contains(secret));
    }
    let verdict = app.done("audit/verify", json!({})).await;
    assert_eq!((&verdict["holds"], &verdict["checked"]), (&json!(true), &json!(4)));
    node.stop().await;
    // The chain goes on over a restart.
    let node = world.start().await;
    let mut app = node.peer("app");
    app.done("things/create", json!({"thing":"p2"})).await;
    let verdict = app.done("audit/verify", json!({})).await;
    assert_eq!((&verdict["holds"], &verdict["checked"]), (&json!(true), &json!(5)));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_a_missing_and_a_moved_record_are_found_and_named() {
    let (world, node, mut app) = with_things(9).await;
    let broken = |verdict: &Json| {
        assert_eq!(verdict["holds"], json!(false), "{verdict}");
        (verdict["broken"]["number"].as_u64().unwrap(), verdict["broken"]["why"].clone())
    };
    let good = raw(&world.store, 5);
    let text = String::from_utf8(good.0[32..].to_vec()).unwrap();
    let forged = [&good.0[..32], text.replace("p4", "p5").as_bytes()].concat();
    put(&world.store, 5, &Raw(forged)).await;
    let verdict = app.done("audit/verify", json!({})).await;
    assert_eq!((broken(&verdict), &verdict["checked"]), ((5, json!("hash")), &json!(4)));
    put(&world.store, 5, &raw(&world.store, 6)).await;
    assert_eq!(broken(&app.done("audit/verify", json!({})).await), (5, json!("prev")));
    let mut changes = Changes::new();
    changes.delete::<Raw>(&(tenant(), 5));
    world.store.commit(changes).await.unwrap();
    assert_eq!(broken(&app.done("audit/verify", json!({})).await), (5, json!("missing")));
    put(&world.store, 5, &good).await;
    assert_eq!(app.done("audit/verify", json!({})).await["holds"], json!(true));
    let mut changes = Changes::new();
    changes.delete::<Raw>(&(tenant(), 9));
    world.store.commit(changes).await.unwrap();
    assert_eq!(broken(&app.done("audit/verify", json!({})).await), (9, json!("head")));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn records_are_looked_for_by_every_field_in_both_orders_and_page_by_page() {
    let (_world, node, mut app) = with_things(7).await;
    pass(1000).await;
    app.refused("things/create", json!({"thing":"p3"})).await;
    let numbers = |found: Vec<Json>| {
        found.iter().map(|it| it["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let later = START_MS + 500;
    for (query, expected) in [
        (json!({"target":"p3"}), vec![8, 4]),
        (json!({"outcome":"refused"}), vec![8]),
        (json!({"outcome":"ok","order":"oldest","limit":2}), vec![1, 2]),
        (json!({"from":later}), vec![8]),
        (json!({"to":later,"limit":3}), vec![7, 6, 5]),
        (json!({"from":later + 9999}), vec![]),
        (json!({"by":"nobody"}), vec![]),
        (
            json!({"resource":"things","action":"things create","role":"system_admin","limit":1}),
            vec![8],
        ),
        (json!({"namespace":"default/other"}), vec![]),
    ] {
        assert_eq!(numbers(records(&mut app, query.clone()).await), expected, "{query}");
    }
    for order in ["newest", "oldest"] {
        let (mut seen, mut cursor) = (Vec::new(), Json::Null);
        loop {
            let mut query = json!({"order":order,"limit":3});
            if !cursor.is_null() {
                query["cursor"] = cursor;
            }
            let page = app.done("audit/list", query).await;
            seen.extend(numbers(page["items"].as_array().unwrap().clone()));
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        if order == "newest" {
            seen.reverse();
        }
        assert_eq!(seen, (1..=8).collect::<Vec<_>>(), "{order}");
    }
    for (verb, query, code, field) in [
        ("list", json!({"order":"sideways"}), "bad_request", json!("order")),
        ("list", json!({"cursor":"things:1"}), "invalid", json!("cursor")),
        ("get", json!({"number":99}), "not_found", json!("number")),
        ("verify", json!({"cursor":"audit:99"}), "invalid", json!("cursor")),
    ] {
        let error = app.refused(&format!("audit/{verb}"), query.clone()).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &field), "{verb} {query}");
    }
    let shown = app.done("audit/get", json!({"number":4})).await;
    assert_eq!(shown["target"], json!({"thing":"p3"}));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_exported_is_whole_and_can_be_followed_page_by_page() {
    let (_world, node, mut app) = with_things(10).await;
    let (mut cursor, mut lines, mut last) = (Json::Null, Vec::new(), Json::Null);
    loop {
        let mut query = json!({"limit":4});
        if !cursor.is_null() {
            query["cursor"] = cursor;
        }
        let page = app.done("audit/export", query).await;
        if !last.is_null() {
            assert_eq!(page["after"], last);
        }
        last = page["last"].clone();
        lines.extend(page["lines"].as_str().unwrap().lines().map(str::to_owned));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            assert_eq!(page["head"], last);
            break;
        }
    }
    assert_eq!(lines.len(), 10);
    for (index, line) in lines.iter().enumerate() {
        let record: Json = serde_json::from_str(line).unwrap();
        assert_eq!(record["number"].as_u64(), Some(index as u64 + 1));
    }
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_retention_drops_leaves_a_checkpoint_that_nobody_can_forge() {
    let mut world = World::new();
    world.settings.audit_records_max = 5;
    let node = world.start().await;
    let mut app = node.peer("app");
    for number in 0..12 {
        app.done("things/create", json!({ "thing": format!("p{number}") })).await;
    }
    pass(61_000).await;
    for _ in 0..50 {
        if node.figures().audit_dropped == 7 {
            break;
        }
        pass(100).await;
    }
    assert_eq!(node.figures().audit_dropped, 7);
    let verdict = app.done("audit/verify", json!({})).await;
    assert_eq!((&verdict["holds"], &verdict["checked"]), (&json!(true), &json!(5)), "{verdict}");
    let page = app.done("audit/export", json!({})).await;
    assert_eq!((&page["checkpoint"]["number"], &page["count"]), (&json!(7), &json!(5)));
    let stored = world.store.read().unwrap().get::<RawCheckpoint>(&tenant()).unwrap().unwrap();
    let mut forged = stored.0;
    forged["number"] = json!(8);
    let mut changes = Changes::new();
    changes.put(&tenant(), &RawCheckpoint(forged));
    changes.delete::<Raw>(&(tenant(), 8));
    world.store.commit(changes).await.unwrap();
    let verdict = app.done("audit/verify", json!({})).await;
    assert_eq!(verdict["broken"]["why"], json!("checkpoint"), "{verdict}");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refusals_is_merged_and_none_is_lost() {
    let (_world, node, mut app) = with_things(1).await;
    for _ in 0..200 {
        app.refused("things/create", json!({"thing":"p0"})).await;
    }
    pass(2_000).await;
    let found = records(&mut app, json!({"outcome":"refused","limit":1000})).await;
    let count: u64 = found.iter().map(|it| it["count"].as_u64().unwrap()).sum();
    assert_eq!(count, 200);
    assert!(found.len() < 100, "{} records", found.len());
    assert_eq!(app.done("audit/verify", json!({})).await["holds"], json!(true));
    node.stop().await;
}
