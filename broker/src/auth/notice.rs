//! Refusals as operators hear of them: counted all, logged and told as events only so many a second.

use super::Refusal;
use crate::figures::Counters;
use crate::peer::PeerAddress;
use crate::space::{Shared, Space};
use parking_lot::Mutex;
use proto::platform::EventTopic;
use proto::{PlatformTopic, TimestampMs};
use std::sync::Arc;

/// Notices of one second; what is beyond is counted and told with the next.
const NOTICES_PER_SEC: u32 = 10;

/// The longest name or client id that is told, in characters: both come from strangers.
const TOLD_CHARS_MAX: usize = 128;

/// See the module.
pub(crate) struct Notices {
    shared: Arc<Shared>,
    budget: Mutex<Budget>,
}

#[derive(Default)]
struct Budget {
    second: u64,
    used: u32,
    left_out: u64,
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
        Self { shared, budget: Mutex::default() }
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
        let now = self.shared.clock.now();
        let Some(left_out) = self.budget.lock().take(now) else { return };
        let (client_id, user_name) = (short(who.client_id), who.user_name.map(short));
        tracing::info!(
            address = %who.address, client_id, user_name, reason = refusal.as_str(), left_out,
            "client refused: {refusal}"
        );
        let Some(space) = space() else { return };
        let topic = PlatformTopic::Event(EventTopic::ClientRefused).topic();
        space.publish_event(topic, self.shared.voice(), || {
            serde_json::json!({
                "client_id": client_id,
                "user_name": user_name,
                "address": who.address,
                "reason": refusal.as_str(),
                "message": refusal.to_string(),
                "left_out": left_out,
                "t": now,
            })
        });
    }
}

impl Budget {
    /// Takes one; how many were left out since the last one, or `None` if there is none left.
    fn take(&mut self, now: TimestampMs) -> Option<u64> {
        let second = now.0 / 1000;
        if second != self.second {
            (self.second, self.used) = (second, 0);
        }
        if self.used >= NOTICES_PER_SEC {
            self.left_out += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

fn short(text: &str) -> String {
    text.chars().take(TOLD_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_at_a_bounded_rate_and_its_size_is_not_lost() {
        let mut budget = Budget::default();
        let told = (0..1000).filter(|_| budget.take(TimestampMs(5_000)).is_some()).count();
        assert_eq!(told, NOTICES_PER_SEC as usize);
        assert_eq!(budget.take(TimestampMs(6_000)), Some(990));
        assert_eq!(budget.take(TimestampMs(6_001)), Some(0));
    }
}
