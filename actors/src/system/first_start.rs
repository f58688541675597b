//! What a system needs before anybody can come in: its two projects, a tenant for every project, and one operator.

use super::FirstAdmin;
use crate::audit::{self, By, Entry};
use crate::cluster::{ProjectRow, TenantRow};
use crate::context::Context;
use crate::secret;
use broker::credential::{Credential, CredentialIdentity, HashError, system_namespace};
use proto::{Identity, Namespace, Role, TenantId, UserId};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Changes, CommitError, ReadError, Snapshot};

/// The name of the first operator.
const ADMIN: &str = "admin";

/// Why the first start could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The given secret cannot be used.
    #[error("the admin secret is refused: {0}")]
    Secret(&'static str),
    /// The secret could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The hashing was cut off.
    #[error("the admin secret was not hashed: the process is stopping")]
    Stopping,
}

/// Creates what is missing, in one commit; the operator, if one had to be made.
pub(super) async fn prepare(context: &Arc<Context>) -> Result<Option<FirstAdmin>, FirstStartError> {
    let system = system_namespace();
    let mut changes = Changes::new();
    let snapshot = context.outside.store.read()?;
    for namespace in [Namespace::default(), system.clone()] {
        if !snapshot.contains::<ProjectRow>(&namespace)? {
            changes.put::<ProjectRow>(&namespace, &ProjectRow::new(context.now()));
        }
    }
    add_missing_tenants(context, &snapshot, &mut changes)?;
    let has_users = snapshot.first::<Credential>(&store::prefix(&system))?.is_some();
    drop(snapshot);

    let mut admin = None;
    if !has_users {
        let given = context.settings.admin_secret.clone();
        let is_generated = given.is_none();
        let secret = given.unwrap_or_else(|| secret::generate(&*context.outside.entropy));
        secret::check(&secret).map_err(FirstStartError::Secret)?;
        let identity = CredentialIdentity::User { role: Role::SystemAdmin };
        // A secret of our own making has all the entropy it needs; only one that a person chose needs slow hashing.
        let credential = match is_generated {
            true => Credential::device(identity, &secret, &*context.outside.entropy),
            false => hash(context, identity, secret.clone()).await?,
        };
        let name = UserId::parse(ADMIN).map_err(|_| FirstStartError::Secret("no such name"))?;
        let by = By::known(&Identity::Platform);
        let mut entry = Entry::new(context.now(), system.clone(), by, "users create");
        entry.target.insert("user".to_owned(), ADMIN.to_owned());
        audit::log::add(&mut changes, entry);
        changes.put::<Credential>(&(system, name), &credential);
        admin = Some(FirstAdmin { user: ADMIN.to_owned(), secret, is_generated });
    }
    if !changes.is_empty() {
        context.outside.store.commit(changes).await?;
    }
    Ok(admin)
}

/// Projects of an earlier build have no tenant of their own yet.
fn add_missing_tenants(
    context: &Context,
    snapshot: &Snapshot,
    changes: &mut Changes,
) -> Result<(), ReadError> {
    let served = snapshot.scan::<ProjectRow>(&[])?.into_iter().flatten().map(|(it, _)| it);
    let always = [Namespace::default(), system_namespace()];
    let tenants: BTreeSet<TenantId> = served.chain(always).map(|it| it.tenant).collect();
    for tenant in tenants {
        if !snapshot.contains::<TenantRow>(&tenant)? {
            changes.put::<TenantRow>(&tenant, &TenantRow::new(context.now()));
        }
    }
    Ok(())
}

async fn hash(
    context: &Arc<Context>,
    identity: CredentialIdentity,
    secret: String,
) -> Result<Credential, FirstStartError> {
    let context = Arc::clone(context);
    let hashed = tokio::task::spawn_blocking(move || {
        Credential::person(identity, &secret, &*context.outside.entropy)
    });
    Ok(hashed.await.map_err(|_| FirstStartError::Stopping)??)
}
