//! An OPC UA server to test the driver against: a tank with a level that counts, values of every kind, a table, one
//! variable that keeps what is written and one that does not take it, and users with a name.

use opcua::crypto::SecurityPolicy;
use opcua::server::address_space::{AccessLevel, VariableBuilder};
use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua::server::{ServerBuilder, ServerEndpoint, ServerHandle, ServerUserToken};
use opcua::types::{
    DataTypeId, DataValue, MessageSecurityMode, NodeId, QualifiedName, StatusCode, UAString,
    VariableTypeId, Variant,
};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const TANK: &str = "urn:manifold:test:tank";
pub(crate) const USER: &str = "operator";
pub(crate) const SECRET: &str = "tank-7";

/// A server that runs.
pub(crate) struct OpcUaServer {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ServerHandle,
    task: JoinHandle<()>,
}

/// What a server is like.
#[derive(Clone, Copy, Default)]
pub(crate) struct Kind {
    /// How many other namespaces it has before that of the tank.
    pub(crate) namespaces_before: usize,
    /// The most items in one request; 0 for its default.
    pub(crate) items_max: usize,
    /// How many further values it has, `s=V0` and so on.
    pub(crate) values: usize,
}

impl OpcUaServer {
    /// A server at a port of its own.
    pub(crate) async fn start(dir: &Path, kind: Kind) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), dir, kind).await
    }

    /// A server at an address, such as one that was there before.
    pub(crate) async fn start_at(address: SocketAddr, dir: &Path, kind: Kind) -> Self {
        let listener = bind(address).await;
        let address = listener.local_addr().expect("an address");
        let anyone = ["ANONYMOUS".to_owned(), "operator".to_owned()];
        let mut builder = ServerBuilder::new()
            .application_name("Tank")
            .application_uri("urn:manifold:test:server")
            .product_uri("urn:manifold:test")
            .create_sample_keypair(true)
            .certificate_path("own/cert.der")
            .private_key_path("private/private.pem")
            .pki_dir(dir)
            .trust_client_certs(true)
            .host("127.0.0.1")
            .port(address.port())
            .subscription_poll_interval_ms(10)
            .discovery_urls(vec!["/".to_owned()])
            .add_user_token(
                "operator",
                ServerUserToken {
                    user: USER.to_owned(),
                    pass: Some(SECRET.to_owned()),
                    ..ServerUserToken::default()
                },
            )
            .add_endpoint("none", ServerEndpoint::new_none("/", &anyone))
            .add_endpoint("sign", signed(&anyone))
            .add_endpoint("b256", ServerEndpoint::new_basic256sha256_sign_encrypt("/", &anyone))
            .add_endpoint(
                "a128",
                ServerEndpoint::new_aes128_sha256_rsaoaep_sign_encrypt("/", &anyone),
            )
            .add_endpoint(
                "a256",
                ServerEndpoint::new_aes256_sha256_rsapss_sign_encrypt("/", &anyone),
            );
        for index in 0..kind.namespaces_before {
            let uri = format!("urn:manifold:test:other{index}");
            let namespace =
                NamespaceMetadata { namespace_uri: uri, ..NamespaceMetadata::default() };
            builder = builder.with_node_manager(simple_node_manager(namespace, "other"));
        }
        let namespace =
            NamespaceMetadata { namespace_uri: TANK.to_owned(), ..NamespaceMetadata::default() };
        builder = builder.with_node_manager(simple_node_manager(namespace, "tank"));
        let limits = builder.limits_mut();
        limits.subscriptions.min_publishing_interval_ms = 10.0;
        limits.subscriptions.min_sampling_interval_ms = 10.0;
        if kind.items_max > 0 {
            limits.operational.max_monitored_items_per_call = kind.items_max;
            limits.operational.max_nodes_per_read = kind.items_max;
        }
        let (server, handle) = builder.build().expect("a server");
        fill(&handle, kind);
        let task = tokio::spawn(async move {
            let _ = server.run_with(listener).await;
        });
        let server = Self { address, handle, task };
        server.ready().await;
        server
    }

    /// Where it is, for the driver.
    pub(crate) fn url(&self) -> String {
        format!("opc.tcp://{}", self.address)
    }

    /// The node of the tank with this name.
    pub(crate) fn node(&self, name: &str) -> NodeId {
        NodeId::new(self.handle.get_namespace_index(TANK).expect("the tank"), name)
    }

    /// Changes a value of the tank.
    pub(crate) fn set(&self, name: &str, value: impl Into<Variant>) {
        let value = DataValue::new_now(value);
        manager(&self.handle)
            .set_value(self.handle.subscriptions(), &self.node(name), None, value)
            .expect("a variable");
    }

    /// Ends it, as a machine that is switched off: nobody is told.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.task.abort();
        self.handle.cancel();
        let _ = self.task.await;
        self.address
    }

    async fn ready(&self) {
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the server does not listen");
    }
}

