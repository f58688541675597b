//! The sessions of one namespace: opened, taken over, resumed, left, expired (MQTT 5.0 3.1.2.4, 3.1.2.11.2, 4.1).
//!
//! A session belongs to the identity that began it: another one cannot take over its client id. A session with an
//! expiry has a row in the store from its CONNACK on, and its subscriptions from their SUBACK on.

mod permits;
mod restore;

pub(super) use restore::received;

use super::{Space, Will};
use crate::connection::replay::Replay;
use crate::durable::rows::{ReceivedRow, SessionRow, StoredSubscription};
use crate::live::{Grip, Live};
use crate::message::Sender;
use crate::packet::Options;
use crate::reason::Reason;
use crate::session::Session;
use crate::session::machine::Kept;
use hashbrown::HashMap;
use proto::{ClientId, Identity, Namespace, Role, Subscription, TimestampMs, TopicName};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use store::Changes;

/// How long a client waits for the connection it takes over to let go.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// All sessions of a namespace.
#[derive(Default)]
pub(crate) struct Sessions {
    pub(super) by_client: HashMap<ClientId, Known>,
}

pub(super) struct Known {
    pub(super) session: Arc<Session>,
    pub(super) subscriptions: HashMap<Subscription, (Options, Option<NonZeroU32>)>,
    /// Seconds it outlives its connection; 0 ends with it.
    pub(super) expiry_secs: u32,
    /// Seconds that the will of its connection waits; `None` if it has none.
    pub(super) will_delay_secs: Option<u32>,
    pub(super) presence: Presence,
}

pub(super) enum Presence {
    Connected { live: Arc<Live> },
    Away { since: TimestampMs, carried: Box<Carried> },
}

/// What a connection leaves to the next one of its session.
#[derive(Default)]
pub(crate) struct Carried {
    pub(crate) kept: Kept,
    /// Retained messages that were still to be sent after a SUBSCRIBE.
    pub(crate) replay: Replay,
}

/// What a client asks for at CONNECT.
pub(crate) struct Asked {
    pub(crate) sender: Arc<Sender>,
    pub(crate) clean_start: bool,
    pub(crate) expiry_secs: u32,
    pub(crate) is_in_process: bool,
    /// Whether it has had another connection of its session end.
    pub(crate) takes_over: bool,
    pub(crate) will: Option<Will>,
}

/// What it gets.
pub(crate) struct Opened {
    pub(crate) session: Arc<Session>,
    pub(crate) is_present: bool,
    pub(crate) carried: Carried,
    /// Dropped when the connection has let go of the session.
    pub(crate) hold: Grip,
    /// To be committed before the client is told.
    pub(crate) changes: Changes,
}

/// How a connection leaves its session.
pub(crate) struct Leaving {
    pub(crate) carried: Carried,
    pub(crate) expiry_secs: u32,
    /// Whether it is lost, so that its will speaks for it.
    pub(crate) with_will: bool,
}

impl Sessions {
    /// Since when the client of a session is lost, and how many seconds the session outlives that.
    pub(super) fn lost(&self, client_id: &ClientId) -> Option<(TimestampMs, u32)> {
        let known = self.by_client.get(client_id)?;
        match &known.presence {
            Presence::Away { since, .. } => Some((*since, known.expiry_secs)),
            Presence::Connected { .. } => None,
        }
    }
}

impl Space {
    /// Opens, resumes or takes over the session of a client.
    pub(crate) async fn open_session(
        self: &Arc<Self>,
        mut asked: Asked,
        live: &Arc<Live>,
    ) -> Result<Opened, Reason> {
        let deadline = tokio::time::Instant::now() + TAKEOVER_TIMEOUT;
        loop {
            let holder = match self.try_open(&asked, live)? {
                Ok(opened) => return Ok(opened),
                Err(holder) => holder,
            };
            asked.takes_over = true;
            if tokio::time::timeout_at(deadline, holder.gone()).await.is_err() {
                return Err(Reason::ServerUnavailable);
            }
        }
    }

