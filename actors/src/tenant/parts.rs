//! The parts of a tenant that always run: the local edge node, the bridges, the tasks and the admin API; and the
//! end of any child.

use super::actor::{TenantCore, TenantMsg};
use crate::admin::{AdminActor, AdminArgs, AdminMsg};
use crate::ask::ask;
use crate::bridges::{BridgesActor, BridgesArgs, BridgesMsg};
use crate::cluster::ClusterMsg;
use crate::device::DeviceMsg;
use crate::door::Door;
use crate::edge_node::{EdgeNodeActor, EdgeNodeArgs, EdgeNodeMsg};
use crate::restart::{Failures, Verdict};
use crate::task::{TaskActor, TaskArgs, TaskMsg, Work};
use crate::{edges, rules, uplink};
use futures_util::FutureExt;
use futures_util::future::{join_all, join3};
use ractor::{ActorId, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::Arc;
use std::time::Duration;

/// A part whose work is one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskPart {
    /// What goes up to the hub.
    Uplink,
    /// What edge nodes send up.
    Edges,
    /// What is done when values cross limits.
    Rules,
}

/// One of them; without an actor while it rests.
struct TaskSlot {
    part: TaskPart,
    actor: Option<ActorRef<TaskMsg>>,
    failures: Failures,
}

/// The parts, and how often each has failed.
pub(crate) struct Parts {
    cluster: ActorRef<ClusterMsg>,
    admin_door: Arc<Door<AdminMsg>>,
    admin: Option<ActorRef<AdminMsg>>,
    admin_failures: Failures,
    edge_node: Option<ActorRef<EdgeNodeMsg>>,
    edge_node_failures: Failures,
    bridges: Option<ActorRef<BridgesMsg>>,
    bridges_failures: Failures,
    tasks: Vec<TaskSlot>,
}

impl Parts {
    /// Nothing runs yet.
    pub(super) fn new(cluster: ActorRef<ClusterMsg>, admin_door: Arc<Door<AdminMsg>>) -> Self {
        Self {
            cluster,
            admin_door,
            admin: None,
            admin_failures: Failures::default(),
            edge_node: None,
            edge_node_failures: Failures::default(),
            bridges: None,
            bridges_failures: Failures::default(),
            tasks: Vec::new(),
        }
    }

    /// Passes a message on; while the edge node is down its sender is told by the loss of the reply
    /// port.
    pub(super) fn to_edge_node(&self, message: EdgeNodeMsg) {
        if let Some(edge_node) = &self.edge_node {
            let _ = edge_node.cast(message);
        }
    }

    /// Passes a message on, as above.
    pub(super) fn to_bridges(&self, message: BridgesMsg) {
        if let Some(bridges) = &self.bridges {
            let _ = bridges.cast(message);
        }
    }
}

impl TenantCore {
    /// Starts a task, if this node has work for it.
    pub(super) async fn start_task(
        &mut self,
        myself: &ActorRef<TenantMsg>,
        part: TaskPart,
    ) -> Result<(), ActorProcessingErr> {
        let Some(work) = self.work_of(myself, part)? else { return Ok(()) };
        let span = tracing::info_span!("task", tenant = %self.client.namespace(), ?part);
        let args = TaskArgs { span, work };
        let actor = self.context.spawn_apart(TaskActor, args, myself.get_cell()).await?;
        match self.parts.tasks.iter_mut().find(|slot| slot.part == part) {
            Some(slot) => slot.actor = Some(actor),
            None => {
                let failures = Failures::default();
                self.parts.tasks.push(TaskSlot { part, actor: Some(actor), failures });
            }
        }
        Ok(())
    }

    fn work_of(
        &self,
        myself: &ActorRef<TenantMsg>,
        part: TaskPart,
    ) -> Result<Option<Work>, ActorProcessingErr> {
        let (context, namespace) = (self.context.clone(), self.client.namespace().clone());
        match part {
            TaskPart::Uplink => {
                let Some(tape) = context.tapes.open(&context, &self.client)? else {
                    return Ok(None);
                };
                let Some(settings) = context.settings.uplink.clone() else { return Ok(None) };
                let edge = context.settings.edge.clone();
                let args = uplink::UplinkArgs { context, namespace, edge, settings };
                Ok(Some(Box::new(move |stopped| uplink::run(args, tape, stopped).boxed())))
            }
            TaskPart::Edges => {
                let tenant = myself.clone();
                Ok(Some(Box::new(move |stopped| {
                    edges::run(context, tenant, namespace, stopped).boxed()
                })))
            }
            TaskPart::Rules => {
                Ok(Some(Box::new(move |stopped| rules::run(context, namespace, stopped).boxed())))
            }
        }
    }

    /// Starts the bridges.
    pub(super) async fn start_bridges(
        &mut self,
        myself: &ActorRef<TenantMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let args = BridgesArgs { context: self.context.clone(), client: self.client.clone() };
        let bridges = self.context.spawn_apart(BridgesActor, args, myself.get_cell()).await?;
        self.parts.bridges = Some(bridges);
        Ok(())
    }

    /// Starts the local edge node.
    pub(super) async fn start_edge_node(
        &mut self,
        myself: &ActorRef<TenantMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let args = EdgeNodeArgs { context: self.context.clone(), client: self.client.clone() };
        let edge_node = self.context.spawn_apart(EdgeNodeActor, args, myself.get_cell()).await?;
        self.parts.edge_node = Some(edge_node);
        Ok(())
    }

