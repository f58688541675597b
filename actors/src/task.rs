//! The actor around a task: starts it, stops it, and fails with it. For parts of a tenant whose work is one loop.
//!
//! Supervised by the tenant, which starts it anew within its budget; has no children.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::panic::AssertUnwindSafe;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

/// What the actor is told.
pub(crate) enum TaskMsg {
    /// The task has ended, and was not asked to.
    Ended(String),
    /// Stop: what is under way may end.
    Stop(RpcReplyPort<()>),
}

/// What a task does until it is told to stop; an error says why it cannot go on.
pub(crate) type Work =
    Box<dyn FnOnce(Stopped) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What the actor is started with.
pub(crate) struct TaskArgs {
    pub(crate) span: Span,
    pub(crate) work: Work,
}

/// See the module.
pub(crate) struct TaskActor;

/// Everything the actor has.
pub(crate) struct TaskCore {
    stop: watch::Sender<bool>,
    ended: Option<oneshot::Receiver<()>>,
    task: JoinHandle<()>,
}

/// Whether the task is to stop.
pub(crate) struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Waits until it is.
    pub(crate) async fn told(&mut self) {
        // An actor that is gone has aborted the task.
        let _ = self.0.wait_for(|is_stopped| *is_stopped).await;
    }
}

impl Actor for TaskActor {
    type Msg = TaskMsg;
    type State = TaskCore;
    type Arguments = TaskArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<TaskMsg>,
        args: TaskArgs,
    ) -> Result<TaskCore, ActorProcessingErr> {
        let (stop, stopped) = watch::channel(false);
        let (done, ended) = oneshot::channel();
        let work = (args.work)(Stopped(stopped));
        let watched = async move {
            let outcome = AssertUnwindSafe(work).catch_unwind().await;
            let _ = done.send(());
            let reason = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(reason)) => reason,
                Err(_) => "it panicked".to_owned(),
            };
            let _ = myself.cast(TaskMsg::Ended(reason));
        };
        let task = tokio::spawn(watched.instrument(args.span));
        Ok(TaskCore { stop, ended: Some(ended), task })
    }

    async fn handle(
        &self,
        myself: ActorRef<TaskMsg>,
        message: TaskMsg,
        core: &mut TaskCore,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TaskMsg::Ended(reason) => Err(reason.into()),
            TaskMsg::Stop(reply) => {
                let _ = core.stop.send(true);
                if let Some(ended) = core.ended.take() {
                    let _ = ended.await;
                }
                let _ = reply.send(());
                myself.stop(None);
                Ok(())
            }
        }
    }
}

impl Drop for TaskCore {
    fn drop(&mut self) {
        self.task.abort();
    }
}
