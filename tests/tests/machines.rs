//! `docs/machines.md` as a reader follows it: its commands are taken from the page, so that page and test cannot
//! differ. The machine is the simulated plant, at a port of its own.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::page::{blocks_of, run};
use manifold_tests::peer::Peer;
use manifold_tests::plant::Plant;
use manifold_tests::process::PATIENCE;
use serde_json::{Value, json};
use sim::tank::{Kind, OpcUaServer};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Where the page says that the machines are.
const OF_THE_PAGE: &str = "127.0.0.1:5020";
const TANK_OF_THE_PAGE: &str = "127.0.0.1:4840";

#[tokio::test]
async fn every_command_of_the_page_does_what_the_page_says() {
    let site = Site::new();
    let node = site.start().await;
    let plant = Plant::start().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/machines.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let page = page.replace(OF_THE_PAGE, &plant.address().to_string());
    let pki = tempfile::tempdir().expect("there is room");
    let tank = OpcUaServer::start(pki.path(), Kind::default()).await.expect("a tank");
    let page = page.replace(TANK_OF_THE_PAGE, &tank.address.to_string());
    let folder = tempfile::tempdir().expect("there is room");
    let mut blocks = 0;
    for (is_refused, block) in blocks_of(&page) {
        blocks += 1;
        let (code, said) = run(&node, folder.path(), &block).await;
        assert_eq!(code, Some(i32::from(is_refused)), "{block}: {said}");
    }
    assert_eq!(blocks, 12);

    assert_eq!(plant.read_holding(0).await, 300, "the last write of the page");
    let mut admin = Admin::enter(&node).await;
    let tags = admin.must("tags", "list", json!({ "driver": "press", "limit": 1000 })).await;
    assert_eq!(tags["items"].as_array().map(Vec::len), Some(1000));
    let setpoint = admin.must("tags", "get", json!({ "driver": "press", "tag": "setpoint" })).await;
    assert_eq!(setpoint["path"], "acme/berlin/press/_raw/setpoint");
    let driver = admin.must("drivers", "get", json!({ "driver": "press" })).await;
    let status = &driver["status"];
    assert_eq!(status["state"], "running", "{driver}");
    for figure in ["/last_good", "/cycle_ms/last", "/cycle_ms/max", "/late_ms/mean"] {
        assert!(status.pointer(figure).is_some_and(Value::is_number), "{figure}: {driver}");
    }
    let exported = std::fs::read_to_string(folder.path().join("exported.csv")).expect("a table");
    assert_eq!(exported.lines().count(), 1001);
    let records = admin.must("audit", "list", json!({ "action": "tags write" })).await;
    let outcomes: Vec<&str> = records["items"]
        .as_array()
        .expect("records")
        .iter()
        .filter_map(|record| record["outcome"].as_str())
        .collect();
    for outcome in ["begun", "ok", "invalid"] {
        assert!(outcomes.contains(&outcome), "{outcome}: {records}");
    }
    a_method_and_its_event_are_on_topics(&node).await;
}

/// With the tags that the page has created.
async fn a_method_and_its_event_are_on_topics(node: &Node) {
    const FILL: &str = "uns/acme/berlin/tank/_raw/fill/set";
    let mut app = Peer::connect(node.mqtt(), "app", ("admin", SECRET)).await;
    app.subscribe("uns/acme/berlin/tank/+/+/set/result").await;
    app.subscribe("uns/acme/berlin/tank/_event/#").await;
    let asked = json!({ "v": { "note": "by topic", "to": 90.0 }, "id": 7 });
    app.publish(FILL, &asked).await;
    let (mut answer, mut event) = (Value::Null, Value::Null);
    while answer.is_null() || event.is_null() {
        let message = app.next_publish().await;
        let payload: Value = serde_json::from_slice(&message.payload).expect("JSON");
        match message.topic.ends_with(b"/result") {
            true => answer = payload,
            // That of the page's call may come late.
            false if payload["data"]["message"] == "filled to 80: morning" => {}
            false => event = payload,
        }
    }
    assert_eq!(answer, json!({ "id": 7, "ok": true, "v": [80.0] }));
    assert_eq!(event["level"], "warning");
    assert_eq!(event["data"]["message"], "filled to 90: by topic", "{event}");
    assert!(event["t"].is_number(), "{event}");
    assert_eq!(node.figure("actors_driver_events_total").await, 2, "the page's, and this one");
}

