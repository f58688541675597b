//! One publisher: fills batches as its window and its pace allow, and reads its acknowledgements.
//!
//! In the steady mode a message that goes out late carries the time at which it was due, so that a
//! target which stalls cannot hide it; up to [`TIMER_SLACK_NS`] late is the timer of the generator
//! and is stamped with the time of sending.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::batch::{Batch, Stamp};
use super::board::{Board, Lane, Phase, STALL, add};
use super::connection::ReadBuffer;
use super::packet::{DISCONNECT, Packet};

/// Bytes written at once at most; about what a socket takes.
const WRITE_BYTES: usize = 64 * 1024;

/// Lateness that the 1 ms timer of the runtime explains.
const TIMER_SLACK_NS: u64 = 2_000_000;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Publishes until the run is done; a connection that ends earlier is an error.
pub(super) async fn run(
    board: Rc<Board>,
    index: usize,
    topic: String,
    stream: TcpStream,
) -> Result<()> {
    let (reader, writer) = stream.into_split();
    tokio::select! {
        biased;
        result = read_acknowledgements(&board.lanes[index], reader) => result,
        result = publish(&board, index, &topic, writer) => result.context("cannot write"),
    }
}

async fn publish(
    board: &Board,
    index: usize,
    topic: &str,
    mut writer: OwnedWriteHalf,
) -> std::io::Result<()> {
    let case = &board.case;
    let lane = &board.lanes[index];
    let per_write = (WRITE_BYTES / (case.payload_bytes + topic.len() + 9)).max(1);
    let capacity = case.unseen_max().min(per_write as u64);
    let mut batch = Batch::new(topic, case.qos, case.payload_bytes, capacity as usize);
    let pace = Pace::new(case.rate_per_second, case.publishers(), index);
    let mut is_paused = true;
    loop {
        match board.phase() {
            Phase::Done => return writer.write_all(&DISCONNECT).await,
            Phase::Pause => {
                is_paused = true;
                lane.wake.notified().await;
                continue;
            }
            Phase::Warmup | Phase::Measure => {}
        }
        let now_ns = board.now_ns();
        if is_paused {
            pace.restart(now_ns);
            is_paused = false;
        }
        let left = lane.budget.get().unwrap_or(u64::MAX);
        let wanted = left.min(pace.due(now_ns)).min(capacity);
        let room = lane.room(case);
        if wanted == 0 {
            wait_for_pace(lane, &pace, left, now_ns).await;
        } else if room == 0 {
            wait_for_window(board, lane).await;
        } else {
            fill(&mut batch, lane, index, wanted.min(room), &pace, now_ns);
            writer.write_all(batch.bytes()).await?;
        }
    }
}

fn fill(batch: &mut Batch, lane: &Lane, index: usize, count: u64, pace: &Pace, now_ns: u64) {
    batch.clear();
    let first = lane.sent.get();
    for sequence in first..first + count {
        let sent_ns = pace.take(now_ns);
        batch.push(Stamp { publisher: index as u32, sequence, sent_ns });
    }
    lane.spend(count);
}

async fn wait_for_pace(lane: &Lane, pace: &Pace, left: u64, now_ns: u64) {
    if left == 0 {
        return lane.wake.notified().await;
    }
    let wait = Duration::from_nanos(pace.next_ns().saturating_sub(now_ns));
    // A wake-up only matters for a change of phase, which the caller looks at.
    let _ = timeout(wait, lane.wake.notified()).await;
}

async fn wait_for_window(board: &Board, lane: &Lane) {
    let movement = lane.movement();
    let is_woken = timeout(STALL, lane.wake.notified()).await.is_ok();
    if !is_woken && lane.movement() == movement {
        lane.write_off();
        add(&board.counters.stalls, 1);
    }
}

async fn read_acknowledgements(lane: &Lane, mut reader: OwnedReadHalf) -> Result<()> {
    let mut buffer = ReadBuffer::new(0);
    while buffer.fill(&mut reader).await.context("cannot read")? {
        let mut acknowledged = 0;
        while let Some((packet, packet_bytes)) = buffer.peek()? {
            acknowledged += u64::from(packet == Packet::PubAck);
            buffer.consume(packet_bytes);
        }
        add(&lane.acknowledged, acknowledged);
        lane.wake.notify_one();
    }
    bail!("closed by the target")
}

/// When the messages of one publisher are due.
struct Pace {
    /// Nothing means as fast as possible.
    interval_ns: Option<u64>,
    offset_ns: u64,
    next_ns: Cell<u64>,
}

impl Pace {
    /// Spreads `rate_per_second` evenly over the publishers, each at its own offset.
    fn new(rate_per_second: u64, publishers: usize, index: usize) -> Self {
        let publishers = publishers as u64;
        let interval_ns =
            (rate_per_second > 0).then(|| NS_PER_SECOND * publishers / rate_per_second);
        let offset_ns = interval_ns.unwrap_or(0) / publishers * index as u64;
        Self { interval_ns, offset_ns, next_ns: Cell::new(0) }
    }

    fn restart(&self, now_ns: u64) {
        self.next_ns.set(now_ns + self.offset_ns);
    }

    fn next_ns(&self) -> u64 {
        self.next_ns.get()
    }

    fn due(&self, now_ns: u64) -> u64 {
        let Some(interval_ns) = self.interval_ns else {
            return u64::MAX;
        };
        match now_ns.checked_sub(self.next_ns.get()) {
            Some(late_ns) => late_ns / interval_ns.max(1) + 1,
            None => 0,
        }
    }

    /// Takes one due message and answers the time it shall carry.
    fn take(&self, now_ns: u64) -> u64 {
        let Some(interval_ns) = self.interval_ns else {
            return now_ns;
        };
        let due_ns = self.next_ns.get();
        self.next_ns.set(due_ns + interval_ns);
        if now_ns.saturating_sub(due_ns) > TIMER_SLACK_NS { due_ns } else { now_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn without_a_rate_everything_is_due_and_stamped_now() {
        let pace = Pace::new(0, 3, 1);
        assert_eq!((pace.due(0), pace.take(5)), (u64::MAX, 5));
    }

    #[test]
    fn a_rate_is_spread_over_publishers_and_time() {
        let pace = Pace::new(1000, 2, 1);
        pace.restart(100 * MS);
        assert_eq!(pace.due(100 * MS), 0);
        assert_eq!(pace.next_ns(), 101 * MS);
        assert_eq!(pace.due(101 * MS), 1);
        assert_eq!(pace.due(105 * MS), 3);
        pace.take(101 * MS);
        assert_eq!(pace.due(101 * MS), 0);
        assert_eq!(pace.next_ns(), 103 * MS);
    }

    #[test]
    fn a_message_that_goes_out_late_carries_the_time_it_was_due() {
        let pace = Pace::new(1000, 1, 0);
        pace.restart(0);
        assert_eq!(pace.take(MS), MS);
        assert_eq!(pace.take(50 * MS), MS);
    }
}
