//! What the demo is about: the plant as a driver with tags, a device, and an application.
//!
//! Made through the admin API. On a directory that a demo has used before, what is there stays, and
//! only the secrets are made anew, since nobody can read the old ones.

use super::admin::Admin;
use anyhow::Context as _;
use broker::Broker;
use proto::{Entropy, RefusalCode, UnsPath};
use serde_json::{Value, json};
use sim::plant::{Access, Register, register_map};
use std::net::SocketAddr;

/// Where the plant stands: enterprise, site, area (ISA-95).
const LOCATION: &str = "acme/berlin/utilities";

/// The one connection to the plant.
const DRIVER: &str = "plant";

/// The device that the commands play.
pub(super) const THING: &str = "boiler7";

/// The application that the commands play.
pub(super) const USER: &str = "demo";

/// Slow enough to read along, fast enough to see a write take effect.
const POLL_INTERVAL_MS: u32 = 1_000;

/// The secrets that the commands need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// Of the application [`USER`].
    pub(super) user_secret: String,
    /// Of the device [`THING`].
    pub(super) thing_secret: String,
}

/// Makes everything, and gives the secrets.
pub(super) async fn prepare(
    broker: &Broker,
    entropy: &dyn Entropy,
    plant: SocketAddr,
) -> anyhow::Result<Credentials> {
    let credentials = Credentials { user_secret: secret(entropy), thing_secret: secret(entropy) };
    let mut admin = Admin::attach(broker)?;
    let config = json!({ "protocol": "modbus_tcp", "address": plant.to_string() });
    put(&mut admin, "drivers", &json!({ "driver": DRIVER, "config": config })).await?;
    let tags: Vec<Value> = register_map().iter().map(tag).collect();
    match admin.call("tags", "create", &json!({ "driver": DRIVER, "tags": tags })).await? {
        Err(refusal) if refusal.code != RefusalCode::AlreadyExists => return Err(refusal.into()),
        _ => {}
    }
    let location = format!("{LOCATION}/{THING}");
    let secret = &credentials.thing_secret;
    let thing = json!({ "thing": THING, "location": location, "secret": secret });
    put(&mut admin, "things", &thing).await?;
    let user = json!({ "user": USER, "role": "app", "secret": credentials.user_secret });
    put(&mut admin, "users", &user).await?;
    Ok(credentials)
}

/// 128 bits, in digits that every shell takes as they are.
fn secret(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tag(register: &Register) -> Value {
    let mut tag = json!({
        "tag": register.tag(),
        "address": register.address(),
        "type": register.data_type.name(),
        "scale": register.scale,
        "access": register.access.name(),
        "poll_interval_ms": POLL_INTERVAL_MS,
        "path": path(register),
    });
    if !register.unit.is_empty() {
        tag["unit"] = json!(register.unit);
    }
    tag
}

/// Where the value of a register is published, without the root `uns/`.
fn path(register: &Register) -> String {
    format!("{LOCATION}/{}/_raw/{}", register.asset, register.name)
}

/// The path of the setpoint that the commands write.
pub(super) fn valve_setpoint() -> anyhow::Result<UnsPath> {
    let is_it = |register: &&Register| {
        register.asset == "valve1" && matches!(register.access, Access::ReadWrite)
    };
    let register = register_map().iter().find(is_it).context("the plant has no valve")?;
    Ok(UnsPath::parse(&path(register))?)
}

/// Creates an object, or changes it to what it should be if it is there.
async fn put(admin: &mut Admin, resource: &str, object: &Value) -> anyhow::Result<()> {
    match admin.call(resource, "create", object).await? {
        Err(refusal) if refusal.code == RefusalCode::AlreadyExists => {
            admin.call(resource, "update", object).await?.map_err(anyhow::Error::from)
        }
        outcome => outcome.map_err(anyhow::Error::from),
    }
    .map(drop)
    .with_context(|| format!("{resource} create failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_has_a_path_of_its_own_in_the_namespace() {
        let mut paths = std::collections::BTreeSet::new();
        for register in register_map() {
            let path = UnsPath::parse(&path(register)).unwrap();
            assert!(paths.insert(path.to_string()), "{path}");
        }
    }

    #[test]
    fn the_valve_can_be_written() {
        let path = valve_setpoint().unwrap().to_string();
        assert_eq!(path, "acme/berlin/utilities/valve1/_raw/position_setpoint");
    }
}
