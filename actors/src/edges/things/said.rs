//! What an edge node has said of things: kept until the device actor has taken it in.
//!
//! A row for each subject, in which the newest word stands. Both who puts one and who takes it away have the writer of
//! the store look at what is there, so that neither loses what the other has just done.

use super::documents::{ResultThere, ShadowThere};
use super::rows::{Said, SaidKey, SaidRow};
use crate::device::presence::Status;
use bytes::Bytes;
use proto::platform::ThingNews;
use proto::{Namespace, ThingId};
use store::Changes;

/// Reads what came up on a topic of a thing.
pub(crate) fn read(news: ThingNews, payload: &Bytes) -> Result<Said, serde_json::Error> {
    Ok(match news {
        ThingNews::Shadow => {
            Said::Shadow(Box::new(serde_json::from_slice::<ShadowThere>(payload)?))
        }
        ThingNews::Result => {
            Said::Result(Box::new(serde_json::from_slice::<ResultThere>(payload)?))
        }
        ThingNews::Status => Said::Status(serde_json::from_slice::<Status>(payload)?),
    })
}

/// Keeps it, unless a newer word is there.
pub(crate) fn keep(changes: &mut Changes, namespace: &Namespace, thing: &ThingId, row: SaidRow) {
    let key: SaidKey = (namespace.clone(), thing.clone(), row.said.about());
    let bytes = row.said.bytes();
    let kept = key.clone();
    changes.derive::<SaidRow>(&key, bytes, move |there| {
        let mut changes = Changes::new();
        if there.is_none_or(|there| is_newer(&row, &there)) {
            changes.put::<SaidRow>(&kept, &row);
        }
        changes
    });
}

/// Takes a word away that has been taken in, unless it is another one by now.
pub(crate) fn forget(changes: &mut Changes, key: SaidKey, row: SaidRow) {
    let forgotten = key.clone();
    changes.derive::<SaidRow>(&key, 0, move |there| {
        let mut changes = Changes::new();
        if there.is_some_and(|there| there == row) {
            changes.delete::<SaidRow>(&forgotten);
        }
        changes
    });
}

/// What waited at the edge node comes behind what is current.
fn is_newer(row: &SaidRow, there: &SaidRow) -> bool {
    if (row.life, &row.edge) != (there.life, &there.edge) {
        return true;
    }
    match (&row.said, &there.said) {
        (Said::Shadow(new), Said::Shadow(old)) => new.at() >= old.at(),
        (Said::Status(new), Said::Status(old)) => new.t >= old.t,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{EdgeId, TimestampMs};
    use store::Store;

    fn row(version: u64, exists: bool, life: u64) -> SaidRow {
        let state = crate::device::shadow::ShadowState { version, exists, ..Default::default() };
        let there = ShadowThere::of("", TimestampMs(1), &state);
        let edge = EdgeId::parse("press").unwrap();
        SaidRow { edge, life, said: Said::Shadow(Box::new(there)) }
    }

    #[tokio::test]
    async fn the_newest_word_stands_until_that_very_one_is_taken_in() {
        let store = Store::in_memory_inline().unwrap();
        let (namespace, thing) = (Namespace::default(), ThingId::parse("fan").unwrap());
        let key: SaidKey = (namespace.clone(), thing.clone(), "shadow/".to_owned());
        let commit = async |row: SaidRow| {
            let mut changes = Changes::new();
            keep(&mut changes, &namespace, &thing, row);
            store.commit(changes).await.unwrap();
        };
        let there = || store.read().unwrap().get::<SaidRow>(&key).unwrap();
        commit(row(5, true, 1)).await;
        commit(row(4, true, 1)).await;
        assert_eq!(there(), Some(row(5, true, 1)), "it is older");
        commit(row(5, false, 1)).await;
        assert_eq!(there(), Some(row(5, false, 1)), "a deletion has the version of what it ends");
        commit(row(1, true, 2)).await;
        assert_eq!(there(), Some(row(1, true, 2)), "another life counts anew");
        let mut changes = Changes::new();
        forget(&mut changes, key.clone(), row(5, false, 1));
        store.commit(changes).await.unwrap();
        assert_eq!(there(), Some(row(1, true, 2)), "not the one that was taken in");
        let mut changes = Changes::new();
        forget(&mut changes, key.clone(), row(1, true, 2));
        store.commit(changes).await.unwrap();
        assert_eq!(there(), None);
    }
}
