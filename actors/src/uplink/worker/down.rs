//! What comes down: writes of values, questions of operators, and what the hub has.

use super::{Hello, Sent, Worker};
use crate::uplink::lanes::Lanes;
use crate::uplink::question;
use broker::{Delivery, Outgoing};
use bytes::Bytes;
use drivers::bridge::Received;
use proto::PlatformTopic;
use proto::platform::EdgeTopic;
use proto::uplink::Known;
use store::Changes;

impl Worker {
    /// Takes what comes down: writes of values, for whoever has the machine, and questions of operators.
    pub(super) async fn received(&mut self, received: Received) {
        let Received { message, ack } = received;
        // What is retained would be of some time ago.
        if let Some(message) = message.filter(|it| !it.retain) {
            match PlatformTopic::parse(&message.topic) {
                Some(PlatformTopic::UnsSet(_)) => {
                    let outgoing = Outgoing::new(message.topic, message.payload).qos(message.qos);
                    let handed = self.client.publish_durably(Changes::new(), vec![outgoing]).await;
                    if let Err(error) = handed {
                        self.context.counters.commits_failed.increase();
                        tracing::warn!(%error, "a write of the hub is not handed on");
                    }
                }
                Some(PlatformTopic::Edge { topic: EdgeTopic::Question, .. }) => {
                    self.asked(&message.payload);
                }
                Some(PlatformTopic::Edge { topic: EdgeTopic::UplinkKnown, .. }) => {
                    self.known(&message.payload);
                }
                _ => {}
            }
        }
        if let Some(link) = &self.link {
            link.acknowledge(ack);
        }
    }

    /// Has the admin API here answer a question of the hub, on behalf of whoever asks there.
    pub(super) fn asked(&self, payload: &Bytes) {
        let asked = question::ask(&self.context, self.client.namespace(), &self.edge, payload);
        if let Err(error) = asked {
            tracing::warn!(error, "a question of the hub is not understood");
        }
    }

    /// The admin API has answered.
    pub(super) fn answered(&mut self, delivery: Delivery) {
        if let Some(payload) = question::answer(&delivery, self.packet_bytes_max) {
            self.ship(EdgeTopic::Answer, payload, Sent::Answer);
        }
        delivery.ack();
    }

    /// The hub has said what it has: from there on it goes.
    pub(super) fn known(&mut self, payload: &Bytes) {
        let known = serde_json::from_slice::<Known>(payload);
        let Some(known) = known.ok().filter(|known| known.epoch == self.tape.row.epoch) else {
            return tracing::warn!("what the hub has is not understood");
        };
        if !matches!(self.hello, Hello::Asked(_)) {
            return;
        }
        self.hello = Hello::Settled;
        let mut changes = Changes::new();
        let mut shelf = self.tape.shelf();
        if shelf.skip_to(known.numbers.end()) {
            tracing::error!(
                "the data folder is older than what the hub has of it: records are lost"
            );
        }
        for run in known.numbers.runs() {
            let places = shelf.ack(*run);
            self.tape.release(places, &mut changes);
        }
        self.tape.keep_acked(&shelf, &mut changes);
        drop(shelf);
        drop(self.context.outside.store.submit(changes));
        self.lanes = Some(Lanes::new(&self.tape));
    }
}
