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

/// Picks the address, serves, and reports it on standard error as a Manifold node does.
///
/// rumqttd binds by itself and tells neither its port nor when it is ready: port 0 is resolved here
/// first (in the moment between another process could take it, which ends in an error), and the
/// report waits until a connection is accepted.
pub async fn run(listen: SocketAddr) -> Result<()> {
    let probe = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let address = probe.local_addr()?;
    drop(probe);
    let serve = move || Broker::new(config(address)).start().context("rumqttd ended");
    let mut serving = tokio::task::spawn_blocking(serve);
    tokio::select! {
        ended = &mut serving => return ended?,
        ready = timeout(START_MAX, accepted(address)) => ready.context("rumqttd does not listen")?,
    }
    eprintln!("listening listener=\"mqtt\" address={address}");
    serving.await?
}

async fn accepted(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        sleep(LOOK).await;
    }
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 60_000,
        max_payload_size: 2 * PAYLOAD_BYTES_MAX,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "v4-1".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections,
    };
    let router = RouterConfig {
        max_connections: CONNECTIONS_MAX + 10,
        max_outgoing_packet_count: 200,
        max_segment_size: 104_857_600,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    Config { router, v4: Some(HashMap::from([("1".to_owned(), server)])), ..Config::default() }
}
