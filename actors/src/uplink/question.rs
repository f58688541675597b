//! Questions of the hub: requests of its operators, which the admin API here carries out and records.

use crate::context::Context;
use crate::edges::hotline::{Answer, HUB_ITSELF, Question};
use broker::{AttachOptions, Delivery, Outgoing};
use bytes::Bytes;
use proto::admin::Reply;
use proto::id::AdminWord;
use proto::platform::EdgeTopic;
use proto::{
    ClientId, EdgeId, Identity, Namespace, PlatformTopic, Qos, Refusal, RefusalCode, Role, UserId,
};

/// What a packet has beyond the answer in it.
const PACKET_OVERHEAD: usize = 1024;

/// Asks the admin API, in the name of whoever asks at the hub. The answer comes on `edges/<edge>/answer`.
pub(super) fn ask(
    context: &Context,
    namespace: &Namespace,
    edge: &EdgeId,
    payload: &Bytes,
) -> Result<(), String> {
    let question: Question = serde_json::from_slice(payload).map_err(|it| it.to_string())?;
    let word = |text: &str| AdminWord::parse(text).map_err(|error| error.to_string());
    let topic = PlatformTopic::Admin {
        resource: word(&question.resource)?,
        verb: word(&question.verb)?,
        request_id: None,
    };
    let number = context.next_number();
    let client_id = ClientId::parse(&format!("$platform/hub/{number}"));
    let client_id = client_id.map_err(|error| error.to_string())?;
    let identity = identity(&question)?;
    let broker = &context.outside.broker;
    let attached = broker.attach_as(namespace, client_id, identity, AttachOptions { window: 1 });
    let (client, _inbox) = attached.ok_or("the namespace is not there")?;
    let body = serde_json::to_vec(&question.body).map_err(|error| error.to_string())?;
    let mut outgoing = Outgoing::new(topic.topic(), body).qos(Qos::AtLeastOnce);
    let answer = PlatformTopic::Edge { edge: edge.clone(), topic: EdgeTopic::Answer };
    outgoing.properties.response_topic = Some(answer.topic());
    let id = question.id.to_be_bytes();
    client.publish(outgoing.correlation(Some(Bytes::copy_from_slice(&id))));
    Ok(())
}

/// `<name>` at the hub is `hub.<name>` here; nobody from there is more than an administrator of the project.
fn identity(question: &Question) -> Result<Identity, String> {
    if question.caller == HUB_ITSELF {
        return Ok(Identity::Platform);
    }
    let name = UserId::parse(&format!("hub.{}", question.caller.trim_start_matches('$')));
    let name = name.map_err(|error| error.to_string())?;
    let role = match question.role.is_admin() {
        true => Role::ProjectAdmin,
        false => Role::User,
    };
    Ok(Identity::User { name, role })
}

/// The answer as it goes to the hub; `None` if it is to no question.
pub(super) fn answer(delivery: &Delivery, packet_bytes_max: usize) -> Option<Vec<u8>> {
    let id = u64::from_be_bytes(delivery.correlation_data.as_deref()?.try_into().ok()?);
    let reply = serde_json::from_slice::<Reply>(&delivery.payload).ok()?;
    let payload = serde_json::to_vec(&Answer { id, reply }).ok()?;
    if payload.len() + PACKET_OVERHEAD <= packet_bytes_max {
        return Some(payload);
    }
    let message = format!("the answer has {} bytes, more than the hub takes", payload.len());
    let reply = Reply::from_outcome(Err(Refusal::new(RefusalCode::TooLarge, message)));
    serde_json::to_vec(&Answer { id, reply }).ok()
}
