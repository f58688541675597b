//! A child process whose output is read, whose memory can be looked at, and that ends as the test says.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

/// How long anything may take that happens at once on an idle machine: only a failure reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The last lines that are kept of what a process says.
const LINES_MAX: usize = 10_000;

/// A running process; it is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    output: Arc<Output>,
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<VecDeque<String>>,
    has_more: Notify,
}

impl Output {
    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, from: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut kept = self.lines();
            if kept.len() == LINES_MAX {
                kept.pop_front();
            }
            kept.push_back(line);
            drop(kept);
            self.has_more.notify_waiters();
        }
    }
}

impl Process {
    /// Starts a command; both its outputs are read.
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("the executable starts");
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let reader = Arc::clone(&output);
        tokio::spawn(async move {
            let stdout = async {
                if let Some(stdout) = stdout {
                    reader.read(stdout).await;
                }
            };
            let stderr = async {
                if let Some(stderr) = stderr {
                    reader.read(stderr).await;
                }
            };
            tokio::join!(stdout, stderr);
        });
        Self { name, child, output }
    }

    /// The first line that contains `mark`, now or later; the test fails if the process ends before.
    pub async fn line_with(&mut self, mark: &str) -> String {
        let output = Arc::clone(&self.output);
        let wait = async {
            loop {
                let more = output.has_more.notified();
                let found = output.lines().iter().find(|line| line.contains(mark)).cloned();
                if found.is_some() {
                    return found;
                }
                tokio::select! {
                    biased;
                    () = more => {}
                    // Its last lines may still be on their way.
                    _ = self.child.wait() => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        return output.lines().iter().find(|line| line.contains(mark)).cloned();
                    }
                }
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(Some(line)) => line,
            Ok(None) => panic!("{} ended without saying {mark:?}:\n{}", self.name, self.log()),
            Err(_) => panic!("{} does not say {mark:?}:\n{}", self.name, self.log()),
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.output.lines().iter().fold(String::new(), |log, line| log + line + "\n")
    }

    /// Its resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let kilobytes: u64 = kilobytes.and_then(|it| it.parse().ok()).expect("its memory is known");
        kilobytes * 1024
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a process can be killed");
    }

    /// SIGTERM, and how it ended.
    pub async fn terminate(mut self) -> (ExitStatus, String) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), Signal::TERM).expect("it can be signalled");
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => (status.expect("a child can be waited for"), self.log()),
            Err(_) => panic!("{} does not end on SIGTERM:\n{}", self.name, self.log()),
        }
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), Signal::HUP).expect("it can be signalled");
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("the process has not been waited for")
    }
}
