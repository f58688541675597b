//! Keeps what goes up, on the way of every message: the recorder of the namespace.

use super::properties;
use super::rows::{BlockRow, GapRow, UplinkRow};
use super::settings::UplinkSettings;
use super::shelf::{Kept, Shelf};
use broker::{Recorded, Recorder, Sender};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use proto::platform::crossing;
use proto::uplink::{Block, Range, Ranges, Record};
use proto::{Clock, EdgeId, Namespace, TopicFilter, TopicName};
use std::sync::Arc;
use store::{Changes, QueueRef, ReadError, SessionKey, Store};
use tokio::sync::Notify;

/// Client ids that begin so are those of the uplink: what came down does not go up again.
pub(super) const CLIENT: &str = "$platform/uplink/";

/// See the module.
pub(crate) struct Tape {
    namespace: Namespace,
    edge: EdgeId,
    filters: Vec<TopicFilter>,
    bytes_max: u64,
    clock: Arc<dyn Clock>,
    pub(super) row: UplinkRow,
    shelf: Mutex<Shelf>,
    /// A block has been committed or packed.
    news: Notify,
}

impl Tape {
    /// The tape of a namespace as it is in the store. `random` is for a new one.
    pub(super) fn open(
        store: &Store,
        namespace: &Namespace,
        edge: &EdgeId,
        settings: &UplinkSettings,
        (clock, random): (Arc<dyn Clock>, u64),
    ) -> Result<Self, ReadError> {
        let snapshot = store.read()?;
        let row = snapshot.get::<UplinkRow>(namespace)?;
        let number = store.number();
        let is_known = row.as_ref().is_some_and(|row| row.store == number);
        let mut row = match row {
            Some(row) if is_known => row,
            // Restored from a backup: what waits goes up again, under numbers of a new life.
            Some(row) => UplinkRow { epoch: random, store: number, ..row },
            None => {
                UplinkRow { queue: random, epoch: random, store: number, acked: Ranges::default() }
            }
        };
        let prefix = store::prefix(namespace);
        let mut blocks = Vec::new();
        for found in snapshot.scan::<BlockRow>(&prefix)? {
            match found {
                Ok(((_, seq), block)) => blocks.push((seq, block)),
                Err(error) => tracing::error!(%error, "records on their way up are lost"),
            }
        }
        let gaps = snapshot.scan::<GapRow>(&prefix)?;
        let gaps = gaps.into_iter().filter_map(Result::ok).map(|(_, gap)| gap);
        if !is_known {
            let first = blocks.iter().map(|(_, block)| block.range.first).min();
            let mut acked = Ranges::default();
            acked.add(Range { first: 0, end: first.unwrap_or_else(|| row.acked.end()) });
            row.acked = acked;
            let mut changes = Changes::new();
            changes.put(namespace, &row);
            // Before any block, in the order of the store.
            drop(store.submit(changes));
        }
        let shelf = Shelf::load(row.acked.clone(), blocks, gaps);
        Ok(Self {
            namespace: namespace.clone(),
            edge: edge.clone(),
            filters: settings.filters.clone(),
            bytes_max: settings.bytes_max,
            clock,
            row,
            shelf: Mutex::new(shelf),
            news: Notify::new(),
        })
    }

    /// What waits. Never held over a wait.
    pub(super) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }

    /// Waits until something has been committed since the last time.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Says that something has changed.
    pub(super) fn tell(&self) {
        self.news.notify_one();
    }

    /// Its queue in the store.
    pub(super) fn queue(&self) -> SessionKey {
        self.row.queue_key()
    }

    /// Takes blocks out of the store, with what that makes of the gaps.
    pub(super) fn forget(&self, shelf: &Shelf, dropped: &[Kept], changes: &mut Changes) {
        self.release(dropped.iter().map(|kept| kept.seq), changes);
        if !dropped.is_empty() {
            self.keep_gaps(shelf, changes);
        }
    }

    /// Takes the blocks at these places out of the store.
    pub(super) fn release(&self, seqs: impl IntoIterator<Item = u64>, changes: &mut Changes) {
        for seq in seqs {
            changes.dequeue(self.queue(), seq);
            changes.delete::<BlockRow>(&(self.namespace.clone(), seq));
        }
    }

    /// Keeps the gaps that there are.
    pub(super) fn keep_gaps(&self, shelf: &Shelf, changes: &mut Changes) {
        for gap in shelf.gaps() {
            changes.put(&(self.namespace.clone(), gap.range.first), gap);
        }
    }

    /// The hub knows of a gap.
    pub(super) fn release_gap(&self, gap: &GapRow, changes: &mut Changes) {
        changes.delete::<GapRow>(&(self.namespace.clone(), gap.range.first));
    }

    /// Keeps how far the hub is.
    pub(super) fn keep_acked(&self, shelf: &Shelf, changes: &mut Changes) {
        let row = UplinkRow { acked: shelf.acked().clone(), ..self.row.clone() };
        changes.put(&self.namespace, &row);
    }

    /// Keeps a block at a place of the queue.
    pub(super) fn keep(
        &self,
        seq: u64,
        block: Block,
        at: proto::TimestampMs,
        changes: &mut Changes,
    ) -> BlockRow {
        let range = block.range();
        let body = block.finish();
        let row = BlockRow { range, bytes: body.len() as u64, at };
        let place = QueueRef { session: self.queue(), seq, flags: 0, expires_at_ms: None };
        changes.enqueue(Bytes::from(body), vec![place]);
        changes.put(&(self.namespace.clone(), seq), &row);
        row
    }
}

impl Recorder for Tape {
    fn wants(&self, topic: &TopicName, sender: &Sender) -> bool {
        if sender.client_id.as_str().starts_with(CLIENT) {
            return false;
        }
        let is_wanted = || self.filters.iter().any(|filter| filter.matches(topic));
        crossing::goes_up(&self.edge, topic, is_wanted)
    }

    fn record(
        &self,
        messages: &[Recorded<'_>],
        mut changes: Changes,
        submit: &mut dyn FnMut(Changes),
    ) -> u64 {
        let at = self.clock.now();
        // Held until it is submitted: blocks are committed in the order of their numbers, so that a crash leaves no
        // number out.
        let mut shelf = self.shelf();
        let (first, seq) = shelf.next();
        let mut block = Block::new(first, at);
        for message in messages {
            block.push(&Record {
                topic: message.topic.clone(),
                payload: message.payload.clone(),
                qos: message.qos,
                retain: message.retain,
                properties: properties::encode(message),
            });
        }
        let row = self.keep(seq, block, at, &mut changes);
        shelf.add(row);
        let dropped = shelf.bound_bytes(self.bytes_max);
        self.forget(&shelf, &dropped, &mut changes);
        submit(changes);
        first
    }

    fn settled(&self, ticket: u64, is_committed: bool) {
        self.shelf().settle(ticket, is_committed);
        self.tell();
    }
}
