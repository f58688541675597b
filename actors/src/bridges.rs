//! The bridges actor: all bridges of a namespace to other brokers. Supervised by the tenant; its children are the
//! bridge actors.
//!
//! Restart policy: each bridge on its own, after a pause that doubles, within the budget of
//! [`RestartPolicy`](crate::RestartPolicy). Its in-process client stays attached meanwhile, so what is published in
//! the pause waits, unacknowledged, and is not missed. A bridge beyond its budget is `faulted` and tried again after
//! `quarantine_ms`, or when an admin changes it.

mod actor;

pub(crate) use actor::{BridgesActor, BridgesArgs, BridgesMsg};
