//! `admin/backups/…`: copies of everything the node holds, or of one tenant, in the directory that its configuration
//! names.

use super::actor::AdminCore;
use super::list::page_of_all;
use super::plan::{After, Owner, Plan, Request};
use super::table::{Operation, Resource, SYSTEM};
use super::tenants::find as find_tenant;
use crate::audit::Entry;
use crate::audit::entry::BEGUN;
use crate::backups::restore::{Restore, RestoreState};
use crate::backups::{self, State, unusable};
use crate::cluster::TenantRow;
use crate::refused;
use broker::Outgoing;
use proto::admin::ListRequest;
use proto::{Refusal, RefusalCode, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::fs::File;
use store::{BackupReader, Changes};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: NAME,
    is: "copies of everything the node holds, or of a tenant, made while it runs",
    operations: &[
        Operation::changes::<Create>(
            "create",
            SYSTEM,
            "begins to make a backup, of everything or of one tenant",
            create,
        ),
        Operation::changes::<OneBackup>("delete", SYSTEM, "deletes a backup", delete),
        Operation::reads::<OneBackup>("get", SYSTEM, "shows a backup", get),
        Operation::reads::<ListRequest>("list", SYSTEM, "lists the backups", list),
        Operation::changes::<OneBackup>(
            "restore",
            SYSTEM,
            "begins to put a tenant that is not there in place as its backup has it",
            restore,
        ),
    ],
};

const NAME: &str = "backups";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// Only what is of this tenant; absent: everything.
    #[serde(default)]
    tenant: Option<TenantId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneBackup {
    /// The name of its file.
    backup: String,
}

/// Begins to make a backup; `get` tells when it is whole.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let Create { tenant } = request.read()?;
    if let Some(tenant) = &tenant {
        find_tenant(request, tenant).map_err(|refusal| refusal.at("tenant"))?;
    }
    let max = request.context.settings.backups_max;
    let count = backups::found(request.context)?.len();
    if count >= max {
        let message = format!("there are {count} backups, at most {max}: delete one first");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message));
    }
    let name = backups::name(tenant.as_ref(), request.now());
    let mut plan = Plan::answer(json!({ "backup": name, "state": "running" }));
    plan.owner = Owner::Backup(name.clone());
    plan.after.push(After::Backup(name, tenant));
    Ok(plan)
}

/// Begins to put the tenant of a backup in place; `get` tells when it is served.
fn restore(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneBackup { backup } = request.read()?;
    let path = backups::path(request.context, &backup)?;
    let refuse = |code, message: String| Err(Refusal::new(code, message).at("backup"));
    let reader = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Refusal::not_found("backup", &backup).at("backup"));
        }
        other => BackupReader::open(other.map_err(|error| unusable(&error))?),
    };
    let part = match reader {
        Ok(reader) => reader.header().part.clone(),
        Err(error) => return refuse(RefusalCode::Invalid, error.to_string()),
    };
    let Some(tenant) = part.and_then(|name| TenantId::parse(&name).ok()) else {
        let message = "it is of a whole node, which is restored into an empty directory";
        return refuse(RefusalCode::Invalid, message.to_owned());
    };
    if request.get::<TenantRow>(&tenant)?.is_some() {
        return Err(Refusal::already_exists("tenant", &tenant).at("backup"));
    }
    let restore = Restore { backup, tenant, state: RestoreState::Running };
    let mut plan = Plan::answer(json!({
        "backup": restore.backup, "tenant": restore.tenant, "state": "running",
    }));
    plan.owner = Owner::Restore(restore.clone());
    plan.after.push(After::Restore(restore));
    Ok(plan)
}

/// Deletes a backup.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneBackup { backup } = request.read()?;
    if !backups::path(request.context, &backup)?.exists() {
        return Err(Refusal::not_found("backup", &backup).at("backup"));
    }
    let mut plan = Plan::answer(json!({ "backup": backup }));
    plan.owner = Owner::DeletedBackup(backup);
    Ok(plan)
}

