//! The registry over the network: gateways that speak for others, states, and who is let in no more.

use manifold_tests::admin::Admin;
use manifold_tests::binaries;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Ending, Hello, Version, Wire};
use serde_json::{Value, json};
use std::path::Path;

/// PUBACK and SUBACK of what is not allowed (MQTT 5.0 3.4.2.1 and 3.9.3).
const NOT_AUTHORIZED: u8 = 0x87;

async fn device(node: &Node, thing: &str, secret: &str) -> Wire {
    node.client(&Hello::new(Version::V5, thing).user(thing, secret)).await
}

async fn made(admin: &mut Admin, thing: Value) -> String {
    let data = admin.must("things", "create", thing).await;
    data["secret"].as_str().expect("a secret is generated").to_owned()
}

/// Fails the test if a device is let in.
async fn stays_out(node: &Node, thing: &str, secret: &str) {
    let mut wire = Wire::open(node.mqtt(), Version::V5).await;
    wire.send(&Hello::new(Version::V5, thing).user(thing, secret).encode()).await;
    let ending = wire.ending().await;
    assert!(matches!(ending, Ending::Refused(_)), "{thing}: {ending:?}");
}

/// Waits until a thing is in a state: connections end in their own time.
async fn comes_to(admin: &mut Admin, thing: &str, state: &str) {
    loop {
        let shown = admin.must("things", "get", json!({ "thing": thing })).await;
        if shown["state"] == state {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_gateway_speaks_for_its_things_until_another_one_does() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let first = made(&mut admin, json!({ "thing": "gw1" })).await;
    let second = made(&mut admin, json!({ "thing": "gw2" })).await;
    made(&mut admin, json!({ "thing": "sensor", "parent": "gw1", "location": "acme/hall" })).await;
    let mut gw1 = device(&node, "gw1", &first).await;
    let mut gw2 = device(&node, "gw2", &second).await;
    comes_to(&mut admin, "gw1", "online").await;
    comes_to(&mut admin, "sensor", "unactivated").await;
    let (telemetry, values) = ("things/sensor/telemetry", b"{\"t\":1}");
    assert_eq!(gw1.publish_acked(telemetry, b"{\"level\":1}").await, 0);
    assert_eq!(gw2.publish_acked(telemetry, values).await, NOT_AUTHORIZED);
    comes_to(&mut admin, "sensor", "online").await;
    let answers = "things/sensor/shadow/update/accepted";
    assert_eq!(gw1.subscribe(answers, 1).await, 1);
    assert_eq!(gw2.subscribe(answers, 1).await, NOT_AUTHORIZED);
    let update = b"{\"state\":{\"reported\":{\"a\":1}}}";
    assert_eq!(gw1.publish_acked("things/sensor/shadow/update", update).await, 0);
    let accepted = gw1.next_message().await;
    assert_eq!(accepted.topic, answers);
    assert_eq!(accepted.json()["version"], 1);

    // One word puts another gateway in its place, with all that the thing has.
    admin.must("things", "update", json!({ "thing": "sensor", "parent": "gw2" })).await;
    assert_eq!(gw1.publish_acked(telemetry, values).await, NOT_AUTHORIZED);
    comes_to(&mut admin, "sensor", "online").await;
    assert_eq!(gw2.publish_acked("things/sensor/shadow/update", update).await, 0);
    gw2.leave().await;
    comes_to(&mut admin, "sensor", "offline").await;

    // The gateways are known again after a restart, before anybody comes in.
    drop(gw1);
    node.kill().await;
    let node = site.start().await;
    let mut gw2 = device(&node, "gw2", &second).await;
    assert_eq!(gw2.publish_acked(telemetry, values).await, 0);
}

#[tokio::test]
async fn a_disabled_thing_is_out_at_once_and_nobody_speaks_for_it() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let gateway = made(&mut admin, json!({ "thing": "gw" })).await;
    let secret = made(&mut admin, json!({ "thing": "p1", "parent": "gw" })).await;
    let mut p1 = device(&node, "p1", &secret).await;
    let mut gw = device(&node, "gw", &gateway).await;
    comes_to(&mut admin, "p1", "online").await;
    admin.must("things", "update", json!({ "thing": "p1", "enabled": false })).await;
    p1.ending().await;
    comes_to(&mut admin, "p1", "disabled").await;
    stays_out(&node, "p1", &secret).await;
    gw.publish_acked("things/p1/telemetry", b"{\"level\":1}").await;
    let retained = json!({ "topic": "uns/default/p1/_raw/level" });
    assert!(admin.ask("retained", "get", retained).await.is_err(), "and has no value");
    admin.must("things", "update", json!({ "thing": "p1", "enabled": true })).await;
    device(&node, "p1", &secret).await;
}

#[tokio::test]
async fn a_replaced_device_is_out_and_its_session_is_the_new_ones() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let secret = made(&mut admin, json!({ "thing": "p1", "serial": "old" })).await;
    let mut p1 = device(&node, "p1", &secret).await;
    let update = b"{\"state\":{\"reported\":{\"a\":1}}}";
    p1.publish_acked("things/p1/shadow/update", update).await;
    let asked = json!({ "thing": "p1", "serial": "new" });
    let data = admin.must("things", "replace", asked).await;
    p1.ending().await;
    stays_out(&node, "p1", &secret).await;
    let mut p1 = device(&node, "p1", data["secret"].as_str().expect("there is one")).await;
    p1.subscribe("things/p1/shadow/get/accepted", 1).await;
    p1.publish_acked("things/p1/shadow/get", b"").await;
    assert_eq!(p1.next_message().await.json()["state"]["reported"]["a"], 1);
}

