//! Asking another actor and waiting for its answer, always with a deadline.

use ractor::rpc::CallResult;
use ractor::{ActorRef, Message, RpcReplyPort};
use std::time::Duration;

/// The answer; `None` if the actor is gone, dropped the question, or did not answer in time.
pub(crate) async fn ask<M: Message, T: Send + 'static>(
    actor: &ActorRef<M>,
    question: impl FnOnce(RpcReplyPort<T>) -> M,
    timeout: Duration,
) -> Option<T> {
    match actor.call(question, Some(timeout)).await {
        Ok(CallResult::Success(answer)) => Some(answer),
        Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => None,
    }
}
