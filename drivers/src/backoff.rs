//! How long to wait before the next attempt to connect: doubling, capped, and spread by chance.
//!
//! Pure: the caller brings the randomness and does the waiting. Half of each delay is fixed, so
//! that attempts never come in quick succession; the other half is random, so that many drivers
//! that lost one machine together do not come back together.

/// The first delay, in milliseconds: a machine that only dropped a connection is back at once.
pub const DELAY_MS_MIN: u64 = 250;

/// The cap of the delay, in milliseconds: how much longer than its outage a remote broker may stay lost.
pub const DELAY_MS_MAX: u64 = 30_000;

/// The same for a machine: with the attempt that may be under way when it returns, it is found within ten seconds.
pub const MACHINE_DELAY_MS_MAX: u64 = 5_000;

/// The state of one series of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    attempts: u32,
    delay_ms_max: u64,
}

/// Towards a remote broker.
impl Default for Backoff {
    fn default() -> Self {
        Self { attempts: 0, delay_ms_max: DELAY_MS_MAX }
    }
}

impl Backoff {
    /// Towards a machine, which has few clients and is wanted back soon.
    pub fn of_machine() -> Self {
        Self { attempts: 0, delay_ms_max: MACHINE_DELAY_MS_MAX }
    }

    /// The delay before the next attempt, in milliseconds; `random` is any number.
    pub fn next_delay_ms(&mut self, random: u64) -> u64 {
        // Seven doublings already exceed the cap, so the shift cannot overflow.
        let doubled_ms = DELAY_MS_MIN << self.attempts.min(7);
        let delay_ms = doubled_ms.min(self.delay_ms_max);
        self.attempts = self.attempts.saturating_add(1);
        let fixed_ms = delay_ms / 2;
        fixed_ms + random % (delay_ms - fixed_ms + 1)
    }

    /// Starts over. To be called after the first good read, not after a connect: a machine that
    /// accepts connections and closes them again would be asked without pause.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Attempts since the last reset.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// With this random number the delay is the longest of its step: 250 ms and so on.
    fn longest(backoff: &mut Backoff) -> u64 {
        let mut probe = *backoff;
        let shortest_ms = probe.next_delay_ms(0);
        backoff.next_delay_ms(shortest_ms)
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let mut backoff = Backoff::default();
        let delays: Vec<u64> = (0..10).map(|_| longest(&mut backoff)).collect();
        let expected = [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000];
        assert_eq!(delays, expected);
        assert_eq!(backoff.attempts(), 10);
        backoff.reset();
        assert_eq!(longest(&mut backoff), 250);
    }

    proptest! {
        #[test]
        fn no_random_number_leaves_the_bounds(attempts: u32, random: u64) {
            let mut backoff = Backoff { attempts, ..Backoff::default() };
            let delay_ms = backoff.next_delay_ms(random);
            prop_assert!((DELAY_MS_MIN / 2..=DELAY_MS_MAX).contains(&delay_ms));
        }
    }
}
