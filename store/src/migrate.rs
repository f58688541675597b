//! Brings a store without a log up to one with a log: the bodies of its queues go into the log,
//! their places into the table of places.
//!
//! One transaction of redb does all of it, so a migration that was interrupted has not happened;
//! what it left of a log is removed by the next one. A row that cannot be read is carried over as
//! it is, and its reader is told.

use crate::base::{Base, Living, failed};
use crate::checkpoint::Count;
use crate::error::OpenError;
use crate::log::{Log, Position, recover};
use crate::medium::Medium;
use crate::plan::{PlaceChange, PlaceStep, Plan};
use crate::queue::{Place, PlaceKey, QUEUE};
use crate::row::{RowError, unframe};
use crate::writer::Bounds;
use bytes::Bytes;
use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::{info, warn};

const OLD_QUEUE: TableDefinition<'static, &'static [u8; 16], &'static [u8]> =
    TableDefinition::new("queue");
const OLD_BODIES: TableDefinition<'static, u64, &'static [u8]> =
    TableDefinition::new("queue_bodies");
const OLD_BODY_REFS: TableDefinition<'static, u64, u32> = TableDefinition::new("queue_body_refs");

/// One record of the log takes about so many bytes of bodies.
const RECORD_BYTES: usize = 1 << 20;

type Places<'txn> = Table<'txn, &'static [u8; 16], &'static [u8]>;

/// A row of the old queue table. Its payload: `[flags u8][shape u8][expires u64?]`, then the body
/// or `[body id u64][length u32]`.
struct OldRow<'a> {
    flags: u8,
    expires_at_ms: Option<u64>,
    body: OldBody<'a>,
}

enum OldBody<'a> {
    Inline(&'a [u8]),
    Shared(u64),
}

pub(crate) fn migrate(
    database: &Database,
    medium: &Arc<dyn Medium>,
    store: u64,
) -> Result<Base, OpenError> {
    let path = medium.path();
    info!(path = %path.display(), "moving the message queues of an older store into its log");
    let clear = || medium.segments()?.into_iter().try_for_each(|id| medium.remove_segment(id));
    clear().map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    let log = recover(medium, store, Position::START, &[], |_, _| {})?.log;
    let base = run(database, log).map_err(|error| failed(path, error))?;
    info!(path = %path.display(), "the message queues are in the log");
    Ok(base)
}

fn run(database: &Database, log: Log) -> Result<Base, redb::Error> {
    let store = log.store();
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    let base = {
        let mut mover = Mover { log, count: Count::default(), plan: Plan::default(), bytes: 0 };
        let mut places = txn.open_table(QUEUE)?;
        let shared = mover.move_own_bodies(&txn, &mut places)?;
        mover.move_shared_bodies(&txn, &mut places, shared)?;
        mover.flush(&mut places)?;
        mover.log.sync()?;
        Base { store, checkpoint: mover.log.end(), living: mover.count.applied_to(&Living::new()) }
    };
    txn.delete_table(OLD_QUEUE)?;
    txn.delete_table(OLD_BODIES)?;
    txn.delete_table(OLD_BODY_REFS)?;
    base.write(&txn)?;
    txn.commit()?;
    Ok(base)
}

/// Gathers messages into records of the log.
struct Mover {
    log: Log,
    count: Count,
    plan: Plan,
    bytes: usize,
}

/// Body id to the places that share the body.
type Sharers = BTreeMap<u64, Vec<(PlaceKey, u8, Option<u64>)>>;

