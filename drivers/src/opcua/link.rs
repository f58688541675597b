//! One connection: session, secure channel and the task that drives them; no connection outlives its first fault.
//!
//! The library would reconnect by itself, but a subscription that it brings back may stay silent for ever. So a lost
//! connection is given up with all that belongs to it, and the next one begins from nothing. What tells a loss is the
//! transport, a failed keep-alive of the session, or a subscription from which nothing comes (see
//! [`pushes`](super::pushes)).

use super::config::OpcUaConfig;
use super::endpoint::{choose, identity, reached_at};
use super::identity::Identity;
use super::limits::{Limits, learn};
use super::structures::Types;
use super::trust::Trust;
use crate::open::Site;
use crate::port::ConnectError;
use futures_util::StreamExt as _;
use opcua::client::{Client, Session, SessionPollResult};
use opcua::types::{EndpointDescription, Error, StatusCode};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

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
    let (client, mut endpoint) = chosen(config, &identity).await?;
    let trust = Trust::of(config, &endpoint, site.trust.clone());
    let trust = trust.map_err(|reason| not_trusted(config, reason))?;
    if let Some(trust) = &trust {
        trust.check().await.map_err(|reason| not_trusted(config, reason))?;
    }
    reached_at(config, &mut endpoint);
    let user = self::identity(config).map_err(|reason| not_trusted(config, reason))?;
    let built = client
        .session_builder()
        .connect_to_endpoint_directly(endpoint)
        .and_then(|it| it.user_identity_token(user).build(client.certificate_store().clone()));
    let (session, events) = built.map_err(|error| unreachable(config, error.to_string()))?;
    let (tell, mut pulse) = watch::channel(Pulse::Connecting);
    let task = tokio::spawn(drive(events.enter(), trust, tell)).abort_handle();
    let limits = Limits::of(config, &[]);
    let wire = Wire { session, limits, namespaces: Arc::default(), types: Arc::default() };
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

pub(crate) fn deadline(config: &OpcUaConfig) -> Duration {
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
    let endpoint = choose(config, &endpoints).map_err(|it| not_trusted(config, it))?;
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

/// Drives the connection until it ends, or the server is no longer trusted.
async fn drive(
    events: impl futures_util::Stream<Item = Result<SessionPollResult, StatusCode>>,
    trust: Option<Trust>,
    tell: watch::Sender<Pulse>,
) {
    let distrusted = async {
        match trust {
            Some(trust) => trust.ends().await,
            None => std::future::pending().await,
        }
    };
    let reason = tokio::select! {
        reason = ends(events, &tell) => reason,
        reason = distrusted => reason,
    };
    tell.send_replace(Pulse::Ended(reason));
}

/// Why a connection has ended, once it has.
async fn ends(
    events: impl futures_util::Stream<Item = Result<SessionPollResult, StatusCode>>,
    tell: &watch::Sender<Pulse>,
) -> String {
    use opcua::client::{SessionActivity, SubscriptionActivity};
    let mut events = std::pin::pin!(events);
    loop {
        match events.next().await {
            Some(Ok(SessionPollResult::Reconnected(_))) => {
                tell.send_replace(Pulse::Alive(Instant::now()));
            }
            Some(Ok(SessionPollResult::Subscription(SubscriptionActivity::Publish))) => {
                tell.send_replace(Pulse::Alive(Instant::now()));
            }
            Some(Ok(SessionPollResult::Subscription(SubscriptionActivity::FatalFailure(it)))) => {
                return it.to_string();
            }
            Some(Ok(SessionPollResult::SessionActivity(SessionActivity::KeepAliveFailed(it)))) => {
                return format!("keep-alive failed: {it}");
            }
            Some(Ok(
                SessionPollResult::ConnectionLost(status)
                | SessionPollResult::ReconnectFailed(status),
            )) => {
                return status.to_string();
            }
            Some(Err(status)) => return status.to_string(),
            Some(Ok(_)) => {}
            None => return "closed".to_owned(),
        }
    }
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

pub(crate) fn unreachable(config: &OpcUaConfig, reason: String) -> ConnectError {
    ConnectError::Unreachable { address: address(config), reason }
}

fn not_trusted(config: &OpcUaConfig, reason: String) -> ConnectError {
    ConnectError::NotTrusted { address: address(config), reason }
}

pub(crate) fn too_late(config: &OpcUaConfig) -> ConnectError {
    ConnectError::Timeout { address: address(config), timeout_ms: config.timeout_ms }
}
