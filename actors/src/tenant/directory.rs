//! Which devices of a tenant are awake, resting after a failure, or in quarantine; without I/O.
//!
//! Generic over the handle of an actor and its mail only so that its rules can be tested as plain
//! values.

use crate::device::Sent;
use crate::restart::{Failures, RestartPolicy, Verdict};
use proto::ThingId;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

/// The devices that are not simply asleep. A thing that is absent sleeps.
pub(crate) struct Directory<H, M> {
    slots: HashMap<ThingId, Slot<H, M>>,
    failures: HashMap<ThingId, Failures>,
    policy: RestartPolicy,
    quarantine_ms: u64,
    mail_max: usize,
    next_incarnation: u64,
}

enum Slot<H, M> {
    Awake { handle: H, incarnation: u64, sent: Sent },
    Resting { incarnation: u64, mail: Vec<M> },
    Quarantined { until_ms: u64 },
}

/// Where a message goes.
pub(crate) enum Route<H, M> {
    /// To the device.
    Deliver(H, M),
    /// To the device, which has to be woken first.
    Wake(M),
    /// Nowhere yet: it waits for the device's restart.
    Kept,
    /// Back to its publisher: too much mail waits.
    Overflow(M),
    /// Refused: the device is in quarantine.
    Refuse(M),
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure<M> {
    /// Tell [`Directory::rested`] after so many milliseconds, for this incarnation.
    Rest {
        /// The pause.
        after_ms: u64,
        /// Which rest it ends.
        incarnation: u64,
    },
    /// The device is in quarantine; this mail is refused.
    Quarantine(Vec<M>),
}

impl<H: Clone, M> Directory<H, M> {
    /// An empty directory; at most `mail_max` messages wait for one device.
    pub(crate) fn new(policy: RestartPolicy, quarantine_ms: u64, mail_max: usize) -> Self {
        Self {
            slots: HashMap::new(),
            failures: HashMap::new(),
            policy,
            quarantine_ms,
            mail_max,
            next_incarnation: 1,
        }
    }

    /// Finds the way of a message.
    pub(crate) fn route(&mut self, thing: &ThingId, message: M, now_ms: u64) -> Route<H, M> {
        match self.slots.get_mut(thing) {
            None => Route::Wake(message),
            Some(Slot::Awake { handle, sent, .. }) => {
                // Before it is sent: who has handled as many has handled all.
                sent.fetch_add(1, Ordering::Release);
                Route::Deliver(handle.clone(), message)
            }
            Some(Slot::Resting { mail, .. }) if mail.len() >= self.mail_max => {
                Route::Overflow(message)
            }
            Some(Slot::Resting { mail, .. }) => {
                mail.push(message);
                Route::Kept
            }
            Some(Slot::Quarantined { until_ms }) if *until_ms <= now_ms => {
                self.slots.remove(thing);
                Route::Wake(message)
            }
            Some(Slot::Quarantined { .. }) => Route::Refuse(message),
        }
    }

    /// Whether a device is awake.
    pub(crate) fn is_awake(&self, thing: &ThingId) -> bool {
        matches!(self.slots.get(thing), Some(Slot::Awake { .. }))
    }

    /// A number for the next actor.
    pub(crate) fn incarnation(&mut self) -> u64 {
        let incarnation = self.next_incarnation;
        self.next_incarnation += 1;
        incarnation
    }

    /// A device is awake; messages for it go through [`Directory::route`] from now on, and are counted in `sent`.
    pub(crate) fn awake(&mut self, thing: ThingId, handle: H, incarnation: u64, sent: Sent) {
        self.slots.insert(thing, Slot::Awake { handle, incarnation, sent });
    }

    /// A device wants to sleep and has handled so many messages. Its handle, if it may: nothing is
    /// under way.
    pub(crate) fn sleep(&mut self, thing: &ThingId, incarnation: u64, handled: u64) -> Option<H> {
        match self.slots.get(thing) {
            Some(Slot::Awake { incarnation: known, sent, .. })
                if *known == incarnation && sent.load(Ordering::Acquire) == handled => {}
            _ => return None,
        }
        match self.slots.remove(thing) {
            Some(Slot::Awake { handle, .. }) => Some(handle),
            _ => None,
        }
    }

    /// A device has failed, or could not be started; `mail` is what it should have got. `None` if
    /// it is an actor of the past.
    pub(crate) fn failed(
        &mut self,
        thing: &ThingId,
        incarnation: u64,
        mail: Vec<M>,
        now_ms: u64,
    ) -> Option<AfterFailure<M>> {
        match self.slots.get(thing) {
            Some(Slot::Awake { incarnation: known, .. }) if *known != incarnation => return None,
            Some(Slot::Resting { .. } | Slot::Quarantined { .. }) => return None,
            _ => {}
        }
        let policy = self.policy;
        self.failures.retain(|_, failures| !failures.is_forgotten(&policy, now_ms));
        match self.failures.entry(thing.clone()).or_default().record(&policy, now_ms) {
            Verdict::RestartAfter(after_ms) => {
                let incarnation = self.incarnation();
                self.slots.insert(thing.clone(), Slot::Resting { incarnation, mail });
                Some(AfterFailure::Rest { after_ms, incarnation })
            }
            Verdict::GiveUp => {
                let until_ms = now_ms.saturating_add(self.quarantine_ms);
                self.slots.insert(thing.clone(), Slot::Quarantined { until_ms });
                Some(AfterFailure::Quarantine(mail))
            }
        }
    }

