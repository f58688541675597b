//! The audit of real nodes: `kill -9` during mutations from two projects of one tenant, logins, and who sees what.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::{Hello, Version};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Rounds unless the environment says otherwise.
const ROUNDS: u64 = 4;

/// The longest that a round works before it is killed.
const WORK_MS_MAX: u64 = 600;

const PROJECTS: [&str; 2] = ["default/default", "default/other"];

/// What was answered: things by their namespace and name, and refusals.
#[derive(Clone, Default)]
struct Answered {
    created: BTreeSet<(String, String)>,
    deleted: BTreeSet<(String, String)>,
    refused: BTreeMap<String, u64>,
}

#[tokio::test]
async fn nothing_is_done_without_its_record_and_no_record_is_of_nothing() {
    let rounds = std::env::var("MANIFOLD_CRASH_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |it| it.parse().expect("the rounds are a number"));
    let seed = random::seed();
    println!("{}={seed}, {rounds} rounds", random::SEED_VARIABLE);
    let mut random = Random::new(seed);
    let site = Site::new();
    let node = site.start().await;
    let project = json!({ "tenant": "default", "project": "other" });
    Admin::enter(&node).await.must("projects", "create", project).await;
    let answered = Arc::new(Mutex::new(Answered::default()));
    let mut node = node;
    for round in 0..rounds {
        let mut workers = Vec::new();
        for namespace in PROJECTS {
            let admin = Admin::enter_as(&node, &format!("{namespace}/admin"), SECRET).await;
            workers.push(tokio::spawn(work(admin, namespace, round, Arc::clone(&answered))));
        }
        tokio::time::sleep(Duration::from_millis(random.below(WORK_MS_MAX))).await;
        node.kill().await;
        for worker in workers {
            worker.abort();
            let _ = worker.await;
        }
        node = site.start().await;
        let promised = answered.lock().expect("no worker panics with it").clone();
        hold_against(&node, &promised).await;
    }
    node.terminate().await;
}

/// Creates things, some of them twice, and deletes every other one.
async fn work(mut admin: Admin, namespace: &str, round: u64, answered: Arc<Mutex<Answered>>) {
    for number in 0_u64.. {
        let thing = format!("t{round}-{number}");
        let key = (namespace.to_owned(), thing.clone());
        admin.must("things", "create", json!({ "thing": thing })).await;
        answered.lock().expect("not poisoned").created.insert(key.clone());
        // Few enough to be recorded one by one.
        if number % 10 == 0 {
            let again = admin.ask("things", "create", json!({ "thing": thing })).await;
            assert_eq!(again.expect_err("it is there")["code"], "already_exists");
            let mut answered = answered.lock().expect("not poisoned");
            *answered.refused.entry(namespace.to_owned()).or_default() += 1;
        }
        if number % 2 == 0 {
            admin.must("things", "delete", json!({ "thing": thing })).await;
            answered.lock().expect("not poisoned").deleted.insert(key);
        }
    }
}

async fn hold_against(node: &Node, answered: &Answered) {
    let mut admin = Admin::enter(node).await;
    let verdict = admin.must("audit", "verify", json!({})).await;
    assert_eq!(verdict["holds"], true, "{verdict}");
    let records =
        all(&mut admin, "audit", json!({ "order": "oldest", "resource": "things" })).await;
    let done = |action: &str| {
        let found = records.iter().filter(|it| it["action"] == action && it["outcome"] == "ok");
        found.map(named).collect::<BTreeSet<_>>()
    };
    let (created, deleted) = (done("things create"), done("things delete"));
    assert!(answered.created.is_subset(&created), "a creation has no record");
    assert!(answered.deleted.is_subset(&deleted), "a deletion has no record");
    let mut there = BTreeSet::new();
    for namespace in PROJECTS {
        let mut admin = Admin::enter_as(node, &format!("{namespace}/admin"), SECRET).await;
        for thing in all(&mut admin, "things", json!({})).await {
            let name = thing["thing"].as_str().expect("a thing has a name").to_owned();
            there.insert((namespace.to_owned(), name));
        }
        let refused = records
            .iter()
            .filter(|it| it["outcome"] == "already_exists" && it["namespace"] == namespace);
        let refused: u64 = refused.filter_map(|it| it["count"].as_u64()).sum();
        assert!(refused >= answered.refused.get(namespace).copied().unwrap_or(0));
    }
    let should_be: BTreeSet<_> = created.difference(&deleted).cloned().collect();
    assert_eq!(there, should_be, "what is there is what the records say");
}

fn named(record: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&record["namespace"]), text(&record["target"]["thing"]))
}

/// All pages of a list.
async fn all(admin: &mut Admin, resource: &str, query: Value) -> Vec<Value> {
    let mut items = Vec::new();
    let mut query = query;
    query["limit"] = json!(500);
    loop {
        let page = admin.must(resource, "list", query.clone()).await;
        items.extend(page["items"].as_array().expect("a page has items").clone());
        match page.get("next_cursor") {
            Some(cursor) => query["cursor"] = cursor.clone(),
            None => return items,
        }
    }
}

