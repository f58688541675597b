//! The actor of the cluster: starts, restarts and ends tenants.

use super::member::Member;
use super::row::ProjectRow;
use crate::ask::ask;
use crate::context::Shared;
use crate::refused;
use crate::restart::Verdict;
use crate::tenant::{TenantActor, TenantArgs, TenantMsg};
use futures_util::future::join_all;
use proto::{Namespace, Refusal, RefusalCode, TenantId};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::collections::BTreeMap;
use std::time::Duration;
use store::Changes;

/// What the cluster is told.
pub(crate) enum ClusterMsg {
    /// A project is created: keep `changes`, which hold its row, and serve it.
    StartProject {
        /// Its namespace.
        namespace: Namespace,
        /// What to keep.
        changes: Changes,
        /// Told once it is kept and served.
        reply: RpcReplyPort<Result<(), Refusal>>,
    },
    /// A project is deleted: keep `changes`, which delete its row, and serve it no longer.
    EndProject {
        /// Its namespace.
        namespace: Namespace,
        /// What to keep.
        changes: Changes,
        /// Told once it is kept.
        reply: RpcReplyPort<Result<(), Refusal>>,
    },
    /// A tenant has been put back, its projects included: serve these.
    ServeTenant {
        /// Which.
        tenant: TenantId,
        /// Told once they are served.
        reply: RpcReplyPort<Result<(), Refusal>>,
    },
    /// These projects may have been opened or closed: their drivers and bridges have to know.
    Tenancy(Vec<Namespace>),
    /// The pause of a failed tenant is over.
    TenantRested(Namespace),
    /// The node stops: end every tenant.
    Stop(RpcReplyPort<()>),
    /// The tenants have ended, which may have needed this actor.
    Finish(RpcReplyPort<()>),
}

/// What a cluster is started with.
pub(crate) struct ClusterArgs {
    pub(crate) context: Shared,
}

/// See [`super`].
pub(crate) struct ClusterActor;

/// Everything a cluster has.
pub(crate) struct ClusterCore {
    context: Shared,
    members: BTreeMap<Namespace, Member>,
    is_stopping: bool,
}

impl Actor for ClusterActor {
    type Msg = ClusterMsg;
    type State = ClusterCore;
    type Arguments = ClusterArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ClusterMsg>,
        args: ClusterArgs,
    ) -> Result<ClusterCore, ActorProcessingErr> {
        let ClusterArgs { context } = args;
        let found = context.outside.store.read()?.scan::<ProjectRow>(&[])?;
        let mut core = ClusterCore { context, members: BTreeMap::new(), is_stopping: false };
        for project in found {
            match project {
                Ok((namespace, _)) => core.serve(&myself, namespace).await?,
                Err(error) => tracing::error!(%error, "a project cannot be read and is not served"),
            }
        }
        Ok(core)
    }

    async fn handle(
        &self,
        myself: ActorRef<ClusterMsg>,
        message: ClusterMsg,
        core: &mut ClusterCore,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ClusterMsg::StartProject { namespace, changes, reply } => {
                let _ = reply.send(core.start_project(&myself, namespace, changes).await);
            }
            ClusterMsg::EndProject { namespace, changes, reply } => {
                let _ = reply.send(core.end_project(namespace, changes).await);
            }
            ClusterMsg::ServeTenant { tenant, reply } => {
                let _ = reply.send(core.serve_tenant(&myself, &tenant).await);
            }
            ClusterMsg::Tenancy(namespaces) => {
                let members = namespaces.iter().filter_map(|it| core.members.get(it));
                for tenant in members.filter_map(|member| member.actor.as_ref()) {
                    // One that has just ended starts anew from what the broker knows.
                    let _ = tenant.cast(TenantMsg::Tenancy);
                }
            }
            ClusterMsg::TenantRested(namespace) => core.start_tenant(&myself, &namespace).await,
            ClusterMsg::Stop(reply) => core.stop(&myself, reply),
            ClusterMsg::Finish(reply) => {
                core.context.counters.tenants.subtract(core.members.len() as u64);
                core.members.clear();
                let _ = reply.send(());
                myself.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ClusterMsg>,
        event: SupervisionEvent,
        core: &mut ClusterCore,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                core.child_ended(&myself, cell.get_id(), &error.to_string());
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                let reason = reason.unwrap_or_else(|| "ended by itself".to_owned());
                core.child_ended(&myself, cell.get_id(), &reason);
            }
            _ => {}
        }
        Ok(())
    }
}

impl ClusterCore {
    async fn start_project(
        &mut self,
        myself: &ActorRef<ClusterMsg>,
        namespace: Namespace,
        changes: Changes,
    ) -> Result<(), Refusal> {
        if self.is_stopping {
            return Err(Refusal::new(RefusalCode::Unavailable, "the node is stopping"));
        }
        if self.members.contains_key(&namespace) {
            return Err(Refusal::already_exists("project", &namespace));
        }
        let commit = self.context.outside.store.commit(changes).await;
        commit.map_err(|error| refused::by_store(&error))?;
        self.serve(myself, namespace).await.map_err(Refusal::internal)
    }

