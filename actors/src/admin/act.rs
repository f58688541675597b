//! What operators do to the broker by hand. It is done, and durable, before it is answered.

use super::subscriptions;
use crate::refused;
use broker::{Broker, Reason};
use proto::{ClientId, Namespace, Refusal, Subscription, TopicName};

/// Something that the broker does at an operator's word.
#[derive(Debug)]
pub(super) enum Act {
    /// Ends a session, with its connection if it has one.
    EndSession(ClientId, Reason),
    /// Ends a subscription of a client.
    EndSubscription(ClientId, Subscription),
    /// Deletes the retained messages of topics, some hundred in each commit.
    DeleteRetained(Vec<TopicName>),
}

/// Retained messages deleted in one commit, so that others have their turns in between.
const DELETED_AT_ONCE: usize = 500;

impl Act {
    /// Does it.
    pub(super) async fn carry_out(
        self,
        broker: &Broker,
        namespace: &Namespace,
    ) -> Result<(), Refusal> {
        match self {
            Self::EndSession(client_id, reason) => {
                let ended = broker.end_session(namespace, &client_id, reason).await;
                match ended.map_err(|error| refused::by_store(&error))? {
                    true => Ok(()),
                    false => Err(Refusal::not_found("session", client_id).at("client_id")),
                }
            }
            Self::EndSubscription(client_id, subscription) => {
                let ended = broker.end_subscription(namespace, &client_id, &subscription).await;
                match ended.map_err(|error| refused::by_store(&error))? {
                    true => Ok(()),
                    false => Err(subscriptions::unknown(&client_id, &subscription)),
                }
            }
            Self::DeleteRetained(topics) => {
                for some in topics.chunks(DELETED_AT_ONCE) {
                    let deleted = broker.delete_retained(namespace, some.to_vec()).await;
                    deleted.map_err(|error| refused::by_store(&error))?;
                }
                Ok(())
            }
        }
    }
}
