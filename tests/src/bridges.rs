//! What tests of bridges ask an operator's connection: the status of one, and whether its accounts are balanced.

use crate::admin::Admin;
use crate::node::{Node, SECRET, Site};
use crate::process::PATIENCE;
use crate::wire::{Hello, Version, Wire};
use serde_json::{Value, json};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::time::Duration;
use tokio::time::Instant;

/// A port that was free a moment ago, and that nobody gets who asks for any: those begin at 32768.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    let any = u16::try_from(RandomState::new().build_hasher().finish() % u64::from(COUNT));
    let any = any.expect("it is less than a port");
    let mut ports = (0..COUNT).map(|step| FIRST + (any + step) % COUNT);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a port is free")
}

/// A site whose port is the same after each start, and that port.
pub fn site() -> (Site, u16) {
    let port = free_port();
    (Site::new().with(&format!("listen.mqtt=127.0.0.1:{port}")), port)
}

/// The greeting of an administrator.
pub fn hello(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id).user("admin", SECRET)
}

/// A client that hears `filter`.
pub async fn listener(node: &Node, client_id: &str, filter: &str) -> Wire {
    let mut wire = node.client(&hello(client_id)).await;
    assert_eq!(wire.subscribe(filter, 1).await, 1);
    wire
}

/// Waits until the status of a bridge is as `is_right` wants it, and gives it.
pub async fn status(
    admin: &mut Admin,
    bridge: &str,
    what: &str,
    is_right: impl Fn(&Value) -> bool,
) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let data = admin.must("bridges", "get", json!({ "bridge": bridge })).await;
        let status = &data["status"];
        if !status.is_null() && is_right(status) {
            return status.clone();
        }
        assert!(Instant::now() < deadline, "{bridge} is not {what}: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a bridge is connected.
pub async fn connected(admin: &mut Admin, bridge: &str) {
    status(admin, bridge, "connected", |it| it["state"] == "connected").await;
}

/// A count of a status.
pub fn count(status: &Value, path: &str) -> u64 {
    status.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {status}"))
}

/// The equation of the accounts, both ways.
pub fn assert_balanced(status: &Value) {
    let dropped = |side: &str| -> u64 {
        let reasons = status[side]["dropped"].as_object().expect("drops by reason");
        reasons.values().map(|it| it.as_u64().expect("a count")).sum()
    };
    let given = count(status, "/out/restored") + count(status, "/out/received");
    let found = count(status, "/out/sent") + count(status, "/out/queued") + dropped("out");
    assert_eq!(given, found, "out: {status}");
    let found = ["published", "pending", "returned"].map(|it| count(status, &format!("/in/{it}")));
    let found = found.iter().sum::<u64>() + dropped("in");
    assert_eq!(count(status, "/in/received"), found, "in: {status}");
}
