//! `manifold demo`: a hub and a simulated plant in one process, on loopback only.
//!
//! - `admin`: requests of the admin API from inside the process
//! - `setup`: the driver, tags, device and application that the commands use
//! - `text`: what is printed, with commands that work as they stand
//!
//! Everything is made through the admin API, as an operator would. Without `--data` the state is in
//! a temporary directory that is removed at the end. A port that is taken is replaced by a free
//! one.

mod admin;
mod setup;
mod text;

use crate::cli::DemoArgs;
use crate::config::{Addresses, Config, DataConfig, ListenConfig, LogConfig};
use crate::hub::Hub;
use crate::outcome::{Failure, Outcome, print};
use crate::outside::SystemEntropy;
use crate::signals::Signals;
use crate::{logging, serve, workers};
use actors::FirstAdmin;
use anyhow::Context as _;
use sim::plant::Plant;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;

/// Where the plant listens unless told otherwise; 502, the port of Modbus, needs a privilege.
const PLANT_PORT: u16 = 5020;

/// What may still run on the runtime when everything has ended.
const RUNTIME_DEADLINE: Duration = Duration::from_millis(300);

/// Runs the command.
pub(crate) fn run(args: &DemoArgs) -> Outcome {
    let temporary;
    let dir = match &args.data {
        Some(dir) => dir.as_path(),
        None => {
            temporary = tempfile::Builder::new()
                .prefix("manifold-demo-")
                .tempdir()
                .context("cannot make a temporary directory")?;
            temporary.path()
        }
    };
    let log = LogConfig { level: args.log.clone(), ..LogConfig::default() };
    let config = config(dir, args.port_offset, log)?;
    let problems = config.check();
    if !problems.is_empty() {
        return Err(Failure::Usage(problems.to_string()));
    }
    let plant = loopback(PLANT_PORT, args.port_offset)?;
    let runtime = workers::of_clients(config.workers)?;
    let outcome = runtime.block_on(Box::pin(demo(&config, plant)));
    runtime.shutdown_timeout(RUNTIME_DEADLINE);
    outcome
}

fn config(dir: &Path, port_offset: u16, log: LogConfig) -> Result<Config, Failure> {
    let listen = |port| loopback(port, port_offset).map(|address| Addresses(vec![address]));
    Ok(Config {
        data: DataConfig { dir: dir.to_owned(), ..DataConfig::default() },
        listen: ListenConfig {
            mqtt: listen(1883)?,
            ws: listen(8083)?,
            http: listen(8080)?,
            ..ListenConfig::default()
        },
        log,
        ..Config::default()
    })
}

/// The port on loopback if it is free, else one that the system picks.
fn loopback(port: u16, port_offset: u16) -> Result<SocketAddr, Failure> {
    let port = port.checked_add(port_offset).ok_or_else(|| {
        Failure::Usage(format!("--port-offset {port_offset}: {port} + {port_offset} is no port"))
    })?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let is_free = TcpListener::bind(address).is_ok();
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, if is_free { port } else { 0 })))
}

async fn demo(config: &Config, plant: SocketAddr) -> Outcome {
    let mut signals = Signals::catch().context("cannot catch signals")?;
    let logging = logging::install(&config.log, &config.telemetry).map_err(anyhow::Error::from)?;
    let plant = Plant::bind(plant).await.context("cannot start the plant")?;
    let plant_address = plant.local_addr();
    let (end_plant, plant_ends) = oneshot::channel::<()>();
    let plant = tokio::spawn(plant.run(async { drop(plant_ends.await) }));
    let mut admin_secret = None;
    let remember = |admin: &FirstAdmin| admin_secret = Some(admin.secret.clone());
    let hub = Box::pin(Hub::start(config, serve::admin_secret(), remember)).await?;
    let outcome = visit(&hub, plant_address, admin_secret, &mut signals).await;
    serve::stop(hub, &mut signals).await?;
    drop(end_plant);
    plant.await.context("the plant failed")?;
    logging.finish().await;
    outcome
}

/// Prepares, prints the page, and waits until the visitor leaves.
async fn visit(
    hub: &Hub,
    plant: SocketAddr,
    admin_secret: Option<String>,
    signals: &mut Signals,
) -> Outcome {
    let prepare = Box::pin(setup::prepare(hub.broker(), &SystemEntropy, plant));
    let credentials = tokio::select! {
        biased;
        _ = signals.end() => return Ok(()),
        credentials = prepare => credentials.context("cannot prepare the demo")?,
    };
    let page = text::Page {
        mqtt: first(hub.mqtt()),
        ws: first(hub.ws()),
        http: first(&hub.http()),
        plant,
        admin_secret,
        program: program(),
        credentials,
    };
    print(&page.to_string())?;
    signals.end().await;
    Ok(())
}

/// How to call this executable from a shell: its path, or its name if nobody knows the path.
fn program() -> String {
    let path = std::env::current_exe().ok().and_then(|path| path.to_str().map(str::to_owned));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    path.filter(|path| path.chars().all(is_plain)).unwrap_or_else(|| "manifold".to_owned())
}

/// The demo listens on exactly one address of each kind.
fn first(addresses: &[SocketAddr]) -> SocketAddr {
    addresses.first().copied().unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_and_one_beyond_the_last_refused() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(loopback(port, 0).unwrap().port(), 0);
        assert_eq!(loopback(8083, 60_000).unwrap_err().code(), 2);
    }
}
