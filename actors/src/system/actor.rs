//! The system actor: keeps the cluster running, or says that it cannot.

use crate::ask::ask;
use crate::cluster::{ClusterActor, ClusterArgs, ClusterMsg};
use crate::context::Shared;
use crate::restart::{Failures, Verdict};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the system is told.
pub(super) enum SystemMsg {
    /// The pause of the failed cluster is over.
    ClusterRested,
    /// The node stops.
    Stop(RpcReplyPort<()>),
}

/// What a system is started with.
pub(super) struct SystemArgs {
    pub(super) context: Shared,
    pub(super) is_ready: Arc<AtomicBool>,
}

/// See [`super`].
pub(super) struct SystemActor;

/// Everything the system has.
pub(super) struct SystemCore {
    context: Shared,
    is_ready: Arc<AtomicBool>,
    cluster: Option<ActorRef<ClusterMsg>>,
    failures: Failures,
    is_stopping: bool,
}

impl Actor for SystemActor {
    type Msg = SystemMsg;
    type State = SystemCore;
    type Arguments = SystemArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SystemMsg>,
        args: SystemArgs,
    ) -> Result<SystemCore, ActorProcessingErr> {
        let SystemArgs { context, is_ready } = args;
        let mut core = SystemCore {
            context,
            is_ready,
            cluster: None,
            failures: Failures::default(),
            is_stopping: false,
        };
        // Here, unlike at a restart, a failure is the caller's to hear of.
        core.start_cluster(&myself).await?;
        Ok(core)
    }

    async fn handle(
        &self,
        myself: ActorRef<SystemMsg>,
        message: SystemMsg,
        core: &mut SystemCore,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SystemMsg::ClusterRested => {
                if let Err(error) = core.start_cluster(&myself).await {
                    core.cluster_ended(&myself, &error.to_string())?;
                }
            }
            SystemMsg::Stop(reply) => {
                core.stop().await;
                let _ = reply.send(());
                myself.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SystemMsg>,
        event: SupervisionEvent,
        core: &mut SystemCore,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(_, error) => {
                core.cluster_ended(&myself, &error.to_string())
            }
            SupervisionEvent::ActorTerminated(_, _, reason) => {
                core.cluster_ended(&myself, &reason.unwrap_or_else(|| "ended by itself".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

impl SystemCore {
    async fn start_cluster(
        &mut self,
        myself: &ActorRef<SystemMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let args = ClusterArgs { context: self.context.clone() };
        let (cluster, _) =
            ClusterActor::spawn_linked(None, ClusterActor, args, myself.get_cell()).await?;
        self.cluster = Some(cluster);
        self.is_ready.store(true, Ordering::Release);
        Ok(())
    }

    fn cluster_ended(
        &mut self,
        myself: &ActorRef<SystemMsg>,
        reason: &str,
    ) -> Result<(), ActorProcessingErr> {
        if self.is_stopping {
            return Ok(());
        }
        self.cluster = None;
        self.is_ready.store(false, Ordering::Release);
        let now_ms = self.context.uptime_ms();
        match self.failures.record(&self.context.settings.restart, now_ms) {
            Verdict::RestartAfter(after_ms) => {
                tracing::error!(reason, after_ms, "cluster failed, restarting");
                self.context.counters.restarts.increase();
                let after = Duration::from_millis(after_ms);
                myself.send_after(after, || SystemMsg::ClusterRested);
                Ok(())
            }
            Verdict::GiveUp => {
                tracing::error!(
                    reason,
                    "cluster fails again and again, the node must be restarted"
                );
                Err(format!("the cluster fails again and again: {reason}").into())
            }
        }
    }

    async fn stop(&mut self) {
        self.is_stopping = true;
        self.is_ready.store(false, Ordering::Release);
        let timeout = self.context.call_timeout();
        if let Some(cluster) = self.cluster.take()
            && ask(&cluster, ClusterMsg::Stop, timeout).await.is_none()
        {
            cluster.kill();
        }
    }
}
