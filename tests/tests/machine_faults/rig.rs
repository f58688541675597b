//! The machine of a case, and what is done to it.

use crate::case::{Bench, Case};
use crate::line::{self, Line};
use crate::modbus::{self, Door, Framing, Machine};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sim::tank::{Kind, OpcUaServer, TANK};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// How a Modbus machine answers.
    Answers(Framing, modbus::Mood),
    /// Whether it can be connected to.
    Door(Framing, Door),
    /// It is switched off and on.
    Restart(Framing),
    /// The connection breaks again and again.
    Flapping,
    /// The machine is not there when the driver starts.
    Absent,
    /// What the line does to the answers of an OPC UA server.
    Line(line::Mood, Way),
    /// The line goes dead, and only new connections are had later.
    Buried(Way),
    /// It breaks again and again.
    LineFlapping,
    /// The server itself.
    Server(Server, Way),
}

/// How an OPC UA server is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It pushes what changes.
    Pushed,
    /// It is polled.
    Polled,
    /// It pushes, signed and encrypted, to a user with a name.
    Secured,
}

/// What is wrong with an OPC UA server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Killed,
    Restarted,
    Absent,
    NamespacesMoved,
    FewerItems,
    OtherCertificate,
    /// And the operator approves it.
    NewCertificate,
    OtherSecret,
    NoOpenEndpoint,
    NodeGone,
    BadStatus,
    NotANumber,
    OtherType,
}

/// The machine of a case.
pub(crate) enum Rig {
    Modbus(Machine),
    OpcUa(Box<Tank>),
}

/// An OPC UA server behind a line; its count rises 20 times a second.
pub(crate) struct Tank {
    pub(crate) server: Arc<Mutex<Option<OpcUaServer>>>,
    pub(crate) address: SocketAddr,
    line: Line,
    pub(crate) is_held: Arc<AtomicBool>,
    pub(crate) config: Value,
    pub(crate) pki: Pki,
    counting: AbortHandle,
}

/// The directories of two servers with certificates of their own, made once: keys take their time.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    pub(crate) own: PathBuf,
    pub(crate) other: PathBuf,
}

impl Drop for Tank {
    fn drop(&mut self) {
        self.counting.abort();
    }
}

impl Rig {
    pub(crate) fn is_broken_from_the_start(&self, case: &Case) -> bool {
        matches!(case.fault, Fault::Absent | Fault::Server(Server::Absent, _))
    }

    /// Starts the machine and a driver that reads it.
    pub(crate) async fn start(bench: &mut Bench, case: &Case, pki: &Pki) -> Self {
        let (rig, config, address) = match case.fault {
            Fault::Answers(framing, _) | Fault::Door(framing, _) | Fault::Restart(framing) => {
                modbus_rig(framing).await
            }
            Fault::Flapping => modbus_rig(Framing::Tcp).await,
            Fault::Absent => {
                let (rig, config, address) = modbus_rig(Framing::Tcp).await;
                if let Self::Modbus(machine) = &rig {
                    machine.door(Door::Down);
                }
                (rig, config, address)
            }
            Fault::Line(_, way) | Fault::Buried(way) | Fault::Server(_, way) => {
                opcua_rig(bench, case, way, pki).await
            }
            Fault::LineFlapping => opcua_rig(bench, case, Way::Pushed, pki).await,
        };
        let tag = |name: &str, address: &str, kind: &str| {
            json!({ "tag": name, "address": address, "type": kind, "poll_interval_ms": 100,
                    "path": format!("faults/{}/_raw/{name}", case.name) })
        };
        let kind = if address.starts_with("nsu") { "uint32" } else { "uint16" };
        let mut tags = vec![tag("count", &address, kind)];
        if kind == "uint16" {
            tags.push(tag("beside", "holding:1", kind));
        }
        let body = json!({ "driver": case.name, "config": config, "tags": tags });
        bench.admin.must("drivers", "apply", body).await;
        rig
    }

