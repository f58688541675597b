//! What the benches see of the inside; no part of the interface.

mod codec;
mod exchange;
mod matching;

pub use codec::{Encoder, decode};
pub use exchange::Exchange;
pub use matching::{Matching, Publisher};

use crate::message::{Message, Sender};
use bytes::Bytes;
use proto::{ClientId, Identity, Qos, TopicName};
use std::sync::Arc;

/// A message of the platform.
fn message(topic: &str, payload: &[u8], qos: Qos) -> Option<Arc<Message>> {
    let client_id = ClientId::parse("bench").ok()?;
    let sender = Arc::new(Sender { client_id, identity: Identity::Platform });
    Some(Arc::new(Message {
        topic: TopicName::parse(topic.to_owned()).ok()?,
        payload: Bytes::copy_from_slice(payload),
        qos,
        retain: false,
        properties: None,
        sender,
        expires_at: None,
        gate: None,
    }))
}
