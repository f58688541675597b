//! An OPC UA server: a tank with values of every kind, a table, a matrix, a structure, a variable that keeps what is
//! written and one that does not take it, a method, events, users with a name, and as many further values as wanted,
//! which change all at once.
//!
//! For trying the platform, for load and for tests: it can come back at its address as another server, with its
//! namespaces moved, fewer items in a request or another user.

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use opcua::crypto::SecurityPolicy;
use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua::server::{ServerBuilder, ServerEndpoint, ServerHandle, ServerUserToken};
use opcua::types::{BuildInfo, DataValue, MessageSecurityMode, NodeId, Variant};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

mod batch;
mod nodes;

/// The namespace of the tank.
pub const TANK: &str = "urn:manifold:test:tank";
/// The user that may come in by name; anyone may without one.
pub const USER: &str = "operator";
/// Its secret, unless told otherwise.
pub const SECRET: &str = "tank-7";

/// How long a port may stay taken by the connections of a server before.
const PORT_PATIENCE: Duration = Duration::from_secs(5);

/// The flags of `manifold-sim tank`.
#[derive(Debug, Clone, Args)]
pub struct TankArgs {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:4840")]
    pub listen: SocketAddr,
    /// Where its certificate is, which is made if there is none; absent: a new one at each start
    #[arg(long, value_name = "DIR")]
    pub pki: Option<PathBuf>,
    /// Values V0, V1 … besides those of the tank
    #[arg(long, default_value_t = 100)]
    pub values: u32,
    /// Milliseconds between two changes of all these values
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub change_ms: u64,
    /// Namespaces before that of the tank, as after a change of the server's project
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub namespaces_before: usize,
    /// The most items in one request; 0: no limit of its own
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub items_max: usize,
}

/// What a server is like.
#[derive(Clone, Copy)]
pub struct Kind {
    /// How many other namespaces it has before that of the tank.
    pub namespaces_before: usize,
    /// The most items in one request; 0 for its default.
    pub items_max: usize,
    /// How many further values it has, `s=V0` and so on.
    pub values: usize,
    /// The secret of [`USER`].
    pub secret: &'static str,
    /// Whether it offers connections without security, too.
    pub is_open: bool,
    /// Who it says has made it, and as what.
    pub made: (&'static str, &'static str),
}

impl Default for Kind {
    fn default() -> Self {
        Self {
            namespaces_before: 0,
            items_max: 0,
            values: 0,
            secret: SECRET,
            is_open: true,
            made: ("Manifold", "Tank"),
        }
    }
}

/// A server that runs, until it is killed or dropped.
pub struct OpcUaServer {
    /// Where it listens.
    pub address: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<()>,
}

/// Serves a tank until `shutdown` is done; `tell` hears of its address once it can be connected to.
pub async fn tank(
    args: &TankArgs,
    tell: impl Fn(SocketAddr) -> Result<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let fresh = tempfile::tempdir().context("cannot make a directory")?;
    let pki = args.pki.as_deref().unwrap_or_else(|| fresh.path());
    let kind = Kind {
        namespaces_before: args.namespaces_before,
        items_max: args.items_max,
        values: args.values as usize,
        ..Kind::default()
    };
    let server = OpcUaServer::start_at(args.listen, pki, kind).await?;
    tell(server.address)?;
    let nodes = (0..args.values).map(|number| server.node(&format!("V{number}")));
    let nodes: Vec<NodeId> = nodes.collect::<Result<_>>()?;
    let mut interval = tokio::time::interval(Duration::from_millis(args.change_ms));
    let change = async {
        for change in 1_i32.. {
            interval.tick().await;
            server.set("Count", change.unsigned_abs())?;
            server.set_all(&nodes, change)?;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        () = shutdown => Ok(()),
        ended = change => ended,
    }
}

impl OpcUaServer {
    /// A server at a port of its own.
    ///
    /// # Errors
    /// The port or the directory cannot be had.
    pub async fn start(dir: &Path, kind: Kind) -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), dir, kind).await
    }

    /// A server at an address, such as one that was there before.
    ///
    /// # Errors
    /// The port or the directory cannot be had.
    pub async fn start_at(address: SocketAddr, dir: &Path, kind: Kind) -> Result<Self> {
        let listener = bind(address).await?;
        let address = listener.local_addr()?;
        let (server, handle) = builder(address, dir, kind).build().map_err(|it| anyhow!(it))?;
        nodes::fill(&handle, kind)?;
        let task = tokio::spawn(async move {
            if let Err(error) = server.run_with(listener).await {
                tracing::warn!(error, "the OPC UA server has ended");
            }
        });
        Ok(Self { address, handle, task })
    }

    /// Where it is, for a client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("opc.tcp://{}", self.address)
    }

    /// The node of the tank with this name.
    ///
    /// # Errors
    /// The server is about to end.
    pub fn node(&self, name: &str) -> Result<NodeId> {
        Ok(NodeId::new(namespace_index(&self.handle)?, name))
    }

    /// Changes a value of the tank.
    ///
    /// # Errors
    /// There is no variable of this name.
    pub fn set(&self, name: &str, value: impl Into<Variant>) -> Result<()> {
        self.put(name, DataValue::new_now(value))
    }

    /// Changes a value of the tank, with its status and times.
    ///
    /// # Errors
    /// There is no variable of this name.
    pub fn put(&self, name: &str, value: DataValue) -> Result<()> {
        let (manager, node) = (manager(&self.handle)?, self.node(name)?);
        let set = manager.set_value(self.handle.subscriptions(), &node, None, value);
        set.map_err(|status| anyhow!("{name}: {status}"))
    }

    /// Changes many variables to one value.
    fn set_all(&self, nodes: &[NodeId], value: i32) -> Result<()> {
        let values = nodes.iter().map(|node| (node, None, DataValue::new_now(value)));
        let set = manager(&self.handle)?.set_values(self.handle.subscriptions(), values);
        set.map_err(|status| anyhow!("{status}"))
    }

    /// Tells an event of the server, of some severity.
    pub fn tell(&self, message: &str, severity: u16) {
        nodes::tell(self.handle.subscriptions(), &NodeId::null(), message, severity);
    }

    /// Takes a variable away, as a change of the server's project does.
    ///
    /// # Errors
    /// The server is about to end.
    pub fn remove(&self, name: &str) -> Result<()> {
        let (manager, node) = (manager(&self.handle)?, self.node(name)?);
        manager.address_space().write().delete(&node, true);
        Ok(())
    }

    /// Ends it, as a machine that is switched off: nobody is told.
    pub async fn kill(mut self) -> SocketAddr {
        self.task.abort();
        self.handle.cancel();
        let _ = (&mut self.task).await;
        self.address
    }
}

