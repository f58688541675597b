//! `docs/operators.md`, and the pages of audit and backup, as an operator follows them: the commands are taken from the
//! pages, so that page and test cannot differ.
//!
//! A block of the page is what its first line says: `sh` must succeed, line by line; `sh refused` must be refused.

use manifold_tests::binaries;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Hello, Version};
use std::path::Path;
use tokio::process::Command;

/// The commands of the page, each with whether it is to be refused.
fn commands(page: &str) -> Vec<(String, bool)> {
    let mut commands = Vec::new();
    let mut block: Option<bool> = None;
    let mut line_so_far = String::new();
    for line in page.lines() {
        match (line, block) {
            ("```sh", None) => block = Some(false),
            ("```sh refused", None) => block = Some(true),
            ("```", Some(_)) => block = None,
            (line, Some(is_refused)) => {
                line_so_far.push_str(line.strip_suffix('\\').unwrap_or(line));
                if !line.ends_with('\\') {
                    commands.push((std::mem::take(&mut line_so_far), is_refused));
                }
            }
            _ => {}
        }
    }
    commands
}

#[tokio::test]
async fn every_command_of_the_page_does_what_the_page_says() {
    let site = Site::new();
    let node = site.start().await;
    let hello =
        |client_id: &str| Hello::new(Version::V5, client_id).user("admin", SECRET).persistent();
    let mut press = node.client(&hello("press1")).await;
    for filter in ["plant/#", "$share/crew/jobs/+"] {
        press.subscribe(filter, 1).await;
    }
    press.retain("plant/level", b"{\"v\":1}").await;
    press.retain("plant/other", b"on").await;
    node.client(&hello("press2")).await.leave().await;
    assert!(run_page("operators.md", &node).await > 20, "the page has its commands");
}

#[tokio::test]
async fn every_command_of_the_pages_of_audit_and_backup_succeeds() {
    let site = Site::new();
    let node = site.start().await;
    assert!(run_page("audit.md", &node).await >= 7);
    assert!(run_page("backup.md", &node).await >= 2);
}

/// Runs the commands of a page against a node; how many they were.
async fn run_page(name: &str, node: &Node) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let page = std::fs::read_to_string(path).expect("the page is there");
    let commands = commands(&page);
    let count = commands.len();
    let folder = binaries::manifold().parent().expect("it is in a folder").to_owned();
    for (command, is_refused) in commands {
        if command.starts_with("export ") || command.starts_with("kill ") {
            continue;
        }
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(&command)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
        shell.env("MANIFOLD_URL", format!("mqtt://{}", node.mqtt()));
        shell.env("MANIFOLD_USER", "admin").env("MANIFOLD_SECRET", SECRET);
        let output = shell.output().await.expect("a shell runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        assert_eq!(code, Some(i32::from(is_refused)), "{command}: {said}");
        assert!(is_refused || !output.stdout.is_empty(), "{command} says nothing");
    }
    count
}
