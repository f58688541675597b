//! Requests to the admin API of this node in its own name: it checks and records what an edge node or a rule brings
//! about as it does for anyone.

use crate::context::Context;
use broker::{AttachOptions, Outgoing};
use proto::admin::Reply;
use proto::id::{AdminWord, RequestId};
use proto::{ClientId, Namespace, PlatformTopic, Qos, Refusal, RefusalCode};
use serde_json::Value as Json;
use tokio::time::timeout;

/// Asks, and waits for the answer.
pub(crate) async fn ask(
    context: &Context,
    namespace: &Namespace,
    (resource, verb): (&str, &str),
    body: &Json,
) -> Result<Json, Refusal> {
    let name = format!("platform-asks-{}", context.next_number());
    let client_id = ClientId::parse(&name).map_err(Refusal::internal)?;
    let client = RequestId::parse(&name).map_err(Refusal::internal)?;
    let request_id = RequestId::parse("1").map_err(Refusal::internal)?;
    let topic = PlatformTopic::Admin {
        resource: AdminWord::parse(resource).map_err(Refusal::internal)?,
        verb: AdminWord::parse(verb).map_err(Refusal::internal)?,
        request_id: Some(request_id.clone()),
    };
    let answer = PlatformTopic::Reply { client, request_id };
    let gone = || Refusal::new(RefusalCode::Unavailable, "the namespace is not there");
    let broker = &context.outside.broker;
    let attached = broker.attach(namespace, client_id, AttachOptions { window: 1 });
    let (client, mut inbox) = attached.ok_or_else(gone)?;
    client.subscribe(answer.topic().into(), Qos::AtLeastOnce);
    let body = serde_json::to_vec(body).map_err(Refusal::internal)?;
    client.publish(Outgoing::new(topic.topic(), body).qos(Qos::AtLeastOnce));
    match timeout(context.call_timeout(), inbox.receive()).await {
        Ok(Some(delivery)) => {
            let reply = serde_json::from_slice::<Reply>(&delivery.payload);
            delivery.ack();
            reply.map_err(Refusal::internal)?.into_outcome()
        }
        Ok(None) => Err(gone()),
        Err(_) => Err(Refusal::new(RefusalCode::TimedOut, "the admin API does not answer")),
    }
}