    /// Starts the admin API of the namespace.
    pub(super) async fn start_admin(
        &mut self,
        myself: &ActorRef<TenantMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let args = AdminArgs {
            context: self.context.clone(),
            client: self.parts.admin_door.client().clone(),
            tenant: myself.clone(),
            cluster: self.parts.cluster.clone(),
        };
        let admin = self.context.spawn_apart(AdminActor, args, myself.get_cell()).await?;
        self.parts.admin_door.lead_to(admin.clone());
        self.parts.admin = Some(admin);
        Ok(())
    }

    /// A child has ended, and was not asked to: restart it, or fail.
    pub(super) async fn child_ended(
        &mut self,
        myself: &ActorRef<TenantMsg>,
        id: ActorId,
        reason: &str,
    ) -> Result<(), ActorProcessingErr> {
        if let Some((thing, incarnation)) = self.device_of.remove(&id) {
            self.context.counters.devices_awake.decrease();
            self.device_failed(myself, &thing, incarnation, Vec::new(), reason);
            return Ok(());
        }
        let now_ms = self.context.uptime_ms();
        let policy = self.context.settings.restart;
        let is = |actor: Option<ActorId>| actor == Some(id);
        let is_task = |slot: &&mut TaskSlot| is(slot.actor.as_ref().map(|actor| actor.get_id()));
        let task = self.parts.tasks.iter_mut().find(is_task);
        let (part, verdict, rested): (_, _, fn() -> TenantMsg) = if let Some(slot) = task {
            slot.actor = None;
            let verdict = slot.failures.record(&policy, now_ms);
            match slot.part {
                TaskPart::Uplink => ("uplink", verdict, || TenantMsg::TaskRested(TaskPart::Uplink)),
                TaskPart::Edges => ("edges", verdict, || TenantMsg::TaskRested(TaskPart::Edges)),
                TaskPart::Rules => ("rules", verdict, || TenantMsg::TaskRested(TaskPart::Rules)),
            }
        } else if is(self.parts.admin.as_ref().map(|actor| actor.get_id())) {
            self.parts.admin = None;
            let verdict = self.parts.admin_failures.record(&policy, now_ms);
            ("admin", verdict, || TenantMsg::AdminRested)
        } else if is(self.parts.edge_node.as_ref().map(|actor| actor.get_id())) {
            self.parts.edge_node = None;
            let verdict = self.parts.edge_node_failures.record(&policy, now_ms);
            ("edge node", verdict, || TenantMsg::EdgeNodeRested)
        } else if is(self.parts.bridges.as_ref().map(|actor| actor.get_id())) {
            self.parts.bridges = None;
            let verdict = self.parts.bridges_failures.record(&policy, now_ms);
            ("bridges", verdict, || TenantMsg::BridgesRested)
        } else {
            return Ok(());
        };
        match verdict {
            Verdict::RestartAfter(after_ms) => {
                tracing::error!(part, reason, after_ms, "part of a tenant failed, restarting");
                self.context.counters.restarts.increase();
                myself.send_after(Duration::from_millis(after_ms), rested);
                Ok(())
            }
            Verdict::GiveUp => Err(format!("the {part} fails again and again: {reason}").into()),
        }
    }

    /// Lets the admin API finish what is in its mailbox, while this actor goes on serving it.
    pub(super) fn stop_admin(&mut self, myself: &ActorRef<TenantMsg>, reply: RpcReplyPort<()>) {
        let timeout = self.context.call_timeout();
        let admin = self.parts.admin.take();
        let myself = myself.clone();
        tokio::spawn(async move {
            if let Some(admin) = admin
                && admin.drain_and_wait(Some(timeout)).await.is_err()
            {
                admin.kill();
            }
            let _ = myself.cast(TenantMsg::Finish(reply));
        });
    }

    /// Lets the other children finish, and ends them; those that take too long are killed.
    pub(super) async fn stop_rest(&mut self) {
        let timeout = self.context.call_timeout();
        let (edge_node, bridges) = (self.parts.edge_node.take(), self.parts.bridges.take());
        let edge_node = async {
            if let Some(edge_node) = edge_node
                && ask(&edge_node, EdgeNodeMsg::Stop, timeout).await.is_none()
            {
                edge_node.kill();
            }
        };
        let bridges = async {
            if let Some(bridges) = bridges
                && ask(&bridges, BridgesMsg::Stop, timeout).await.is_none()
            {
                bridges.kill();
            }
        };
        let tasks = self.parts.tasks.drain(..).filter_map(|slot| slot.actor);
        let tasks = tasks.map(|task| async move {
            if ask(&task, TaskMsg::Stop, timeout).await.is_none() {
                task.kill();
            }
        });
        join3(edge_node, bridges, join_all(tasks)).await;
        self.context.counters.devices_awake.subtract(self.device_of.len() as u64);
        self.device_of.clear();
        let devices = self.directory.handles();
        let drained = devices.iter().map(|device: &ActorRef<DeviceMsg>| async move {
            if device.drain_and_wait(Some(timeout)).await.is_err() {
                device.kill();
            }
        });
        join_all(drained).await;
    }
}
