//! `docs/models.md` as a reader follows it: its commands are taken from the page, so that page and test cannot differ.
//!
//! A block `sh` is run as it is, and must succeed; each line of a block `sh refused` must be refused. What a device
//! publishes with `mosquitto_pub` is published by a client of our own.

use manifold_tests::binaries;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Hello, Version};
use std::path::Path;
use tokio::process::Command;

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

/// The blocks of a page, each with whether it is to be refused.
fn blocks_of(page: &str) -> Vec<(bool, String)> {
    let parts = page.split("```").skip(1).step_by(2);
    let read = |part: &str| {
        let (head, body) = part.split_once('\n')?;
        match head {
            "sh" => Some((false, body.to_owned())),
            "sh refused" => Some((true, body.to_owned())),
            _ => None,
        }
    };
    parts.filter_map(read).collect()
}

/// Runs a script; its exit code, and what it said.
async fn run(node: &Node, folder: &Path, script: &str) -> (Option<i32>, String) {
    let binary = binaries::manifold().parent().expect("it is in a folder");
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", script]).current_dir(folder).env_clear();
    shell.env("PATH", format!("{}:/usr/bin:/bin", binary.display()));
    shell.env("MANIFOLD_URL", format!("mqtt://{}", node.mqtt()));
    shell.env("MANIFOLD_USER", "admin").env("MANIFOLD_SECRET", SECRET);
    let output = shell.output().await.expect("a shell runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
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