/// The `sh` blocks of a page, without what starts a node, with a folder of the test in place of `/tmp`.
fn blocks(page: &str, folder: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let is_ours = |line: &&str| !line.starts_with("export ") && !line.starts_with("manifold serve");
    let block = |text: &str| text.lines().filter(is_ours).collect::<Vec<_>>().join("\n");
    blocks.map(|text| block(text).replace("/tmp", folder)).collect()
}

#[tokio::test]
async fn every_command_of_the_page_does_what_the_page_says() {
    let site = Site::new();
    let node = site.start().await;
    let files = tempfile::tempdir().expect("a folder can be made");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/things.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let blocks = blocks(&page, &files.path().display().to_string());
    assert!(blocks.len() > 5, "the page has its commands: {blocks:?}");
    let folder = binaries::manifold().parent().expect("it is in a folder").to_owned();
    for block in blocks {
        let mut shell = tokio::process::Command::new("sh");
        shell.arg("-ec").arg(&block).env_clear();
        shell.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
        shell.env("MANIFOLD_URL", format!("mqtt://{}", node.mqtt()));
        shell.env("MANIFOLD_USER", "admin").env("MANIFOLD_SECRET", SECRET);
        let output = shell.output().await.expect("a shell runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{block}: {said}");
    }
    let read = |name: &str| std::fs::read_to_string(files.path().join(name)).expect("it is there");
    let secrets = read("secrets.csv");
    let mut lines = secrets.lines();
    assert_eq!(lines.next(), Some("row,thing,result,secret,error"));
    for (number, thing) in [(1, "gw3"), (2, "press1"), (3, "press2")] {
        let line = lines.next().expect("each row has a line");
        assert!(line.starts_with(&format!("{number},{thing},created,")), "{line}");
        let secret = line.split(',').nth(3).expect("a secret").to_owned();
        device(&node, thing, &secret).await.leave().await;
    }
    let all = read("all.jsonl");
    let things: Vec<Value> =
        all.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert!(things.iter().any(|it| it["thing"] == "press1" && it["parent"] == "gw3"), "{all}");
}

#[tokio::test]
async fn a_file_with_a_bad_row_in_the_middle_is_imported_but_for_that_row() {
    let site = Site::new();
    let node = site.start().await;
    let files = tempfile::tempdir().expect("a folder can be made");
    let file = files.path().join("things.csv");
    let rows: String = (1..=1200)
        .map(|row| if row == 777 { "a b,\n".to_owned() } else { format!("t{row},s{row}\n") })
        .collect();
    std::fs::write(&file, format!("thing,serial\n{rows}")).expect("it is written");
    let import = || {
        let mut command = tokio::process::Command::new(binaries::manifold());
        command.args(["ctl", "things", "import", "--json"]).env_clear();
        command.arg(format!("file={}", file.display()));
        command.env("MANIFOLD_URL", format!("mqtt://{}", node.mqtt()));
        command.env("MANIFOLD_USER", "admin").env("MANIFOLD_SECRET", SECRET);
        command
    };
    for result in ["created", "unchanged"] {
        let output = import().output().await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("1200 of 1200 rows"), "{said}");
        assert!(said.contains("1 of 1200 rows refused"), "{said}");
        let rows = String::from_utf8(output.stdout).expect("it is a text");
        let rows: Vec<Value> =
            rows.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(rows.len(), 1200);
        for (number, row) in (1..).zip(&rows) {
            let expected = if number == 777 { "refused" } else { result };
            assert_eq!((&row["row"], &row["result"]), (&json!(number), &json!(expected)));
        }
        assert_eq!(rows[776]["error"]["field"], "thing");
    }
}
