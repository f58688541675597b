//! The comparison with rumqttd, both sides real: one as the target, one as the baseline.
#![cfg(feature = "baseline")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn both_columns_and_the_ratio_are_reported() {
    let binary = env!("CARGO_BIN_EXE_manifold-sim");
    let mut target = Command::new(binary)
        .args(["baseline-broker", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(target.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().split_once("address=").unwrap().1;

    let output = Command::new(binary)
        .args(["load", "pairs", "--pairs", "4", "--qos", "1", "--seconds", "1", "--warmup", "0.2"])
        .args(["--url", &format!("mqtt://{address}"), "--pid", &target.id().to_string()])
        .args(["--against", "rumqttd", "--rounds", "2", "--json"])
        .output()
        .unwrap();
    target.kill().unwrap();
    target.wait().unwrap();

    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let case = &report["cases"][0];
    for column in case["columns"].as_array().unwrap() {
        assert_eq!(column["rounds"].as_array().unwrap().len(), 2, "{column}");
        assert_eq!(column["figures"]["lost"], 0.0, "{column}");
        assert!(column["figures"]["delivered_per_second"].as_f64().unwrap() > 0.0);
        assert!(column["figures"]["target_resident_mib"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(case["columns"][1]["name"], "rumqttd");
    assert!(case["ratio"]["delivered_per_second"].as_f64().unwrap() > 0.0);
}
