//! Reading files again at an operator's word: what is in force stays until what was read is good.

use crate::figures::Counters;
use crate::space::Shared;
use crate::tls::Tls;
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::Arc;

/// One thing that was read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// What it is: `tls` or `jwt_keys`.
    pub what: &'static str,
    /// The listeners, or the issuer, that it is for.
    pub used_by: Vec<String>,
    /// The file, of TLS that of the certificate; or the URL.
    pub source: String,
    /// What became of it.
    pub outcome: ReloadOutcome,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What became of something that was to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// It is in force.
    Reloaded,
    /// It is being fetched, and in force when it has come.
    Asked,
    /// It cannot be used; what was before stays in force.
    Refused,
}

impl Reloaded {
    /// The outcome of a reading.
    pub(crate) fn new(
        what: &'static str,
        used_by: Vec<String>,
        source: String,
        outcome: Result<ReloadOutcome, String>,
    ) -> Self {
        let (outcome, why) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(why) => (ReloadOutcome::Refused, Some(why)),
        };
        match &why {
            None => tracing::info!(what, source, ?used_by, "read again"),
            Some(why) => tracing::error!(what, source, ?used_by, why, "refused, as before"),
        }
        Self { what, used_by, source, outcome, why }
    }
}

/// The TLS of all listeners.
#[derive(Debug, Default)]
pub(crate) struct TlsInUse {
    by_listener: Mutex<Vec<(String, Arc<Tls>)>>,
}

impl TlsInUse {
    /// A listener has been opened.
    pub(crate) fn enter(&self, listener: &str, tls: &Arc<Tls>) {
        self.by_listener.lock().push((listener.to_owned(), Arc::clone(tls)));
    }

    /// Reads all files again, each set once.
    pub(crate) fn reload(&self, shared: &Shared) -> Vec<Reloaded> {
        let mut sets: Vec<(Vec<String>, Arc<Tls>)> = Vec::new();
        for (listener, tls) in self.by_listener.lock().iter() {
            match sets.iter_mut().find(|(_, known)| Arc::ptr_eq(known, tls)) {
                Some((listeners, _)) => listeners.push(listener.clone()),
                None => sets.push((vec![listener.clone()], Arc::clone(tls))),
            }
        }
        let counters = &shared.counters;
        let reload = |(mut listeners, tls): (Vec<String>, Arc<Tls>)| {
            listeners.dedup();
            let outcome = tls.reload(shared.clock.now());
            let counter = match &outcome {
                Ok(()) => &counters.tls_reloads,
                Err(_) => &counters.tls_reload_errors,
            };
            Counters::add(counter, 1);
            let source = tls.certificate_file().display().to_string();
            let outcome = outcome.map(|()| ReloadOutcome::Reloaded);
            Reloaded::new("tls", listeners, source, outcome.map_err(|error| error.to_string()))
        };
        sets.into_iter().map(reload).collect()
    }
}
