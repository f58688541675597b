//! The task that talks to the machine, so that a slow or hung one never blocks the actor's mailbox.
//!
//! It carries out one command at a time and reports each outcome. The actor gives the next command
//! only after an outcome, so a channel of one holds them all. A driver that exceeds every time-out
//! of its own is dropped half way, which closes its connection; a panic of a driver ends the task
//! with a report.

use super::state::Command;
use super::write::Write;
use drivers::{ConnectError, Counters, Driver, ReadOutcome, WriteError};
use futures_util::FutureExt;
use proto::Scalar;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What became of a command, with the driver's counters after it.
pub(crate) enum Outcome {
    /// Of [`Command::Connect`].
    Connected(Result<(), ConnectError>, Counters),
    /// Of [`Command::Read`].
    Read(ReadOutcome, Counters),
    /// Of [`Command::Write`].
    Written(Write, Result<Scalar, WriteError>, Counters),
    /// The driver did not come back within so many milliseconds.
    Hung(u64),
    /// The driver panicked; there are no further outcomes.
    Panicked(String),
}

/// Carries out commands until the actor is gone.
pub(crate) async fn run(
    mut driver: Box<dyn Driver>,
    mut commands: mpsc::Receiver<Command>,
    deadline_ms: u64,
    report: impl Fn(Outcome),
) {
    while let Some(command) = commands.recv().await {
        let work = AssertUnwindSafe(carry_out(&mut *driver, command)).catch_unwind();
        match timeout(Duration::from_millis(deadline_ms), work).await {
            Ok(Ok(outcome)) => report(outcome),
            Ok(Err(panic)) => return report(Outcome::Panicked(text_of(&*panic))),
            Err(_) => report(Outcome::Hung(deadline_ms)),
        }
    }
}

async fn carry_out(driver: &mut dyn Driver, command: Command) -> Outcome {
    match command {
        Command::Connect => {
            let outcome = driver.connect().await;
            Outcome::Connected(outcome, driver.health().counters)
        }
        Command::Read(points) => {
            let outcome = driver.read(&points).await;
            Outcome::Read(outcome, driver.health().counters)
        }
        Command::Write(write) => {
            let outcome = driver.write(write.point, &write.value, write.verify).await;
            Outcome::Written(write, outcome, driver.health().counters)
        }
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panic without a text".to_owned())
}
