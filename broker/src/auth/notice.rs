//! Refusals as operators hear of them: counted all, logged and told as events only so many a second.

use super::Refusal;
use crate::figures::Counters;
use crate::journal::Budget;
use crate::peer::PeerAddress;
use crate::space::{Shared, Space};
use crate::witness::TurnedAway;
use proto::PlatformTopic;
use proto::platform::EventTopic;
use std::sync::Arc;

/// Notices of one second; what is beyond is counted and told with the next.
const NOTICES_PER_SEC: u32 = 10;

/// The longest name or client id that is told, in characters: both come from strangers.
const TOLD_CHARS_MAX: usize = 128;

/// See the module.
pub(crate) struct Notices {
    shared: Arc<Shared>,
    budget: Budget,
}

/// Who was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stranger<'a> {
    pub(crate) address: PeerAddress,
    pub(crate) client_id: &'a str,
    pub(crate) user_name: Option<&'a str>,
}

impl Notices {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, budget: Budget::new(NOTICES_PER_SEC) }
    }

    /// Counts a refusal, and tells of it in `space` if there is room for that.
    pub(crate) fn refused(
        &self,
        who: Stranger<'_>,
        refusal: &Refusal,
        space: impl FnOnce() -> Option<Arc<Space>>,
    ) {
        let counters = &self.shared.counters;
        Counters::add(refusal.counter(counters), 1);
        Counters::add(&counters.authentication_failures, u64::from(refusal.is_guess()));
        let witness = self.shared.witness.get();
        let now = self.shared.clock.now();
        let left_out = self.budget.take(now);
        if witness.is_none() && left_out.is_none() {
            return;
        }
        let space = space();
        if let Some(witness) = witness {
            witness.turned_away(&TurnedAway {
                namespace: space.as_ref().map(|space| space.namespace()),
                client_id: who.client_id,
                user_name: who.user_name,
                address: who.address,
                reason: refusal.as_str(),
            });
        }
        let Some(left_out) = left_out else { return };
        let (client_id, user_name) = (short(who.client_id), who.user_name.map(short));
        let code = format!("0x{:02X}", refusal.reason().code());
        tracing::info!(
            address = %who.address, client_id, user_name, reason = refusal.as_str(), code, left_out,
            "client refused: {refusal}"
        );
        let Some(space) = space else { return };
        let topic = PlatformTopic::Event(EventTopic::ClientRefused).topic();
        space.publish_event(topic, self.shared.voice(), || {
            serde_json::json!({
                "client_id": client_id,
                "user_name": user_name,
                "address": who.address,
                "reason": refusal.as_str(),
                "code": refusal.reason().code(),
                "message": refusal.to_string(),
                "left_out": left_out,
                "t": now,
            })
        });
    }
}

fn short(text: &str) -> String {
    text.chars().take(TOLD_CHARS_MAX).collect()
}
