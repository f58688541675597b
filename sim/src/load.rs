//! Load on an MQTT broker, measured from outside.
//!
//! - `case`: what is asked for; `options`: the flags; `target`: the brokers.
//! - `packet`, `batch`, `connection`: MQTT 3.1.1 on raw sockets, encoded once and patched in place.
//! - `publisher`, `pace`, `subscriber`, `board`: the connections of a run and what they share.
//! - `run`: one run through its phases; `flood`: one beside bystanders; `compare`: cases and brokers in turn.
//! - `histogram`, `sequence`, `procfs`, `figures`, `report`: the account.
//!
//! The generator is one thread with large reads and writes, so that on a small machine the broker
//! and not the generator is measured; its own share is part of every report. It deliberately uses
//! no code of the broker.

pub mod batch;
pub mod board;
pub mod case;
pub mod compare;
pub mod connection;
pub mod figures;
mod flood;
pub mod histogram;
mod options;
pub(crate) mod pace;
pub mod packet;
pub mod procfs;
mod publisher;
pub mod report;
pub mod run;
pub mod sequence;
mod subscriber;
pub mod target;

pub(crate) use options::resolve;
pub use options::{Baseline, LoadArgs};

use anyhow::Result;
use tokio::task::LocalSet;

use compare::Outcome;

/// Runs what `args` ask for, all on the calling thread, and answers the outcomes case by case.
pub async fn load(args: &LoadArgs) -> Result<Vec<Outcome>> {
    let work = async {
        let cases = args.cases()?;
        let launches = args.launches().await?;
        let mut outcomes = Vec::with_capacity(cases.len());
        for case in &cases {
            outcomes.push(compare::compare(case, &launches, args.rounds()).await?);
        }
        Ok(outcomes)
    };
    LocalSet::new().run_until(Box::pin(work)).await
}
