//! The cluster actor: which namespaces this node serves. Supervised by the system; its children are
//! the tenants.
//!
//! One machine serves every project there is; placement over several machines comes here. A project
//! is mounted in the broker before its tenant starts, and its rows are the source of truth at
//! start. What rows say of a project beside that it is there, the broker keeps to ([`tenancy`]).
//!
//! Restart policy: each tenant on its own, after a pause that doubles, within the budget. Its
//! clients stay at the broker meanwhile, so what devices publish waits and is not lost. A tenant
//! beyond its budget is tried again after `quarantine_ms`; the others are untouched, and the node
//! stays up and says so in its figures and log.

mod actor;
mod member;
mod quota;
mod row;
mod tenancy;

pub(crate) use actor::{ClusterActor, ClusterArgs, ClusterMsg};
pub(crate) use quota::{Quota, QuotaChange, check_shares};
pub(crate) use row::{ProjectRow, TenantRow};
pub(crate) use tenancy::apply;
