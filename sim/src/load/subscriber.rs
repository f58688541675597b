//! One subscriber: reads in large pieces, accounts for each message, acknowledges in one write.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::batch::Stamp;
use super::board::{Board, add};
use super::connection::ReadBuffer;
use super::packet::{DISCONNECT, Packet, puback};
use super::sequence::Sequence;

/// Room for the header and the topic of a packet beside its payload.
const HEADER_BYTES_MAX: usize = 1024;

/// Receives until the run tells it to leave; a connection that ends earlier is an error.
pub(super) async fn run(board: Rc<Board>, index: usize, mut stream: TcpStream) -> Result<()> {
    let (first, number) = board.case.heard_by(index);
    let mut subscriber = Subscriber {
        index,
        first,
        streams: (0..number).map(|_| Sequence::default()).collect(),
        touched: Vec::with_capacity(number),
        acknowledgements: Vec::new(),
    };
    let mut buffer = ReadBuffer::new(board.case.payload_bytes + HEADER_BYTES_MAX);
    let leave = board.leave.notified();
    tokio::pin!(leave);
    let began = Instant::now();
    loop {
        let is_open = tokio::select! {
            biased;
            () = &mut leave => {
                stream.write_all(&DISCONNECT).await.context("cannot write")?;
                return Ok(());
            }
            result = next(&board, began, &mut buffer, &mut stream) => result.context("cannot read")?,
        };
        if !is_open {
            bail!("closed by the target");
        }
        subscriber.take(&board, &mut buffer)?;
        if !subscriber.acknowledgements.is_empty() {
            stream.write_all(&subscriber.acknowledgements).await.context("cannot write")?;
        }
    }
}

/// Reads once, when it is time for that.
async fn next(
    board: &Board,
    began: Instant,
    buffer: &mut ReadBuffer,
    stream: &mut TcpStream,
) -> std::io::Result<bool> {
    let per_second = board.case.taken_per_second;
    if per_second > 0 {
        let taken = board.counters.received.get() as f64 / per_second as f64;
        sleep_until(began + Duration::from_secs_f64(taken)).await;
    }
    buffer.fill(stream).await
}

struct Subscriber {
    index: usize,
    /// The first publisher it hears.
    first: usize,
    /// One per publisher it hears.
    streams: Vec<Sequence>,
    /// Streams that moved in this read, each once.
    touched: Vec<usize>,
    acknowledgements: Vec<u8>,
}

impl Subscriber {
    /// Takes in all complete packets of the buffer and prepares their acknowledgements.
    fn take(&mut self, board: &Board, buffer: &mut ReadBuffer) -> Result<()> {
        self.acknowledgements.clear();
        let now_ns = board.now_ns();
        let mut histogram = board.histogram.borrow_mut();
        while let Some((packet, packet_bytes)) = buffer.peek()? {
            if let Packet::Publish { packet_id, payload } = packet {
                if let Some(packet_id) = packet_id {
                    self.acknowledgements.extend_from_slice(&puback(packet_id));
                }
                match self.locate(payload) {
                    Some((slot, stamp)) => {
                        let seen = self.streams[slot].observe(stamp.sequence);
                        let latency_ns = now_ns.saturating_sub(stamp.sent_ns);
                        board.arrived(seen, latency_ns, &mut histogram);
                        self.touch(slot);
                    }
                    None => add(&board.counters.foreign, 1),
                }
            }
            buffer.consume(packet_bytes);
        }
        for slot in self.touched.drain(..) {
            let next = self.streams[slot].next();
            board.advanced(self.first + slot, self.index, next, now_ns);
        }
        Ok(())
    }

    /// The stream of a message, or nothing when it is none of ours.
    fn locate(&self, payload: &[u8]) -> Option<(usize, Stamp)> {
        let stamp = Stamp::read(payload)?;
        let slot = (stamp.publisher as usize).checked_sub(self.first)?;
        (slot < self.streams.len()).then_some((slot, stamp))
    }

    fn touch(&mut self, slot: usize) {
        // Runs of one publisher are the rule; a repeated slot only costs a second wake-up.
        if self.touched.last() != Some(&slot) {
            self.touched.push(slot);
        }
    }
}
