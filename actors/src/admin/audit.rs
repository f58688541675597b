//! `admin/audit/…`: the chain of records of a tenant: looked through, checked, and taken out whole.
//!
//! Who administers a project sees the records of its project; who administers a tenant its chain; who runs the system
//! any tenant's. The chain itself is [`crate::audit`]; [`query`] is what `list` looks for.

mod query;

use super::cursor;
use super::list::limited;
use super::plan::{Plan, Request, unreadable};
use super::table::{ADMIN, Operation, Resource, TENANT};
use crate::audit::chain::{Broken, Head, Record, hex};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::row::AuditRow;
use crate::audit::walk::{self, Bounds};
use proto::{Refusal, RefusalCode, Role, TenantId};
use query::ListAudit;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: NAME,
    is: "what was done and by whom, and who came in, as a chain of records",
    operations: &[
        Operation::reads::<PageOfChain>(
            "export",
            TENANT,
            "gives a page of the chain as JSON Lines that can be verified elsewhere",
            export,
        ),
        Operation::reads::<OneRecord>("get", ADMIN, "shows a record", get),
        Operation::reads::<ListAudit>("list", ADMIN, "looks for records", query::list),
        Operation::reads::<PageOfChain>(
            "verify",
            TENANT,
            "follows the chain and names the first broken link",
            verify,
        ),
    ],
};

const NAME: &str = "audit";

/// Records that one request verifies, unless it asks for fewer.
const VERIFIED_MAX: u64 = 1_000_000;

/// How long one request verifies.
const VERIFY_TIME: Duration = Duration::from_secs(2);

/// Bytes of the lines of one exported page: with room for quotes it stays a packet.
const EXPORTED_BYTES_MAX: usize = 384 * 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneRecord {
    /// Its number in the chain of its tenant.
    number: u64,
    /// Absent: the caller's own.
    #[serde(default)]
    tenant: Option<TenantId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PageOfChain {
    /// Absent: the caller's own. Others are the system admin's.
    #[serde(default)]
    tenant: Option<TenantId>,
    /// At most so many records.
    #[serde(default)]
    limit: Option<usize>,
    /// Where the page before ended.
    #[serde(default)]
    cursor: Option<String>,
}

/// The tenant that a request is about; another one than the caller's is only for who runs the system.
fn tenant_of(request: &Request<'_>, asked: Option<TenantId>) -> Result<TenantId, Refusal> {
    let own = &request.namespace.tenant;
    match asked {
        Some(tenant) if tenant != *own && !request.caller.is_at_least(Role::SystemAdmin) => {
            let message = "the audit of another tenant needs the role system_admin";
            Err(Refusal::new(RefusalCode::Forbidden, message).at("tenant"))
        }
        Some(tenant) => Ok(tenant),
        None => Ok(own.clone()),
    }
}

/// Whether the caller sees a record: below the administrator of a tenant, only those of its own project.
fn may_see(request: &Request<'_>, record: &Record) -> bool {
    request.caller.is_at_least(Role::TenantAdmin)
        || record.namespace == request.namespace.to_string()
}

/// Shows a record.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneRecord { number, tenant } = request.read()?;
    let tenant = tenant_of(request, tenant)?;
    let row = request.get::<AuditRow>(&(tenant, number))?;
    let record = row.and_then(|row| Some((parsed(&row)?, row)));
    match record.filter(|(record, _)| may_see(request, record)) {
        Some((record, row)) => Ok(Plan::answer(show(&record, &row))),
        None => Err(Refusal::not_found("record", number).at("number")),
    }
}

/// Follows the chain, for so long as one request may take, and names the first broken link.
fn verify(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (tenant, from, limit) = match begin(request)? {
        Ok(begun) => begun,
        Err(broken) => return Ok(Plan::answer(verdict(0, None, Some(&broken)))),
    };
    let records_max = limit.map_or(VERIFIED_MAX, |limit| limit as u64).clamp(1, VERIFIED_MAX);
    let bounds = Bounds { records_max, time_max: VERIFY_TIME };
    let walked = walk::walk(&request.snapshot, &tenant, from, bounds);
    let walked = walked.map_err(|error| unreadable(&error))?;
    let last = Some(&walked.last);
    let mut answer = verdict(walked.checked, last, walked.broken.as_ref());
    if !walked.is_end && walked.broken.is_none() {
        answer["next_cursor"] = cursor::after(NAME, walked.last.number).into();
    }
    answer["public_key"] = request.context.audit.key().public().into();
    Ok(Plan::answer(answer))
}

