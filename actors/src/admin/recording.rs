//! What of a request stands in the audit, and when: with what it does, or before its refusal is answered.

use super::actor::AdminCore;
use super::request::{Body, Caller};
use super::table::{Operation, Resource};
use crate::audit::request::{digest, target};
use crate::audit::{By, Entry};
use proto::{ClientId, Identity, Refusal, RefusalCode};

/// Who has asked for something.
pub(super) struct Asked<'a> {
    pub(super) identity: &'a Identity,
    pub(super) client_id: &'a ClientId,
    /// Where it comes from; `None`: where its connection does.
    pub(super) address: Option<&'a str>,
}

impl AdminCore {
    /// The entry of a request, as of one that is done.
    pub(super) fn entry(
        &self,
        asked: &Asked<'_>,
        (resource, operation): (&Resource, &Operation),
        body: Option<&Body>,
    ) -> Entry {
        let namespace = self.client.namespace().clone();
        let action = format!("{} {}", resource.name, operation.verb);
        let address = match asked.address {
            Some(address) => Some(address.to_owned()),
            None => {
                let of_client = self.context.outside.broker.address(&namespace, asked.client_id);
                of_client.map(|it| it.to_string())
            }
        };
        let mut entry =
            Entry::new(self.context.now(), namespace, By::known(asked.identity), action);
        entry.client_id = Some(asked.client_id.to_string());
        entry.address = address;
        if let Some(body) = body {
            entry.target = target(body.fields());
            entry.digest = Some(digest(body.fields()));
            entry.request_id = body.request_id.as_ref().map(ToString::to_string);
        }
        entry
    }

    /// Records a refusal: of everything that would have changed something, and of what the caller may not even read.
    pub(super) async fn record_refusal(
        &self,
        operation: &Operation,
        entry: Entry,
        refusal: &Refusal,
    ) {
        if operation.is_mutation || refusal.code == RefusalCode::Forbidden {
            self.context.audit.refused(entry.with_outcome(refusal.code.as_str())).await;
        }
    }
}

/// Tells the log target `audit`.
pub(super) fn tell(
    caller: &Caller,
    (resource, operation): (&Resource, &Operation),
    refusal: Option<&Refusal>,
) {
    let (resource, verb) = (resource.name, operation.verb);
    let Caller { name, role, client_id } = caller;
    match refusal {
        None => {
            tracing::info!(target: "audit", by = name, %role, %client_id, resource, verb, "done");
        }
        Some(refusal) => {
            let code = refusal.code.as_str();
            tracing::info!(
                target: "audit", by = name, %role, %client_id, resource, verb, code, "refused"
            );
        }
    }
}
