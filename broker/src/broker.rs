//! The broker as a whole: its namespaces, its listeners, its end; [`operators`] is what it shows of itself, [`tenancy`]
//! what those who let namespaces to others ask of it.

mod operators;
mod tenancy;

use crate::auth::{Anonymous, AuthConfig, AuthError, Authenticator, NameStanding};
use crate::client::{AttachOptions, Client, Inbox};
use crate::config::{Limits, Policies};
use crate::connection::handshake::Door;
use crate::credential::{Credential, system_namespace};
use crate::durable::rows::{GroupRow, RetainedRow, SessionRow, WillRow};
use crate::figures::Figures;
use crate::listener;
use crate::listener::config::{Endpoint, ListenError, ListenerConfig};
use crate::listener::lobby::Lobby;
use crate::live::Live;
use crate::message::Sender;
use crate::overload::memory;
use crate::overload::quota::Quotas;
use crate::packet::Version;
use crate::promises::Promises;
use crate::reason::Reason;
use crate::reload::TlsInUse;
use crate::space::{Asked, Shared, Space};
use crate::sys;
use parking_lot::RwLock;
use proto::{ClientId, Clock, Entropy, Identity, Namespace, ThingId, TopicName, UserId};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{ReadError, Store};
use tokio::io::DuplexStream;
use tokio::sync::watch;

/// How often sessions are looked through for those whose time has come.
const EXPIRY_PERIOD: Duration = Duration::from_secs(5);

/// How often it is seen whether a will is due.
const WILL_PERIOD: Duration = Duration::from_millis(250);

/// How the broker is set up.
#[derive(Debug, Clone, Default)]
pub struct BrokerConfig {
    /// Its bounds.
    pub limits: Limits,
    /// What it does where several ways are right.
    pub policies: Policies,
    /// Where a client without a user name goes; `None` refuses it.
    pub anonymous: Option<Anonymous>,
    /// How clients prove who they are.
    pub auth: AuthConfig,
    /// What acknowledgements promise.
    pub promises: Promises,
    /// What the clients of a namespace share.
    pub quotas: Quotas,
}

/// The broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read.
    #[error("cannot load the broker's state: {0}")]
    Read(#[from] ReadError),
    /// A key or a secret cannot be had.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

/// The handle of a broker.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    shared: Arc<Shared>,
    spaces: Arc<Spaces>,
    door: Door,
    lobby: Arc<Lobby>,
    tls: TlsInUse,
    stop: watch::Sender<bool>,
}

/// The namespaces that are mounted.
#[derive(Default)]
pub(crate) struct Spaces {
    by_name: RwLock<BTreeMap<Namespace, Arc<Space>>>,
}

impl Spaces {
    pub(crate) fn get(&self, namespace: &Namespace) -> Option<Arc<Space>> {
        self.by_name.read().get(namespace).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        self.by_name.read().values().cloned().collect()
    }

    /// What the broker has counted.
    pub(crate) fn figures(&self, shared: &Shared) -> Figures {
        let mut figures = shared.counters.read();
        figures.log_lines_left_out = shared.journal.left_out();
        for space in self.all() {
            let retained = space.retained().lock();
            figures.retained += retained.count() as u64;
            figures.retained_bytes += retained.bytes() as u64;
            drop(retained);
            figures.sessions += space.session_count() as u64;
        }
        figures.memory_in_use_bytes = shared.memory.in_use();
        figures.memory_watermark_bytes = shared.memory.mark();
        figures.memory_is_short = shared.memory.is_passed().into();
        figures
    }
}

impl Inner {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// Where sockets wait for their CONNACK.
    pub(crate) fn lobby(&self) -> &Arc<Lobby> {
        &self.lobby
    }

    /// The TLS of its listeners.
    pub(crate) fn tls(&self) -> &TlsInUse {
        &self.tls
    }

    /// Resolves when the broker stops accepting.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.subscribe();
        async move {
            // The sender lives as long as the broker; its end is a stop as well.
            let _ = stop.wait_for(|stopped| *stopped).await;
        }
    }
}