/// The trust list of a node that is killed in between.
#[tokio::test]
async fn what_operators_say_of_a_server_outlives_the_node() {
    let site = Site::new();
    let mut node = site.start().await;
    let pki = tempfile::tempdir().expect("there is room");
    let tank = OpcUaServer::start(pki.path(), Kind::default()).await.expect("a tank");
    let config = json!({ "protocol": "opcua", "url": tank.url() });
    let mut admin = Admin::enter(&node).await;
    admin.must("drivers", "create", json!({ "driver": "tank", "config": config })).await;
    let tag = json!({ "driver": "tank", "tag": "level", "path": "acme/tank/_raw/level",
        "address": "nsu=urn:manifold:test:tank;s=Level" });
    admin.must("tags", "create", tag).await;
    let reason = status(&mut admin, "connecting", "is not trusted").await;
    let found = admin.must("server_certificates", "list", json!({})).await;
    let pending = found["items"].as_array().expect("items");
    let [one] = pending.as_slice() else { panic!("{found}") };
    assert_eq!((&one["state"], &one["url"]), (&json!("pending"), &json!(tank.url())));
    let fingerprint = one["fingerprint"].as_str().expect("a text").to_owned();
    assert!(reason.contains(&fingerprint), "{reason}");
    let this = |more: Value| {
        let mut body = json!({ "fingerprint": fingerprint });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        body
    };
    let shown = admin.must("server_certificates", "get", this(json!({}))).await;
    let pem = shown["certificate"].as_str().expect("PEM");
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");

    for (resource, verb, state, driver, reason) in [
        ("server_certificates", "approve", "approved", "running", ""),
        ("server_certificates", "reject", "rejected", "connecting", "has been rejected"),
        ("server_certificates", "delete", "pending", "connecting", "is not trusted"),
    ] {
        admin.must(resource, verb, this(json!({}))).await;
        for _ in 0..2 {
            status(&mut admin, driver, reason).await;
            let shown = admin.must("server_certificates", "get", this(json!({}))).await;
            assert_eq!(shown["state"], state, "{shown}");
            node.kill().await;
            node = site.start().await;
            admin = Admin::enter(&node).await;
        }
    }
    let brief = this(json!({ "expires_in_secs": 2 }));
    admin.must("server_certificates", "approve", brief).await;
    status(&mut admin, "running", "").await;
    status(&mut admin, "connecting", "until a time that is over").await;
    let shown = admin.must("server_certificates", "get", this(json!({}))).await;
    assert_eq!(shown["state"], "expired", "{shown}");
    // By its own certificate, which is one of those that servers make for themselves.
    let given = json!({ "certificate": pem, "description": "by hand" });
    let given = admin.must("server_certificates", "approve", given).await;
    assert_eq!(given["fingerprint"], json!(fingerprint));
    status(&mut admin, "running", "").await;
    tank.kill().await;
}

