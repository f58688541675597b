//! The sessions of a namespace as operators see them, and their ending by hand; [`subscriptions`] and [`retained`]
//! likewise.

mod retained;
mod subscriptions;

use super::Space;
use super::sessions::{Known, Presence};
use crate::inspect::clients::{ClientInfo, ClientQuery, ConnectionInfo, SessionInfo};
use crate::inspect::figures::NamespaceFigures;
use crate::inspect::{PATIENCE, Page, first};
use crate::live::Live;
use crate::peer::PeerAddress;
use crate::reason::Reason;
use crate::session::Session;
use crate::sys::Clients;
use proto::{ClientId, TimestampMs};
use std::sync::Arc;
use store::Changes;
use tokio::time::Instant;

/// What is known of a client without a look at its queue.
struct Found {
    session: Arc<Session>,
    presence: FoundPresence,
    subscriptions: usize,
    expiry_secs: u32,
}

enum FoundPresence {
    Connected(Arc<Live>),
    Away { since: TimestampMs, unreleased: usize },
}

/// What becomes of a session that is to end.
pub(crate) enum Ending {
    /// There is none.
    Unknown,
    /// Its connection ends, and the session with it.
    Connected(Arc<Live>),
    /// Nobody held it: it is gone, once this is committed.
    Away(Changes),
}

