//! What an operation has at hand, and what it returns: an answer, and what has to be kept for it to
//! be true.

use super::act::Act;
use super::live::Live;
use super::request::{Body, Caller};
use crate::backups::restore::Restore;
use crate::context::Context;
use crate::device::Order;
use crate::device::row::{ThingKey, ThingRow};
use crate::registry::index;
use broker::credential::{Credential, CredentialIdentity, CredentialKey};
use broker::{AclRule, Client, Outgoing, Reason};
use proto::platform::EventTopic;
use proto::{
    BridgeId, ClientId, CommandId, DriverId, EdgeId, Identity, Namespace, PlatformTopic, Qos,
    Refusal, RoleId, TenantId, ThingId, TimestampMs, UserId,
};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Changes, ReadError, Row, Snapshot};

/// A request on its way through an operation.
pub(super) struct Request<'a> {
    pub(super) context: &'a Context,
    pub(super) namespace: &'a Namespace,
    pub(super) caller: &'a Caller,
    pub(super) body: Body,
    /// Reads what is retained on the bus.
    pub(super) client: &'a Client,
    pub(super) snapshot: Arc<Snapshot>,
}

/// What an operation leads to.
#[derive(Default)]
pub(super) struct Plan {
    /// The answer.
    pub(super) data: Json,
    /// The rows to keep.
    pub(super) changes: Changes,
    /// What to say in the same commit.
    pub(super) messages: Vec<Outgoing>,
    /// Who commits it.
    pub(super) owner: Owner,
    /// A secret to be hashed first; the credential becomes part of the commit.
    pub(super) hash: Option<SecretToHash>,
    /// What follows the commit.
    pub(super) after: Vec<After>,
    /// What a machine has to be asked, which is then the answer; nothing else of the plan counts.
    pub(super) live: Option<Live>,
}

/// The actor that commits a plan, because the rows are its own.
#[derive(Default)]
pub(super) enum Owner {
    /// The admin API itself.
    #[default]
    Admin,
    /// A device, whose registration changes.
    ChangedDevice(ThingId, Box<ThingRow>),
    /// A device, which is deleted.
    RetiredDevice(ThingId),
    /// A device, which is asked for a command or told to end one.
    Command(ThingId, Box<Order>),
    /// The edge node, which restarts a driver.
    Driver(DriverId),
    /// The bridges, which restart one.
    Bridge(BridgeId),
    /// The broker, which has to do something first.
    Broker(Act),
    /// The node, which is going to make a backup.
    Backup(String),
    /// The node, which is going to put a tenant back.
    Restore(Restore),
    /// The node, which deletes a backup.
    DeletedBackup(String),
    /// The cluster, which starts a tenant.
    StartedProject(Namespace),
    /// The cluster, which ends a tenant.
    EndedProject(Namespace),
}

/// A secret that takes tens of milliseconds to hash.
pub(super) struct SecretToHash {
    pub(super) key: CredentialKey,
    pub(super) identity: CredentialIdentity,
    pub(super) secret: String,
    pub(super) terms: Terms,
}

/// What a credential says besides its secret.
#[derive(Default)]
pub(super) struct Terms {
    /// What its bearer may do within its role; `None`: all of it.
    pub(super) acl: Option<Vec<AclRule>>,
    /// The custom roles of its bearer.
    pub(super) roles: Vec<RoleId>,
    /// Whether nobody comes in with it for now.
    pub(super) is_disabled: bool,
    /// Of a user: which state of it that is.
    pub(super) revision: u64,
}

impl Terms {
    /// Those of a credential, or none.
    pub(super) fn of(credential: Option<Credential>) -> Self {
        credential.map_or_else(Self::default, |it| Self {
            acl: it.acl,
            roles: it.roles,
            is_disabled: it.is_disabled,
            revision: it.revision,
        })
    }

    /// Puts a credential on them.
    pub(super) fn put_on(self, credential: Credential) -> Credential {
        let credential = credential.on_terms(self.acl, self.roles, self.is_disabled);
        Credential { revision: self.revision, ..credential }
    }
}

/// What follows a commit.
pub(super) enum After {
    /// Ends the sessions of an identity whose credential is gone or has changed.
    EndSessions(Namespace, Identity),
    /// Has what credentials, roles and tokens say count for whoever is connected under these names.
    Permissions(Namespace, Vec<UserId>),
    /// Has what the rows of authorities say count, and that a certificate with this fingerprint has been taken back.
    Certificates(Namespace, Option<String>),
    /// Has what the rows of projects and their tenant say count.
    Tenancy(Vec<Namespace>),
    /// Has connections to machines look again at whether these are trusted.
    Trust,
    /// Has the rules of a namespace be read anew.
    Rules(Namespace),
    /// Tells the members of a broadcast.
    Broadcast(CommandId),
    /// Has gateways speak for these things, and their devices know what they are now.
    Registered(Vec<(ThingId, ThingRow)>),
    /// Has edge nodes be given what has changed of these things.
    Due(Vec<(EdgeId, ThingId)>),
    /// Ends one connection.
    Disconnect(ClientId, Reason),
    /// Ends one session, and its connection.
    EndSession(ClientId, Reason),
    /// Makes a backup, of one tenant or of everything.
    Backup(String, Option<TenantId>),
    /// Puts a tenant back.
    Restore(Restore),
}