impl Drop for OpcUaServer {
    fn drop(&mut self) {
        self.task.abort();
        self.handle.cancel();
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let since = tokio::time::Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if since.elapsed() > PORT_PATIENCE => {
                return Err(error).with_context(|| format!("cannot listen on {address}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn builder(address: SocketAddr, dir: &Path, kind: Kind) -> ServerBuilder {
    let anyone = ["ANONYMOUS".to_owned(), USER.to_owned()];
    let user = ServerUserToken {
        user: USER.to_owned(),
        pass: Some(kind.secret.to_owned()),
        ..ServerUserToken::default()
    };
    let encrypted = ServerEndpoint::new_basic256sha256_sign_encrypt("/", &anyone);
    let mut builder = ServerBuilder::new()
        .application_name("Tank")
        .application_uri("urn:manifold:test:server")
        .product_uri("urn:manifold:test")
        .build_info(BuildInfo {
            manufacturer_name: kind.made.0.into(),
            product_name: kind.made.1.into(),
            ..BuildInfo::default()
        })
        .create_sample_keypair(true)
        .certificate_path("own/cert.der")
        .private_key_path("private/private.pem")
        .pki_dir(dir)
        .trust_client_certs(true)
        .host("127.0.0.1")
        .port(address.port())
        .subscription_poll_interval_ms(10)
        .discovery_urls(vec!["/".to_owned()])
        .add_user_token(USER, user)
        .add_endpoint("sign", signed(&anyone))
        .add_endpoint("b256", encrypted)
        .add_endpoint("a128", ServerEndpoint::new_aes128_sha256_rsaoaep_sign_encrypt("/", &anyone))
        .add_endpoint("a256", ServerEndpoint::new_aes256_sha256_rsapss_sign_encrypt("/", &anyone));
    if kind.is_open {
        builder = builder.add_endpoint("none", ServerEndpoint::new_none("/", &anyone));
    }
    let named = |namespace_uri| NamespaceMetadata { namespace_uri, ..NamespaceMetadata::default() };
    for index in 0..kind.namespaces_before {
        let namespace = named(format!("urn:manifold:test:other{index}"));
        builder = builder.with_node_manager(simple_node_manager(namespace, "other"));
    }
    builder = builder.with_node_manager(simple_node_manager(named(TANK.to_owned()), "tank"));
    let limits = builder.limits_mut();
    limits.subscriptions.min_publishing_interval_ms = 10.0;
    limits.subscriptions.min_sampling_interval_ms = 10.0;
    if kind.items_max > 0 {
        limits.operational.max_monitored_items_per_call = kind.items_max;
        limits.operational.max_nodes_per_read = kind.items_max;
        limits.operational.max_nodes_per_write = kind.items_max;
    }
    builder
}

/// The library advises against signing only; machines offer it.
fn signed(users: &[String]) -> ServerEndpoint {
    let (policy, mode) = (SecurityPolicy::Basic256Sha256, MessageSecurityMode::Sign);
    ServerEndpoint::new("/", policy, mode, users)
}

fn namespace_index(handle: &ServerHandle) -> Result<u16> {
    handle.get_namespace_index(TANK).context("the server has no tank")
}

fn manager(handle: &ServerHandle) -> Result<Arc<SimpleNodeManager>> {
    let named = handle.node_managers().get_by_name::<SimpleNodeManager>("tank");
    named.context("the server has no tank")
}