impl Space {
    /// Clients after a name, in the order of their names, at most `limit`. The platform's own are not among them.
    pub(crate) fn clients(
        &self,
        query: &ClientQuery,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Page<ClientInfo, ClientId> {
        let began = Instant::now();
        let found = self.find_clients(query, after, limit.saturating_add(1));
        let mut page = Page { items: Vec::new(), next: None };
        let mut last = None;
        for it in found {
            // A queue that was not read since the start is looked at in the store.
            let is_late = !page.items.is_empty() && began.elapsed() > PATIENCE;
            if page.items.len() == limit || is_late {
                page.next = last;
                break;
            }
            last = Some(it.session.sender().client_id.clone());
            page.items.push(self.show(it));
        }
        page
    }

    /// One client; `None` if it is not known, or a part of the platform.
    pub(crate) fn client(&self, client_id: &ClientId) -> Option<ClientInfo> {
        let sessions = self.sessions.lock();
        let found = sessions.by_client.get(client_id).and_then(find)?;
        drop(sessions);
        Some(self.show(found))
    }

    /// Where a connected client comes from.
    pub(crate) fn address(&self, client_id: &ClientId) -> Option<PeerAddress> {
        match &self.sessions.lock().by_client.get(client_id)?.presence {
            Presence::Connected { live } => live.peer.as_ref().map(|peer| peer.address),
            Presence::Away { .. } => None,
        }
    }

    fn find_clients(
        &self,
        query: &ClientQuery,
        after: Option<&ClientId>,
        count: usize,
    ) -> Vec<Found> {
        let sessions = self.sessions.lock();
        let is_asked_for = |(name, known): &(&ClientId, &Known)| {
            let peer = match &known.presence {
                Presence::Connected { live } => live.peer.as_ref(),
                Presence::Away { .. } => None,
            };
            !known.session.is_in_process()
                && after.is_none_or(|after| *name > after)
                && query.matches(&known.session, peer)
        };
        let all = sessions.by_client.iter().filter(is_asked_for);
        let names = first(all.map(|(name, _)| name), count);
        names.into_iter().filter_map(|name| find(sessions.by_client.get(name)?)).collect()
    }

    fn show(&self, found: Found) -> ClientInfo {
        let Found { session, presence, subscriptions, expiry_secs } = found;
        match presence {
            FoundPresence::Connected(live) => {
                let mut info = ConnectionInfo::read(&session, &live, subscriptions, expiry_secs);
                let (number, since, now) =
                    (live.number, live.connected_at, self.shared.clock.now());
                let rates = self.meter.lock().rates(number, since, live.traffic.read(), now);
                info.rates = Some(rates);
                ClientInfo::Connected(Box::new(info))
            }
            FoundPresence::Away { since, unreleased } => {
                let identity = session.permissions().sender.identity.clone();
                let queue = session.read_queue(&self.shared.store);
                let lives_ms = u64::from(expiry_secs) * 1000;
                ClientInfo::Away(Box::new(SessionInfo {
                    client_id: session.sender().client_id.clone(),
                    user_name: identity.name().to_owned(),
                    role: identity.role(),
                    identity,
                    away_since: since,
                    expires_at: (expiry_secs != u32::MAX).then(|| TimestampMs(since.0 + lives_ms)),
                    session_expiry_secs: expiry_secs,
                    subscriptions,
                    stored: queue.stored(),
                    stored_bytes: queue.stored_bytes(),
                    unreleased,
                    dropped: queue.drops.total(),
                    drops: queue.drops,
                    expired: queue.expired,
                }))
            }
        }
    }

    /// Has the connection of a client end; `false` if it has none, or is a part of the platform.
    pub(crate) fn disconnect(&self, client_id: &ClientId, reason: Reason) -> bool {
        let sessions = self.sessions.lock();
        let Some(known) = sessions.by_client.get(client_id) else { return false };
        match &known.presence {
            Presence::Connected { live } if live.peer.is_some() => {
                live.stop(reason);
                known.session.wake();
                true
            }
            _ => false,
        }
    }

    /// Has a session end, with its connection if it has one.
    pub(crate) fn end_session(self: &Arc<Self>, client_id: &ClientId, reason: Reason) -> Ending {
        let mut sessions = self.sessions.lock();
        let Some(known) = sessions.by_client.get_mut(client_id) else { return Ending::Unknown };
        if known.session.is_in_process() {
            return Ending::Unknown;
        }
        if let Presence::Connected { live } = &known.presence {
            // It discards the session itself on its way out.
            known.expiry_secs = 0;
            live.end_session(reason);
            known.session.wake();
            return Ending::Connected(Arc::clone(live));
        }
        let mut changes = Changes::new();
        if let Some(known) = sessions.by_client.remove(client_id) {
            self.discard(&known, &mut changes);
        }
        Ending::Away(changes)
    }

    /// How many sessions there are, and what they have subscribed to.
    pub(crate) fn census(&self) -> Clients {
        let sessions = self.sessions.lock();
        let all = sessions.by_client.values();
        let is_connected = |it: &&Known| matches!(it.presence, Presence::Connected { .. });
        Clients {
            connected: all.clone().filter(is_connected).count(),
            total: sessions.by_client.len(),
            subscriptions: all.map(|it| it.subscriptions.len()).sum(),
            shared_subscriptions: self.group_count(),
        }
    }

    /// What there is in all.
    pub(crate) fn figures(&self) -> NamespaceFigures {
        let census = self.census();
        let retained = self.retained.lock();
        NamespaceFigures {
            connected: census.connected,
            sessions: census.total,
            subscriptions: census.subscriptions,
            shared_subscriptions: census.shared_subscriptions,
            retained: retained.count(),
            retained_bytes: retained.bytes(),
            queued_bytes: self.quota.backlog().bytes(),
        }
    }

    /// How many sessions there are.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.lock().by_client.len()
    }

    /// Calls `see` with every connected session, its connection and the number of its subscriptions.
    pub(crate) fn each_connected(
        &self,
        mut see: impl FnMut(&Arc<Session>, &Arc<Live>, usize, u32),
    ) {
        for known in self.sessions.lock().by_client.values() {
            if let Presence::Connected { live } = &known.presence {
                see(&known.session, live, known.subscriptions.len(), known.expiry_secs);
            }
        }
    }
}

fn find(known: &Known) -> Option<Found> {
    if known.session.is_in_process() {
        return None;
    }
    Some(Found {
        session: Arc::clone(&known.session),
        presence: match &known.presence {
            Presence::Connected { live } => FoundPresence::Connected(Arc::clone(live)),
            Presence::Away { since, carried } => {
                FoundPresence::Away { since: *since, unreleased: carried.kept.unreleased() }
            }
        },
        subscriptions: known.subscriptions.len(),
        expiry_secs: known.expiry_secs,
    })
}