impl Mover {
    /// Moves the messages whose bodies lie in their rows; answers the others.
    fn move_own_bodies(
        &mut self,
        txn: &WriteTransaction,
        places: &mut Places<'_>,
    ) -> Result<Sharers, redb::Error> {
        let mut shared = Sharers::new();
        for row in txn.open_table(OLD_QUEUE)?.iter()? {
            let (key, row) = row?;
            let (key, row) = (key.value(), row.value());
            let at = PlaceKey::decode(key);
            match OldRow::decode(key, row) {
                Ok(OldRow { flags, expires_at_ms, body: OldBody::Shared(id) }) => {
                    shared.entry(id).or_default().push((at, flags, expires_at_ms));
                }
                Ok(OldRow { flags, expires_at_ms, body: OldBody::Inline(body) }) => {
                    let body = Bytes::copy_from_slice(body);
                    self.add(body, [(at, flags, expires_at_ms)], places)?;
                }
                Err(reason) => {
                    warn!(?at, %reason, "an unreadable queue row stays unreadable");
                    places.insert(key, row)?;
                }
            }
        }
        Ok(shared)
    }

    fn move_shared_bodies(
        &mut self,
        txn: &WriteTransaction,
        places: &mut Places<'_>,
        shared: Sharers,
    ) -> Result<(), redb::Error> {
        let bodies = txn.open_table(OLD_BODIES)?;
        for (id, sharers) in shared {
            let body = bodies.get(id)?;
            let framed = body.as_ref().map(|row| unframe(&id.to_be_bytes(), row.value()));
            if let Some(Ok((1, body))) = framed {
                self.add(Bytes::copy_from_slice(body), sharers, places)?;
            } else {
                warn!(body_id = id, "a shared body is unreadable, and so are its messages");
                for (at, _, _) in sharers {
                    places.insert(&at.encode(), [].as_slice())?;
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        body: Bytes,
        sharers: impl IntoIterator<Item = (PlaceKey, u8, Option<u64>)>,
        places: &mut Places<'_>,
    ) -> Result<(), redb::Error> {
        let index = self.plan.bodies.len();
        self.bytes += body.len();
        self.plan.bodies.push(body);
        let step = |(at, flags, expires_at_ms)| PlaceStep {
            at,
            what: PlaceChange::Put { body: index, flags, expires_at_ms },
        };
        self.plan.places.extend(sharers.into_iter().map(step));
        match self.bytes + self.plan.places.len() * 32 >= RECORD_BYTES {
            true => self.flush(places),
            false => Ok(()),
        }
    }

    fn flush(&mut self, places: &mut Places<'_>) -> Result<(), redb::Error> {
        let plan = std::mem::take(&mut self.plan);
        self.bytes = 0;
        if plan.is_empty() {
            return Ok(());
        }
        let bodies = self.log.append(&plan, false, Bounds::default().segment_bytes)?;
        let refs = plan.body_refs();
        let mut row = Vec::new();
        for step in &plan.places {
            let PlaceChange::Put { body, flags, expires_at_ms } = step.what else { continue };
            let share = bodies[body].bytes / refs[body];
            let place = Place { flags, expires_at_ms, body: bodies[body], share };
            let key = step.at.encode();
            place.encode_row(&key, &mut row);
            places.insert(&key, row.as_slice())?;
            self.count.came(&place);
        }
        Ok(())
    }
}

impl<'a> OldRow<'a> {
    fn decode(key: &[u8; 16], row: &'a [u8]) -> Result<Self, RowError> {
        let short = || RowError::malformed("a queue row is too short");
        let (1, payload) = unframe(key, row)? else {
            return Err(RowError::malformed("a queue row of another version"));
        };
        let ([flags, shape], rest) = payload.split_first_chunk::<2>().ok_or_else(short)?;
        let (expires_at_ms, rest) = match shape & 1 {
            0 => (None, rest),
            _ => {
                let (expires, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
                (Some(u64::from_le_bytes(*expires)), rest)
            }
        };
        let body = match shape & !1 {
            0 => OldBody::Inline(rest),
            2 => {
                let (id, _) = rest.split_first_chunk::<8>().ok_or_else(short)?;
                OldBody::Shared(u64::from_le_bytes(*id))
            }
            _ => return Err(RowError::malformed("unknown shape of a queue row")),
        };
        Ok(Self { flags: *flags, expires_at_ms, body })
    }
}
