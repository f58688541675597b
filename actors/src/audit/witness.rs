//! Logins as the broker tells of them, on the way of a CONNECT: an entry is made and left to the clerk, and nothing
//! waits. Devices and edge nodes are left out: whether they are there is presence, not audit.

use super::entry::{By, Entry};
use super::inbox::Inbox;
use super::log::Audit;
use broker::credential::system_namespace;
use broker::{CameIn, TurnedAway};
use proto::{Clock, Role};
use std::sync::Arc;

/// The action of a login.
pub(crate) const LOGIN: &str = "login";

/// The longest name or client id that is recorded, in characters: both come from strangers.
const TOLD_CHARS_MAX: usize = 128;

/// See the module.
pub(crate) struct Witness {
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
}

impl Witness {
    /// The witness of a node.
    pub(crate) fn new(audit: &Audit, clock: Arc<dyn Clock>) -> Self {
        Self { inbox: Arc::clone(audit.inbox()), clock }
    }
}

impl broker::Witness for Witness {
    fn came_in(&self, who: &CameIn<'_>) {
        if matches!(who.identity.role(), Role::Device | Role::Edge) {
            return;
        }
        let by = By::known(who.identity);
        let mut entry = Entry::new(self.clock.now(), who.namespace.clone(), by, LOGIN);
        // Strangers differ in nothing that anybody has proved: of one address they are told of in one record.
        entry.client_id = (!who.is_stranger).then(|| short(who.client_id));
        entry.address = who.address.map(|it| it.to_string());
        self.inbox.leave(entry);
    }

    fn turned_away(&self, who: &TurnedAway<'_>) {
        let by = By::claimed(&short(who.user_name.unwrap_or_default()));
        // Who names no namespace that is there is told of to those who run the system.
        let namespace = who.namespace.cloned().unwrap_or_else(system_namespace);
        let mut entry = Entry::new(self.clock.now(), namespace, by, LOGIN);
        entry.client_id = Some(short(who.client_id));
        entry.address = Some(who.address.to_string());
        who.reason.clone_into(&mut entry.outcome);
        self.inbox.leave(entry);
    }
}

fn short(text: &str) -> String {
    text.chars().take(TOLD_CHARS_MAX).collect()
}
