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

/// Packs blocks that count as being packed, in a task of its own: a commit that has begun ends, also if the uplink is
/// started anew meanwhile. What cannot be packed stays as it is.
pub(super) fn begin(tape: Arc<Tape>, store: Store, parts: Vec<Kept>) {
    tokio::spawn(async move {
        let whole = pack(&tape, &store, &parts).await;
        let mut changes = Changes::new();
        let mut shelf = tape.shelf();
        shelf.packed(&parts, whole);
        // What has arrived meanwhile.
        let places = shelf.sweep();
        drop(shelf);
        tape.release(places, &mut changes);
        if !changes.is_empty() {
            drop(store.submit(changes));
        }
        tape.tell();
    });
}

/// The block that they have become; `None` if they have not.
async fn pack(tape: &Tape, store: &Store, parts: &[Kept]) -> Option<BlockRow> {
    let first = parts.first()?;
    let reading = {
        let (store, queue, parts) = (store.clone(), tape.queue(), parts.to_vec());
        // The disk, and then tens of milliseconds of work.
        tokio::task::spawn_blocking(move || merged(&store, queue, &parts))
    };
    let block = reading.await.ok()??;
    let mut changes = Changes::new();
    tape.release(parts[1..].iter().map(|part| part.seq), &mut changes);
    let row = tape.keep(first.seq, block, first.row.at, &mut changes);
    store.commit(changes).await.ok()?;
    Some(row)
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