    async fn serve_tenant(
        &mut self,
        myself: &ActorRef<ClusterMsg>,
        tenant: &TenantId,
    ) -> Result<(), Refusal> {
        if self.is_stopping {
            return Err(Refusal::new(RefusalCode::Unavailable, "the node is stopping"));
        }
        let snapshot = self.context.outside.store.read().map_err(Refusal::internal)?;
        let found = snapshot.scan::<ProjectRow>(&store::prefix(tenant));
        let mut last = None;
        for project in found.map_err(Refusal::internal)? {
            let (namespace, _) = project.map_err(Refusal::internal)?;
            if !self.members.contains_key(&namespace) {
                self.serve(myself, namespace.clone()).await.map_err(Refusal::internal)?;
            }
            last = Some(namespace);
        }
        // Its devices may come in by certificates of authorities that came with it; all are read at once.
        if let Some(namespace) = last {
            let broker = &self.context.outside.broker;
            broker.authorities_changed(&namespace, None).map_err(Refusal::internal)?;
        }
        Ok(())
    }

    /// Mounts a namespace and starts its tenant; one that does not start is tried again later.
    async fn serve(
        &mut self,
        myself: &ActorRef<ClusterMsg>,
        namespace: Namespace,
    ) -> Result<(), ActorProcessingErr> {
        self.context.outside.broker.mount(&namespace)?;
        super::tenancy::apply(&self.context, &namespace);
        let member = Member::attach(&self.context, &namespace)?;
        self.members.insert(namespace.clone(), member);
        self.context.counters.tenants.increase();
        self.start_tenant(myself, &namespace).await;
        Ok(())
    }

    async fn start_tenant(&mut self, myself: &ActorRef<ClusterMsg>, namespace: &Namespace) {
        let Some(member) = self.members.get_mut(namespace) else { return };
        let args = TenantArgs {
            context: self.context.clone(),
            cluster: myself.clone(),
            client: member.door.client().clone(),
            admin_door: member.admin_door.clone(),
        };
        match TenantActor::spawn_linked(None, TenantActor, args, myself.get_cell()).await {
            Ok((tenant, _)) => {
                member.door.lead_to(tenant.clone());
                member.actor = Some(tenant);
            }
            Err(error) => self.rest(myself, namespace.clone(), &error.to_string()),
        }
    }

    fn child_ended(&mut self, myself: &ActorRef<ClusterMsg>, id: ActorId, reason: &str) {
        let is_it = |member: &Member| member.actor.as_ref().is_some_and(|it| it.get_id() == id);
        let found = self.members.iter_mut().find(|(_, member)| is_it(member));
        let Some((namespace, member)) = found else { return };
        member.actor = None;
        if self.is_stopping {
            return;
        }
        let namespace = namespace.clone();
        self.rest(myself, namespace, reason);
    }

    fn rest(&mut self, myself: &ActorRef<ClusterMsg>, namespace: Namespace, reason: &str) {
        let settings = &self.context.settings;
        let now_ms = self.context.uptime_ms();
        let Some(member) = self.members.get_mut(&namespace) else { return };
        let after_ms = match member.failures.record(&settings.restart, now_ms) {
            Verdict::RestartAfter(after_ms) => after_ms,
            Verdict::GiveUp => {
                self.context.counters.quarantined.increase();
                settings.quarantine_ms
            }
        };
        tracing::error!(tenant = %namespace, reason, after_ms, "tenant failed, restarting");
        self.context.counters.restarts.increase();
        myself.send_after(Duration::from_millis(after_ms), || ClusterMsg::TenantRested(namespace));
    }

    async fn end_project(&mut self, namespace: Namespace, changes: Changes) -> Result<(), Refusal> {
        if !self.members.contains_key(&namespace) {
            return Err(Refusal::not_found("project", &namespace));
        }
        let commit = self.context.outside.store.commit(changes).await;
        commit.map_err(|error| refused::by_store(&error))?;
        if let Some(mut member) = self.members.remove(&namespace) {
            self.context.counters.tenants.decrease();
            end(member.actor.take(), self.context.call_timeout()).await;
        }
        self.context.outside.broker.unmount(&namespace);
        Ok(())
    }

    /// Ends every tenant, while this actor goes on serving them. Their doors stay open until all are done, so
    /// that nobody waits in vain for what is under way.
    fn stop(&mut self, myself: &ActorRef<ClusterMsg>, reply: RpcReplyPort<()>) {
        self.is_stopping = true;
        let timeout = self.context.call_timeout();
        let tenants: Vec<_> = self.members.values().map(|member| member.actor.clone()).collect();
        let myself = myself.clone();
        tokio::spawn(async move {
            join_all(tenants.into_iter().map(|tenant| end(tenant, timeout))).await;
            let _ = myself.cast(ClusterMsg::Finish(reply));
        });
    }
}

async fn end(tenant: Option<ActorRef<TenantMsg>>, timeout: Duration) {
    let Some(tenant) = tenant else { return };
    if ask(&tenant, TenantMsg::Stop, timeout).await.is_none() {
        tenant.kill();
    }
}
