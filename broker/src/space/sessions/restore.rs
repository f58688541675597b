//! Sessions out of the store: after a restart, and where a connection has ended without a word.

use super::{Carried, Known, Presence};
use crate::durable::rows::{ReceivedRow, SessionRow};
use crate::message::Sender;
use crate::session::Session;
use crate::session::machine::Kept;
use crate::session::received::Received;
use crate::space::Space;
use hashbrown::HashMap;
use std::sync::Arc;
use store::{Changes, SessionKey, Snapshot};

impl Space {
    /// Takes up a session out of the store.
    pub(in crate::space) fn restore_session(
        &self,
        row: SessionRow,
        received: &mut HashMap<u64, Received>,
    ) {
        let key = row.session_key();
        self.shared.know_session_key(key);
        let sender =
            Arc::new(Sender { client_id: row.client_id.clone(), identity: row.identity.clone() });
        let bounds = Arc::clone(&self.shared.queue_bounds);
        let session = Arc::new(Session::new(key, sender, false, bounds, self.quota.backlog()));
        session.permit(session.permissions().within(&self.kin));
        session.queue().restore_later(row.sent_seq);
        let mut subscriptions = HashMap::new();
        for (subscription, options, id) in row.subscriptions.iter().filter_map(|it| it.parts()) {
            // The rows of its groups are there already.
            self.route(&session, &subscription, options, id, true, &mut Changes::new());
            subscriptions.insert(subscription, (options, id));
        }
        // One that was connected when the node stopped has been away since now.
        let since = row.disconnected_at.unwrap_or_else(|| self.shared.clock.now());
        let kept = Kept { inflight: None, received: received.remove(&key.0).unwrap_or_default() };
        let carried = Box::new(Carried { kept, ..Carried::default() });
        let presence = Presence::Away { since, carried };
        let (expiry_secs, will_delay_secs) = (row.expiry_secs, None);
        let known = Known { session, subscriptions, expiry_secs, will_delay_secs, presence };
        self.quota.session_began();
        self.sessions.lock().by_client.insert(row.client_id, known);
    }

    /// What is left of a session whose connection ended without a word.
    pub(super) fn carried_by_the_store(&self, key: SessionKey) -> Carried {
        let prefix = ReceivedRow::prefix(key);
        let read = self.shared.store.read().and_then(|snapshot| received(&prefix, &snapshot));
        let received = match read {
            Ok(mut found) => found.remove(&key.0).unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "the messages a session has received cannot be read");
                Received::default()
            }
        };
        Carried { kept: Kept { inflight: None, received }, ..Carried::default() }
    }
}

/// The QoS 2 messages that sessions have received and their clients have not released, by the keys of the sessions.
pub(in crate::space) fn received(
    prefix: &[u8],
    snapshot: &Snapshot,
) -> Result<HashMap<u64, Received>, store::ReadError> {
    let mut found: HashMap<u64, Received> = HashMap::new();
    for row in snapshot.scan::<ReceivedRow>(prefix)? {
        match row {
            Ok((key, row)) => {
                if let Some(packet_id) = ReceivedRow::packet_id(key) {
                    found.entry(key.0).or_default().restore(packet_id, row.for_platform);
                }
            }
            Err(error) => tracing::error!(%error, "a received message is left out"),
        }
    }
    Ok(found)
}
