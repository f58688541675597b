//! `manifold serve`: a node, from its configuration to its end by SIGTERM or Ctrl-C.
//!
//! Before the log exists, and where a failure ends the process, the reason goes to stderr by
//! itself; everything else is logged. The secret of a first start is shown on stderr, never logged.

use crate::cli::ServeArgs;
use crate::config::{self, Config, Sources};
use crate::descriptors;
use crate::hub::Hub;
use crate::logging;
use crate::outcome::{Failure, Outcome};
use crate::signals::{Asked, Signals};
use crate::workers;
use actors::FirstAdmin;
use anyhow::Context as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// What may still run on the runtime when everything has ended, such as a slow fsync.
const RUNTIME_DEADLINE: Duration = Duration::from_millis(300);

/// The variable that gives the secret of `admin` to a first start.
const ADMIN_SECRET_VARIABLE: &str = "MANIFOLD_ADMIN_SECRET";

/// Runs the command.
pub(crate) fn run(args: &ServeArgs) -> Outcome {
    let started = Instant::now();
    let config = configuration(args)?;
    let runtime = workers::of_clients(config.workers)?;
    let outcome = runtime.block_on(Box::pin(serve(&config, started)));
    runtime.shutdown_timeout(RUNTIME_DEADLINE);
    outcome.map_err(Failure::Failed)
}

/// The secret that the environment gives for `admin`; an empty one is none.
pub(crate) fn admin_secret() -> Option<String> {
    std::env::var(ADMIN_SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty())
}

fn configuration(args: &ServeArgs) -> Result<Config, Failure> {
    let sources = Sources::from_process(&args.config);
    let mut config = config::load(&sources).map_err(|error| Failure::Failed(error.into()))?;
    if let Some(dir) = &args.data {
        config.data.dir = PathBuf::clone(dir);
    }
    Ok(config)
}

async fn serve(config: &Config, started: Instant) -> anyhow::Result<()> {
    let mut signals = Signals::catch().context("cannot catch signals")?;
    let logging = logging::install(&config.log, &config.telemetry)?;
    descriptors::raise_limit(config.limits.connections_max);
    // Not given up for a signal, which is heard as soon as it is done: the secret of a first start
    // would be lost between being kept and being shown.
    let hub = Box::pin(Hub::start(config, admin_secret(), show)).await?;
    let startup_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(startup_ms, version = env!("CARGO_PKG_VERSION"), "ready");
    let signal = run_until_end(&hub, &mut signals).await;
    tracing::info!(signal, "draining");
    stop(hub, &mut signals).await?;
    logging.finish().await;
    Ok(())
}

/// Reads files again when asked to, until a signal ends the node; gives its name.
async fn run_until_end(hub: &Hub, signals: &mut Signals) -> &'static str {
    loop {
        match signals.next().await {
            Asked::End(name) => return name,
            Asked::Reload => hub.reload().await,
        }
    }
}

/// Ends the node in order, or at once if a second signal asks for it.
pub(crate) async fn stop(hub: Hub, signals: &mut Signals) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = Box::pin(hub.stop()) => {
            tracing::info!("stopped");
            Ok(())
        }
        signal = signals.end() => {
            anyhow::bail!("ended by a second {signal} before the drain was done")
        }
    }
}

fn show(admin: &FirstAdmin) {
    let FirstAdmin { user, secret, is_generated } = admin;
    if !is_generated {
        return;
    }
    let line = "=".repeat(72);
    let block = format!(
        "\
{line}
  The first start has made the administrator of this node.

    user    {user}
    secret  {secret}

  It is shown this once; only its hash is kept. To use it:
    MANIFOLD_SECRET=... manifold ctl things list
{line}
"
    );
    // Nobody reads a closed stderr; the node is up all the same.
    let _ = std::io::stderr().write_all(block.as_bytes());
}
