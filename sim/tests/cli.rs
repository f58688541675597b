//! The built binary: what it prints, how it ends, and its exit codes.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manifold-sim"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(words: &[&str]) -> Output {
    command().args(words).output().unwrap()
}

fn start_plant() -> (Child, SocketAddr) {
    let mut child = command().args(["plant", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("plant listening on ").unwrap().parse().unwrap();
    (child, address)
}

#[test]
fn the_register_map_is_printed_as_text_and_as_json() {
    let text = run(&["plant", "--registers"]);
    assert!(text.status.success());
    assert!(String::from_utf8(text.stdout).unwrap().contains("valve1.position_setpoint"));
    let json = run(&["plant", "--registers", "--json"]);
    let rows: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let setpoint = rows.as_array().unwrap().iter().find(|row| row["name"] == "position_setpoint");
    let setpoint = setpoint.unwrap();
    assert_eq!((&setpoint["type"], &setpoint["access"]), (&"uint16".into(), &"read_write".into()));
}

#[test]
fn the_plant_tells_its_port_and_ends_cleanly_on_both_signals() {
    for signal in ["-TERM", "-INT"] {
        let (mut child, address) = start_plant();
        assert!(TcpStream::connect(address).is_ok());
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["plant", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn exit_codes_tell_wrong_usage_from_an_unreachable_target() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("mqtt://{free}");
    for (words, code) in [
        (&["load", "pairs", "--url", &url][..], 3),
        (&["load", "pairs", "--qos", "2"], 2),
        (&["load", "ring"], 2),
        (&["plant", "--step-ms", "0"], 2),
        (&["load", "pairs", "--url", "ftp://x"], 1),
        (&["load", "pairs", "--spawn", "/no/such/binary"], 1),
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
    }
}

#[test]
fn an_interrupted_load_takes_the_broker_it_started_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let broker = dir.path().join("broker");
    let script = format!(
        "#!/bin/sh\necho $$ > {}/pid\n\
         echo 'listener=\"mqtt\" address={address}' >&2\nexec sleep 600\n",
        dir.path().display()
    );
    std::fs::write(&broker, script).unwrap();
    std::fs::set_permissions(&broker, Permissions::from_mode(0o755)).unwrap();

    let words = ["load", "pairs", "--pairs", "1", "--spawn", broker.to_str().unwrap()];
    let mut load = command().args(words).spawn().unwrap();
    let (_connection, _) = silent.accept().unwrap();
    let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
    assert!(is_running(&pid));
    let kill = Command::new("kill").args(["-TERM", &load.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(load.wait().unwrap().code(), Some(1));
    let mut looks = 0;
    while is_running(&pid) {
        looks += 1;
        assert!(looks < 10_000, "the broker outlived the load");
        std::thread::yield_now();
    }
}

/// Whether the process exists and is more than an entry that nobody has collected.
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.contains(") S ") || stat.contains(") R ") || stat.contains(") D ")
}
