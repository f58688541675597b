//! Which messages answer a shadow request, and where they go: on the root that the request came by.

use super::transition::Transition;
use super::{Command, Decision, ShadowState};
use broker::Outgoing;
use proto::platform::{ShadowTopic, ShadowVerb, Stage, ThingRoot, ThingTopic};
use proto::shadow::{self, Limits, Malformed, PlainRequest, Rejected, UpdateRequest};
use proto::{PlatformTopic, Qos, Refusal, ThingId, TopicName};
use std::sync::Arc;

/// Where a request came from, so that its answers find back.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The root it came by.
    pub(crate) root: ThingRoot,
    /// The thing it is about.
    pub(crate) thing: ThingId,
    /// The shadow and what is asked of it.
    pub(crate) topic: ShadowTopic,
    /// Where an answer is wanted besides (MQTT 5.0 4.10), with the correlation data.
    pub(crate) reply_to: Option<(TopicName, Option<bytes::Bytes>)>,
}

/// Reads the payload of a request; `None` if the topic is not one that asks.
pub(crate) fn read_command(
    verb: ShadowVerb,
    payload: &[u8],
    limits: &Limits,
) -> Option<Result<Command, Malformed>> {
    Some(match verb {
        ShadowVerb::Get(Stage::Request) => PlainRequest::parse(payload, limits).map(Command::Get),
        ShadowVerb::Update(Stage::Request) => {
            UpdateRequest::parse(payload, limits).map(Command::Update)
        }
        ShadowVerb::Delete(Stage::Request) => {
            PlainRequest::parse(payload, limits).map(Command::Delete)
        }
        _ => return None,
    })
}

impl Origin {
    /// The messages of a request that is done.
    pub(crate) fn messages(&self, decision: &Decision) -> Vec<Outgoing> {
        let mut messages = self.answer(Stage::Accepted, shadow::to_json(&decision.accepted));
        if let Some(delta) = &decision.delta {
            messages.push(self.message(ShadowVerb::Delta, shadow::to_json(delta)));
        }
        messages
    }

    /// What `update/documents` tells of an update, which came from here.
    pub(crate) fn transition(
        &self,
        (before, after): (Arc<ShadowState>, Arc<ShadowState>),
        timestamp: u64,
        client_token: Option<String>,
    ) -> Transition {
        let topic = self.topic_of(ShadowVerb::Documents);
        Transition { topic, before, after, timestamp, client_token }
    }

    /// The messages of a request that is refused.
    pub(crate) fn rejection(
        &self,
        refusal: &Refusal,
        now_secs: u64,
        client_token: Option<String>,
    ) -> Vec<Outgoing> {
        let rejected = Rejected::new(refusal, now_secs, client_token);
        self.answer(Stage::Rejected, shadow::to_json(&rejected))
    }

    fn answer(&self, stage: Stage, payload: Vec<u8>) -> Vec<Outgoing> {
        let Some(verb) = self.topic.verb.answer(stage) else { return Vec::new() };
        let answer = self.message(verb, payload);
        let copy = self.reply_to.as_ref().map(|(topic, correlation)| {
            Outgoing::new(topic.clone(), answer.payload.clone())
                .qos(Qos::AtLeastOnce)
                .correlation(correlation.clone())
        });
        std::iter::once(answer).chain(copy).collect()
    }

    fn message(&self, verb: ShadowVerb, payload: Vec<u8>) -> Outgoing {
        Outgoing::new(self.topic_of(verb), payload).qos(Qos::AtLeastOnce)
    }

    fn topic_of(&self, verb: ShadowVerb) -> TopicName {
        let topic = ShadowTopic { shadow: self.topic.shadow.clone(), verb };
        let (root, thing) = (self.root, self.thing.clone());
        PlatformTopic::Thing { root, thing, topic: ThingTopic::Shadow(topic) }.topic()
    }
}
