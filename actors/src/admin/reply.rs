//! Where the answer to a request goes, and how it gets there.

use super::actor::{AdminCore, Outcome};
use broker::{Delivery, Outgoing};
use bytes::Bytes;
use proto::admin::Reply;
use proto::id::RequestId;
use proto::{PlatformTopic, Qos, TopicName};

/// Where the answer to a request goes.
#[derive(Default)]
pub(crate) struct ReplyTo {
    topic: Option<TopicName>,
    correlation_data: Option<Bytes>,
}

impl ReplyTo {
    /// The response topic, or else the reply topic that the request names.
    pub(super) fn of(delivery: &Delivery, request_id: Option<&RequestId>) -> Self {
        match (&delivery.response_topic, request_id) {
            (Some(topic), _) => Self {
                topic: Some(topic.clone()),
                correlation_data: delivery.correlation_data.clone(),
            },
            (None, Some(request_id)) => {
                let reply = PlatformTopic::reply(&delivery.sender.client_id, request_id);
                Self { topic: reply.map(|it| it.topic()), correlation_data: None }
            }
            (None, None) => Self::default(),
        }
    }
}

impl AdminCore {
    /// Counts and tells an outcome; the request is done with.
    pub(super) fn finish(&self, reply_to: &ReplyTo, outcome: Outcome, delivery: Option<Delivery>) {
        match &outcome {
            Ok(_) => self.context.counters.admin_done.increase(),
            Err(_) => self.context.counters.admin_refused.increase(),
        }
        if let Some(topic) = reply_to.topic.clone() {
            let message = Outgoing::new(topic, Reply::from_outcome(outcome).to_json());
            let message = message.correlation(reply_to.correlation_data.clone());
            self.client.publish(message.qos(Qos::AtLeastOnce));
        }
        if let Some(delivery) = delivery {
            delivery.ack();
        }
    }
}
