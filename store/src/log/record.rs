//! Records: a plan as the payload of a frame.
//!
//! A record is a list of steps, each a tag and its fields; numbers are LEB128. Bodies come before
//! the places that refer to them by index. The records of a segment say who referred to a body, so
//! that a segment can be emptied without a look at every queue there is.

use crate::plan::{PlaceChange, PlaceStep, Plan, RowStep, TablePlan};
use crate::queue::{Place, PlaceKey, SessionKey};
use bytes::Bytes;
use proto::varint;
use std::borrow::Cow;

/// What a step does.
mod tag {
    pub(super) const TABLE: u8 = 1;
    pub(super) const PUT: u8 = 2;
    pub(super) const DELETE: u8 = 3;
    pub(super) const BODY: u8 = 4;
    pub(super) const PLACE: u8 = 5;
    pub(super) const PLACE_UNTIL: u8 = 6;
    pub(super) const SET: u8 = 7;
    pub(super) const REMOVE: u8 = 8;
}

/// A body as it lies in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyAt {
    /// From the start of the bytes that were encoded to, or decoded from.
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
    pub(crate) checksum: u32,
}

/// Appends a plan; answers where its bodies are in `out`.
pub(crate) fn encode(plan: &Plan, out: &mut Vec<u8>) -> Vec<BodyAt> {
    for table in &plan.tables {
        out.push(tag::TABLE);
        varint::put_bytes(table.name.as_bytes(), out);
        for step in &table.rows {
            out.push(if step.row.is_some() { tag::PUT } else { tag::DELETE });
            varint::put_bytes(&step.key, out);
            if let Some(row) = &step.row {
                varint::put_bytes(row, out);
            }
        }
    }
    let mut bodies = Vec::with_capacity(plan.bodies.len());
    for body in &plan.bodies {
        out.push(tag::BODY);
        varint::put(body.len() as u64, out);
        let checksum = crc32c::crc32c(body);
        bodies.push(BodyAt { offset: out.len(), bytes: body.len(), checksum });
        out.extend_from_slice(body);
    }
    for PlaceStep { at: PlaceKey(session, seq), what } in &plan.places {
        out.push(match what {
            PlaceChange::Put { expires_at_ms: None, .. } => tag::PLACE,
            PlaceChange::Put { .. } => tag::PLACE_UNTIL,
            PlaceChange::Set(_) => tag::SET,
            PlaceChange::Remove { .. } => tag::REMOVE,
        });
        varint::put(session.0, out);
        varint::put(*seq, out);
        match what {
            PlaceChange::Put { body, flags, expires_at_ms } => {
                varint::put(*body as u64, out);
                out.push(*flags);
                if let Some(expires_at_ms) = expires_at_ms {
                    varint::put(*expires_at_ms, out);
                }
            }
            PlaceChange::Set(place) => place.encode(out),
            PlaceChange::Remove { .. } => {}
        }
    }
    bodies
}

/// Reads a payload back; `None` when it is not one. Nothing is copied but keys and names.
pub(crate) fn decode(payload: &Bytes) -> Option<(Plan, Vec<BodyAt>)> {
    let mut plan = Plan::default();
    let mut bodies = Vec::new();
    let mut input = Input { whole: payload, at: 0 };
    while input.at < payload.len() {
        match input.byte()? {
            tag::TABLE => {
                let name = String::from_utf8(input.text()?.to_vec()).ok()?;
                plan.tables.push(TablePlan { name: Cow::Owned(name), rows: Vec::new() });
            }
            step @ (tag::PUT | tag::DELETE) => {
                let key = input.text()?.to_vec();
                let row = if step == tag::PUT { Some(input.text()?) } else { None };
                plan.tables.last_mut()?.rows.push(RowStep { key, row, covers: true });
            }
            tag::BODY => {
                let body = input.text()?;
                let offset = input.at - body.len();
                let checksum = crc32c::crc32c(&body);
                bodies.push(BodyAt { offset, bytes: body.len(), checksum });
                plan.bodies.push(body);
            }
            step => {
                let at = PlaceKey(SessionKey(input.number()?), input.number()?);
                let what = input.place_change(step, bodies.len())?;
                plan.places.push(PlaceStep { at, what });
            }
        }
    }
    Some((plan, bodies))
}

