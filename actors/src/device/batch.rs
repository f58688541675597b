//! What a device actor has decided and not yet kept: the messages that waited together are one commit.
//!
//! A busy device would otherwise wait for the disk once for each message, and its mail would fill the tenant's
//! window for everybody. The tenant counts what it sends, so the actor knows which message is the last for now.
//! Nobody sees anything of a batch before it is kept. If it cannot be kept, none of it has happened: the actor goes
//! back to its last durable state, requests are refused, messages go back to their publishers unacknowledged. What
//! was refused anyway stays refused.

use super::actor::DeviceCore;
use super::commands::{Tally, Waiting};
use super::row::DeviceRow;
use super::shadows::{Answered, Shadows};
use super::state::DeviceState;
use crate::refused;
use broker::{AckToken, Delivery, Outgoing};
use proto::Refusal;
use store::{Changes, CommitError};

/// The most messages in one commit: more would only delay the first.
const BATCH_MAX: usize = 256;

/// See the module.
#[derive(Default)]
pub(super) struct Batch {
    changes: Changes,
    entries: Vec<Entry>,
}

/// One message of the device's mail, as it was decided.
struct Entry {
    says: Vec<Outgoing>,
    done: Done,
}

/// What is left to do once a batch is kept, or was not.
pub(super) enum Done {
    /// Values were taken in: how many, and how many of them not the newest.
    Telemetry(Delivery, u64, u64),
    /// A shadow request was carried out.
    Shadow(Delivery, Box<Answered>),
    /// A connection came or went; whether the status changed.
    Presence(Option<AckToken>, bool),
    /// Something happened to commands; who waits for it.
    Commands(Box<(Tally, Waiting)>),
    /// A message was refused, whatever becomes of the batch: for this, unless it is a request that has its answer.
    Refused(Delivery, Option<Box<Refusal>>),
}

impl DeviceCore {
    /// Adds a decision that is in force already. It is kept with whatever else waits in the mailbox now.
    pub(super) fn add(&mut self, changes: Changes, says: Vec<Outgoing>, done: Done) {
        self.batch.changes.append(changes);
        self.batch.entries.push(Entry { says, done });
    }

    /// Whether the batch takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.batch.entries.len() >= BATCH_MAX
    }

    /// Whether nothing waits to be kept.
    pub(super) fn is_settled(&self) -> bool {
        self.batch.entries.is_empty()
    }

    /// Keeps the batch, and then answers.
    pub(super) async fn flush(&mut self) {
        if self.is_settled() {
            return;
        }
        let Batch { changes, mut entries } = std::mem::take(&mut self.batch);
        // From the last to the first: who comes between two looks hears the one before with the commit, and the one
        // after it afterwards, in this order.
        for entry in entries.iter_mut().rev() {
            if let Done::Shadow(_, answered) = &mut entry.done {
                entry.says.extend(answered.tell(&self.client));
            }
        }
        let says = entries.iter().flat_map(|entry| entry.says.iter().cloned()).collect();
        match self.client.publish_durably(changes, says).await {
            Ok(()) => {
                self.kept = self.state.row.clone();
                for entry in entries {
                    self.finish(entry.done);
                }
                self.tell_next_deadline();
                self.tell_what_is_owed();
            }
            Err(error) => {
                tracing::warn!(%error, messages = entries.len(), "changes not kept");
                self.state = DeviceState::new(self.kept.clone());
                self.shadows = Shadows::default();
                self.forget_commands();
                self.forget_elsewhere();
                for entry in entries {
                    self.take_back(entry, &error);
                }
            }
        }
    }

    fn finish(&self, done: Done) {
        let counters = &self.context.counters;
        match done {
            Done::Telemetry(delivery, values, backfilled) => {
                counters.telemetry_accepted.increase();
                counters.telemetry_values.add(values);
                counters.telemetry_backfilled.add(backfilled);
                delivery.ack();
            }
            Done::Shadow(delivery, mut answered) => {
                counters.shadow_accepted.increase();
                if let Some(told) = answered.tell(&self.client) {
                    self.client.publish(told);
                }
                delivery.ack();
            }
            Done::Presence(token, is_change) => {
                counters.presence_changes.add(u64::from(is_change));
                if let Some(token) = token {
                    token.ack();
                }
            }
            Done::Commands(commands) => {
                let (tally, waiting) = *commands;
                tally.count(&self.context);
                match waiting {
                    Waiting::Nobody => {}
                    Waiting::Publisher(delivery) => delivery.ack(),
                    Waiting::Broker(token) => token.ack(),
                    // Who asked may have given up; it is done all the same.
                    Waiting::Admin(reply, outcome) => drop(reply.send(outcome)),
                }
            }
            Done::Refused(delivery, refusal) => close(delivery, refusal.as_deref()),
        }
    }

    fn take_back(&self, entry: Entry, error: &CommitError) {
        let refusal = refused::by_store(error);
        let counters = &self.context.counters;
        if !matches!(entry.done, Done::Refused(..)) {
            counters.commits_failed.increase();
        }
        match entry.done {
            Done::Telemetry(delivery, ..) => self.tell_refusal(&delivery, &refusal),
            Done::Shadow(_delivery, answered) => {
                counters.shadow_rejected.increase();
                let now_secs = self.context.now().as_secs();
                let Answered { origin, client_token, .. } = *answered;
                for message in origin.rejection(&refusal, now_secs, client_token) {
                    self.client.publish(message);
                }
            }
            Done::Presence(..) => {}
            Done::Commands(commands) => {
                // A publisher sends again; to say `rejected` would be an end that may not be the last word.
                if let Waiting::Admin(reply, _) = commands.1 {
                    let _ = reply.send(Err(refusal));
                }
            }
            Done::Refused(delivery, refusal) => {
                for message in entry.says {
                    self.client.publish(message);
                }
                close(delivery, refusal.as_deref());
            }
        }
    }

    fn tell_refusal(&self, delivery: &Delivery, refusal: &Refusal) {
        let now = self.context.now();
        let told = refused::message(&self.thing, &delivery.topic, refusal, now);
        self.client.publish(told);
    }
}

/// Ends a message that was refused.
fn close(delivery: Delivery, refusal: Option<&Refusal>) {
    match refusal {
        Some(refusal) => refused::send_back(delivery, refusal),
        None => delivery.ack(),
    }
}

/// The row as one change.
pub(super) fn put_row(core: &DeviceCore, row: &DeviceRow) -> Changes {
    let mut changes = Changes::new();
    changes.put::<DeviceRow>(&core.key(), row);
    changes
}