/// Waits until the driver `tank` is in a state, and its reason contains a text; the reason.
async fn status(admin: &mut Admin, state: &str, reason: &str) -> String {
    let begun = Instant::now();
    loop {
        let driver = admin.must("drivers", "get", json!({ "driver": "tank" })).await;
        let why = driver["status"]["reason"].as_str().unwrap_or_default();
        if driver["status"]["state"] == state && why.contains(reason) {
            return why.to_owned();
        }
        assert!(begun.elapsed() < PATIENCE, "not {state} with {reason:?}: {driver}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A table with one bad row among many, and rows that say what is there already.
#[tokio::test]
async fn a_bad_row_fails_alone() {
    let site = Site::new();
    let node = site.start().await;
    let plant = Plant::start().await;
    let mut admin = Admin::enter(&node).await;
    let config = json!({ "protocol": "modbus_tcp", "address": plant.address().to_string() });
    admin.must("drivers", "create", json!({ "driver": "press", "config": config })).await;
    let table = |rows: &[&str]| {
        let text = ["tag,address,type,path,scale,labels", &rows.join("\n")].join("\n");
        json!({ "driver": "press", "format": "csv", "text": text, "location": "acme/press" })
    };
    let rows = [
        "a,40001,uint16,,,",
        "b,40002,uint99,,,",
        "c,49,uint16,,,",
        "d,40003,uint16,acme/press/_raw/a,,",
        "e,40004,uint16,,0,",
        "a,40005,uint16,,,",
        "f,40006,uint16,,,\"{\"\"1\"\":\"\"on\"\"}\"",
        ",40007,uint16,,,",
        "g,40008,uint16,no/path,,",
    ];
    let dry = json!({ "dry_run": true });
    let mut asked = table(&rows);
    asked.as_object_mut().expect("an object").extend(dry.as_object().expect("an object").clone());
    let dry = admin.must("tags", "import", asked).await;
    let none = admin.must("tags", "list", json!({ "driver": "press" })).await;
    assert_eq!(none["items"], json!([]), "a dry run changes nothing");
    let done = admin.must("tags", "import", table(&rows)).await;
    assert_eq!(done["rows"], dry["rows"]);
    let fields: Vec<&str> = done["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["error"]["field"].as_str().unwrap_or(row["result"].as_str().unwrap_or("")))
        .collect();
    let expected = ["created", "type", "address", "path", "scale", "tag", "created", "tag", "path"];
    assert_eq!(fields, expected, "{done}");
    assert_eq!((&done["created"], &done["refused"]), (&json!(2), &json!(7)));
    let again = admin.must("tags", "import", table(&["a,40001,,,,", "f,,,,,", "a2,1.5,,,,"])).await;
    assert_eq!((&again["unchanged"], &again["refused"]), (&json!(2), &json!(1)), "{again}");
    let updated = admin.must("tags", "import", table(&["a,40009,,acme/press/_raw/aa,,"])).await;
    assert_eq!(updated["updated"], json!(1), "{updated}");
    let a = admin.must("tags", "get", json!({ "driver": "press", "tag": "a" })).await;
    assert_eq!((&a["address"], &a["type"]), (&json!("40009"), &json!("uint16")));
    for (text, field) in [("tag,colour\na,red\n", "text"), ("address\n1\n", "text")] {
        let asked = json!({ "driver": "press", "format": "csv", "text": text });
        let refusal = admin.ask("tags", "import", asked).await.expect_err("a refusal");
        assert_eq!((&refusal["code"], &refusal["field"]), (&json!("bad_request"), &json!(field)));
    }
    let next = json!({ "driver": "press", "format": "jsonl", "limit": 1 });
    let first = admin.must("tags", "export", next).await;
    assert_eq!(first["next_cursor"], json!("a"), "{first}");
}

/// Written in any order, computed in the right one, and kept from losing what they stand upon.
#[tokio::test]
async fn virtual_tags_follow_the_tags_that_they_name() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let mut app = Peer::connect(node.mqtt(), "app", ("admin", SECRET)).await;
    app.subscribe("uns/acme/line/_raw/energy").await;
    let config = json!({ "protocol": "simulator" });
    admin.must("drivers", "create", json!({ "driver": "line", "config": config })).await;
    let rows = [
        "tag,kind,address,expression,access",
        "energy,virtual,,power * 2,",
        "power,virtual,,volts * amps,",
        "ring,virtual,,knot + 1,",
        "knot,virtual,,ring + 1,",
        "lost,virtual,,nobody,",
        "volts,,memory?start=10,,read_write",
        "amps,,memory?start=3,,read_write",
    ];
    let asked = json!({ "driver": "line", "format": "csv", "text": rows.join("\n"),
        "location": "acme/line" });
    let done = admin.must("tags", "import", asked).await;
    let results: Vec<&str> = done["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["error"]["message"].as_str().or(row["result"].as_str()).unwrap_or(""))
        .collect();
    let refused = [
        "there is no tag knot in this driver, which ring needs",
        "there is no tag ring in this driver, which knot needs",
        "there is no tag nobody in this driver, which lost needs",
    ];
    assert_eq!(&results[..2], ["created"; 2], "{done}");
    assert_eq!(&results[2..5], refused, "{done}");
    assert_eq!(&results[5..], ["created"; 2], "{done}");
    assert_eq!(next_value(&mut app).await, json!(60.0));
    let write = json!({ "driver": "line", "tag": "amps", "v": 4 });
    admin.must("tags", "write", write).await;
    assert_eq!(next_value(&mut app).await, json!(80.0));
    let asked = json!({ "driver": "line", "tags": ["energy", "amps"] });
    let read = admin.must("tags", "read", asked).await;
    let value = |place: &str| read.pointer(place).and_then(Value::as_f64);
    assert_eq!((value("/values/0/v"), value("/values/1/v")), (Some(80.0), Some(4.0)), "{read}");

    for (verb, body) in [
        ("delete", json!({ "driver": "line", "tag": "volts" })),
        ("update", json!({ "driver": "line", "tag": "power", "expression": "energy" })),
        ("write", json!({ "driver": "line", "values": { "power": 1 } })),
    ] {
        let told = admin.ask("tags", verb, body).await;
        let code = match &told {
            Ok(written) => &written["results"][0]["error"]["code"],
            Err(refusal) => &refusal["code"],
        };
        assert_eq!(code, "invalid", "{verb}: {told:?}");
    }
    let text = "tag,kind,address\nvolts,method,i=1\n";
    let asked = json!({ "driver": "line", "format": "csv", "text": text });
    let done = admin.must("tags", "import", asked).await;
    assert_eq!(done["refused"], json!(1), "{done}");
}

/// The next value on the topic that an app has subscribed to.
async fn next_value(app: &mut Peer) -> Value {
    let message = app.next_publish().await;
    let mut value: Value = serde_json::from_slice(&message.payload).expect("JSON");
    assert_eq!(value["q"], "good", "{value}");
    value["v"].take()
}

/// Tags as Neuron and EdgeX write them down, read from the plant.
#[tokio::test]
async fn tags_of_other_products_are_taken_over() {
    let site = Site::new();
    let node = site.start().await;
    let plant = Plant::start().await;
    plant.write_holding(0, 0x00A5).await;
    let mut admin = Admin::enter(&node).await;
    let config = json!({ "protocol": "modbus_tcp", "address": plant.address().to_string() });
    admin.must("drivers", "create", json!({ "driver": "plc", "config": config })).await;
    let sheet = "group,name,address,attribute,type,description,decimal,precision\n\
                 line 1,speed,1!400001,Read Write,UINT16,belt,0.1,1\n\
                 line 1,bit,1!400001.2,Read,BIT,,,\n\
                 line 1,far,2!400001,Read,UINT16,,,\n\
                 line 1,raw,1!400001,Read,BYTES,,,\n";
    let import = |format: &str, text: &str| {
        let location = "acme/hall";
        json!({ "driver": "plc", "format": format, "text": text, "location": location })
    };
    let done = admin.must("tags", "import", import("neuron", sheet)).await;
    assert_eq!((&done["created"], &done["refused"]), (&json!(2), &json!(2)), "{done}");
    assert_eq!(done["rows"][2]["error"]["field"], "address", "{done}");
    assert_eq!(done["rows"][3]["error"]["field"], "type", "{done}");
    let again = admin.must("tags", "import", import("neuron", sheet)).await;
    assert_eq!(again["unchanged"], json!(2), "{again}");
    let profile = "deviceResources:\n  - name: Mode\n    attributes: { primaryTable: \
                   HOLDING_REGISTERS, startingAddress: 0 }\n    properties: { valueType: Uint16, \
                   readWrite: R, mask: \"0xF0\", shift: \"4\" }\n  - name: Gone\n";
    let done = admin.must("tags", "import", import("edgex", profile)).await;
    assert_eq!((&done["created"], &done["refused"]), (&json!(1), &json!(1)), "{done}");
    let tags = ["line_1.speed", "line_1.bit", "Mode"];
    let read = admin.must("tags", "read", json!({ "driver": "plc", "tags": tags })).await;
    let values: Vec<&Value> = (0..3).map(|it| &read["values"][it]["v"]).collect();
    assert_eq!(values, [&json!(16.5), &json!(true), &json!(10)], "{read}");
    let speed = json!({ "driver": "plc", "tag": "line_1.speed" });
    let speed = admin.must("tags", "get", speed).await;
    assert_eq!(speed["path"], "acme/hall/line_1/_raw/speed");
    for (format, text, field) in [
        ("neuron", "name,colour\na,red\n", "text"),
        ("edgex", "name: Meter\n", "text"),
        ("edgex", ": [", "text"),
    ] {
        let refusal = admin.ask("tags", "import", import(format, text)).await.expect_err("refused");
        assert_eq!(refusal["field"], field, "{refusal}");
    }
}

/// What a machine says of the rows of a table before any of them is kept.
#[tokio::test]
async fn rows_are_tried_against_the_machine_and_nothing_of_them_is_kept() {
    let site = Site::new();
    let node = site.start().await;
    let plant = Plant::start().await;
    let mut admin = Admin::enter(&node).await;
    let create = |driver: &str, address: &str| {
        let config = json!({ "protocol": "modbus_tcp", "address": address, "timeout_ms": 500 });
        json!({ "driver": driver, "config": config })
    };
    admin.must("drivers", "create", create("press", &plant.address().to_string())).await;
    // The plant has eight input registers.
    let text = "tag,kind,address,expression,type\n\
        ok,,input:0,,uint16\n\
        beyond,,input:40000,,uint16\n\
        wrong,,input:x,,uint16\n\
        twice,virtual,,ok * 2,\n\
        also,,input:1,,uint16\n\
        typed,virtual,,ok,float64\n";
    let table = |driver: &str| json!({ "driver": driver, "format": "csv", "text": text, "location": "acme/press" });
    let tried = admin.must("tags", "try", table("press")).await;
    let rows = tried["rows"].as_array().expect("rows");
    let results: Vec<&str> = rows.iter().filter_map(|it| it["result"].as_str()).collect();
    assert_eq!(results, ["good", "bad", "refused", "untried", "good", "refused"], "{tried}");
    assert!(rows[0]["v"].is_number() && rows[4]["q"] == "good", "{tried}");
    assert!(
        rows[1]["error"]["message"].as_str().is_some_and(|it| it.contains("address")),
        "{tried}"
    );
    assert_eq!(rows[2]["error"]["field"], "address");
    assert_eq!(rows[5]["error"]["field"], "type");
    assert_eq!(
        (&tried["good"], &tried["bad"], &tried["refused"]),
        (&json!(2), &json!(1), &json!(2))
    );
    let tags = admin.must("tags", "list", json!({ "driver": "press" })).await;
    assert_eq!(tags["items"], json!([]));

    admin.must("drivers", "create", create("nobody", "127.0.0.1:1")).await;
    let refused = admin.ask("tags", "try", table("nobody")).await.expect_err("nobody is there");
    assert_eq!(refused["code"], "unavailable", "{refused}");
    let refused = admin.ask("tags", "try", table("unknown")).await.expect_err("there is none");
    assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("driver")));
    // Over the command line a row that cannot be read is a failure.
    let folder = tempfile::tempdir().expect("there is room");
    std::fs::write(folder.path().join("t.csv"), text).expect("it is written");
    let line = "manifold ctl tags try driver=press location=acme/press file=t.csv > t.out";
    let (code, said) = run(&node, folder.path(), line).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("3 of 6 rows bad or refused"), "{said}");
    let told = std::fs::read_to_string(folder.path().join("t.out")).expect("a table");
    assert!(told.starts_with("row,tag,result,v,error\n1,ok,good,"), "{told}");
}
