//! The built binary as an operator meets it: start, probes, log, refusals, restart, signals.

use crate::running::{Node, SECRET, manifold, run, serve, stderr};
use std::path::Path;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn a_node_becomes_ready_answers_probes_and_ends_on_sigterm() {
    let data = directory();
    let node = Node::start(data.path()).await;
    assert!(node.get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(node.get("/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = node.get("/metrics").await;
    for name in [
        "broker_connections ",
        "store_commits_total ",
        "actors_devices_awake ",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
    ] {
        assert!(metrics.contains(&format!("\n{name}")), "{name}is not in {metrics}");
    }
    assert_ne!(node.address("mqtt").port(), 0);
    assert_ne!(node.address("ws").port(), 0);
    let (code, rest) = node.end("TERM").await;
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("draining"), "{rest}");
}

#[tokio::test]
async fn sigint_ends_a_node_like_sigterm() {
    let data = directory();
    let node = Node::start(data.path()).await;
    assert_eq!(node.end("INT").await.0, Some(0));
}

#[tokio::test]
async fn the_first_start_shows_the_admin_secret_once_and_only_there() {
    let data = directory();
    let first = Node::start_with(&mut serve(data.path())).await;
    let line = first.log.iter().find(|line| line.trim_start().starts_with("secret")).unwrap();
    let secret = line.split_whitespace().nth(1).unwrap().to_owned();
    assert!(secret.len() >= 20, "{secret}");
    assert_eq!(first.log.iter().filter(|line| line.contains(&secret)).count(), 1);
    let url = format!("mqtt://{}", first.address("mqtt"));
    let mut ctl = manifold();
    ctl.args(["ctl", "things", "list", "--url", &url, "--secret", &secret]);
    let output = run(&mut ctl).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    first.end("TERM").await;
    let second = Node::start_with(&mut serve(data.path())).await;
    assert!(!second.log.iter().any(|line| line.contains("secret")), "{:?}", second.log);
    second.end("TERM").await;
}

#[tokio::test]
async fn a_secret_from_the_environment_is_not_shown() {
    let data = directory();
    let node = Node::start(data.path()).await;
    assert!(!node.log.iter().any(|line| line.contains(SECRET)), "{:?}", node.log);
    node.end("TERM").await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill() {
    let data = directory();
    let node = Node::start(data.path()).await;
    let output = node.ctl(&["things", "create", "thing=pump7", "location=acme/berlin"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    node.end("KILL").await;
    let node = Node::start(data.path()).await;
    let output = node.ctl(&["things", "get", "thing=pump7", "--json"]).await;
    let thing: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(thing["thing"], "pump7");
    assert_eq!(thing["location"], "acme/berlin");
    let table = node.ctl(&["things", "list"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("THING") && table.contains("\npump7"), "{table}");
    node.end("TERM").await;
}

#[tokio::test]
async fn ctl_tells_refusals_from_wrong_usage_and_from_silence() {
    let data = directory();
    let node = Node::start(data.path()).await;
    for (words, code, told) in [
        (&["things", "get", "thing=nobody"][..], 1, "manifold: not_found: "),
        (&["things", "fly"], 1, "manifold: unknown_operation: "),
        (&["things", "create", "thing=a", "colour=red"], 1, "colour"),
        (&["things", "create", "thing"], 2, "key=value"),
        (&["things", "list", "--url", "http://x"], 2, "mqtt://"),
        (&["things", "list", "--secret", "wrong"], 1, "manifold: unauthorized: "),
        (&["things", "list", "--url", "mqtt://127.0.0.1:1"], 3, "cannot reach"),
    ] {
        let output = node.ctl(words).await;
        assert_eq!(output.status.code(), Some(code), "{words:?} {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{words:?} {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    node.end("TERM").await;
}

/// The printed help is a table of its own; a node that offers more or less must not go unnoticed.
#[tokio::test]
async fn ctl_lists_exactly_what_the_node_offers() {
    let listed = String::from_utf8(run(manifold().arg("ctl")).await.stdout).unwrap();
    let verbs_of = |resource: &str| {
        let begin = format!("  manifold ctl {resource} ");
        let verbs = listed.lines().filter_map(|line| line.strip_prefix(&begin));
        verbs.map(|rest| rest.split(' ').next().unwrap()).collect::<Vec<_>>().join(", ")
    };
    let data = directory();
    let node = Node::start(data.path()).await;
    let told = stderr(&node.ctl(&["nothing", "list"]).await);
    let (_, resources) = told.trim_end().split_once("there are ").expect(&told);
    for resource in resources.trim_end_matches(" (resource)").split(", ") {
        let told = stderr(&node.ctl(&[resource, "fly"]).await);
        let verbs = verbs_of(resource);
        assert!(told.contains(&format!("; it has {verbs} (verb)")), "{told} but {verbs}");
    }
    let count = listed.lines().filter(|line| !line.starts_with(' ')).count();
    assert_eq!(count, resources.split(", ").count(), "{listed}");
    node.end("TERM").await;
}

#[tokio::test]
async fn a_second_node_on_the_same_data_is_refused_and_the_first_lives() {
    let data = directory();
    let node = Node::start(data.path()).await;
    let output = run(&mut serve(data.path())).await;
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    let last = told.lines().last().unwrap();
    assert!(last.starts_with("manifold: ") && last.contains("already open"), "{told}");
    assert!(node.get("/readyz").await.starts_with("HTTP/1.1 200"));
    node.end("TERM").await;
}

#[tokio::test]
async fn a_port_in_use_is_told_and_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    for listener in ["mqtt", "ws", "http"] {
        let data = directory();
        let mut command = serve(data.path());
        command.arg("--set").arg(format!("listen.{listener}={address}"));
        let output = run(&mut command).await;
        assert_eq!(output.status.code(), Some(1));
        let told = stderr(&output);
        let expected = format!("manifold: cannot listen for {listener} on {address}: ");
        assert!(told.lines().last().unwrap().starts_with(&expected), "{told}");
        // The administrator was made all the same: its secret must not be lost with the start.
        assert!(told.lines().any(|line| line.trim_start().starts_with("secret  ")), "{told}");
    }
}

#[tokio::test]
async fn a_bad_configuration_is_told_on_one_line() {
    let data = directory();
    let file = data.path().join("manifold.toml");
    std::fs::write(&file, "[listen]\nmqqt = \"\"\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    for command in ["serve", "check"] {
        let output = run(manifold().arg(command).args(config)).await;
        assert_eq!(output.status.code(), Some(1));
        let told = stderr(&output);
        assert!(told.contains("listen.mqqt: there is no such key"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    let missing = run(manifold().args(["serve", "--config", "/nowhere/manifold.toml"])).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).starts_with("manifold: cannot read the configuration"));
    assert_eq!(run(manifold().args(["serve", "--nothing"])).await.status.code(), Some(2));
}

#[tokio::test]
async fn the_example_and_the_environment_pass_the_check() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/manifold.toml");
    let output = run(manifold().arg("check").arg("--config").arg(example)).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let mut printed = manifold();
    printed.args(["check", "--print"]).env("MANIFOLD__LISTEN__MQTT", "0.0.0.0:7");
    let printed = String::from_utf8(run(&mut printed).await.stdout).unwrap();
    assert!(printed.contains("mqtt = \"0.0.0.0:7\""), "{printed}");
}

#[tokio::test]
async fn the_log_is_json_if_asked_for() {
    let data = directory();
    let mut command = serve(data.path());
    command.args(["--set", "log.format=json"]).env("MANIFOLD_ADMIN_SECRET", SECRET);
    let node = Node::start_with(&mut command).await;
    for line in &node.log {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
    node.end("TERM").await;
}

#[tokio::test]
async fn spans_are_exported_if_a_collector_is_configured() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("telemetry.otlp_endpoint=http://{}", collector.local_addr().unwrap());
    let received = tokio::spawn(async move {
        let (mut stream, _) = collector.accept().await.unwrap();
        let mut bytes = vec![0; 24];
        stream.read_exact(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let data = directory();
    let node = Node::start_with(serve(data.path()).args(["--set", &endpoint])).await;
    // The spans of the actors end with them. A collector that hangs up does not hold the end.
    assert_eq!(node.end("TERM").await.0, Some(0));
    assert_eq!(received.await.unwrap(), "POST /v1/traces HTTP/1.1");
}
