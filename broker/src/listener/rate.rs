//! How many connections a listener takes in a second: a token bucket that holds one second's worth.

use tokio::time::Instant;

/// The bucket.
#[derive(Debug)]
pub(super) struct Rate {
    /// 0: any number.
    per_sec: u32,
    tokens: f64,
    filled_at: Option<Instant>,
}

impl Rate {
    /// A full bucket.
    pub(super) fn new(per_sec: u32) -> Self {
        Self { per_sec, tokens: f64::from(per_sec), filled_at: None }
    }

    /// Takes one out; `false` if there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.per_sec == 0 {
            return true;
        }
        let rate = f64::from(self.per_sec);
        if let Some(before) = self.filled_at.replace(now) {
            let gained = now.saturating_duration_since(before).as_secs_f64() * rate;
            self.tokens = (self.tokens + gained).min(rate);
        }
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_gives_as_many_as_the_rate_and_no_more_are_saved_up() {
        let start = Instant::now();
        let mut rate = Rate::new(10);
        let take = |rate: &mut Rate, ms| {
            (0..100).filter(|_| rate.take(start + Duration::from_millis(ms))).count()
        };
        assert_eq!(take(&mut rate, 0), 10);
        assert_eq!(take(&mut rate, 50), 0);
        assert_eq!(take(&mut rate, 550), 5);
        assert_eq!(take(&mut rate, 60_000), 10);
        assert_eq!(take(&mut Rate::new(0), 0), 100);
    }
}
