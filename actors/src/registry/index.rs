//! Keeps the indexes of things true: what changes in them with a row, in the same commit.

use super::row::{AtEdge, ByParent, BySerial, ByTag};
use crate::device::row::{ThingKey, ThingRow};
use crate::edges::things;
use crate::model::row::UseRow;
use store::Changes;

/// Puts a thing's row, or deletes it from the indexes alone, and changes the indexes with it.
pub(crate) fn put(
    changes: &mut Changes,
    key: &ThingKey,
    before: Option<&ThingRow>,
    row: &ThingRow,
) {
    changes.put::<ThingRow>(key, row);
    reindex(changes, key, before, Some(row));
}

/// Changes the indexes from what a thing was to what it is. Its row is the caller's.
pub(crate) fn reindex(
    changes: &mut Changes,
    (namespace, thing): &ThingKey,
    before: Option<&ThingRow>,
    after: Option<&ThingRow>,
) {
    let tags = |row: Option<&ThingRow>| row.map(|row| row.tags.clone()).unwrap_or_default();
    let (old, new) = (tags(before), tags(after));
    for tag in old.difference(&new) {
        changes.delete::<ByTag>(&(namespace.clone(), tag.clone(), thing.clone()));
    }
    for tag in new.difference(&old) {
        changes.put(&(namespace.clone(), tag.clone(), thing.clone()), &ByTag);
    }
    let model =
        |row: Option<&ThingRow>| row.and_then(|row| row.model.as_ref().map(|it| it.to_string()));
    let (old, new) = (model(before), model(after));
    if old != new {
        if let Some(model) = old {
            changes.delete::<UseRow>(&(namespace.clone(), model, thing.clone()));
        }
        if let Some(model) = new {
            changes.put::<UseRow>(&(namespace.clone(), model, thing.clone()), &UseRow {});
        }
    }
    let parent = |row: Option<&ThingRow>| row.and_then(|row| row.parent.clone());
    let (old, new) = (parent(before), parent(after));
    if old != new {
        if let Some(parent) = old {
            changes.delete::<ByParent>(&(namespace.clone(), parent, thing.clone()));
        }
        if let Some(parent) = new {
            changes.put(&(namespace.clone(), parent, thing.clone()), &ByParent);
        }
    }
    let edge = |row: Option<&ThingRow>| row.and_then(|row| row.edge.clone());
    let (old, new) = (edge(before), edge(after));
    if old != new {
        if let Some(edge) = old {
            changes.delete::<AtEdge>(&(namespace.clone(), edge, thing.clone()));
            // What is known of it there means nothing elsewhere.
            things::forget(changes, namespace, thing);
        }
        if let Some(edge) = new {
            changes.put(&(namespace.clone(), edge, thing.clone()), &AtEdge);
        }
    }
    let serial = |row: Option<&ThingRow>| row.and_then(|row| row.serial.clone());
    let (old, new) = (serial(before), serial(after));
    if old != new {
        if let Some(serial) = old {
            changes.delete::<BySerial>(&(namespace.clone(), serial));
        }
        if let Some(serial) = new {
            changes.put(&(namespace.clone(), serial), &BySerial(thing.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::id::Label;
    use proto::{EdgeId, Namespace, ThingId, TimestampMs};
    use std::collections::BTreeSet;
    use store::Store;

    fn thing(number: u8) -> ThingId {
        ThingId::parse(&format!("t{number}")).unwrap()
    }

    fn row((tags, parent, edge, serial): (u8, u8, u8, u8)) -> ThingRow {
        let all = ["a", "b", "c"].into_iter().enumerate();
        let tags = all.filter(|(bit, _)| tags & (1 << bit) != 0);
        ThingRow {
            tags: tags.map(|(_, tag)| Label::parse(tag).unwrap()).collect(),
            parent: (parent > 0).then(|| thing(parent + 10)),
            edge: (edge > 0).then(|| EdgeId::parse(&format!("e{edge}")).unwrap()),
            serial: (serial > 0).then(|| format!("s{serial}")),
            ..ThingRow::new(TimestampMs(1))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_indexes_say_what_the_rows_say(
            steps in proptest::collection::vec(
                (0u8..3, proptest::option::of((0u8..8, 0u8..3, 0u8..3, 0u8..3))), 1..20),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let store = Store::in_memory_inline().unwrap();
            let mut rows: Vec<Option<ThingRow>> = vec![None; 3];
            for (number, wanted) in steps {
                let key = (Namespace::default(), thing(number));
                let at = &mut rows[usize::from(number)];
                // Serials are unique: each thing has its own.
                let next = wanted.map(|(tags, parent, edge, serial)| {
                    row((tags, parent, edge, if serial == 0 { 0 } else { serial + number * 10 }))
                });
                let mut changes = Changes::new();
                reindex(&mut changes, &key, at.as_ref(), next.as_ref());
                runtime.block_on(store.commit(changes)).unwrap();
                *at = next;
            }
            let snapshot = store.read().unwrap();
            let tags: BTreeSet<_> = snapshot.scan::<ByTag>(&[]).unwrap().into_iter()
                .map(|it| it.unwrap().0).map(|(_, tag, thing)| (tag, thing)).collect();
            let parents: BTreeSet<_> = snapshot.scan::<ByParent>(&[]).unwrap().into_iter()
                .map(|it| it.unwrap().0).map(|(_, parent, thing)| (parent, thing)).collect();
            let serials: BTreeSet<_> = snapshot.scan::<BySerial>(&[]).unwrap().into_iter()
                .map(|it| it.unwrap()).map(|((_, serial), row)| (serial, row.0)).collect();
            let edges: BTreeSet<_> = snapshot.scan::<AtEdge>(&[]).unwrap().into_iter()
                .map(|it| it.unwrap().0).map(|(_, edge, thing)| (edge, thing)).collect();
            let (mut by_tag, mut by_parent, mut by_serial) =
                (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let mut by_edge = BTreeSet::new();
            for (number, row) in (0u8..).zip(&rows) {
                let Some(row) = row else { continue };
                by_tag.extend(row.tags.iter().map(|tag| (tag.clone(), thing(number))));
                by_parent.extend(row.parent.iter().map(|it| (it.clone(), thing(number))));
                by_edge.extend(row.edge.iter().map(|it| (it.clone(), thing(number))));
                by_serial.extend(row.serial.iter().map(|it| (it.clone(), thing(number))));
            }
            prop_assert_eq!((tags, parents, serials), (by_tag, by_parent, by_serial));
            prop_assert_eq!(edges, by_edge);
        }
    }
}
