//! Permissions that change under a session: what it may no longer have goes at once, wherever it waits.
//!
//! Subscriptions that are no longer allowed end, those with too high a QoS are lowered, and deliveries that wait in
//! memory are dropped and counted. Deliveries in the store are looked at when they are read, and what a connection
//! has already taken is looked at by the connection, which is woken.

use super::{Known, Presence, Space};
use crate::auth::{NameStanding, Proof};
use crate::figures::Counters;
use crate::packet::Options;
use crate::permissions::Permissions;
use crate::reason::Reason;
use crate::session::Session;
use hashbrown::HashSet;
use proto::{Identity, ThingId};
use std::collections::HashMap;
use std::sync::Arc;
use store::Changes;

impl Space {
    /// Gives a session other permissions than it has.
    pub(crate) fn permit(&self, session: &Arc<Session>, permissions: Permissions) {
        let mut sessions = self.sessions.lock();
        let known = sessions.by_client.get_mut(&session.sender().client_id);
        let Some(known) = known.filter(|known| Arc::ptr_eq(&known.session, session)) else {
            return;
        };
        let mut changes = Changes::new();
        self.permit_known(known, permissions, &mut changes);
        drop(sessions);
        if !changes.is_empty() {
            // What a crash leaves behind is looked at again when the client returns.
            drop(self.shared.store.submit(changes));
        }
    }

    /// Gives every session of these names the permissions that the store says now. Returns how many there are.
    pub(crate) fn follow(&self, names: &HashMap<&str, &NameStanding>) -> usize {
        let mut changes = Changes::new();
        let mut count = 0;
        for known in self.sessions.lock().by_client.values_mut() {
            let identity = known.session.identity();
            let Some(standing) = names.get(identity.name()) else { continue };
            if !identity.is_same_as(&standing.entitled.identity) {
                continue;
            }
            count += 1;
            match followed(&known.session.permissions(), standing) {
                Ok(permissions) => self.permit_known(known, permissions, &mut changes),
                Err(reason) => known.stop(reason),
            }
        }
        if !changes.is_empty() {
            drop(self.shared.store.submit(changes));
        }
        count
    }

    /// Puts things behind others, or behind none; the gateways that speak for others than before follow at once.
    /// Returns how many sessions they have.
    pub(crate) fn set_parents(&self, relations: Vec<(ThingId, Option<ThingId>)>) -> usize {
        let changed = relations.into_iter().flat_map(|(thing, parent)| self.kin.set(thing, parent));
        let changed: HashSet<ThingId> = changed.collect();
        if changed.is_empty() {
            return 0;
        }
        let mut changes = Changes::new();
        let mut count = 0;
        for known in self.sessions.lock().by_client.values_mut() {
            if matches!(known.session.identity(), Identity::Thing(it) if changed.contains(it)) {
                count += 1;
                let permissions = known.session.permissions();
                self.enforce(known, permissions, &mut changes);
            }
        }
        if !changes.is_empty() {
            drop(self.shared.store.submit(changes));
        }
        count
    }

    fn permit_known(&self, known: &mut Known, permissions: Permissions, changes: &mut Changes) {
        if known.session.permissions() != permissions {
            self.enforce(known, permissions, changes);
        }
    }

    fn enforce(&self, known: &mut Known, permissions: Permissions, changes: &mut Changes) {
        let session = &known.session;
        session.permit(permissions.clone());
        known.subscriptions.retain(|subscription, (options, id)| {
            let Some(qos_max) = permissions.subscribe(&subscription.filter) else {
                self.unroute(subscription, session, changes);
                return false;
            };
            if options.qos > qos_max {
                *options = Options { qos: qos_max, ..*options };
                let is_durable = known.expiry_secs > 0;
                self.route(session, subscription, *options, *id, is_durable, changes);
            }
            true
        });
        // Routes hold what a session may receive.
        self.router.invalidate();
        let mut queue = session.queue();
        let forbidden = queue.remove(|delivery| !delivery.is_permitted(&permissions));
        queue.drops.forbidden += forbidden.len() as u64;
        for delivery in &forbidden {
            if let Some(seq) = delivery.seq
                && queue.acked(seq, delivery.message.weight())
            {
                changes.dequeue(session.key(), seq);
            }
        }
        drop(queue);
        Counters::add(&self.shared.counters.forbidden, forbidden.len() as u64);
        let client_id = &session.sender().client_id;
        if self.dismiss_forbidden_will(client_id, &permissions, changes) {
            // Its row is still there until the commit.
            known.will_delay_secs = None;
        }
        if known.expiry_secs > 0 {
            let since = match &known.presence {
                Presence::Away { since, .. } => Some(*since),
                Presence::Connected { .. } => None,
            };
            let (key, row) = self.row(known, since);
            changes.put(&key, &row);
        }
        known.session.wake();
    }
}

/// What a client may do by what its name stands for now, or why it has to go.
fn followed(before: &Permissions, standing: &NameStanding) -> Result<Permissions, Reason> {
    let entitled = &standing.entitled;
    if entitled.is_disabled {
        return Err(Reason::NotAuthorized);
    }
    let token = match &before.proof {
        Proof::Credential => None,
        Proof::Token(proof) => Some(standing.token(proof).ok_or(Reason::NotAuthorized)?),
        // What else it came in by has to be asked again.
        Proof::Elsewhere | Proof::Nothing => return Err(Reason::AdministrativeAction),
    };
    let lists = entitled.lists(token);
    before.of(&entitled.identity, &lists).map_err(|_| Reason::NotAuthorized)
}

impl Known {
    /// Has its connection end, if it has one; the session stays.
    fn stop(&self, reason: Reason) {
        if let Presence::Connected { live, .. } = &self.presence {
            live.stop(reason);
            self.session.wake();
        }
    }
}
