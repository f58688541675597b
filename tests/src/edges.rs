//! A hub and an edge node of it, as processes, for tests of the uplink.

use crate::admin::Admin;
use crate::bridges::{free_port, hello};
use crate::node::{Node, Site};
use crate::process::PATIENCE;
use crate::wire::{Packet, Version, Wire, packet};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// The edge node of these tests.
pub const EDGE: &str = "press";

/// A hub on a port that stays its own, with the edge node registered.
#[derive(Debug)]
pub struct Hub {
    /// What it is started from.
    pub site: Site,
    /// Where it is to be reached.
    pub port: u16,
    /// The secret of the edge node there.
    pub secret: String,
}

impl Hub {
    /// Registers the edge node at a new hub, which then runs.
    pub async fn found() -> (Self, Node) {
        let port = free_port();
        // A subscriber that is slower than the load must not lose what its queue cannot hold.
        let site = Site::new()
            .with(&format!("listen.mqtt=127.0.0.1:{port}"))
            .with("limits.stored_messages_max=10000000");
        let node = site.start().await;
        let mut admin = Admin::enter(&node).await;
        let made = admin.must("edges", "create", json!({ "edge": EDGE })).await;
        let secret = made["secret"].as_str().expect("a secret is made").to_owned();
        (Self { site, port, secret }, node)
    }

    /// The site of the edge node, which dials `port`.
    pub fn edge(&self, port: u16) -> Site {
        self.edge_on(Site::new(), port)
    }

    /// The same with its data in this folder.
    pub fn edge_at(&self, data: &Path, port: u16) -> Site {
        self.edge_on(Site::at(data), port)
    }

    fn edge_on(&self, site: Site, port: u16) -> Site {
        site.with("role=edge")
            .with(&format!("edge.id={EDGE}"))
            .with(&format!("uplink.url=mqtt://127.0.0.1:{port}"))
            .with(&format!("uplink.secret={}", self.secret))
    }
}

/// The payload of a value.
pub fn value(v: u64, t: u64) -> Vec<u8> {
    format!("{{\"v\":{v},\"t\":{t},\"q\":\"good\"}}").into_bytes()
}

/// Publishes retained values with QoS 1, many at a time; all are acknowledged.
pub async fn publish_values(wire: &mut Wire, values: impl IntoIterator<Item = (String, Vec<u8>)>) {
    const AT_ONCE: usize = 100;
    let mut values = values.into_iter().peekable();
    while values.peek().is_some() {
        let mut bytes = Vec::new();
        let mut open = 0;
        for (topic, payload) in values.by_ref().take(AT_ONCE) {
            let id = wire.new_id();
            bytes.extend(packet::publish(Version::V5, topic.as_bytes(), &payload, 0b0011, id));
            open += 1;
        }
        wire.send(&bytes).await;
        while open > 0 {
            match wire.next().await {
                Some(Packet::PubAck { code, .. }) if code < 0x80 => open -= 1,
                other => panic!("a value is not acknowledged: {other:?}"),
            }
        }
    }
}

/// A publisher on a node.
pub async fn publisher(node: &Node, client_id: &str) -> Wire {
    node.client(&hello(client_id)).await
}

/// Waits until the hub says of the edge node what is wanted.
pub async fn status(admin: &mut Admin, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let data = admin.must("edges", "get", json!({ "edge": EDGE })).await;
        if !data["status"].is_null() && is_it(&data["status"]) {
            return data;
        }
        assert!(Instant::now() < deadline, "the edge node is not {what}: {data}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
