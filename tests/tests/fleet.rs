//! `manifold-sim fleet` against a real node: every request of a small load is answered once, and a mistake is named.

use manifold_tests::binaries;
use manifold_tests::node::{Node, SECRET, Site};
use serde_json::Value;
use std::process::Output;
use tokio::process::Command;

async fn fleet(node: &Node, secret: &str, arguments: &str) -> Output {
    let mut command = Command::new(binaries::manifold_sim());
    command.arg("fleet").args(arguments.split(' ')).env_clear().env("MANIFOLD_SECRET", secret);
    command.arg("--url").arg(format!("mqtt://{}", node.mqtt()));
    command.output().await.expect("manifold-sim can be started")
}

#[tokio::test]
async fn every_request_is_answered_once() {
    let node = Site::new().start().await;
    for arguments in [
        "shadow --things 5 --window 3",
        "telemetry --things 5 --window 3 --rate 500",
        "telemetry --things 5 --window 3 --rate 500 --model",
        "commands --things 5 --window 3",
        "commands --things 5 --window 3 --model",
        "wake --things 401 --window 2",
    ] {
        let arguments = format!("{arguments} --seconds 0.5 --warmup 0.1 --json");
        let output = fleet(&node, SECRET, &arguments).await;
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments}: {error}, {said}"));
        assert_eq!(output.status.code(), Some(0), "{arguments}: {report}");
        assert!(report["sent"].as_u64() > Some(20), "{arguments}: {report}");
        for fault in ["lost", "refused", "unasked"] {
            assert_eq!(report[fault], 0, "{arguments}: {report}");
        }
        assert!(report["p99_ms"].as_f64() > Some(0.0), "{arguments}: {report}");
    }
}

#[tokio::test]
async fn a_refusal_a_flag_beyond_its_limit_and_a_node_that_is_not_there_are_named() {
    let node = Site::new().start().await;
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let output = fleet(&node, "a wrong secret", "wake").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not authorised"), "{}", said(&output));
    let output = fleet(&node, SECRET, "wake --things 20001").await;
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--things must be between 1 and 20000"), "{}", said(&output));
    let mut command = Command::new(binaries::manifold_sim());
    command.args(["fleet", "wake", "--url", "mqtt://127.0.0.1:1", "--secret", "s"]);
    let output = command.output().await.expect("manifold-sim can be started");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
}
