//! rumqttd as a broker to compare with, in this process.
//!
//! Run through the hidden subcommand `baseline-broker` in a process of its own, so that its cost
//! can be told from that of the generator. The settings are those of the `rumqttd.toml` that comes
//! with it, with room for the connections and payloads of a load and without its pause between
//! connections.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::load::case::{CONNECTIONS_MAX, PAYLOAD_BYTES_MAX};

/// How often rumqttd is asked whether it listens yet.
const LOOK: Duration = Duration::from_millis(5);
/// Time for rumqttd to listen.
const START_MAX: Duration = Duration::from_secs(10);

/// Where rumqttd listens, and how much of its log it keeps.
#[derive(Debug, clap::Args)]
pub struct BaselineArgs {
    /// Address to listen on for MQTT 3.1.1; port 0 picks a free one
    #[arg(long)]
    listen: SocketAddr,
    /// The same for MQTT 5.0
    #[arg(long)]
    listen_v5: Option<SocketAddr>,
    /// Bytes of a segment of its log in memory, of which it keeps ten
    #[arg(long, default_value_t = 104_857_600)]
    segment_bytes: usize,
}

/// Picks the addresses, serves, and reports them on standard error as a Manifold node does.
///
/// rumqttd binds by itself and tells neither its port nor when it is ready: port 0 is resolved here
/// first (in the moment between another process could take it, which ends in an error), and the
/// report waits until a connection is accepted.
pub async fn run(args: &BaselineArgs) -> Result<()> {
    let v4 = resolved(args.listen)?;
    let v5 = args.listen_v5.map(resolved).transpose()?;
    let config = config(v4, v5, args.segment_bytes);
    let serve = move || Broker::new(config).start().context("rumqttd ended");
    let mut serving = tokio::task::spawn_blocking(serve);
    for (name, address) in [("mqtt", Some(v4)), ("mqtt-v5", v5)] {
        let Some(address) = address else { continue };
        tokio::select! {
            ended = &mut serving => return ended?,
            ready = timeout(START_MAX, accepted(address)) => {
                ready.context("rumqttd does not listen")?;
            }
        }
        eprintln!("listening listener=\"{name}\" address={address}");
    }
    serving.await?
}

fn resolved(listen: SocketAddr) -> Result<SocketAddr> {
    let probe = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    Ok(probe.local_addr()?)
}

async fn accepted(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        sleep(LOOK).await;
    }
}

fn config(v4: SocketAddr, v5: Option<SocketAddr>, segment_bytes: usize) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 60_000,
        max_payload_size: 2 * PAYLOAD_BYTES_MAX,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = |name: &str, listen| {
        let server = ServerSettings {
            name: name.to_owned(),
            listen,
            tls: None,
            next_connection_delay_ms: 0,
            connections: connections.clone(),
        };
        HashMap::from([("1".to_owned(), server)])
    };
    let router = RouterConfig {
        max_connections: CONNECTIONS_MAX + 10,
        max_outgoing_packet_count: 200,
        max_segment_size: segment_bytes,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let v5 = v5.map(|listen| server("v5-1", listen));
    Config { router, v4: Some(server("v4-1", v4)), v5, ..Config::default() }
}