    /// A rest is over: the mail that waited. The thing sleeps until it is woken.
    pub(crate) fn rested(&mut self, thing: &ThingId, incarnation: u64) -> Option<Vec<M>> {
        match self.slots.get(thing) {
            Some(Slot::Resting { incarnation: known, .. }) if *known == incarnation => {}
            _ => return None,
        }
        match self.slots.remove(thing) {
            Some(Slot::Resting { mail, .. }) => Some(mail),
            _ => None,
        }
    }

    /// Forgets the failures of a device, because an admin changes it.
    pub(crate) fn forgive(&mut self, thing: &ThingId) {
        self.failures.remove(thing);
        if matches!(self.slots.get(thing), Some(Slot::Quarantined { .. })) {
            self.slots.remove(thing);
        }
    }

    /// The devices that are awake.
    pub(crate) fn handles(&self) -> Vec<H> {
        let handle = |slot: &Slot<H, M>| match slot {
            Slot::Awake { handle, .. } => Some(handle.clone()),
            Slot::Resting { .. } | Slot::Quarantined { .. } => None,
        };
        self.slots.values().filter_map(handle).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Mail = &'static str;

    fn directory() -> Directory<u32, Mail> {
        let policy =
            RestartPolicy { restarts_max: 2, window_ms: 100, backoff_ms: 10, backoff_ms_max: 10 };
        Directory::new(policy, 1000, 2)
    }

    fn thing() -> ThingId {
        ThingId::parse("pump7").unwrap()
    }

    fn shown(route: Route<u32, Mail>) -> String {
        match route {
            Route::Deliver(handle, mail) => format!("to {handle}: {mail}"),
            Route::Wake(mail) => format!("wake: {mail}"),
            Route::Kept => "kept".to_owned(),
            Route::Overflow(mail) => format!("overflow: {mail}"),
            Route::Refuse(mail) => format!("refused: {mail}"),
        }
    }

    #[test]
    fn a_device_sleeps_only_when_nothing_is_under_way() {
        let (mut directory, thing) = (directory(), thing());
        assert_eq!(shown(directory.route(&thing, "a", 0)), "wake: a");
        let incarnation = directory.incarnation();
        directory.awake(thing.clone(), 7, incarnation, Sent::default());
        assert_eq!(shown(directory.route(&thing, "a", 0)), "to 7: a");
        assert_eq!(shown(directory.route(&thing, "b", 0)), "to 7: b");
        assert_eq!(directory.sleep(&thing, incarnation, 1), None, "b is under way");
        assert_eq!(directory.sleep(&thing, incarnation + 1, 2), None, "of another life");
        assert_eq!(directory.sleep(&thing, incarnation, 2), Some(7));
        assert_eq!(shown(directory.route(&thing, "c", 0)), "wake: c");
    }

    #[test]
    fn mail_waits_for_a_restart_up_to_its_bound() {
        let (mut directory, thing) = (directory(), thing());
        directory.awake(thing.clone(), 7, 1, Sent::default());
        let after = directory.failed(&thing, 1, vec![], 0);
        let Some(AfterFailure::Rest { after_ms: 10, incarnation }) = after else {
            panic!("{after:?}")
        };
        assert_eq!(directory.failed(&thing, 1, vec![], 0), None, "reported twice");
        assert_eq!(shown(directory.route(&thing, "a", 1)), "kept");
        assert_eq!(shown(directory.route(&thing, "b", 1)), "kept");
        assert_eq!(shown(directory.route(&thing, "c", 1)), "overflow: c");
        assert_eq!(directory.rested(&thing, incarnation + 1), None);
        assert_eq!(directory.rested(&thing, incarnation), Some(vec!["a", "b"]));
    }

    #[test]
    fn a_device_beyond_its_budget_is_quarantined_for_a_while() {
        let (mut directory, thing) = (directory(), thing());
        for now_ms in [0, 1] {
            let after = directory.failed(&thing, 1, vec![], now_ms);
            let Some(AfterFailure::Rest { incarnation, .. }) = after else { panic!("{after:?}") };
            directory.rested(&thing, incarnation);
        }
        let after = directory.failed(&thing, 1, vec!["poison"], 2);
        assert_eq!(after, Some(AfterFailure::Quarantine(vec!["poison"])));
        assert_eq!(shown(directory.route(&thing, "a", 1001)), "refused: a");
        assert_eq!(shown(directory.route(&thing, "b", 1002)), "wake: b");
    }

    #[test]
    fn an_admin_forgives() {
        let (mut directory, thing) = (directory(), thing());
        for _ in 0..3 {
            if let Some(AfterFailure::Rest { incarnation, .. }) =
                directory.failed(&thing, 1, vec![], 0)
            {
                directory.rested(&thing, incarnation);
            }
        }
        assert_eq!(shown(directory.route(&thing, "a", 0)), "refused: a");
        directory.forgive(&thing);
        assert_eq!(shown(directory.route(&thing, "a", 0)), "wake: a");
        assert!(matches!(directory.failed(&thing, 1, vec![], 0), Some(AfterFailure::Rest { .. })));
    }
}
