//! Load on the device cloud of a Manifold node: shadows, telemetry, commands and things that sleep.
//!
//! - `options`: the flags, and their limits; `scene`: what each kind of load says and hears.
//! - `line`: a connection; `asker`: one that sends what is answered; `listener`: those that only answer or count.
//! - `register`: makes the things; `account`: what was sent and answered, as figures.
//!
//! Every request carries the time at which it was due, and every answer brings it back: so each is matched with its
//! request, and an answer that is missing, comes twice, or is a refusal is counted. One thread, raw sockets, MQTT 3.1.1
//! with QoS 1, as in [`crate::load`].

mod account;
mod asker;
mod line;
mod listener;
mod options;
mod register;
mod scene;

pub use account::Report;
pub use options::{FleetArgs, Kind};

use anyhow::{Context, Result};
use std::rc::Rc;
use tokio::task::{JoinSet, LocalSet};

use crate::load::connection::Endpoint;
use account::Account;
use asker::Asker;
use options::Plan;
use scene::Scene;

/// Connections that are being made at the same time.
const CONNECTING_MAX: usize = 64;

/// Registers the things, connects, works for the time asked for, and answers what was seen.
pub async fn fleet(args: &FleetArgs) -> Result<Report> {
    let plan = args.plan().await?;
    LocalSet::new().run_until(Box::pin(run(plan))).await
}

async fn run(plan: Plan) -> Result<Report> {
    let scene = Scene::of(&plan);
    register::things(&plan).await?;
    let account = Rc::new(Account::new(&plan));
    let listeners = listener::open_all(&plan, &scene, &account).await?;
    let askers = open_askers(&plan, &scene, &account).await?;
    account.begin();
    let mut working = JoinSet::new();
    for asker in askers {
        working.spawn_local(asker.run());
    }
    while let Some(ended) = working.join_next().await {
        ended.context("a connection's task ended")??;
    }
    listeners.finish(&account).await?;
    Ok(account.report(plan.title()))
}

/// Connects whoever asks, at most [`CONNECTING_MAX`] at a time.
async fn open_askers(plan: &Plan, scene: &Scene, account: &Rc<Account>) -> Result<Vec<Asker>> {
    let mut askers = Vec::new();
    let mut opening: JoinSet<Result<Asker>> = JoinSet::new();
    for part in scene.askers(plan) {
        if opening.len() >= CONNECTING_MAX
            && let Some(opened) = opening.join_next().await
        {
            askers.push(opened.context("a connecting task ended")??);
        }
        let endpoint = endpoint(plan, part.thing.as_deref());
        let account = Rc::clone(account);
        opening.spawn_local(async move { Asker::open(&endpoint, part, account).await });
    }
    while let Some(opened) = opening.join_next().await {
        askers.push(opened.context("a connecting task ended")??);
    }
    Ok(askers)
}

/// Where to connect: as a thing, or as the operator.
fn endpoint(plan: &Plan, thing: Option<&str>) -> Endpoint {
    match thing {
        Some(thing) => plan.device(thing),
        None => plan.endpoint.clone(),
    }
}
