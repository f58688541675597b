//! Tenants and their projects: who manages what, what disabling ends, what others are not told.

use crate::wire::Wire;
use crate::world::{Node, Peer, START_MS, World};
use proto::{Namespace, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use store::{Changes, Row, RowError, UnfinishedPart};

/// A project as a build before there were tenants has written it.
#[derive(Serialize, Deserialize)]
struct OldProject {
    created: TimestampMs,
}

impl Row for OldProject {
    type Key = Namespace;
    const TABLE: &'static str = "projects";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json(version, bytes)
    }
}

/// The tenants `acme` and `umbrella`, each with the projects `berlin` and `paris`.
async fn two_tenants(app: &mut Peer) {
    for tenant in ["acme", "umbrella"] {
        app.done("tenants/create", json!({"tenant":tenant})).await;
        for project in ["berlin", "paris"] {
            app.done("projects/create", json!({"tenant":tenant,"project":project})).await;
        }
    }
}

/// A client of a user that is made for it.
pub(crate) async fn enter(
    app: &mut Peer,
    address: SocketAddr,
    namespace: &str,
    name: &str,
    role: &str,
) -> (Wire, String) {
    let user = json!({"namespace":namespace,"user":name,"role":role});
    let secret = app.done("users/create", user).await["secret"].as_str().unwrap().to_owned();
    let mut wire = come_in(address, namespace, name, &secret).await.unwrap();
    wire.hear_answers().await;
    (wire, secret)
}

pub(crate) async fn come_in(
    address: SocketAddr,
    namespace: &str,
    name: &str,
    secret: &str,
) -> Result<Wire, u8> {
    let user = format!("{namespace}/{name}");
    Wire::connect(address, &format!("c-{name}"), &user, secret).await
}

fn names(page: &Json, field: &str) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

async fn started() -> (World, Node, Peer, SocketAddr) {
    let world = World::new();
    let node = world.start().await;
    let app = node.peer("app");
    let address = node.listen().await;
    (world, node, app, address)
}

#[tokio::test(start_paused = true)]
async fn tenants_are_created_shown_changed_and_deleted() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    assert_eq!(names(&app.done("tenants/list", json!({})).await, "tenant"), ["default", "system"]);
    let made = json!({"tenant":"acme","description":"makes everything","quota":{"things":5}});
    let made = app.done("tenants/create", made).await;
    let expected = json!({"tenant":"acme","description":"makes everything","enabled":true,
        "quota":{"things":5},"created":START_MS,"revision":1});
    assert_eq!(made, expected);
    assert_eq!(app.done("tenants/get", json!({"tenant":"acme"})).await, expected);
    let changed = json!({"tenant":"acme","enabled":false,"quota":{"things":null,"tags":3}});
    let changed = app.done("tenants/update", changed).await;
    assert_eq!((&changed["enabled"], &changed["quota"]), (&json!(false), &json!({"tags":3})));
    drop((node, app));

    let node = world.start().await;
    let mut app = node.peer("app");
    assert_eq!(app.done("tenants/get", json!({"tenant":"acme"})).await, changed);
    for (operation, body, code, field) in [
        ("tenants/create", json!({"tenant":"acme"}), "already_exists", "tenant"),
        ("tenants/create", json!({"tenant":"a b"}), "bad_request", "tenant"),
        ("tenants/create", json!({"tenant":"x","quota":{"thing":1}}), "bad_request", "quota.thing"),
        (
            "tenants/create",
            json!({"tenant":"x","quota":{"things":-1}}),
            "bad_request",
            "quota.things",
        ),
        (
            "tenants/create",
            json!({"tenant":"x","quota":{"publish_messages_per_sec":0}}),
            "invalid",
            "quota.publish_messages_per_sec",
        ),
        (
            "tenants/create",
            json!({"tenant":"x","description":"x".repeat(1025)}),
            "too_large",
            "description",
        ),
        ("tenants/get", json!({"tenant":"nobody"}), "not_found", "tenant"),
        ("tenants/update", json!({"tenant":"nobody"}), "not_found", "tenant"),
        ("tenants/update", json!({"tenant":"system","enabled":false}), "invalid", "tenant"),
        ("tenants/delete", json!({"tenant":"default"}), "invalid", "tenant"),
        ("projects/create", json!({"tenant":"nobody","project":"p"}), "not_found", "tenant"),
    ] {
        let refused = app.refused(operation, body.clone()).await;
        let told = (&refused["code"], &refused["field"]);
        assert_eq!(told, (&json!(code), &json!(field)), "{operation} {body}: {refused}");
    }
    let project = json!({"tenant":"acme","project":"berlin","quota":{"tags":3}});
    app.done("projects/create", project).await;
    let refused = app.refused("tenants/delete", json!({"tenant":"acme"})).await;
    assert_eq!(refused["message"], json!("acme still has projects"));
    app.done("projects/delete", json!({"tenant":"acme","project":"berlin"})).await;
    app.done("tenants/delete", json!({"tenant":"acme"})).await;
    app.refused("tenants/get", json!({"tenant":"acme"})).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn projects_of_an_earlier_build_have_a_tenant_after_the_start() {
    let world = World::new();
    let old = Namespace::parse("acme/berlin").unwrap();
    let mut changes = Changes::new();
    changes.put(&old, &OldProject { created: TimestampMs(7) });
    world.store.commit(changes).await.unwrap();
    let node = world.start().await;
    let mut app = node.peer("app");
    let listed = app.done("tenants/list", json!({})).await;
    assert_eq!(names(&listed, "tenant"), ["acme", "default", "system"]);
    let shown = app.done("projects/get", json!({"tenant":"acme","project":"berlin"})).await;
    assert_eq!((&shown["created"], &shown["enabled"]), (&json!(7), &json!(true)));
    node.stop().await;
}

