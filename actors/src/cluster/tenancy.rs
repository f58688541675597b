//! Has the broker keep to what the rows of a project and its tenant say: whether it is open, and its quota.

use super::row::{ProjectRow, TenantRow};
use crate::context::Context;
use proto::Namespace;
use store::ReadError;

/// Brings the broker in line with the rows of a namespace that is mounted. One whose rows cannot be read is closed:
/// whether anybody may enter it is not known.
pub(crate) fn apply(context: &Context, namespace: &Namespace) {
    let broker = &context.outside.broker;
    match read(context, namespace) {
        Ok(Some((tenant, project))) => {
            broker.set_quota(namespace, project.quota.of_broker());
            let is_closed = tenant.is_disabled || project.is_disabled;
            let disconnected = broker.set_closed(namespace, is_closed);
            if is_closed {
                tracing::info!(%namespace, disconnected, "a disabled project is closed");
            }
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(%namespace, %error, "its rows cannot be read, the project is closed");
            broker.set_closed(namespace, true);
        }
    }
}

fn read(
    context: &Context,
    namespace: &Namespace,
) -> Result<Option<(TenantRow, ProjectRow)>, ReadError> {
    let snapshot = context.outside.store.read()?;
    let project = snapshot.get::<ProjectRow>(namespace)?;
    let tenant = snapshot.get::<TenantRow>(&namespace.tenant)?;
    Ok(tenant.zip(project))
}
