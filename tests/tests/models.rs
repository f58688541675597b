//! `docs/models.md` as a reader follows it: its commands are taken from the page, so that page and test cannot differ.
//!
//! A block `sh` is run as it is, and must succeed; each line of a block `sh refused` must be refused. What a device
//! publishes with `mosquitto_pub` is published by a client of our own.

use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::page::{blocks_of, run};
use manifold_tests::wire::{Hello, Version};
use std::path::Path;

#[tokio::test]
async fn every_command_of_the_page_does_what_the_page_says() {
    let site = Site::new();
    let node = site.start().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/models.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let folder = tempfile::tempdir().expect("there is room");
    let mut blocks = 0;
    for (is_refused, block) in blocks_of(&page) {
        blocks += 1;
        if is_refused {
            for line in block.lines() {
                let (code, said) = run(&node, folder.path(), line).await;
                assert_eq!(code, Some(1), "{line}: {said}");
            }
            continue;
        }
        let (of_device, of_shell): (Vec<&str>, Vec<&str>) =
            block.lines().partition(|line| line.starts_with("mosquitto_pub "));
        for line in of_device {
            publish(&node, line).await;
        }
        let is_setting = |line: &&str| line.starts_with("export ");
        let script: Vec<&str> = of_shell.into_iter().filter(|it| !is_setting(it)).collect();
        let (code, said) = run(&node, folder.path(), &script.join("\n")).await;
        assert_eq!(code, Some(0), "{block}: {said}");
    }
    assert_eq!(blocks, 4);
    let mut admin = node.client(&Hello::new(Version::V5, "app").user("admin", SECRET)).await;
    admin.subscribe("uns/acme/#", 1).await;
    let value = admin.next_message().await;
    assert_eq!(value.topic, "uns/acme/berlin/pump7/_pump_v1/motor/current");
}

/// Publishes what a line says, as the device that it names.
async fn publish(node: &Node, line: &str) {
    let after = |option: &str| {
        let (_, rest) = line.split_once(&format!(" {option} ")).expect("it has the option");
        match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split('\'').next().unwrap_or_default(),
            None => rest.split(' ').next().unwrap_or_default(),
        }
    };
    let hello = Hello::new(Version::V5, after("-i")).user(after("-u"), after("-P"));
    let mut device = node.client(&hello).await;
    device.publish_acked(after("-t"), after("-m").as_bytes()).await;
    device.leave().await;
}
