//! How the benches take the time: that of the processor where the system tells it (Linux), so that other work on the
//! machine does not count, else that of the clock.

use std::time::Duration;
use tokio::time::Instant;

/// A moment, in time of the processor and of the clock.
pub(crate) struct Moment {
    processor: Option<Duration>,
    clock: Instant,
}

impl Moment {
    /// This moment.
    pub(crate) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/schedstat").ok();
        let nanos = stat.and_then(|it| it.split_ascii_whitespace().next()?.parse().ok());
        Self { processor: nanos.map(Duration::from_nanos), clock: Instant::now() }
    }

    /// The time since then.
    pub(crate) fn elapsed(&self) -> Duration {
        match (Self::now().processor, self.processor) {
            (Some(now), Some(then)) => now - then,
            _ => self.clock.elapsed(),
        }
    }
}

/// Prints what each of `count` took since `began`.
pub(crate) fn report(what: &str, count: usize, began: &Moment) {
    let seconds = began.elapsed().as_secs_f64();
    let (nanos, rate) = (seconds * 1e9 / count as f64, count as f64 / seconds);
    println!("{what:<36} {nanos:>8.0} ns each, {rate:.0} a second");
}
