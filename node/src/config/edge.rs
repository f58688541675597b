//! `[edge]` and `[uplink]`: what an edge node is called, and the hub that it belongs to.

use super::{NodeRole, Problems};
use actors::{RemoteConfig, RemoteTls, UplinkSettings};
use anyhow::Context;

use proto::{EdgeId, Namespace, TopicFilter};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What `uplink.bytes_max` may be: from some minutes of values up.
const BYTES_MAX: std::ops::RangeInclusive<u64> = 1024 * 1024..=1 << 50;

/// What `uplink.age_max_hours` may be: up to ten years.
const AGE_MAX_HOURS: std::ops::RangeInclusive<u64> = 1..=87_600;

/// The section `edge`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EdgeConfig {
    /// The name of this edge node.
    pub(crate) id: String,
}

/// The section `uplink`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UplinkConfig {
    /// The hub; empty: there is none.
    pub(crate) url: String,
    /// The enrolment of the hub that the secret is of, by which the edge node registers itself; empty: the secret is
    /// its own.
    pub(crate) enrolment: String,
    /// The user name there; empty: the name of the edge node.
    pub(crate) user: String,
    /// The secret there.
    pub(crate) secret: String,
    /// A file with the secret.
    pub(crate) secret_file: PathBuf,
    /// The authorities that the hub's certificate may be of.
    pub(crate) ca: PathBuf,
    /// The certificate of the edge node.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// The name that the hub's certificate has to be for.
    pub(crate) server_name: String,
    /// The namespace of this node that goes up.
    pub(crate) namespace: String,
    /// The topics that go up.
    pub(crate) filters: Vec<String>,
    /// The most bytes that wait for the hub.
    pub(crate) bytes_max: u64,
    /// The longest that anything waits for the hub.
    pub(crate) age_max_hours: u64,
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            enrolment: String::new(),
            user: String::new(),
            secret: String::new(),
            secret_file: PathBuf::new(),
            ca: PathBuf::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            server_name: String::new(),
            namespace: Namespace::default().to_string(),
            filters: vec![proto::platform::filters::uns().to_string()],
            bytes_max: 4 << 30,
            age_max_hours: 14 * 24,
        }
    }
}

impl EdgeConfig {
    pub(super) fn check(&self, role: NodeRole, problems: &mut Problems) {
        match (role, self.id()) {
            (NodeRole::Hub, _) if !self.id.is_empty() => {
                problems.add("edge.id", "only a node with role = \"edge\" has a name");
            }
            (NodeRole::Edge, Err(error)) => problems.add("edge.id", error),
            (NodeRole::Edge, Ok(id)) if id == actors::local_edge() => {
                problems.add("edge.id", "`local` is the edge node within a hub: take another name");
            }
            _ => {}
        }
    }

    fn id(&self) -> Result<EdgeId, String> {
        if self.id.is_empty() {
            return Err("an edge node needs a name, by which its hub knows it".to_owned());
        }
        EdgeId::parse(&self.id).map_err(|error| error.to_string())
    }

    /// The name of the edge node in this process.
    pub(crate) fn name(&self) -> EdgeId {
        self.id().unwrap_or_else(|_| actors::local_edge())
    }
}

impl UplinkConfig {
    pub(super) fn check(&self, role: NodeRole, problems: &mut Problems) {
        problems.within("uplink.bytes_max", self.bytes_max, BYTES_MAX);
        problems.within("uplink.age_max_hours", self.age_max_hours, AGE_MAX_HOURS);
        if let Err(error) = Namespace::parse(&self.namespace) {
            problems.add("uplink.namespace", error);
        }
        for filter in &self.filters {
            if let Err(error) = TopicFilter::parse(filter.clone()) {
                problems.add("uplink.filters", format_args!("`{filter}`: {error}"));
            }
        }
        if self.url.is_empty() {
            return;
        }
        if role == NodeRole::Hub {
            problems.add("uplink.url", "only a node with role = \"edge\" has a hub");
        }
        if !self.enrolment.is_empty() && !self.user.is_empty() {
            problems.add("uplink.user", "with an enrolment the hub says who the edge node is");
        }
        let is_given = |path: &Path| !path.as_os_str().is_empty();
        if !self.secret.is_empty() && is_given(&self.secret_file) {
            problems.add("uplink.secret_file", "there is uplink.secret as well: give one of them");
        }
        if is_given(&self.certificate) != is_given(&self.key) {
            problems.add("uplink.key", "a certificate and its key belong together");
        }
        // Without what is in files, which are read when the node starts.
        let remote = RemoteConfig { tls: RemoteTls::default(), ..self.remote("edge") };
        if let Err(error) = self.settings(remote).check() {
            problems.add(&format!("uplink.{}", error.field), error.reason);
        }
    }

    fn remote(&self, edge: &str) -> RemoteConfig {
        let user = if self.user.is_empty() { edge } else { &self.user };
        RemoteConfig {
            user_name: Some(user.to_owned()),
            secret: Some(self.secret.clone()).filter(|secret| !secret.is_empty()),
            clean_start: true,
            session_expiry_secs: 0,
            ..RemoteConfig::new(&self.url, &format!("manifold-edge-{edge}"))
        }
    }

    fn settings(&self, remote: RemoteConfig) -> UplinkSettings {
        let filters = self.filters.iter().filter_map(|it| TopicFilter::parse(it.clone()).ok());
        UplinkSettings {
            remote,
            enrolment: Some(self.enrolment.clone()).filter(|name| !name.is_empty()),
            namespace: Namespace::parse(&self.namespace).unwrap_or_default(),
            filters: filters.collect(),
            bytes_max: self.bytes_max,
            age_ms_max: self.age_max_hours * 3_600_000,
        }
    }

    /// What the uplink is started with, if there is a hub; reads the files.
    pub(crate) fn read(&self, edge: &EdgeId) -> anyhow::Result<Option<UplinkSettings>> {
        if self.url.is_empty() {
            return Ok(None);
        }
        let mut remote = self.remote(edge.as_str());
        if let Some(secret) = text("uplink.secret_file", &self.secret_file)? {
            remote.secret = Some(secret.trim_end().to_owned());
        }
        remote.tls = RemoteTls {
            ca: text("uplink.ca", &self.ca)?,
            certificate: text("uplink.certificate", &self.certificate)?,
            key: text("uplink.key", &self.key)?,
            server_name: Some(self.server_name.clone()).filter(|name| !name.is_empty()),
        };
        let settings = self.settings(remote);
        settings.check().map_err(|it| anyhow::anyhow!("uplink.{}: {}", it.field, it.reason))?;
        Ok(Some(settings))
    }
}

fn text(key: &str, path: &Path) -> anyhow::Result<Option<String>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let read = std::fs::read_to_string(path);
    read.map(Some).with_context(|| format!("cannot read {key}, {}", path.display()))
}