impl After {
    /// Whether it is done before the answer, since whoever reads that may rely on it.
    pub(super) fn is_at_once(&self) -> bool {
        matches!(
            self,
            Self::Permissions(..)
                | Self::Certificates(..)
                | Self::Tenancy(..)
                | Self::Registered(_)
                | Self::Rules(_)
                | Self::Trust
        )
    }
}

impl Plan {
    /// The answer is that of a machine.
    pub(super) fn ask(live: Live) -> Self {
        Self { live: Some(live), ..Self::default() }
    }

    /// An answer that changes nothing.
    pub(super) fn answer(data: Json) -> Self {
        Self { data, ..Self::default() }
    }

    /// Keeps what a thing is now, and tells who has to know.
    pub(super) fn put_thing(&mut self, key: &ThingKey, before: Option<&ThingRow>, row: &ThingRow) {
        index::put(&mut self.changes, key, before, row);
        self.is_due(&key.1, [before, Some(row)]);
    }

    /// The edge nodes that a thing was at, or is, are to be told.
    pub(super) fn is_due(&mut self, thing: &ThingId, rows: [Option<&ThingRow>; 2]) {
        let edges: BTreeSet<&EdgeId> = rows.into_iter().flatten().flat_map(|it| &it.edge).collect();
        if !edges.is_empty() {
            let due = edges.into_iter().map(|edge| (edge.clone(), thing.clone()));
            self.after.push(After::Due(due.collect()));
        }
    }
}

impl Request<'_> {
    /// Now.
    pub(super) fn now(&self) -> TimestampMs {
        self.context.now()
    }

    /// The body as what the operation takes.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        self.body.clone().read()
    }

    /// A row of the snapshot.
    pub(super) fn get<R: Row>(&self, key: &R::Key) -> Result<Option<R>, Refusal> {
        self.snapshot.get::<R>(key).map_err(|error| unreadable(&error))
    }

    /// A row of the snapshot that has to be there.
    pub(super) fn must_get<R: Row>(
        &self,
        key: &R::Key,
        what: &str,
        name: impl std::fmt::Display,
    ) -> Result<R, Refusal> {
        self.get::<R>(key)?.ok_or_else(|| Refusal::not_found(what, name))
    }

    /// All rows below a prefix; one that cannot be read refuses the request.
    pub(super) fn scan<R: Row>(&self, prefix: &[u8]) -> Result<Vec<(R::Key, R)>, Refusal> {
        let found = self.snapshot.scan::<R>(prefix).map_err(|error| unreadable(&error))?;
        found.into_iter().map(|row| row.map_err(|error| unreadable(&error))).collect()
    }

    /// The credential of a device or user: at once for a secret with entropy enough, else by way of the
    /// plan.
    pub(super) fn set_secret(
        &self,
        plan: &mut Plan,
        key: CredentialKey,
        identity: CredentialIdentity,
        secret: String,
        terms: Terms,
    ) {
        // 20 bytes of any made secret; what a person would choose is shorter, and wants the slow
        // hash.
        const STRONG_BYTES_MIN: usize = 20;
        if secret.len() >= STRONG_BYTES_MIN {
            let entropy = &*self.context.outside.entropy;
            let credential = terms.put_on(Credential::device(identity, &secret, entropy));
            plan.changes.put::<Credential>(&key, &credential);
        } else {
            plan.hash = Some(SecretToHash { key, identity, secret, terms });
        }
    }

    /// The event that tells of a change of a thing.
    pub(super) fn thing_event(&self, thing: &ThingId, event: &str) -> Outgoing {
        let topic = PlatformTopic::Event(EventTopic::Thing(thing.clone())).topic();
        let payload =
            serde_json::json!({ "t": self.now(), "event": event, "by": self.caller.name });
        Outgoing::new(topic, payload.to_string()).qos(Qos::AtLeastOnce)
    }
}

/// A retained message that clears what is retained at a topic.
pub(super) fn cleared(topic: &PlatformTopic) -> Outgoing {
    Outgoing::new(topic.topic(), Vec::new()).qos(Qos::AtLeastOnce).retained()
}

/// The refusal of a request whose rows cannot be read.
pub(super) fn unreadable(error: &ReadError) -> Refusal {
    tracing::error!(%error, "a row cannot be read");
    Refusal::internal(error)
}
