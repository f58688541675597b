//! The queue changes of one batch, merged: what a later change undoes is gone before anything is
//! written.
//!
//! Merging is pure. A message enqueued and dequeued in the same batch leaves a bare removal,
//! because its place might already have been in use; resolving finds nothing there and drops it.

use super::{PlaceKey, QueueRef, SessionKey};
use crate::figures::add;
use crate::plan::{PlaceChange, PlaceStep, Plan};
use crate::view::View;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What happens to the queues in one batch.
#[derive(Debug, Default)]
pub(crate) struct QueueChanges {
    /// Queues emptied up to a place, before anything in `places` happens.
    cleared: BTreeMap<SessionKey, u64>,
    places: BTreeMap<PlaceKey, Op>,
    bodies: Vec<Body>,
}

/// What happens to one place of one queue.
#[derive(Debug)]
enum Op {
    Put { body: usize, flags: u8, expires_at_ms: Option<u64> },
    SetFlags(u8),
    Remove,
}

#[derive(Debug)]
struct Body {
    body: Bytes,
    /// References in this batch that are still wanted.
    refs: u32,
}

impl QueueChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.cleared.is_empty() && self.places.is_empty()
    }

    pub(crate) fn enqueue(&mut self, body: Bytes, refs: &[QueueRef]) {
        let index = self.bodies.len();
        self.bodies.push(Body { body, refs: 0 });
        for each in refs {
            self.bodies[index].refs += 1;
            let put = Op::Put { body: index, flags: each.flags, expires_at_ms: each.expires_at_ms };
            let replaced = self.places.insert(PlaceKey(each.session, each.seq), put);
            self.release(replaced);
        }
    }

    pub(crate) fn dequeue(&mut self, session: SessionKey, seq: u64) {
        let at = PlaceKey(session, seq);
        let replaced = if self.is_cleared(at) {
            self.places.remove(&at)
        } else {
            self.places.insert(at, Op::Remove)
        };
        self.release(replaced);
    }

    pub(crate) fn set_flags(&mut self, session: SessionKey, seq: u64, new: u8) {
        let at = PlaceKey(session, seq);
        let is_cleared = self.is_cleared(at);
        match self.places.get_mut(&at) {
            Some(Op::Put { flags, .. } | Op::SetFlags(flags)) => *flags = new,
            Some(Op::Remove) => {}
            None if is_cleared => {}
            None => {
                self.places.insert(at, Op::SetFlags(new));
            }
        }
    }

    pub(crate) fn dequeue_through(&mut self, session: SessionKey, seq: u64) {
        let places = self.places.range(PlaceKey(session, 0)..=PlaceKey(session, seq));
        let places: Vec<_> = places.map(|(place, _)| *place).collect();
        for place in places {
            let replaced = self.places.remove(&place);
            self.release(replaced);
        }
        let through = self.cleared.entry(session).or_default();
        *through = seq.max(*through);
    }

    /// Whether an earlier change of this batch has emptied the place.
    fn is_cleared(&self, at: PlaceKey) -> bool {
        self.cleared.get(&at.0).is_some_and(|through| at.1 <= *through)
    }

    fn release(&mut self, op: Option<Op>) {
        if let Some(Op::Put { body, .. }) = op {
            self.bodies[body].refs -= 1;
        }
    }

    /// Adds to `plan` what this comes to over what `view` holds.
    pub(crate) fn resolve(self, view: &View, plan: &mut Plan) -> Result<(), redb::Error> {
        for (session, through) in &self.cleared {
            let mut gone = Vec::new();
            for place in view.places(*session, 0, *through)? {
                gone.push(place?.0);
            }
            for at in gone {
                if !self.places.contains_key(&at) {
                    let covers = view.is_place_below(at)?;
                    plan.places.push(PlaceStep { at, what: PlaceChange::Remove { covers } });
                }
            }
        }
        let mut indices = Vec::with_capacity(self.bodies.len());
        for body in self.bodies {
            indices.push(plan.bodies.len());
            if body.refs > 0 {
                plan.bodies.push(body.body);
            }
        }
        for (at, op) in self.places {
            let what = match op {
                Op::Put { body, flags, expires_at_ms } => {
                    Some(PlaceChange::Put { body: indices[body], flags, expires_at_ms })
                }
                Op::SetFlags(flags) => set_flags(view, at, flags)?,
                Op::Remove => remove(view, at)?,
            };
            plan.places.extend(what.map(|what| PlaceStep { at, what }));
        }
        Ok(())
    }
}

fn set_flags(view: &View, at: PlaceKey, flags: u8) -> Result<Option<PlaceChange>, redb::Error> {
    match view.place(at)? {
        None => Ok(None),
        Some(Ok(place)) if place.flags == flags => Ok(None),
        Some(Ok(place)) => Ok(Some(PlaceChange::Set(super::Place { flags, ..place }))),
        Some(Err(reason)) => {
            // The row stays as it is: its reader is told, and a good checksum must not hide what
            // was lost.
            add(&view.counters().unreadable, 1);
            tracing::error!(%reason, ?at, "queue row unreadable, flags not set");
            Ok(None)
        }
    }
}

fn remove(view: &View, at: PlaceKey) -> Result<Option<PlaceChange>, redb::Error> {
    let found = view.place(at)?;
    if let Some(Err(reason)) = &found {
        add(&view.counters().unreadable, 1);
        tracing::error!(%reason, ?at, "removed an unreadable queue row");
    }
    let covers = found.is_some() && view.is_place_below(at)?;
    Ok(found.map(|_| PlaceChange::Remove { covers }))
}
