//! One namespace of the broker: its subscriptions, retained messages and sessions.
//!
//! A client is mounted in one space and holds nothing that leads to another: topics, retained messages, wills,
//! shared groups and sessions of two namespaces cannot meet. [`sessions`] holds the coming and going of sessions,
//! [`subscriptions`] what they ask for, [`groups`] what they share, [`wills`] what is said for
//! them, [`inspect`] what operators see of them.

mod groups;
mod inspect;
mod retained;
mod sessions;
mod subscriptions;
mod wills;

pub(crate) use inspect::Ending;
pub(crate) use retained::Walk;
pub(crate) use sessions::{Asked, Carried, Leaving, Opened};
pub(crate) use subscriptions::Wish;
pub(crate) use wills::Will;

use crate::alarms::Alarms;
use crate::config::{Limits, Policies};
use crate::durable::rows::SessionRow;
use crate::figures::Counters;
use crate::inspect::rates::Meter;
use crate::journal::Journal;
use crate::message::{Message, Properties, Sender};
use crate::outbox::Outbox;
use crate::overload::memory::Watermark;
use crate::overload::quota::{Quota, Quotas};
use crate::permissions::Kin;
use crate::promises::Promises;
use crate::reason::Reason;
use crate::recorder::Recorder;
use crate::registrar::Registrar;
use crate::router::Router;
use crate::session::Session;
use crate::session::queue::Bounds;
use crate::tls::trust::Trust;
use crate::witness::Witness;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use proto::{ClientId, Clock, Entropy, Identity, Namespace, Qos, Role, TopicName, hops};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use store::{Durability, SessionKey, Snapshot, Store};
use tokio::time::Instant;

