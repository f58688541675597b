//! Puts a tenant that is not there in place as a backup has it, while the node runs.
//!
//! Its rows come first, and the tenant with its projects last: until then nobody can enter it, and no actor knows it.
//! Then the cluster serves the projects as it does at its start. A restore that is cut short leaves the tenant away and
//! rows of it behind, and the store knows of it: these are cleared when it is made again, and nobody may create a
//! tenant of that name before.

use super::{part_of_tenant, path};
use crate::ask::ask;
use crate::cluster::ClusterMsg;
use crate::cluster::TenantRow;
use crate::context::Shared;
use proto::{Refusal, TenantId};
use ractor::ActorRef;
use std::fs::File;

/// What becomes of a tenant that is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restore {
    /// The file.
    pub(crate) backup: String,
    pub(crate) tenant: TenantId,
    pub(crate) state: RestoreState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RestoreState {
    Running,
    /// It is served; how many rows it has.
    Done(u64),
    Failed(String),
}

impl Restore {
    pub(crate) fn is_running(&self) -> bool {
        self.state == RestoreState::Running
    }
}

/// Puts the tenant back for which this has been reserved, in a task of its own.
pub(crate) fn begin(context: &Shared, cluster: &ActorRef<ClusterMsg>, restore: Restore) {
    let (context, cluster) = (context.clone(), cluster.clone());
    tokio::spawn(async move {
        let Restore { backup, tenant, .. } = &restore;
        let state = match put_back(&context, &cluster, backup, tenant).await {
            Ok(rows) => {
                tracing::info!(%tenant, backup, rows, "a tenant is back");
                RestoreState::Done(rows)
            }
            Err(error) => {
                tracing::error!(%tenant, backup, error, "a tenant was not put back");
                RestoreState::Failed(error)
            }
        };
        context.backups.restored(Restore { state, ..restore });
    });
}

async fn put_back(
    context: &Shared,
    cluster: &ActorRef<ClusterMsg>,
    backup: &str,
    tenant: &TenantId,
) -> Result<u64, String> {
    let path = path(context, backup).map_err(|refusal| refusal.message)?;
    // Who was creating it when this was reserved may have come first.
    let snapshot = context.outside.store.read().map_err(|error| error.to_string())?;
    if snapshot.contains::<TenantRow>(tenant).map_err(|error| error.to_string())? {
        return Err(format!("tenant {tenant} is there by now"));
    }
    drop(snapshot);
    let (store, part) = (context.outside.store.clone(), part_of_tenant(tenant));
    let runtime = tokio::runtime::Handle::current();
    // The file is read where waiting for it holds nobody up.
    let work = tokio::task::spawn_blocking(move || {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let report = runtime.block_on(store.restore_part(std::io::BufReader::new(file), &part));
        report.map_err(|error| error.to_string())
    });
    let report = work.await.map_err(|error| error.to_string())??;
    let question = |reply| ClusterMsg::ServeTenant { tenant: tenant.clone(), reply };
    let served = ask(cluster, question, context.call_timeout()).await;
    match served {
        Some(Ok(())) => Ok(report.rows),
        Some(Err(Refusal { message, .. })) => Err(message),
        // Its rows are there: the cluster serves it when it starts anew.
        None => Ok(report.rows),
    }
}
