//! What the broker shows operators of its namespaces, and what they do to it by hand.

use super::Broker;
use crate::inspect::Page;
use crate::inspect::clients::{ClientInfo, ClientQuery, ConnectionInfo};
use crate::inspect::figures::NamespaceFigures;
use crate::inspect::retained::{RetainedInfo, RetainedQuery};
use crate::inspect::subscriptions::{
    GroupInfo, SubscriptionInfo, SubscriptionPlace, SubscriptionQuery,
};
use crate::journal::Endings;
use crate::peer::PeerAddress;
use crate::reason::Reason;
use crate::registrar::Registrar;
use crate::reload::Reloaded;
use crate::space::Ending;
use crate::tls;
use crate::witness::Witness;
use proto::{ClientId, Namespace, Subscription, TopicName};
use std::sync::Arc;
use std::time::Duration;
use store::{Changes, CommitError, ReadError};

/// How long a connection that is told to end with its session is waited for.
const END_TIMEOUT: Duration = Duration::from_secs(5);

impl Broker {
    /// Reads the files of TLS and the keys of tokens again, and says what became of each. What cannot be used changes
    /// nothing. Reads from the disk: not for a thread that others wait for.
    pub fn reload(&self) -> Vec<Reloaded> {
        let mut all = self.inner.tls.reload(&self.inner.shared);
        all.extend(self.inner.door.authenticator.reload_keys());
        all
    }

    /// Has the authorities of all namespaces count as they stand in the store, and ends the connections that have come
    /// in by one of `namespace` that does not count any more, or by the certificate with this fingerprint. How many.
    pub fn authorities_changed(
        &self,
        namespace: &Namespace,
        fingerprint: Option<&str>,
    ) -> Result<usize, ReadError> {
        let shared = &self.inner.shared;
        shared.trust.load(&shared.store, &tls::provider())?;
        let Some(space) = self.inner.spaces.get(namespace) else { return Ok(0) };
        let mut ended = 0;
        space.each_connected(|session, live, _, _| {
            let Some(certificate) = live.peer.as_ref().and_then(|peer| peer.certificate()) else {
                return;
            };
            let Some(authority) = &certificate.authority else { return };
            let is_revoked = fingerprint == Some(certificate.fingerprint.as_str());
            if is_revoked || !shared.trust.has(authority) {
                live.stop(Reason::NotAuthorized);
                session.wake();
                ended += 1;
            }
        });
        Ok(ended)
    }

    /// What there is in a namespace now; all zero if it is not mounted.
    pub fn namespace_figures(&self, namespace: &Namespace) -> NamespaceFigures {
        let space = self.inner.spaces.get(namespace);
        space.map_or_else(NamespaceFigures::default, |space| space.figures())
    }

    /// How often connections have ended and CONNECTs been refused since the start, by reason, in all namespaces.
    pub fn endings(&self) -> Endings {
        self.inner.shared.journal.read()
    }

    /// The clients connected to a namespace, those of the platform among them.
    pub fn connections(&self, namespace: &Namespace) -> Vec<ConnectionInfo> {
        let mut found = Vec::new();
        if let Some(space) = self.inner.spaces.get(namespace) {
            space.each_connected(|session, live, subscriptions, expiry_secs| {
                found.push(ConnectionInfo::read(session, live, subscriptions, expiry_secs));
            });
        }
        found.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        found
    }

