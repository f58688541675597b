//! Retention: records that are too old, or too many, are dropped, and a signed checkpoint stands for them. What does
//! not follow is not dropped: a checkpoint must not hide a broken link.

use super::chain::{Broken, Head, follow};
use super::checkpoint::{Checkpoint, Key};
use super::row::{AuditRow, HeadRow};
use super::walk;
use crate::context::Shared;
use proto::{TenantId, TimestampMs};
use store::{Changes, ReadError, Snapshot};

/// Records dropped in one commit.
const DROPPED_AT_ONCE: u64 = 1000;

/// Commits in one go for one tenant; the rest has the next.
const COMMITS_MAX: u64 = 100;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// How long records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// 0: for ever.
    pub(super) keep_days: u64,
    /// For each tenant.
    pub(super) records_max: u64,
}

/// Drops what is over the bounds, of all tenants.
pub(super) async fn keep(context: &Shared) {
    let settings = &context.settings;
    let policy =
        Policy { keep_days: settings.audit_keep_days, records_max: settings.audit_records_max };
    let tenants = {
        let heads = context.outside.store.read().and_then(|it| it.scan::<HeadRow>(&[]));
        match heads {
            Ok(heads) => heads.into_iter().flatten().map(|(tenant, _)| tenant).collect::<Vec<_>>(),
            Err(error) => return tracing::error!(%error, "the audit cannot be looked through"),
        }
    };
    for tenant in tenants {
        for _ in 0..COMMITS_MAX {
            match drop_some(context, &tenant, policy).await {
                Ok(0) => break,
                Ok(dropped) => context.audit.figures.dropped.add(dropped),
                Err(error) => {
                    tracing::error!(%tenant, error, "audit records cannot be dropped");
                    break;
                }
            }
        }
    }
}

async fn drop_some(context: &Shared, tenant: &TenantId, policy: Policy) -> Result<u64, String> {
    let (shared, named, now) = (context.clone(), tenant.clone(), context.now());
    // It may read from the disk.
    let planned = tokio::task::spawn_blocking(move || {
        let snapshot = shared.outside.store.read()?;
        plan(&snapshot, &named, (policy, now), shared.audit.key())
    });
    let planned = planned.await.map_err(|_| "the node is stopping".to_owned())?;
    let Some((changes, count)) = planned.map_err(|error| error.to_string())? else { return Ok(0) };
    let kept = context.outside.store.commit(changes).await;
    kept.map(|()| count).map_err(|error| error.to_string())
}

/// The next records to drop, with the checkpoint that stands for them.
pub(super) fn plan(
    snapshot: &Snapshot,
    tenant: &TenantId,
    (policy, now): (Policy, TimestampMs),
    key: &Key,
) -> Result<Option<(Changes, u64)>, ReadError> {
    let Ok(first) = walk::beginning(snapshot, tenant, &key.public())? else {
        tracing::error!(%tenant, "the checkpoint of the audit does not hold, nothing is dropped");
        return Ok(None);
    };
    let head = walk::head(snapshot, tenant)?;
    let excess = (head.number - first.number.min(head.number)).saturating_sub(policy.records_max);
    let before = match policy.keep_days {
        0 => 0,
        days => now.0.saturating_sub(days.saturating_mul(DAY_MS)),
    };
    let is_due = |count, next: &Head| count < excess || next.t < before;
    let (last, count) = due(snapshot, tenant, first, is_due)?;
    if count == 0 {
        return Ok(None);
    }
    let mut changes = Changes::new();
    for number in first.number + 1..=last.number {
        changes.delete::<AuditRow>(&(tenant.clone(), number));
    }
    changes.put::<Checkpoint>(tenant, &key.checkpoint(tenant.as_str(), &last));
    Ok(Some((changes, count)))
}

/// How far records are due to be dropped, and follow; the last of them, and how many they are.
fn due(
    snapshot: &Snapshot,
    tenant: &TenantId,
    first: Head,
    is_due: impl Fn(u64, &Head) -> bool,
) -> Result<(Head, u64), ReadError> {
    let (mut last, mut count) = (first, 0);
    loop {
        let after = (tenant.clone(), last.number);
        let page = snapshot.page::<AuditRow>(&store::prefix(tenant), Some(&after), walk::PAGE)?;
        let is_last = page.len() < walk::PAGE;
        for found in page {
            let Ok(((_, number), row)) = found else { return Ok((last, count)) };
            match follow(&last, tenant.as_str(), (number, &row.bytes, &row.hash)) {
                Ok(next) if count < DROPPED_AT_ONCE && is_due(count, &next) => {
                    (last, count) = (next, count + 1);
                }
                Ok(_) => return Ok((last, count)),
                Err(Broken { number, why, .. }) => {
                    tracing::error!(%tenant, number, why, "the audit does not hold, nothing after is dropped");
                    return Ok((last, count));
                }
            }
        }
        if is_last {
            return Ok((last, count));
        }
    }
}
