//! What machines do wrong, case by case: each shows in the quality of the values, ends by itself within ten seconds of
//! the machine's return, and brings no value twice. `docs/machine-faults.md` is the table of the cases.

mod case;
mod cases;
mod line;
mod modbus;
mod rig;
mod server;

use case::Case;
use cases::{MODBUS, OPCUA};
use futures_util::StreamExt as _;
use manifold_tests::house;
use manifold_tests::node::Site;
use rig::Pki;
use sim::tank::{Kind, OpcUaServer};
use std::fmt::Write as _;

/// Cases at a time: what they measure is the driver, not the processors.
const AT_ONCE: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modbus_machines_come_back_from_everything() {
    println!("{}", all(MODBUS).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opc_ua_servers_come_back_from_everything() {
    println!("{}", all(OPCUA).await);
}

/// Goes through the cases; how long each took to be over.
async fn all(cases: &'static [Case]) -> String {
    let only = std::env::var("MANIFOLD_FAULT").unwrap_or_default();
    let node = Site::new().start().await;
    let folder = tempfile::tempdir().expect("there is room");
    let pki = Pki { own: folder.path().join("own"), other: folder.path().join("other") };
    for pki in [&pki.own, &pki.other] {
        OpcUaServer::start(pki, Kind::default()).await.expect("a server").kill().await;
    }
    let wanted = cases.iter().filter(|case| case.name.contains(&only));
    let runs = wanted.map(|case| {
        let (node, pki) = (&node, &pki);
        async move { (case, case::run(node, case, pki).await) }
    });
    let mut outcomes = futures_util::stream::iter(runs).buffer_unordered(AT_ONCE);
    let mut failed = Vec::new();
    let mut told = String::new();
    while let Some((case, outcome)) = outcomes.next().await {
        match outcome {
            Ok(took) => {
                let (name, took_ms) = (case.name, took.as_millis());
                writeln!(told, "{name:20} back after {took_ms} ms").expect("a text grows");
            }
            Err(why) => failed.push(format!("{}: {why}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
    told
}

#[test]
fn the_page_has_the_table_of_the_cases() {
    let page = house::workspace().join("docs/machine-faults.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let mut table = String::new();
    for case in MODBUS.iter().chain(OPCUA) {
        let (name, what, sign) = (case.name, case.what, case.sign.name());
        writeln!(table, "| {name} | {what} | {sign} |").expect("a text grows");
    }
    let is_row = |it: &&str| it.starts_with("| mb-") || it.starts_with("| ua-");
    let rows: Vec<&str> = page.lines().filter(is_row).collect();
    assert_eq!(rows.join("\n"), table.trim_end(), "the table should be\n{table}");
    assert!(MODBUS.len() + OPCUA.len() >= 50);
}
