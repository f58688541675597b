//! `manifold demo` as a visitor meets it: the page, each of its commands, Ctrl-C.

use crate::paste::Command;
use crate::running::{Demo, manifold};

#[tokio::test]
async fn every_command_of_the_page_works_as_it_stands() {
    let demo = Demo::start(manifold().args(["demo", "--port-offset", "20000"])).await;
    let commands: Vec<Command> = demo.page.iter().filter_map(|line| Command::read(line)).collect();
    let [watch_command, write, report, wait, desire] = commands.as_slice() else {
        panic!("five commands are expected: {}", demo.page.join("\n"));
    };
    let mut watch = watch_command.subscribe().await;
    let setpoint = "uns/acme/berlin/utilities/valve1/_raw/position_setpoint";
    watch.wait_for(setpoint, |value| value["q"] == "good").await;
    write.publish().await;
    watch.wait_for(&format!("{setpoint}/set/result"), |result| result["ok"] == true).await;
    watch.wait_for(setpoint, |value| value["v"] == 25.0 && value["q"] == "good").await;
    report.publish().await;
    let boiler = "uns/acme/berlin/utilities/boiler7/_raw";
    watch.wait_for(&format!("{boiler}/temperature"), |value| value["v"] == 71.5).await;
    let mut late = watch_command.subscribe().await;
    late.wait_for(&format!("{boiler}/burner/on"), |value| value["v"] == true).await;
    let mut wait = wait.subscribe().await;
    desire.publish().await;
    let delta = |delta: &serde_json::Value| delta["state"]["setpoint"] == 80;
    wait.wait_for("things/boiler7/shadow/update/delta", delta).await;
    assert_eq!(demo.end().await, Some(0));
}

#[tokio::test]
async fn a_directory_can_be_used_again_and_a_temporary_one_is_removed() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    for _ in 0..2 {
        let mut command = manifold();
        command.args(["demo", "--port-offset", "21000", "--data", dir]);
        let demo = Demo::start(&mut command).await;
        assert!(demo.page.iter().any(|line| line.contains("mosquitto_sub")));
        assert_eq!(demo.end().await, Some(0));
    }
    let temporary = tempfile::tempdir().unwrap();
    let mut command = manifold();
    command.args(["demo", "--port-offset", "22000"]).env("TMPDIR", temporary.path());
    let demo = Demo::start(&mut command).await;
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
    assert_eq!(demo.end().await, Some(0));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}
