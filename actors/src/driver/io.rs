//! The task that talks to the machine, so that a slow or hung one never blocks the actor's mailbox.
//!
//! It carries out one command at a time and reports each outcome; meanwhile it passes on what the machine pushes, the
//! next only when the actor has done with the one before. The actor gives the next command
//! only after an outcome, so a channel of one holds them all. A driver that exceeds every time-out
//! of its own is dropped half way, which closes its connection; a panic of a driver ends the task
//! with a report.

use super::command::{Command, Query};
use crate::figures;
use drivers::{
    ConnectError, Counters, Driver, Found, Kept, Lost, PointRead, Pushed, QueryError, ReadOutcome,
    SubscribeError, Subscription, WriteError,
};
use futures_util::future::pending;
use futures_util::{FutureExt, StreamExt};
use proto::Datum;
use serde_json::Value as Json;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// What became of a command, with the driver's counters after it.
pub(crate) enum Outcome {
    /// Of [`Command::Connect`].
    Connected(Result<(), ConnectError>, Counters),
    /// Of [`Command::Subscribe`].
    Subscribed(Result<(), SubscribeError>, Counters),
    /// The machine has pushed something; the permit makes room for the next.
    Pushed(Pushed, Counters, OwnedSemaphorePermit),
    /// Of [`Command::Read`].
    Read(ReadOutcome, Counters),
    /// Of [`Command::Write`], each write in its place.
    Written(Vec<Result<Datum, WriteError>>, Counters),
    /// Of [`Command::Ask`], with its ticket.
    Asked(u64, Answered, Counters),
    /// Of [`Command::Recall`].
    Recalled(Result<Vec<Kept>, QueryError>, Counters),
    /// The driver did not come back within so many milliseconds.
    Hung(u64),
    /// The driver panicked; there are no further outcomes.
    Panicked(String),
}

/// What the machine said to a question.
pub(crate) enum Answered {
    /// To a read.
    Read(ReadOutcome),
    /// To what it has.
    Found(Result<Vec<Found>, QueryError>),
    /// To who it is.
    Identity(Result<Vec<(String, String)>, QueryError>),
    /// To a call.
    Returned(Result<Vec<Json>, QueryError>),
}

/// How much of what is pushed the actor may have before it.
const PUSHED_AT_ONCE: usize = 2;

/// The machine's side: the driver, and what it has subscribed to.
struct Machine {
    driver: Box<dyn Driver>,
    pushes: Option<Subscription>,
    /// That the connection is lost, found out during a command whose outcome comes first.
    last: Option<Push>,
    room: Arc<Semaphore>,
}

/// What was pushed, and the permit that makes room for the next.
type Push = (Pushed, OwnedSemaphorePermit);

/// Carries out commands until the actor is gone.
pub(crate) async fn run(
    driver: Box<dyn Driver>,
    mut commands: mpsc::Receiver<Command>,
    deadline_ms: u64,
    report: impl Fn(Outcome),
) {
    let room = Arc::new(Semaphore::new(PUSHED_AT_ONCE));
    let mut machine = Machine { driver, pushes: None, last: None, room };
    loop {
        let pushed = AssertUnwindSafe(machine.pushed()).catch_unwind();
        let command = tokio::select! {
            biased;
            command = commands.recv() => command,
            pushed = pushed => match pushed {
                Ok((outcome, permit)) => {
                    if outcome.lost.is_some() {
                        machine.pushes = None;
                    }
                    report(Outcome::Pushed(outcome, machine.driver.health().counters, permit));
                    continue;
                }
                Err(panic) => return report(Outcome::Panicked(text_of(&*panic))),
            },
        };
        let Some(command) = command else { return };
        let work = AssertUnwindSafe(machine.carry_out(command, &report)).catch_unwind();
        match timeout(Duration::from_millis(deadline_ms), work).await {
            Ok(Ok(outcome)) => report(outcome),
            Ok(Err(panic)) => return report(Outcome::Panicked(text_of(&*panic))),
            Err(_) => {
                // It counts as lost: nothing more of it is taken.
                (machine.pushes, machine.last) = (None, None);
                report(Outcome::Hung(deadline_ms));
            }
        }
    }
}