    /// Opens a new session at once; `None` if the client id is taken.
    pub(crate) fn try_open_now(
        self: &Arc<Self>,
        asked: &Asked,
        live: &Arc<Live>,
    ) -> Option<Opened> {
        self.try_open(asked, live).ok()?.ok()
    }

    /// Opens the session at once, or has the connection that holds it end.
    fn try_open(
        self: &Arc<Self>,
        asked: &Asked,
        live: &Arc<Live>,
    ) -> Result<Result<Opened, Arc<Live>>, Reason> {
        let mut sessions = self.sessions.lock();
        let mut changes = Changes::new();
        let now = self.shared.clock.now();
        let client_id = &asked.sender.client_id;
        if let Some(known) = sessions.by_client.get_mut(client_id) {
            if !known.session.identity().is_same_as(&asked.sender.identity) {
                return Err(Reason::ClientIdNotValid);
            }
            match &mut known.presence {
                // Its task has ended without leaving: a fault of ours that the session survives.
                Presence::Connected { live: holder } if holder.is_gone() => {
                    tracing::error!(client = %client_id, "a connection ended without leaving its session");
                    let carried = self.carried_by_the_store(known.session.key());
                    known.session.queue().lose_owner();
                    if known.will_delay_secs.take().is_some() {
                        self.publish_will(client_id);
                    }
                    let since = self.shared.clock.now();
                    known.presence = Presence::Away { since, carried: Box::new(carried) };
                    drop(sessions);
                    return self.try_open(asked, live);
                }
                Presence::Connected { live: holder } => {
                    holder.stop(Reason::SessionTakenOver);
                    known.session.wake();
                    return Ok(Err(Arc::clone(holder)));
                }
                Presence::Away { carried, since }
                    if !asked.clean_start && !is_over(known.expiry_secs, *since, now) =>
                {
                    let carried = std::mem::take(carried);
                    let opened = self.resume(known, *carried, asked, live);
                    self.enter_groups(&mut sessions, client_id);
                    return Ok(Ok(opened));
                }
                Presence::Away { .. } => {}
            }
            if let Some(known) = sessions.by_client.remove(client_id) {
                self.discard(&known, &mut changes);
            }
        } else if !self.has_room_for(asked) {
            return Err(Reason::QuotaExceeded);
        }
        let known = self.begin(asked);
        let opened = self.hold(&known.session, live, false, Carried::default());
        let (mut opened, presence) = opened;
        let known = Known { presence, ..known };
        self.keep_will(&asked.sender, asked.will.as_ref(), &mut changes);
        if known.expiry_secs > 0 {
            // After a restart a key may be one that a session long gone has had: nothing of that may be left.
            changes.dequeue_all(known.session.key());
            changes.delete_prefix::<ReceivedRow>(&ReceivedRow::prefix(known.session.key()));
            let (key, row) = self.row(&known, None);
            changes.put(&key, &row);
        }
        opened.changes = changes;
        if !asked.is_in_process {
            self.quota.session_began();
        }
        sessions.by_client.insert(client_id.clone(), known);
        Ok(Ok(opened))
    }

    /// Whether a session may begin. That of a client that has taken over its own has just ended.
    fn has_room_for(&self, asked: &Asked) -> bool {
        let is_free = asked.takes_over || asked.sender.identity.role() == Role::SystemAdmin;
        is_free || self.quota.has_session_room()
    }

    fn begin(&self, asked: &Asked) -> Known {
        let shared = &self.shared;
        let session = Arc::new(Session::new(
            shared.new_session_key(),
            Arc::clone(&asked.sender),
            asked.is_in_process,
            Arc::clone(&shared.queue_bounds),
            self.quota.backlog(),
        ));
        session.permit(session.permissions().within(&self.kin));
        session.queue().connect(asked.expiry_secs > 0);
        Known {
            session,
            subscriptions: HashMap::new(),
            expiry_secs: asked.expiry_secs,
            will_delay_secs: asked.will.as_ref().map(|will| will.delay_secs),
            presence: Presence::Away { since: TimestampMs(0), carried: Box::default() },
        }
    }

