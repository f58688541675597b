//! The flags of `manifold-sim fleet`, checked.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::load::case::between;
use crate::load::connection::Endpoint;
use crate::load::packet::Credentials;
use crate::load::resolve;

/// Things of one run: they all leave one loopback address, which has about 28,000 ports.
const THINGS_MAX: usize = 20_000;
/// Requests in flight for one connection.
const WINDOW_MAX: usize = 1000;
/// Requests per second over all connections.
const RATE_MAX: u64 = 10_000_000;
/// Longest run.
const SECONDS_MAX: f64 = 36_000.0;
/// Rows of a table that registers things, in one request.
pub(super) const ROWS: usize = 400;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Each thing reports to its shadow, and hears what was accepted.
    Shadow,
    /// Each thing sends telemetry, and an application hears the values.
    Telemetry,
    /// An application invokes commands, the things answer, and it hears the results.
    Commands,
    /// Nothing is connected: an operator says the first word to each of the things.
    Wake,
}

/// Flags of `manifold-sim fleet`.
#[derive(Debug, Clone, Args)]
pub struct FleetArgs {
    /// What is measured
    pub kind: Kind,
    /// Things; they are registered as fleet-0, fleet-1, … and stay
    #[arg(long, default_value_t = 1000)]
    pub things: usize,
    /// Requests in flight for each connection that sends
    #[arg(long, default_value_t = 1)]
    pub window: usize,
    /// Requests per second over all of them, 0 for as fast as answers come
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// Length of the measured part in seconds
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds under load before the measured part
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub warmup: f64,
    /// The things have a thing model, named fleet, which says what they may send
    #[arg(long)]
    pub model: bool,
    /// The node under load
    #[arg(long, env = "MANIFOLD_URL", default_value = "mqtt://127.0.0.1:1883")]
    pub url: String,
    /// An administrator of the project that the things are registered in
    #[arg(long, env = "MANIFOLD_USER", default_value = "admin")]
    pub user: String,
    /// The administrator's secret
    #[arg(long, env = "MANIFOLD_SECRET", hide_env_values = true)]
    pub secret: String,
    /// Process of the node, for its processor time and memory
    #[arg(long)]
    pub pid: Option<u32>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What a run does, within the limits.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) things: usize,
    pub(super) window: usize,
    pub(super) rate: u64,
    pub(super) time: Duration,
    pub(super) warmup: Duration,
    pub(super) has_model: bool,
    /// The node, as the operator.
    pub(super) endpoint: Endpoint,
    /// Of all the things.
    pub(super) secret: String,
    pub(super) pid: Option<u32>,
}

impl FleetArgs {
    /// What to do, or which flag is beyond its limit.
    pub(super) async fn plan(&self) -> Result<Plan> {
        between("--things", self.things as f64, 1.0, THINGS_MAX as f64)?;
        between("--window", self.window as f64, 1.0, WINDOW_MAX as f64)?;
        between("--rate", self.rate as f64, 0.0, RATE_MAX as f64)?;
        between("--seconds", self.seconds, 0.1, SECONDS_MAX)?;
        between("--warmup", self.warmup, 0.0, SECONDS_MAX)?;
        let credentials = Credentials { user: self.user.clone(), secret: self.secret.clone() };
        let address = resolve(&self.url).await?;
        Ok(Plan {
            kind: self.kind,
            things: self.things,
            window: self.window,
            rate: self.rate,
            time: Duration::from_secs_f64(self.seconds),
            warmup: match self.kind {
                // There is one first word only.
                Kind::Wake => Duration::ZERO,
                _ => Duration::from_secs_f64(self.warmup),
            },
            has_model: self.model,
            endpoint: Endpoint { address, credentials: Some(credentials) },
            secret: random_secret()?,
            pid: self.pid,
        })
    }
}

impl Plan {
    /// The name of a thing.
    pub(super) fn thing(&self, index: usize) -> String {
        let kind = if self.has_model { "fleet-m" } else { "fleet" };
        format!("{kind}-{index}")
    }

    /// The node, as one of the things.
    pub(super) fn device(&self, thing: &str) -> Endpoint {
        let credentials = Credentials { user: thing.to_owned(), secret: self.secret.clone() };
        Endpoint { credentials: Some(credentials), ..self.endpoint.clone() }
    }

    /// One line for a report, such as `shadow, 1000 things, window 1, 20000/s`.
    pub(super) fn title(&self) -> String {
        let kind = format!("{:?}", self.kind).to_lowercase();
        let mut title = format!("{kind}, {} things, window {}", self.things, self.window);
        if self.rate > 0 {
            title.push_str(&format!(", {}/s", self.rate));
        }
        if self.has_model {
            title.push_str(", with a model");
        }
        title
    }
}

/// Twenty-four bytes of chance as text.
fn random_secret() -> Result<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::case::CaseError;
    use clap::{Command, FromArgMatches as _};

    fn parse(words: &[&str]) -> FleetArgs {
        let command = FleetArgs::augment_args(Command::new("fleet"));
        let words = ["fleet", "--secret", "s"].iter().chain(words);
        FleetArgs::from_arg_matches(&command.get_matches_from(words)).unwrap()
    }

    #[tokio::test]
    async fn a_plan_says_what_is_done_and_a_flag_beyond_its_limit_is_named() {
        let plan = parse(&["commands", "--things", "3", "--rate", "9", "--model"]).plan().await;
        let plan = plan.unwrap();
        assert_eq!(plan.title(), "commands, 3 things, window 1, 9/s, with a model");
        assert_eq!(plan.thing(2), "fleet-m-2");
        assert_eq!(plan.device("a").credentials.unwrap().user, "a");
        for (words, option) in [
            (&["wake", "--things", "0"][..], "--things"),
            (&["wake", "--window", "1001"], "--window"),
            (&["wake", "--seconds", "nan"], "--seconds"),
            (&["wake", "--rate", "99999999999"], "--rate"),
        ] {
            let error = parse(words).plan().await.unwrap_err();
            assert_eq!(error.downcast::<CaseError>().unwrap().option, option);
        }
    }
}
