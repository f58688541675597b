//! What all connections of one run share: phase, counters, windows.
//!
//! The generator is one thread, so this is plain cells and no locks. A [`Lane`] is one publisher
//! with its window. At QoS 1 the window counts PUBACKs; at QoS 0 there are none, so it follows the
//! slowest of the subscribers that hear the lane, and nothing is lost by sending too fast. A lane
//! that sees no progress for [`STALL`] writes off what is in flight and goes on: the messages are
//! counted as lost at the end unless they still come. The limits themselves are
//! [`Case::unseen_max`] and [`Case::unacknowledged_max`].

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::case::Case;
use super::histogram::Histogram;
use super::sequence::Seen;

/// Time without progress after which a lane's messages in flight are written off.
pub const STALL: Duration = Duration::from_secs(1);

/// The part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Publishers send, nothing is measured.
    Warmup,
    /// Publishers wait for what is in flight.
    Pause,
    /// Publishers send, what arrives is measured.
    Measure,
    /// Publishers are done.
    Done,
}

/// Totals over the whole run.
#[derive(Debug, Default)]
pub struct Counters {
    /// Copies received for the first time.
    pub received: Cell<u64>,
    /// Copies received again.
    pub duplicates: Cell<u64>,
    /// Copies received after a later one of the same publisher.
    pub late: Cell<u64>,
    /// Messages that no publisher of this run sent.
    pub foreign: Cell<u64>,
    /// Copies received during the measurement, first time or not.
    pub measured: Cell<u64>,
    /// Times that a lane wrote off what was in flight.
    pub stalls: Cell<u64>,
}

/// One publisher's window.
#[derive(Debug)]
pub struct Lane {
    /// Messages handed to the socket.
    pub sent: Cell<u64>,
    /// PUBACKs received.
    pub acknowledged: Cell<u64>,
    /// Messages to send in the measured part, when their number is limited.
    pub budget: Cell<Option<u64>>,
    /// Wakes the publisher when something of the above or the phase changed.
    pub wake: Notify,
    /// For each subscriber that hears it, one more than the highest number that arrived.
    progress: Vec<Cell<u64>>,
    written_off: Cell<u64>,
}

/// The shared state of one run.
#[derive(Debug)]
pub struct Board {
    /// The load.
    pub case: Case,
    /// One per publisher.
    pub lanes: Vec<Lane>,
    /// Totals over the whole run.
    pub counters: Counters,
    /// Latencies in the measured part.
    pub histogram: RefCell<Histogram>,
    /// Tells subscribers to leave.
    pub leave: Notify,
    /// Tells the run that a connection failed; the reason is in `failure`.
    pub failed: Notify,
    failure: RefCell<Option<String>>,
    phase: Cell<Phase>,
    last_arrival_ns: Cell<u64>,
    start: Instant,
}

impl Board {
    /// The state before the first message.
    #[must_use]
    pub fn new(case: Case) -> Self {
        let lane = || Lane {
            sent: Cell::new(0),
            acknowledged: Cell::new(0),
            budget: Cell::new(None),
            wake: Notify::new(),
            progress: vec![Cell::new(0); case.copies()],
            written_off: Cell::new(0),
        };
        Self {
            lanes: (0..case.publishers()).map(|_| lane()).collect(),
            case,
            counters: Counters::default(),
            histogram: RefCell::default(),
            leave: Notify::new(),
            failed: Notify::new(),
            failure: RefCell::new(None),
            phase: Cell::new(Phase::Warmup),
            last_arrival_ns: Cell::new(0),
            start: Instant::now(),
        }
    }

    /// Nanoseconds since the start of the run.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The part of the run.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Enters a part of the run and wakes all publishers.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        for lane in &self.lanes {
            lane.wake.notify_one();
        }
    }

    /// Records why a connection ended; the first reason stays.
    pub fn fail(&self, reason: String) {
        self.failure.borrow_mut().get_or_insert(reason);
        self.failed.notify_one();
    }

    /// The first reason why a connection ended.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Copies that the subscribers shall have received by now.
    #[must_use]
    pub fn expected(&self) -> u64 {
        let sent: u64 = self.lanes.iter().map(|lane| lane.sent.get()).sum();
        sent * self.case.copies() as u64
    }

    /// When the last message arrived, in nanoseconds since the start of the run.
    #[must_use]
    pub fn last_arrival_ns(&self) -> u64 {
        self.last_arrival_ns.get()
    }

    /// Whether every lane has sent its budget; always false without one.
    #[must_use]
    pub fn is_budget_spent(&self) -> bool {
        self.lanes.iter().all(|lane| lane.budget.get() == Some(0))
    }

    /// Takes in one received copy.
    pub fn arrived(&self, seen: Seen, latency_ns: u64, histogram: &mut Histogram) {
        let counters = &self.counters;
        match seen {
            Seen::New => add(&counters.received, 1),
            Seen::Late => {
                add(&counters.received, 1);
                add(&counters.late, 1);
            }
            Seen::Duplicate => add(&counters.duplicates, 1),
        }
        if self.phase.get() == Phase::Measure {
            add(&counters.measured, 1);
            histogram.record(latency_ns);
        }
    }

    /// Takes in that `subscriber` has seen the messages of `publisher` below `next`.
    pub fn advanced(&self, publisher: usize, subscriber: usize, next: u64, now_ns: u64) {
        self.last_arrival_ns.set(now_ns);
        let lane = &self.lanes[publisher];
        lane.progress[self.case.place(subscriber)].set(next);
        lane.wake.notify_one();
    }
}

