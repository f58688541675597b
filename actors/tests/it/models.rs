//! Thing models: their life as documents, and what a device that has one may say, be set to, and ask.

use crate::world::{Peer, START_MS, World};
use serde_json::{Value as Json, json};

/// A pump: everything that a model can say, in small.
fn pump() -> Json {
    json!({
        "@context": ["https://www.w3.org/2022/wot/td/v1.1"],
        "@type": "tm:ThingModel",
        "title": "Pump",
        "properties": {
            "speed": {"type":"integer","minimum":0,"maximum":3000,"unit":"/min"},
            "temperature": {"type":"number","unit":"Cel","readOnly":true},
            "mode": {"type":"string","enum":["auto","manual"]},
            "pin": {"type":"string","writeOnly":true},
            "motor": {
                "type":"object",
                "properties": {"current":{"type":"number","unit":"A"},"on":{"type":"boolean"}},
                "required": ["current"]
            }
        },
        "actions": {"reset": {"input": {"type":"integer"}, "output": {"type":"boolean"}}},
        "events": {
            "overheat": {"data": {"type":"object",
                "properties":{"at":{"type":"number","minimum":80}},
                "required":["at"]}},
            "started": {}
        }
    })
}

/// Publishes a model and registers the thing `p1` with it.
async fn pump_p1(app: &mut Peer) {
    app.done("models/create", json!({"model":"pump","document":pump()})).await;
    app.done("models/publish", json!({"model":"pump"})).await;
    let made = app.done("things/create", json!({"thing":"p1","model":"pump"})).await;
    assert_eq!(made["model"], json!("pump@1"));
}

