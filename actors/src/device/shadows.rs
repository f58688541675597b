//! The shadows that a device actor has at hand, and the way of one request through them.

use super::actor::DeviceCore;
use super::batch::Done;
use super::row::ShadowKey;
use super::shadow::answer::{Origin, read_command};
use super::shadow::history::ShadowChange;
use super::shadow::transition::Transition;
use super::shadow::{Command, Decision, ShadowState};
use crate::context::Context;
use broker::{Client, Delivery, Outgoing};
use proto::platform::{ShadowTopic, ThingRoot};
use proto::shadow::Malformed;
use proto::{Namespace, Refusal, RefusalCode, ThingId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::{Changes, ReadError};

/// The shadows by name; the empty name is the classic one. Loaded when first asked for.
#[derive(Default)]
pub(crate) struct Shadows {
    loaded: BTreeMap<String, Arc<ShadowState>>,
}

impl Shadows {
    pub(super) fn get(
        &mut self,
        context: &Context,
        key: &ShadowKey,
    ) -> Result<&Arc<ShadowState>, ReadError> {
        if !self.loaded.contains_key(&key.2) {
            let row = context.outside.store.read()?.get::<ShadowState>(key)?;
            self.loaded.insert(key.2.clone(), Arc::new(row.unwrap_or_default()));
        }
        Ok(self.loaded.entry(key.2.clone()).or_default())
    }

    /// A shadow is another one now.
    pub(super) fn put(&mut self, name: String, state: Arc<ShadowState>) {
        self.loaded.insert(name, state);
    }
}

/// A request that was carried out, until that is kept.
pub(super) struct Answered {
    pub(super) origin: Origin,
    pub(super) client_token: Option<String>,
    /// The update, as long as nobody was there to hear it whole.
    pub(super) untold: Option<Transition>,
}

impl Answered {
    /// The message that tells the update whole, if somebody is there to hear it now.
    pub(super) fn tell(&mut self, client: &Client) -> Option<Outgoing> {
        let untold = self.untold.take_if(|untold| client.is_heard(&untold.topic))?;
        Some(untold.message())
    }
}

impl DeviceCore {
    /// Answers one request about a shadow. An error is a row that cannot be read.
    pub(super) fn shadow_request(
        &mut self,
        root: ThingRoot,
        topic: ShadowTopic,
        delivery: Delivery,
    ) -> Result<(), ReadError> {
        let limits = self.context.settings.shadow_limits();
        let Some(command) = read_command(topic.verb, &delivery.payload, &limits) else {
            delivery.ack();
            return Ok(());
        };
        let origin = origin(root, &self.thing, topic, &delivery);
        let (client_token, outcome) = match command {
            Err(Malformed { refusal, client_token }) => (client_token, Err(refusal)),
            Ok(command) => {
                let client_token = command.client_token();
                let outcome = match self.shadow_model(&origin, &command)? {
                    Ok(set) => self.decide_shadow(&origin, command)?.and_then(|decided| {
                        set.map_or(Ok(()), |set| set.check(&decided.1)).map(|()| decided)
                    }),
                    Err(refusal) => Err(refusal),
                };
                (client_token, outcome)
            }
        };
        match outcome {
            Ok((before, decision)) => {
                let answered = Answered { origin, client_token, untold: None };
                self.shadow_decided(before, decision, answered, delivery);
            }
            Err(refusal) => {
                self.context.counters.shadow_rejected.increase();
                let now_secs = self.context.now().as_secs();
                let says = origin.rejection(&refusal, now_secs, client_token);
                self.add(Changes::new(), says, Done::Refused(delivery, None));
            }
        }
        Ok(())
    }

    fn shadow_decided(
        &mut self,
        before: Arc<ShadowState>,
        decision: Decision,
        mut answered: Answered,
        delivery: Delivery,
    ) {
        let mut changes = Changes::new();
        let origin = &answered.origin;
        let mut says = origin.messages(&decision);
        let Decision { next, accepted, is_update, .. } = decision;
        if let Some(next) = next {
            let after = Arc::new(next);
            let key = self.shadow_key(origin);
            let change = ShadowChange::by(&delivery.sender, self.context.now(), accepted.state);
            says.extend(self.keep_shadow(key, &after, Some(change), &mut changes));
            self.owes_edge = true;
            if is_update {
                let client_token = accepted.client_token;
                let both = (before, after);
                let untold = origin.transition(both, accepted.timestamp, client_token);
                answered.untold = Some(untold);
            }
        }
        self.hear(&delivery, &mut changes);
        self.add(changes, says, Done::Shadow(delivery, Box::new(answered)));
    }

    /// What a request leads to, and the shadow that it was decided on.
    fn decide_shadow(
        &mut self,
        origin: &Origin,
        command: Command,
    ) -> Result<Result<(Arc<ShadowState>, Decision), Refusal>, ReadError> {
        let limits = self.context.settings.shadow_limits();
        let now_secs = self.context.now().as_secs();
        let key = self.shadow_key(origin);
        let state = Arc::clone(self.shadows.get(&self.context, &key)?);
        let outcome = state.decide(command, &limits, now_secs);
        if state.version == 0 && outcome.as_ref().is_ok_and(|decision| decision.next.is_some()) {
            let kept = self.shadow_count()?;
            if kept >= self.context.settings.shadows_per_thing_max {
                let message = format!("the thing has {kept} shadows already");
                return Ok(Err(Refusal::new(RefusalCode::TooManyRequests, message)));
            }
        }
        Ok(outcome.map(|decision| (state, decision)))
    }

    fn shadow_key(&self, origin: &Origin) -> ShadowKey {
        self.shadow_key_of(origin.topic.shadow.as_ref().map_or("", |name| name.as_str()))
    }

    /// How many shadows the thing has, with those that are decided and not yet kept.
    fn shadow_count(&self) -> Result<usize, ReadError> {
        let prefix = store::prefix(&(self.client.namespace().clone(), self.thing.clone()));
        let stored = self.context.outside.store.read()?.scan::<ShadowState>(&prefix)?;
        let decided = self.shadows.loaded.iter().filter(|(_, state)| state.version > 0);
        let names: BTreeSet<&str> = decided.map(|(name, _)| name.as_str()).collect();
        // One that cannot be read is there all the same.
        let is_other = |found: &Result<(ShadowKey, ShadowState), ReadError>| match found {
            Ok((key, _)) => !names.contains(key.2.as_str()),
            Err(_) => true,
        };
        Ok(names.len() + stored.iter().filter(|found| is_other(found)).count())
    }
}

/// Rejects a shadow request for a thing that cannot take it, such as one that is not registered.
pub(crate) fn reject_unregistered(
    context: &Context,
    client: &Client,
    (root, thing, topic): (ThingRoot, &ThingId, ShadowTopic),
    delivery: &Delivery,
    refusal: &Refusal,
) {
    let limits = context.settings.shadow_limits();
    let Some(command) = read_command(topic.verb, &delivery.payload, &limits) else { return };
    let client_token = match command {
        Ok(command) => command.client_token(),
        Err(malformed) => malformed.client_token,
    };
    let origin = origin(root, thing, topic, delivery);
    context.counters.shadow_rejected.increase();
    // A rejection promises nothing, so it is not waited for.
    for message in origin.rejection(refusal, context.now().as_secs(), client_token) {
        client.publish(message);
    }
}

/// The rows that go with a thing.
pub(crate) fn delete_rows(changes: &mut Changes, namespace: &Namespace, thing: &ThingId) {
    let key = (namespace.clone(), thing.clone());
    changes.delete_prefix::<ShadowState>(&store::prefix(&key));
    changes.delete_prefix::<ShadowChange>(&store::prefix(&key));
    super::commands::delete_rows(changes, &store::prefix(&key));
    changes.delete::<super::row::DeviceRow>(&key);
    changes.delete::<super::row::ThingRow>(&key);
}

fn origin(root: ThingRoot, thing: &ThingId, topic: ShadowTopic, delivery: &Delivery) -> Origin {
    let reply_to = delivery.response_topic.clone();
    let reply_to = reply_to.map(|topic| (topic, delivery.correlation_data.clone()));
    Origin { root, thing: thing.clone(), topic, reply_to }
}
