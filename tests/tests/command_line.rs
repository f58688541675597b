//! `manifold ctl` as a process: what it prints, where it reads from, and how it ends.

use manifold_tests::binaries;
use manifold_tests::node::{Node, SECRET, Site};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How a command has ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn manifold(address: SocketAddr, words: &[&str], stdin: &str) -> Ended {
    let mut command = Command::new(binaries::manifold());
    command.args(words).env_clear();
    command.env("MANIFOLD_URL", format!("mqtt://{address}")).env("MANIFOLD_SECRET", SECRET);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    // A command that needs no stdin may have ended by now.
    let _ = pipe.write_all(stdin.as_bytes()).await;
    drop(pipe);
    let output = child.wait_with_output().await.expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Ended { code: output.status.code().expect("it ends by itself"), stdout, stderr }
}

async fn ctl(node: &Node, words: &[&str]) -> Ended {
    let words: Vec<&str> = ["ctl"].iter().chain(words).copied().collect();
    manifold(node.mqtt(), &words, "").await
}

#[tokio::test]
async fn each_end_has_its_exit_code_and_tells_its_reason() {
    let node = Site::new().start().await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = nowhere.local_addr().expect("it has an address");
    drop(nowhere);
    for (words, code, reason) in [
        (&["things", "list"][..], 0, ""),
        (&["things", "get", "thing=none"], 1, "not_found: there is no thing `none`"),
        (&["things", "destroy"], 1, "unknown_operation"),
        (&["things", "get", "thing=a", "x=1"], 1, "bad_request"),
        (&["things", "list", "--secret", "wrong"], 1, "unauthorized"),
        (&["things", "list", "word"], 2, "`word` is not of the form key=value"),
        (&["things", "list", "limit=1", "limit=2"], 2, "`limit` is given twice"),
        (&["things", "list", "--nothing"], 2, "--nothing"),
        (&["things", "list", "filter=@/no/such/file"], 2, "cannot read"),
        (&["things", "list", "--json-body", "["], 2, "is not JSON"),
        (&["things", "list", "--url", "http://h"], 2, "mqtt://"),
        (&["pumps"], 2, "known resources"),
        (&["things", "destroy", "--help"], 2, "create, delete, export, get, import, list"),
        (&["things", "list", "--url", &address.to_string()], 3, "cannot reach"),
    ] {
        let ended = ctl(&node, words).await;
        assert_eq!(ended.code, code, "{words:?}: {ended:?}");
        assert!(ended.stderr.contains(reason), "{words:?}: {ended:?}");
        assert_eq!(ended.stderr.is_empty(), code == 0, "{words:?}: {ended:?}");
    }
}

#[tokio::test]
async fn requests_come_from_words_files_and_stdin() {
    let node = Site::new().start().await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("attributes.json");
    std::fs::write(&path, "{\"maker\":\"KSB\",\"serial\":\"7\"}\n").expect("it is written");
    let from_file = format!("attributes=@{}", path.display());
    // The schema says that a name is text.
    let words = ["things", "create", "thing=42", "location=acme/x", &from_file, "--json"];
    let ended = ctl(&node, &words).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let shown = ctl(&node, &["things", "get", "thing=42", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).expect("--json prints JSON");
    assert_eq!(shown["attributes"], json!({"maker": "KSB", "serial": "7"}));
    let request = r#"{"thing":"pump7","location":"acme/y"}"#;
    let words = ["ctl", "things", "create", "-", "attributes.maker=KSB"];
    let ended = manifold(node.mqtt(), &words, request).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let words = ["ctl", "things", "update", "thing=pump7", "attributes=@-"];
    let ended = manifold(node.mqtt(), &words, r#"{"maker":"WILO"}"#).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let shown = ctl(&node, &["things", "get", "thing=pump7"]).await;
    assert!(
        shown.stdout.contains("attributes.maker") && shown.stdout.contains("WILO"),
        "{shown:?}"
    );
    let table = ctl(&node, &["things", "list"]).await;
    assert!(table.stdout.starts_with("THING"), "{table:?}");
}

#[tokio::test]
async fn a_request_id_makes_a_change_once() {
    let node = Site::new().start().await;
    let create = ["things", "create", "thing=a", "--request-id", "change-1", "--json"];
    let first = ctl(&node, &create).await;
    assert!(first.code == 0 && first.stdout.contains("secret"), "{first:?}");
    let second = ctl(&node, &create).await;
    assert_eq!((second.code, second.stdout), (0, first.stdout));
    let third = ctl(&node, &["things", "create", "thing=a", "--request-id", "change-2"]).await;
    assert!(third.code == 1 && third.stderr.contains("already_exists"), "{third:?}");
}

#[tokio::test]
async fn help_and_completion_know_what_the_node_knows() {
    let node = Site::new().start().await;
    let catalogue = ctl(&node, &["$catalog", "get", "--json"]).await;
    let catalogue: Value = serde_json::from_str(&catalogue.stdout).expect("--json prints JSON");
    let all = ctl(&node, &[]).await.stdout;
    for resource in catalogue["resources"].as_array().expect("there are resources") {
        let name = resource["resource"].as_str().expect("a name is text");
        let help = ctl(&node, &[name, "--help"]).await;
        assert_eq!(help.code, 0, "{help:?}");
        for operation in resource["operations"].as_array().expect("there are operations") {
            let verb = operation["verb"].as_str().expect("a verb is text");
            assert!(all.contains(&format!("  manifold ctl {name} {verb}")), "{name} {verb}");
            let about = operation["description"].as_str().expect("it is text");
            let title = format!("manifold ctl {name} {verb}: {about}");
            assert!(help.stdout.contains(&title), "{title}");
            let fields = operation["request"]["properties"].as_object().into_iter().flatten();
            for (field, _) in fields {
                let is_told = help.stdout.contains(&format!("  {field}"));
                assert!(is_told, "{name} {verb} {field}: {}", help.stdout);
            }
        }
    }
    let create = ctl(&node, &["things", "create", "--help"]).await.stdout;
    assert!(
        create.contains("needed") && create.contains("needs the role project_admin"),
        "{create}"
    );
}

#[tokio::test]
async fn bash_completes_resources_verbs_and_fields() {
    let folder = binaries::manifold().parent().expect("it is in a folder");
    let script = r#"
        source <(manifold completion bash)
        complete_line() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _manifold manifold "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[@]}"
        }
        complete_line manifold ctl thi
        complete_line manifold ctl things cr
        complete_line manifold ctl things create loc
        complete_line manifold ctl things list --request
    "#;
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(script).env_clear();
    bash.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
    let output = bash.output().await.expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(lines, ["things", "create", "location=", "--request-id"], "{errors}");
}
