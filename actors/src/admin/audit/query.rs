//! Looking for records: by time, and by every field they have; newest first, or oldest first.

use super::{NAME, may_see, parsed, show, tenant_of};
use crate::admin::cursor;
use crate::admin::list::limited;
use crate::admin::plan::{Plan, Request, unreadable};
use crate::audit::chain::Record;
use crate::audit::row::AuditRow;
use crate::audit::walk::{self, PAGE};
use proto::admin::Page;
use proto::{Refusal, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// How long one page is looked for.
const PATIENCE: Duration = Duration::from_millis(200);

/// What is looked for; absent fields leave the choice.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListAudit {
    /// Absent: the caller's own. Others are the system admin's.
    tenant: Option<TenantId>,
    /// Not before this time, in milliseconds since the Unix epoch.
    from: Option<u64>,
    /// Before this time.
    to: Option<u64>,
    /// The name of who did it.
    by: Option<String>,
    /// The role of who did it.
    role: Option<String>,
    /// `login`, or resource and verb, such as `users create`.
    action: Option<String>,
    /// The resource alone.
    resource: Option<String>,
    /// What it was about: a text that one of the values of `target` is.
    target: Option<String>,
    /// `ok`, `begun` or the code of the refusal; `refused`: all but the first two.
    outcome: Option<String>,
    /// `<tenant>/<project>`.
    namespace: Option<String>,
    /// The client id it came from.
    client_id: Option<String>,
    /// The address it came from begins with this.
    address: Option<String>,
    /// The id of the request.
    request_id: Option<String>,
    /// The digest of the request.
    digest: Option<String>,
    order: Order,
    /// At most so many, 1 to 1000; absent: 100.
    limit: Option<usize>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// Which come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Newest,
    Oldest,
}

/// Looks for records, page by page.
pub(super) fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListAudit = request.read()?;
    let tenant = tenant_of(request, asked.tenant.clone())?;
    let began = Instant::now();
    let after = cursor::place(NAME, asked.cursor.as_deref(), str::parse::<u64>)?;
    let (mut low, mut high) = range(request, &tenant, &asked)?;
    match (asked.order, after) {
        (Order::Newest, Some(number)) => high = high.min(number.saturating_sub(1)),
        (Order::Oldest, Some(number)) => low = low.max(number.saturating_add(1)),
        (_, None) => {}
    }
    let limit = limited(asked.limit);
    let mut items = Vec::new();
    let mut seen = None;
    while low <= high && items.len() < limit && began.elapsed() < PATIENCE {
        let block = block(asked.order, low, high);
        for (number, row) in rows(request, &tenant, block, asked.order)? {
            if items.len() == limit {
                break;
            }
            seen = Some(number);
            let Some(record) = parsed(&row) else { continue };
            if asked.matches(&record) && may_see(request, &record) {
                items.push(show(&record, &row));
            }
        }
        let edge = if items.len() == limit { seen } else { None };
        match asked.order {
            Order::Newest => high = edge.unwrap_or(block.0).saturating_sub(1),
            Order::Oldest => low = edge.unwrap_or(block.1).saturating_add(1),
        }
    }
    let edge = match asked.order {
        Order::Newest => high.saturating_add(1),
        Order::Oldest => low.saturating_sub(1),
    };
    let next_cursor = (low <= high).then(|| cursor::after(NAME, edge));
    // Made of JSON values and a text: there is no way to fail.
    Ok(Plan::answer(serde_json::to_value(Page { items, next_cursor }).unwrap_or_default()))
}

/// The next numbers to look at, both included.
fn block(order: Order, low: u64, high: u64) -> (u64, u64) {
    let width = PAGE as u64 - 1;
    match order {
        Order::Newest => (high.saturating_sub(width).max(low), high),
        Order::Oldest => (low, low.saturating_add(width).min(high)),
    }
}

/// The records of a block that can be read, in the order asked for; `verify` tells of the others.
fn rows(
    request: &Request<'_>,
    tenant: &TenantId,
    (first, last): (u64, u64),
    order: Order,
) -> Result<Vec<(u64, AuditRow)>, Refusal> {
    let after = (tenant.clone(), first.saturating_sub(1));
    let count = usize::try_from(last - first + 1).unwrap_or(PAGE).min(PAGE);
    let page = request.snapshot.page::<AuditRow>(&store::prefix(tenant), Some(&after), count);
    let page = page.map_err(|error| unreadable(&error))?;
    let found = page.into_iter().flatten().map(|((_, number), row)| (number, row));
    let mut rows: Vec<_> = found.filter(|(number, _)| (first..=last).contains(number)).collect();
    if order == Order::Newest {
        rows.reverse();
    }
    Ok(rows)
}

/// The numbers of the records within the time asked for. Time does not go back in a chain.
fn range(
    request: &Request<'_>,
    tenant: &TenantId,
    asked: &ListAudit,
) -> Result<(u64, u64), Refusal> {
    let head = walk::head(&request.snapshot, tenant).map_err(|error| unreadable(&error))?;
    let first = request.snapshot.first::<AuditRow>(&store::prefix(tenant));
    let first = match first.map_err(|error| unreadable(&error))? {
        Some(Ok(((_, number), _))) => number,
        _ => 1,
    };
    let end = head.number.saturating_add(1);
    let low = match asked.from {
        Some(from) => first_since(request, tenant, (first, end), from)?,
        None => first,
    };
    let high = match asked.to {
        Some(to) => first_since(request, tenant, (first, end), to)?.saturating_sub(1),
        None => head.number,
    };
    Ok((low, high))
}

/// The first record of a range, its end not included, that is not before a time; the end if there is none. One that
/// cannot be read counts as late, so that nothing readable before it is passed over.
fn first_since(
    request: &Request<'_>,
    tenant: &TenantId,
    (mut low, mut high): (u64, u64),
    time: u64,
) -> Result<u64, Refusal> {
    while low < high {
        let middle = low + (high - low) / 2;
        let row = request.snapshot.get::<AuditRow>(&(tenant.clone(), middle));
        let t = row.ok().flatten().and_then(|row| parsed(&row)).map_or(u64::MAX, |it| it.t);
        match t < time {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(low)
}

impl ListAudit {
    fn matches(&self, record: &Record) -> bool {
        let is = |asked: &Option<String>, found: Option<&str>| {
            asked.as_deref().is_none_or(|asked| Some(asked) == found)
        };
        let resource = record.action.split(' ').next();
        let role = record.by.role.map(|role| role.to_string());
        let is_refused = !matches!(record.outcome.as_str(), "ok" | "begun");
        let outcome = match self.outcome.as_deref() {
            Some("refused") => is_refused,
            _ => is(&self.outcome, Some(&record.outcome)),
        };
        let address = self.address.as_deref().is_none_or(|asked| {
            record.address.as_deref().is_some_and(|found| found.starts_with(asked))
        });
        let target = self
            .target
            .as_deref()
            .is_none_or(|asked| record.target.values().any(|found| found == asked));
        self.from.is_none_or(|from| record.t >= from)
            && self.to.is_none_or(|to| record.t < to)
            && is(&self.by, Some(&record.by.name))
            && is(&self.role, role.as_deref())
            && is(&self.action, Some(&record.action))
            && is(&self.resource, resource)
            && is(&self.namespace, Some(&record.namespace))
            && is(&self.client_id, record.client_id.as_deref())
            && is(&self.request_id, record.request_id.as_deref())
            && is(&self.digest, record.digest.as_deref())
            && outcome
            && address
            && target
    }
}