    fn resume(
        &self,
        known: &mut Known,
        carried: Carried,
        asked: &Asked,
        live: &Arc<Live>,
    ) -> Opened {
        known.session.read_queue(&self.shared.store).connect(true);
        known.expiry_secs = asked.expiry_secs;
        known.will_delay_secs = asked.will.as_ref().map(|will| will.delay_secs);
        let (mut opened, presence) = self.hold(&known.session, live, true, carried);
        known.presence = presence;
        let (key, row) = self.row(known, None);
        opened.changes.put(&key, &row);
        self.keep_will(&asked.sender, asked.will.as_ref(), &mut opened.changes);
        opened
    }

    fn hold(
        &self,
        session: &Arc<Session>,
        live: &Arc<Live>,
        is_present: bool,
        carried: Carried,
    ) -> (Opened, Presence) {
        session.set_connected(true);
        let session = Arc::clone(session);
        let hold = live.grip();
        let opened = Opened { session, is_present, carried, hold, changes: Changes::new() };
        (opened, Presence::Connected { live: Arc::clone(live) })
    }

    /// The connection lets go: the session ends, or waits for the next one.
    pub(crate) fn leave_session(self: &Arc<Self>, session: &Arc<Session>, leaving: Leaving) {
        let mut sessions = self.sessions.lock();
        let client_id = &session.sender().client_id;
        let Some(known) = sessions.by_client.get_mut(client_id) else { return };
        session.set_connected(false);
        let sent_seq = leaving.carried.kept.sent_seq();
        session.queue().disconnect(sent_seq);
        let mut changes = Changes::new();
        known.expiry_secs = leaving.expiry_secs;
        let mut leaving = leaving;
        let released = known.will_delay_secs.take().and_then(|delay_secs| {
            if leaving.with_will {
                return Some(delay_secs.min(leaving.expiry_secs));
            }
            self.dismiss_will(client_id, &mut changes);
            None
        });
        self.step_out_of_groups(known, &mut leaving.carried);
        if leaving.expiry_secs == 0 {
            if let Some(known) = sessions.by_client.remove(client_id) {
                self.discard(&known, &mut changes);
            }
        } else {
            let since = self.shared.clock.now();
            known.presence = Presence::Away { since, carried: Box::new(leaving.carried) };
            let (key, row) = self.row(known, Some(since));
            changes.put(&key, &SessionRow { sent_seq: Some(sent_seq), ..row });
        }
        drop(sessions);
        if let Some(wait_secs) = released {
            self.release_will(client_id, wait_secs);
        }
        if !changes.is_empty() {
            // Nobody waits: after a crash the session is found as it was, and expires later at worst.
            drop(self.shared.store.submit(changes));
        }
    }

    /// Ends the sessions whose time has come.
    pub(crate) fn expire_sessions(self: &Arc<Self>, now: TimestampMs) {
        let mut changes = Changes::new();
        self.sessions.lock().by_client.retain(|_, known| {
            let Presence::Away { since, .. } = &known.presence else { return true };
            let is_over = is_over(known.expiry_secs, *since, now);
            if is_over {
                self.discard(known, &mut changes);
            }
            !is_over
        });
        if !changes.is_empty() {
            drop(self.shared.store.submit(changes));
        }
    }

    /// Forgets every session that nobody holds, and has those that are held end.
    pub(crate) fn end_all_sessions(self: &Arc<Self>, changes: &mut Changes) {
        self.sessions.lock().by_client.retain(|_, known| {
            if let Presence::Connected { live } = &known.presence {
                live.end_session(Reason::AdministrativeAction);
                known.session.wake();
                return true;
            }
            self.discard(known, changes);
            false
        });
    }

