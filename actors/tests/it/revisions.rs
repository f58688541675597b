//! Two operators at a time: what another one has changed meanwhile is not changed again by who has not seen it.

use crate::world::{Peer, World};
use serde_json::{Value as Json, json};

/// Creates one of everything; how each is read, changed and deleted.
async fn one_of_each(app: &mut Peer) -> Vec<(&'static str, Json, Json)> {
    let machine = json!({"protocol":"modbus_tcp","address":"plc:502"});
    let document = json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1", "@type": "tm:ThingModel", "title": "Pump",
        "properties": {"speed": {"type": "integer"}},
    });
    let rule = json!({"when":{"path":"acme/_raw/level","above":9.0},
        "then":[{"set":"acme/_raw/pump","v":true}]});
    let tag = json!({"address":"holding:0","type":"uint16","path":"acme/_raw/level"});
    let kinds = [
        ("tenants", json!({"tenant":"acme"}), json!({}), json!({"description":"x"})),
        ("projects", json!({"tenant":"acme","project":"p"}), json!({}), json!({"description":"x"})),
        ("roles", json!({"role":"r"}), json!({"base":"app","acl":[]}), json!({"description":"x"})),
        ("users", json!({"user":"u"}), json!({"role":"app"}), json!({"enabled":false})),
        ("groups", json!({"group":"g"}), json!({}), json!({"description":"x"})),
        (
            "models",
            json!({"model":"m"}),
            json!({"document":document}),
            json!({"document":document}),
        ),
        ("edges", json!({"edge":"e"}), json!({}), json!({"label":"x"})),
        ("rules", json!({"rule":"n"}), rule.clone(), rule),
        ("drivers", json!({"driver":"d"}), json!({"config":machine}), json!({"config":machine})),
        ("tags", json!({"driver":"d","tag":"t"}), tag, json!({"unit":"Cel"})),
    ];
    let mut made = Vec::new();
    for (resource, name, created, changed) in kinds {
        app.done(&format!("{resource}/create"), with(&name, &created)).await;
        made.push((resource, name, changed));
    }
    made
}

fn with(name: &Json, more: &Json) -> Json {
    let mut body = name.clone();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_meanwhile_is_neither_changed_nor_deleted() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let made = one_of_each(&mut app).await;
    // What was made last stands upon what was made first.
    for (resource, name, change) in made.into_iter().rev() {
        let verb = |verb: &str| format!("{resource}/{verb}");
        let shown = app.done(&verb("get"), name.clone()).await;
        let seen = shown["revision"].as_u64().unwrap_or_else(|| panic!("{resource}: {shown}"));
        assert!(seen > 0, "{resource}");
        let changed = |revision: u64| with(&name, &with(&change, &json!({"revision":revision})));
        app.done(&verb("update"), changed(seen)).await;
        let before = app.done(&verb("get"), name.clone()).await;
        assert_eq!(before["revision"], seen + 1, "{resource}: {before}");
        for (operation, body) in
            [("update", changed(seen)), ("delete", with(&name, &json!({"revision":seen})))]
        {
            let refused = app.refused(&verb(operation), body).await;
            let told = (&refused["code"], &refused["field"]);
            assert_eq!(
                told,
                (&json!("version_conflict"), &json!("revision")),
                "{resource} {operation}"
            );
        }
        assert_eq!(app.done(&verb("get"), name.clone()).await, before, "{resource} stays");
        app.done(&verb("delete"), with(&name, &json!({"revision":seen + 1}))).await;
        assert_eq!(app.refused(&verb("get"), name).await["code"], "not_found", "{resource}");
    }
    node.stop().await;
}
