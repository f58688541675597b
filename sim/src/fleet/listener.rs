//! Connections that ask nothing: things that answer commands, and the application that hears the values of telemetry.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::CONNECTING_MAX;
use super::account::{Account, PATIENCE};
use super::line::Line;
use super::options::{Kind, Plan};
use super::scene::{Scene, requests, response};

/// How often is looked whether all has been heard.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct Listeners {
    running: JoinSet<Result<()>>,
    /// Whether they are who hears the answers.
    hear_answers: bool,
}

/// Connects them, and lets them listen.
pub(super) async fn open_all(
    plan: &Plan,
    scene: &Scene,
    account: &Rc<Account>,
) -> Result<Listeners> {
    let mut running = JoinSet::new();
    match plan.kind {
        Kind::Shadow | Kind::Wake => {}
        Kind::Telemetry => {
            let filters = ["uns/#".to_owned()];
            let line = Line::open(&plan.endpoint, "fleet-application", &filters).await?;
            running.spawn_local(count(line, *scene, Rc::clone(account)));
        }
        Kind::Commands => {
            let mut opening: JoinSet<Result<(Line, String)>> = JoinSet::new();
            for index in 0..plan.things {
                if opening.len() >= CONNECTING_MAX {
                    answer_next(&mut opening, &mut running).await?;
                }
                let thing = plan.thing(index);
                let endpoint = plan.device(&thing);
                opening.spawn_local(async move {
                    let client_id = format!("{thing}-answers");
                    let line = Line::open(&endpoint, &client_id, &[requests(&thing)]).await?;
                    Ok((line, thing))
                });
            }
            while !opening.is_empty() {
                answer_next(&mut opening, &mut running).await?;
            }
        }
    }
    Ok(Listeners { running, hear_answers: plan.kind == Kind::Telemetry })
}

impl Listeners {
    /// Waits for what has not been heard, and ends them.
    pub(super) async fn finish(mut self, account: &Account) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while self.hear_answers && !account.is_complete() && Instant::now() < give_up {
            sleep(LOOK).await;
        }
        // One that has ended by itself has lost its connection, and knows why.
        match self.running.try_join_next() {
            Some(ended) => ended.context("a listening task ended")?,
            None => Ok(()),
        }
    }
}

async fn answer_next(
    opening: &mut JoinSet<Result<(Line, String)>>,
    running: &mut JoinSet<Result<()>>,
) -> Result<()> {
    if let Some(opened) = opening.join_next().await {
        let (line, thing) = opened.context("a connecting task ended")??;
        running.spawn_local(answer(line, thing));
    }
    Ok(())
}

/// A thing that does at once whatever it is asked.
async fn answer(mut line: Line, thing: String) -> Result<()> {
    let mut responses = Vec::new();
    loop {
        line.turn(None, |request| responses.extend(response(&thing, request)))
            .await
            .with_context(|| thing.clone())?;
        for (topic, payload) in responses.drain(..) {
            line.push(&topic, &payload);
        }
    }
}

/// Hears the values of all the things.
async fn count(mut line: Line, scene: Scene, account: Rc<Account>) -> Result<()> {
    loop {
        let hear = |payload: &[u8]| match scene.answer(payload) {
            Some((stamp, true)) => account.answered(stamp, account.now_ns()),
            Some((_, false)) => account.refused(),
            None => account.unasked(),
        };
        line.turn(None, hear).await.context("the application that hears the values")?;
    }
}
