//! The brokers under load: one that runs already, or one started for the run in its own process.
//!
//! A started broker gets a fresh data directory and picks its port; the line in which it reports
//! the MQTT listener tells the address. Its output is read to the end and the last lines are kept
//! for an error message. Dropping a [`Target`] kills what it started.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::connection::Endpoint;
use super::packet::Credentials;

/// Time for a started broker to report its listener.
const START_MAX: Duration = Duration::from_secs(30);
/// Lines of output kept for an error message.
const OUTPUT_LINES_MAX: usize = 20;
/// The administrator of a fresh Manifold node, mounted in the default namespace.
const ADMIN_USER: &str = "admin";

/// How to get at a broker.
#[derive(Debug, Clone)]
pub enum Launch {
    /// It runs already.
    Running {
        /// What the report calls it.
        name: String,
        /// Where it listens.
        endpoint: Endpoint,
        /// Its process, when its cost shall be measured.
        pid: Option<u32>,
    },
    /// A Manifold node is started from this binary.
    Manifold {
        /// The binary `manifold`.
        binary: PathBuf,
        /// Replaces the user name of the administrator.
        user: Option<String>,
    },
    /// The embedded rumqttd is started by running this binary again.
    Rumqttd,
}

/// A broker that is ready for clients.
#[derive(Debug)]
pub struct Target {
    /// Where it listens and as whom to connect.
    pub endpoint: Endpoint,
    /// The process whose cost is measured.
    pub pid: Option<u32>,
    started: Option<Started>,
}

/// What a started broker holds; the order of the fields is that of the clean-up.
#[derive(Debug)]
struct Started {
    child: Child,
    output: AbortHandle,
    _data_dir: TempDir,
}

impl Launch {
    /// What the report calls the broker.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Running { name, .. } => name,
            Self::Manifold { .. } => "manifold",
            Self::Rumqttd => "rumqttd",
        }
    }

    /// Makes the broker ready.
    pub async fn start(&self) -> Result<Target> {
        match self {
            Self::Running { endpoint, pid, .. } => {
                Ok(Target { endpoint: endpoint.clone(), pid: *pid, started: None })
            }
            Self::Manifold { binary, user } => start_manifold(binary.clone(), user.clone()).await,
            Self::Rumqttd => {
                let binary = std::env::current_exe().context("cannot find this binary")?;
                let mut command = Command::new(binary);
                command.args(["baseline-broker", "--listen", "127.0.0.1:0"]);
                spawn(command, None, data_dir()?).await
            }
        }
    }
}

impl Target {
    /// Stops the broker if it was started here, and waits until it is gone.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(started) = &mut self.started {
            started.child.kill().await.context("cannot stop the broker")?;
            started.output.abort();
        }
        Ok(())
    }
}

async fn start_manifold(binary: PathBuf, user: Option<String>) -> Result<Target> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("cannot get random bytes")?;
    let secret = format!("{:032x}", u128::from_be_bytes(random));
    let data_dir = data_dir()?;
    let mut command = Command::new(binary);
    command.arg("serve").arg("--data").arg(data_dir.path());
    for set in ["listen.mqtt=127.0.0.1:0", "listen.ws=", "listen.http="] {
        command.args(["--set", set]);
    }
    command.env("MANIFOLD_ADMIN_SECRET", &secret);
    let user = user.unwrap_or_else(|| ADMIN_USER.to_owned());
    spawn(command, Some(Credentials { user, secret }), data_dir).await
}

fn data_dir() -> Result<TempDir> {
    tempfile::Builder::new().prefix("manifold-load-").tempdir().context("cannot make a directory")
}

async fn spawn(
    mut command: Command,
    credentials: Option<Credentials>,
    data_dir: TempDir,
) -> Result<Target> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let program = command.as_std().get_program().to_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {program:?}"))?;
    let stderr = child.stderr.take().context("no output of the broker")?;
    let mut lines = BufReader::new(stderr).lines();
    let address = timeout(START_MAX, reported_address(&mut lines))
        .await
        .unwrap_or_else(|_| Err(anyhow!("no line with an mqtt listener in {START_MAX:?}")))
        .with_context(|| format!("{program:?} did not start"))?;
    // The pipe is read to its end: a full pipe would block the broker.
    let rest =
        tokio::task::spawn_local(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(Target {
        endpoint: Endpoint { address, credentials },
        pid: child.id(),
        started: Some(Started { child, output: rest.abort_handle(), _data_dir: data_dir }),
    })
}

async fn reported_address(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<SocketAddr> {
    let mut last = VecDeque::with_capacity(OUTPUT_LINES_MAX);
    while let Some(line) = lines.next_line().await? {
        if let Some(address) = listener_address(&line) {
            return Ok(address);
        }
        if last.len() == OUTPUT_LINES_MAX {
            last.pop_front();
        }
        last.push_back(line);
    }
    bail!("it ended, saying: {}", Vec::from(last).join("\n"))
}

/// The address in a log line with `listener="mqtt"` and `address=127.0.0.1:1883`, colours or not.
fn listener_address(line: &str) -> Option<SocketAddr> {
    let line = without_colours(line);
    let mut is_mqtt = false;
    let mut address = None;
    for word in line.split([' ', ',', '{', '}']) {
        let Some((key, value)) = word.split_once(['=', ':']) else {
            continue;
        };
        let value = value.trim_matches('"');
        match key.trim_matches('"') {
            "listener" => is_mqtt = value == "mqtt",
            "address" => address = value.parse().ok(),
            _ => {}
        }
    }
    address.filter(|_| is_mqtt)
}

/// Removes the escape sequences that a terminal format puts around fields.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        let sequence = &rest[at + 2..];
        match sequence.find('m') {
            Some(end) => rest = &sequence[end + 1..],
            None => return plain,
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_line_is_understood_in_every_log_format() {
        let address = Some("127.0.0.1:40123".parse().unwrap());
        for line in [
            r#"INFO manifold: listening listener="mqtt" address=127.0.0.1:40123"#,
            r#"2026-01-01T00:00:00Z  INFO listening address=127.0.0.1:40123 listener="mqtt" n=1"#,
            "\u{1b}[3mlistener\u{1b}[0m\u{1b}[2m=\u{1b}[0m\"mqtt\" \
             \u{1b}[3maddress\u{1b}[0m\u{1b}[2m=\u{1b}[0m127.0.0.1:40123",
            r#"{"fields":{"listener":"mqtt","address":"127.0.0.1:40123"}}"#,
        ] {
            assert_eq!(listener_address(line), address, "{line}");
        }
    }

    #[test]
    fn other_lines_are_not_taken_for_it() {
        for line in [
            "",
            "address=127.0.0.1:1",
            r#"listener="ws" address=127.0.0.1:1"#,
            r#"listener="mqtt" address=nowhere"#,
            "\u{1b}[3 listener=\"mqtt\"",
        ] {
            assert_eq!(listener_address(line), None, "{line}");
        }
    }
}