/// What all spaces of a broker share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) limits: Limits,
    pub(crate) policies: Policies,
    pub(crate) counters: Counters,
    pub(crate) journal: Journal,
    pub(crate) memory: Watermark,
    /// Those of the queues of all sessions.
    pub(crate) queue_bounds: Arc<Bounds>,
    pub(crate) is_draining: AtomicBool,
    /// Wakes connections whose clients may have fallen silent.
    pub(crate) alarms: Arc<Alarms>,
    /// The authorities of all namespaces.
    pub(crate) trust: Arc<Trust>,
    /// Who is told of logins.
    pub(crate) witness: OnceLock<Arc<dyn Witness>>,
    /// Who registers devices that come for the first time.
    pub(crate) registrar: OnceLock<Arc<dyn Registrar>>,
    /// The sender of what the broker itself says.
    voice: Arc<Sender>,
    promises: Promises,
    quotas: Quotas,
    /// The figures as last published.
    pub(crate) sys: crate::sys::Latest,
    next_session: AtomicU64,
    next_connection: AtomicU64,
    /// How often permissions have changed for whoever is connected.
    permission_changes: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Limits,
        policies: Policies,
    ) -> Self {
        Self {
            store,
            clock,
            entropy,
            memory: Watermark::new(limits.memory_bytes_max),
            queue_bounds: Arc::new(Bounds::of(&limits, &policies)),
            limits,
            policies,
            counters: Counters::default(),
            journal: Journal::default(),
            is_draining: AtomicBool::new(false),
            alarms: Alarms::start(),
            trust: Arc::default(),
            witness: OnceLock::new(),
            registrar: OnceLock::new(),
            voice: Arc::new(voice()),
            promises: Promises::default(),
            quotas: Quotas::default(),
            sys: crate::sys::Latest::new(Arc::from([])),
            next_session: AtomicU64::new(1),
            next_connection: AtomicU64::new(1),
            permission_changes: AtomicU64::new(0),
        }
    }

    pub(crate) fn with_promises(self, promises: Promises) -> Self {
        Self { promises, ..self }
    }

    pub(crate) fn with_quotas(self, quotas: Quotas) -> Self {
        Self { quotas, ..self }
    }

    /// The sender of what the broker itself says.
    pub(crate) fn voice(&self) -> &Arc<Sender> {
        &self.voice
    }

    /// Whether new work of a client is refused because memory is short. Somebody has to be able to act.
    pub(crate) fn is_short_for(&self, sender: &Sender) -> bool {
        self.memory.is_passed() && !sender.identity.role().is_admin()
    }

    /// A key that no session of this store has.
    pub(crate) fn new_session_key(&self) -> SessionKey {
        SessionKey(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// A number that rises with each connection.
    pub(crate) fn new_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// How often permissions have changed for whoever is connected.
    pub(crate) fn permission_changes(&self) -> u64 {
        self.permission_changes.load(Ordering::SeqCst)
    }

    /// Permissions change: told before sessions are looked at, so that whoever is connecting meanwhile sees it.
    pub(crate) fn count_permission_change(&self) {
        self.permission_changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until a subscriber that has fallen behind has room again, or for a bounded moment in vain.
    pub(crate) async fn wait_for(&self, session: &Session) {
        if session.queue().is_stuck(Instant::now()) {
            return;
        }
        Counters::add(&self.counters.publisher_stalls, 1);
        let wait_ms = match session.is_in_process() {
            true => self.limits.platform_wait_ms,
            false => self.limits.slow_subscriber_wait_ms,
        };
        let has_room =
            std::future::poll_fn(|cx| match session.queue().wait_for_room(cx.waker(), false) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
        if tokio::time::timeout(Duration::from_millis(wait_ms), has_room).await.is_err() {
            session.queue().give_up(Instant::now());
        }
    }

    fn know_session_key(&self, key: SessionKey) {
        self.next_session.fetch_max(key.0 + 1, Ordering::Relaxed);
    }
}

fn voice() -> Sender {
    match ClientId::parse("$broker") {
        Ok(client_id) => Sender { client_id, identity: Identity::Platform },
        Err(error) => unreachable!("a constant: {error}"),
    }
}

/// A namespace.
pub(crate) struct Space {
    namespace: Namespace,
    durability: Durability,
    quota: Arc<Quota>,
    shared: Arc<Shared>,
    router: Router,
    retained: Mutex<crate::retained::Retained>,
    sessions: Mutex<sessions::Sessions>,
    /// Which things are behind which gateway.
    kin: Arc<Kin>,
    /// Its name on the path of messages over bridges, once it has bridges.
    origin: OnceLock<Box<str>>,
    recorder: OnceLock<Arc<dyn Recorder>>,
    groups: Mutex<groups::Groups>,
    wills: Mutex<wills::Wills>,
    meter: Mutex<Meter>,
    /// Nobody but operators of the whole system comes in for now.
    is_closed: AtomicBool,
}

impl Space {
    /// The space of a namespace, with its sessions out of the store. Retained messages stay there; how many they are
    /// is found out in the background.
    pub(crate) fn load(
        namespace: Namespace,
        shared: Arc<Shared>,
        snapshot: &Snapshot,
    ) -> Result<Arc<Self>, store::ReadError> {
        let space = Arc::new(Self {
            durability: shared.promises.of(&namespace),
            quota: Arc::new(Quota::new(shared.quotas.of(&namespace), Instant::now())),
            namespace,
            shared,
            router: Router::default(),
            retained: Mutex::default(),
            sessions: Mutex::default(),
            kin: Arc::default(),
            origin: OnceLock::new(),
            recorder: OnceLock::new(),
            groups: Mutex::default(),
            wills: Mutex::default(),
            meter: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        let prefix = store::prefix(&space.namespace);
        if retained::has_any(snapshot, &space.namespace)? {
            *space.retained.lock() = crate::retained::Retained::loading();
            let space = Arc::clone(&space);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = space.weigh_retained() {
                    tracing::error!(%error, "cannot count the retained messages");
                }
            });
        }
        space.load_groups(snapshot)?;
        let mut received = sessions::received(&[], snapshot)?;
        for row in snapshot.scan::<SessionRow>(&prefix)? {
            match row {
                Ok((_, row)) => space.restore_session(row, &mut received),
                Err(error) => tracing::error!(%error, "a session is left out"),
            }
        }
        space.resume_groups(snapshot)?;
        space.load_wills(snapshot)?;
        Ok(space)
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Which things are behind which gateway.
    pub(crate) fn kin(&self) -> &Arc<Kin> {
        &self.kin
    }

    /// What its messages have survived when they are acknowledged.
    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether nobody but operators of the whole system comes in for now.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Lets clients in or not; of those that are there, those of the platform and operators of the whole system stay.
    /// Returns how many have to go.
    pub(crate) fn set_closed(&self, is_closed: bool) -> usize {
        // Before anybody is told to go: who comes in meanwhile looks at it once it has its session.
        self.is_closed.store(is_closed, Ordering::SeqCst);
        let mut told = 0;
        if is_closed {
            self.each_connected(|session, live, _, _| {
                let role = session.identity().role();
                if live.peer.is_some() && role != Role::SystemAdmin {
                    live.stop(Reason::NotAuthorized);
                    session.wake();
                    told += 1;
                }
            });
        }
        told
    }

    /// What its clients share.
    /// The bytes that may wait on the disk for its sessions, if they do and a message of this sender has to keep to it.
    pub(crate) fn backlog_full_for(&self, sender: &Sender) -> Option<u64> {
        // Parts of the platform answer to what was let in before; somebody has to be able to act.
        let is_free = matches!(sender.identity.role(), Role::SystemAdmin);
        self.quota.backlog().full().filter(|_| !is_free)
    }

    pub(crate) fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    pub(crate) fn retained(&self) -> &Mutex<crate::retained::Retained> {
        &self.retained
    }

    /// What its sessions hold in memory, in bytes, at least.
    pub(crate) fn held_bytes(&self) -> u64 {
        const SESSION_BYTES: usize = 1024;
        const SUBSCRIPTION_BYTES: usize = 256;
        let held = |known: &sessions::Known| {
            let subscriptions = known.subscriptions.len() * SUBSCRIPTION_BYTES;
            (SESSION_BYTES + subscriptions + known.session.queue().len_bytes()) as u64
        };
        self.sessions.lock().by_client.values().map(held).sum()
    }

    /// See [`crate::Client::set_recorder`].
    pub(crate) fn set_recorder(&self, recorder: Arc<dyn Recorder>) {
        let _ = self.recorder.set(recorder);
    }

    /// Who keeps what this client publishes on this topic, if anybody does.
    pub(crate) fn recorder_of(
        &self,
        topic: &TopicName,
        sender: &Sender,
    ) -> Option<&Arc<dyn Recorder>> {
        self.recorder.get().filter(|recorder| recorder.wants(topic, sender))
    }

    /// See [`crate::Client::set_origin`].
    pub(crate) fn set_origin(&self, origin: &str) {
        let _ = self.origin.set(origin.into());
    }

    /// Whether a message with these properties has been in this namespace before.
    pub(crate) fn has_passed(&self, properties: &Properties) -> bool {
        let Some(origin) = self.origin.get() else { return false };
        let path =
            hops::path_of(properties.user_properties.iter().map(|(name, value)| (name, value)));
        path.is_some_and(|path| hops::leads_through(path, origin))
    }

    /// The key of the row of a retained message.
    pub(crate) fn retained_key(&self, topic: &TopicName) -> (Namespace, TopicName) {
        (self.namespace.clone(), topic.clone())
    }

    /// Publishes on behalf of nobody who waits: the broker's own events.
    pub(crate) fn publish_unattended(self: &Arc<Self>, message: Message) {
        self.publish_shared(&Arc::new(message));
    }

    /// The same with a message that several spaces share.
    pub(crate) fn publish_shared(self: &Arc<Self>, message: &Arc<Message>) {
        let mut way = self.router.way(&message.topic);
        let mut outbox = Outbox::of(self);
        let _ = outbox.publish(self, &mut way, message, &Arc::new(AtomicWaker::new()));
        outbox.flush(&self.shared);
    }

    /// Whether a client of `identity` that is connected would be given a message on `topic`.
    pub(crate) fn is_heard_by(&self, identity: &Identity, topic: &TopicName) -> bool {
        let way = self.router.way(topic);
        way.route().targets.iter().any(|target| {
            let session = &target.session;
            session.is_connected()
                && session.identity().is_same_as(identity)
                && session.may_receive(topic)
        })
    }

    /// Publishes an event of the broker, if anybody listens.
    pub(crate) fn publish_event(
        self: &Arc<Self>,
        topic: TopicName,
        sender: &Arc<Sender>,
        payload: impl FnOnce() -> serde_json::Value,
    ) {
        let way = self.router.way(&topic);
        if way.route().is_empty() {
            return;
        }
        self.publish_unattended(Message {
            topic,
            payload: Bytes::from(payload().to_string()),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: None,
            sender: Arc::clone(sender),
            expires_at: None,
            gate: None,
        });
    }
}
