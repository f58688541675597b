//! The things as one request sees them: those of the store, and over them what the request has changed already.

use crate::admin::plan::{Request, unreadable};
use crate::device::row::{ThingKey, ThingRow};
use crate::registry::row::{ByParent, BySerial};
use broker::GENERATIONS_MAX;
use proto::{Refusal, RefusalCode, ThingId};
use std::collections::{HashMap, HashSet};

/// Things looked at to find out how many generations are behind one that is moved.
const BEHIND_MAX: usize = 10_000;

/// See the module.
pub(super) struct View<'a> {
    pub(super) request: &'a Request<'a>,
    staged: HashMap<ThingId, ThingRow>,
    /// Whose a serial number is; `None`: nobody's any more.
    serials: HashMap<String, Option<ThingId>>,
}

impl<'a> View<'a> {
    /// The things of the store.
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        Self { request, staged: HashMap::new(), serials: HashMap::new() }
    }

    pub(super) fn key(&self, thing: &ThingId) -> ThingKey {
        (self.request.namespace.clone(), thing.clone())
    }

    /// A thing, if it is registered.
    pub(super) fn thing(&self, thing: &ThingId) -> Result<Option<ThingRow>, Refusal> {
        match self.staged.get(thing) {
            Some(row) => Ok(Some(row.clone())),
            None => self.request.get::<ThingRow>(&self.key(thing)),
        }
    }

    /// Whether the request has changed or registered a thing already.
    pub(super) fn is_staged(&self, thing: &ThingId) -> bool {
        self.staged.contains_key(thing)
    }

    /// The request has changed or registered a thing.
    pub(super) fn stage(&mut self, thing: ThingId, before: Option<&ThingRow>, row: ThingRow) {
        if let Some(serial) = before.and_then(|row| row.serial.clone()) {
            self.serials.insert(serial, None);
        }
        if let Some(serial) = row.serial.clone() {
            self.serials.insert(serial, Some(thing.clone()));
        }
        self.staged.insert(thing, row);
    }

    /// A serial number belongs to one thing.
    pub(super) fn check_serial(&self, thing: &ThingId, serial: &str) -> Result<(), Refusal> {
        let owner = match self.serials.get(serial) {
            Some(owner) => owner.clone(),
            None => {
                let key = (self.request.namespace.clone(), serial.to_owned());
                self.request.get::<BySerial>(&key)?.map(|row| row.0)
            }
        };
        match owner {
            Some(owner) if owner != *thing => {
                let message = format!("the serial number belongs to the thing `{owner}`");
                Err(Refusal::new(RefusalCode::AlreadyExists, message).at("serial"))
            }
            _ => Ok(()),
        }
    }

    /// A gateway has to be there, must not be behind the thing, and no more than so many generations may be above one
    /// another.
    pub(super) fn check_parent(&self, thing: &ThingId, parent: &ThingId) -> Result<(), Refusal> {
        let invalid =
            |message: String| Err(Refusal::new(RefusalCode::Invalid, message).at("parent"));
        let mut above = Some(parent.clone());
        let mut generations = 0;
        while let Some(gateway) = above {
            if gateway == *thing {
                return invalid(format!("`{parent}` is behind `{thing}` itself"));
            }
            generations += 1;
            let Some(row) = self.thing(&gateway)? else {
                return Err(Refusal::not_found("thing", &gateway).at("parent"));
            };
            above = row.parent;
            if generations > GENERATIONS_MAX {
                break;
            }
        }
        generations += self.generations_behind(thing)?;
        if generations > GENERATIONS_MAX {
            return invalid(format!(
                "{generations} generations would be above one another, at most {GENERATIONS_MAX}"
            ));
        }
        Ok(())
    }

    /// How many generations are behind a thing.
    fn generations_behind(&self, thing: &ThingId) -> Result<usize, Refusal> {
        let mut generation = vec![thing.clone()];
        let (mut generations, mut seen) = (0, HashSet::new());
        loop {
            let mut next = Vec::new();
            for gateway in &generation {
                next.extend(self.behind(gateway, BEHIND_MAX + 1 - seen.len())?);
                seen.extend(next.iter().cloned());
                if seen.len() > BEHIND_MAX {
                    let message = format!("more than {BEHIND_MAX} things are behind `{thing}`");
                    return Err(Refusal::new(RefusalCode::TooLarge, message).at("parent"));
                }
            }
            if next.is_empty() || generations > GENERATIONS_MAX {
                return Ok(generations);
            }
            generations += 1;
            generation = next;
        }
    }

    /// The things right behind a gateway, at most so many.
    pub(super) fn behind(&self, gateway: &ThingId, limit: usize) -> Result<Vec<ThingId>, Refusal> {
        let prefix = store::prefix(&(self.request.namespace.clone(), gateway.clone()));
        let rows = self.request.snapshot.page::<ByParent>(&prefix, None, limit);
        let rows = rows.map_err(|error| unreadable(&error))?;
        let is_still = |thing: &ThingId| {
            self.staged.get(thing).is_none_or(|row| row.parent.as_ref() == Some(gateway))
        };
        let stored = rows.into_iter().flatten().map(|((_, _, thing), _)| thing).filter(is_still);
        let mut found: Vec<ThingId> = stored.collect();
        let staged = self.staged.iter().filter(|(_, row)| row.parent.as_ref() == Some(gateway));
        let new = staged.map(|(thing, _)| thing).filter(|thing| !found.contains(thing));
        let new: Vec<ThingId> = new.cloned().collect();
        found.extend(new);
        Ok(found)
    }
}
