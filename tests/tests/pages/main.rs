//! The pages of `docs/` as a reader follows them: their commands are taken from the pages, so that page and test cannot
//! differ; and every verb of the catalogue is shown by a page or a test.
//!
//! A block of a page is what its first line says: `sh` must succeed, line by line; `sh refused` must be refused. A page
//! with such blocks is in [`setups::PAGES`] with its set-up, or in [`ELSEWHERE`] with what runs it.

mod setups;
mod verbs;

use manifold_tests::binaries;
use manifold_tests::house::workspace;
use manifold_tests::node::{Node, SECRET, Site};
use setups::{PAGES, Page};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::process::Command;

/// Pages whose commands need more than a node and its own command line, and what runs them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("benchmarks.md", "measurements, of which each takes minutes"),
    ("bridges.md", "a mosquitto beside two nodes: tests/peers/bridge.py has the same steps"),
    ("conformance.md", "commands of cargo"),
    (
        "edge.md",
        "an edge node and a machine: tests/tests/edge_page.rs takes its commands from the page",
    ),
    ("first-fleet.md", "ten devices: tests/peers/first_fleet.py takes its commands from the page"),
    ("http.md", "curl: tests/peers/gateway.py takes its commands from the page"),
    ("machines.md", "a machine: tests/tests/machines.rs takes its commands from the page"),
    (
        "models.md",
        "a device that publishes: tests/tests/models.rs takes its commands from the page",
    ),
    ("things.md", "files, and what is in them after: tests/tests/registry.rs takes its commands"),
    ("tls.md", "openssl and mosquitto: tests/peers/tls_page.sh takes its commands from the page"),
];

/// The text of every page, by its name.
fn pages() -> Vec<(String, String)> {
    let folder = workspace().join("docs");
    let files = std::fs::read_dir(folder).expect("there are docs");
    let paths: Vec<PathBuf> = files.map(|file| file.expect("it is read").path()).collect();
    let pages = paths.into_iter().filter(|path| path.extension().is_some_and(|it| it == "md"));
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).expect("a page is text"))
    };
    let mut pages: Vec<_> = pages.map(read).collect();
    pages.sort();
    pages
}

/// The commands of a page, each with whether it is to be refused.
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
                // A quoted word may go over several lines.
                let is_open = line_so_far.matches('\'').count() % 2 == 1;
                if is_open {
                    line_so_far.push('\n');
                } else if !line.ends_with('\\') {
                    commands.push((std::mem::take(&mut line_so_far), is_refused));
                }
            }
            _ => {}
        }
    }
    commands
}

async fn run(command: &str, is_refused: bool, node: &Node) {
    let folder = binaries::manifold().parent().expect("it is in a folder");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).env_clear();
    shell.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
    shell.env("MANIFOLD_URL", format!("mqtt://{}", node.mqtt()));
    shell.env("MANIFOLD_USER", "admin").env("MANIFOLD_SECRET", SECRET);
    let output = shell.output().await.expect("a shell runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    assert_eq!(code, Some(i32::from(is_refused)), "{command}: {said}");
    assert!(is_refused || !output.stdout.is_empty(), "{command} says nothing");
}

#[tokio::test]
async fn every_command_of_a_page_does_what_the_page_says() {
    for Page { name, commands_min, set_up } in PAGES {
        let site = Site::new();
        let node = site.start().await;
        let held = set_up(&node).await;
        let path = workspace().join("docs").join(name);
        let commands = commands(&std::fs::read_to_string(path).expect("the page is there"));
        assert!(commands.len() >= *commands_min, "{name} has its commands: {commands:?}");
        for (command, is_refused) in commands {
            if !command.starts_with("export ") && !command.starts_with("kill ") {
                run(&command, is_refused, &node).await;
            }
        }
        drop(held);
    }
}

#[test]
fn every_page_with_commands_is_run_by_something() {
    let here = PAGES.iter().map(|page| page.name);
    let known: Vec<&str> = here.chain(ELSEWHERE.iter().map(|it| it.0)).collect();
    let unique: BTreeSet<&str> = known.iter().copied().collect();
    assert_eq!(unique.len(), known.len(), "a page is in one list only");
    let with_commands = pages().into_iter().filter(|(_, text)| text.contains("\n```sh"));
    let with_commands: BTreeSet<String> = with_commands.map(|(name, _)| name).collect();
    let unique: BTreeSet<String> = unique.into_iter().map(str::to_owned).collect();
    assert_eq!(with_commands, unique);
}

#[test]
fn commands_are_read_with_their_lines_together() {
    let page = "```sh\na \\\n  b\nc='{\n}'\n```\n```toml\nno = 1\n```\n```sh refused\nd\n```\n";
    let expected = [("a   b", false), ("c='{\n}'", false), ("d", true)];
    let expected = expected.map(|(command, is_refused)| (command.to_owned(), is_refused));
    assert_eq!(commands(page), expected);
}
