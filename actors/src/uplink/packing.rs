//! Makes many small blocks into a large one: a name is then said once for many values.

use super::rows::BlockRow;
use super::shelf::Kept;
use super::tape::Tape;
use proto::uplink::{Block, BlockReader};
use std::sync::Arc;
use store::{Changes, Store};

/// So many blocks are packed at once, or fewer that have [`BYTES_MAX`] together.
pub(super) const BLOCKS_MIN: usize = 256;

/// About the bytes that are packed at once: each of ten thousand tags then has some thirty values in one block.
pub(super) const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Rows and bytes read at a time.
const READ_MAX: (usize, usize) = (256, 1024 * 1024);

/// Packs blocks that count as being packed; `None` if they stay as they are.
pub(super) async fn pack(
    tape: Arc<Tape>,
    store: Store,
    parts: Vec<Kept>,
) -> (Vec<Kept>, Option<BlockRow>) {
    let reading = {
        let (store, parts) = (store.clone(), parts.clone());
        let queue = tape.queue();
        // The disk, and then tens of milliseconds of work.
        tokio::task::spawn_blocking(move || merged(&store, queue, &parts))
    };
    let Ok(Some(block)) = reading.await else { return (parts, None) };
    let Some(first) = parts.first() else { return (parts, None) };
    let mut changes = Changes::new();
    tape.release(parts[1..].iter().map(|part| part.seq), &mut changes);
    let row = tape.keep(first.seq, block, first.row.at, &mut changes);
    let outcome = store.commit(changes).await;
    (parts, outcome.is_ok().then_some(row))
}

fn merged(store: &Store, queue: store::SessionKey, parts: &[Kept]) -> Option<Block> {
    let first = parts.first()?;
    let mut whole = Block::new(first.row.range.first, first.row.at);
    let mut waiting = parts.iter();
    let mut after = first.seq - 1;
    let (rows, bytes) = READ_MAX;
    let mut part = waiting.next()?;
    loop {
        let found = store.read().ok()?.queue(queue, after, rows, bytes).ok()?;
        if found.is_empty() {
            return None;
        }
        for queued in found {
            after = queued.seq;
            if queued.seq != part.seq {
                // One that was given up meanwhile, between those that are wanted.
                continue;
            }
            let reader = BlockReader::open(queued.body).ok()?;
            for record in reader {
                whole.push(&record.ok()?.1);
            }
            match waiting.next() {
                Some(next) => part = next,
                None => return Some(whole),
            }
        }
    }
}
