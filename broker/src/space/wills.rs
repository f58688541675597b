//! Wills: what is said for a client that is lost (MQTT 5.0 3.1.2.5, 3.1.3.2.2).
//!
//! A will is in the store from CONNACK until it is published or dismissed, and only there: a connection keeps no more
//! of it than its delay. It is published in one commit with the end of its row, so that no crash loses or doubles it.
//!
//! When: at the earlier of its delay and the end of its session. A client that returns to its session in time, or
//! leaves with DISCONNECT 0x00, dismisses it. A crash of the node ends every connection, so it counts as the moment
//! each client was lost: after a restart the will of a session that has not outlived its connection is due at once,
//! any other after its delay, from the restart on. From the restart, because a client could not return before.

use super::Space;
use crate::durable::rows::WillRow;
use crate::message::{Message, Sender};
use crate::outbox::Outbox;
use crate::permissions::Permissions;
use futures_util::task::AtomicWaker;
use hashbrown::HashMap;
use proto::{ClientId, TimestampMs};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Changes, ReadError, Snapshot};

/// A will as a client brings it.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) message: Message,
    /// Seconds it waits after its client is lost.
    pub(crate) delay_secs: u32,
    /// Seconds after which, once published, it is not delivered any more.
    pub(crate) expiry_secs: Option<u32>,
}

/// The wills whose clients are lost, by when they are due.
#[derive(Debug, Default)]
pub(super) struct Wills {
    due: BTreeSet<(TimestampMs, ClientId)>,
    at: HashMap<ClientId, TimestampMs>,
}

impl Wills {
    /// Has the will of a client be due at a time, in place of any other time.
    fn schedule(&mut self, client_id: ClientId, at: TimestampMs) {
        if let Some(before) = self.at.insert(client_id.clone(), at) {
            self.due.remove(&(before, client_id.clone()));
        }
        self.due.insert((at, client_id));
    }

    /// Forgets the will of a client; says whether one was waiting.
    fn cancel(&mut self, client_id: &ClientId) -> bool {
        let Some(at) = self.at.remove(client_id) else { return false };
        self.due.remove(&(at, client_id.clone()));
        true
    }

    /// Takes the next one that is due.
    fn take_due(&mut self, now: TimestampMs) -> Option<ClientId> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, client_id) = self.due.pop_first()?;
        self.at.remove(&client_id);
        Some(client_id)
    }
}

impl Space {
    /// Keeps the will that a client brings to its CONNECT, in place of one that waits, which is dismissed.
    pub(super) fn keep_will(&self, client: &Sender, will: Option<&Will>, changes: &mut Changes) {
        let was_waiting = self.wills.lock().cancel(&client.client_id);
        let key = (self.namespace.clone(), client.client_id.clone());
        match will {
            Some(will) => changes.put(&key, &WillRow::new(will)),
            None if was_waiting => changes.delete::<WillRow>(&key),
            None => {}
        }
    }

    /// A client has left in peace.
    pub(super) fn dismiss_will(&self, client_id: &ClientId, changes: &mut Changes) {
        changes.delete::<WillRow>(&(self.namespace.clone(), client_id.clone()));
    }

    /// The permissions of a client have changed: a will that it may not publish any more is dismissed. Says whether.
    pub(super) fn dismiss_forbidden_will(
        &self,
        client_id: &ClientId,
        permissions: &Permissions,
        changes: &mut Changes,
    ) -> bool {
        let key = (self.namespace.clone(), client_id.clone());
        let row = self.shared.store.read().and_then(|it| it.get::<WillRow>(&key));
        let Ok(Some(row)) = row else { return false };
        let Ok(will) = row.into_message(self.shared.clock.now()) else { return false };
        let allowance = permissions.publish(&will.topic);
        let is_forbidden = allowance.is_none_or(|it| !it.covers(will.qos, will.retain));
        if is_forbidden {
            self.dismiss_will(client_id, changes);
        }
        is_forbidden
    }

