//! Many things at once: import and export.

use super::told;
use crate::world::World;
use broker::credential::Credential;
use proto::{Namespace, UserId};
use serde_json::{Value as Json, json};

const TABLE: &str = "thing,serial,parent,tags,attributes.row,location\n\
    gw,1,,gateway,,acme/hall\n\
    p1,2,gw,press;leased,7,\n\
    p2,2,gw,press,,\n\
    p 3,,,,,\n\
    p4,4,nobody,,,\n\
    p5,5,gw,press,,x//y\n\
    p1,6,,,,\n\
    p6,6,p1,press,,\n";

fn results(report: &Json) -> Vec<String> {
    let rows = report["rows"].as_array().unwrap().iter();
    let text = |row: &Json| {
        let error = &row["error"];
        let field = error["field"].as_str().unwrap_or("none");
        match error["code"].as_str() {
            Some(code) => format!("{} {code} {field}", row["row"]),
            None => format!("{} {}", row["row"], row["result"].as_str().unwrap()),
        }
    };
    rows.map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn each_row_of_a_table_has_a_result_and_a_bad_one_stops_no_other() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let expected = [
        "1 created",
        "2 created",
        "3 already_exists serial",
        "4 bad_request thing",
        "5 not_found parent",
        "6 invalid location",
        "7 already_exists thing",
        "8 created",
    ];
    let dry = json!({"format":"csv","text":TABLE,"dry_run":true});
    let report = app.done("things/import", dry).await;
    assert_eq!(results(&report), expected);
    assert!(report["rows"].as_array().unwrap().iter().all(|row| row.get("secret").is_none()));
    assert_eq!(app.done("things/list", json!({})).await["items"], json!([]), "nothing is done");

    let commits = world.store.figures().commits;
    let real = json!({"format":"csv","text":TABLE});
    let report = app.done("things/import", real.clone()).await;
    assert_eq!(results(&report), expected);
    assert_eq!((&report["created"], &report["refused"]), (&json!(3), &json!(5)));
    assert_eq!(world.store.figures().commits - commits, 1, "one commit");
    let secret = report["rows"][1]["secret"].as_str().unwrap();
    let key = (Namespace::default(), UserId::parse("p1").unwrap());
    let credential = world.store.read().unwrap().get::<Credential>(&key).unwrap().unwrap();
    assert!(credential.verify(secret.as_bytes()));
    let p1 = app.done("things/get", json!({"thing":"p1"})).await;
    assert_eq!((&p1["attributes"], &p1["parent"]), (&json!({"row":7}), &json!("gw")));

    let report = app.done("things/import", real).await;
    assert_eq!((&report["unchanged"], &report["created"]), (&json!(3), &json!(0)));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_awake_goes_by_what_was_imported() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.subscribe("uns/#");
    app.publish("things/p1/telemetry", r#"{"a":1}"#);
    app.expect("uns/default/p1/_raw/a").await;
    let text = "{\"thing\":\"p1\",\"location\":\"acme/hall\",\"tags\":[\"x\"]}\n";
    let report = app.done("things/import", json!({"format":"jsonl","text":text})).await;
    assert_eq!(report["updated"], json!(1));
    app.publish("things/p1/telemetry", r#"{"a":2}"#);
    app.expect("uns/acme/hall/_raw/a").await;
    let short = "{\"thing\":\"p1\",\"secret\":\"short but chosen\"}";
    let report = app.done("things/import", json!({"format":"jsonl","text":short})).await;
    assert_eq!(results(&report), ["1 invalid secret"]);
    let whole = json!({"format":"csv","text":"thing,colour\np1,red\n"});
    assert_eq!(told(&mut app, "things/import", whole).await.1, "text");
    let form = json!({"format":"xml","text":""});
    assert_eq!(told(&mut app, "things/import", form).await.1, "format");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_exported_page_by_page_is_imported_elsewhere_as_it_was() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    app.done("things/import", json!({"format":"csv","text":TABLE})).await;
    let other = Namespace::parse("acme/other").unwrap();
    app.done("tenants/create", json!({"tenant":"acme"})).await;
    app.done("projects/create", json!({"tenant":"acme","project":"other"})).await;
    let mut there = node.peer_in(&other, "there");
    for format in ["csv", "jsonl"] {
        let (mut text, mut cursor) = (String::new(), Json::Null);
        loop {
            let asked = json!({"format":format,"limit":2,"cursor":cursor});
            let page = app.done("things/export", asked).await;
            text.push_str(page["text"].as_str().unwrap());
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        let report = there.done("things/import", json!({"format":format,"text":text})).await;
        assert_eq!(report["refused"], json!(0), "{report}");
    }
    let fields = |list: Json| -> Vec<Json> {
        let items = list["items"].as_array().unwrap().clone();
        let kept = |it: Json| {
            json!([it["thing"], it["serial"], it["parent"], it["tags"], it["attributes"]])
        };
        items.into_iter().map(kept).collect()
    };
    let here = fields(app.done("things/list", json!({})).await);
    assert_eq!(fields(there.done("things/list", json!({})).await), here);
    assert_eq!(here.len(), 3);
    let some = json!({"format":"csv","query":{"tag":"gateway"}});
    let page = app.done("things/export", some).await;
    assert_eq!(
        page["text"],
        json!(
            "thing,model,location,parent,edge,serial,tags,enabled,attributes\ngw,,acme/hall,,,1,gateway,true,\n"
        )
    );
    node.stop().await;
}