/// Shows a backup.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneBackup { backup } = request.read()?;
    let path = backups::path(request.context, &backup)?;
    // Looked at first: a file has its name before that is on the disk and the next one may be made.
    if let Some(last) = request.context.backups.last().filter(|(name, _)| *name == backup) {
        return Ok(Plan::answer(show(last)));
    }
    if path.exists() {
        let file = File::open(&path).map_err(|error| unusable(&error))?;
        let bytes = file.metadata().map_err(|error| unusable(&error))?.len();
        let mut shown = json!({ "backup": backup, "state": "done", "bytes": bytes });
        match BackupReader::open(file) {
            Ok(reader) => {
                shown["t"] = reader.header().t.into();
                shown["release"] = reader.header().release.as_str().into();
                shown["tenant"] = reader.header().part.clone().into();
                let last = request.context.backups.last_restore();
                if let Some(restore) = last.filter(|it| it.backup == backup) {
                    shown["restore"] = show_restore(&restore);
                }
            }
            Err(error) => {
                shown["state"] = "damaged".into();
                shown["error"] = error.to_string().into();
            }
        }
        return Ok(Plan::answer(shown));
    }
    Err(Refusal::not_found("backup", backup).at("backup"))
}

/// Lists the backups, by name.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let last = request.context.backups.last();
    let is_last = |name: &str| last.as_ref().is_some_and(|(last, _)| last == name);
    let mut all: Vec<(String, Json)> = backups::found(request.context)?
        .into_iter()
        .filter(|it| !is_last(&it.name))
        .map(|it| {
            let shown = json!({ "backup": it.name, "state": "done", "bytes": it.bytes });
            (it.name, shown)
        })
        .collect();
    if let Some(last) = last {
        all.push((last.0.clone(), show(last)));
    }
    page_of_all(NAME, &asked, all)
}

fn show((name, state): (String, State)) -> Json {
    match state {
        State::Running => json!({ "backup": name, "state": "running" }),
        State::Failed(error) => json!({ "backup": name, "state": "failed", "error": error }),
    }
}

fn show_restore(restore: &Restore) -> Json {
    match &restore.state {
        RestoreState::Running => json!({ "state": "running" }),
        RestoreState::Done(rows) => json!({ "state": "done", "rows": rows }),
        RestoreState::Failed(error) => json!({ "state": "failed", "error": error }),
    }
}

impl AdminCore {
    /// Keeps that a tenant is going to be put back, once it is sure that no other is.
    pub(super) async fn keep_restore(
        &self,
        restore: Restore,
        changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        self.context.backups.reserve_restore(&restore)?;
        let kept = self.client.publish_durably(changes, messages).await;
        kept.map_err(|error| {
            let refusal = refused::by_store(&error);
            let state = RestoreState::Failed(refusal.message.clone());
            self.context.backups.restored(Restore { state, ..restore });
            refusal
        })
    }

    /// Keeps that a backup is going to be made, once it is sure that no other is.
    pub(super) async fn keep_backup(
        &self,
        name: &str,
        changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        self.context.backups.reserve(name)?;
        let kept = self.client.publish_durably(changes, messages).await;
        kept.map_err(|error| {
            self.context.backups.release();
            refused::by_store(&error)
        })
    }

    /// Deletes a backup. That it was begun is on disk before the file is gone.
    pub(super) async fn delete_backup(
        &self,
        name: &str,
        (changes, messages): (Changes, Vec<Outgoing>),
        entry: &Entry,
    ) -> Result<(), Refusal> {
        let begun = self.context.audit.commit(entry.with_outcome(BEGUN)).await;
        begun.map_err(|error| refused::by_store(&error))?;
        backups::delete(&self.context, name)?;
        let kept = self.client.publish_durably(changes, messages).await;
        kept.map_err(|error| refused::by_store(&error))
    }
}
