//! What `manifold demo` prints: where things are, who one can be, and commands that work as they
//! stand.

use super::setup::{Credentials, THING, USER, valve_setpoint};
use proto::platform::{ShadowTopic, ShadowVerb, Stage, ThingTopic};
use proto::{PlatformTopic, ThingId, TopicName};
use std::fmt;
use std::net::SocketAddr;

/// Everything that the page shows.
#[derive(Debug)]
pub(super) struct Page {
    /// MQTT over TCP.
    pub(super) mqtt: SocketAddr,
    /// MQTT over WebSocket.
    pub(super) ws: SocketAddr,
    /// Probes and metrics.
    pub(super) http: SocketAddr,
    /// Modbus TCP.
    pub(super) plant: SocketAddr,
    /// Of `admin`, if this start made it.
    pub(super) admin_secret: Option<String>,
    /// How to call this executable.
    pub(super) program: String,
    /// Of the application and the device.
    pub(super) credentials: Credentials,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mqtt, ws, http, plant, credentials, .. } = self;
        let Credentials { user_secret, thing_secret } = credentials;
        writeln!(f, "Manifold demo: a hub and a simulated plant, on this machine only.\n")?;
        writeln!(f, "  MQTT       mqtt://{mqtt}")?;
        writeln!(f, "  WebSocket  ws://{ws}/mqtt")?;
        writeln!(f, "  Metrics    http://{http}/metrics")?;
        writeln!(f, "  Plant      {plant} (Modbus TCP)\n")?;
        writeln!(f, "  application  user {USER:<8} secret {user_secret}")?;
        writeln!(f, "  device       user {THING:<8} secret {thing_secret}")?;
        if let Some(secret) = &self.admin_secret {
            writeln!(f, "  operator     user {:<8} secret {secret}", "admin")?;
        }
        writeln!(f, "\nPaste these into other terminals:\n")?;
        for (title, command) in self.commands() {
            writeln!(f, "# {title}\n{command}\n")?;
        }
        writeln!(f, "Ctrl-C ends the demo.")
    }
}

impl Page {
    fn commands(&self) -> Vec<(&'static str, String)> {
        let Credentials { user_secret, thing_secret } = &self.credentials;
        let app = |tool, topic: &dyn fmt::Display| self.client(tool, USER, user_secret, topic);
        let device = |tool, topic: &dyn fmt::Display| self.client(tool, THING, thing_secret, topic);
        let mut commands = vec![
            ("Watch the Unified Namespace", format!("{} -v", app("mosquitto_sub", &"uns/#"))),
            (
                "Write a valve: position_setpoint changes, then the flow, then the level",
                format!("{} -m '{{\"v\":25}}'", app("mosquitto_pub", &valve_set())),
            ),
            (
                "Report as a device: its values appear in the namespace",
                format!(
                    "{} -q 1 -m '{{\"temperature\":71.5,\"burner\":{{\"on\":true}}}}'",
                    device("mosquitto_pub", &thing_topic(ThingTopic::Telemetry))
                ),
            ),
            (
                "Wait as the device for what is wanted of it",
                format!("{} -v", device("mosquitto_sub", &shadow_topic(ShadowVerb::Delta))),
            ),
            (
                "Set a desired value: the device above gets the difference",
                format!(
                    "{} -q 1 -m '{{\"state\":{{\"desired\":{{\"setpoint\":80}}}}}}'",
                    app("mosquitto_pub", &shadow_topic(ShadowVerb::Update(Stage::Request)))
                ),
            ),
        ];
        if let Some(secret) = &self.admin_secret {
            let Self { program, mqtt, .. } = self;
            let command =
                format!("MANIFOLD_SECRET='{secret}' {program} ctl things list --url mqtt://{mqtt}");
            commands.push(("Ask the platform", command));
        }
        commands
    }

    fn client(&self, tool: &str, user: &str, secret: &str, topic: &dyn fmt::Display) -> String {
        let (host, port) = (self.mqtt.ip(), self.mqtt.port());
        format!("{tool} -h {host} -p {port} -u {user} -P '{secret}' -t '{topic}'")
    }
}

fn valve_set() -> TopicName {
    match valve_setpoint() {
        Ok(path) => PlatformTopic::UnsSet(path).topic(),
        Err(error) => unreachable!("the plant has a valve: {error}"),
    }
}

fn thing_topic(topic: ThingTopic) -> TopicName {
    match ThingId::parse(THING) {
        Ok(thing) => PlatformTopic::thing(&thing, topic).topic(),
        Err(error) => unreachable!("{THING} is a name: {error}"),
    }
}

fn shadow_topic(verb: ShadowVerb) -> TopicName {
    thing_topic(ThingTopic::Shadow(ShadowTopic { shadow: None, verb }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_stand_complete_on_the_page() {
        let page = Page {
            mqtt: "127.0.0.1:1884".parse().unwrap(),
            ws: "127.0.0.1:8083".parse().unwrap(),
            http: "127.0.0.1:8080".parse().unwrap(),
            plant: "127.0.0.1:5020".parse().unwrap(),
            admin_secret: Some("c".to_owned()),
            program: "./manifold".to_owned(),
            credentials: Credentials { user_secret: "a".to_owned(), thing_secret: "b".to_owned() },
        };
        let page = page.to_string();
        for command in [
            "mosquitto_sub -h 127.0.0.1 -p 1884 -u demo -P 'a' -t 'uns/#' -v\n",
            "mosquitto_pub -h 127.0.0.1 -p 1884 -u demo -P 'a' \
             -t 'uns/acme/berlin/utilities/valve1/_raw/position_setpoint/set' -m '{\"v\":25}'\n",
            "mosquitto_pub -h 127.0.0.1 -p 1884 -u boiler7 -P 'b' \
             -t 'things/boiler7/telemetry' -q 1",
            "mosquitto_sub -h 127.0.0.1 -p 1884 -u boiler7 -P 'b' \
             -t 'things/boiler7/shadow/update/delta' -v\n",
            "mosquitto_pub -h 127.0.0.1 -p 1884 -u demo -P 'a' \
             -t 'things/boiler7/shadow/update' -q 1 \
             -m '{\"state\":{\"desired\":{\"setpoint\":80}}}'\n",
            "MANIFOLD_SECRET='c' ./manifold ctl things list --url mqtt://127.0.0.1:1884\n",
        ] {
            assert!(page.contains(&format!("\n{command}")), "{command} is not in {page}");
        }
    }
}