impl Broker {
    /// Opens a broker without any socket. Must run inside a tokio runtime.
    pub fn open(
        config: BrokerConfig,
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        let shared = Shared::new(store, clock, entropy, config.limits, config.policies);
        let shared = shared.with_promises(config.promises).with_quotas(config.quotas);
        let shared = Arc::new(shared);
        shared.trust.load(&shared.store, &crate::tls::provider())?;
        let spaces = Arc::new(Spaces::default());
        let authenticator =
            Authenticator::open(Arc::clone(&shared), &config.auth, config.anonymous)?;
        let door = Door {
            shared: Arc::clone(&shared),
            authenticator: Arc::new(authenticator),
            spaces: Arc::clone(&spaces),
        };
        let limits = &shared.limits;
        let lobby = Lobby::new(limits.handshakes_max, limits.handshakes_per_address_max);
        let lobby = Arc::new(lobby);
        let stop = watch::channel(false).0;
        let inner = Arc::new(Inner { shared, spaces, door, lobby, tls: TlsInUse::default(), stop });
        let broker = Self { inner };
        tokio::spawn(sys::run(Arc::clone(&broker.inner.shared), Arc::clone(&broker.inner.spaces)));
        tokio::spawn(memory::watch(
            Arc::clone(&broker.inner.shared),
            Arc::clone(&broker.inner.spaces),
        ));
        tokio::spawn(expire(Arc::clone(&broker.inner.shared), Arc::clone(&broker.inner.spaces)));
        Ok(broker)
    }

    /// Accepts clients on one more socket. Returns where it has been bound.
    pub async fn listen(&self, config: ListenerConfig) -> Result<Endpoint, ListenError> {
        listener::listen(Arc::clone(&self.inner), config).await
    }

    /// Serves a visit: a client on a stream within the process, which asks for somebody who is at `address` and came
    /// by other means, such as HTTP. It proves who it is like any other, and has the same permissions and bounds; only
    /// is its device not taken to be online. Returns when it has ended; without room for it that is at once.
    pub async fn serve_visit(&self, listener: &str, stream: DuplexStream, address: SocketAddr) {
        listener::serve_visit(&self.inner, listener, Box::new(stream), address).await;
    }

    /// Lets clients into a namespace, whose sessions and retained messages are taken out of the store.
    pub fn mount(&self, namespace: &Namespace) -> Result<(), OpenError> {
        let mut spaces = self.inner.spaces.by_name.write();
        if spaces.contains_key(namespace) {
            return Ok(());
        }
        let snapshot = self.inner.shared.store.read()?;
        let space = Space::load(namespace.clone(), Arc::clone(&self.inner.shared), &snapshot)?;
        spaces.insert(namespace.clone(), space);
        Ok(())
    }

    /// Ends a namespace: its clients are disconnected, its sessions and retained messages deleted.
    pub fn unmount(&self, namespace: &Namespace) {
        let Some(space) = self.inner.spaces.by_name.write().remove(namespace) else { return };
        let mut changes = store::Changes::new();
        space.end_all_sessions(&mut changes);
        let prefix = store::prefix(namespace);
        changes.delete_prefix::<RetainedRow>(&prefix);
        changes.delete_prefix::<SessionRow>(&prefix);
        changes.delete_prefix::<GroupRow>(&prefix);
        changes.delete_prefix::<WillRow>(&prefix);
        // What a crash leaves behind is of no namespace that is mounted.
        drop(self.inner.shared.store.submit(changes));
    }

    /// Attaches a part of the platform to a mounted namespace. `None` if it is not mounted, or if the client id is
    /// taken.
    pub fn attach(
        &self,
        namespace: &Namespace,
        client_id: ClientId,
        options: AttachOptions,
    ) -> Option<(Client, Inbox)> {
        self.attach_as(namespace, client_id, Identity::Platform, options)
    }

    /// Attaches a client in process that speaks for `identity`, which whoever calls has to have made sure of. Coming
    /// and going are not told as events.
    pub fn attach_as(
        &self,
        namespace: &Namespace,
        client_id: ClientId,
        identity: Identity,
        options: AttachOptions,
    ) -> Option<(Client, Inbox)> {
        let space = self.inner.spaces.get(namespace)?;
        let shared = &self.inner.shared;
        let sender = Arc::new(Sender { client_id, identity });
        let number = shared.new_connection();
        let now = shared.clock.now();
        let live = Arc::new(Live::new(number, None, Version::V5, now, 0, true));
        let asked = Asked {
            sender,
            clean_start: true,
            expiry_secs: 0,
            is_in_process: true,
            takes_over: false,
            will: None,
        };
        let opened = space.try_open_now(&asked, &live)?;
        let client = Client::new(Arc::clone(&space), Arc::clone(&opened.session));
        let inbox = Inbox::new(space, opened.session, live, options.window, opened.hold);
        Some((client, inbox))
    }

    /// Whether a client of `identity` that is connected now would be given a message on `topic`. Members of shared
    /// groups do not count.
    pub fn is_heard_by(
        &self,
        namespace: &Namespace,
        identity: &Identity,
        topic: &TopicName,
    ) -> bool {
        let space = self.inner.spaces.get(namespace);
        space.is_some_and(|space| space.is_heard_by(identity, topic))
    }

