//! The system: the root of the tree, one per process, and the handle by which the node holds it.
//!
//! [`start`] brings a first start into being ([`first_start`]), then starts the system actor, whose
//! one child is the cluster. Nothing is process-wide: two systems run beside one another in one
//! test.
//!
//! Restart policy: the cluster is restarted after a pause that doubles, within the budget. Beyond
//! it nothing below can be helped: the system stops, [`Platform::is_ready`] turns false for good,
//! and the node is to be restarted.

mod actor;
mod first_start;

use crate::ask::ask;
use crate::audit::Audit;
use crate::audit::clerk::Clerk;
use crate::audit::log::AuditError;
use crate::audit::witness::Witness;
use crate::context::{Context, Shared};
use crate::figures::Figures;
use crate::newcomers::Registrar;
use crate::ports::Outside;
use crate::settings::Settings;
use actor::{SystemActor, SystemArgs, SystemMsg};
use first_start::FirstStartError;
use ractor::{Actor, ActorRef, SpawnErr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A running tree. Dropping it does not stop it; [`Platform::stop`] does.
pub struct Platform {
    context: Shared,
    system: ActorRef<SystemMsg>,
    is_ready: Arc<AtomicBool>,
    first_admin: Option<FirstAdmin>,
    clerk: Clerk,
}

/// The operator made by the first start.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstAdmin {
    /// Its user name, in any namespace.
    pub user: String,
    /// Its secret, of which only a hash is kept: to be shown once.
    pub secret: String,
    /// Whether the secret was made here, and is known to nobody yet.
    pub is_generated: bool,
}

/// Why the tree did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The audit cannot begin.
    #[error("cannot begin the audit: {0}")]
    Audit(#[from] AuditError),
    /// The first start could not be prepared.
    #[error("cannot prepare the first start: {0}")]
    FirstStart(#[from] FirstStartError),
    /// The system actor, or one below it, did not start.
    #[error("cannot start the supervision tree: {0}")]
    Spawn(#[from] SpawnErr),
}

/// Starts the tree on its outside: namespaces are mounted and every part runs when this returns.
pub async fn start(outside: Outside, settings: Settings) -> Result<Platform, StartError> {
    let audit = Audit::open(&outside).await?;
    let witness = Witness::new(&audit, Arc::clone(&outside.clock));
    outside.broker.set_witness(Arc::new(witness));
    let context = Arc::new(Context::new(outside, settings, audit));
    let registrar = Registrar::new(Arc::clone(&context));
    context.outside.broker.set_registrar(Arc::new(registrar));
    let first_admin = first_start::prepare(&context).await?;
    let is_ready = Arc::new(AtomicBool::new(false));
    let args = SystemArgs { context: Arc::clone(&context), is_ready: Arc::clone(&is_ready) };
    let (system, _) = SystemActor::spawn(None, SystemActor, args).await?;
    let clerk = Clerk::start(Arc::clone(&context));
    Ok(Platform { context, system, is_ready, first_admin, clerk })
}

impl Platform {
    /// The operator made by the first start; absent at every later one.
    pub fn first_admin(&self) -> Option<&FirstAdmin> {
        self.first_admin.as_ref()
    }

    /// Whether the tree serves: started, not stopping, not failed.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// What the tree has counted.
    pub fn figures(&self) -> Figures {
        self.context.counters.read(&self.context.audit.figures)
    }

    /// Stops the tree: drivers stop, devices finish what is in their mailbox. What is not done
    /// after `deadline` is ended as it is; nothing that was acknowledged is lost by that. Whether
    /// everything ended in time.
    pub async fn stop(self, deadline: Duration) -> bool {
        self.is_ready.store(false, Ordering::Release);
        let is_clean = ask(&self.system, SystemMsg::Stop, deadline).await.is_some();
        if !is_clean {
            self.system.kill();
        }
        self.clerk.stop().await;
        is_clean
    }
}

impl std::fmt::Debug for FirstAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret stays out of logs.
        f.debug_struct("FirstAdmin").field("user", &self.user).finish_non_exhaustive()
    }
}
