//! One connection: session, secure channel and the task that drives them; no connection outlives its first fault.
//!
//! The library would reconnect by itself, but a subscription that it brings back may stay silent for ever. So a lost
//! connection is given up with all that belongs to it, and the next one begins from nothing. What tells a loss is the
//! transport, a failed keep-alive of the session, or a subscription from which nothing comes (see
//! [`pushes`](super::pushes)).

use super::config::OpcUaConfig;
use super::endpoint::{choose, identity, reached_at, trust};
use super::identity::Identity;
use super::structures::Types;
use crate::open::Site;
use crate::port::ConnectError;
use futures_util::StreamExt as _;
use opcua::client::{Client, Session, SessionPollResult};
use opcua::types::{
    AttributeId, DataValue, EndpointDescription, Error, NodeId, ReadValueId, StatusCode,
    TimestampsToReturn, UAString, VariableId, Variant,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// The limit of a server that tells none.
const LIMIT_UNKNOWN: u32 = u32::MAX;

/// What a server takes in one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) read: usize,
    pub(crate) write: usize,
    pub(crate) monitor: usize,
    pub(crate) translate: usize,
    pub(crate) browse: usize,
    pub(crate) history: usize,
}

/// What the task that drives a connection tells.
#[derive(Debug, Clone)]
pub(crate) enum Pulse {
    /// Not there yet.
    Connecting,
    /// There; when something last came for a subscription.
    Alive(Instant),
    /// Gone, and why.
    Ended(String),
}

/// What a request needs, whoever makes it.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) session: Arc<Session>,
    pub(crate) limits: Limits,
    pub(crate) namespaces: Arc<[String]>,
    pub(crate) types: Arc<Types>,
}

/// A connection. Dropped, it is closed.
pub(crate) struct Link {
    pub(crate) wire: Wire,
    pub(crate) pulse: watch::Receiver<Pulse>,
    task: AbortHandle,
    /// How long its end may take.
    deadline: Duration,
}

impl Drop for Link {
    /// Ends the session in good order, on the side and within the time-out: small servers have a few only, and keep
    /// each that is not closed for a minute.
    fn drop(&mut self) {
        let (task, session, within) =
            (self.task.clone(), Arc::clone(&self.wire.session), self.deadline);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.ended().is_none() => drop(runtime.spawn(async move {
                let _ = timeout(within, session.disconnect()).await;
                task.abort();
            })),
            _ => task.abort(),
        }
    }
}