    /// Ends every session of an identity, because its credential is gone or has changed. Returns how many.
    pub fn disconnect_identity(&self, namespace: &Namespace, identity: &Identity) -> usize {
        self.inner.shared.count_permission_change();
        let space = self.inner.spaces.get(namespace);
        space.map_or(0, |space| space.end_sessions_of(identity))
    }

    /// Has what the credential of a name says now count for whoever is connected under it, and for its sessions.
    ///
    /// Role, custom roles and access list change at once, also for whoever came in by an API token: subscriptions that
    /// are no longer allowed end, deliveries that wait and are no longer allowed are dropped and counted. A disabled
    /// name is disconnected (0x87), and so are clients by an API token that is disabled or gone, and one that came in
    /// by a token of another issuer or by a hook (0x98), which has to come in anew. Returns how many sessions it has.
    /// A credential that is gone is the business of [`Broker::disconnect_identity`].
    pub fn permissions_changed(
        &self,
        namespace: &Namespace,
        name: &UserId,
    ) -> Result<usize, ReadError> {
        self.permissions_of_many_changed(namespace, std::slice::from_ref(name))
    }

    /// As [`Broker::permissions_changed`], of several names at once: those of a custom role that has changed.
    pub fn permissions_of_many_changed(
        &self,
        namespace: &Namespace,
        names: &[UserId],
    ) -> Result<usize, ReadError> {
        self.inner.shared.count_permission_change();
        let snapshot = self.inner.shared.store.read()?;
        let mut standings = Vec::with_capacity(names.len());
        for name in names {
            if let Some(standing) = NameStanding::read(&snapshot, namespace, name)? {
                standings.push((name, standing));
            }
        }
        let mut count = 0;
        for space in self.inner.spaces.all() {
            if space.namespace() != namespace && *namespace != system_namespace() {
                continue;
            }
            let mut meant = HashMap::with_capacity(standings.len());
            for (name, standing) in &standings {
                let own = (space.namespace().clone(), (*name).clone());
                // An operator of the whole system may be anywhere where the name is not somebody else's.
                if space.namespace() == namespace || !snapshot.contains::<Credential>(&own)? {
                    meant.insert(name.as_str(), standing);
                }
            }
            count += space.follow(&meant);
        }
        Ok(count)
    }

    /// Says which things are behind which gateways; what is not named stays as it is. A gateway may publish and
    /// subscribe as the things behind it, up to [`GENERATIONS_MAX`](crate::GENERATIONS_MAX) steps. Who is connected
    /// follows at once, as with [`Broker::permissions_changed`]. Returns how many sessions that concerns.
    pub fn set_parents(
        &self,
        namespace: &Namespace,
        relations: Vec<(ThingId, Option<ThingId>)>,
    ) -> usize {
        let space = self.inner.spaces.get(namespace);
        space.map_or(0, |space| space.set_parents(relations))
    }

    /// What the broker has counted.
    pub fn figures(&self) -> Figures {
        let mut figures = self.inner.spaces.figures(&self.inner.shared);
        figures.handshakes = self.inner.lobby.count() as u64;
        figures
    }

    /// Closes the listeners; who is connected stays.
    pub fn stop_accepting(&self) {
        self.inner.shared.is_draining.store(true, Ordering::Release);
        self.inner.stop.send_replace(true);
    }

    /// Stops accepting, tells every client 0x8B, and waits until their sockets are closed or `deadline` is over.
    pub async fn drain(&self, deadline: Duration) {
        self.stop_accepting();
        let ends = tokio::time::Instant::now() + deadline;
        loop {
            for space in self.inner.spaces.all() {
                space.each_connected(|session, live, _, _| {
                    if live.peer.is_some() {
                        live.stop(Reason::ServerShuttingDown);
                        session.wake();
                    }
                });
            }
            let is_empty = self.inner.shared.counters.connections.load(Ordering::Relaxed) == 0;
            if is_empty || tokio::time::Instant::now() >= ends {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Does what is to be done at its time.
async fn expire(shared: Arc<Shared>, spaces: Arc<Spaces>) {
    let mut expires = tokio::time::Instant::now() + EXPIRY_PERIOD;
    loop {
        tokio::time::sleep(WILL_PERIOD).await;
        if shared.is_draining.load(Ordering::Acquire) {
            return;
        }
        let now = shared.clock.now();
        let has_to_expire = tokio::time::Instant::now() >= expires;
        for space in spaces.all() {
            space.publish_due_wills(now);
            if has_to_expire {
                space.expire_sessions(now);
            }
        }
        if has_to_expire {
            expires += EXPIRY_PERIOD;
        }
    }
}
