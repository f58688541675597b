//! `docs/edge.md` as a reader follows it: its commands are taken from the page, so that page and test cannot differ.
//! The edge node is started where the page says so; the machine is the simulated plant, at a port of its own.

use manifold_tests::admin::Admin;
use manifold_tests::bridges::listener;
use manifold_tests::edges::{EDGE, status};
use manifold_tests::node::Site;
use manifold_tests::page::{blocks_of, run};
use manifold_tests::plant::Plant;

use serde_json::json;
use std::path::Path;

/// Where the page says that the machine is.
const OF_THE_PAGE: &str = "127.0.0.1:5020";

#[tokio::test]
async fn every_command_of_the_page_does_what_the_page_says() {
    let hub = Site::new().start().await;
    let plant = Plant::start().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/edge.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let page = page.replace(OF_THE_PAGE, &plant.address().to_string());
    let folder = tempfile::tempdir().expect("there is room");
    let mut admin = Admin::enter(&hub).await;
    let mut edge = None;
    let mut blocks = 0;
    for (is_refused, block) in blocks_of(&page) {
        blocks += 1;
        let (code, said) = run(&hub, folder.path(), &block).await;
        assert_eq!(code, Some(i32::from(is_refused)), "{block}: {said}");
        if edge.is_none() {
            let secret = folder.path().join("press.secret");
            let site = Site::new()
                .with("role=edge")
                .with(&format!("edge.id={EDGE}"))
                .with(&format!("uplink.url=mqtt://{}", hub.mqtt()))
                .with(&format!("uplink.secret_file={}", secret.display()));
            edge = Some(site.start().await);
            status(&mut admin, "online", |it| it["online"] == true).await;
        }
    }
    assert_eq!(blocks, 9);

    assert_eq!(plant.read_holding(0).await, 250, "the write of the page");
    let topic = "uns/acme/berlin/press/_raw/setpoint";
    let mut at_hub = listener(&hub, "at-hub", topic).await;
    while at_hub.next_message().await.json()["v"] != json!(25.0) {}
    let records = admin.must("audit", "list", json!({ "action": "tags write" })).await;
    let writes = records["items"].as_array().expect("records").len();
    assert!(writes >= 3, "begun, ok and the refusal: {records}");
    let is_given = async |admin: &mut Admin| {
        let fan = admin.must("things", "get", json!({ "thing": "fan1" })).await;
        fan["given"]["state"] == "in_sync"
    };
    let deadline = tokio::time::Instant::now() + manifold_tests::process::PATIENCE;
    while !is_given(&mut admin).await {
        assert!(tokio::time::Instant::now() < deadline, "the edge node does not get the thing");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let exported = std::fs::read(folder.path().join("plc.json")).expect("the page exports");
    let exported: serde_json::Value = serde_json::from_slice(&exported).expect("it is JSON");
    assert_eq!(exported["tags"].as_array().map(Vec::len), Some(1000));
}
