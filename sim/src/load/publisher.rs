//! One publisher: fills batches as its window and its pace allow, and reads its acknowledgements.

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
use super::pace::Pace;
use super::packet::{DISCONNECT, Packet};

/// Bytes written at once at most; about what a socket takes.
const WRITE_BYTES: usize = 64 * 1024;

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