impl Lane {
    /// Messages that may be sent now.
    #[must_use]
    pub fn room(&self, case: &Case) -> u64 {
        let written_off = self.written_off.get();
        let unseen = self.sent.get().saturating_sub(self.seen_by_all().max(written_off));
        let room = case.unseen_max().saturating_sub(unseen);
        if case.qos == 0 {
            return room;
        }
        let settled = self.acknowledged.get().max(written_off);
        let unacknowledged = self.sent.get().saturating_sub(settled);
        room.min(case.unacknowledged_max().saturating_sub(unacknowledged))
    }

    /// A number that changes when acknowledgements or messages arrive.
    #[must_use]
    pub fn movement(&self) -> u64 {
        self.acknowledged.get() + self.seen_by_all()
    }

    /// Messages that the slowest subscriber has received.
    fn seen_by_all(&self) -> u64 {
        self.progress.iter().map(Cell::get).min().unwrap_or(0)
    }

    /// Gives up waiting for what is in flight.
    pub fn write_off(&self) {
        self.written_off.set(self.sent.get());
    }

    /// Takes in `count` sent messages.
    pub fn spend(&self, count: u64) {
        add(&self.sent, count);
        self.budget.set(self.budget.get().map(|left| left.saturating_sub(count)));
    }
}

/// Adds to a counter.
pub fn add(counter: &Cell<u64>, count: u64) {
    counter.set(counter.get() + count);
}

#[cfg(test)]
mod tests {
    use super::super::case::Shape;
    use super::*;

    fn board(shape: Shape, count: usize, qos: u8) -> Board {
        Board::new(Case { count, qos, window: 10, ..Case::usual(shape) })
    }

    #[test]
    fn at_qos_0_the_slowest_subscriber_holds_the_window() {
        let board = board(Shape::FanOut, 3, 0);
        let lane = &board.lanes[0];
        lane.spend(10);
        assert_eq!(lane.room(&board.case), 0);
        board.advanced(0, 0, 10, 1);
        board.advanced(0, 1, 10, 1);
        assert_eq!(lane.room(&board.case), 0);
        board.advanced(0, 2, 4, 2);
        assert_eq!(lane.room(&board.case), 4);
        assert_eq!((board.expected(), board.last_arrival_ns()), (30, 2));
    }

    #[test]
    fn at_qos_1_acknowledgements_move_the_window() {
        let board = board(Shape::Pairs, 2, 1);
        let lane = &board.lanes[1];
        lane.spend(10);
        board.advanced(1, 1, 10, 1);
        assert_eq!(lane.room(&board.case), 0);
        add(&lane.acknowledged, 2);
        assert_eq!(lane.room(&board.case), 2);
    }

    #[test]
    fn at_qos_1_a_broker_that_acknowledges_but_does_not_deliver_is_not_flooded() {
        let board = board(Shape::Pairs, 1, 1);
        let lane = &board.lanes[0];
        lane.spend(95);
        add(&lane.acknowledged, 95);
        assert_eq!(lane.room(&board.case), 5);
        lane.spend(5);
        add(&lane.acknowledged, 5);
        assert_eq!(lane.room(&board.case), 0);
    }

    #[test]
    fn written_off_messages_free_the_window_and_late_ones_do_not_widen_it() {
        let board = board(Shape::Pairs, 1, 0);
        let lane = &board.lanes[0];
        lane.spend(10);
        lane.write_off();
        assert_eq!(lane.room(&board.case), 10);
        lane.spend(10);
        board.advanced(0, 0, 3, 1);
        assert_eq!(lane.room(&board.case), 0);
    }

    #[test]
    fn budgets_run_out() {
        let board = board(Shape::Pairs, 1, 0);
        assert!(!board.is_budget_spent());
        board.lanes[0].budget.set(Some(3));
        board.lanes[0].spend(3);
        assert!(board.is_budget_spent());
    }

    #[test]
    fn only_the_measured_part_is_measured() {
        let board = board(Shape::Pairs, 1, 0);
        let mut histogram = Histogram::default();
        board.arrived(Seen::New, 5, &mut histogram);
        board.enter(Phase::Measure);
        board.arrived(Seen::Duplicate, 5, &mut histogram);
        board.arrived(Seen::Late, 5, &mut histogram);
        let counters = &board.counters;
        assert_eq!((counters.received.get(), counters.measured.get()), (2, 2));
        assert_eq!((counters.duplicates.get(), counters.late.get()), (1, 1));
        assert_eq!(histogram.count(), 2);
    }
}