impl Link {
    /// Why it is gone, if it is.
    pub(crate) fn ended(&self) -> Option<String> {
        match &*self.pulse.borrow() {
            Pulse::Ended(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}

/// Makes a connection, or says what is in the way.
pub(crate) async fn open(config: &OpcUaConfig, site: &Site) -> Result<Link, ConnectError> {
    let identity = own(site).await.map_err(|reason| not_trusted(config, reason))?;
    let (client, endpoint) = chosen(config, &identity).await?;
    let user = self::identity(config).map_err(|reason| not_trusted(config, reason))?;
    let built = client
        .session_builder()
        .connect_to_endpoint_directly(endpoint)
        .and_then(|it| it.user_identity_token(user).build(client.certificate_store().clone()));
    let (session, events) = built.map_err(|error| unreachable(config, error.to_string()))?;
    let (tell, mut pulse) = watch::channel(Pulse::Connecting);
    let task = tokio::spawn(drive(events.enter(), tell)).abort_handle();
    let (limits, namespaces, types) = (limits(config, &[]), Arc::default(), Arc::default());
    let wire = Wire { session, limits, namespaces, types };
    let mut link = Link { wire, pulse: pulse.clone(), task, deadline: deadline(config) };
    let connected = pulse.wait_for(|it| !matches!(it, Pulse::Connecting));
    match timeout(deadline(config) * 2, connected).await {
        Ok(Ok(found)) => {
            if let Pulse::Ended(reason) = &*found {
                return Err(refused(config, &identity, reason));
            }
        }
        Ok(Err(_)) => return Err(unreachable(config, "the connection ended".to_owned())),
        Err(_) => return Err(too_late(config)),
    }
    learn(&mut link.wire, config).await?;
    Ok(link)
}

fn deadline(config: &OpcUaConfig) -> Duration {
    Duration::from_millis(config.timeout_ms.into())
}

/// Making a key takes seconds of a processor, and only one driver may do it.
async fn own(site: &Site) -> Result<Arc<Identity>, String> {
    let mut known = site.identity.lock().await;
    if let Some(identity) = &*known {
        return Ok(Arc::clone(identity));
    }
    let of = site.clone();
    let made = tokio::task::spawn_blocking(move || Identity::read_or_make(&of)).await;
    let made = made.map_err(|_| "the node is stopping".to_owned()).and_then(|it| it);
    let made = made.map_err(|reason| format!("no application certificate: {reason}"))?;
    Ok(Arc::clone(known.insert(Arc::new(made))))
}

/// The endpoint to take, after asking the server for those that it has.
async fn chosen(
    config: &OpcUaConfig,
    identity: &Arc<Identity>,
) -> Result<(Client, EndpointDescription), ConnectError> {
    let (client, endpoints) = offered(config, identity).await?;
    let mut endpoint = choose(config, &endpoints).map_err(|it| not_trusted(config, it))?;
    trust(config, &endpoint).map_err(|reason| not_trusted(config, reason))?;
    reached_at(config, &mut endpoint);
    Ok((client, endpoint))
}

/// The endpoints that a server has, as they are, and who asked for them.
pub(crate) async fn endpoints(
    config: &OpcUaConfig,
    site: &Site,
) -> Result<(Client, Vec<EndpointDescription>), ConnectError> {
    let identity = own(site).await.map_err(|reason| not_trusted(config, reason))?;
    offered(config, &identity).await
}

async fn offered(
    config: &OpcUaConfig,
    identity: &Arc<Identity>,
) -> Result<(Client, Vec<EndpointDescription>), ConnectError> {
    let (of, with) = (config.clone(), Arc::clone(identity));
    // The library reads its files where others wait.
    let client = tokio::task::spawn_blocking(move || with.client(&of)).await;
    let client = client.map_err(|_| "the node is stopping".to_owned()).and_then(|it| it);
    let client = client.map_err(|reason| unreachable(config, reason))?;
    let endpoints = client.get_server_endpoints_from_url(config.url.as_str());
    match timeout(deadline(config), endpoints).await {
        Ok(Ok(endpoints)) => Ok((client, endpoints)),
        Ok(Err(error)) => Err(why(config, &error).await),
        Err(_) => Err(too_late(config)),
    }
}

/// Drives the connection until it ends.
async fn drive(
    events: impl futures_util::Stream<Item = Result<SessionPollResult, StatusCode>>,
    tell: watch::Sender<Pulse>,
) {
    use opcua::client::{SessionActivity, SubscriptionActivity};
    let mut events = std::pin::pin!(events);
    let reason = loop {
        match events.next().await {
            Some(Ok(SessionPollResult::Reconnected(_))) => {
                tell.send_replace(Pulse::Alive(Instant::now()));
            }
            Some(Ok(SessionPollResult::Subscription(SubscriptionActivity::Publish))) => {
                tell.send_replace(Pulse::Alive(Instant::now()));
            }
            Some(Ok(SessionPollResult::Subscription(SubscriptionActivity::FatalFailure(it)))) => {
                break it.to_string();
            }
            Some(Ok(SessionPollResult::SessionActivity(SessionActivity::KeepAliveFailed(it)))) => {
                break format!("keep-alive failed: {it}");
            }
            Some(Ok(
                SessionPollResult::ConnectionLost(status)
                | SessionPollResult::ReconnectFailed(status),
            )) => {
                break status.to_string();
            }
            Some(Err(status)) => break status.to_string(),
            Some(Ok(_)) => {}
            None => break "closed".to_owned(),
        }
    };
    tell.send_replace(Pulse::Ended(reason));
}

/// Asks for the limits and the namespaces of the server.
async fn learn(wire: &mut Wire, config: &OpcUaConfig) -> Result<(), ConnectError> {
    let variables = [
        VariableId::Server_NamespaceArray,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
    ];
    let questions = variables.map(|it| ReadValueId {
        node_id: NodeId::from(it),
        attribute_id: AttributeId::Value as u32,
        ..ReadValueId::default()
    });
    // A small machine may not know all of them, but it can tell so; a very small one takes fewer than these at once.
    let mut values = Vec::new();
    match ask(wire, config, &questions).await? {
        Ok(told) => values = told,
        Err(error) if error.status() == StatusCode::BadTooManyOperations => {
            for question in questions {
                let told = ask(wire, config, &[question]).await?;
                let told = told.map_err(|error| unreachable(config, error.to_string()))?;
                values.extend(told);
            }
        }
        Err(error) => return Err(unreachable(config, error.to_string())),
    }
    wire.namespaces = values.first().map(names_in).unwrap_or_default().into();
    wire.limits = limits(config, values.get(1..).unwrap_or_default());
    Ok(())
}

async fn ask(
    wire: &Wire,
    config: &OpcUaConfig,
    questions: &[ReadValueId],
) -> Result<Result<Vec<DataValue>, Error>, ConnectError> {
    let asked = wire.session.read(questions, TimestampsToReturn::Neither, 0.0);
    timeout(deadline(config), asked).await.map_err(|_| too_late(config))
}

fn names_in(value: &DataValue) -> Vec<String> {
    let Some(Variant::Array(array)) = &value.value else { return Vec::new() };
    let name = |it: &Variant| match it {
        Variant::String(it) => UAString::as_ref(it).to_owned(),
        _ => String::new(),
    };
    array.values.iter().map(name).collect()
}

fn limits(config: &OpcUaConfig, values: &[DataValue]) -> Limits {
    let limit = |index: usize| {
        let said = match values.get(index).and_then(|it| it.value.as_ref()) {
            // 0 is no limit (OPC 10000-5, 6.3.11).
            Some(Variant::UInt32(it)) if *it > 0 => *it,
            _ => LIMIT_UNKNOWN,
        };
        said.min(config.nodes_per_request_max) as usize
    };
    let [read, write, monitor, translate, browse, history] = std::array::from_fn(limit);
    Limits { read, write, monitor, translate, browse, history }
}

/// Why a server did not even tell its endpoints.
async fn why(config: &OpcUaConfig, error: &Error) -> ConnectError {
    let address = address(config);
    match timeout(deadline(config), TcpStream::connect(&address)).await {
        Err(_) => too_late(config),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            ConnectError::Refused { address }
        }
        Ok(Err(error)) => unreachable(config, error.to_string()),
        Ok(Ok(_)) => unreachable(config, format!("no OPC UA there: {error}")),
    }
}

/// What the end of a connection that never was means to an operator.
fn refused(config: &OpcUaConfig, identity: &Identity, reason: &str) -> ConnectError {
    let is_about_us = ["BadSecurityChecksFailed", "BadCertificate", "BadApplicationSignature"];
    let is_about_user = ["BadIdentityToken", "BadUserAccessDenied", "BadUserSignature"];
    if is_about_us.iter().any(|it| reason.contains(it)) {
        let own = &identity.fingerprint;
        let reason = format!(
            "the server does not trust this node, whose certificate has the SHA-256 {own}; have it trusted there \
             ({reason})"
        );
        return not_trusted(config, reason);
    }
    if is_about_user.iter().any(|it| reason.contains(it)) {
        return not_trusted(config, format!("the server does not take this user ({reason})"));
    }
    unreachable(config, reason.to_owned())
}

/// Host and port of the URL, which was checked to have both.
fn address(config: &OpcUaConfig) -> String {
    let rest = config.url.strip_prefix("opc.tcp://").unwrap_or(&config.url);
    rest.split('/').next().unwrap_or(rest).to_owned()
}

fn unreachable(config: &OpcUaConfig, reason: String) -> ConnectError {
    ConnectError::Unreachable { address: address(config), reason }
}

fn not_trusted(config: &OpcUaConfig, reason: String) -> ConnectError {
    ConnectError::NotTrusted { address: address(config), reason }
}

fn too_late(config: &OpcUaConfig) -> ConnectError {
    ConnectError::Timeout { address: address(config), timeout_ms: config.timeout_ms }
}
