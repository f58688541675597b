//! Which things an edge node has yet to be given something of: found by comparing rows, so that nothing has to be noted
//! for it, and a crash forgets nothing.

use super::rows::{BaseRow, GivenKey, GivenRow, OfferRow};
use crate::device::command::row::Open;
use crate::device::row::{ShadowKey, ThingKey, ThingRow};
use crate::device::shadow::ShadowState;
use crate::registry::row::AtEdge;
use parking_lot::Mutex;
use proto::{CommandId, EdgeId, Namespace, ThingId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use store::{ReadError, Row, Snapshot};
use tokio::sync::Notify;

/// Rows read at once.
const PAGE_ROWS: usize = 1000;

/// Things that may be due, of each namespace that has somebody to give them: told by whoever changes one.
#[derive(Default)]
pub(crate) struct DueThings(Mutex<HashMap<Namespace, Told>>);

#[derive(Default)]
struct Told {
    things: BTreeSet<(EdgeId, ThingId)>,
    bell: Arc<Notify>,
}

impl DueThings {
    /// The bell of a namespace.
    pub(crate) fn listen(&self, namespace: &Namespace) -> Arc<Notify> {
        Arc::clone(&self.0.lock().entry(namespace.clone()).or_default().bell)
    }

    /// Something of a thing has changed, and is kept. Each thing is told of once until it is taken.
    pub(crate) fn add(&self, namespace: &Namespace, edge: EdgeId, thing: ThingId) {
        if let Some(told) = self.0.lock().get_mut(namespace) {
            told.things.insert((edge, thing));
            told.bell.notify_one();
        }
    }

    /// Those told of since the last time.
    pub(crate) fn take(&self, namespace: &Namespace) -> BTreeSet<(EdgeId, ThingId)> {
        let mut told = self.0.lock();
        told.get_mut(namespace).map(|told| std::mem::take(&mut told.things)).unwrap_or_default()
    }

    /// Nobody listens any more.
    pub(crate) fn forget(&self, namespace: &Namespace) {
        self.0.lock().remove(namespace);
    }
}

/// How the registration of a thing stands at an edge node.
#[derive(Debug, PartialEq)]
pub(crate) enum Standing {
    /// It is not at this edge node, and never was.
    Stranger,
    /// It is at this edge node no more.
    Gone {
        /// Whether the edge node ever took it.
        was_taken: bool,
    },
    /// The edge node has it as it is here.
    Settled,
    /// The edge node has yet to get it.
    Due(Box<ThingRow>),
    /// The edge node does not take it.
    Refused,
}

/// Where something of a thing is asked about: namespace, edge node, and the life of its data folder.
pub(crate) type There<'a> = (&'a Namespace, &'a EdgeId, u64);

/// How the registration of a thing stands.
pub(crate) fn standing(
    snapshot: &Snapshot,
    (namespace, edge, life): There<'_>,
    thing: &ThingId,
) -> Result<Standing, ReadError> {
    let key: ThingKey = (namespace.clone(), thing.clone());
    let row = snapshot.get::<ThingRow>(&key)?.filter(|row| row.edge.as_ref() == Some(edge));
    let given_key: GivenKey = (namespace.clone(), edge.clone(), thing.clone());
    let given = snapshot.get::<GivenRow>(&given_key)?;
    Ok(compared(row, given, life))
}

fn compared(row: Option<ThingRow>, given: Option<GivenRow>, life: u64) -> Standing {
    match (row, given) {
        (None, None) => Standing::Stranger,
        // Another life of the edge node has never heard of it, or has it from a backup.
        (None, Some(given)) => Standing::Gone { was_taken: given.revision.is_some() },
        (Some(row), Some(given)) if given.life == life => match &given.refused {
            _ if given.revision == Some(row.revision) => Standing::Settled,
            Some(refused) if refused.revision == row.revision => Standing::Refused,
            _ => Standing::Due(Box::new(row)),
        },
        (Some(row), _) => Standing::Due(Box::new(row)),
    }
}

/// The shadows of a thing that the edge node has otherwise, as it is to be offered them. An offer of which it is not
/// known what has become is made again before any other.
pub(crate) fn shadows(
    snapshot: &Snapshot,
    key: &ThingKey,
    life: u64,
) -> Result<Vec<(String, OfferRow)>, ReadError> {
    let mut behind = Vec::new();
    for found in snapshot.scan::<ShadowState>(&store::prefix(key))? {
        let ((_, _, name), state): (ShadowKey, ShadowState) = found?;
        let base_key: ShadowKey = (key.0.clone(), key.1.clone(), name.clone());
        let base = snapshot.get::<BaseRow>(&base_key)?.unwrap_or_else(BaseRow::none).of_life(life);
        let open = snapshot.get::<OfferRow>(&base_key)?.filter(|offer| offer.life == life);
        if open.is_some() || base.is_behind(&state) {
            let over = base.shadow.place();
            behind.push((name, open.unwrap_or(OfferRow { life, over, shadow: state })));
        }
    }
    Ok(behind)
}

/// The commands of a thing that nobody has yet, in their order.
pub(crate) fn commands(
    snapshot: &Snapshot,
    key: &ThingKey,
) -> Result<Vec<(CommandId, Open)>, ReadError> {
    let mut waiting = Vec::new();
    for found in snapshot.scan::<Open>(&store::prefix(key))? {
        let ((_, _, id), open) = found?;
        if open.sent.is_none() {
            waiting.push((id, open));
        }
    }
    waiting.sort_by_key(|(_, open)| open.seq);
    Ok(waiting)
}

/// All things of which an edge node has yet to be given something.
pub(crate) fn all(snapshot: &Snapshot, there: There<'_>) -> Result<BTreeSet<ThingId>, ReadError> {
    let (namespace, edge, _) = there;
    let prefix = store::prefix(&(namespace.clone(), edge.clone()));
    let mut due = BTreeSet::new();
    let mut look = |thing: ThingId| -> Result<(), ReadError> {
        if is_due(snapshot, there, &thing)? {
            due.insert(thing);
        }
        Ok(())
    };
    each::<AtEdge>(snapshot, &prefix, |(_, _, thing)| look(thing))?;
    each::<GivenRow>(snapshot, &prefix, |(_, _, thing)| look(thing))?;
    Ok(due)
}

fn is_due(snapshot: &Snapshot, there: There<'_>, thing: &ThingId) -> Result<bool, ReadError> {
    let key: ThingKey = (there.0.clone(), thing.clone());
    Ok(match standing(snapshot, there, thing)? {
        Standing::Stranger | Standing::Refused => false,
        Standing::Gone { .. } | Standing::Due(_) => true,
        Standing::Settled => {
            !shadows(snapshot, &key, there.2)?.is_empty() || !commands(snapshot, &key)?.is_empty()
        }
    })
}

/// Goes through the keys of a table, a page at a time; what cannot be read is told of, and left out.
fn each<R: Row>(
    snapshot: &Snapshot,
    prefix: &[u8],
    mut look: impl FnMut(R::Key) -> Result<(), ReadError>,
) -> Result<(), ReadError>
where
    R::Key: Clone,
{
    let mut after: Option<R::Key> = None;
    loop {
        let page = snapshot.page::<R>(prefix, after.as_ref(), PAGE_ROWS)?;
        let is_last = page.len() < PAGE_ROWS;
        for found in page {
            match found {
                Ok((key, _)) => {
                    after = Some(key.clone());
                    look(key)?;
                }
                Err(error) => tracing::error!(%error, "a thing at an edge node is left out"),
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::NotTaken;
    use super::*;
    use proto::{Refusal, RefusalCode, TimestampMs};

    #[test]
    fn an_edge_node_is_given_a_thing_again_when_it_has_changed_or_begins_anew() {
        let row = |revision| ThingRow { revision, ..ThingRow::new(TimestampMs(1)) };
        let due = |revision| Standing::Due(Box::new(row(revision)));
        let gone = |was_taken| Standing::Gone { was_taken };
        let given = |life, revision| GivenRow { life, revision, refused: None };
        let refusal = Refusal::new(RefusalCode::Invalid, "no");
        let refused = |life, revision| {
            let refused = Some(NotTaken { revision, refusal: refusal.clone() });
            GivenRow { life, revision: Some(1), refused }
        };
        for (thing, given, expected) in [
            (None, None, Standing::Stranger),
            (None, Some(given(7, Some(1))), gone(true)),
            (None, Some(given(6, Some(1))), gone(true)),
            (None, Some(given(7, None)), gone(false)),
            (None, Some(refused(7, 2)), gone(true)),
            (Some(2), None, due(2)),
            (Some(2), Some(given(7, Some(2))), Standing::Settled),
            (Some(2), Some(given(7, Some(1))), due(2)),
            (Some(2), Some(given(6, Some(2))), due(2)),
            (Some(2), Some(refused(7, 2)), Standing::Refused),
            (Some(3), Some(refused(7, 2)), due(3)),
            (Some(2), Some(refused(6, 2)), due(2)),
            (Some(1), Some(refused(7, 2)), Standing::Settled),
        ] {
            assert_eq!(compared(thing.map(row), given, 7), expected);
        }
    }
}
