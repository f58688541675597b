//! The configuration of a node: one struct a part, strict, with limits checked at load.
//!
//! Layers, later ones win: defaults, TOML file, environment (`MANIFOLD__SECTION__KEY`), `--set`
//! (see [`load`]). Unknown keys are errors; each part's `check` names the key that is out of its
//! limits. `config/manifold.toml` documents every key; tests keep it equal to the defaults here.
//! Nothing here opens a file of the node or a socket.

mod audit;
mod broker;
pub(crate) mod check;
mod data;
mod edge;
mod http;
mod limits;
mod listen;
mod load;
mod log;
mod problem;
mod security;
mod telemetry;
mod tls;

pub(crate) use audit::{AuditConfig, BackupConfig};
pub(crate) use broker::BrokerConfig;
pub(crate) use data::DataConfig;
pub(crate) use edge::{EdgeConfig, UplinkConfig};
pub(crate) use http::HttpConfig;
pub(crate) use limits::LimitsConfig;
pub(crate) use listen::{Addresses, ListenConfig};
pub(crate) use load::{Sources, load};
pub(crate) use log::{LogConfig, LogFormat};
pub(crate) use problem::{ConfigError, Problems};
pub(crate) use security::SecurityConfig;
pub(crate) use telemetry::TelemetryConfig;
pub(crate) use tls::TlsTable;

use serde::{Deserialize, Serialize};

/// More threads than any machine has use for.
const WORKERS_MAX: usize = 1024;

/// Everything that can be configured.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// What this node is.
    pub(crate) role: NodeRole,
    /// Threads that serve clients; 0 leaves the number to the node.
    pub(crate) workers: usize,
    /// Where state lives.
    pub(crate) data: DataConfig,
    /// What an edge node is called.
    pub(crate) edge: EdgeConfig,
    /// The hub of an edge node.
    pub(crate) uplink: UplinkConfig,
    /// Sockets.
    pub(crate) listen: ListenConfig,
    /// HTTP, and its gateway.
    pub(crate) http: HttpConfig,
    /// TLS of `listen.mqtts` and `listen.wss`.
    pub(crate) tls: TlsTable,
    /// Who may come in.
    pub(crate) security: SecurityConfig,
    /// What the broker does where several ways are right.
    pub(crate) broker: BrokerConfig,
    /// Bounds of what clients may use.
    pub(crate) limits: LimitsConfig,
    /// How long the audit is kept.
    pub(crate) audit: AuditConfig,
    /// Where backups go.
    pub(crate) backup: BackupConfig,
    /// The log.
    pub(crate) log: LogConfig,
    /// Traces.
    pub(crate) telemetry: TelemetryConfig,
}

impl Config {
    /// Finds every value outside its limits.
    pub(crate) fn check(&self) -> Problems {
        let mut problems = Problems::default();
        if self.workers > WORKERS_MAX {
            problems
                .add("workers", format_args!("{} are too many: 0 to {WORKERS_MAX}", self.workers));
        }
        self.data.check(&mut problems);
        self.edge.check(self.role, &mut problems);
        self.uplink.check(self.role, &mut problems);
        self.http.check(&mut problems);
        self.tls.check("tls", self.listen.has_tls(), &mut problems);
        self.listen.check(&self.tls, &mut problems);
        self.security.check(&mut problems);
        self.broker.check(&mut problems);
        self.limits.check(&mut problems);
        self.audit.check(&mut problems);
        self.backup.check(&mut problems);
        self.log.check(&mut problems);
        self.telemetry.check(&mut problems);
        problems
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "&'static str")]
pub(crate) enum NodeRole {
    /// Serves devices and apps, and polls the machines configured on it.
    #[default]
    Hub,
    /// Beside the machines: polls them, serves whoever is there, and sends on to a hub.
    Edge,
}

impl TryFrom<String> for NodeRole {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "hub" => Ok(Self::Hub),
            "edge" => Ok(Self::Edge),
            _ => Err(format!("`{text}` is not a role; `hub` and `edge` are")),
        }
    }
}

impl From<NodeRole> for &'static str {
    fn from(role: NodeRole) -> Self {
        match role {
            NodeRole::Hub => "hub",
            NodeRole::Edge => "edge",
        }
    }
}
