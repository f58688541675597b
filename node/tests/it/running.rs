//! A `manifold` process of a test: started on free ports, its log read, ended by the test.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};

/// Long enough for a loaded machine; only a broken node reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The admin secret of the nodes started here.
pub(crate) const SECRET: &str = "a secret of the tests";

/// The executable, with no setting from outside.
pub(crate) fn manifold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manifold"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command) -> Output {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    tokio::time::timeout(PATIENCE, output).await.expect("it ends").unwrap()
}

/// What a process said on stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A node that is ready.
pub(crate) struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    /// Everything it has logged until it was ready.
    pub(crate) log: Vec<String>,
}

impl Node {
    /// Starts `manifold serve` on free ports and waits until it is ready.
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(serve(data).env("MANIFOLD_ADMIN_SECRET", SECRET)).await
    }

    /// Starts a command and waits until its log says that it is ready.
    pub(crate) async fn start_with(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut node = Self { child, lines, log: Vec::new() };
        loop {
            let line = tokio::time::timeout(PATIENCE, node.lines.next_line()).await;
            let line = line.expect("it becomes ready").unwrap();
            let Some(line) = line else { panic!("it ended: {}", node.log.join("\n")) };
            let is_ready = line.contains(" ready startup_ms=") || line.contains("\"ready\"");
            node.log.push(line);
            if is_ready {
                return node;
            }
        }
    }

    /// The address that the log gives for a listener.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let mark = format!("listener=\"{listener}\"");
        let line = self.log.iter().find(|line| line.contains(&mark)).expect("it listens");
        let rest = line.split("address=").nth(1).unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// `manifold ctl` to this node as its administrator.
    pub(crate) async fn ctl(&self, words: &[&str]) -> Output {
        let url = format!("mqtt://{}", self.address("mqtt"));
        let mut command = manifold();
        command.arg("ctl").args(words).env("MANIFOLD_URL", url).env("MANIFOLD_SECRET", SECRET);
        run(&mut command).await
    }

    /// The answer to `GET path`, head included.
    pub(crate) async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address("http")).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Sends a signal and waits for the end; gives the exit code and the rest of the log.
    pub(crate) async fn end(mut self, signal: &str) -> (Option<i32>, String) {
        send_signal(&self.child, signal).await;
        let mut rest = String::new();
        let wait = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                rest.push_str(&line);
                rest.push('\n');
            }
            self.child.wait().await.unwrap().code()
        };
        let code = tokio::time::timeout(PATIENCE, wait).await.expect("it ends");
        (code, rest)
    }
}

/// A demo that has printed its page.
pub(crate) struct Demo {
    child: Child,
    /// The lines of the page.
    pub(crate) page: Vec<String>,
}

impl Demo {
    /// Starts `manifold demo` and reads its page.
    pub(crate) async fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut page = Vec::new();
        while !page.last().is_some_and(|line: &String| line.starts_with("Ctrl-C")) {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
            let line = line.expect("it prints its page").unwrap();
            page.push(line.unwrap_or_else(|| panic!("it ended: {}", page.join("\n"))));
        }
        Self { child, page }
    }

    /// Ctrl-C; gives the exit code.
    pub(crate) async fn end(mut self) -> Option<i32> {
        send_signal(&self.child, "INT").await;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        status.expect("it ends").unwrap().code()
    }
}

async fn send_signal(child: &Child, signal: &str) {
    let kill = format!("kill -{signal} {}", child.id().expect("it runs"));
    assert!(Command::new("/bin/sh").args(["-c", &kill]).status().await.unwrap().success());
}

/// `manifold serve` on free ports.
pub(crate) fn serve(data: &Path) -> Command {
    let mut command = manifold();
    command.arg("serve").arg("--data").arg(data);
    for listener in ["mqtt", "ws", "http"] {
        command.arg("--set").arg(format!("listen.{listener}=127.0.0.1:0"));
    }
    command
}