/// Gives a page of the chain, oldest first: the lines are the records byte for byte.
fn export(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (tenant, from, limit) = match begin(request)? {
        Ok(begun) => begun,
        Err(broken) => return Err(no_chain(&broken)),
    };
    let prefix = store::prefix(&tenant);
    let after = (tenant.clone(), from.number);
    let page = request.snapshot.page::<AuditRow>(&prefix, Some(&after), limited(limit));
    let (mut lines, mut last, mut count) = (String::new(), from, 0_u64);
    let mut is_end = true;
    for found in page.map_err(|error| unreadable(&error))? {
        let ((_, number), row) = found.map_err(|error| unreadable(&error))?;
        if count > 0 && lines.len() + row.bytes.len() > EXPORTED_BYTES_MAX {
            is_end = false;
            break;
        }
        lines.push_str(&String::from_utf8_lossy(&row.bytes));
        lines.push('\n');
        last = Head { number, hash: row.hash, t: 0 };
        count += 1;
    }
    let head = walk::head(&request.snapshot, &tenant).map_err(|error| unreadable(&error))?;
    is_end &= last.number >= head.number || count == 0;
    let mut answer = json!({
        "tenant": tenant,
        "lines": lines,
        "count": count,
        "after": place(&from),
        "last": place(&last),
        "head": place(&head),
        "checkpoint": request.get::<Checkpoint>(&tenant)?,
        "public_key": request.context.audit.key().public(),
    });
    if !is_end {
        answer["next_cursor"] = cursor::after(NAME, last.number).into();
    }
    Ok(Plan::answer(answer))
}

type Begun = (TenantId, Head, Option<usize>);

/// Where a walk begins: after the record of the cursor, or where the chain does.
fn begin(request: &Request<'_>) -> Result<Result<Begun, Broken>, Refusal> {
    let PageOfChain { tenant, limit, cursor } = request.read()?;
    let tenant = tenant_of(request, tenant)?;
    let place = cursor::place(NAME, cursor.as_deref(), str::parse::<u64>)?;
    let from = match place {
        None => {
            let public_key = request.context.audit.key().public();
            let beginning = walk::beginning(&request.snapshot, &tenant, &public_key);
            match beginning.map_err(|error| unreadable(&error))? {
                Ok(head) => head,
                Err(broken) => return Ok(Err(broken)),
            }
        }
        Some(number) => {
            let row = request.get::<AuditRow>(&(tenant.clone(), number))?;
            let head =
                row.and_then(|row| Some(Head { number, hash: row.hash, t: parsed(&row)?.t }));
            head.ok_or_else(|| {
                let message = format!("record {number}, where the page before ended, is gone");
                Refusal::new(RefusalCode::Invalid, message).at("cursor")
            })?
        }
    };
    Ok(Ok((tenant, from, limit)))
}

fn no_chain(broken: &Broken) -> Refusal {
    Refusal::new(RefusalCode::Internal, format!("record {}: {}", broken.number, broken.message))
}

fn verdict(checked: u64, last: Option<&Head>, broken: Option<&Broken>) -> Json {
    let broken =
        broken.map(|it| json!({ "number": it.number, "why": it.why, "message": it.message }));
    json!({
        "holds": broken.is_none(),
        "checked": checked,
        "last": last.map(place),
        "broken": broken,
    })
}

fn place(head: &Head) -> Json {
    json!({ "number": head.number, "hash": hex(&head.hash) })
}

/// What a row says; `None` if it is no record, which `verify` tells of.
fn parsed(row: &AuditRow) -> Option<Record> {
    serde_json::from_slice(&row.bytes).ok()
}

fn show(record: &Record, row: &AuditRow) -> Json {
    let mut shown = json!(record);
    shown["hash"] = hex(&row.hash).into();
    shown
}
