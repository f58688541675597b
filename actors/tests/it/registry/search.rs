//! Searching things.

use super::told;
use crate::world::{Peer, World};
use serde_json::{Value as Json, json};

/// The names of all that a query finds, page by page.
async fn found(app: &mut Peer, query: Json, limit: usize) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), Json::Null);
    loop {
        let asked = json!({"query":query,"limit":limit,"cursor":cursor});
        let page = app.done("things/list", asked).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        names.extend(items.iter().map(|it| it["thing"].as_str().unwrap().to_owned()));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            return names;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn things_are_found_by_each_field_and_by_all_together_page_by_page() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.done("things/create", json!({"thing":"gw","location":"acme/berlin"})).await;
    for number in 1..=7 {
        let thing = json!({
            "thing": format!("pump{number}"), "serial": format!("s{number}"),
            "parent": (number > 4).then_some("gw"),
            "tags": if number % 2 == 0 { json!(["even", "all"]) } else { json!(["all"]) },
            "location": format!("acme/berlin/hall{}", number / 4),
            "attributes": {"row": number % 3}, "enabled": number != 7,
        });
        app.done("things/create", thing).await;
    }
    app.publish("things/pump1/telemetry", r#"{"a":1}"#);
    app.subscribe("uns/#");
    app.publish("things/pump1/telemetry", r#"{"a":2}"#);
    app.next().await;
    let cases = [
        (json!({"tag":"even"}), vec![2, 4, 6]),
        (json!({"tags":["even","all"],"parent":"gw"}), vec![6]),
        (json!({"tag":"nobody"}), vec![]),
        (json!({"parent":"gw"}), vec![5, 6, 7]),
        (json!({"serial":"s3"}), vec![3]),
        (json!({"serial":"s3","tag":"even"}), vec![]),
        (json!({"location":"acme/berlin/hall0"}), vec![1, 2, 3]),
        (json!({"name_prefix":"pump","location":"acme/berlin"}), vec![1, 2, 3, 4, 5, 6, 7]),
        (json!({"name_contains":"mp6"}), vec![6]),
        (json!({"attributes":{"row":0}}), vec![3, 6]),
        (json!({"attributes":{"row":{"exists":true}},"tag":"even"}), vec![2, 4, 6]),
        (json!({"state":"disabled"}), vec![7]),
        (json!({"state":"offline"}), vec![1]),
        (json!({"state":"unactivated","name_prefix":"pump"}), vec![2, 3, 4, 5, 6]),
        (json!({"state":"online"}), vec![]),
    ];
    for (query, numbers) in cases {
        let expected: Vec<String> = numbers.iter().map(|number| format!("pump{number}")).collect();
        for limit in [1, 2, 100] {
            assert_eq!(found(&mut app, query.clone(), limit).await, expected, "{query} {limit}");
        }
    }
    let none = json!({"query":{"name_contains":"a"},"filter":"b"});
    assert_eq!(told(&mut app, "things/list", none).await.1, "filter");
    let unknown = json!({"query":{"colour":"red"}});
    assert_eq!(told(&mut app, "things/list", unknown).await.1, "query.colour");
    let cursor = json!({"query":{"tag":"all"},"cursor":"a/b"});
    assert_eq!(told(&mut app, "things/list", cursor).await.1, "cursor");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cursor_stays_good_while_things_come_and_go() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    for name in ["a", "c", "e"] {
        app.done("things/create", json!({"thing":name,"tags":["x"]})).await;
    }
    let asked = json!({"query":{"tag":"x"},"limit":2});
    let page = app.done("things/list", asked).await;
    assert_eq!(page["next_cursor"], json!("c"));
    app.done("things/delete", json!({"thing":"c"})).await;
    app.done("things/create", json!({"thing":"b","tags":["x"]})).await;
    app.done("things/create", json!({"thing":"d","tags":["x"]})).await;
    let asked = json!({"query":{"tag":"x"},"limit":9,"cursor":"c"});
    let page = app.done("things/list", asked).await;
    let names: Vec<&Json> =
        page["items"].as_array().unwrap().iter().map(|it| &it["thing"]).collect();
    assert_eq!(names, [&json!("d"), &json!("e")]);
    node.stop().await;
}