    pub(crate) async fn inject(&mut self, fault: &Fault) {
        match (self, *fault) {
            (Self::Modbus(machine), Fault::Answers(_, mood)) => machine.set(mood),
            (Self::Modbus(machine), Fault::Door(_, door)) => machine.door(door),
            (Self::Modbus(machine), Fault::Restart(_)) => {
                machine.door(Door::Down);
                sleep(Duration::from_millis(100)).await;
                machine.door(Door::Open);
            }
            (Self::Modbus(machine), Fault::Flapping) => {
                for _ in 0..10 {
                    machine.door(Door::Down);
                    sleep(Duration::from_millis(150)).await;
                    machine.door(Door::Open);
                    sleep(Duration::from_millis(250)).await;
                }
                machine.door(Door::Down);
            }
            (Self::OpcUa(tank), Fault::Line(mood, _)) => tank.line.set(mood),
            (Self::OpcUa(tank), Fault::Buried(_)) => {
                tank.line.bury();
                tank.line.set(line::Mood::Stalled);
            }
            (Self::OpcUa(tank), Fault::LineFlapping) => {
                for _ in 0..10 {
                    tank.line.set(line::Mood::Cut);
                    sleep(Duration::from_millis(150)).await;
                    tank.line.set(line::Mood::Passing);
                    sleep(Duration::from_millis(250)).await;
                }
                tank.line.set(line::Mood::Cut);
            }
            (Self::OpcUa(tank), Fault::Server(server, _)) => tank.break_server(server).await,
            _ => unreachable!("the rig is that of the fault"),
        }
    }

    /// The machine is well again.
    pub(crate) async fn mend(&mut self, fault: &Fault, bench: &mut Bench) {
        match self {
            Self::Modbus(machine) => {
                machine.set(modbus::Mood::Well);
                machine.door(Door::Open);
            }
            Self::OpcUa(tank) => {
                tank.line.set(line::Mood::Passing);
                if let Fault::Server(server, _) = fault {
                    tank.mend_server(*server, bench).await;
                }
            }
        }
    }
}

async fn modbus_rig(framing: Framing) -> (Rig, Value, String) {
    let machine = Machine::start(framing).await;
    let mode = match framing {
        Framing::Tcp => "tcp",
        Framing::Rtu => "rtu",
        Framing::Ascii => "ascii",
    };
    let address = machine.address.to_string();
    let config = json!({ "protocol": "modbus_tcp", "address": address, "framing": mode,
                         "timeout_ms": 500 });
    (Rig::Modbus(machine), config, "holding:0".to_owned())
}

async fn opcua_rig(bench: &mut Bench, case: &Case, way: Way, pki: &Pki) -> (Rig, Value, String) {
    let server = OpcUaServer::start(&pki.own, Kind::default()).await.expect("a server");
    let line = Line::to(server.address).await;
    let url = format!("opc.tcp://{}", line.address);
    let mut config = json!({ "protocol": "opcua", "url": url, "timeout_ms": 1000,
        "publishing_interval_ms": 100, "security_policy": "none", "subscribe": way != Way::Polled });
    if way == Way::Secured {
        config["security_policy"] = json!("basic256_sha256");
        config["user"] = json!({ "name": sim::tank::USER, "secret": sim::tank::SECRET });
        config["trusted"] = json!([fingerprint(bench, &config).await]);
    }
    let is_held = Arc::new(AtomicBool::new(false));
    let address = server.address;
    let server = Arc::new(Mutex::new(Some(server)));
    let counting = tokio::spawn(count(Arc::clone(&server), Arc::clone(&is_held))).abort_handle();
    let tank =
        Tank { server, address, line, is_held, config: config.clone(), pki: pki.clone(), counting };
    if case.fault == Fault::Server(Server::Absent, way) {
        tank.stop().await;
    }
    (Rig::OpcUa(Box::new(tank)), config, format!("nsu={TANK};s=Count"))
}

async fn count(server: Arc<Mutex<Option<OpcUaServer>>>, is_held: Arc<AtomicBool>) {
    for count in 1_u32.. {
        sleep(Duration::from_millis(50)).await;
        let server = server.lock();
        // Looked at under the lock, so that no count comes after what was put in its place.
        if let Some(server) = server.as_ref().filter(|_| !is_held.load(Ordering::Relaxed)) {
            // One that is about to end has no tank.
            let _ = server.set("Count", count);
        }
    }
}

/// The certificate that the server shows, as an operator sees it who has yet to trust it.
pub(crate) async fn fingerprint(bench: &mut Bench, config: &Value) -> String {
    let refusal = bench.admin.ask("drivers", "test", json!({ "config": config })).await;
    let refusal = refusal.expect_err("nobody trusts it yet");
    let reason = refusal["message"].as_str().expect("a text");
    let digits = reason.split("SHA-256 ").nth(1).unwrap_or_else(|| panic!("{reason}"));
    digits[..64].to_owned()
}
