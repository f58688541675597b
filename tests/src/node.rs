//! `manifold serve` as a process: started on free ports, ready when it says so, killed and started again.

use crate::binaries;
use crate::process::{PATIENCE, Process};
use crate::wire::{Hello, Wire};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

/// The secret of `admin` on every node of the tests.
pub const SECRET: &str = "a secret of the tests";

/// The data of a node, which outlives its processes, and the settings it is started with.
#[derive(Debug)]
pub struct Site {
    data: Data,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
}

/// Where the data is.
#[derive(Debug)]
enum Data {
    /// In a folder that goes with the site and the last of its nodes.
    Own(Arc<TempDir>),
    /// In one that the test looks after.
    Given(PathBuf),
}

impl Site {
    /// An empty store, settings as they come.
    pub fn new() -> Self {
        let data = tempfile::tempdir().expect("a folder can be made");
        Self::on(Data::Own(Arc::new(data)))
    }

    /// A store in this folder, which may be there already.
    pub fn at(folder: &Path) -> Self {
        Self::on(Data::Given(folder.to_owned()))
    }

    fn on(data: Data) -> Self {
        Self { data, settings: Vec::new(), environment: Vec::new() }
    }

    /// The folder of the store.
    pub fn data(&self) -> &Path {
        match &self.data {
            Data::Own(folder) => folder.path(),
            Data::Given(folder) => folder,
        }
    }

    /// With one more setting, as `section.key=value`.
    #[must_use]
    pub fn with(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// With a variable of the environment, of which there is none else but the secret.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a node on this data, and waits until it is ready.
    pub async fn start(&self) -> Node {
        let mut command = Command::new(binaries::manifold());
        command.env_clear().env("MANIFOLD_ADMIN_SECRET", SECRET);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("serve").arg("--data").arg(self.data());
        let listeners = ["mqtt", "ws", "http"].map(|name| format!("listen.{name}=127.0.0.1:0"));
        for setting in listeners.iter().chain(&self.settings) {
            command.arg("--set").arg(setting);
        }
        let folder = match &self.data {
            Data::Own(folder) => Some(Arc::clone(folder)),
            Data::Given(_) => None,
        };
        Node::ready(Process::start("manifold", &mut command), folder).await
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// A node that is ready.
#[derive(Debug)]
pub struct Node {
    process: Process,
    /// Its data, which must not go before it.
    _folder: Option<Arc<TempDir>>,
    mqtt: SocketAddr,
    ws: SocketAddr,
    http: SocketAddr,
    start_up: Duration,
}

impl Node {
    async fn ready(mut process: Process, folder: Option<Arc<TempDir>>) -> Self {
        let line = process.line_with(" ready startup_ms=").await;
        let start_up_ms = field(&line, "startup_ms=").parse().expect("milliseconds are a number");
        let mut addresses = Vec::new();
        for listener in ["mqtt", "ws", "http"] {
            let line = process.line_with(&format!("listener=\"{listener}\"")).await;
            addresses.push(field(&line, "address=").parse().expect("an address"));
        }
        let start_up = Duration::from_millis(start_up_ms);
        let [mqtt, ws, http] = addresses[..] else { unreachable!("there are three listeners") };
        let node = Self { process, _folder: folder, mqtt, ws, http, start_up };
        let answer = node.get("/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "ready, but /readyz says {answer}");
        node
    }

    /// Where it speaks MQTT over TCP.
    pub fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// Where it speaks MQTT over WebSocket.
    pub fn ws(&self) -> SocketAddr {
        self.ws
    }

    /// Where it speaks HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// How long it says that its start took.
    pub fn start_up(&self) -> Duration {
        self.start_up
    }

    /// Its resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// The value of a metric without labels.
    pub async fn figure(&self, name: &str) -> u64 {
        let answer = self.get("/metrics").await;
        let values = answer.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = values.map(str::parse).next().and_then(Result::ok);
        value.unwrap_or_else(|| panic!("there is no whole number {name} in {answer}"))
    }

    /// Waits for a line in its log.
    pub async fn logs(&mut self, mark: &str) -> String {
        self.process.line_with(mark).await
    }

    /// The answer to `GET path`, head included.
    pub async fn get(&self, path: &str) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.http).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        answer.expect("HTTP answers in time").expect("HTTP answers")
    }

    /// A client that has said hello.
    pub async fn client(&self, hello: &Hello) -> Wire {
        Wire::connect(self.mqtt, hello).await
    }

    /// Fails the test, with the log, if the node is no longer there.
    pub fn assert_alive(&mut self) {
        assert!(self.process.is_running(), "the node has ended:\n{}", self.process.log());
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.process.hang_up();
    }

    /// `kill -9`.
    pub async fn kill(self) {
        self.process.kill().await;
    }

    /// SIGTERM: how it ended, and its log.
    pub async fn terminate(self) -> (ExitStatus, String) {
        self.process.terminate().await
    }
}

/// The value of a field of a log line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let rest = line.split(name).nth(1).unwrap_or_default();
    rest.split_whitespace().next().unwrap_or_default()
}