    /// Forgets a session and everything of it.
    pub(super) fn discard(self: &Arc<Self>, known: &Known, changes: &mut Changes) {
        for subscription in known.subscriptions.keys() {
            self.unroute(subscription, &known.session, changes);
        }
        self.end_will(&known.session.sender().client_id);
        if !known.session.is_in_process() {
            self.quota.session_ended();
        }
        let mut queue = known.session.queue();
        queue.leave_backlog();
        if queue.is_durable() {
            let client_id = known.session.sender().client_id.clone();
            changes.delete::<SessionRow>(&(self.namespace.clone(), client_id));
            changes.dequeue_all(known.session.key());
            changes.delete_prefix::<ReceivedRow>(&ReceivedRow::prefix(known.session.key()));
        }
    }

    pub(super) fn row(
        &self,
        known: &Known,
        disconnected_at: Option<TimestampMs>,
    ) -> ((Namespace, ClientId), SessionRow) {
        let sender = known.session.sender();
        let subscriptions = known
            .subscriptions
            .iter()
            .map(|(subscription, (options, id))| {
                StoredSubscription::new(subscription, *options, *id)
            })
            .collect();
        let row = SessionRow {
            key: known.session.key().0,
            client_id: sender.client_id.clone(),
            identity: known.session.permissions().sender.identity.clone(),
            expiry_secs: known.expiry_secs,
            disconnected_at,
            sent_seq: None,
            subscriptions,
        };
        ((self.namespace.clone(), sender.client_id.clone()), row)
    }

    /// The identifiers of the subscriptions of a session that match a topic.
    pub(crate) fn subscription_ids(
        &self,
        session: &Session,
        topic: &TopicName,
    ) -> Option<Arc<[NonZeroU32]>> {
        let sessions = self.sessions.lock();
        let known = sessions.by_client.get(&session.sender().client_id)?;
        let ids: Vec<NonZeroU32> = known
            .subscriptions
            .iter()
            .filter(|(subscription, _)| subscription.filter.matches(topic))
            .filter_map(|(_, (_, id))| *id)
            .collect();
        (!ids.is_empty()).then(|| ids.into())
    }

    /// Whether a client has a session, connected or not.
    pub(crate) fn has_session(&self, client_id: &ClientId) -> bool {
        self.sessions.lock().by_client.contains_key(client_id)
    }

    /// Whether a client is connected.
    pub(crate) fn is_connected(&self, client_id: &ClientId) -> bool {
        let sessions = self.sessions.lock();
        let known = sessions.by_client.get(client_id);
        known.is_some_and(|known| matches!(known.presence, Presence::Connected { .. }))
    }

    /// Ends the sessions of an identity, connected or not, because its credential is gone.
    pub(crate) fn end_sessions_of(self: &Arc<Self>, identity: &Identity) -> usize {
        let mut changes = Changes::new();
        let mut ended = 0;
        self.sessions.lock().by_client.retain(|_, known| {
            if !known.session.identity().is_same_as(identity) {
                return true;
            }
            ended += 1;
            if let Presence::Connected { live } = &known.presence {
                // It discards the session itself on its way out.
                known.expiry_secs = 0;
                live.end_session(Reason::NotAuthorized);
                known.session.wake();
                return true;
            }
            self.discard(known, &mut changes);
            false
        });
        if !changes.is_empty() {
            drop(self.shared.store.submit(changes));
        }
        ended
    }
}

/// Whether a session whose client went away at `since` has ended by now (MQTT 5.0 3.1.2.11.2).
fn is_over(expiry_secs: u32, since: TimestampMs, now: TimestampMs) -> bool {
    let age_secs = now.0.saturating_sub(since.0) / 1000;
    expiry_secs != u32::MAX && age_secs >= u64::from(expiry_secs)
}
