//! One tenant of the cluster: its doors at the broker, which outlive its actor, and its restarts.

use crate::admin::AdminMsg;
use crate::context::Context;
use crate::door::{Door, NotAttached, Wrap};
use crate::restart::Failures;
use crate::tenant::TenantMsg;
use proto::Namespace;
use proto::platform::filters;
use ractor::ActorRef;
use std::sync::Arc;

/// See the module.
pub(super) struct Member {
    pub(super) door: Door<TenantMsg>,
    pub(super) admin_door: Arc<Door<AdminMsg>>,
    /// `None` while it rests after a failure.
    pub(super) actor: Option<ActorRef<TenantMsg>>,
    pub(super) failures: Failures,
}

impl Member {
    /// Attaches the clients of a tenant that has yet to start.
    pub(super) fn attach(context: &Context, namespace: &Namespace) -> Result<Self, NotAttached> {
        let settings = &context.settings;
        let window = settings.tenant_window;
        let door =
            Door::open(context, namespace, "tenant", window, Wrap::Many(TenantMsg::Deliveries))?;
        door.subscribe(filters::thing_requests());
        door.subscribe([filters::client_events()]);
        let window = settings.admin_window;
        let admin_door =
            Door::open(context, namespace, "admin", window, Wrap::Each(AdminMsg::Request))?;
        admin_door.subscribe([filters::admin_requests()]);
        Ok(Self {
            door,
            admin_door: Arc::new(admin_door),
            actor: None,
            failures: Failures::default(),
        })
    }
}
