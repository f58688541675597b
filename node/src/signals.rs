//! The signals that a node hears: SIGTERM and SIGINT (Ctrl-C) end it in order, SIGHUP has it read its
//! files again.
//!
//! The first of those that end it starts the drain. A second one during the drain means "now", which is
//! the caller's choice: nothing acknowledged is lost by it, clients only learn later that the node is
//! gone.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// All of them, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To end; the name of the signal.
    End(&'static str),
    /// To read files again.
    Reload,
}

impl Signals {
    /// Catches the signals; only inside a runtime.
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::End("SIGTERM"),
            _ = self.interrupt.recv() => Asked::End("SIGINT"),
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    /// Waits for the next one that ends the node, and gives its name.
    pub(crate) async fn end(&mut self) -> &'static str {
        loop {
            if let Asked::End(name) = self.next().await {
                return name;
            }
        }
    }
}