/// The port may be taken for a moment longer by connections of the server before.
async fn bind(address: SocketAddr) -> TcpListener {
    for _ in 0..100 {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("{address} is taken");
}

/// The library advises against signing only; machines offer it.
fn signed(users: &[String]) -> ServerEndpoint {
    let (policy, mode) = (SecurityPolicy::Basic256Sha256, MessageSecurityMode::Sign);
    ServerEndpoint::new("/", policy, mode, users)
}

fn manager(handle: &ServerHandle) -> Arc<SimpleNodeManager> {
    let named = handle.node_managers().get_by_name::<SimpleNodeManager>("tank");
    named.expect("the manager of the tank")
}

fn fill(handle: &ServerHandle, kind: Kind) {
    let index = handle.get_namespace_index(TANK).expect("the tank");
    let node = |name: &str| NodeId::new(index, name);
    let manager = manager(handle);
    let mut space = manager.address_space().write();
    let tank = node("Tank");
    space.add_folder(
        &tank,
        QualifiedName::new(index, "Tank"),
        "Tank",
        &NodeId::objects_folder_id(),
    );
    let values: Vec<(&str, DataTypeId, Variant, bool)> = vec![
        ("Level", DataTypeId::Double, Variant::Double(12.5), false),
        ("Count", DataTypeId::UInt32, Variant::UInt32(7), false),
        ("Setpoint", DataTypeId::Int16, Variant::Int16(200), true),
        ("Pump", DataTypeId::Boolean, Variant::Boolean(false), true),
        ("Recipe", DataTypeId::String, Variant::String(UAString::from("water")), true),
        ("Clamped", DataTypeId::Int32, Variant::Int32(0), true),
        ("Table", DataTypeId::Int32, Variant::from(vec![10, 20, 30]), true),
    ];
    for (name, data_type, value, is_writable) in values {
        let mut access = AccessLevel::CURRENT_READ;
        access.set(AccessLevel::CURRENT_WRITE, is_writable);
        let is_array = matches!(value, Variant::Array(_));
        VariableBuilder::new(&node(name), QualifiedName::new(index, name), name)
            .data_type(data_type)
            .value_rank(if is_array { 1 } else { -1 })
            .value(value)
            .access_level(access)
            .user_access_level(access)
            .has_type_definition(VariableTypeId::BaseDataVariableType)
            .component_of(tank.clone())
            .insert(&mut *space);
    }
    for number in 0..kind.values {
        let name = format!("V{number}");
        VariableBuilder::new(&node(&name), QualifiedName::new(index, name.as_str()), name.as_str())
            .data_type(DataTypeId::Int32)
            .value(i32::try_from(number).expect("few"))
            .has_type_definition(VariableTypeId::BaseDataVariableType)
            .component_of(tank.clone())
            .insert(&mut *space);
    }
    drop(space);
    // Says that it was written, and keeps what it had.
    manager.inner().add_write_callback(node("Clamped"), |_, _| StatusCode::Good);
}
