//! The actor around the task of a bridge: starts it, stops it, and fails with it.

use super::row::BridgeRow;
use super::status::{BridgePhase, BridgeStatus};
use super::tap::Tap;
use super::worker::{Stop, Worker};
use crate::context::Shared;
use futures_util::FutureExt;
use proto::BridgeId;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::panic::AssertUnwindSafe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// What a bridge actor is told.
pub(crate) enum BridgeMsg {
    /// The task has ended, and was not asked to.
    Ended(String),
    /// Stop: what is under way may end, the rest waits on disk.
    Stop(RpcReplyPort<()>),
}

/// What a bridge actor is started with.
pub(crate) struct BridgeArgs {
    pub(crate) context: Shared,
    pub(crate) tap: Tap,
    pub(crate) bridge: BridgeId,
    pub(crate) row: BridgeRow,
    pub(crate) origin: String,
}

/// See [`super`].
pub(crate) struct BridgeActor;

/// Everything a bridge actor has.
pub(crate) struct BridgeCore {
    orders: mpsc::Sender<Stop>,
    task: Option<JoinHandle<()>>,
}

impl Actor for BridgeActor {
    type Msg = BridgeMsg;
    type State = BridgeCore;
    type Arguments = BridgeArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<BridgeMsg>,
        args: BridgeArgs,
    ) -> Result<BridgeCore, ActorProcessingErr> {
        let BridgeArgs { context, tap, bridge, row, origin } = args;
        let namespace = tap.client.namespace().clone();
        let span = tracing::info_span!("bridge", tenant = %namespace, %bridge);
        let (orders, received) = mpsc::channel(1);
        let entered = span.clone().entered();
        let task = match Worker::open(&context, &tap, &bridge, row, &origin) {
            Ok(worker) => {
                let work = async move {
                    let outcome = AssertUnwindSafe(worker.run(received)).catch_unwind().await;
                    let reason = match outcome {
                        Ok(Ok(())) => return,
                        Ok(Err(reason)) => reason,
                        Err(_) => "the bridge panicked".to_owned(),
                    };
                    let _ = myself.cast(BridgeMsg::Ended(reason));
                };
                Some(tokio::spawn(work.instrument(span)))
            }
            Err(reason) => {
                tracing::error!(reason, "bridge cannot run with this configuration");
                let now = context.now();
                let status = BridgeStatus::down(BridgePhase::Faulted, Some(reason), &origin, now);
                tap.client.publish(status.message(&bridge));
                context.bridges.show(&namespace, &bridge, status);
                None
            }
        };
        drop(entered);
        Ok(BridgeCore { orders, task })
    }

    async fn handle(
        &self,
        myself: ActorRef<BridgeMsg>,
        message: BridgeMsg,
        core: &mut BridgeCore,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BridgeMsg::Ended(reason) => Err(reason.into()),
            BridgeMsg::Stop(reply) => {
                let (done, ended) = oneshot::channel();
                if core.task.is_some() && core.orders.send(Stop(done)).await.is_ok() {
                    let _ = ended.await;
                }
                let _ = reply.send(());
                myself.stop(None);
                Ok(())
            }
        }
    }
}

impl Drop for BridgeCore {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}
