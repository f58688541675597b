//! The tenant actor: one namespace. Supervised by the cluster; its children are the devices that
//! are awake, the local edge node, the bridges and the admin API of the namespace.
//!
//! It hands what the broker delivers to the device that it is about, waking the device if it
//! sleeps, and tells devices of their connections. A device that wants to sleep asks first, so that
//! no message falls between. What is said about things that are not registered is refused and
//! counted. It wakes devices at the deadlines of their commands.
//!
//! Restart policy: each child on its own, after a pause that doubles, within the budget of
//! [`RestartPolicy`](crate::RestartPolicy). Mail for a resting device waits, bounded by the window
//! of the tenant's client. A device beyond its budget is quarantined: its messages are refused, an
//! event and an error tell of it, and it is tried again after `quarantine_ms` or when an admin
//! changes it. An edge node, bridges or admin API beyond its budget fails the tenant, which the cluster
//! restarts. At start, devices whose last run ended with the node are said to be offline, from
//! their rows, without waking them.

mod actor;
mod alarms;
mod deadlines;
mod directory;
mod dispatch;
mod parts;
mod settle;

pub(crate) use actor::{TenantActor, TenantArgs, TenantMsg};
