//! A device that comes for the first time with a certificate: registered as if it had asked for it itself.

use super::actor::{AdminCore, Performed};
use super::enrolments;
use super::recording::{self, Asked};
use super::request::{Body, Caller};
use broker::Newcomer;
use proto::{ClientId, Identity, Refusal, Role};
use serde_json::json;

/// The client id of a caller that has given none.
const NAMELESS: &str = "$platform/newcomer";

impl AdminCore {
    /// Registers a device, and returns when that is kept.
    pub(super) async fn newcomer(&mut self, newcomer: &Newcomer) -> Result<(), Refusal> {
        let name = newcomer.enrolment.clone();
        let identity = Identity::User { name, role: Role::Enrolment };
        let client_id = ClientId::parse(&newcomer.client_id)
            .or_else(|_| ClientId::parse(NAMELESS))
            .map_err(Refusal::internal)?;
        let caller = Caller::of(&identity, &client_id)?;
        let (_, authority) = &newcomer.authority;
        let body = Body::of(json!({
            "serial": newcomer.serial,
            "authority": authority,
            "fingerprint": newcomer.fingerprint,
            "expires_at": newcomer.expires_at,
        }));
        let found = (&enrolments::RESOURCE, &enrolments::JUST_IN_TIME);
        let asked =
            Asked { identity: &identity, client_id: &client_id, address: Some(&newcomer.address) };
        let entry = self.entry(&asked, found, Some(&body));
        let outcome = self.carry_out(found, &caller, (Ok(body), &entry)).await;
        recording::tell(&caller, found, outcome.as_ref().err());
        match outcome {
            Ok(Performed::Live(_)) => unreachable!("a registration asks no machine"),
            Ok(Performed::Done(_, after)) => {
                self.context.counters.newcomers_registered.increase();
                for step in after {
                    self.follow(step).await;
                }
                Ok(())
            }
            Err(refusal) => {
                self.context.counters.newcomers_refused.increase();
                self.record_refusal(found.1, entry, &refusal).await;
                Err(refusal)
            }
        }
    }
}
