//! The executable `manifold`: reads the command line, runs one command, returns its exit code.
//!
//! Exit codes are part of the public contract (section 5) and live in [`outcome`]. What a command
//! does is in its own module; nothing is decided here.

mod backup;
mod call;
mod cli;
mod completion;
mod config;
mod ctl;
mod demo;
mod descriptors;
mod fields;
mod gateway;
mod http;
mod hub;
mod listeners;
mod logging;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod outcome;
mod outside;
mod serve;
mod signals;
mod workers;

use clap::Parser as _;
use std::process::ExitCode;

/// Gives memory back after a storm of clients, and takes fewer cycles for small messages that one
/// thread makes and another drops.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    let outcome = match command {
        cli::Command::Serve(args) => serve::run(&args),
        cli::Command::Demo(args) => demo::run(&args),
        cli::Command::Ctl(args) => ctl::run(&args),
        cli::Command::Backup(args) => backup::backup(&args),
        cli::Command::Restore(args) => backup::restore(&args),
        cli::Command::Completion(args) => completion::run(&args),
        cli::Command::Check(args) => config::check::run(&args),
    };
    outcome::report(outcome)
}