/// The next that the machine pushes, once there is room for it. It is safe to be given up: nothing is taken from the
/// stream before there is.
async fn pushed(
    pushes: &mut Option<Subscription>,
    room: &Arc<Semaphore>,
) -> (Pushed, OwnedSemaphorePermit) {
    let (Some(stream), Ok(permit)) = (pushes, room.clone().acquire_owned().await) else {
        return pending().await;
    };
    let outcome = stream
        .next()
        .await
        .unwrap_or_else(|| Pushed { lost: Some(Lost::NotConnected), ..Pushed::default() });
    (outcome, permit)
}

impl Machine {
    async fn pushed(&mut self) -> Push {
        match self.last.take() {
            Some(last) => last,
            None => pushed(&mut self.pushes, &self.room).await,
        }
    }

    /// What is pushed goes on meanwhile: a device may have to be heard before it does what it is told.
    async fn carry_out(&mut self, command: Command, report: &impl Fn(Outcome)) -> Outcome {
        if matches!(command, Command::Connect | Command::Subscribe(_)) {
            (self.pushes, self.last) = (None, None);
        }
        let counters = self.driver.health().counters;
        let mut work = pin!(work(&mut *self.driver, command));
        loop {
            tokio::select! {
                biased;
                (outcome, begun) = &mut work => {
                    self.pushes = begun.or(self.pushes.take());
                    return outcome;
                }
                (outcome, permit) = pushed(&mut self.pushes, &self.room) => {
                    if outcome.lost.is_some() {
                        self.pushes = None;
                        self.last = Some((outcome, permit));
                    } else {
                        report(Outcome::Pushed(outcome, counters, permit));
                    }
                }
            }
        }
    }
}

/// Has the driver do something; with it the subscription, if one has begun.
async fn work(driver: &mut dyn Driver, command: Command) -> (Outcome, Option<Subscription>) {
    let outcome = match command {
        Command::Connect => {
            let outcome = driver.connect().await;
            Outcome::Connected(outcome, driver.health().counters)
        }
        Command::Subscribe(points) => {
            let (outcome, begun) = match driver.subscribe(&points).await {
                Ok(begun) => (Ok(()), Some(begun)),
                Err(error) => (Err(error), None),
            };
            return (Outcome::Subscribed(outcome, driver.health().counters), begun);
        }
        Command::Read(points) => {
            let outcome = driver.read(&points).await;
            Outcome::Read(outcome, driver.health().counters)
        }
        Command::Write(writes) => {
            let outcomes = driver.write_all(&writes).await;
            Outcome::Written(outcomes, driver.health().counters)
        }
        Command::Ask(ticket, query) => {
            let answered = match query {
                Query::Read(points) => Answered::Read(driver.read(&points).await),
                Query::Browse { below, limit } => {
                    Answered::Found(driver.browse(below.as_deref(), limit).await)
                }
                Query::Identify => Answered::Identity(driver.identify().await),
                Query::Call(call) => Answered::Returned(driver.call(&call).await),
            };
            Outcome::Asked(ticket, answered, driver.health().counters)
        }
        Command::Recall(gaps) => {
            let outcome = driver.history(&gaps).await;
            Outcome::Recalled(outcome, driver.health().counters)
        }
    };
    (outcome, None)
}

/// Counts the points that were read well, and those that were not; whether there were any of the former.
pub(super) fn tally(points: &[PointRead], counters: &figures::Counters) -> bool {
    let good = points.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    counters.points_good.add(good as u64);
    counters.points_bad.add((points.len() - good) as u64);
    good > 0
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panic without a text".to_owned())
}