#[tokio::test(start_paused = true)]
async fn a_model_is_drafted_published_and_then_never_changes() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let made = app.done("models/create", json!({"model":"pump","document":pump()})).await;
    assert_eq!(
        made,
        json!({"model":"pump","versions":[],"has_draft":true,"created":START_MS,
            "updated":START_MS,"revision":1,"properties":5,"actions":1,"events":2})
    );
    let refused = app.refused("things/create", json!({"thing":"p1","model":"pump"})).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid"), &json!("model")));
    let mut second = pump();
    second["title"] = json!("Pump, better");
    app.done("models/update", json!({"model":"pump","document":second})).await;
    let published = app.done("models/publish", json!({"model":"pump"})).await;
    assert_eq!((&published["version"], &published["has_draft"]), (&json!(1), &json!(false)));
    app.refused("models/publish", json!({"model":"pump"})).await;

    app.done("models/update", json!({"model":"pump","document":pump()})).await;
    let latest = app.done("models/get", json!({"model":"pump"})).await;
    assert_eq!((&latest["version"], &latest["document"]), (&json!(1), &second));
    let draft = app.done("models/get", json!({"model":"pump","draft":true})).await;
    assert_eq!((&draft["version"], &draft["document"]), (&Json::Null, &pump()));
    app.done("models/publish", json!({"model":"pump"})).await;
    let first = app.done("models/get", json!({"model":"pump","version":1})).await;
    assert_eq!(first["document"], second);

    let listed = app.done("models/list", json!({})).await;
    assert_eq!(listed["items"][0]["versions"], json!([1, 2]));
    app.done("things/create", json!({"thing":"p1","model":"pump@1"})).await;
    app.done("things/create", json!({"thing":"p2","model":"pump"})).await;
    assert_eq!(app.done("things/get", json!({"thing":"p2"})).await["model"], json!("pump@2"));
    for body in [json!({"model":"pump"}), json!({"model":"pump","version":1})] {
        let refused = app.refused("models/delete", body).await;
        assert!(refused["message"].as_str().unwrap().contains("`p1`"), "{refused}");
    }
    app.done("things/update", json!({"thing":"p1","model":"pump@2"})).await;
    app.done("models/delete", json!({"model":"pump","version":1})).await;
    app.done("things/update", json!({"thing":"p1","model":null})).await;
    app.refused("models/delete", json!({"model":"pump"})).await;
    app.done("things/delete", json!({"thing":"p2"})).await;
    // The number of a deleted version is not given again.
    app.done("models/update", json!({"model":"pump","document":pump()})).await;
    assert_eq!(
        app.done("models/publish", json!({"model":"pump"})).await["versions"],
        json!([2, 3])
    );
    app.done("models/delete", json!({"model":"pump"})).await;
    app.refused("models/get", json!({"model":"pump"})).await;
    assert_eq!(app.done("models/list", json!({})).await["items"], json!([]));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn refusals_about_models_name_code_and_field() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    pump_p1(&mut app).await;
    let mut broken = pump();
    broken["properties"]["speed"]["minimum"] = json!("x");
    let mut large = pump();
    large["description"] = json!("x".repeat(65 * 1024));
    let cases = [
        ("models/create", json!({"model":"Pump","document":{}}), "bad_request", "model"),
        ("models/create", json!({"model":"pump","document":pump()}), "already_exists", "model"),
        ("models/create", json!({"model":"a"}), "bad_request", "document"),
        ("models/create", json!({"model":"a","document":{}}), "invalid", "document.@context"),
        (
            "models/create",
            json!({"model":"a","document":broken}),
            "invalid",
            "document.properties.speed.minimum",
        ),
        ("models/create", json!({"model":"a","document":large}), "too_large", "document"),
        ("models/update", json!({"model":"a","document":pump()}), "not_found", "model"),
        ("models/publish", json!({"model":"a"}), "not_found", "model"),
        ("models/publish", json!({"model":"pump"}), "invalid", "model"),
        ("models/get", json!({"model":"pump","version":7}), "not_found", "version"),
        ("models/get", json!({"model":"pump","version":0}), "not_found", "version"),
        ("models/get", json!({"model":"pump","draft":true}), "not_found", "draft"),
        ("models/delete", json!({"model":"pump","version":7}), "not_found", "version"),
        ("models/import", json!({"model":"a","profile":"a: ["}), "invalid", "profile"),
        (
            "models/import",
            json!({"model":"a","profile":{"deviceResources":[5]}}),
            "invalid",
            "profile.deviceResources[0]",
        ),
        ("things/create", json!({"thing":"x","model":"none"}), "not_found", "model"),
        ("things/create", json!({"thing":"x","model":"pump@2"}), "not_found", "model"),
        ("things/create", json!({"thing":"x","model":"pump@x"}), "bad_request", "model"),
        ("things/update", json!({"thing":"p1","model":"none"}), "not_found", "model"),
        ("things/values", json!({"thing":"none"}), "not_found", ""),
        ("things/values", json!({"thing":"p1","cursor":"values:a/b"}), "invalid", "cursor"),
        ("things/values", json!({"thing":"p1","names":["a/"]}), "invalid", "names[0]"),
    ];
    for (operation, body, code, field) in cases {
        let refused = app.refused(operation, body.clone()).await;
        let field = if field.is_empty() { Json::Null } else { json!(field) };
        assert_eq!(
            (&refused["code"], &refused["field"]),
            (&json!(code), &field),
            "{operation}: {refused}"
        );
    }
    let shown = app.done("things/get", json!({"thing":"p1"})).await;
    assert_eq!(shown["model"], json!("pump@1"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn telemetry_keeps_to_the_model_and_takes_its_contract_and_units() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    pump_p1(&mut app).await;
    app.subscribe("uns/#");
    app.subscribe("events/rejected/p1");
    app.publish("things/p1/telemetry", r#"{"motor":{"current":2.5,"heat":1},"speed":1500}"#);
    let at = |name: &str| format!("uns/default/p1/_pump_v1/{name}");
    let current = app.expect(&at("motor/current")).await;
    assert_eq!(current, json!({"v":2.5,"t":START_MS,"q":"good","u":"A"}));
    assert_eq!(app.expect(&at("motor/heat")).await.get("u"), None);
    assert_eq!(app.expect(&at("speed")).await["u"], json!("/min"));

    let cases = [
        (r#"{"speed":3001}"#, "speed", "maximum is 3000, it is 3001"),
        (r#"{"temperature":20,"speed":1.5}"#, "speed", "type is integer, it is 1.5"),
        (r#"{"t":1,"values":{"motor":{}}}"#, "values.motor.current", "required, it is missing"),
        (r#"[{"speed":1},{"mode":"off"}]"#, "[1].mode", "enum has 2 values, none is \"off\""),
        (r#"{"pin":"1234"}"#, "pin", "writeOnly is true, it is never reported"),
        (r#"{"pressure":1}"#, "pressure", "the model pump@1 has no property `pressure`"),
    ];
    for (payload, field, message) in cases {
        app.publish("things/p1/telemetry", payload);
        let refused = app.expect("events/rejected/p1").await;
        assert_eq!(
            (&refused["code"], &refused["field"], &refused["message"]),
            (&json!("invalid"), &json!(field), &json!(message))
        );
    }
    assert_eq!(app.retained(&at("temperature")), None, "all or nothing");
    assert_eq!(node.figures().telemetry_rejected, 6);

    // What the model does not describe may be welcome; then it is raw.
    let mut open = pump();
    open["manifold:additionalProperties"] = json!(true);
    app.done("models/update", json!({"model":"pump","document":open})).await;
    app.done("models/publish", json!({"model":"pump"})).await;
    app.publish("things/p1/telemetry", r#"{"pressure":1}"#);
    app.expect("events/rejected/p1").await;
    app.done("things/update", json!({"thing":"p1","model":"pump"})).await;
    app.publish("things/p1/telemetry", r#"{"pressure":1,"speed":7}"#);
    app.wait_for("uns/default/p1/_raw/pressure").await;
    app.expect("uns/default/p1/_pump_v2/speed").await;

    // Also for a device that wakes from what is stored.
    drop(node);
    let node = world.start().await;
    let mut app = node.peer("app");
    app.subscribe("events/rejected/p1");
    app.publish("things/p1/telemetry", r#"{"speed":-1}"#);
    assert_eq!(app.expect("events/rejected/p1").await["field"], json!("speed"));
    app.done("things/update", json!({"thing":"p1","model":null})).await;
    app.subscribe("uns/#");
    app.publish("things/p1/telemetry", r#"{"speed":-1}"#);
    app.wait_for("uns/default/p1/_raw/speed").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn events_are_those_of_the_model() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    pump_p1(&mut app).await;
    app.subscribe("events/rejected/p1");
    let cases = [
        ("overheat", r#"{"level":"error","data":{"at":20}}"#, json!("data.at"), "minimum is 80"),
        ("overheat", r#"{"level":"error"}"#, json!("data"), "required"),
        ("overheat", r#"{"level":"error","data":5}"#, json!("data"), "type is object"),
        ("exploded", r#"{"level":"error"}"#, Json::Null, "has no event `exploded`"),
    ];
    for (event, payload, field, message) in cases {
        app.publish(&format!("things/p1/events/{event}"), payload);
        let refused = app.expect("events/rejected/p1").await;
        assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid"), &field), "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(message), "{refused}");
    }
    app.publish("things/p1/events/overheat", r#"{"level":"error","data":{"at":90}}"#);
    app.publish("things/p1/events/started", r#"{"level":"notify","data":"by hand"}"#);
    app.publish("things/p1/events/started", "{");
    app.expect("events/rejected/p1").await;
    let figures = node.figures();
    assert_eq!((figures.events_accepted, figures.events_rejected), (2, 5));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_classic_shadow_holds_what_the_model_allows() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    pump_p1(&mut app).await;
    app.subscribe("things/p1/shadow/update/accepted");
    app.subscribe("things/p1/shadow/update/rejected");
    let cases = [
        (
            r#"{"state":{"desired":{"speed":5000}}}"#,
            "maximum is 3000, it is 5000 (state.desired.speed)",
        ),
        (
            r#"{"state":{"desired":{"temperature":5}}}"#,
            "readOnly is true, nobody but the device sets it (state.desired.temperature)",
        ),
        (
            r#"{"state":{"reported":{"motor":{"on":true}}}}"#,
            "required, it is missing (state.reported.motor.current)",
        ),
        (
            r#"{"state":{"reported":{"x":1}}}"#,
            "the model pump@1 has no property `x` (state.reported.x)",
        ),
    ];
    for (payload, message) in cases {
        app.publish("things/p1/shadow/update", payload);
        let rejected = app.expect("things/p1/shadow/update/rejected").await;
        assert_eq!((&rejected["code"], &rejected["message"]), (&json!(422), &json!(message)));
    }
    // A part of an object is held against the whole that it leads to; what is deleted cannot be wrong.
    for payload in [
        r#"{"state":{"desired":{"speed":100,"pin":"1"},"reported":{"motor":{"current":1}}}}"#,
        r#"{"state":{"reported":{"temperature":20,"motor":{"on":true}}}}"#,
        r#"{"state":{"desired":{"speed":null,"x":null},"reported":null}}"#,
    ] {
        app.publish("things/p1/shadow/update", payload);
        app.expect("things/p1/shadow/update/accepted").await;
    }
    app.publish("things/p1/shadow/update", r#"{"state":{"reported":{"motor":{"current":1}}}}"#);
    app.expect("things/p1/shadow/update/accepted").await;
    app.publish("things/p1/shadow/update", r#"{"state":{"reported":{"motor":{"current":null}}}}"#);
    let rejected = app.expect("things/p1/shadow/update/rejected").await;
    assert_eq!(rejected["code"], json!(422));
    // A named shadow is not of the model.
    app.subscribe("things/p1/shadow/name/app/update/accepted");
    app.publish("things/p1/shadow/name/app/update", r#"{"state":{"desired":{"x":1}}}"#);
    app.expect("things/p1/shadow/name/app/update/accepted").await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_fetches_its_own_model() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    pump_p1(&mut app).await;
    app.thing("p2").await;
    app.subscribe("things/+/model/get/+");
    app.publish("things/p1/model/get", r#"{"clientToken":"c"}"#);
    assert_eq!(
        app.expect("things/p1/model/get/accepted").await,
        json!({"model":"pump","version":1,"document":pump(),"timestamp":START_MS / 1000,
            "clientToken":"c"})
    );
    app.publish("things/p1/model/get", r#"{"version":1}"#);
    app.expect("things/p1/model/get/accepted").await;
    let cases = [("p1", r#"{"version":2}"#, 409), ("p1", "{", 400), ("p2", "", 404)];
    for (thing, payload, code) in cases {
        app.publish(&format!("things/{thing}/model/get"), payload);
        let rejected = app.expect(&format!("things/{thing}/model/get/rejected")).await;
        assert_eq!(rejected["code"], json!(code), "{rejected}");
    }
    app.subscribe("answers");
    app.ask("things/p2/model/get", "", "answers", "r7");
    app.expect("things/p2/model/get/rejected").await;
    let (correlation, rejected) = app.next_correlated().await;
    assert_eq!((&correlation[..], &rejected["code"]), (&b"r7"[..], &json!(404)));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_of_edgex_becomes_a_draft_that_can_be_published() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    let profile = "name: Meter\ndeviceResources:\n  - name: Power\n    properties:\n      \
        { valueType: Float32, readWrite: R, units: kW, minimum: '0', scale: '0.1' }\n";
    let made = app.done("models/import", json!({"model":"meter","profile":profile})).await;
    assert_eq!(
        made["document"]["properties"],
        json!({"Power":{"type":"number","readOnly":true,"unit":"kW","minimum":0}})
    );
    assert_eq!(made["left_out"][0]["at"], json!("deviceResources[0].properties.scale"));
    app.done("models/publish", json!({"model":"meter"})).await;
    app.done("things/create", json!({"thing":"m1","model":"meter","location":"acme/hall"})).await;
    app.subscribe("uns/#");
    app.publish("things/m1/telemetry", r#"{"Power":1.5}"#);
    assert_eq!(app.expect("uns/acme/hall/_meter_v1/Power").await["u"], json!("kW"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_values_of_a_thing_are_read_in_pages_or_by_name() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    pump_p1(&mut app).await;
    app.subscribe("uns/#");
    app.done("things/update", json!({"thing":"p1","model":null})).await;
    app.publish("things/p1/telemetry", r#"{"a":1,"speed":9}"#);
    app.wait_for("uns/default/p1/_raw/speed").await;
    app.done("things/update", json!({"thing":"p1","model":"pump"})).await;
    app.publish("things/p1/telemetry", r#"{"t":5,"values":{"speed":7,"motor":{"current":1}}}"#);
    app.wait_for("uns/default/p1/_pump_v1/speed").await;

    let mut names = Vec::new();
    let mut cursor = Json::Null;
    loop {
        let asked = json!({"thing":"p1","limit":1,"cursor":cursor});
        let page = app.done("things/values", asked).await;
        names.extend(page["items"].as_array().unwrap().iter().map(|it| it["path"].clone()));
        cursor = page.get("next_cursor").cloned().unwrap_or_default();
        if cursor.is_null() {
            break;
        }
    }
    let at = |name: &str| json!(format!("default/p1/{name}"));
    assert_eq!(
        names,
        [at("_pump_v1/motor/current"), at("_pump_v1/speed"), at("_raw/a"), at("_raw/speed")]
    );
    let whole = app.done("things/values", json!({"thing":"p1"})).await;
    assert_eq!(whole["items"].as_array().unwrap().len(), 4);
    let named = json!({"thing":"p1","names":["speed","a","none"]});
    let named = app.done("things/values", named).await;
    assert_eq!(
        named["items"][0],
        json!({"name":"speed","path":"default/p1/_pump_v1/speed","v":7,"t":5,"q":"good","u":"/min"})
    );
    assert_eq!((&named["items"][1]["v"], &named["missing"]), (&json!(1), &json!(["none"])));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn models_of_two_namespaces_are_two_and_a_project_with_models_is_not_deleted() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    pump_p1(&mut app).await;
    let project = json!({"tenant":"acme","project":"plant"});
    app.done("tenants/create", json!({"tenant":"acme"})).await;
    app.done("projects/create", project.clone()).await;
    let namespace = proto::Namespace::parse("acme/plant").unwrap();
    let mut other = node.peer_in(&namespace, "other");
    other.refused("models/get", json!({"model":"pump"})).await;
    other.refused("things/create", json!({"thing":"p1","model":"pump"})).await;
    let mut loose = pump();
    loose["properties"]["speed"] = json!({"type":"number"});
    other.done("models/create", json!({"model":"pump","document":loose})).await;
    other.done("models/publish", json!({"model":"pump"})).await;
    other.done("things/create", json!({"thing":"p1","model":"pump"})).await;
    for peer in [&app, &other] {
        peer.subscribe("uns/#");
        peer.subscribe("events/rejected/p1");
        peer.publish("things/p1/telemetry", r#"{"speed":9999.5}"#);
    }
    app.expect("events/rejected/p1").await;
    other.expect("uns/acme/p1/_pump_v1/speed").await;
    other.done("things/delete", json!({"thing":"p1"})).await;
    let refused = app.refused("projects/delete", project.clone()).await;
    assert!(refused["message"].as_str().unwrap().contains("models"), "{refused}");
    other.done("models/delete", json!({"model":"pump"})).await;
    app.done("projects/delete", project).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_is_an_action_of_the_model_with_an_input_of_it() {
    let world = World::new();
    let node = world.start().await;
    let mut app = node.peer("app");
    pump_p1(&mut app).await;
    let cases = [
        (json!({"thing":"p1","name":"explode","id":"a"}), "name", "no action `explode`"),
        (json!({"thing":"p1","name":"reset","id":"a","input":"hard"}), "input", "integer"),
        (json!({"thing":"p1","name":"reset","id":"a"}), "input", ""),
    ];
    for (body, field, said) in cases {
        let refused = app.refused("commands/create", body.clone()).await;
        assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid"), &json!(field)));
        assert!(refused["message"].as_str().unwrap().contains(said), "{body}: {refused}");
    }
    let listed = app.done("commands/list", json!({"thing":"p1"})).await;
    assert_eq!(listed["items"], json!([]), "nothing of them is left");
    app.done("commands/create", json!({"thing":"p1","name":"reset","id":"a","input":2})).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_not_the_actions_is_a_failure() {
    let node = World::new().start().await;
    let mut app = node.peer("app");
    pump_p1(&mut app).await;
    let device = node.device("p1");
    device.subscribe("things/p1/commands/+/request");
    let event = json!({ "identity": {"thing": "p1"}, "connection": 1 });
    node.peer("events").publish("events/clients/listening", &event.to_string());
    app.subscribe("things/p1/commands/+/result");
    app.subscribe("events/rejected/p1");
    let (invoke, response) =
        ("things/p1/commands/reset/invoke", "things/p1/commands/reset/response");
    for (id, output, status) in [
        ("a", json!(true), "succeeded"),
        ("b", json!("done"), "failed"),
        ("c", Json::Null, "failed"),
    ] {
        app.publish(invoke, &json!({"id": id, "input": 1}).to_string());
        device.publish(response, &json!({"id": id, "status": "ok", "output": output}).to_string());
        if status == "failed" {
            let told = app.expect("events/rejected/p1").await;
            assert_eq!(told["field"], "output", "{told}");
        }
        let result = app.expect("things/p1/commands/reset/result").await;
        assert_eq!((&result["id"], &result["status"]), (&json!(id), &json!(status)), "{result}");
        if status == "failed" {
            assert_eq!(result["error"]["code"], "invalid", "{result}");
            assert!(result.get("output").is_none(), "nobody takes it for what was asked for");
        }
    }
    // Nobody waits for this one: its output is not looked at.
    device.publish(response, &json!({"id": "b", "status": "ok", "output": "late"}).to_string());
    let told = app.expect("events/rejected/p1").await;
    assert_ne!(told["field"], "output", "{told}");
    assert_eq!(node.figures().command_outputs_refused, 2);
    node.stop().await;
}