    /// A client is lost: its will is due after so many seconds.
    pub(super) fn release_will(self: &Arc<Self>, client_id: &ClientId, wait_secs: u32) {
        if wait_secs == 0 {
            self.publish_will(client_id);
            return;
        }
        let at = TimestampMs(self.shared.clock.now().0 + u64::from(wait_secs) * 1000);
        self.wills.lock().schedule(client_id.clone(), at);
    }

    /// The session of a client has ended: a will that waits waits no longer.
    pub(super) fn end_will(self: &Arc<Self>, client_id: &ClientId) {
        if self.wills.lock().cancel(client_id) {
            self.publish_will(client_id);
        }
    }

    /// Publishes the wills whose time has come.
    pub(crate) fn publish_due_wills(self: &Arc<Self>, now: TimestampMs) {
        loop {
            // Not in the condition, where the lock would outlive it.
            let next = self.wills.lock().take_due(now);
            let Some(client_id) = next else { return };
            self.publish_will(&client_id);
        }
    }

    /// Publishes the will of a client, if it has one.
    pub(super) fn publish_will(self: &Arc<Self>, client_id: &ClientId) {
        let key = (self.namespace.clone(), client_id.clone());
        let row = self.shared.store.read().and_then(|it| it.get::<WillRow>(&key));
        let now = self.shared.clock.now();
        let message = match row {
            Ok(Some(row)) => row.into_message(now),
            Ok(None) => return,
            Err(error) => {
                tracing::error!(client = %client_id, %error, "cannot read a will");
                return;
            }
        };
        let mut outbox = Outbox::of(self);
        match message {
            // What it was allowed when it connected it may not be any more.
            Ok(message) if self.may_be_said(&message) => {
                let message = Arc::new(message);
                let mut way = self.router.way(&message.topic);
                let _ = outbox.publish(self, &mut way, &message, &Arc::new(AtomicWaker::new()));
            }
            Ok(_) => tracing::info!(client = %client_id, "a will is not permitted any more"),
            Err(error) => tracing::error!(client = %client_id, %error, "a will is left out"),
        }
        outbox.changes.delete::<WillRow>(&key);
        outbox.flush(&self.shared);
    }

    fn may_be_said(&self, will: &Message) -> bool {
        let permissions = Permissions::of_role(Arc::clone(&will.sender)).within(&self.kin);
        permissions.publish(&will.topic).is_some()
    }

    /// Takes up the wills in the store, after the sessions.
    pub(super) fn load_wills(&self, snapshot: &Snapshot) -> Result<(), ReadError> {
        let now = self.shared.clock.now();
        let sessions = self.sessions.lock();
        let mut wills = self.wills.lock();
        for row in snapshot.scan::<WillRow>(&store::prefix(&self.namespace))? {
            match row {
                Ok(((_, client_id), row)) => {
                    let lost = sessions.lost(&client_id);
                    let (since, expiry_secs) = lost.unwrap_or((now, 0));
                    let wait_secs = row.delay_secs().min(expiry_secs);
                    let at = TimestampMs(since.0 + u64::from(wait_secs) * 1000);
                    wills.schedule(client_id, at);
                }
                Err(error) => tracing::error!(%error, "a will is left out"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn each_will_comes_once_in_time_unless_it_was_cancelled(
            steps in proptest::collection::vec((0u8..4, 0u64..5, 0u64..20), 0..100),
        ) {
            let (mut wills, mut model, mut now) = (Wills::default(), BTreeMap::new(), 0);
            for (step, client, number) in steps {
                let name = format!("c{client}");
                let client_id = ClientId::parse(&name).unwrap();
                match step {
                    0 | 1 => {
                        wills.schedule(client_id, TimestampMs(now + number));
                        model.insert(name, now + number);
                    }
                    2 => prop_assert_eq!(wills.cancel(&client_id), model.remove(&name).is_some()),
                    _ => {
                        now += number;
                        while let Some(client_id) = wills.take_due(TimestampMs(now)) {
                            let at = model.remove(client_id.as_str());
                            prop_assert!(at.is_some_and(|at| at <= now));
                        }
                        prop_assert!(model.values().all(|at| *at > now));
                    }
                }
                prop_assert_eq!((wills.due.len(), wills.at.len()), (model.len(), model.len()));
            }
        }
    }
}
