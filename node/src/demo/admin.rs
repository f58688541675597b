//! The admin API from inside the process: the same requests over an in-process session.

use anyhow::Context as _;
use broker::{AttachOptions, Broker, Client, Inbox, Outgoing};
use bytes::Bytes;
use proto::admin::Reply;
use proto::id::AdminWord;
use proto::id::RequestId;
use proto::{ClientId, Namespace, PlatformTopic, Qos, Refusal, TopicFilter, TopicName};
use serde_json::Value;
use std::time::Duration;

/// For one request and its answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// One request at a time is under way.
const WINDOW: usize = 4;

/// A session that asks the admin API of the default namespace.
pub(super) struct Admin {
    client: Client,
    inbox: Inbox,
    reply_topic: TopicName,
    requests: u64,
}

impl Admin {
    /// Attaches to the broker.
    pub(super) fn attach(broker: &Broker) -> anyhow::Result<Self> {
        let client_id = ClientId::parse("manifold-demo")?;
        let reply_topic = PlatformTopic::reply(&client_id, &RequestId::parse("0")?)
            .context("no reply topic")?
            .topic();
        let options = AttachOptions { window: WINDOW };
        let (client, inbox) = broker
            .attach(&Namespace::default(), client_id, options)
            .context("the namespace of the demo is not served")?;
        client.subscribe(TopicFilter::parse(reply_topic.as_str())?, Qos::AtLeastOnce);
        Ok(Self { client, inbox, reply_topic, requests: 0 })
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn call(
        &mut self,
        resource: &str,
        verb: &str,
        body: &Value,
    ) -> anyhow::Result<Result<Value, Refusal>> {
        self.requests += 1;
        let correlation = Bytes::copy_from_slice(&self.requests.to_be_bytes());
        let topic = PlatformTopic::Admin {
            resource: AdminWord::parse(resource)?,
            verb: AdminWord::parse(verb)?,
            request_id: None,
        };
        let mut request = Outgoing::new(topic.topic(), body.to_string())
            .qos(Qos::AtLeastOnce)
            .correlation(Some(correlation.clone()));
        request.properties.response_topic = Some(self.reply_topic.clone());
        self.client.publish(request);
        tokio::time::timeout(DEADLINE, self.answer(&correlation))
            .await
            .with_context(|| format!("no answer to {resource} {verb}"))?
            .with_context(|| format!("{resource} {verb} failed"))
    }

    async fn answer(&mut self, correlation: &[u8]) -> anyhow::Result<Result<Value, Refusal>> {
        loop {
            let delivery = self.inbox.receive().await.context("the broker has ended")?;
            let is_ours = delivery.correlation_data.as_deref() == Some(correlation);
            let payload = delivery.payload.clone();
            delivery.ack();
            if is_ours {
                return Ok(serde_json::from_slice::<Reply>(&payload)?.into_outcome());
            }
        }
    }
}
