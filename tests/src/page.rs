//! A page of the documentation as a reader follows it, block by block.

use crate::binaries;
use crate::node::{Node, SECRET};
use std::path::Path;
use tokio::process::Command;

/// The blocks of a page, each with whether it is to be refused.
pub fn blocks_of(page: &str) -> Vec<(bool, String)> {
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
pub async fn run(node: &Node, folder: &Path, script: &str) -> (Option<i32>, String) {
    let binary = binaries::manifold().parent().expect("it is in a folder");
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", script]).current_dir(folder).env_clear();
    shell.env("PATH", format!("{}:/usr/bin:/bin", binary.display()));
    shell.env("MANIFOLD_URL", format!("mqtt://{}", node.mqtt()));
    shell.env("MANIFOLD_USER", "admin").env("MANIFOLD_SECRET", SECRET);
    let output = shell.output().await.expect("a shell runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