#[tokio::test]
async fn a_tenant_admin_manages_the_projects_and_users_of_its_tenant_and_no_others() {
    let (_world, node, mut app, address) = started().await;
    two_tenants(&mut app).await;
    let (mut boss, _) = enter(&mut app, address, "acme/berlin", "boss", "tenant_admin").await;
    for (operation, body) in [
        ("projects/create", json!({"tenant":"acme","project":"rome","description":"new"})),
        ("projects/update", json!({"tenant":"acme","project":"rome","enabled":false})),
        ("projects/delete", json!({"tenant":"acme","project":"rome"})),
        ("users/create", json!({"namespace":"acme/paris","user":"ann","role":"project_admin"})),
        ("users/update", json!({"namespace":"acme/paris","user":"ann","role":"tenant_admin"})),
        ("users/get", json!({"namespace":"acme/paris","user":"ann"})),
        ("users/delete", json!({"namespace":"acme/paris","user":"ann"})),
        ("tenants/get", json!({"tenant":"acme"})),
    ] {
        let answer = boss.admin(operation, &body).await;
        assert_eq!(answer["ok"], json!(true), "{operation} {body}: {answer}");
    }
    let seen = boss.admin("projects/list", &json!({})).await;
    assert_eq!(names(&seen["data"], "project"), ["berlin", "paris"]);
    let seen = boss.admin("tenants/list", &json!({})).await;
    assert_eq!(names(&seen["data"], "tenant"), ["acme"]);

    // What is there and what is not is refused in the same words, which name nobody.
    let ask = [
        ("projects/get", "project"),
        ("projects/update", "project"),
        ("projects/delete", "project"),
        ("projects/create", "tenant"),
    ];
    for (operation, field) in ask {
        let about = |tenant: &str| json!({"tenant":tenant,"project":"berlin"});
        let there = boss.admin(operation, &about("umbrella")).await;
        let nowhere = boss.admin(operation, &about("nobody")).await;
        assert_eq!(there, nowhere, "{operation}");
        let told = (&there["error"]["code"], &there["error"]["field"]);
        assert_eq!(told, (&json!("not_found"), &json!(field)));
        assert!(!there.to_string().contains("umbrella"), "{there}");
    }
    for operation in ["users/list", "roles/list", "credentials/list"] {
        let mut answers = Vec::new();
        for namespace in ["umbrella/berlin", "nobody/berlin", "system/system"] {
            let answer = boss.admin(operation, &json!({"namespace":namespace})).await;
            assert_eq!(answer["error"]["code"], json!("not_found"), "{operation} {answer}");
            answers.push(answer.to_string());
        }
        assert!(answers.iter().all(|it| *it == answers[0]), "{answers:?}");
        assert!(!answers[0].contains("umbrella"), "{answers:?}");
    }
    let grant = json!({"namespace":"acme/paris","user":"x","role":"system_admin"});
    let refused = boss.admin("users/create", &grant).await;
    assert_eq!(refused["error"]["code"], json!("forbidden"));
    let own = json!({"tenant":"acme","project":"berlin","enabled":false});
    let refused = boss.admin("projects/update", &own).await;
    assert_eq!(refused["error"]["field"], json!("enabled"), "nobody locks itself out");
    for verb in ["create", "update", "delete"] {
        let refused = boss.admin(&format!("tenants/{verb}"), &json!({"tenant":"acme"})).await;
        assert_eq!(refused["error"]["code"], json!("forbidden"), "{verb}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_project_admin_sees_its_own_project_only() {
    let (_world, node, mut app, address) = started().await;
    two_tenants(&mut app).await;
    let (mut admin, _) = enter(&mut app, address, "acme/berlin", "ann", "project_admin").await;
    let seen = admin.admin("projects/list", &json!({})).await;
    assert_eq!(names(&seen["data"], "project"), ["berlin"]);
    for namespace in ["acme/paris", "acme/nowhere", "umbrella/berlin"] {
        let answer = admin.admin("users/list", &json!({"namespace":namespace})).await;
        let error = &answer["error"];
        assert_eq!(error["message"], json!("there is no such project"), "{namespace}");
    }
    node.stop().await;
}

#[tokio::test]
async fn disabling_a_tenant_or_a_project_ends_sessions_at_once_and_enabling_brings_them_back() {
    let (world, node, mut app, address) = started().await;
    two_tenants(&mut app).await;
    let tenant = |enabled: bool| ("tenants/update", json!({"tenant":"acme","enabled":enabled}));
    let project = |enabled: bool| {
        let body = json!({"tenant":"acme","project":"berlin","enabled":enabled});
        ("projects/update", body)
    };
    let (mut ann, secret) = enter(&mut app, address, "acme/berlin", "ann", "app").await;
    let (mut other, _) = enter(&mut app, address, "umbrella/berlin", "bob", "app").await;
    for (close, open) in [(tenant(false), tenant(true)), (project(false), project(true))] {
        app.done(close.0, close.1).await;
        assert_eq!(ann.end().await, 0x87);
        let refused = come_in(address, "acme/berlin", "ann", &secret).await;
        assert_eq!(refused.err(), Some(0x87));
        // Somebody has to be able to look at it.
        let operator = "the secret of the admin";
        let mut admin = come_in(address, "acme/berlin", "admin", operator).await.unwrap();
        admin.hear_answers().await;
        let shown = admin.admin("things/list", &json!({})).await;
        assert_eq!(shown["ok"], json!(true), "{shown}");
        app.done(open.0, open.1).await;
        ann = come_in(address, "acme/berlin", "ann", &secret).await.unwrap();
    }
    assert_eq!(other.publish("plant/x", "1").await & 0x80, 0, "the other tenant notices nothing");
    app.done("tenants/update", json!({"tenant":"acme","enabled":false})).await;
    node.stop().await;

    let node = world.start().await;
    let address = node.listen().await;
    let refused = come_in(address, "acme/berlin", "ann", &secret).await;
    assert_eq!(refused.err(), Some(0x87), "it is closed after a restart as well");
    node.stop().await;
}

#[tokio::test]
async fn a_disabled_user_goes_at_once_and_comes_back_when_enabled() {
    let (_world, node, mut app, address) = started().await;
    let (mut ann, secret) = enter(&mut app, address, "default/default", "ann", "app").await;
    app.done("users/update", json!({"user":"ann","enabled":false})).await;
    assert_eq!(ann.end().await, 0x87);
    let refused = come_in(address, "default/default", "ann", &secret).await;
    assert_eq!(refused.err(), Some(0x87));
    app.done("users/update", json!({"user":"ann","enabled":true})).await;
    come_in(address, "default/default", "ann", &secret).await.unwrap();
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_creates_a_tenant_of_which_a_restore_was_cut_short() {
    let world = World::new();
    let mut left = Changes::new();
    left.put(&"acme".to_owned(), &UnfinishedPart);
    world.store.commit(left).await.unwrap();
    let node = world.start().await;
    let mut app = node.peer("app");
    let refused = app.refused("tenants/create", json!({"tenant":"acme"})).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("already_exists"), &json!("tenant")));
    app.done("tenants/create", json!({"tenant":"other"})).await;
    node.stop().await;
}
