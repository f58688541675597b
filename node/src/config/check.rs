//! `manifold check`: loads a configuration as `serve` would, and says whether it is good.

use super::{Sources, load};
use crate::cli::CheckArgs;
use crate::outcome::{Failure, Outcome, print};
use anyhow::Context as _;

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> Outcome {
    let sources = Sources::from_process(&args.config);
    let mut config = load(&sources).map_err(|error| Failure::Failed(error.into()))?;
    if args.print {
        // What is printed is read by others.
        if !config.uplink.secret.is_empty() {
            config.uplink.secret = "left out".to_owned();
        }
        let text = toml::to_string(&config).context("cannot write the configuration as TOML")?;
        return print(&text);
    }
    match &sources.file {
        Some(path) => print(&format!("{} is valid\n", path.display())),
        None => print("the configuration is valid (no file given)\n"),
    }
}