#[tokio::test]
async fn strangers_of_one_address_are_recorded_together() {
    const STRANGERS: u64 = 200;
    let anonymous = r#"security.anonymous={ namespace = "default/default", role = "app" }"#;
    let node = Site::new().with(anonymous).start().await;
    for number in 0..STRANGERS {
        let hello = Hello::new(Version::V5, &format!("stranger-{number}"));
        node.client(&hello).await.leave().await;
    }
    let mut admin = Admin::enter(&node).await;
    let mut found = Vec::new();
    let count = |found: &[Value]| found.iter().filter_map(|it| it["count"].as_u64()).sum::<u64>();
    for _ in 0..100 {
        let query = json!({ "action": "login", "by": "anonymous" });
        found = all(&mut admin, "audit", query).await;
        if count(&found) >= STRANGERS {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(count(&found), STRANGERS, "each of them is counted: {found:?}");
    assert!(found.len() < 50, "{} records", found.len());
    assert!(found.iter().all(|it| it["client_id"].is_null()), "{found:?}");
    node.terminate().await;
}

#[tokio::test]
async fn logins_are_recorded_but_for_those_of_devices() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let thing = admin.create_thing("press1", "acme/press1").await;
    let user = admin.create_user("ada", "user").await;
    let hello = |name: &str, secret: &str| {
        Hello::new(Version::V5, &format!("{name}-client")).user(name, secret)
    };
    node.client(&hello("press1", &thing)).await.leave().await;
    node.client(&hello("ada", &user)).await.leave().await;
    let mut wire = manifold_tests::wire::Wire::open(node.mqtt(), Version::V5).await;
    wire.send(&hello("ada", "a guess of hers").encode()).await;
    let _connack = wire.next().await;
    let mut found = Vec::new();
    for _ in 0..100 {
        let query = json!({ "action": "login", "order": "oldest" });
        found = all(&mut admin, "audit", query).await;
        if found.iter().any(|it| it["outcome"] != "ok") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = |it: &Value| (it["by"]["name"].clone(), it["outcome"].clone());
    let told: Vec<_> = found.iter().map(told).collect();
    assert!(told.contains(&(json!("ada"), json!("ok"))), "{told:?}");
    assert!(told.iter().all(|(name, _)| name != "press1"), "{told:?}");
    let refused = found.iter().find(|it| it["outcome"] != "ok").expect("the guess is recorded");
    assert_eq!(refused["by"], json!({ "name": "ada" }));
    let address = refused["address"].as_str().expect("it came from somewhere");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert!(!json!(found).to_string().contains("a guess"), "no secret is recorded");
    node.terminate().await;
}

#[tokio::test]
async fn each_sees_what_its_role_is_for() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    for tenant in ["acme", "other"] {
        admin.must("tenants", "create", json!({ "tenant": tenant })).await;
    }
    for (tenant, project) in [("acme", "plant"), ("acme", "office"), ("other", "plant")] {
        admin.must("projects", "create", json!({ "tenant": tenant, "project": project })).await;
    }
    let mut secrets = BTreeMap::new();
    for (namespace, role) in [
        ("acme/plant", "project_admin"),
        ("acme/office", "tenant_admin"),
        ("other/plant", "project_admin"),
    ] {
        let mut inside = Admin::enter_as(&node, &format!("{namespace}/admin"), SECRET).await;
        secrets.insert(namespace, inside.create_user("boss", role).await);
        inside.create_thing("press1", "a/press1").await;
    }
    let enter = async |namespace: &str| {
        Admin::enter_as(&node, &format!("{namespace}/boss"), &secrets[namespace]).await
    };
    let namespaces = async |admin: &mut Admin, query: Value| {
        let found = all(admin, "audit", query).await;
        found
            .iter()
            .map(|it| it["namespace"].as_str().expect("a text").to_owned())
            .collect::<BTreeSet<_>>()
    };
    let of = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let mut plant = enter("acme/plant").await;
    assert_eq!(namespaces(&mut plant, json!({})).await, of(&["acme/plant"]));
    for verb in ["verify", "export"] {
        let error = plant.ask("audit", verb, json!({})).await.expect_err("it may not");
        assert_eq!(error["code"], "forbidden");
    }
    let mut office = enter("acme/office").await;
    assert_eq!(namespaces(&mut office, json!({})).await, of(&["acme/office", "acme/plant"]));
    assert_eq!(office.must("audit", "verify", json!({})).await["holds"], true);
    let error = office.ask("audit", "list", json!({ "tenant": "other" })).await;
    assert_eq!(error.expect_err("it is another's")["code"], "forbidden");
    assert_eq!(namespaces(&mut admin, json!({ "tenant": "other" })).await, of(&["other/plant"]));
    // What the one may not is recorded, with its number, for the other to see.
    let refused = all(&mut office, "audit", json!({ "outcome": "forbidden" })).await;
    assert_eq!(refused.len(), 3, "{refused:?}");
    node.terminate().await;
}