    /// At most `limit` clients of a namespace, connected or away, whose client ids come after `after`, in their
    /// order. A page may be shorter and still have a next one. The platform's own are not among them. May read from
    /// the disk: not for a thread that others wait for.
    pub fn clients(
        &self,
        namespace: &Namespace,
        query: &ClientQuery,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Page<ClientInfo, ClientId> {
        match self.inner.spaces.get(namespace) {
            Some(space) => space.clients(query, after, limit),
            None => Page { items: Vec::new(), next: None },
        }
    }

    /// One client; `None` if it has neither connection nor session, or is a part of the platform.
    pub fn client(&self, namespace: &Namespace, client_id: &ClientId) -> Option<ClientInfo> {
        self.inner.spaces.get(namespace)?.client(client_id)
    }

    /// Where a connected client comes from; `None` if it is not connected, or is a part of the platform.
    pub fn address(&self, namespace: &Namespace, client_id: &ClientId) -> Option<PeerAddress> {
        self.inner.spaces.get(namespace)?.address(client_id)
    }

    /// Has somebody told of logins from now on; the first who asks.
    pub fn set_witness(&self, witness: Arc<dyn Witness>) {
        if self.inner.shared.witness.set(witness).is_err() {
            tracing::error!("there is a witness of logins already");
        }
    }

    /// Has somebody register devices that come for the first time; the first who asks.
    pub fn set_registrar(&self, registrar: Arc<dyn Registrar>) {
        if self.inner.shared.registrar.set(registrar).is_err() {
            tracing::error!("there is a registrar of devices already");
        }
    }

    /// Ends the connection of a client with a reason; `false` if it is not connected. Its session stays.
    ///
    /// Reasons are those of `Reason::is_for_operators`; others are as [`Reason::AdministrativeAction`].
    pub fn disconnect(&self, namespace: &Namespace, client_id: &ClientId, reason: Reason) -> bool {
        let space = self.inner.spaces.get(namespace);
        space.is_some_and(|space| space.disconnect(client_id, told(reason)))
    }

    /// Ends a session, and its connection if it has one, and returns when that is durable; `false` if there is none.
    /// A will is published as its connection and session end (MQTT 5.0 3.1.2.5). [`CommitError::Overloaded`] if the
    /// connection has not ended within five seconds; it has been told to, and asking again is safe.
    pub async fn end_session(
        &self,
        namespace: &Namespace,
        client_id: &ClientId,
        reason: Reason,
    ) -> Result<bool, CommitError> {
        let Some(space) = self.inner.spaces.get(namespace) else { return Ok(false) };
        let changes = match space.end_session(client_id, told(reason)) {
            Ending::Unknown => return Ok(false),
            Ending::Away(changes) => changes,
            Ending::Connected(live) => {
                let ended = tokio::time::timeout(END_TIMEOUT, live.gone()).await;
                // It has been told and ends when its task has its turn, but that it has is not to be said yet.
                ended.map_err(|_| CommitError::Overloaded)?;
                // What it has submitted on its way out comes before this in the store.
                Changes::new()
            }
        };
        self.inner.shared.store.commit(changes).await.map(|()| true)
    }

    /// At most `limit` subscriptions of a namespace after a place, by client id and filter, those of clients that are
    /// away among them. A page may be shorter and still have a next one.
    pub fn subscriptions(
        &self,
        namespace: &Namespace,
        query: &SubscriptionQuery,
        after: Option<&SubscriptionPlace>,
        limit: usize,
    ) -> Page<SubscriptionInfo, SubscriptionPlace> {
        match self.inner.spaces.get(namespace) {
            Some(space) => space.subscriptions(query, after, limit),
            None => Page { items: Vec::new(), next: None },
        }
    }

    /// One subscription, with its group if it is shared.
    pub fn subscription(
        &self,
        namespace: &Namespace,
        client_id: &ClientId,
        subscription: &Subscription,
    ) -> Option<(SubscriptionInfo, Option<GroupInfo>)> {
        self.inner.spaces.get(namespace)?.subscription(client_id, subscription)
    }

    /// Ends a subscription of a client, which is not told, and returns when that is durable; `false` if there is none.
    pub async fn end_subscription(
        &self,
        namespace: &Namespace,
        client_id: &ClientId,
        subscription: &Subscription,
    ) -> Result<bool, CommitError> {
        let space = self.inner.spaces.get(namespace);
        match space.and_then(|space| space.end_subscription(client_id, subscription)) {
            Some(commit) => commit.await.map(|()| true),
            None => Ok(false),
        }
    }

    /// At most `limit` retained messages of topics after a name, in their order. A page may be shorter and still have
    /// a next one: when its payloads weigh a mebibyte, or when looking has taken its time. Reads from the disk.
    pub fn retained(
        &self,
        namespace: &Namespace,
        query: &RetainedQuery,
        after: Option<&TopicName>,
        limit: usize,
    ) -> Page<RetainedInfo, TopicName> {
        match self.inner.spaces.get(namespace) {
            Some(space) => space.retained_list(query, after, limit),
            None => Page { items: Vec::new(), next: None },
        }
    }

    /// The retained message of a topic, with payload and properties. Reads from the disk.
    pub fn retained_message(
        &self,
        namespace: &Namespace,
        topic: &TopicName,
    ) -> Option<RetainedInfo> {
        self.inner.spaces.get(namespace)?.retained_info(topic)
    }

    /// Deletes the retained messages of some topics as one, and returns when that is durable. Nobody is told:
    /// subscribers have had them.
    pub async fn delete_retained(
        &self,
        namespace: &Namespace,
        topics: Vec<TopicName>,
    ) -> Result<(), CommitError> {
        match self.inner.spaces.get(namespace) {
            Some(space) if !topics.is_empty() => space.delete_retained(topics).await,
            _ => Ok(()),
        }
    }
}

/// The reason that a client is told when an operator gives this one.
fn told(reason: Reason) -> Reason {
    if reason.is_for_operators() { reason } else { Reason::AdministrativeAction }
}
