//! The executable `manifold-sim`: flags, wire, run, end.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the target could not be reached.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use sim::fleet::{FleetArgs, fleet};
use sim::load::case::CaseError;
use sim::load::connection::Unreachable;
use sim::load::{LoadArgs, load, report};
use sim::machines::{MachinesArgs, machines};
use sim::plant::{Plant, register_map, registers_text};
use sim::reaction::{ReactionArgs, reaction};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Simulated plants and machines, and load for MQTT brokers.
#[derive(Debug, Parser)]
#[command(name = "manifold-sim", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a small plant (tank, pump, valve, oven) over Modbus TCP
    Plant {
        /// Address to listen on; port 0 picks a free one
        #[arg(long, default_value = "127.0.0.1:5020")]
        listen: SocketAddr,
        /// Milliseconds between two steps of the process
        #[arg(long, value_name = "MS", default_value_t = sim::plant::STEP_MS_DEFAULT,
              value_parser = clap::value_parser!(u64).range(1..=60_000))]
        step_ms: u64,
        /// Print the register map and end
        #[arg(long)]
        registers: bool,
        /// Print the register map as JSON
        #[arg(long, requires = "registers")]
        json: bool,
    },
    /// Serve many Modbus machines with many registers each, slow, busy or silent as told
    Machines(MachinesArgs),
    /// Serve a tank and as many values as wanted over OPC UA
    #[cfg(feature = "opcua")]
    Tank(sim::tank::TankArgs),
    /// Measure how long a node takes from a change of one Modbus machine to a write to another
    Reaction(ReactionArgs),
    /// Put load on an MQTT broker and measure it, or two brokers in turn
    Load(Box<LoadArgs>),
    /// Put load on the things of a node: shadows, telemetry, commands
    Fleet(Box<FleetArgs>),
    /// Serve the broker of `load --against rumqttd`
    #[cfg(feature = "baseline")]
    #[command(hide = true)]
    BaselineBroker(sim::baseline::BaselineArgs),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("manifold-sim: {error:#}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<CaseError>() {
        return ExitCode::from(2);
    }
    ExitCode::from(if error.is::<Unreachable>() { 3 } else { 1 })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Plant { registers: true, json, .. } => {
            let text = match json {
                true => serde_json::to_string_pretty(register_map())? + "\n",
                false => registers_text(),
            };
            print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Plant { listen, step_ms, .. } => block_on(plant(listen, step_ms)),
        Command::Machines(args) => block_on(run_machines(args)),
        #[cfg(feature = "opcua")]
        Command::Tank(args) => block_on(run_tank(args)),
        Command::Reaction(args) => block_on(run_reaction(args)),
        Command::Load(args) => block_on(run_load(&args)),
        Command::Fleet(args) => block_on(run_fleet(&args)),
        #[cfg(feature = "baseline")]
        Command::BaselineBroker(args) => block_on(async move {
            sim::baseline::run(&args).await?;
            Ok(ExitCode::SUCCESS)
        }),
    }
}

/// One thread: the plant needs no more, and a load is meant to leave the others to its target.
fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(work)
}

async fn plant(listen: SocketAddr, step_ms: u64) -> Result<ExitCode> {
    let server = Plant::bind(listen).await?.with_step_ms(step_ms);
    let mut stop = StopSignals::listen()?;
    print(&format!("plant listening on {}\n", server.local_addr()))?;
    server.run(stop.received()).await;
    Ok(ExitCode::SUCCESS)
}

async fn run_machines(args: MachinesArgs) -> Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let tell = |address| print(&format!("machine listening on {address}\n"));
    machines(&args, tell, stop.received()).await?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "opcua")]
async fn run_tank(args: sim::tank::TankArgs) -> Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let tell = |address| print(&format!("tank listening on {address}\n"));
    sim::tank::tank(&args, tell, stop.received()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn run_reaction(args: ReactionArgs) -> Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let tell = |address| print(&format!("machine listening on {address}\n"));
    let report = tokio::select! {
        biased;
        () = stop.received() => bail!("interrupted"),
        report = reaction(&args, tell) => report?,
    };
    print(&if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text() })?;
    Ok(ExitCode::SUCCESS)
}

/// A signal ends the load by dropping it, so that the brokers it started end, too.
async fn run_load(args: &LoadArgs) -> Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let outcomes = tokio::select! {
        biased;
        () = stop.received() => bail!("interrupted"),
        outcomes = load(args) => outcomes?,
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&report::json(&outcomes))? + "\n",
        false => report::table(&outcomes),
    };
    print(&text)?;
    let has_failed = outcomes.iter().flat_map(|it| &it.columns).any(|it| !it.failures.is_empty());
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Fails if a request was refused, lost or answered twice.
async fn run_fleet(args: &FleetArgs) -> Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let report = tokio::select! {
        biased;
        () = stop.received() => bail!("interrupted"),
        report = fleet(args) => report?,
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => report.table(),
    };
    print(&text)?;
    Ok(if report.is_faultless() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write")
}