/// What is left to read of a payload.
struct Input<'a> {
    whole: &'a Bytes,
    at: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.whole.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn number(&mut self) -> Option<u64> {
        let mut rest = self.whole.get(self.at..)?;
        let number = varint::get(&mut rest)?;
        self.at = self.whole.len() - rest.len();
        Some(number)
    }

    fn text(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.number()?).ok()?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.whole.len())?;
        let text = self.whole.slice(self.at..end);
        self.at = end;
        Some(text)
    }

    fn place_change(&mut self, step: u8, bodies: usize) -> Option<PlaceChange> {
        match step {
            tag::PLACE | tag::PLACE_UNTIL => {
                let body = usize::try_from(self.number()?).ok().filter(|body| *body < bodies)?;
                let flags = self.byte()?;
                let expires_at_ms = if step == tag::PLACE { None } else { Some(self.number()?) };
                Some(PlaceChange::Put { body, flags, expires_at_ms })
            }
            tag::SET => {
                let mut rest = self.whole.get(self.at..)?;
                let place = Place::decode(&mut rest)?;
                self.at = self.whole.len() - rest.len();
                Some(PlaceChange::Set(place))
            }
            tag::REMOVE => Some(PlaceChange::Remove { covers: true }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Location;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn plan() -> impl Strategy<Value = Plan> {
        let bytes = || vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let row = (vec(any::<u8>(), 0..9), proptest::option::of(bytes()))
            .prop_map(|(key, row)| RowStep { key, row, covers: true });
        let table = ("[a-z]{1,9}", vec(row, 0..4))
            .prop_map(|(name, rows)| TablePlan { name: Cow::Owned(name), rows });
        let place = (any::<[u64; 2]>(), any::<[u32; 4]>(), any::<u8>(), any::<Option<u64>>());
        let set =
            place.prop_map(|([segment, _], [offset, bytes, checksum, share], flags, until)| {
                let body = Location { segment, offset, bytes, checksum };
                PlaceChange::Set(Place { flags, expires_at_ms: until, body, share })
            });
        let what = prop_oneof![
            (0..2_usize, any::<u8>(), any::<Option<u64>>()).prop_map(
                |(body, flags, expires_at_ms)| PlaceChange::Put { body, flags, expires_at_ms }
            ),
            set,
            Just(PlaceChange::Remove { covers: true }),
        ];
        let step = (any::<[u64; 2]>(), what).prop_map(|([session, seq], what)| PlaceStep {
            at: PlaceKey(SessionKey(session), seq),
            what,
        });
        (vec(table, 0..3), vec(bytes(), 2..4), vec(step, 0..6))
            .prop_map(|(tables, bodies, places)| Plan { tables, bodies, places })
    }

    proptest! {
        #[test]
        fn a_plan_comes_back_and_its_bodies_are_where_they_are_said_to_be(plan in plan()) {
            let mut out = vec![0xAA; 3];
            let at = encode(&plan, &mut out);
            for (body, at) in plan.bodies.iter().zip(&at) {
                prop_assert_eq!(&out[at.offset..at.offset + at.bytes], &body[..]);
            }
            let (back, found) = decode(&Bytes::from(out.split_off(3))).unwrap();
            prop_assert_eq!(&back, &plan);
            let moved = |at: &BodyAt| BodyAt { offset: at.offset - 3, ..*at };
            prop_assert_eq!(found, at.iter().map(moved).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_break_the_decoder(bytes in vec(any::<u8>(), 0..64), plan in plan(), cut: u16) {
            let _either = decode(&Bytes::from(bytes));
            let mut out = Vec::new();
            encode(&plan, &mut out);
            out.truncate(usize::from(cut) % (out.len() + 1));
            let _either = decode(&Bytes::from(out));
        }
    }
}
