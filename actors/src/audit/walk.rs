//! Following a chain through the store: from its checkpoint, or from its beginning, to its head.

use super::chain::{Broken, Head, ORIGIN, follow};
use super::checkpoint::Checkpoint;
use super::row::{AuditRow, HeadRow};
use proto::TenantId;
use std::time::Duration;
use store::{ReadError, RowKey as _, Snapshot};
use tokio::time::Instant;

/// Records read at a time.
pub(crate) const PAGE: usize = 256;

/// How far one walk went.
#[derive(Debug)]
pub(crate) struct Walked {
    /// Records that follow.
    pub(crate) checked: u64,
    /// The last of them.
    pub(crate) last: Head,
    /// The first that does not follow.
    pub(crate) broken: Option<Broken>,
    /// Whether there is nothing after it.
    pub(crate) is_end: bool,
}

/// How far one walk may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) records_max: u64,
    pub(crate) time_max: Duration,
}

/// Where the chain of a tenant begins: after its checkpoint, if that is signed, or at its origin.
pub(crate) fn beginning(
    snapshot: &Snapshot,
    tenant: &TenantId,
    public_key: &str,
) -> Result<Result<Head, Broken>, ReadError> {
    let checkpoint = match snapshot.get::<Checkpoint>(tenant) {
        Ok(None) => return Ok(Ok(ORIGIN)),
        Ok(Some(checkpoint)) => checkpoint,
        Err(ReadError::Unreadable { reason, .. }) => {
            let message = format!("the checkpoint cannot be read: {reason}");
            return Ok(Err(Broken { number: 0, why: "checkpoint", message }));
        }
        Err(error) => return Err(error),
    };
    Ok(checkpoint.head(tenant.as_str(), public_key).ok_or_else(|| Broken {
        number: checkpoint.number,
        why: "checkpoint",
        message: "the checkpoint is not signed with the key of this node".to_owned(),
    }))
}

/// The head of the chain of a tenant; its origin if nothing has been recorded.
pub(crate) fn head(snapshot: &Snapshot, tenant: &TenantId) -> Result<Head, ReadError> {
    Ok(snapshot.get::<HeadRow>(tenant)?.and_then(|row| row.head()).unwrap_or(ORIGIN))
}

/// Follows the chain of a tenant after `from`.
pub(crate) fn walk(
    snapshot: &Snapshot,
    tenant: &TenantId,
    from: Head,
    bounds: Bounds,
) -> Result<Walked, ReadError> {
    let began = Instant::now();
    let mut walked = Walked { checked: 0, last: from, broken: None, is_end: false };
    let prefix = store::prefix(tenant);
    while walked.checked < bounds.records_max && began.elapsed() < bounds.time_max {
        let after = (tenant.clone(), walked.last.number);
        let page = snapshot.page::<AuditRow>(&prefix, Some(&after), PAGE)?;
        let is_last = page.len() < PAGE;
        for found in page {
            let step = match found {
                Ok(((_, number), row)) => {
                    follow(&walked.last, tenant.as_str(), (number, &row.bytes, &row.hash))
                }
                Err(ReadError::Unreadable { key, reason, .. }) => {
                    let key = <(TenantId, u64)>::decode(&key);
                    let number = key.map_or(walked.last.number + 1, |(_, number)| number);
                    let message = format!("it cannot be read: {reason}");
                    Err(Broken { number, why: "unreadable", message })
                }
                Err(error) => return Err(error),
            };
            match step {
                Ok(head) => {
                    walked.last = head;
                    walked.checked += 1;
                }
                Err(broken) => {
                    walked.broken = Some(broken);
                    return Ok(walked);
                }
            }
        }
        if is_last {
            walked.is_end = true;
            walked.broken = end(snapshot, tenant, &walked.last)?;
            break;
        }
    }
    Ok(walked)
}

/// Whether a chain ends where its head says that it does.
fn end(snapshot: &Snapshot, tenant: &TenantId, last: &Head) -> Result<Option<Broken>, ReadError> {
    let broken = |number, message: String| Some(Broken { number, why: "head", message });
    let head = match head(snapshot, tenant) {
        Ok(head) => head,
        Err(ReadError::Unreadable { reason, .. }) => {
            return Ok(broken(last.number, format!("the head cannot be read: {reason}")));
        }
        Err(error) => return Err(error),
    };
    let says = || format!("the head of the chain says that record {} is the last", head.number);
    Ok(match head.number.cmp(&last.number) {
        std::cmp::Ordering::Greater => broken(last.number + 1, says()),
        std::cmp::Ordering::Less => broken(head.number + 1, says()),
        std::cmp::Ordering::Equal if head.hash != last.hash => {
            broken(last.number, "the head of the chain has another hash".to_owned())
        }
        std::cmp::Ordering::Equal => None,
    })
}
