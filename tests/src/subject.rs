//! A broker that a scenario is played on: ours, or rumqttd, the one of comparison.

use crate::binaries;
use crate::node::{Node, Site};
use crate::process::Process;
use crate::wire::{Hello, Version, Wire};
use std::net::SocketAddr;
use tokio::process::Command;

/// See the module.
#[derive(Debug)]
pub enum Subject {
    /// Ours, with its data.
    Manifold(Site, Node),
    /// `manifold-sim baseline-broker`, which listens for each version of MQTT by itself.
    Rumqttd {
        /// The process.
        process: Process,
        /// Where it speaks 3.1.1.
        v3: SocketAddr,
        /// Where it speaks 5.0.
        v5: SocketAddr,
    },
}

impl Subject {
    /// Ours, as it comes.
    pub async fn manifold() -> Self {
        let site = Site::new();
        let node = site.start().await;
        Self::Manifold(site, node)
    }

    /// rumqttd, which needs a `manifold-sim` with the cargo feature `baseline`.
    pub async fn rumqttd() -> Self {
        let mut command = Command::new(binaries::manifold_sim());
        command.args(["baseline-broker", "--listen", "127.0.0.1:0", "--listen-v5", "127.0.0.1:0"]);
        // Its log is in memory: ten segments of this size, so that a test can fill them.
        command.args(["--segment-bytes", "524288"]);
        let mut process = Process::start("rumqttd", &mut command);
        let mut addresses = Vec::new();
        for listener in ["mqtt", "mqtt-v5"] {
            let line = process.line_with(&format!("listener=\"{listener}\"")).await;
            let (_, address) = line.split_once("address=").expect("it says where");
            addresses.push(address.trim().parse().expect("an address"));
        }
        Self::Rumqttd { process, v3: addresses[0], v5: addresses[1] }
    }

    /// Where it speaks this version of MQTT.
    pub fn mqtt(&self, version: Version) -> SocketAddr {
        match (self, version) {
            (Self::Manifold(_, node), _) => node.mqtt(),
            (Self::Rumqttd { v3, .. }, Version::V3) => *v3,
            (Self::Rumqttd { v5, .. }, Version::V5) => *v5,
        }
    }

    /// Where it speaks MQTT over WebSocket.
    pub fn ws(&self) -> SocketAddr {
        match self {
            Self::Manifold(_, node) => node.ws(),
            Self::Rumqttd { .. } => panic!("rumqttd is built without WebSocket here"),
        }
    }

    /// A client that was welcomed.
    pub async fn client(&self, hello: &Hello) -> Wire {
        Wire::connect(self.mqtt(hello.version), hello).await
    }

    /// Kills it, and starts it again on what it has kept.
    pub async fn crash(self) -> Self {
        match self {
            Self::Manifold(site, node) => {
                node.kill().await;
                let node = site.start().await;
                Self::Manifold(site, node)
            }
            Self::Rumqttd { process, .. } => {
                process.kill().await;
                Self::rumqttd().await
            }
        }
    }

    /// Fails if its process has ended.
    pub fn assert_alive(&mut self) {
        match self {
            Self::Manifold(_, node) => node.assert_alive(),
            Self::Rumqttd { process, .. } => assert!(process.is_running(), "rumqttd has ended"),
        }
    }
}
